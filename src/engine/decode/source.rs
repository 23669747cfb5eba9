//! The decoding part of a `[[source]]`, read from TOML.

use super::mapping::{read_json, read_pointer};
use super::sparkplug::SparkplugSettings;
use super::time_field::Clock;
use super::{
    JsonMapping, JsonPlan, Payload, Pointer, Presence, TimeField, TimeUnit, TopicPattern, csv,
    presets, senml, sparkplug,
};
use crate::engine::types::diagnostic::{Report, did_you_mean};
use crate::engine::types::document::{Context, FromToml, Located, Place, Table, read_document};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// How the messages of one source are read.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Name in logs and metrics.
    pub name: String,
    /// Which levels of the topic say who reports; the first pattern that fits counts.
    pub topics: Vec<TopicPattern>,
    /// What to subscribe where the operator says nothing.
    pub filters: Vec<String>,
    /// What the payload is.
    pub payload: Payload,
    /// Last will and birth messages.
    pub presence: Vec<Presence>,
    /// Largest payload, in bytes.
    pub payload_bytes_max: usize,
    /// How far a device's time may lie before the receipt.
    pub skew_back_max: TimeSpan,
    /// How far it may lie ahead.
    pub skew_ahead_max: TimeSpan,
}

impl SourceSpec {
    /// The name as a Sparkplug host application, perhaps empty; `None` for other decoders.
    pub fn host_id(&self) -> Option<&str> {
        self.sparkplug().map(|settings| settings.host_id.as_str())
    }

    pub(super) fn sparkplug(&self) -> Option<&SparkplugSettings> {
        match &self.payload {
            Payload::Sparkplug(settings) => Some(settings),
            Payload::Json(_)
            | Payload::ValueOrJson(_)
            | Payload::Value
            | Payload::Raw
            | Payload::SenMl(_)
            | Payload::ThinEdge(_)
            | Payload::OpcUa
            | Payload::Csv(_) => None,
        }
    }

    /// True when a message on this topic is for this source.
    pub fn fits(&self, topic: &str) -> bool {
        let presence = self.presence.iter().map(|presence| &presence.topic);
        let mut patterns = self.topics.iter().chain(presence);
        let covered =
            |filter: &String| filter.strip_suffix('#').is_some_and(|head| topic.starts_with(head));
        patterns.any(|pattern| pattern.captures(topic).is_some())
            || self.topics.is_empty() && self.filters.iter().any(covered)
    }

    /// The metrics that its messages can have, where the configuration lists them all; `None`
    /// where devices choose them.
    pub fn metrics(&self) -> Option<Vec<&str>> {
        if self.topics.iter().any(TopicPattern::captures_metric) {
            return None;
        }
        match &self.payload {
            Payload::Json(plan) if !plan.mapping().rest => {
                let names = plan.mapping().metrics.iter().map(|(name, _)| name.as_str());
                // `{1}` stands for what the payload has there.
                names.map(|name| (!name.contains('{')).then_some(name)).collect()
            }
            Payload::Value => Some(vec!["value"]),
            Payload::Raw => Some(vec!["raw"]),
            Payload::Csv(mapping) if !mapping.columns.is_empty() => {
                let time = mapping.timestamp.as_ref().map(|(column, _)| column);
                let other = |column: &&String| {
                    Some(*column) != time && Some(*column) != mapping.device.as_ref()
                };
                Some(mapping.columns.iter().filter(other).map(String::as_str).collect())
            }
            Payload::Json(_)
            | Payload::ValueOrJson(_)
            | Payload::Sparkplug(_)
            | Payload::SenMl(_)
            | Payload::ThinEdge(_)
            | Payload::OpcUa
            | Payload::Csv(_) => None,
        }
    }

