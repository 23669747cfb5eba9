//! JSON payloads by a declarative mapping, read in one pass without a tree.
//!
//! Only what some rule reads is kept: most of what a device sends concerns no rule, and costs no
//! more than its characters.

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use serde_json::Value as Json;

use super::json_pass::Node;
use super::json_path::Path;
use super::mapping::{JsonMapping, MetricPath};
use super::time_field::{self, Clock};
use super::value::{TEXT_BYTES_MAX, utf8};
use super::{
    Captured, Decoded, JSON_DEPTH_MAX, METRIC_NAME_BYTES_MAX, METRICS_PER_MESSAGE_MAX, News,
    Refusal, Wanted,
};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::text::cut_bytes;

/// Reads a payload; a time that is not believed is refused, and the sample counts as of receipt.
pub(super) fn read(
    mapping: &JsonMapping,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    wanted: Wanted<'_>,
    out: &mut Vec<Decoded>,
    refused: &mut Vec<Refusal>,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    let mut walk = Walk {
        mapping,
        wanted,
        path: Path::default(),
        depth: 0,
        elements: Vec::new(),
        inside: mapping.each.is_none(),
        has_array: false,
        refused,
        fault: None,
    };
    if walk.inside {
        walk.elements.push(Element::default());
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = Node(&mut walk).deserialize(&mut parser).and_then(|()| parser.end());
    let Walk { elements, has_array, fault, .. } = walk;
    if let Err(error) = read {
        let undecodable = || Refusal::new(Rejection::Undecodable, &error.to_string());
        return Err(fault.unwrap_or_else(undecodable));
    }
    if let (Some(each), false) = (&mapping.each, has_array) {
        return Err(Refusal::new(Rejection::Undecodable, &format!("no array at `{each}`")));
    }
    for element in elements {
        out.push(element.decoded(mapping, captured.clone(), clock, refused));
    }
    Ok(())
}

/// One element of `each`, or the whole document.
#[derive(Debug)]
struct Element {
    device: Option<Json>,
    time: Option<Json>,
    good: bool,
    count: usize,
    readings: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    reading: Reading,
    is_mapped: bool,
}

impl Default for Element {
    fn default() -> Element {
        Element { device: None, time: None, good: true, count: 0, readings: Vec::new() }
    }
}

impl Element {
    fn decoded(
        self,
        mapping: &JsonMapping,
        mut captured: Captured,
        clock: Clock,
        refused: &mut Vec<Refusal>,
    ) -> Decoded {
        if let Some(id) = self.device {
            captured.facts.id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        }
        let at = match (&mapping.timestamp, self.time) {
            (Some(field), Some(found)) => time_field::read(field.unit, &found, clock)
                .map_err(|refusal| refused.push(refusal))
                .ok(),
            _ => None,
        };
        let told = |Named { name, reading, .. }| match self.good {
            true => (name, reading),
            false => (name, Reading::Bad),
        };
        let readings = self.readings.into_iter().map(told).collect();
        Decoded { facts: captured.facts, news: News::Readings { at, readings } }
    }

    /// Keeps a reading. What the mapping names comes before what has its name by chance; of two
    /// that are the same, the later counts, as everywhere in JSON.
    fn keep(&mut self, name: Cow<'_, str>, reading: Reading, is_mapped: bool) {
        match self.readings.iter_mut().find(|known| known.name == name) {
            Some(known) if known.is_mapped && !is_mapped => {}
            Some(known) => {
                known.reading = reading;
                known.is_mapped = is_mapped;
            }
            None => self.readings.push(Named { name: name.into_owned(), reading, is_mapped }),
        }
    }
}

/// A value without members.
#[derive(Clone, Debug)]
pub(super) enum Leaf<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

impl Leaf<'_> {
    fn to_json(&self) -> Json {
        match self {
            Leaf::Null => Json::Null,
            Leaf::Bool(flag) => Json::from(*flag),
            Leaf::Int(number) => Json::from(*number),
            Leaf::Float(number) => Json::from(*number),
            Leaf::Text(text) => Json::from(text.as_ref()),
        }
    }
}

/// The state of the pass.
pub(super) struct Walk<'a> {
    pub mapping: &'a JsonMapping,
    wanted: Wanted<'a>,
    pub path: Path,
    pub depth: usize,
    elements: Vec<Element>,
    /// What is read now belongs to an element.
    pub inside: bool,
    /// The array of elements was there.
    has_array: bool,
    refused: &'a mut Vec<Refusal>,
    /// Why the pass was ended, where that was not the parser.
    pub fault: Option<Refusal>,
}

