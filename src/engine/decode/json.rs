//! JSON payloads by a declarative mapping, read in one pass: no document is built, and a metric
//! that no rule reads leaves nothing behind.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use serde_json::Value as Json;

use super::mapping::{JsonMapping, MetricSource};
use super::pointer::{Path, Pointer};
use super::readings::Readings;
use super::scalar::Found;
use super::time_field::{self, Clock};
use super::value::utf8;
use super::{Captured, Heard, JSON_DEPTH_MAX, METRICS_PER_MESSAGE_MAX, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::time::Timestamp;

/// Reads a payload; a time that is not believed is refused, and the sample counts as of receipt.
pub(super) fn read(
    mapping: &JsonMapping,
    metrics: &Names<Metric>,
    mut captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    let kept = (heard.decoded.len(), heard.refused.len());
    let mut walk = Walk {
        mapping,
        metrics,
        captured: &mut captured,
        clock,
        path: std::mem::take(&mut heard.spare.path),
        depth: 0,
        element: None,
        found_each: mapping.each.is_none(),
        failure: None,
        heard: &mut *heard,
    };
    if mapping.each.is_none() {
        walk.element = Some(walk.new_element());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let read = walk.deserialize(&mut json).and_then(|()| json.end());
    let failure = match (walk.failure.take(), read) {
        (Some(failure), _) => Some(failure),
        (None, Err(error)) => Some(Refusal::new(Rejection::Undecodable, &error.to_string())),
        (None, Ok(())) if !walk.found_each => {
            Some(Refusal::new(Rejection::Undecodable, "there is no array where `each` says"))
        }
        (None, Ok(())) => walk.finish_element().err(),
    };
    let mut path = std::mem::take(&mut walk.path);
    path.clear();
    heard.spare.path = path;
    match failure {
        None => Ok(()),
        Some(refusal) => {
            heard.decoded.truncate(kept.0);
            heard.refused.truncate(kept.1);
            Err(refusal)
        }
    }
}

/// A payload as a JSON document, for decoders whose payloads are small.
pub(super) fn document(payload: &[u8]) -> Result<Json, Refusal> {
    serde_json::from_str(utf8(payload)?).map_err(|error| {
        let detail = error.to_string();
        let is_deep = detail.contains("recursion limit");
        let reason = if is_deep { Rejection::TooDeep } else { Rejection::Undecodable };
        Refusal::new(reason, &detail)
    })
}

/// A scalar of a document; `None` for arrays and objects.
pub(super) fn scalar(json: &Json) -> Option<Found<'_>> {
    Some(match json {
        Json::Null => Found::Null,
        Json::Bool(flag) => Found::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Found::Int(number),
            (None, Some(number)) => Found::unsigned(number),
            (None, None) => Found::Float(number.as_f64()?),
        },
        Json::String(text) => Found::Text(text),
        Json::Array(_) | Json::Object(_) => return None,
    })
}

/// The text at one place of a JSON document; `None` when it is no JSON or has none there.
pub(super) fn text_at(pointer: &Pointer, text: &str) -> Option<String> {
    let document: Json = serde_json::from_str(text).ok()?;
    let found = document.pointer(&pointer.to_string())?;
    found.as_str().map(str::to_owned)
}

/// What is known of the element that is being read.
struct Element<'a> {
    device: Option<String>,
    at: Option<Timestamp>,
    good: bool,
    readings: Readings<'a>,
    /// Members counted, for each metric that counts; empty where none does.
    counts: Vec<i64>,
}

/// The pass over one document.
struct Walk<'a> {
    mapping: &'a JsonMapping,
    metrics: &'a Names<Metric>,
    captured: &'a mut Captured,
    clock: Clock,
    path: Path,
    depth: usize,
    /// `None` outside of the elements that `each` names.
    element: Option<Element<'a>>,
    found_each: bool,
    failure: Option<Refusal>,
    heard: &'a mut Heard,
}