    /// True when a topic says everything about the device that speaks on it, and its payloads say
    /// nothing of it: then a topic needs to be read once only.
    pub fn topic_tells_all(&self) -> bool {
        let plain = match &self.payload {
            Payload::Json(plan) | Payload::ValueOrJson(plan) => plan.mapping().device.is_none(),
            Payload::Value | Payload::Raw => true,
            Payload::Sparkplug(_)
            | Payload::SenMl(_)
            | Payload::ThinEdge(_)
            | Payload::OpcUa
            | Payload::Csv(_) => false,
        };
        plain && !self.topics.iter().any(TopicPattern::captures_metric)
    }

    pub(super) fn clock(&self, received: Timestamp) -> Clock {
        Clock { received, back_max: self.skew_back_max, ahead_max: self.skew_ahead_max }
    }
}

/// Every word that may stand after `decoder =`.
pub fn decoder_names() -> Vec<&'static str> {
    DECODERS.into_iter().chain(presets::PRESETS.map(|(name, _)| name)).collect()
}

/// Decoders that are no presets.
const DECODERS: [&str; 9] = [
    "json",
    "value",
    "value-or-json",
    "raw",
    "sparkplug-b",
    "senml",
    "thin-edge",
    "opcua-json",
    "csv",
];

/// What a decoder brings along before the operator's keys.
struct Base {
    topics: Vec<TopicPattern>,
    filters: Vec<String>,
    payload: Payload,
    presence: Vec<Presence>,
}

impl Base {
    fn plain(payload: Payload, filters: &[&str]) -> Base {
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Base { topics: Vec::new(), filters, payload, presence: Vec::new() }
    }
}

/// Reads the decoding keys of a `[[source]]`.
pub fn read_source(table: &Table<'_>, payload_bytes_max: usize) -> Option<SourceSpec> {
    let name = table.required::<String>("name");
    let base = read_decoder(table, name.as_deref().unwrap_or_default());
    let own_presence = table.tables("presence", read_presence);
    let topics = table.optional::<Patterns>("topic").map(|Patterns(topics)| topics);
    let skew = table.table("max_skew", |entry| {
        let back = entry.or("back", TimeSpan::from_secs(86_400));
        Some((back, entry.or("ahead", TimeSpan::from_secs(300))))
    });
    let (skew_back_max, skew_ahead_max) =
        skew.unwrap_or((TimeSpan::from_secs(86_400), TimeSpan::from_secs(300)));
    let base = base?;
    if topics.is_none() && !table.has("topic") && base.topics.is_empty() && base.filters.is_empty()
    {
        let hint = "for example topic = \"plant/{site}/{class}/{device}/telemetry\"";
        table.place().error(table.span(), "missing-key", "source: `topic` is missing", hint);
        return None;
    }
    let presence = if own_presence.is_empty() { base.presence } else { own_presence };
    let filters = match &topics {
        Some(topics) if !topics.is_empty() => {
            let patterns = topics.iter().chain(presence.iter().map(|presence| &presence.topic));
            patterns.map(TopicPattern::filter).collect()
        }
        Some(_) | None => base.filters,
    };
    Some(SourceSpec {
        name: name?,
        topics: topics.unwrap_or(base.topics),
        filters,
        payload: base.payload,
        presence,
        payload_bytes_max,
        skew_back_max,
        skew_ahead_max,
    })
}

fn read_decoder(table: &Table<'_>, name: &str) -> Option<Base> {
    let decoder = table.optional::<Located<String>>("decoder");
    let word = decoder.as_ref().map_or("json", |decoder| decoder.value.as_str());
    let span = || decoder.as_ref().map_or_else(|| table.span(), |found| found.span.clone());
    let preset = presets::find(word);
    let base = match &preset {
        Some(source) => {
            let report = Report::default();
            let place = Place { source, report: &report };
            read_document(place, |preset| {
                let word = preset.required::<String>("decoder")?;
                let mut base = read_kind(preset, &word, name, false)?;
                base.topics = preset.required::<Patterns>("topic")?.0;
                base.filters = preset.required("topics")?;
                base.presence = preset.tables("presence", read_presence);
                Some(base)
            })
        }
        None => read_kind(table, word, name, true),
    };
    let Some(mut base) = base else {
        let message = format!("there is no decoder `{word}`");
        let hint = did_you_mean(word, &decoder_names());
        table.place().error(span(), "wrong-value", message, hint);
        // What may stand beside it depends on the decoder.
        for settings in ["json", "csv", "senml", "sparkplug"] {
            table.has(settings);
        }
        return None;
    };
    if preset.is_some()
        && let Payload::Json(plan) | Payload::ValueOrJson(plan) = &mut base.payload
    {
        let start = plan.mapping().clone();
        if let Some(read) = table.table("json", |entry| Some(read_json(entry, start))) {
            **plan = JsonPlan::new(read);
        }
    }
    Some(base)
}

