//! Windows against figures computed by hand, and against a plain recomputation from all samples.

use proptest::prelude::*;

use super::super::series::{BLOCKS_MAX, RESOLUTION, SAMPLES_MAX, Series};
use super::*;
use crate::engine::types::time::TimeSpan;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn series(samples: &[(i64, f64)]) -> Series {
    let mut series = Series::new(TimeSpan::from_secs(100));
    for (second, value) in samples {
        series.push(at(*second), *value);
    }
    series
}

fn window(series: &Series, from: i64, to: i64) -> Window<'_> {
    Window::new(series, at(from), at(to))
}

#[test]
fn figures_of_a_window_are_those_computed_by_hand() {
    let series = series(&[(0, 100.0), (10, 2.0), (20, 4.0), (30, 4.0), (40, 6.0)]);
    let window = window(&series, 0, 40);
    assert_eq!(window.count(), 4);
    assert_eq!(window.sum(), 16.0);
    assert_eq!(window.mean(), Some(4.0));
    assert_eq!((window.least(), window.greatest()), (Some(2.0), Some(6.0)));
    assert_eq!(window.deviation(), Some(2.0_f64.sqrt()));
    assert_eq!(window.delta(), Some(4.0));
    // Times -15 -5 5 15, values -2 0 0 2: (30 + 0 + 0 + 30) / 500.
    assert!((window.rate().expect("a slope") - 0.12).abs() < 1e-12);
}

#[test]
fn an_empty_window_has_no_mean_and_one_sample_has_no_slope() {
    let series = series(&[(10, 2.0)]);
    assert_eq!(window(&series, 10, 20).mean(), None);
    assert_eq!(window(&series, 0, 20).rate(), None);
    assert_eq!(window(&series, 0, 20).deviation(), Some(0.0));
}

#[test]
fn stuck_needs_samples_over_all_of_the_window() {
    let stuck = series(&[(0, 5.0), (10, 5.0), (20, 5.0)]);
    assert_eq!(window(&stuck, 5, 20).stuck(), Some(true));
    let young = series(&[(10, 5.0), (20, 5.0)]);
    assert_eq!(window(&young, 5, 20).stuck(), None);
    let moving = series(&[(0, 5.0), (10, 5.0), (20, 5.1)]);
    assert_eq!(window(&moving, 5, 20).stuck(), Some(false));
    let after_a_gap = series(&[(0, 5.0), (60, 6.0)]);
    assert_eq!(window(&after_a_gap, 30, 60).stuck(), Some(false));
}

#[test]
fn a_long_window_forgets_what_is_older_than_it() {
    let mut series = Series::new(TimeSpan::from_secs(21_600));
    for second in 0..172_800 {
        series.push(at(second), second as f64);
    }
    for hours in [1, 6] {
        let length = hours * 3_600;
        let count = window(&series, 172_799 - length, 172_799).count() as i64;
        // Until neighbours become one, the edge is blurred by a block of 32.
        let blur = (length / RESOLUTION).max(32);
        assert!((length..=length + blur).contains(&count), "{count} of {length}");
    }
}

#[test]
fn a_series_stays_bounded_and_its_figures_stay_true() {
    let mut series = Series::new(TimeSpan::from_secs(1_000_000));
    let count = 200_000;
    for second in 0..count {
        series.push(at(second), (second % 7) as f64);
    }
    let (blocks, samples) = series.sizes();
    assert!(blocks <= BLOCKS_MAX && samples <= SAMPLES_MAX, "{blocks} {samples}");
    let window = window(&series, -1, count);
    let values = (0..count).map(|second| (second % 7) as f64);
    let mean = values.clone().sum::<f64>() / count as f64;
    let variance = values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / count as f64;
    assert_eq!(window.count() as i64, count);
    assert!((window.mean().expect("a mean") - mean).abs() < 1e-9);
    assert!((window.deviation().expect("a deviation") - variance.sqrt()).abs() < 1e-9);
}

