//! History functions on samples whose answers were worked out by hand.

use std::collections::BTreeMap;

use super::*;
use crate::engine::detect::When;
use crate::engine::detect::{DeviceMemory, RuleMemory};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + second * 1_000)
}

/// Evaluates at `now`, in seconds, on samples of `x` in the order in which they came.
fn evaluate(text: &str, samples: &[(i64, f64)], now: i64) -> Evaluation {
    let mut metrics = Names::default();
    let (rules, params) = (Names::default(), BTreeMap::new());
    let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
    let condition = Condition::compile(text, &mut scope).unwrap();
    let mut memory = DeviceMemory::new(&[&condition]);
    let mut learned = RuleMemory::new(&condition, None);
    let x = metrics.intern("x");
    for (second, value) in samples {
        let reading = Reading::Good(Value::Float(*value));
        memory.absorb(at(*second), x, &reading);
        learned.absorb(When::only(at(*second)), x, &reading, false);
    }
    condition.evaluate(&Scene {
        memory: &memory,
        learned: learned.of_when(),
        device: &DeviceFacts::default(),
        now: at(now),
        stale_after: TimeSpan::ZERO,
        raised: &|_| false,
        count_raised: &|_, _| None,
        last_message: at(samples.last().map_or(0, |(second, _)| *second)),
        offline: false,
        absence_held: false,
    })
}

/// The term is `value`, to nine decimal places.
fn check(term: &str, samples: &[(i64, f64)], now: i64, value: f64) {
    let text = format!("{term} > {:.12} && {term} < {:.12}", value - 1e-9, value + 1e-9);
    assert_eq!(evaluate(&text, samples, now).truth, Truth::True, "{term} is not {value}");
}

const SAMPLES: [(i64, f64); 4] = [(0, 1.0), (10, 3.0), (20, 2.0), (30, 6.0)];

#[test]
fn windows_cover_what_is_younger_than_their_length() {
    // 0 < t <= 30 holds 3, 2, 6.
    check("x.avg(30s)", &SAMPLES, 30, 11.0 / 3.0);
    check("x.sum(30s)", &SAMPLES, 30, 11.0);
    check("x.count(30s)", &SAMPLES, 30, 3.0);
    check("x.min(30s)", &SAMPLES, 30, 2.0);
    check("x.max(30s)", &SAMPLES, 30, 6.0);
    check("x.delta(30s)", &SAMPLES, 30, 3.0);
    // The mean is 11/3; the distances are -2/3, -5/3, 7/3; their squares sum to 78/9; a third of
    // that is 26/9.
    check("x.stddev(30s)", &SAMPLES, 30, (26.0_f64 / 9.0).sqrt());
    // One second more, and the 1 of t = 0 is in it too.
    check("x.avg(31s)", &SAMPLES, 30, 3.0);
}

#[test]
fn a_rate_is_the_slope_of_the_least_squares_line() {
    // Around t = 20 and 11/3: (-10)(-2/3) + 10 * 7/3 = 30, over 100 + 100.
    check("x.rate(30s)", &SAMPLES, 30, 0.15);
    // Around t = 15 and 3: (-15)(-2) + (-5)0 + 5(-1) + 15 * 3 = 70, over 225 + 25 + 25 + 225.
    check("x.rate(31s)", &SAMPLES, 30, 0.14);
    let one = evaluate("x.rate(5s) > 0.0", &SAMPLES, 30).truth;
    assert!(matches!(one, Truth::Unknown(Unknown::NotEnough(_))), "{one:?}");
}

#[test]
fn late_samples_are_placed_by_their_time() {
    let late = [(0, 1.0), (20, 2.0), (30, 6.0), (10, 3.0)];
    check("x.rate(31s)", &late, 30, 0.14);
    check("x.avg(30s)", &late, 30, 11.0 / 3.0);
    check("x.prev()", &late, 30, 2.0);
    check("x.age()", &late, 35, 5.0);
    // The one that came last is the one before the newest.
    let between = [(0, 1.0), (20, 2.0), (30, 6.0), (25, 6.0)];
    check("x.prev()", &between, 30, 6.0);
    assert_eq!(evaluate("x.changed()", &between, 30).truth, Truth::False);
    // Of two of one time, the one that came later is the newer.
    check("x.prev()", &[(0, 1.0), (10, 2.0), (10, 3.0)], 10, 2.0);
    check("x.delta(10s)", &[(0, 1.0), (10, 2.0), (10, 3.0)], 10, 1.0);
}