impl<'a> Walk<'a> {
    fn new_element(&mut self) -> Element<'a> {
        let mapping = self.mapping;
        let counts = if mapping.counts() { vec![0; mapping.metrics.len()] } else { Vec::new() };
        let memory = std::mem::take(&mut self.heard.spare.readings);
        let readings = Readings::within(self.metrics, memory);
        Element { device: None, at: None, good: true, readings, counts }
    }

    /// Takes a scalar at the path.
    fn take(&mut self, found: Found<'_>) -> Result<(), Refusal> {
        let Some(element) = &mut self.element else {
            return Ok(());
        };
        let (mapping, path) = (self.mapping, &self.path);
        if mapping.device.as_ref().is_some_and(|at| at.matches(path).is_some()) {
            element.device = Some(found.to_string());
            return Ok(());
        }
        if let Some(field) = &mapping.timestamp
            && field.path.matches(path).is_some()
        {
            match time_field::read(field.unit, found, self.clock) {
                Ok(at) => element.at = at,
                Err(refusal) => self.heard.refused.push(refusal),
            }
            return Ok(());
        }
        if let Some(quality) = &mapping.quality
            && quality.path.matches(path).is_some()
        {
            element.good = quality.good.iter().any(|good| found.is(good));
            return Ok(());
        }
        self.take_metric(found)
    }

    fn take_metric(&mut self, found: Found<'_>) -> Result<(), Refusal> {
        let mut is_named = false;
        for index in 0..self.mapping.metrics.len() {
            let Some((name, source)) = self.mapping.metrics.get(index) else {
                break;
            };
            match source {
                MetricSource::At { pointers, scale, offset, .. } => {
                    let Some(star) = pointers.iter().find_map(|at| at.matches(&self.path)) else {
                        continue;
                    };
                    is_named = true;
                    match star.filter(|_| name.contains("{1}")) {
                        None => self.add(name, found, *scale, *offset)?,
                        Some(star) => {
                            let name = name.replace("{1}", star);
                            self.add(&name, found, *scale, *offset)?;
                        }
                    }
                }
                MetricSource::Count { only: Some((at, wanted)), .. } => {
                    if at.matches(&self.path).is_some()
                        && wanted.iter().any(|wanted| found.is(wanted))
                        && let Some(element) = &mut self.element
                        && let Some(count) = element.counts.get_mut(index)
                    {
                        *count += 1;
                    }
                }
                MetricSource::Count { only: None, .. } => {}
            }
        }
        if is_named || !self.mapping.rest || self.mapping.covers(&self.path) {
            return Ok(());
        }
        match &self.captured.metric {
            Some(metric) => {
                let name = if self.path.name().is_empty() {
                    metric.clone()
                } else {
                    format!("{metric}.{}", self.path.name())
                };
                self.add(&name, found, 1.0, 0.0)
            }
            None if self.path.name().is_empty() => Ok(()),
            None => {
                // The name is borrowed from the path: taken out for the call, and put back.
                let path = std::mem::take(&mut self.path);
                let added = self.add(path.name(), found, 1.0, 0.0);
                self.path = path;
                added
            }
        }
    }

    fn add(
        &mut self,
        name: &str,
        found: Found<'_>,
        scale: f64,
        offset: f64,
    ) -> Result<(), Refusal> {
        let Some(element) = &mut self.element else {
            return Ok(());
        };
        let id = element.readings.wanted(name)?;
        if id.is_none() && !found.may_be_no_number() {
            return Ok(());
        }
        let reading = if self.mapping.bad.iter().any(|bad| found.is(bad)) {
            Some(Reading::Bad)
        } else {
            found.reading(scale, offset, &mut self.heard.refused)
        };
        if let (Some(id), Some(reading)) = (id, reading) {
            element.readings.put(id, reading);
        }
        Ok(())
    }

    /// The array at the path has ended: what counts its members is known.
    fn finish_array(&mut self, members: usize) -> Result<(), Refusal> {
        let Some(element) = &mut self.element else {
            return Ok(());
        };
        for (index, (name, source)) in self.mapping.metrics.iter().enumerate() {
            let MetricSource::Count { array, only } = source else {
                continue;
            };
            if array.matches(&self.path).is_some() {
                let members = i64::try_from(members).unwrap_or(i64::MAX);
                let counted = element.counts.get(index).copied().unwrap_or(0);
                let count = if only.is_some() { counted } else { members };
                element.readings.add(name, Reading::Good(Value::Int(count)))?;
            }
        }
        Ok(())
    }

    /// What was read of the element becomes a sample.
    fn finish_element(&mut self) -> Result<(), Refusal> {
        let Some(mut element) = self.element.take() else {
            return Ok(());
        };
        for (name, source) in &self.mapping.metrics {
            if let MetricSource::At { absent: Some(absent), .. } = source {
                element.readings.add(name, Reading::Good(absent.clone()))?;
            }
        }
        if !element.good {
            element.readings.spoil();
        }
        let mut facts = match self.mapping.each {
            Some(_) => self.captured.facts.clone(),
            None => std::mem::take(&mut self.captured.facts),
        };
        if let Some(id) = element.device {
            facts.id = id;
        }
        self.heard.readings(facts, element.at, element.readings);
        Ok(())
    }

    fn is_each(&self) -> bool {
        self.element.is_none()
            && self.mapping.each.as_ref().is_some_and(|each| each.matches(&self.path).is_some())
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth <= JSON_DEPTH_MAX {
            return Ok(());
        }
        let detail = format!("JSON nested past {JSON_DEPTH_MAX} levels");
        self.fail(Err(Refusal::new(Rejection::TooDeep, &detail)))
    }

    /// Ends the pass; the parser's own error says only that it was ended.
    fn fail<E: Error>(&mut self, taken: Result<(), Refusal>) -> Result<(), E> {
        taken.map_err(|refusal| {
            self.failure = Some(refusal);
            E::custom("refused")
        })
    }

    fn read_elements<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        self.found_each = true;
        let outside = std::mem::take(&mut self.path);
        for count in 0.. {
            self.element = Some(self.new_element());
            if list.next_element_seed(&mut *self)?.is_none() {
                break;
            }
            let taken = if count < METRICS_PER_MESSAGE_MAX {
                self.finish_element()
            } else {
                let detail = format!("more than {METRICS_PER_MESSAGE_MAX} elements");
                Err(Refusal::new(Rejection::TooManyMetrics, &detail))
            };
            self.fail(taken)?;
        }
        self.element = None;
        self.path = outside;
        self.depth -= 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let taken = self.take(Found::Null);
        self.fail(taken)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        let taken = self.take(Found::Bool(flag));
        self.fail(taken)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        let taken = self.take(Found::Int(number));
        self.fail(taken)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        let taken = self.take(Found::unsigned(number));
        self.fail(taken)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let taken = self.take(Found::Float(number));
        self.fail(taken)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let taken = self.take(Found::Text(text));
        self.fail(taken)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        while map.next_key_seed(Key(&mut self.path))?.is_some() {
            map.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.enter()?;
        if self.is_each() {
            return self.read_elements(list);
        }
        let mut members = 0;
        loop {
            self.path.push_index(members);
            let more = list.next_element_seed(&mut *self)?.is_some();
            self.path.pop();
            if !more {
                break;
            }
            members += 1;
        }
        self.depth -= 1;
        let taken = self.finish_array(members);
        self.fail(taken)
    }
}

/// A key of an object goes straight onto the path.
struct Key<'p>(&'p mut Path);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.push(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
