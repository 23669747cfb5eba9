//! The declarative mapping of a JSON payload, and how it is read from TOML.

use chrono_tz::Tz;

use super::pointer::Pointer;
use super::{TimeField, TimeUnit};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Context, Entry, FromToml, Located, Scalar, Table};
use crate::engine::types::message::Value;

/// Where a JSON payload keeps what.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonMapping {
    /// The device's time; `None` for the time of receipt.
    pub timestamp: Option<TimeField>,
    /// Place of the device's id, which then replaces the topic's.
    pub device: Option<Pointer>,
    /// Quality of the whole element.
    pub quality: Option<Quality>,
    /// Place of an array: each member is a sample of its own.
    pub each: Option<Pointer>,
    /// Metric name and where it comes from; `{1}` in the name is what `*` stood for.
    pub metrics: Vec<(String, MetricSource)>,
    /// Values that mean bad quality.
    pub bad: Vec<Scalar>,
    /// Every other scalar becomes a metric named by its path (`a.b.c`).
    pub rest: bool,
}

/// Where a metric comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricSource {
    /// A value: `value * scale + offset`.
    At {
        /// Places that may hold it.
        pointers: Vec<Pointer>,
        /// Factor.
        scale: f64,
        /// Added after the factor.
        offset: f64,
        /// Unit, for people.
        unit: String,
        /// What it is when the payload has none of the places.
        absent: Option<Value>,
    },
    /// How many members an array has.
    Count {
        /// The array.
        array: Pointer,
        /// Only those that have one of these values at this place (with `*` for the member).
        only: Option<(Pointer, Vec<Scalar>)>,
    },
}

/// Where an element says how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// The place.
    pub path: Pointer,
    /// Values that mean good.
    pub good: Vec<Scalar>,
}

impl Default for JsonMapping {
    /// What fits most devices: every scalar a metric, `ts` as the time if it is there.
    fn default() -> Self {
        let timestamp = Pointer::parse("/ts").map(|path| TimeField { path, unit: TimeUnit::Auto });
        JsonMapping { timestamp, rest: true, ..JsonMapping::empty() }
    }
}

impl JsonMapping {
    /// Nothing at all.
    pub(super) fn empty() -> JsonMapping {
        JsonMapping {
            timestamp: None,
            device: None,
            quality: None,
            each: None,
            metrics: Vec::new(),
            bad: Vec::new(),
            rest: false,
        }
    }
}

/// Reads `[source.json]` over what a preset says: a key that is there replaces the preset's, and
/// metrics are added to it.
pub(super) fn read_json(table: &Table<'_>, base: JsonMapping) -> JsonMapping {
    let quality = table.table("quality", |entry| {
        let path = read_pointer(entry, "path");
        let good = entry.required::<Vec<Scalar>>("good")?;
        Some(Quality { path: path?, good })
    });
    let mut metrics = table.table("metrics", |entry| Some(read_metrics(entry))).unwrap_or_default();
    let kept = base.metrics.into_iter();
    let kept: Vec<_> =
        kept.filter(|(known, _)| metrics.iter().all(|(name, _)| name != known)).collect();
    metrics.extend(kept);
    JsonMapping {
        timestamp: table.table("timestamp", read_time_field).or(base.timestamp),
        device: read_pointer(table, "device").or(base.device),
        quality: quality.or(base.quality),
        each: read_pointer(table, "each").or(base.each),
        metrics,
        bad: table.or("bad", base.bad),
        rest: table.or("rest", base.rest),
    }
}

/// Reads a time field: a place and a unit.
pub(super) fn read_time_field(table: &Table<'_>) -> Option<TimeField> {
    let path = read_pointer(table, "path");
    let unit = read_time_unit(table);
    Some(TimeField { path: path?, unit: unit? })
}

/// Reads `unit`, and `zone` for a local time.
pub(super) fn read_time_unit(table: &Table<'_>) -> Option<TimeUnit> {
    let zone = table.optional::<Located<String>>("zone");
    let unit = table.required::<Located<String>>("unit")?;
    Some(match (unit.value.as_str(), zone) {
        ("s", _) => TimeUnit::Seconds,
        ("ms", _) => TimeUnit::Millis,
        ("us", _) => TimeUnit::Micros,
        ("rfc3339", _) => TimeUnit::Rfc3339,
        ("auto", _) => TimeUnit::Auto,
        ("local", Some(zone)) => match zone.value.parse::<Tz>() {
            Ok(zone) => TimeUnit::Local(zone),
            Err(_) => {
                let message = format!("`zone`: \"{}\" is not a time zone", zone.value);
                let hint = "a name of the IANA list, e.g. \"Asia/Shanghai\"";
                table.place().error(zone.span, "wrong-value", message, hint);
                return None;
            }
        },
        ("local", None) => {
            let hint = "add `zone = \"Asia/Shanghai\"`";
            table.place().error(unit.span, "missing-key", "a local time needs a zone", hint);
            return None;
        }
        (other, _) => {
            let known = ["s", "ms", "us", "rfc3339", "local", "auto"];
            let message = format!("`unit`: \"{other}\" is not one of {}", known.join(", "));
            table.place().error(unit.span, "wrong-value", message, did_you_mean(other, &known));
            return None;
        }
    })
}

fn read_metrics(table: &Table<'_>) -> Vec<(String, MetricSource)> {
    let entries = table.entries().into_iter();
    entries.filter_map(|(name, entry)| Some((name.value, read_metric(&entry)?))).collect()
}

fn read_metric(entry: &Entry<'_>) -> Option<MetricSource> {
    if !entry.is_table() {
        let Pointers(pointers) = entry.read()?;
        return Some(MetricSource::At {
            pointers,
            scale: 1.0,
            offset: 0.0,
            unit: String::new(),
            absent: None,
        });
    }
    entry.table(|table| {
        if let Some(array) = table.optional::<Pointer>("count") {
            let only = table.table("where", |entry| {
                let at = read_pointer(entry, "path");
                let wanted = entry.required::<Vec<Scalar>>("is");
                Some((array.below_members(&at?), wanted?))
            });
            return Some(MetricSource::Count { array, only });
        }
        let pointers = table.required::<Pointers>("path");
        let absent = table.optional::<Scalar>("absent").map(|scalar| Value::from(&scalar));
        Some(MetricSource::At {
            scale: table.or("scale", 1.0),
            offset: table.or("offset", 0.0),
            unit: table.or("unit", String::new()),
            absent,
            pointers: pointers?.0,
        })
    })
}

impl<'a> FromToml<'a> for Pointer {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let text = String::from_toml(value, context)?;
        let pointer = Pointer::parse(&text);
        if pointer.is_none() {
            let message = format!("`{}`: \"{text}\" is not a JSON pointer", context.name);
            let hint = format!("write \"/{}\"", text.replace('.', "/"));
            context.place.error(value.span(), "wrong-value", message, hint);
        }
        pointer
    }
}

/// One pointer, or several places of which the payload has one.
struct Pointers(Vec<Pointer>);

impl<'a> FromToml<'a> for Pointers {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        if value.get_ref().is_array() {
            return Vec::from_toml(value, context).map(Pointers);
        }
        Pointer::from_toml(value, context).map(|pointer| Pointers(vec![pointer]))
    }
}

pub(super) fn read_pointer(table: &Table<'_>, key: &'static str) -> Option<Pointer> {
    if key == "path" { table.required(key) } else { table.optional(key) }
}