#[test]
fn the_reading_before_the_newest_tells_a_change() {
    check("x.prev()", &SAMPLES, 30, 2.0);
    assert_eq!(evaluate("x.changed()", &SAMPLES, 30).truth, Truth::True);
    assert_eq!(evaluate("x.changed()", &[(0, 4.0), (1, 4.0)], 1).truth, Truth::False);
    let first = evaluate("x.changed()", &[(0, 4.0)], 0).truth;
    assert!(matches!(first, Truth::Unknown(Unknown::NotEnough(_))), "{first:?}");
}

#[test]
fn stuck_needs_a_sample_before_its_window() {
    let same = [(0, 5.0), (10, 5.0), (20, 5.0), (30, 5.0)];
    assert_eq!(evaluate("x.stuck(30s)", &same, 30).truth, Truth::True);
    let moved = [(0, 5.0), (10, 5.0), (20, 5.5), (30, 5.0)];
    assert_eq!(evaluate("x.stuck(30s)", &moved, 30).truth, Truth::False);
    let uncovered = evaluate("x.stuck(31s)", &same, 30).truth;
    assert!(matches!(uncovered, Truth::Unknown(Unknown::NotEnough(_))), "{uncovered:?}");
}

#[test]
fn an_exponential_mean_forgets_with_its_time_constant() {
    // a = 1 - exp(-dt/10): from 10 towards 20 over 10 s, then 5 s: 20 - 10 exp(-1) exp(-1/2).
    let samples = [(0, 10.0), (10, 20.0), (15, 20.0)];
    check("x.ewma(10s)", &samples, 15, 20.0 - 10.0 * (-1.5_f64).exp());
    let late = [(0, 10.0), (15, 20.0), (10, 20.0)];
    check("x.ewma(10s)", &late, 15, 20.0 - 10.0 * (-1.5_f64).exp());
    // Two of one time: a = 0, the second says nothing.
    check("x.ewma(10s)", &[(0, 10.0), (0, 30.0)], 0, 10.0);
}

#[test]
fn a_score_compares_the_newest_with_all_before_it() {
    // 29 times 0, then 2: with a = 1 - exp(-1) the mean is 2a and the variance (1 - a) a 4.
    let mut samples: Vec<(i64, f64)> = (0..29).map(|n| (n * 10, 0.0)).collect();
    samples.push((290, 2.0));
    let thirty = evaluate("x.zscore(10s) > 0.0", &samples, 290).truth;
    assert!(matches!(thirty, Truth::Unknown(Unknown::NotEnough(_))), "{thirty:?}");
    samples.push((300, 5.0));
    let a = 1.0 - (-1.0_f64).exp();
    let score = (5.0 - 2.0 * a) / (4.0 * a * (1.0 - a)).sqrt();
    check("x.zscore(10s)", &samples, 300, score);
    // The 2 comes after the 5, ten seconds late: as if it had not.
    samples.swap(29, 30);
    check("x.zscore(10s)", &samples, 300, score);
    // Never any spread: any step is infinitely far.
    let flat: Vec<(i64, f64)> = (0..30).map(|n| (n, 4.0)).chain([(30, 5.0)]).collect();
    assert_eq!(evaluate("x.zscore(10s) > 1e300", &flat, 30).truth, Truth::True);
}

#[test]
fn a_band_is_the_short_mean_in_deviations_of_the_long_before_it() {
    // Long, 0 < t <= 20: 1, 3, 1, 3 with mean 2 and deviation 1. Short, 20 < t <= 30: 4, 6.
    let samples = [(5, 1.0), (10, 3.0), (15, 1.0), (20, 3.0), (25, 4.0), (30, 6.0)];
    check("x.deviation(10s, 20s)", &samples, 30, 3.0);
    let late = [(5, 1.0), (15, 1.0), (20, 3.0), (30, 6.0), (25, 4.0), (10, 3.0)];
    check("x.deviation(10s, 20s)", &late, 30, 3.0);
}

