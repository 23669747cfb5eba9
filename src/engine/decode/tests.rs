//! A source as an operator writes it, and what its decoder makes of messages.

use super::*;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::message::{Delivery, Reading};

/// 2026-04-11T03:20:15Z, when every message is received.
pub(super) const RECEIVED: Timestamp = Timestamp::from_millis(1_775_877_615_000);

/// One source and the metrics that are read.
pub(super) struct Ear {
    pub spec: SourceSpec,
    pub metrics: Names<Metric>,
    pub decoders: Decoders,
}

/// The source of a `[[source]]` without name, or what `check` says of it.
pub(super) fn source(text: &str) -> Result<SourceSpec, Vec<String>> {
    let text = format!("name = \"plant\"\n{text}");
    let source = Source { file: "f.toml".into(), text };
    let report = Report::default();
    let place = Place { source: &source, report: &report };
    let spec = read_document(place, |table| read_source(table, 262_144));
    let found = report.into_sorted();
    if found.is_empty() {
        return spec.ok_or_else(Vec::new);
    }
    Err(found.into_iter().map(|found| format!("{}: {}", found.message, found.hint)).collect())
}

impl Ear {
    pub fn new(text: &str, metrics: &[&str]) -> Ear {
        let spec = source(text).expect("a source");
        let mut names = Names::default();
        for metric in metrics {
            names.intern(metric);
        }
        let decoders = Decoders::new(std::slice::from_ref(&spec));
        Ear { spec, metrics: names, decoders }
    }

    pub fn decode(&mut self, topic: &str, payload: &[u8]) -> Heard {
        let (topic, payload) = (topic.to_owned(), payload.to_vec());
        let message =
            Message { source: 0, topic, payload, retain: false, delivery: Delivery::Once };
        let mut heard = Heard::default();
        self.decoders.decode(&self.spec, &self.metrics, &message, RECEIVED, &mut heard);
        heard
    }

    /// `device @seconds name=value ...` for each sample, then the reasons of what was refused.
    pub fn hear(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Vec<String> {
        let heard = self.decode(topic, payload.as_ref());
        let mut told = Vec::new();
        for Decoded { facts, news } in heard.decoded {
            told.push(match news {
                News::Presence { online } => format!("{} online={online}", facts.id),
                News::Stale => format!("{} stale", facts.id),
                News::Readings { at, readings } => self.line(&facts.id, at, &readings),
                News::History { at, readings } => self.line(&facts.id, Some(at), &readings),
            });
        }
        told.extend(heard.refused.into_iter().map(|refusal| refusal.reason.word().to_owned()));
        told
    }

    fn line(&self, id: &str, at: Option<Timestamp>, list: &[(MetricId, Reading)]) -> String {
        let at =
            at.map_or("now".into(), |at| (at.since(RECEIVED).micros() as f64 / 1e6).to_string());
        let mut parts: Vec<String> = list
            .iter()
            .map(|(id, reading)| match reading {
                Reading::Good(value) => format!(" {}={value}", self.metrics.text(*id)),
                Reading::Bad => format!(" {}!", self.metrics.text(*id)),
            })
            .collect();
        parts.sort();
        format!("{id} @{at}{}", parts.concat())
    }
}

#[test]
fn one_value_a_topic_is_a_number_a_truth_or_a_text() {
    let mut ear =
        Ear::new("decoder = \"value\"\ntopic = \"s/{device}/{metric...}\"", &["温度", "a/b", "on"]);
    assert_eq!(ear.spec.filters, ["s/+/#"]);
    assert_eq!(ear.hear("s/d1/温度", " -4.5e1\n"), ["d1 @now 温度=-45"]);
    assert_eq!(ear.hear("s/d1/on", "true"), ["d1 @now on=true"]);
    assert_eq!(ear.hear("s/d1/a/b", "运行"), ["d1 @now a/b=运行"]);
    assert_eq!(ear.hear("s/d1/温度", "NaN"), ["d1 @now 温度!", "number"]);
    assert_eq!(ear.hear("s/d1/温度", "1e999"), ["d1 @now 温度!", "number"]);
    assert_eq!(ear.hear("s/d1/温度", [0xff]), ["invalid-utf8"]);
    assert_eq!(ear.hear("x", "1"), ["topic"]);
}

#[test]
fn a_decoder_that_is_not_there_is_refused_with_a_guess() {
    let found = source("topic = \"a/{device}\"\ndecoder = \"zigbe2mqtt\"").expect_err("refused");
    assert!(found[0].contains("no decoder `zigbe2mqtt`"), "{found:?}");
    assert!(found[0].contains("zigbee2mqtt"), "{found:?}");
    let found = source("decoder = \"json\"").expect_err("refused");
    assert!(found[0].contains("`topic` is missing"), "{found:?}");
    let found = source("decoder = \"sparkplug-b\"\n[json]\nrest = true").expect_err("refused");
    assert!(found[0].contains("unknown key `json`"), "{found:?}");
}

#[test]
fn a_mapping_of_an_operator_is_read_in_full() {
    let text = r##"
topic = "plant/{site}/{device}/telemetry"
[json]
timestamp = { path = "/t", unit = "ms" }
device = "/id"
quality = { path = "/q", good = [192, "good"] }
metrics = { temp_c = "/temperature", vib = { path = "/vib/rms", scale = 10.0, offset = 1.0, unit = "m/s2" }, "{1}" = "/params/*/value" }
bad = ["#VALUE!", "NaN", ""]
rest = true
"##;
    let mut ear = Ear::new(text, &["temp_c", "vib", "p1", "other.x", "id"]);
    let payload = r##"{"t": 1775877614000, "id": "冷柜", "q": "good", "temperature": -18,
        "vib": {"rms": 2}, "params": {"p1": {"value": "#VALUE!", "unit": "x"}}, "other": {"x": true}}"##;
    let expected = "冷柜 @-1 other.x=true p1! temp_c=-18 vib=21";
    assert_eq!(ear.hear("plant/s/d/telemetry", payload), [expected]);
    let found = source("topic = \"{device}\"\n[json]\nmetrics = { a = \"b.c\" }\neach = \"x\"");
    let found = found.expect_err("refused");
    assert!(found.iter().any(|line| line.contains("write \"/b/c\"")), "{found:?}");
}