impl Walk<'_> {
    pub fn leaf(&mut self, leaf: &Leaf<'_>) {
        let Some(element) = self.elements.last_mut().filter(|_| self.inside) else {
            return;
        };
        let JsonMapping { timestamp, device, quality, metrics, rest, .. } = self.mapping;
        if timestamp.as_ref().is_some_and(|field| self.path.is_at(&field.path)) {
            element.time = Some(leaf.to_json());
        }
        if device.as_ref().is_some_and(|pointer| self.path.is_at(pointer)) {
            element.device = Some(leaf.to_json());
        }
        if let Some(quality) = quality.as_ref().filter(|known| self.path.is_at(&known.path)) {
            element.good = quality.good.contains(&leaf.to_json());
        }
        for (name, path) in metrics {
            if let Some(wild) = self.path.fits(&path.pointer).map(str::to_owned) {
                let name = match name.contains("{1}") {
                    true => Cow::Owned(name.replace("{1}", &wild)),
                    false => Cow::Borrowed(name.as_str()),
                };
                let name = Some(name).filter(|name| self.is_wanted(name));
                self.add(name, leaf, path, true);
            }
        }
        if *rest && !self.path.name().is_empty() && !self.is_named() {
            let name = Some(self.path.name()).filter(|name| self.is_wanted(name));
            let name = name.map(|name| Cow::Owned(name.to_owned()));
            self.add(name, leaf, &PLAIN, false);
        }
    }

    /// True at and below the place of something that the mapping names.
    fn is_named(&self) -> bool {
        let JsonMapping { timestamp, device, quality, metrics, .. } = self.mapping;
        let under = |pointer: &str| self.path.is_under(pointer);
        timestamp.as_ref().is_some_and(|field| under(&field.path))
            || device.as_deref().is_some_and(under)
            || quality.as_ref().is_some_and(|quality| under(&quality.path))
            || metrics.iter().any(|(_, path)| under(&path.pointer))
    }

    fn is_wanted(&self, name: &str) -> bool {
        name.len() <= METRIC_NAME_BYTES_MAX && (self.wanted)(name)
    }

    /// Adds a reading; one that nobody wants is only counted, and refused if it is no number.
    fn add(
        &mut self,
        name: Option<Cow<'_, str>>,
        leaf: &Leaf<'_>,
        path: &MetricPath,
        is_mapped: bool,
    ) {
        let count = self.elements.last_mut().map_or(0, |element| {
            element.count += 1;
            element.count
        });
        if count > METRICS_PER_MESSAGE_MAX {
            let detail = format!("more than {METRICS_PER_MESSAGE_MAX} metrics");
            self.fault = Some(Refusal::new(Rejection::TooManyMetrics, &detail));
            return;
        }
        if name.is_none() && !matches!(leaf, Leaf::Text(text) if is_not_a_number(text)) {
            return;
        }
        let reading = self.reading(leaf, path);
        if let (Some(name), Some(reading), Some(element)) =
            (name, reading, self.elements.last_mut())
        {
            element.keep(name, reading, is_mapped);
        }
    }

    fn reading(&mut self, leaf: &Leaf<'_>, path: &MetricPath) -> Option<Reading> {
        let bad = &self.mapping.bad;
        if !bad.is_empty() && bad.contains(&leaf.to_json()) {
            return Some(Reading::Bad);
        }
        let value = match leaf {
            Leaf::Null => return None,
            Leaf::Bool(flag) => Value::Bool(*flag),
            Leaf::Int(number) if path.is_identity() => Value::Int(*number),
            Leaf::Int(number) => return Some(self.scaled(*number as f64, path)),
            Leaf::Float(number) => return Some(self.scaled(*number, path)),
            Leaf::Text(text) if is_not_a_number(text) => {
                self.refused.push(Refusal::new(Rejection::Number, text));
                return Some(Reading::Bad);
            }
            Leaf::Text(text) => Value::Text(cut_bytes(text, TEXT_BYTES_MAX).into()),
        };
        Some(Reading::Good(value))
    }

    fn scaled(&mut self, number: f64, path: &MetricPath) -> Reading {
        let scaled = number.mul_add(path.scale, path.offset);
        if scaled.is_finite() {
            return Reading::Good(Value::Float(scaled));
        }
        self.refused.push(Refusal::new(Rejection::Number, &number.to_string()));
        Reading::Bad
    }

    /// Goes into an object or an array.
    pub fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > JSON_DEPTH_MAX {
            let detail = format!("JSON nested past {JSON_DEPTH_MAX} levels");
            return Err(self.end(Rejection::TooDeep, &detail));
        }
        let timestamp = self.mapping.timestamp.as_ref();
        if let Some(element) = self.elements.last_mut().filter(|_| self.inside)
            && timestamp.is_some_and(|field| self.path.is_at(&field.path))
        {
            // A time that is there and no time at all is told, as any other that cannot be read.
            element.time = Some(Json::Null);
        }
        Ok(())
    }

    pub fn begin_element(&mut self) -> (usize, usize) {
        self.elements.push(Element::default());
        self.inside = true;
        self.has_array = true;
        self.path.rebase()
    }

    /// `is_there`: it was one, not the end of the array.
    pub fn end_element(&mut self, base: (usize, usize), is_there: bool) {
        self.inside = false;
        self.path.restore(base);
        if !is_there {
            self.elements.pop();
        }
    }

    /// Ends the pass for a reason of ours.
    pub fn end<E: serde::de::Error>(&mut self, reason: Rejection, detail: &str) -> E {
        self.fault = Some(Refusal::new(reason, detail));
        E::custom(detail)
    }
}

