//! OPC UA PubSub in JSON (OPC 10000-14, 7.2.5): network messages, data set messages, and the
//! several ways in which a field may be written.

use serde_json::{Map, Value as Json};

use super::json;
use super::readings::Readings;
use super::scalar::Found;
use super::time_field::{self, Clock, TimeUnit};
use super::{Captured, Heard, METRICS_PER_MESSAGE_MAX, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::Reading;
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::time::Timestamp;

/// The severity of a StatusCode is its two top bits: 0 good, 1 uncertain, 2 and 3 bad.
const BAD_FROM: u64 = 0x8000_0000;

/// Reads a network message, a list of them, or bare data set messages.
pub(super) fn read(
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let document = json::document(payload)?;
    let mut read = Reader { metrics, captured: &captured, clock, heard, messages: 0 };
    members(&document).iter().try_for_each(|one| read.message("", one))
}

struct Reader<'a> {
    metrics: &'a Names<Metric>,
    captured: &'a Captured,
    clock: Clock,
    heard: &'a mut Heard,
    messages: usize,
}

impl Reader<'_> {
    fn message(&mut self, publisher: &str, message: &Json) -> Result<(), Refusal> {
        self.messages += 1;
        if self.messages > METRICS_PER_MESSAGE_MAX {
            let detail = format!("more than {METRICS_PER_MESSAGE_MAX} messages");
            return Err(Refusal::new(Rejection::TooManyMetrics, &detail));
        }
        let Some(message) = message.as_object() else {
            return Err(Refusal::new(Rejection::Undecodable, "not an OPC UA JSON message"));
        };
        if let Some(inner) = message.get("Messages") {
            if !is_data(message) {
                return Ok(());
            }
            let publisher = text(message.get("PublisherId"));
            // A header-less network message of one data set has it in place of the list.
            return members(inner).iter().try_for_each(|one| self.message(&publisher, one));
        }
        if !is_data(message) {
            return Ok(());
        }
        match message.get("Payload").map(Json::as_object) {
            Some(Some(fields)) => self.data_set(publisher, message, fields),
            Some(None) => Err(Refusal::new(Rejection::Undecodable, "`Payload` is no object")),
            None if message.contains_key("MessageId") && is_header(message) => {
                Err(Refusal::new(Rejection::Undecodable, "a network message without `Messages`"))
            }
            // A keep-alive.
            None if is_keep_alive(message) => Ok(()),
            // Without a header of its own (7.2.5.4.2) a data set is nothing but its fields.
            None => self.data_set(publisher, &Map::new(), message),
        }
    }

    fn data_set(
        &mut self,
        publisher: &str,
        message: &Map<String, Json>,
        fields: &Map<String, Json>,
    ) -> Result<(), Refusal> {
        let mut facts = self.captured.facts.clone();
        if facts.id.is_empty() {
            facts.id = writer(publisher, message);
        }
        let at = self.time(message.get("Timestamp"));
        let is_bad = status(message.get("Status")) >= BAD_FROM;
        let mut groups: Vec<(Option<Timestamp>, Readings<'_>)> =
            vec![(at, Readings::new(self.metrics))];
        for (name, field) in fields {
            let (value, object) = unfold(field);
            let own = object.and_then(|object| object.get("SourceTimestamp"));
            let at = own.and_then(|own| self.time(Some(own))).or(at);
            let code = object.map_or(0, |object| {
                status(object.get("Status").or_else(|| object.get("StatusCode")))
            });
            let reading = match value.and_then(json::scalar) {
                _ if is_bad || code >= BAD_FROM => Some(Reading::Bad),
                Some(Found::Null) => Some(Reading::Bad),
                Some(found) => found.reading(1.0, 0.0, &mut self.heard.refused),
                None => {
                    let detail = format!("{}: `{name}` is an array or a structure", facts.id);
                    self.heard.refused.push(Refusal::new(Rejection::Datatype, &detail));
                    None
                }
            };
            let Some(reading) = reading else { continue };
            match groups.iter_mut().find(|(time, _)| *time == at) {
                Some((_, readings)) => readings.add(name, reading)?,
                None => {
                    let mut readings = Readings::new(self.metrics);
                    readings.add(name, reading)?;
                    groups.push((at, readings));
                }
            }
        }
        groups.sort_by_key(|(at, _)| *at);
        for (at, readings) in groups {
            self.heard.readings(facts.clone(), at, readings);
        }
        Ok(())
    }

    fn time(&mut self, found: Option<&Json>) -> Option<Timestamp> {
        let found = found.and_then(json::scalar).unwrap_or(Found::Null);
        time_field::read(TimeUnit::Rfc3339, found, self.clock).unwrap_or_else(|refusal| {
            self.heard.refused.push(refusal);
            None
        })
    }
}