/// What the decoder of this word reads, with the operator's own keys for it; `None` for a word
/// that is no decoder. `defaults`: a mapping that is not there reads every scalar.
fn read_kind(table: &Table<'_>, word: &str, name: &str, defaults: bool) -> Option<Base> {
    let plan = || {
        let own = table.table("json", |entry| Some(read_json(entry, JsonMapping::empty())));
        let mapping = own.unwrap_or_else(|| {
            if defaults { JsonMapping::default() } else { JsonMapping::empty() }
        });
        Box::new(JsonPlan::new(mapping))
    };
    Some(match word {
        "json" => Base::plain(Payload::Json(plan()), &[]),
        "value-or-json" => Base::plain(Payload::ValueOrJson(plan()), &[]),
        "value" => Base::plain(Payload::Value, &[]),
        "raw" => Base::plain(Payload::Raw, &[]),
        "opcua-json" => Base::plain(Payload::OpcUa, &[]),
        "senml" => {
            let device = table.table("senml", |entry| Some(senml::read_settings(entry)));
            Base::plain(Payload::SenMl(device.unwrap_or_default()), &[])
        }
        "csv" => {
            let mapping = table.table("csv", |entry| Some(csv::read_mapping(entry)));
            Base::plain(Payload::Csv(Box::new(mapping.unwrap_or_default())), &[])
        }
        "thin-edge" => {
            let path = Pointer::parse("/time");
            let timestamp = path.map(|path| TimeField { path, unit: TimeUnit::Auto });
            let mapping = JsonMapping { timestamp, rest: true, ..JsonMapping::empty() };
            Base::plain(Payload::ThinEdge(Box::new(JsonPlan::new(mapping))), &["te/#"])
        }
        "sparkplug-b" => {
            let settings = table.table("sparkplug", |entry| Some(sparkplug::read(entry, name)));
            let settings = settings.unwrap_or_else(|| sparkplug::SparkplugSettings::of(name));
            Base::plain(Payload::Sparkplug(settings), &["spBv1.0/#"])
        }
        _ => return None,
    })
}

fn read_presence(table: &Table<'_>) -> Option<Presence> {
    let topic = table.required::<Patterns>("topic");
    let words = |key, default: &str| {
        table.optional::<Words>(key).map_or_else(|| vec![default.to_owned()], |words| words.0)
    };
    Some(Presence {
        online: words("online", "online"),
        offline: words("offline", "offline"),
        path: if table.has("path") { read_pointer(table, "path") } else { None },
        topic: topic?.0.into_iter().next()?,
    })
}

/// One text or several.
struct Words(Vec<String>);

impl<'a> FromToml<'a> for Words {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        if value.get_ref().is_array() {
            return Vec::from_toml(value, context).map(Words);
        }
        String::from_toml(value, context).map(|word| Words(vec![word]))
    }
}

/// One topic pattern or several.
struct Patterns(Vec<TopicPattern>);

impl<'a> FromToml<'a> for Patterns {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let Words(texts) = Words::from_toml(value, context)?;
        let mut patterns = Vec::new();
        for text in &texts {
            match TopicPattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let message = format!("`{}`: {error}", context.name);
                    let hint = "for example \"plant/{site}/{class}/{device}/telemetry\"";
                    context.place.error(value.span(), "wrong-value", message, hint);
                    return None;
                }
            }
        }
        Some(Patterns(patterns))
    }
}
