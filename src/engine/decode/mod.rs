//! Stage 1, Message -> Sample: what a payload says, or why it says nothing.
//!
//! A decoder never panics, never guesses, and never keeps more than its limits allow. What it
//! cannot read it refuses with a reason that is counted; a number that is not finite becomes a
//! reading of bad quality, so that the rules see *unknown* and not a value.

mod csv;
mod json;
mod mapping;
mod opcua;
mod pointer;
mod presets;
mod readings;
mod scalar;
mod senml;
mod source;
mod sparkplug;
mod thin_edge;
mod time_field;
mod topic;
mod value;

pub use csv::CsvMapping;
pub use json::JsonPlan;
pub use mapping::{JsonMapping, MetricSource, Quality};
pub use pointer::Pointer;
pub use senml::SenMlDevice;
pub use source::{SourceSpec, decoder_names, read_source};
pub use sparkplug::SparkplugSettings;
pub use time_field::{TimeField, TimeUnit};
pub use topic::{Capture, Captured, PatternError, TopicPattern};

use crate::engine::types::decision::Rejection;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Message, Publication, Reading};
use crate::engine::types::names::{Metric, MetricId, Names};
use crate::engine::types::text::{cut_bytes, one_line};
use crate::engine::types::time::Timestamp;
use readings::Readings;
use time_field::Clock;

/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 256;
/// Most metrics that one message may carry.
pub const METRICS_PER_MESSAGE_MAX: usize = 1_000;
/// Longest metric name, in bytes.
pub const METRIC_NAME_BYTES_MAX: usize = 256;
/// Deepest nesting of a JSON payload.
pub const JSON_DEPTH_MAX: usize = 64;

/// What a payload is.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A JSON document, read by a declarative mapping.
    Json(Box<JsonPlan>),
    /// A JSON object or array, read by the mapping below the topic's metric; else one value.
    ValueOrJson(Box<JsonPlan>),
    /// One number, truth or text; the topic names the metric, else it is `value`.
    Value,
    /// Text that is kept as it is, in the metric `raw`.
    Raw,
    /// Sparkplug B: this gateway is a host application.
    Sparkplug(SparkplugSettings),
    /// A SenML pack, in JSON or CBOR.
    SenMl(SenMlDevice),
    /// thin-edge.io; the mapping is that of its measurements.
    ThinEdge(Box<JsonPlan>),
    /// OPC UA PubSub in JSON.
    OpcUa,
    /// Lines of comma-separated values.
    Csv(Box<CsvMapping>),
}

/// A topic on which a device, or the broker for it, says whether it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// Which levels of the topic say who.
    pub topic: TopicPattern,
    /// Where the word stands in a JSON payload; without it, or when the payload is no JSON, the
    /// payload itself is the word.
    pub path: Option<Pointer>,
    /// Words that mean online.
    pub online: Vec<String>,
    /// Words that mean offline.
    pub offline: Vec<String>,
}

/// What one message, or one element of it, says.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Who, as far as the message says.
    pub facts: DeviceFacts,
    /// What.
    pub news: News,
}

/// What a device says.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Measurements.
    Readings {
        /// The device's time, if it sends one and it can be believed.
        at: Option<Timestamp>,
        /// Metric and reading, each metric once; only metrics that some rule reads.
        readings: Vec<(MetricId, Reading)>,
    },
    /// Measurements that the device had kept: they fill history and start nothing.
    History {
        /// The device's time.
        at: Timestamp,
        /// Metric and reading, as above.
        readings: Vec<(MetricId, Reading)>,
    },
    /// It came or went.
    Presence {
        /// True for online.
        online: bool,
    },
    /// What it said before is no longer known to hold.
    Stale,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for counting.
    pub reason: Rejection,
    /// The particulars, one line of at most [`DETAIL_BYTES_MAX`].
    pub detail: String,
}

/// Longest detail of a refusal, in bytes.
pub const DETAIL_BYTES_MAX: usize = 200;

impl Refusal {
    /// A refusal with its particulars cut to size.
    pub fn new(reason: Rejection, detail: &str) -> Refusal {
        Refusal { reason, detail: cut_bytes(&one_line(detail), DETAIL_BYTES_MAX).to_owned() }
    }
}