#[test]
fn a_condition_tells_when_time_alone_may_change_it() {
    let recheck = |text: &str, now| evaluate(text, &SAMPLES, now).recheck_at;
    assert_eq!(recheck("x.avg(30s) > 0.0", 30), Some(at(40)), "the 3 of t = 10 leaves");
    assert_eq!(recheck("x.age() > 60", 30), Some(at(31)));
    assert_eq!(recheck("absent(1m)", 30), Some(at(90)));
    assert_eq!(recheck("x > 5.0", 30), None);
    assert_eq!(recheck("x.max(21s) > 5.0", 30), Some(at(31)), "the 3 of t = 10 leaves");
    assert_eq!(recheck("x.stuck(20s)", 30), Some(at(40)), "the 2 of t = 20 leaves");
    assert_eq!(recheck("x.count(5s) == 0", 36), None, "nothing is left that could leave");
    assert_eq!(recheck("now > now", 30), Some(at(31)));
    assert_eq!(recheck("x.ewma(10s) > 0.0 || x.zscore(10s) > 0.0", 30), None);
    // 20 < t <= 30 holds the 6, which leaves at 40; 0 < t <= 20 before it holds 3, which leaves
    // at 10 + 10 + 20 = 40, and 2.
    assert_eq!(recheck("x.deviation(10s, 20s) > 0.0", 30), Some(at(40)));
    // The 3 of t = 10 leaves the 19 seconds before the last 10 at 10 + 10 + 19 = 39.
    assert_eq!(recheck("x.deviation(10s, 19s) > 0.0", 30), Some(at(39)));
    // Of several, the first.
    assert_eq!(recheck("x.avg(30s) > 9.0 || absent(5s)", 30), Some(at(35)));
    // A side that decides is not looked beyond.
    assert_eq!(recheck("x > 0.0 || absent(5s)", 30), None);
}

#[test]
fn a_baseline_stands_still_while_the_alarm_is_up_and_goes_on_where_it_stopped() {
    let mut metrics = Names::default();
    let (rules, params) = (Names::default(), BTreeMap::new());
    let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
    let text = "x.deviation(10s, 20s) > 2.999 && x.deviation(10s, 20s) < 3.001";
    let condition = Condition::compile(text, &mut scope).unwrap();
    let mut memory = DeviceMemory::new(&[&condition]);
    let mut learned = RuleMemory::new(&condition, None);
    let x = metrics.intern("x");
    // The baseline holds 1, 3, 1, 3 of 0 < t <= 20: mean 2, deviation 1. At t = 30 an alarm is
    // pending, then it is up for an hour, then it is over. From the first to the last, 5 is 3
    // away, since the baseline's clock stands at 30.
    let baseline = [(5, 1.0), (10, 3.0), (15, 1.0), (20, 3.0)];
    let fault = (30..=3_630).step_by(5).map(|second| (second, 5.0));
    for (second, value) in baseline.into_iter().chain(fault).chain([(3_631, 5.0)]) {
        let reading = Reading::Good(Value::Float(value));
        memory.absorb(at(second), x, &reading);
        learned.absorb(When::only(at(second)), x, &reading, (30..=3_630).contains(&second));
        if second < 30 {
            continue;
        }
        let scene = Scene {
            memory: &memory,
            learned: learned.of_when(),
            device: &DeviceFacts::default(),
            now: at(second),
            stale_after: TimeSpan::ZERO,
            raised: &|_| false,
            count_raised: &|_, _| None,
            last_message: at(second),
            offline: false,
            absence_held: false,
        };
        assert_eq!(condition.evaluate(&scene).truth, Truth::True, "at {second}");
    }
}

#[test]
fn a_history_of_texts_cannot_be_evaluated() {
    for text in [
        "x.avg(1m) > 0.0",
        "x.count(1m) == 0",
        "x.stuck(1m)",
        "x.ewma(1m) > 0.0",
        "x.zscore(1m) > 0.0",
        "x.deviation(1m, 1h) > 0.0",
    ] {
        let mut metrics = Names::default();
        let (rules, params) = (Names::default(), BTreeMap::new());
        let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
        let condition = Condition::compile(text, &mut scope).unwrap();
        let mut memory = DeviceMemory::new(&[&condition]);
        memory.absorb(at(0), metrics.intern("x"), &Reading::Good(Value::Text("热".into())));
        let learned = RuleMemory::new(&condition, None);
        let scene = Scene {
            memory: &memory,
            learned: learned.of_when(),
            device: &DeviceFacts::default(),
            now: at(0),
            stale_after: TimeSpan::ZERO,
            raised: &|_| false,
            count_raised: &|_, _| None,
            last_message: at(0),
            offline: false,
            absence_held: false,
        };
        let truth = condition.evaluate(&scene).truth;
        assert!(matches!(truth, Truth::Unknown(Unknown::Error(_))), "{text}: {truth:?}");
    }
}

#[test]
fn a_list_holds_what_it_holds_and_cannot_be_compared_with_another_type() {
    let truth = |text: &str| evaluate(text, &SAMPLES, 30).truth;
    assert_eq!(truth("x in [5, 6]"), Truth::True);
    assert_eq!(truth("x in ['a', 6]"), Truth::True);
    assert_eq!(truth("x in [1, 2]"), Truth::False);
    let other = truth("x in ['a', 5]");
    assert!(matches!(other, Truth::Unknown(Unknown::Error(_))), "{other:?}");
}