/// Texts that devices put where a number has no value (IEEE 754 specials in JSON).
fn is_not_a_number(text: &str) -> bool {
    const SPECIALS: [&str; 6] = ["nan", "inf", "-inf", "+inf", "infinity", "-infinity"];
    SPECIALS.iter().any(|special| text.eq_ignore_ascii_case(special))
}

/// What is not scaled.
const PLAIN: MetricPath =
    MetricPath { pointer: String::new(), scale: 1.0, offset: 0.0, unit: String::new() };

#[cfg(test)]
mod tests {
    use super::super::mapping::{MetricPath, Quality};
    use super::*;
    use crate::engine::types::time::{TimeSpan, Timestamp};
    use serde_json::json;

    /// `device name=value ...` for every element, and the words of what was refused.
    fn read_all(mapping: &JsonMapping, payload: &[u8]) -> (Vec<String>, Vec<&'static str>) {
        let received = Timestamp::parse_rfc3339("2026-04-11T03:20:15Z").expect("a time");
        let clock = Clock {
            received,
            back_max: TimeSpan::from_secs(86_400),
            ahead_max: TimeSpan::from_secs(300),
        };
        let (mut out, mut refused) = (Vec::new(), Vec::new());
        let all = |_: &str| true;
        let end = read(mapping, Captured::default(), payload, clock, &all, &mut out, &mut refused);
        refused.extend(end.err());
        let told = out
            .into_iter()
            .map(|decoded| match decoded.news {
                News::Presence { online } => format!("presence {online}"),
                News::Readings { readings, .. } => {
                    let mut line = decoded.facts.id;
                    for (name, reading) in readings {
                        match reading {
                            Reading::Good(value) => line.push_str(&format!(" {name}={value}")),
                            Reading::Bad => line.push_str(&format!(" {name}!")),
                        }
                    }
                    line
                }
            })
            .collect();
        (told, refused.into_iter().map(|refusal| refusal.reason.word()).collect())
    }

    #[test]
    fn every_scalar_becomes_a_metric_named_by_its_path() {
        let payload = json!({"ts": 1_775_877_615, "a": {"b": 1.5, "c": [true, "中文"]}, "n": null});
        let (told, refused) = read_all(&JsonMapping::default(), payload.to_string().as_bytes());
        assert_eq!(told, [" a.b=1.5 a.c.0=true a.c.1=中文"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn a_mapping_names_scales_and_repeats() {
        let mapping = JsonMapping {
            timestamp: None,
            device: Some("/id".into()),
            quality: Some(Quality { path: "/q".into(), good: vec![json!(192)] }),
            each: Some("/readings".into()),
            metrics: vec![
                ("vib".into(), MetricPath { scale: 2.0, offset: 1.0, ..MetricPath::plain("/v") }),
                ("{1}".into(), MetricPath::plain("/params/*/value")),
            ],
            bad: vec![json!("#VALUE!")],
            rest: false,
        };
        let payload = json!({"readings": [
            {"id": "冷柜-3", "v": 3, "params": {"p1": {"value": 7}, "p2": {"value": "#VALUE!"}}},
            {"id": 12, "q": 0, "v": 3},
        ]});
        let (told, refused) = read_all(&mapping, payload.to_string().as_bytes());
        assert_eq!(told, ["冷柜-3 p1=7 p2! vib=7", "12 vib!"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn what_is_no_measurement_is_refused_with_its_reason() {
        let mapping = JsonMapping::default();
        let deep = "[".repeat(50_000);
        for (payload, expected) in [
            (&b"\xff\xfe"[..], "invalid-utf8"),
            (b"{\"a\": ", "undecodable"),
            (b"", "undecodable"),
            (deep.as_bytes(), "too-deep"),
            (b"{\"a\": NaN}", "undecodable"),
            (b"{\"a\": 1e999}", "undecodable"),
        ] {
            assert_eq!(read_all(&mapping, payload), (Vec::new(), vec![expected]));
        }
        let (told, refused) = read_all(&mapping, b"{\"a\": \"NaN\", \"b\": 1}");
        assert_eq!((told, refused), (vec![" a! b=1".to_owned()], vec!["number"]));
    }
}
