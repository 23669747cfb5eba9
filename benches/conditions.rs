//! What one evaluation of a condition costs, on one thread, and what a sample costs its history.
//!
//! `cargo bench --bench conditions`. Nothing is asserted: machines differ, the ratios tell.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use faultgate::engine::detect::cel::CompileScope;
use faultgate::engine::detect::{Condition, DeviceMemory, RuleMemory, Scene, When};
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::document::Scalar;
use faultgate::engine::types::message::{Reading, Value};
use faultgate::engine::types::names::Names;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

const LOOKS: u32 = 100_000;
const RUNS: u32 = 10;
const SAMPLES: i64 = 100_000;

fn main() {
    println!("{:<58} {:>8} {:>10}", "condition", "ns/look", "ns/sample");
    for text in [
        "true",
        "temp_c > 80.0",
        "temp_c > 80.0 && door_open == 0",
        "temp_c > params.high && door_open == 0",
        "temp_c > 10.0 && temp_c < 90.0 && (door_open == 1 || power_w > 2.0 * 50.0)",
        "state == \"running\" && mode in [\"auto\", \"manual\"]",
        "state.startsWith(\"run\")",
        "state + \"/\" + mode == \"running/auto\"",
        "unseen > 1 && temp_c > 80.0",
        "temp_c.avg(10m) > 80.0",
        "temp_c.avg(1m) > 80.0 && temp_c.avg(1h) > 80.0",
        "temp_c.max(1h) > 80.0",
        "temp_c.stddev(1h) > 3.0",
        "temp_c.rate(1h) > 3.0",
        "temp_c.avg(1d) > 80.0",
        "temp_c.stuck(1h)",
        "temp_c.ewma(1h) > 80.0",
        "temp_c.zscore(1h) > 8.0",
        "temp_c.deviation(1m, 1h) > 8.0",
    ] {
        let (look, sample) = measure(text);
        println!("{text:<58} {look:>8.1} {sample:>10.1}");
    }
}

/// Nanoseconds of a look, and of taking in a sample of `temp_c`, of which one comes each second.
fn measure(text: &str) -> (f64, f64) {
    let mut metrics = Names::default();
    let rules = Names::default();
    let params = BTreeMap::from([("high".to_owned(), Scalar::Float(80.0))]);
    let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
    let condition = Condition::compile(text, &mut scope).unwrap();
    let mut memory = DeviceMemory::new(&[&condition]);
    let mut learned = RuleMemory::new(&condition, None);
    let temp_c = metrics.intern("temp_c");
    let at = |second: i64| Timestamp::from_millis(1_767_225_600_000 + second * 1_000);
    let reading = |second: i64| Reading::Good(Value::Float((second % 97) as f64 / 10.0));
    let began = Instant::now();
    for second in 0..SAMPLES {
        let reading = reading(second);
        let (event, lateness) = (at(second), Some(TimeSpan::from_secs(10)));
        let when = When { event, reached: event, lateness, maybe_again: false };
        learned.absorb(when, temp_c, &reading, false);
        memory.take(when, &[(temp_c, reading)], &[]);
    }
    let per_sample = began.elapsed().as_nanos() as f64 / SAMPLES as f64;
    let now = at(SAMPLES - 1);
    for (name, value) in [
        ("door_open", Value::Int(0)),
        ("power_w", Value::Float(412.5)),
        ("state", Value::Text("running".into())),
        ("mode", Value::Text("auto".into())),
    ] {
        memory.absorb(now, metrics.intern(name), &Reading::Good(value));
    }
    let device = DeviceFacts::default();
    let scene = Scene {
        memory: &memory,
        learned: learned.of_when(),
        device: &device,
        now,
        stale_after: TimeSpan::from_secs(3_600),
        raised: &|_| false,
        count_raised: &|_, _| None,
        last_message: now,
        offline: false,
        absence_held: false,
    };
    // The best of some runs: what else the machine does only makes a run slower.
    let looks = || {
        let began = Instant::now();
        for _ in 0..LOOKS {
            black_box(black_box(&condition).evaluate(black_box(&scene)));
        }
        began.elapsed().as_nanos() as f64 / f64::from(LOOKS)
    };
    let per_look = (0..RUNS).map(|_| looks()).fold(f64::INFINITY, f64::min);
    (per_look, per_sample)
}
