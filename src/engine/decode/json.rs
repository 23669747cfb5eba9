//! JSON payloads by a declarative mapping, read in one pass: no document is built, and a metric
//! that no rule reads leaves nothing behind.

mod plan;
mod scan;

use serde_json::Value as Json;

use super::mapping::MetricSource;
use super::pointer::{Path, Pointer};
use super::readings::Readings;
use super::scalar::Found;
use super::time_field::{self, Clock};
use super::value::utf8;
use super::{Captured, Heard, METRICS_PER_MESSAGE_MAX, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::time::Timestamp;
pub use plan::JsonPlan;
use plan::Role;
use scan::{Begin, Close, Scan, Stop, unescape};

/// What a pass needs and gives back.
#[derive(Debug, Default)]
pub(super) struct Spare {
    path: Path,
    live: Vec<u32>,
}

/// Reads a payload; a time that is not believed is refused, and the sample counts as of receipt.
pub(super) fn read(
    plan: &JsonPlan,
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    let kept = (heard.decoded.len(), heard.refused.len());
    let Spare { path, live } = std::mem::take(&mut heard.spare.json);
    let scan = Scan::new(text);
    let mut walk = Walk {
        plan,
        metrics,
        captured,
        clock,
        scan,
        path,
        live,
        element: None,
        found_each: false,
        heard: &mut *heard,
    };
    let read = walk.document();
    let Walk { mut path, mut live, scan, .. } = walk;
    path.clear();
    live.clear();
    heard.spare.json = Spare { path, live };
    match (read, scan.into_refusal()) {
        (Err(Stop), Some(refusal)) => {
            heard.decoded.truncate(kept.0);
            heard.refused.truncate(kept.1);
            Err(refusal)
        }
        (Ok(()), _) | (Err(Stop), None) => Ok(()),
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
struct Walk<'a, 't> {
    plan: &'a JsonPlan,
    metrics: &'a Names<Metric>,
    captured: Captured,
    clock: Clock,
    scan: Scan<'t>,
    /// The keys from the element to the object or array that is being read, where they matter.
    path: Path,
    /// The places that may still be reached, those of the innermost value last.
    live: Vec<u32>,
    /// `None` outside of the elements that `each` names.
    element: Option<Element<'a>>,
    found_each: bool,
    heard: &'a mut Heard,
}

/// Where the pass is.
#[derive(Clone, Copy, Debug)]
struct Here {
    /// Where the places begin that may be reached from here.
    live: usize,
    /// How many keys lead here.
    level: usize,
    /// The mapping tells what this is.
    is_covered: bool,
}

impl<'a> Walk<'a, '_> {
    fn document(&mut self) -> Result<(), Stop> {
        let root = Here { live: 0, level: 0, is_covered: false };
        let repeats = self.plan.mapping().each.is_some();
        if repeats {
            self.live.extend(self.plan.outside());
        } else {
            self.element = Some(self.new_element());
            self.live.extend(self.plan.element());
        }
        self.value("", root)?;
        self.scan.end()?;
        if repeats && !self.found_each {
            let detail = "there is no array where `each` says";
            return Err(self.scan.refuse(Refusal::new(Rejection::Undecodable, detail)));
        }
        self.finish_element()
    }

    fn value(&mut self, key: &str, here: Here) -> Result<(), Stop> {
        let takes_rest = self.element.is_some() && self.plan.mapping().rest && !here.is_covered;
        if here.live == self.live.len() && !takes_rest {
            return self.scan.pass();
        }
        let close = match self.scan.begin()? {
            Begin::Scalar(found) => return self.take(key, found, here),
            Begin::Escaped(text) => return self.take(key, Found::Text(&unescape(text)), here),
            Begin::Array if self.is_at(here, Role::Each) => return self.elements(),
            Begin::Array => Close::Array,
            Begin::Object => Close::Object,
        };
        let keeps = self.plan.keeps_path && self.element.is_some() && here.level > 0;
        if keeps {
            self.path.push(key);
        }
        match close {
            Close::Object => self.object(here)?,
            Close::Array => self.array(here)?,
        }
        if keeps {
            self.path.pop();
        }
        Ok(())
    }

    fn object(&mut self, here: Here) -> Result<(), Stop> {
        let mut more = self.scan.first(Close::Object);
        while more {
            let key = self.scan.key()?;
            self.member(&key, here)?;
            more = self.scan.next(Close::Object)?;
        }
        Ok(())
    }

    fn array(&mut self, here: Here) -> Result<(), Stop> {
        let mut members = 0;
        let mut more = self.scan.first(Close::Array);
        while more {
            self.member(itoa::Buffer::new().format(members), here)?;
            members += 1;
            more = self.scan.next(Close::Array)?;
        }
        self.finish_array(members, here)
    }

    /// Reads a member of the object or array `here`.
    fn member(&mut self, key: &str, here: Here) -> Result<(), Stop> {
        let (start, level) = (self.live.len(), here.level + 1);
        let mut is_covered = here.is_covered;
        for at in here.live..start {
            let Some(index) = self.live.get(at).copied() else { break };
            if self.plan.place(index).is_some_and(|(place, _)| place.fits(here.level, key)) {
                is_covered |= self.plan.covers(index, level);
                self.live.push(index);
            }
        }
        self.value(key, Here { live: start, level, is_covered })?;
        self.live.truncate(start);
        Ok(())
    }

    fn elements(&mut self) -> Result<(), Stop> {
        self.found_each = true;
        let start = self.live.len();
        let mut count = 0;
        let mut more = self.scan.first(Close::Array);
        while more {
            self.element = Some(self.new_element());
            self.live.extend(self.plan.element());
            self.value("", Here { live: start, level: 0, is_covered: false })?;
            self.live.truncate(start);
            if count >= METRICS_PER_MESSAGE_MAX {
                let detail = format!("more than {METRICS_PER_MESSAGE_MAX} elements");
                let refusal = Refusal::new(Rejection::TooManyMetrics, &detail);
                return Err(self.scan.refuse(refusal));
            }
            count += 1;
            self.finish_element()?;
            more = self.scan.next(Close::Array)?;
        }
        Ok(())
    }

    fn new_element(&mut self) -> Element<'a> {
        let metrics = self.plan.mapping().metrics.len();
        let counts = if self.plan.counts { vec![0; metrics] } else { Vec::new() };
        let memory = self.heard.spare.readings.pop().unwrap_or_default();
        let readings = Readings::within(self.metrics, memory);
        Element { device: None, at: None, good: true, readings, counts }
    }

    fn is_at(&self, here: Here, role: Role) -> bool {
        let live = self.live.get(here.live..).unwrap_or_default().iter();
        live.filter_map(|index| self.plan.place(*index))
            .any(|(place, its)| *its == role && place.levels() == here.level)
    }

    /// Takes the scalar of a key.
    fn take(&mut self, key: &str, found: Found<'_>, here: Here) -> Result<(), Stop> {
        let mut named = None;
        for at in here.live..self.live.len() {
            let Some(element) = &mut self.element else {
                return Ok(());
            };
            let place = self.live.get(at).and_then(|index| self.plan.place(*index));
            let Some((place, role)) = place.filter(|(place, _)| place.levels() == here.level)
            else {
                continue;
            };
            match role {
                Role::Device => {
                    element.device = Some(found.to_string());
                    return Ok(());
                }
                Role::Time(unit) => {
                    match time_field::read(*unit, found, self.clock) {
                        Ok(at) => element.at = at,
                        Err(refusal) => self.heard.refused.push(refusal),
                    }
                    return Ok(());
                }
                Role::Quality => {
                    let good = self.plan.mapping().quality.iter().flat_map(|quality| &quality.good);
                    element.good = good.into_iter().any(|good| found.is(good));
                    return Ok(());
                }
                Role::Metric(index) if named != Some(*index) => {
                    named = Some(*index);
                    self.take_metric(*index, place, key, found)?;
                }
                Role::Only(index) => self.count(*index, found),
                Role::Metric(_) | Role::Each | Role::Count(_) => {}
            }
        }
        if named.is_some() || !self.plan.mapping().rest || here.is_covered {
            return Ok(());
        }
        self.take_rest(if here.level == 0 { "" } else { key }, found)
    }

    fn take_metric(
        &mut self,
        index: usize,
        place: &Pointer,
        key: &str,
        found: Found<'_>,
    ) -> Result<(), Stop> {
        let Some((name, MetricSource::At { scale, offset, .. })) =
            self.plan.mapping().metrics.get(index)
        else {
            return Ok(());
        };
        match place.star(&self.path, key).filter(|_| name.contains("{1}")) {
            None => self.add(name, found, *scale, *offset),
            Some(star) => {
                let name = name.replace("{1}", star);
                self.add(&name, found, *scale, *offset)
            }
        }
    }

    fn count(&mut self, index: usize, found: Found<'_>) {
        if let Some((_, MetricSource::Count { only: Some((_, wanted)), .. })) =
            self.plan.mapping().metrics.get(index)
            && wanted.iter().any(|wanted| found.is(wanted))
            && let Some(count) = self.element.as_mut().and_then(|e| e.counts.get_mut(index))
        {
            *count += 1;
        }
    }

    /// Takes a scalar that the mapping does not name: its path does.
    fn take_rest(&mut self, key: &str, found: Found<'_>) -> Result<(), Stop> {
        if self.captured.metric.is_none() && self.path.is_root() {
            if key.is_empty() {
                return Ok(());
            }
            return self.add(key, found, 1.0, 0.0);
        }
        // What the name is made of is taken out for the call, and put back.
        let mut path = std::mem::take(&mut self.path);
        let metric = self.captured.metric.take();
        path.push(key);
        let added = match (&metric, path.name()) {
            (None, name) => self.add(name, found, 1.0, 0.0),
            (Some(metric), "") => self.add(metric, found, 1.0, 0.0),
            (Some(metric), name) => self.add(&format!("{metric}.{name}"), found, 1.0, 0.0),
        };
        path.pop();
        self.path = path;
        self.captured.metric = metric;
        added
    }

    fn add(&mut self, name: &str, found: Found<'_>, scale: f64, offset: f64) -> Result<(), Stop> {
        let Some(element) = &mut self.element else {
            return Ok(());
        };
        let id = match element.readings.wanted(name) {
            Ok(id) => id,
            Err(refusal) => return Err(self.scan.refuse(refusal)),
        };
        if id.is_none() && !found.may_be_no_number() {
            return Ok(());
        }
        let reading = if self.plan.mapping().bad.iter().any(|bad| found.is(bad)) {
            Some(Reading::Bad)
        } else {
            found.reading(scale, offset, &mut self.heard.refused)
        };
        if let (Some(id), Some(reading)) = (id, reading) {
            element.readings.put(id, reading);
        }
        Ok(())
    }

    /// The array `here` has ended: what counts its members is known.
    fn finish_array(&mut self, members: usize, here: Here) -> Result<(), Stop> {
        let Some(element) = &mut self.element else {
            return Ok(());
        };
        let live = self.live.get(here.live..).unwrap_or_default().iter();
        for (place, role) in live.filter_map(|index| self.plan.place(*index)) {
            let Role::Count(index) = role else { continue };
            if place.levels() == here.level
                && let Some((name, MetricSource::Count { only, .. })) =
                    self.plan.mapping().metrics.get(*index)
            {
                let members = i64::try_from(members).unwrap_or(i64::MAX);
                let counted = element.counts.get(*index).copied().unwrap_or(0);
                let count = if only.is_some() { counted } else { members };
                let added = element.readings.add(name, Reading::Good(Value::Int(count)));
                added.map_err(|refusal| self.scan.refuse(refusal))?;
            }
        }
        Ok(())
    }

    /// What was read of the element becomes a sample.
    fn finish_element(&mut self) -> Result<(), Stop> {
        let Some(mut element) = self.element.take() else {
            return Ok(());
        };
        for (name, source) in &self.plan.mapping().metrics {
            if let MetricSource::At { absent: Some(absent), .. } = source {
                let added = element.readings.add(name, Reading::Good(absent.clone()));
                added.map_err(|refusal| self.scan.refuse(refusal))?;
            }
        }
        if !element.good {
            element.readings.spoil();
        }
        let mut facts = match self.plan.mapping().each {
            Some(_) => self.captured.facts.clone(),
            None => std::mem::take(&mut self.captured.facts),
        };
        if let Some(id) = element.device {
            facts.id = id;
        }
        self.heard.readings(facts, element.at, element.readings);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