/// What came of a message, or of the passing of time.
#[derive(Debug, Default)]
pub struct Heard {
    /// What could be read.
    pub decoded: Vec<Decoded>,
    /// What could not.
    pub refused: Vec<Refusal>,
    /// What the protocol wants said in return.
    pub publish: Vec<Publication>,
    /// Kept for their memory only.
    spare: Spare,
}

/// What a decoder needs for one message and gives back.
#[derive(Debug, Default)]
struct Spare {
    readings: Vec<Vec<(MetricId, Reading)>>,
    json: json::Spare,
}

/// Lists of readings that are kept for later messages.
const SPARE_READINGS_MAX: usize = 16;

impl Heard {
    /// Takes readings back that are done with, for the next message.
    pub fn recycle(&mut self, mut readings: Vec<(MetricId, Reading)>) {
        if self.spare.readings.len() < SPARE_READINGS_MAX {
            readings.clear();
            self.spare.readings.push(readings);
        }
    }

    /// A device has measured something.
    fn readings(&mut self, facts: DeviceFacts, at: Option<Timestamp>, readings: Readings<'_>) {
        let news = News::Readings { at, readings: readings.into_list() };
        self.decoded.push(Decoded { facts, news });
    }

    /// A device came or went.
    fn presence(&mut self, facts: DeviceFacts, online: bool) {
        self.decoded.push(Decoded { facts, news: News::Presence { online } });
    }
}

/// The decoders of all sources, with what those remember that must.
#[derive(Debug)]
pub struct Decoders {
    /// By source; `None` for decoders without a memory.
    hosts: Vec<Option<sparkplug::Host>>,
}

impl Decoders {
    /// Decoders that remember nothing yet.
    pub fn new(sources: &[SourceSpec]) -> Decoders {
        let host = |(index, source): (usize, &SourceSpec)| {
            Some(sparkplug::Host::new(index, source, source.sparkplug()?.clone()))
        };
        let hosts = sources.iter().enumerate().map(host);
        Decoders { hosts: hosts.collect() }
    }

    /// Reads one message of `source`. `metrics` are those that some rule reads.
    pub fn decode(
        &mut self,
        source: &SourceSpec,
        metrics: &Names<Metric>,
        message: &Message,
        received: Timestamp,
        heard: &mut Heard,
    ) {
        let first = heard.decoded.len();
        let host = self.hosts.get_mut(message.source).and_then(Option::as_mut);
        let read = read_message(source, host, metrics, message, received, heard);
        if let Err(refusal) = read {
            heard.refused.push(refusal);
        }
        keep_devices(first, heard);
    }

    /// Reads one message on a topic whose device is known to the caller, of a source for which
    /// [`SourceSpec::topic_tells_all`]: what comes of it says nothing of the device.
    pub fn decode_known(
        &self,
        source: &SourceSpec,
        metrics: &Names<Metric>,
        message: &Message,
        received: Timestamp,
        heard: &mut Heard,
    ) {
        let clock = source.clock(received);
        let known = || Ok(Captured::default());
        let read = check_size(source, message)
            .and_then(|()| read_of_device(source, metrics, message, known, clock, heard));
        if let Err(refusal) = read {
            heard.refused.push(refusal);
        }
    }

    /// A device that was known before a restart; decoders that had a memory of it rebuild it.
    pub fn recall(&mut self, facts: &DeviceFacts, now: Timestamp) {
        for host in self.hosts.iter_mut().flatten() {
            host.recall(facts, now);
        }
    }

    /// Lets what is due by `until` happen in the decoder of one source.
    pub fn wake(&mut self, source: usize, until: Timestamp, heard: &mut Heard) {
        if let Some(host) = self.hosts.get_mut(source).and_then(Option::as_mut) {
            host.wake(until, heard);
        }
    }

    /// When [`Decoders::wake`] must be called at the latest.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.hosts.iter().flatten().filter_map(sparkplug::Host::next_wakeup).min()
    }
}

