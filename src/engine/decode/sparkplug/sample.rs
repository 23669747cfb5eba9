//! The values of one message, put together by the time at which they were measured.

use std::collections::BTreeMap;

use super::datatype;
use super::payload::{METRICS_MAX, Metric, Payload, Raw};
use crate::engine::decode::readings::Readings;
use crate::engine::decode::time_field::Clock;
use crate::engine::decode::{Decoded, Heard, News, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::names::{self, Names};
use crate::engine::types::time::Timestamp;

/// The session number in births and deaths.
const BD_SEQ: &str = "bdSeq";

/// When something was measured; history goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Past(Timestamp),
    /// `None`: at the time of receipt.
    Now(Option<Timestamp>),
}

/// What one message says about one device.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    metrics: &'a Names<names::Metric>,
    facts: DeviceFacts,
    clock: Clock,
    /// The time of the whole payload, if it can be believed.
    at: Option<Timestamp>,
    is_time_told: bool,
    groups: BTreeMap<When, Readings<'a>>,
}

impl<'a> Samples<'a> {
    pub fn new(
        metrics: &'a Names<names::Metric>,
        facts: DeviceFacts,
        clock: Clock,
        payload: &Payload<'_>,
    ) -> Samples<'a> {
        let at = payload.timestamp.and_then(timestamp).filter(|at| clock.believes(*at));
        Samples { metrics, facts, clock, at, is_time_told: false, groups: BTreeMap::new() }
    }

    pub fn received(&self) -> Timestamp {
        self.clock.received
    }

    /// The session number of a birth.
    pub fn birth_sequence(&self, payload: &Payload<'_>) -> Option<u64> {
        bd_seq(payload)
    }

    /// The device came.
    pub fn presence(&self, online: bool, heard: &mut Heard) {
        let news = News::Presence { online };
        heard.decoded.push(Decoded { facts: self.facts.clone(), news });
    }

    /// Takes every metric of a birth: it states how things are now, whenever they last changed.
    pub fn take_birth(&mut self, payload: &Payload<'_>, heard: &mut Heard) {
        for metric in &payload.metrics {
            let Some(name) = metric.name else { continue };
            if name == BD_SEQ || name.starts_with("Node Control/") {
                continue;
            }
            let now = Metric { timestamp: payload.timestamp, ..*metric };
            let metric = if metric.is_historical { metric } else { &now };
            // A datatype that cannot be read is counted; a rebirth would not change it.
            self.take(name, metric.datatype, metric, heard).ok();
        }
    }

    /// Takes one metric; what cannot be taken is told. `Err` when a rebirth would help.
    pub fn take(
        &mut self,
        name: &str,
        datatype: Option<u64>,
        metric: &Metric<'_>,
        heard: &mut Heard,
    ) -> Result<(), ()> {
        let Some(when) = self.when(metric, heard) else {
            return Ok(());
        };
        let readings = self.groups.entry(when);
        let readings = readings.or_insert_with(|| Readings::up_to(self.metrics, METRICS_MAX));
        match datatype::reading(metric, datatype, &mut heard.refused) {
            Ok(reading) => match readings.add(name, reading) {
                Ok(()) => Ok(()),
                Err(refusal) => {
                    heard.refused.push(refusal);
                    Ok(())
                }
            },
            Err(refusal) => {
                let detail = format!("{}: `{name}`: {}", self.facts.id, refusal.detail);
                heard.refused.push(Refusal::new(refusal.reason, &detail));
                if datatype.is_none() { Err(()) } else { Ok(()) }
            }
        }
    }

    /// When a metric was measured; `None` for history that cannot be placed.
    fn when(&mut self, metric: &Metric<'_>, heard: &mut Heard) -> Option<When> {
        let own = metric.timestamp.and_then(timestamp);
        let believed = own.filter(|at| self.clock.believes(*at));
        if believed.is_none() && metric.timestamp.is_some() && !self.is_time_told {
            self.is_time_told = true;
            let detail = format!("{}: a metric's time is too far from the receipt", self.facts.id);
            heard.refused.push(Refusal::new(Rejection::Time, &detail));
        }
        if metric.is_historical {
            return believed.map(When::Past);
        }
        Some(When::Now(believed.or(self.at)))
    }

    /// Hands everything over. A message without a value that is wanted is a sign of life.
    pub fn finish(self, heard: &mut Heard) {
        let Samples { metrics, facts, at, mut groups, .. } = self;
        if !groups.keys().any(|when| matches!(when, When::Now(_))) {
            groups.insert(When::Now(at), Readings::new(metrics));
        }
        for (when, readings) in groups {
            let readings = readings.into_list();
            let news = match when {
                When::Past(_) if readings.is_empty() => continue,
                When::Past(at) => News::History { at, readings },
                When::Now(at) => News::Readings { at, readings },
            };
            heard.decoded.push(Decoded { facts: facts.clone(), news });
        }
    }
}

/// The session number in a birth or death.
pub(super) fn bd_seq(payload: &Payload<'_>) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some(BD_SEQ))?;
    match metric.value? {
        Raw::Int(number) => Some(number),
        Raw::Float(_) | Raw::Double(_) | Raw::Bool(_) | Raw::Text(_) | Raw::Other => None,
    }
}

fn timestamp(millis: u64) -> Option<Timestamp> {
    i64::try_from(millis).ok()?.checked_mul(1_000).map(Timestamp::from_micros)
}