/// The members of a list, or the one thing that stands in its place.
fn members(json: &Json) -> &[Json] {
    json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice)
}

/// False for metadata, discovery and status messages.
fn is_data(message: &Map<String, Json>) -> bool {
    let kind = message.get("MessageType").and_then(Json::as_str).unwrap_or("ua-data");
    // A field of a data set without a header may be called so too.
    !kind.starts_with("ua-")
        || matches!(kind, "ua-data" | "ua-keyframe" | "ua-deltaframe" | "ua-event" | "ua-keepalive")
}

/// What headers of network messages and of data sets are made of, beside `Messages` and `Payload`.
const HEADER: [&str; 13] = [
    "MessageId",
    "MessageType",
    "PublisherId",
    "WriterGroupName",
    "DataSetClassId",
    "DataSetWriterId",
    "DataSetWriterName",
    "SequenceNumber",
    "MetaDataVersion",
    "MinorVersion",
    "Timestamp",
    "Status",
    "ReplyTo",
];

/// True when nothing in it is a field for sure.
fn is_header(message: &Map<String, Json>) -> bool {
    message.keys().all(|key| HEADER.contains(&key.as_str()))
}

/// A header without a payload. A data set without a header may have fields called `Timestamp` and
/// `Status`, but hardly the others.
fn is_keep_alive(message: &Map<String, Json>) -> bool {
    let kind = message.get("MessageType").and_then(Json::as_str);
    kind == Some("ua-keepalive")
        || is_header(message)
            && message.keys().any(|key| !matches!(key.as_str(), "Timestamp" | "Status"))
}

/// The data set's writer, which is the device where the topic names none.
fn writer(publisher: &str, message: &Map<String, Json>) -> String {
    let name = message.get("DataSetWriterName").and_then(Json::as_str).map(str::to_owned);
    let writer = name.unwrap_or_else(|| text(message.get("DataSetWriterId")));
    match (publisher.is_empty(), writer.is_empty()) {
        (true, _) => writer,
        (false, true) => publisher.to_owned(),
        (false, false) => format!("{publisher}/{writer}"),
    }
}

fn text(json: Option<&Json>) -> String {
    json.and_then(json::scalar).map(|found| found.to_string()).unwrap_or_default()
}

/// The value of a field: raw, in a Variant (`Type` and `Body`), or in a DataValue (`Value`).
fn unfold(field: &Json) -> (Option<&Json>, Option<&Map<String, Json>>) {
    let Some(object) = field.as_object() else {
        return (Some(field), None);
    };
    let is_data_value = ["Value", "Status", "StatusCode", "SourceTimestamp"]
        .iter()
        .any(|key| object.contains_key(*key));
    if let Some(body) = object.get("Body") {
        return (Some(body), Some(object));
    }
    if !is_data_value {
        return (Some(field), None);
    }
    let value = object.get("Value").unwrap_or(&Json::Null);
    let inner =
        value.as_object().and_then(|inner| inner.get("Body").or_else(|| inner.get("Value")));
    (Some(inner.unwrap_or(value)), Some(object))
}

/// A StatusCode: a number, or an object with `Code`.
fn status(json: Option<&Json>) -> u64 {
    let code = match json {
        Some(Json::Object(object)) => object.get("Code"),
        other => other,
    };
    code.and_then(Json::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
