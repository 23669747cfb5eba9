//! Stage 1, Message -> Sample: what a payload says, or why it says nothing.
//!
//! A decoder never panics, never guesses, and never keeps more than its limits allow. What it
//! cannot read it refuses with a reason that is counted; a number that is not finite becomes a
//! reading of bad quality, so that the rules see *unknown* and not a value.

mod json;
mod json_pass;
mod json_path;
mod mapping;
mod time_field;
mod topic;
mod value;

pub use mapping::{JsonMapping, MetricPath, Quality, read_source};
pub use time_field::{TimeField, TimeUnit};
pub use topic::{Capture, Captured, PatternError, TopicPattern};

use crate::engine::types::decision::Rejection;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Message, Reading};
use crate::engine::types::text::{cut_bytes, one_line};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 256;
/// Most metrics that one message may carry.
pub const METRICS_PER_MESSAGE_MAX: usize = 1_000;
/// Longest metric name, in bytes.
pub const METRIC_NAME_BYTES_MAX: usize = 256;
/// Deepest nesting of a JSON payload.
pub const JSON_DEPTH_MAX: usize = 64;

/// How the messages of one source are read.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Name in logs and metrics.
    pub name: String,
    /// Which levels of the topic say who reports.
    pub topic: TopicPattern,
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

/// What a payload is.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A JSON document, read by a declarative mapping.
    Json(JsonMapping),
    /// One number, truth or text; the topic names the metric, else it is `value`.
    Value,
    /// Text that is kept as it is, in the metric `raw`.
    Raw,
}

/// A topic on which a device, or the broker for it, says whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which levels of the topic say who.
    pub topic: TopicPattern,
    /// Payload that means online.
    pub online: String,
    /// Payload that means offline.
    pub offline: String,
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
        /// Metric and reading, each metric once.
        readings: Vec<(String, Reading)>,
    },
    /// It came or went.
    Presence {
        /// True for online.
        online: bool,
    },
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

/// Tells whether some rule reads a metric of this name: nothing else need be kept.
pub type Wanted<'a> = &'a dyn Fn(&str) -> bool;

/// Reads one message. What can be read goes to `out`, what cannot goes to `refused`.
pub fn decode(
    source: &SourceSpec,
    message: &Message,
    received: Timestamp,
    wanted: Wanted<'_>,
    out: &mut Vec<Decoded>,
    refused: &mut Vec<Refusal>,
) {
    let first = out.len();
    let read = read_message(source, message, received, wanted, out, refused);
    if let Err(refusal) = read {
        refused.push(refusal);
    }
    let mut kept = first;
    for at in first..out.len() {
        match check_device(&out[at].facts.id) {
            Ok(()) => {
                out.swap(kept, at);
                kept += 1;
            }
            Err(refusal) => refused.push(refusal),
        }
    }
    out.truncate(kept);
}

fn read_message(
    source: &SourceSpec,
    message: &Message,
    received: Timestamp,
    wanted: Wanted<'_>,
    out: &mut Vec<Decoded>,
    refused: &mut Vec<Refusal>,
) -> Result<(), Refusal> {
    if message.payload.len() > source.payload_bytes_max {
        let detail = format!(
            "{} bytes on {}, more than {}",
            message.payload.len(),
            message.topic,
            source.payload_bytes_max
        );
        return Err(Refusal::new(Rejection::Oversized, &detail));
    }
    for presence in &source.presence {
        if let Some(captured) = presence.topic.captures(&message.topic) {
            out.push(read_presence(presence, captured, &message.payload)?);
            return Ok(());
        }
    }
    let captured = source
        .topic
        .captures(&message.topic)
        .ok_or_else(|| Refusal::new(Rejection::Topic, &message.topic))?;
    match &source.payload {
        Payload::Json(mapping) => {
            let clock = time_field::Clock {
                received,
                back_max: source.skew_back_max,
                ahead_max: source.skew_ahead_max,
            };
            json::read(mapping, captured, &message.payload, clock, wanted, out, refused)
        }
        Payload::Value => value::read_value(captured, &message.payload, out, refused),
        Payload::Raw => value::read_raw(captured, &message.payload, out),
    }
}

fn read_presence(
    presence: &Presence,
    captured: Captured,
    payload: &[u8],
) -> Result<Decoded, Refusal> {
    let online = if payload == presence.online.as_bytes() {
        true
    } else if payload == presence.offline.as_bytes() {
        false
    } else {
        let detail = format!(
            "a presence message says neither `{}` nor `{}`",
            presence.online, presence.offline
        );
        return Err(Refusal::new(Rejection::Undecodable, &detail));
    };
    Ok(Decoded { facts: captured.facts, news: News::Presence { online } })
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