fn read_message(
    source: &SourceSpec,
    host: Option<&mut sparkplug::Host>,
    metrics: &Names<Metric>,
    message: &Message,
    received: Timestamp,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    check_size(source, message)?;
    let payload = message.payload.as_slice();
    for presence in &source.presence {
        if let Some(captured) = presence.topic.captures(&message.topic) {
            let online = read_presence(presence, payload)?;
            heard.presence(captured.facts, online);
            return Ok(());
        }
    }
    let clock = source.clock(received);
    let captured = || {
        let found = source.topics.iter().find_map(|topic| topic.captures(&message.topic));
        found.ok_or_else(|| Refusal::new(Rejection::Topic, &message.topic))
    };
    match (&source.payload, host) {
        (Payload::Sparkplug(_), Some(host)) => host.hear(source, metrics, message, clock, heard),
        (Payload::ThinEdge(plan), _) => {
            let own = if source.topics.is_empty() { None } else { Some(captured()?) };
            thin_edge::read(plan, metrics, (&message.topic, own), payload, clock, heard)
        }
        (_, _) => read_of_device(source, metrics, message, captured, clock, heard),
    }
}

/// Reads a payload of the device that the topic names.
fn read_of_device(
    source: &SourceSpec,
    metrics: &Names<Metric>,
    message: &Message,
    captured: impl FnOnce() -> Result<Captured, Refusal>,
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let payload = message.payload.as_slice();
    match &source.payload {
        Payload::Json(plan) => json::read(plan, metrics, captured()?, payload, clock, heard),
        Payload::ValueOrJson(plan) => match payload.trim_ascii_start().first() {
            Some(b'{' | b'[') => json::read(plan, metrics, captured()?, payload, clock, heard),
            Some(_) | None => value::read_value(metrics, captured()?, payload, heard),
        },
        Payload::SenMl(by) => senml::read(*by, metrics, captured()?, payload, clock, heard),
        Payload::OpcUa => opcua::read(metrics, captured()?, payload, clock, heard),
        Payload::Csv(mapping) => csv::read(mapping, metrics, captured()?, payload, clock, heard),
        Payload::Value => value::read_value(metrics, captured()?, payload, heard),
        Payload::Raw => value::read_raw(metrics, captured()?, payload, heard),
        Payload::Sparkplug(_) | Payload::ThinEdge(_) => Ok(()),
    }
}

fn check_size(source: &SourceSpec, message: &Message) -> Result<(), Refusal> {
    let (size, most) = (message.payload.len(), source.payload_bytes_max);
    if size <= most {
        return Ok(());
    }
    let detail = format!("{size} bytes on {}, more than {most}", message.topic);
    Err(Refusal::new(Rejection::Oversized, &detail))
}

fn read_presence(presence: &Presence, payload: &[u8]) -> Result<bool, Refusal> {
    let text = value::utf8(payload)?.trim();
    let word = presence.path.as_ref().and_then(|path| json::text_at(path, text));
    let word = word.as_deref().unwrap_or(text);
    let says = |words: &[String]| words.iter().any(|known| known == word);
    if says(&presence.online) {
        return Ok(true);
    }
    if says(&presence.offline) {
        return Ok(false);
    }
    let detail = format!("a presence message says `{word}`, neither online nor offline");
    Err(Refusal::new(Rejection::Undecodable, &detail))
}

/// Leaves out, and refuses, what names no device that could be kept.
fn keep_devices(first: usize, heard: &mut Heard) {
    let Heard { decoded, refused, .. } = heard;
    let mut at = 0;
    decoded.retain(|element| {
        at += 1;
        let checked = if at > first { check_device(&element.facts.id) } else { Ok(()) };
        checked.map_err(|refusal| refused.push(refusal)).is_ok()
    });
}

fn check_device(id: &str) -> Result<(), Refusal> {
    let wrong = if id.is_empty() {
        "the message names no device".to_owned()
    } else if id.len() > DEVICE_ID_BYTES_MAX {
        format!("a device id of {} bytes, more than {DEVICE_ID_BYTES_MAX}", id.len())
    } else if id.chars().any(char::is_control) {
        format!("a device id with control characters: {id}")
    } else {
        return Ok(());
    };
    Err(Refusal::new(Rejection::DeviceId, &wrong))
}

#[cfg(test)]
mod tests;
