//! The decoding part of a `[[source]]`: topic pattern, decoder and JSON mapping, read from TOML.

use chrono_tz::Tz;
use serde_json::Value as Json;

use super::{Payload, Presence, SourceSpec, TimeField, TimeUnit, TopicPattern};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Context, FromToml, Located, Scalar, Table};
use crate::engine::types::time::TimeSpan;

/// Where a JSON payload keeps what.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonMapping {
    /// The device's time; `None` for the time of receipt.
    pub timestamp: Option<TimeField>,
    /// Pointer to the device's id, which then replaces the topic's.
    pub device: Option<String>,
    /// Quality of the whole element.
    pub quality: Option<Quality>,
    /// Pointer to an array: each element is a sample of its own.
    pub each: Option<String>,
    /// Metric name and where it is; `{1}` in the name is what `*` in the pointer stood for.
    pub metrics: Vec<(String, MetricPath)>,
    /// Values that mean bad quality.
    pub bad: Vec<Json>,
    /// Every other scalar becomes a metric named by its path (`a.b.c`).
    pub rest: bool,
}

/// Where a metric is and how it is scaled: `value * scale + offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPath {
    /// JSON pointer, with at most one `*` level.
    pub pointer: String,
    /// Factor.
    pub scale: f64,
    /// Added after the factor.
    pub offset: f64,
    /// Unit, for people.
    pub unit: String,
}

impl MetricPath {
    pub(super) fn plain(pointer: &str) -> MetricPath {
        MetricPath { pointer: pointer.to_owned(), scale: 1.0, offset: 0.0, unit: String::new() }
    }

    pub(super) fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }
}

/// Where an element says how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// JSON pointer.
    pub path: String,
    /// Values that mean good.
    pub good: Vec<Json>,
}

impl Default for JsonMapping {
    /// What fits most devices: every scalar a metric, `ts` as the time if it is there.
    fn default() -> Self {
        JsonMapping {
            timestamp: Some(TimeField { path: "/ts".to_owned(), unit: TimeUnit::Auto }),
            device: None,
            quality: None,
            each: None,
            metrics: Vec::new(),
            bad: Vec::new(),
            rest: true,
        }
    }
}

/// Decoders of the format that this version does not have.
const DECODERS_NOT_BUILT: [&str; 11] = [
    "senml",
    "sparkplug-b",
    "thin-edge",
    "opcua-json",
    "csv",
    "tasmota",
    "zigbee2mqtt",
    "shelly",
    "alink",
    "homie",
    "vda5050",
];

/// Reads the decoding keys of a `[[source]]`.
pub fn read_source(table: &Table<'_>, payload_bytes_max: usize) -> Option<SourceSpec> {
    let name = table.required::<String>("name");
    let topic = read_pattern(table);
    let payload = read_payload(table);
    let presence = table.tables("presence", |entry| {
        let topic = read_pattern(entry);
        Some(Presence {
            online: entry.or("online", "online".to_owned()),
            offline: entry.or("offline", "offline".to_owned()),
            topic: topic?,
        })
    });
    let skew = table.table("max_skew", |entry| {
        let back = entry.or("back", TimeSpan::from_secs(86_400));
        Some((back, entry.or("ahead", TimeSpan::from_secs(300))))
    });
    let (skew_back_max, skew_ahead_max) =
        skew.unwrap_or((TimeSpan::from_secs(86_400), TimeSpan::from_secs(300)));
    Some(SourceSpec {
        name: name?,
        topic: topic?,
        payload: payload?,
        presence,
        payload_bytes_max,
        skew_back_max,
        skew_ahead_max,
    })
}

fn read_pattern(table: &Table<'_>) -> Option<TopicPattern> {
    let text = table.required::<Located<String>>("topic")?;
    match TopicPattern::parse(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("`topic`: {error}");
            let hint = "for example \"plant/{site}/{class}/{device}/telemetry\"";
            table.place().error(text.span, "wrong-value", message, hint);
            None
        }
    }
}

fn read_payload(table: &Table<'_>) -> Option<Payload> {
    let mapping = table.table("json", |entry| Some(read_json(entry)));
    let Some(decoder) = table.optional::<Located<String>>("decoder") else {
        return Some(Payload::Json(mapping.unwrap_or_default()));
    };
    match decoder.value.as_str() {
        "json" => Some(Payload::Json(mapping.unwrap_or_default())),
        "value" => Some(Payload::Value),
        "raw" => Some(Payload::Raw),
        other => {
            let known = ["json", "value", "raw"];
            let (code, message) = if DECODERS_NOT_BUILT.contains(&other) {
                ("not-supported", format!("decoder `{other}` is not supported in this version"))
            } else {
                ("wrong-value", format!("there is no decoder `{other}`"))
            };
            table.place().error(decoder.span, code, message, did_you_mean(other, &known));
            None
        }
    }
}

fn read_json(table: &Table<'_>) -> JsonMapping {
    JsonMapping {
        timestamp: table.table("timestamp", read_time_field),
        device: read_pointer(table, "device"),
        quality: table.table("quality", |entry| {
            let path = read_pointer(entry, "path");
            let good = scalars(entry.required::<Vec<Scalar>>("good")?);
            Some(Quality { path: path?, good })
        }),
        each: read_pointer(table, "each"),
        metrics: table.table("metrics", |entry| Some(read_metrics(entry))).unwrap_or_default(),
        bad: scalars(table.or("bad", Vec::new())),
        rest: table.or("rest", false),
    }
}

fn read_time_field(table: &Table<'_>) -> Option<TimeField> {
    let path = read_pointer(table, "path");
    let zone = table.optional::<Located<String>>("zone");
    let unit = table.required::<Located<String>>("unit")?;
    let unit = match (unit.value.as_str(), zone) {
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
    };
    Some(TimeField { path: path?, unit })
}

fn read_metrics(table: &Table<'_>) -> Vec<(String, MetricPath)> {
    let mut metrics = Vec::new();
    for (name, entry) in table.entries() {
        let path = if entry.is_table() {
            entry.table(|entry| {
                let pointer = read_pointer(entry, "path");
                Some(MetricPath {
                    scale: entry.or("scale", 1.0),
                    offset: entry.or("offset", 0.0),
                    unit: entry.or("unit", String::new()),
                    pointer: pointer?,
                })
            })
        } else {
            entry.read::<Pointer>().map(|pointer| MetricPath::plain(&pointer.0))
        };
        metrics.extend(path.map(|path| (name.value, path)));
    }
    metrics
}

/// A JSON pointer (RFC 6901).
struct Pointer(String);

impl<'a> FromToml<'a> for Pointer {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let text = String::from_toml(value, context)?;
        if text.starts_with('/') || text.is_empty() {
            return Some(Pointer(text));
        }
        let message = format!("`{}`: \"{text}\" is not a JSON pointer", context.name);
        let hint = format!("write \"/{}\"", text.replace('.', "/"));
        context.place.error(value.span(), "wrong-value", message, hint);
        None
    }
}

fn read_pointer(table: &Table<'_>, key: &'static str) -> Option<String> {
    if key == "path" { table.required::<Pointer>(key) } else { table.optional::<Pointer>(key) }
        .map(|pointer| pointer.0)
}

fn scalars(list: Vec<Scalar>) -> Vec<Json> {
    list.into_iter()
        .map(|scalar| match scalar {
            Scalar::Bool(flag) => Json::from(flag),
            Scalar::Int(number) => Json::from(number),
            Scalar::Float(number) => Json::from(number),
            Scalar::Text(text) => Json::from(text),
        })
        .collect()
}
