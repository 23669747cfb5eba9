//! SenML packs (RFC 8428) in JSON and CBOR: base fields, relative times, several devices a pack.

mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::readings::Readings;
use super::scalar::Found;
use super::time_field::Clock;
use super::{Captured, Heard, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::document::{OneOf, Scalar, Table, Word};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::time::{TimeSpan, Timestamp};
use record::Record;

/// The version of RFC 8428; a pack that asks for a newer one must not be read.
const VERSION: f64 = 10.0;
/// Times below this count from now, in seconds (RFC 8428, 4.5.3).
const RELATIVE_BELOW: f64 = 268_435_456.0;

/// Who a value belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenMlDevice {
    /// The base name, else what stands before the last `:` or `/` of the name.
    #[default]
    Name,
    /// The topic's device; the name without the base name is the metric.
    Topic,
}

impl Word for SenMlDevice {
    const WORDS: &'static [(&'static str, Self)] =
        &[("name", SenMlDevice::Name), ("topic", SenMlDevice::Topic)];
}

/// Reads `[source.senml]`.
pub(super) fn read_settings(table: &Table<'_>) -> SenMlDevice {
    table.optional("device").map_or_else(SenMlDevice::default, |OneOf(device)| device)
}

/// What the records so far say for those that follow.
#[derive(Debug, Default)]
struct Base {
    name: String,
    time: f64,
    value: Option<f64>,
    sum: Option<f64>,
}

/// Reads a pack.
pub(super) fn read(
    by: SenMlDevice,
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let records = record::read(payload)?;
    let mut base = Base::default();
    let mut samples: BTreeMap<(String, Option<Timestamp>), Readings<'_>> = BTreeMap::new();
    for record in &records {
        if record.version.is_some_and(|version| version > VERSION) || record.must_understand {
            let detail = "the pack asks for more than RFC 8428 has";
            return Err(Refusal::new(Rejection::Undecodable, detail));
        }
        base.take(record);
        if record.is_carrier() {
            continue;
        }
        let (device, metric) = base.split(record.name.as_deref(), by, &captured.facts.id);
        if !record.measures() {
            let detail = format!("{device}: `{metric}`: a record without a value");
            heard.refused.push(Refusal::new(Rejection::Undecodable, &detail));
            continue;
        }
        let at = base.time(record, clock, heard);
        let readings = samples.entry((device, at)).or_insert_with(|| Readings::new(metrics));
        if record.is_data {
            let detail = format!("`{metric}`: bytes");
            heard.refused.push(Refusal::new(Rejection::Datatype, &detail));
        }
        if let Some(found) = base.value(record)
            && let Some(reading) = found.reading(1.0, 0.0, &mut heard.refused)
        {
            readings.add(&metric, reading)?;
        }
        if let Some(sum) = record.sum
            && let Some(reading) =
                Found::Float(sum + base.sum.unwrap_or(0.0)).reading(1.0, 0.0, &mut heard.refused)
        {
            readings.add(&format!("{metric}.sum"), reading)?;
        }
    }
    for ((device, at), readings) in samples {
        let mut facts = captured.facts.clone();
        facts.id = device;
        heard.readings(facts, at, readings);
    }
    Ok(())
}

impl Base {
    fn take(&mut self, record: &Record) {
        if let Some(name) = &record.base_name {
            self.name.clone_from(name);
        }
        self.time = record.base_time.unwrap_or(self.time);
        self.value = record.base_value.or(self.value);
        self.sum = record.base_sum.or(self.sum);
    }

    /// Device and metric of a record.
    fn split(&self, name: Option<&str>, by: SenMlDevice, topic: &str) -> (String, String) {
        let name = name.unwrap_or("");
        let full = format!("{}{name}", self.name);
        let halves = full
            .rsplit_once([':', '/'])
            .filter(|(head, tail)| !head.is_empty() && !tail.is_empty());
        let (device, metric) = match (self.name.is_empty(), name.is_empty()) {
            (false, false) => (self.name.trim_end_matches([':', '/', '.']), name),
            (true, _) if !topic.is_empty() => (topic, full.as_str()),
            _ => halves.unwrap_or((full.as_str(), "value")),
        };
        match by {
            SenMlDevice::Name => (device.to_owned(), metric.to_owned()),
            SenMlDevice::Topic => (topic.to_owned(), metric.to_owned()),
        }
    }

    /// When a record was measured; `None` for the time of receipt.
    fn time(&self, record: &Record, clock: Clock, heard: &mut Heard) -> Option<Timestamp> {
        let seconds = self.time + record.time.unwrap_or(0.0);
        if seconds == 0.0 {
            return None;
        }
        let micros = seconds * 1e6;
        let span = (micros.abs() < 9e18).then(|| TimeSpan::from_micros(micros.round() as i64));
        let at = span.map(|span| {
            let start = if seconds < RELATIVE_BELOW { clock.received } else { Timestamp::EPOCH };
            start + span
        });
        let believed = at.filter(|at| clock.believes(*at));
        if believed.is_none() {
            let detail = format!("{seconds} is too far from the time of receipt");
            heard.refused.push(Refusal::new(Rejection::Time, &detail));
        }
        believed
    }

    fn value<'r>(&self, record: &'r Record) -> Option<Found<'r>> {
        Some(match record.value.as_ref()? {
            Scalar::Bool(flag) => Found::Bool(*flag),
            Scalar::Text(text) => Found::Text(text),
            Scalar::Int(number) => match self.value {
                None => Found::Int(*number),
                Some(base) => Found::Float(base + *number as f64),
            },
            Scalar::Float(number) => Found::Float(self.value.unwrap_or(0.0) + number),
        })
    }
}
