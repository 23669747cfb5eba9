//! thin-edge.io: `te/<entity: four levels>/<channel>/<type>`.
//!
//! Measurements are nested JSON; alarms, events and the health of services become metrics of
//! their own. What the gateway does not need (twin, commands, registrations) is passed over.

use serde_json::Value as Json;

use super::json::{self, JsonPlan};
use super::readings::Readings;
use super::scalar::{Found, TEXT_BYTES_MAX};
use super::time_field::{self, Clock, TimeUnit};
use super::value::utf8;
use super::{Captured, Heard, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::text::cut_bytes;

/// What a topic says.
#[derive(Debug)]
struct Address<'t> {
    /// `device/main//` or `device/main/service/mapper`.
    entity: [&'t str; 4],
    channel: &'t str,
    /// The type of what is measured; empty for none.
    kind: &'t str,
}

impl<'t> Address<'t> {
    fn read(topic: &'t str) -> Option<Address<'t>> {
        let mut levels = topic.strip_prefix("te/")?.splitn(6, '/');
        let entity = [levels.next()?, levels.next()?, levels.next()?, levels.next()?];
        let (channel, kind) = match levels.next() {
            None | Some("") => ("", ""),
            Some(channel) => (channel, levels.next().unwrap_or("")),
        };
        Some(Address { entity, channel, kind })
    }

    /// `main` for a device, `main/mapper` for a service of it, else the levels that are there.
    fn id(&self) -> String {
        match self.entity {
            ["device", device, "", ""] => device.to_owned(),
            ["device", device, "service", service] => format!("{device}/{service}"),
            levels => {
                let levels: Vec<&str> = levels.into_iter().filter(|l| !l.is_empty()).collect();
                levels.join("/")
            }
        }
    }
}

/// Reads one message. `captured` is what a pattern of the operator's says, if there is one.
pub(super) fn read(
    plan: &JsonPlan,
    metrics: &Names<Metric>,
    (topic, captured): (&str, Option<Captured>),
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let address = Address::read(topic).ok_or_else(|| Refusal::new(Rejection::Topic, topic))?;
    let mut captured = captured.unwrap_or_default();
    if captured.facts.id.is_empty() {
        captured.facts.id = address.id();
    }
    captured.metric = None;
    match (address.channel, address.kind) {
        ("m", kind) if !kind.ends_with("/meta") => {
            json::read(plan, metrics, captured, payload, clock, heard)
        }
        ("a", kind) if !kind.ends_with("/meta") => {
            read_alarm(kind, metrics, captured, payload, clock, heard)
        }
        ("e", kind) if !kind.ends_with("/meta") => {
            read_event(kind, metrics, captured, payload, clock, heard)
        }
        ("status", "health") => read_health(metrics, captured, payload, heard),
        _ => Ok(()),
    }
}

/// An alarm is there with its severity and text; an empty payload ends it.
fn read_alarm(
    kind: &str,
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let mut readings = Readings::new(metrics);
    let mut at = None;
    readings.add(&format!("alarm.{kind}"), Reading::Good(Value::Bool(!payload.is_empty())))?;
    if !payload.is_empty() {
        let alarm = json::document(payload)?;
        at = time(&alarm, clock, heard);
        for part in ["severity", "text"] {
            if let Some(text) = alarm.get(part).and_then(Json::as_str) {
                readings.add(&format!("alarm.{kind}.{part}"), good(text))?;
            }
        }
    }
    heard.readings(captured.facts, at, readings);
    Ok(())
}

fn read_event(
    kind: &str,
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    if payload.is_empty() {
        return Ok(());
    }
    let event = json::document(payload)?;
    let mut readings = Readings::new(metrics);
    let text = event.get("text").and_then(Json::as_str).unwrap_or("");
    readings.add(&format!("event.{kind}"), good(text))?;
    let at = time(&event, clock, heard);
    heard.readings(captured.facts, at, readings);
    Ok(())
}

/// A service is up or down: as JSON, or as `1` and `0` from the mosquitto bridge.
fn read_health(
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = utf8(payload)?.trim();
    if text.is_empty() {
        return Ok(());
    }
    let document = json::document(payload).unwrap_or(Json::Null);
    let status = match (text, document.get("status").and_then(Json::as_str)) {
        ("1", _) => "up",
        ("0", _) => "down",
        (_, Some(status)) => status,
        (text, None) => {
            let detail = format!("a health message says `{text}`");
            return Err(Refusal::new(Rejection::Undecodable, &detail));
        }
    };
    let mut readings = Readings::new(metrics);
    readings.add("status", good(status))?;
    let facts = captured.facts.clone();
    heard.readings(facts, None, readings);
    heard.presence(captured.facts, status == "up");
    Ok(())
}

fn good(text: &str) -> Reading {
    Reading::Good(Value::Text(cut_bytes(text, TEXT_BYTES_MAX).into()))
}

fn time(
    document: &Json,
    clock: Clock,
    heard: &mut Heard,
) -> Option<crate::engine::types::time::Timestamp> {
    let found = document.get("time").and_then(json::scalar).unwrap_or(Found::Null);
    time_field::read(TimeUnit::Auto, found, clock).unwrap_or_else(|refusal| {
        heard.refused.push(refusal);
        None
    })
}

#[cfg(test)]
mod tests;
