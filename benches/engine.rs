//! What one message costs in the core alone, on one thread: decode 220 bytes of JSON, evaluate,
//! keep state. No broker, no disk.
//!
//! `cargo bench --bench engine`. CPU time of the best of some rounds, as other work on the machine
//! slows this down and never speeds it up. Nothing is asserted: machines differ, the ratios tell.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]

use std::fmt::Write;

use faultgate::config;
use faultgate::engine::pipeline::{Engine, Settings};
use faultgate::engine::policy;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::effect::Effects;
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::service::cores;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 12;
const MESSAGES: usize = 40_000;
const DEVICES: usize = 1_000;
const BATCH: usize = 500;
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn main() {
    let settings = config::load(None, &Report::default()).unwrap().config.unwrap();
    let settings = settings.settings().unwrap();
    println!("best of {ROUNDS} rounds of {MESSAGES} messages, {DEVICES} devices, none in fault\n");
    let columns = ["messages/s", "ns each", "ratio", "allocations"];
    println!(
        "{:<44} {:>12} {:>8} {:>6} {:>12}",
        "", columns[0], columns[1], columns[2], columns[3]
    );
    let mut first = None;
    for (name, rules) in [
        ("10 rules on the device", thresholds(10, 10)),
        ("100 rules on the device", thresholds(100, 100)),
        ("10,000 rules, 100 of them on its metric", thresholds(10_000, 100)),
        ("10 rules with windows", windows(10)),
        ("no rule: decode and clock alone", thresholds(1, 0)),
    ] {
        let Cost { ns, allocations } = measure(&settings, &rules, 1);
        let (rate, ratio) = (1e9 / ns, ns / *first.get_or_insert(ns));
        println!("{name:<44} {rate:>12.0} {ns:>8.0} {ratio:>6.2} {allocations:>12.2}");
    }
    let cores = cores::count();
    for (name, rules) in
        [("10 rules on the device", thresholds(10, 10)), ("10 rules with windows", windows(10))]
    {
        let one = measure(&settings, &rules, 1).ns;
        let Cost { ns, .. } = measure(&settings, &rules, cores);
        let name = format!("{name}, on {cores} cores");
        println!("{name:<44} {:>12.0} {ns:>8.0} {:>6.2} of one core", 1e9 / ns, ns / one);
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

/// Of one message.
struct Cost {
    ns: f64,
    allocations: f64,
}

fn measure(settings: &Settings, rules: &str, cores: usize) -> Cost {
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
    let mut allocated = 0;
    let mut round = |first: usize, messages: usize| {
        let mut spent = 0;
        // As many as come into one commit; whoever received them has made them.
        for first in (first..first + messages).step_by(BATCH) {
            let batch: Vec<Message> = (first..first + BATCH).map(message).collect();
            let now = |number: usize| START + TimeSpan::from_micros(number as i64 * 100);
            let began = ns(cores);
            let counted = allocation_counter::measure(|| {
                if cores > 1 {
                    cores::step(&mut engine, now(first), batch, cores, &mut effects);
                    effects.clear();
                    return;
                }
                for (number, message) in (first..).zip(batch) {
                    engine.step(now(number), Input::Message(message), &mut effects);
                    effects.clear();
                }
            });
            spent += ns(cores) - began;
            allocated += counted.count_total;
        }
        (spent as f64 / messages as f64, std::mem::take(&mut allocated) as f64 / messages as f64)
    };
    // Then every device is known, and its history has room for what comes.
    round(0, 50 * DEVICES);
    let rounds = (0..ROUNDS).map(|number| round(50 * DEVICES + number * MESSAGES, MESSAGES));
    let (ns, allocations) =
        rounds.reduce(|best, next| (best.0.min(next.0), best.1.max(next.1))).unwrap();
    Cost { ns, allocations }
}

/// CPU time of this thread; where several work, what passes meanwhile.
fn ns(cores: usize) -> i64 {
    let clock = if cores > 1 { ClockId::Monotonic } else { ClockId::ThreadCPUTime };
    let told = clock_gettime(clock);
    told.tv_sec * 1_000_000_000 + told.tv_nsec
}