#[test]
fn a_value_that_spoils_a_sum_is_forgotten_with_its_window() {
    let mut series = Series::new(TimeSpan::from_secs(100));
    for second in 0..2_000 {
        series.push(at(second), if second < 500 { f64::MAX } else { 0.1 });
    }
    let mean = window(&series, 1_899, 1_999).mean().expect("a mean");
    assert!((mean - 0.1).abs() < 1e-15, "{mean}");
}

/// What a window says, computed from all samples that ever came.
fn recomputed(samples: &[(i64, f64)], from: i64, to: i64) -> (Vec<(i64, f64)>, Option<f64>) {
    let mut sorted = samples.to_vec();
    sorted.sort_by_key(|(second, _)| *second);
    let before = sorted.iter().rev().find(|(second, _)| *second <= from).map(|(_, v)| *v);
    sorted.retain(|(second, _)| from < *second && *second <= to);
    (sorted, before)
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (1.0 + b.abs()),
        (a, b) => a == b,
    }
}

/// Samples with equal times, gaps and late ones, in the order in which they come.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![6 => 0_i64..4, 1 => 4_i64..60, 2 => -30_i64..0];
    let value = prop_oneof![3 => (-8_i32..8).prop_map(|n| f64::from(n) / 4.0), 1 => Just(1e6)];
    prop::collection::vec((step, value), 1..700).prop_map(|steps| {
        let mut newest = 10_000;
        let place = |(step, value)| {
            newest = newest.max(newest + step);
            (if step < 0 { newest + step } else { newest }, value)
        };
        steps.into_iter().map(place).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_window_says_what_a_recomputation_from_all_samples_says(
        samples in samples(),
        lengths in prop::collection::vec(1_i64..400, 1..4),
        idle in 0_i64..100,
    ) {
        let mut series = Series::new(TimeSpan::from_secs(405));
        let mut newest = i64::MIN;
        for (index, (second, value)) in samples.iter().enumerate() {
            series.push(at(*second), *value);
            newest = newest.max(*second);
            if index % 50 != 0 && index + 1 != samples.len() {
                continue;
            }
            for (length, now) in lengths.iter().flat_map(|l| [(l, newest), (l, newest + idle), (l, newest - 5)]) {
                let found = window(&series, now - length, now);
                let (inside, before) = recomputed(&samples[..=index], now - length, now);
                let n = inside.len() as f64;
                let sum: f64 = inside.iter().map(|(_, v)| v).sum();
                let mean = (n > 0.0).then(|| sum / n);
                let least = inside.iter().map(|(_, v)| *v).reduce(f64::min);
                let greatest = inside.iter().map(|(_, v)| *v).reduce(f64::max);
                prop_assert_eq!(found.count(), inside.len() as u64);
                prop_assert!(close(Some(found.sum()), Some(sum)));
                prop_assert!(close(found.mean(), mean));
                prop_assert_eq!((found.least(), found.greatest()), (least, greatest));
                prop_assert_eq!(found.oldest(), inside.first().map(|(s, _)| at(*s)));
                let m = mean.unwrap_or(0.0);
                let variance: f64 = inside.iter().map(|(_, v)| (v - m) * (v - m)).sum::<f64>() / n;
                prop_assert!(close(found.deviation(), mean.map(|_| variance.sqrt())));
                let middle = inside.iter().map(|(s, _)| *s as f64).sum::<f64>() / n;
                let spread: f64 = inside.iter().map(|(s, _)| (*s as f64 - middle).powi(2)).sum();
                let both: f64 = inside.iter().map(|(s, v)| (*s as f64 - middle) * (v - m)).sum();
                let several = inside.iter().any(|(s, _)| *s != inside[0].0);
                prop_assert!(close(found.rate(), several.then(|| both / spread)));
                let delta = inside.first().zip(inside.last()).map(|(a, b)| b.1 - a.1);
                prop_assert_eq!(found.delta(), delta);
                let stuck = before.and_then(|b| Some(least?.min(b) == greatest?.max(b)));
                prop_assert_eq!(found.stuck(), stuck);
            }
        }
    }
}
