//! What one message costs in the core alone, on one thread: decode 220 bytes of JSON, evaluate,
//! keep state. No broker, no disk.
//!
//! `cargo bench --bench engine`. Nothing is asserted: machines differ, the ratios tell.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use faultgate::config;
use faultgate::engine::pipeline::{Engine, Settings};
use faultgate::engine::policy;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::effect::Effects;
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::service::cores;

const MESSAGES: usize = 400_000;
const DEVICES: usize = 1_000;
const BATCH: usize = 500;
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn main() {
    let settings = config::load(None, &Report::default()).unwrap().config.unwrap();
    let settings = settings.settings().unwrap();
    println!("{MESSAGES} messages, {DEVICES} devices, none of them in fault\n");
    println!("{:<44} {:>12} {:>8} {:>6}", "", "messages/s", "ns each", "ratio");
    let mut first = None;
    for (name, rules) in [
        ("10 rules on the device", thresholds(10, 10)),
        ("100 rules on the device", thresholds(100, 100)),
        ("10,000 rules, 100 of them on its metric", thresholds(10_000, 100)),
        ("10 rules with windows", windows(10)),
        ("no rule: decode and clock alone", thresholds(1, 0)),
    ] {
        let ns = measure(&settings, &rules);
        let base = *first.get_or_insert(ns);
        println!("{name:<44} {:>12.0} {ns:>8.0} {:>6.2}", 1e9 / ns, ns / base);
    }
    let cores = cores::count();
    for (name, rules) in
        [("10 rules on the device", thresholds(10, 10)), ("10 rules with windows", windows(10))]
    {
        let (one, all) = (measure_on(&settings, &rules, 1), measure_on(&settings, &rules, cores));
        let name = format!("{name}, on {cores} cores");
        println!("{name:<44} {:>12.0} {all:>8.0} {:>6.2} of one core", 1e9 / all, all / one);
    }
}

/// `count` rules that compare with constants: `reading` of them the device's temperature, the rest
/// metrics that it does not send.
fn thresholds(count: usize, reading: usize) -> String {
    let mut text = String::new();
    for rule in 0..count {
        let metric = if rule < reading { "temp_c".to_owned() } else { format!("other_{rule}") };
        let bound = 60 + rule;
        writeln!(text, "[[rule]]\nid = \"r-{rule}\"\nwhen = \"{metric} > {bound}.0\"").unwrap();
    }
    text
}

fn windows(count: usize) -> String {
    let mut text = String::new();
    for rule in 0..count {
        let span = 1 + rule;
        writeln!(text, "[[rule]]\nid = \"w-{rule}\"\nwhen = \"temp_c.avg({span}m) > 60.0\"")
            .unwrap();
    }
    text
}

fn payload(number: usize) -> Vec<u8> {
    let temp = 20.0 + (number % 97) as f64 / 10.0;
    let mut text = format!(
        "{{\"temp_c\":{temp},\"pressure_bar\":4.25,\"vib\":{{\"rms\":0.031,\"peak\":0.12}},\"state\":\"running\",\
         \"door_open\":false,\"power_w\":412.5,\"hours\":18231,\"fw\":\"2.4.1\",\"note\":\"\"}}"
    );
    let pad = "x".repeat(220_usize.saturating_sub(text.len()));
    text.insert_str(text.len() - 2, &pad);
    text.into_bytes()
}

fn measure(settings: &Settings, rules: &str) -> f64 {
    measure_on(settings, rules, 1)
}

fn measure_on(settings: &Settings, rules: &str, cores: usize) -> f64 {
    let source = Source { file: "bench.toml".into(), text: rules.into() };
    let report = Report::default();
    let policy = policy::compile(&[source], &["desk"], &report).expect("rules");
    let mut engine = Engine::new(settings.clone(), policy, START);
    let topics: Vec<String> =
        (0..DEVICES).map(|device| format!("plant/sh-1/machine/m-{device}/telemetry")).collect();
    let payloads: Vec<Vec<u8>> = (0..97).map(payload).collect();
    let message = |number: usize| Message {
        source: 0,
        topic: topics[number % DEVICES].clone(),
        payload: payloads[number % payloads.len()].clone(),
        retain: false,
        delivery: Delivery::Once,
    };
    let mut effects = Effects::default();
    let mut spent = Duration::ZERO;
    // As many as come into one commit; whoever received them has made them.
    for batch in 0..(2 * DEVICES + MESSAGES) / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let messages: Vec<Message> = numbers.clone().map(message).collect();
        let began = Instant::now();
        if cores > 1 {
            let now = START + TimeSpan::from_micros(numbers.start as i64 * 100);
            cores::step(&mut engine, now, messages, cores, &mut effects);
            effects.clear();
        } else {
            for (number, message) in numbers.zip(messages) {
                let now = START + TimeSpan::from_micros(number as i64 * 100);
                engine.step(now, Input::Message(message), &mut effects);
                effects.clear();
            }
        }
        // Every device is known then.
        if batch * BATCH >= 2 * DEVICES {
            spent += began.elapsed();
        }
    }
    spent.as_nanos() as f64 / MESSAGES as f64
}
