//! Nanoseconds a message for the decoders, topic and all, without broker and rules.
//!
//! `cargo bench --bench decode`. Nothing is asserted: machines differ.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]

use std::hint::black_box;

use faultgate::engine::decode::{Decoders, Heard, SourceSpec, read_source};
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::names::{Metric, Names};
use faultgate::engine::types::time::Timestamp;

const ROUNDS: usize = 7;
const MESSAGES: u32 = 200_000;

/// A payload of 220 bytes as devices nest it.
const NESTED: &str = r#"{"ts":1775877615000,"id":"fz-000123","env":{"temp_c":-18.25,"humidity":43.5,"door":{"open":false,"count":17}},"motor":{"current_a":3.125,"rpm":1480,"vib":{"rms":0.71,"peak":2.05}},"mode":"cooling","fw":"2.11.4-rel"}"#;
const FLAT: &str = "-18.25";
const BIRTH: &str = "0898dbb7d4d73312110a06e6b8a9e5baa6100a2009653333c34012190a0a4d6f746f722f54656d70100b200a6900000000008034401801";
const DATA: &str = "08e8eab7d4d7331209100a20096500001c4118";

fn main() {
    println!("{} bytes of nested JSON; CPU time, median of {ROUNDS} rounds\n", NESTED.len());
    let topic = "plant/sh-1/freezer/fz-000123/telemetry";
    let pattern = "topic = \"plant/{site}/{class}/{device}/telemetry\"";
    let read = ["env.temp_c", "env.door.open", "motor.current_a", "motor.vib.rms"];
    let few = names(&read, 10);
    let many = names(&read, 1_000);
    let none = names(&[], 10);
    json("json, every scalar, 4 of 10 metrics read", pattern, &few, topic);
    json("json, every scalar, 4 of 1,000 metrics read", pattern, &many, topic);
    let document = time(|| {
        black_box(serde_json::from_str::<serde_json::Value>(black_box(NESTED)).unwrap());
    });
    println!("{:<46} {document:>7.0} ns", "serde_json::Value, to compare");
    json("json, every scalar, no metric read", pattern, &none, topic);
    let mapped = format!(
        "{pattern}\n[json]\ntimestamp = {{ path = \"/ts\", unit = \"ms\" }}\n\
         metrics = {{ a = \"/env/temp_c\", b = \"/env/door/open\", c = \"/motor/current_a\", d = \"/motor/vib/rms\" }}"
    );
    json("json, 4 mapped metrics", &mapped, &names(&["a", "b", "c", "d"], 10), topic);
    let value = "decoder = \"value\"\ntopic = \"plant/{site}/{class}/{device}/{metric}\"";
    let spec = source(value);
    let message = message("plant/sh-1/freezer/fz-000123/temp_c", FLAT.as_bytes());
    measure("one value a topic", &spec, &names(&["temp_c"], 10), &[], &message);
    sparkplug(&names(&["温度", "Motor/Temp"], 10));
}

fn json(what: &str, text: &str, metrics: &Names<Metric>, topic: &str) {
    measure(what, &source(text), metrics, &[], &message(topic, NESTED.as_bytes()));
}

fn sparkplug(metrics: &Names<Metric>) {
    let spec = source("decoder = \"sparkplug-b\"\n[sparkplug]\nrebirth = false");
    let birth = message("spBv1.0/g/DBIRTH/n/d", &bytes(BIRTH));
    let mut data = bytes(DATA);
    data.push(2);
    let data = message("spBv1.0/g/DDATA/n/d", &data);
    measure("sparkplug-b, one metric by alias", &spec, metrics, &[birth], &data);
}

fn measure(
    what: &str,
    spec: &SourceSpec,
    metrics: &Names<Metric>,
    before: &[Message],
    message: &Message,
) {
    let mut decoders = Decoders::new(std::slice::from_ref(spec));
    let now = Timestamp::from_millis(1_775_877_616_000);
    for message in before {
        decoders.decode(spec, metrics, message, now, &mut Heard::default());
    }
    let median = time(|| {
        let mut heard = Heard::default();
        decoders.decode(spec, metrics, black_box(message), now, &mut heard);
        black_box(heard);
    });
    println!("{what:<46} {median:>7.0} ns");
}

/// Nanoseconds of one call.
fn time(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = cpu_ns();
            (0..MESSAGES).for_each(|_| call());
            (cpu_ns() - began) as f64 / f64::from(MESSAGES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split_whitespace().next().unwrap().parse().unwrap()
}

fn source(text: &str) -> SourceSpec {
    let text = format!("name = \"b\"\n{text}");
    let (source, report) = (Source { file: "b.toml".into(), text }, Report::default());
    let place = Place { source: &source, report: &report };
    read_document(place, |table| read_source(table, 262_144)).unwrap()
}

/// The metrics that are read, and others that other devices have.
fn names(read: &[&str], count: usize) -> Names<Metric> {
    let mut names = Names::default();
    for name in read {
        names.intern(name);
    }
    for other in read.len()..count {
        names.intern(&format!("other.metric_{other}"));
    }
    names
}

fn message(topic: &str, payload: &[u8]) -> Message {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Message { source: 0, topic, payload, retain: false, delivery: Delivery::Once }
}

fn bytes(hex: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
