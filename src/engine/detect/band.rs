//! `deviation(short, long)`: the mean of the last `short`, against the `long` before it.

use super::memory::When;
use super::series::Series;
use super::window::Window;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// The learned band of one metric.
///
/// While the alarm is up, the baseline learns nothing and its own clock stands still, so that
/// nothing in it grows old. What was measured in the last `short` before counts as the fault's.
#[derive(Clone, Debug)]
pub struct Band {
    short: TimeSpan,
    long: TimeSpan,
    /// By event time.
    recent: Series,
    /// By the baseline's own time.
    baseline: Series,
    stopped_at: Option<Timestamp>,
    stood_still: TimeSpan,
}

impl Band {
    /// Nothing known yet.
    pub fn new(short: TimeSpan, long: TimeSpan) -> Band {
        Band {
            short,
            long,
            recent: Series::new(short),
            baseline: Series::new(short + long),
            stopped_at: None,
            stood_still: TimeSpan::ZERO,
        }
    }

    /// Takes a sample in, at its place by time.
    pub fn absorb(&mut self, when: When, value: f64, frozen: bool) {
        let at = when.event;
        let now = self.recent.newest().map_or(at, |newest| newest.max(at));
        match (frozen, self.stopped_at) {
            (true, None) => {
                self.stopped_at = Some(now);
                self.baseline.truncate(self.clock(now) - self.short);
            }
            (false, Some(stopped)) => {
                self.stood_still = self.stood_still + now.since(stopped);
                self.stopped_at = None;
                // The last of the fault is measured against what was before it, and learned when
                // it is older than `short`, like everything.
                self.baseline.append_from(&self.recent, now - self.short, self.stood_still);
            }
            (true, Some(_)) | (false, None) => {}
        }
        let push = if when.maybe_again { Series::push_once } else { Series::push };
        push(&mut self.recent, at, value);
        if !frozen {
            push(&mut self.baseline, at - self.stood_still, value);
        }
    }

    /// The baseline's own time: it stands still while the alarm is up.
    fn clock(&self, now: Timestamp) -> Timestamp {
        self.stopped_at.unwrap_or(now) - self.stood_still
    }

    /// How far the last `short` is from the `long` before it, in standard deviations.
    pub fn value(&self, now: Timestamp) -> Option<f64> {
        let until = self.clock(now) - self.short;
        let usual = Window::new(&self.baseline, until - self.long, until).summary()?;
        if usual.last_at.since(usual.first_at).micros() < self.long.micros() / 2 {
            return None;
        }
        let short = Window::new(&self.recent, now - self.short, now).summary()?;
        let distance = short.mean() - usual.mean();
        // A signal that never moved has no spread: any step is infinitely far, no step is none.
        if distance == 0.0 { Some(0.0) } else { Some(distance / usual.deviation()) }
    }

    /// When a sample passes from the last `short` to the `long` before it, or out of that.
    pub fn changes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let recent = Window::new(&self.recent, now - self.short, now).oldest()?;
        let passes = recent + self.short;
        if self.stopped_at.is_some() {
            return Some(passes);
        }
        let until = self.clock(now) - self.short;
        let usual = Window::new(&self.baseline, until - self.long, until).oldest();
        let leaves = usual.map(|usual| usual + self.stood_still + self.short + self.long);
        Some(leaves.map_or(passes, |leaves| leaves.min(passes)))
    }

    /// Most bytes that it keeps.
    pub const fn bytes_max() -> usize {
        size_of::<Band>() + 2 * Series::bytes_max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn when(second: i64) -> When {
        When::only(at(second))
    }

    fn band(short: i64, long: i64) -> Band {
        Band::new(TimeSpan::from_secs(short), TimeSpan::from_secs(long))
    }

    #[test]
    fn a_band_compares_the_last_while_with_what_was_before_it() {
        let mut band = band(2, 10);
        for second in 0..=10 {
            band.absorb(when(second), if second % 2 == 0 { 1.0 } else { 3.0 }, false);
        }
        // In the last 2 s: 9 -> 3, 10 -> 1, mean 2. Before: 1 3 1 3 1 3 1 3 1 at 0..=8, mean 17/9.
        let mean = 17.0 / 9.0;
        let variance =
            (5.0 * (1.0 - mean) * (1.0 - mean) + 4.0 * (3.0 - mean) * (3.0 - mean)) / 9.0;
        let expected = (2.0 - mean) / f64::sqrt(variance);
        let found = band.value(at(10)).expect("enough is known");
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn a_band_is_unknown_until_half_of_its_baseline_is_covered() {
        let mut band = band(2, 10);
        for second in 0..7 {
            band.absorb(when(second), 1.0, false);
        }
        assert_eq!(band.value(at(6)), None);
        band.absorb(when(7), 1.0, false);
        assert_eq!(band.value(at(7)), Some(0.0));
    }

    #[test]
    fn a_baseline_stands_still_while_the_alarm_is_up() {
        let mut band = band(2, 10);
        for second in 0..=12 {
            band.absorb(when(second), if second % 2 == 0 { 1.0 } else { 3.0 }, false);
        }
        let mut frozen = band.clone();
        for second in 13..5_000 {
            frozen.absorb(when(second), 100.0, true);
            band.absorb(when(second), 100.0, false);
        }
        assert!(frozen.value(at(4_999)).expect("still known") > 90.0);
        assert_eq!(band.value(at(4_999)), Some(0.0));
        for second in 5_000..5_003 {
            frozen.absorb(when(second), 2.0, false);
        }
        let back = frozen.value(at(5_002)).expect("known at once after the fault");
        assert!(back.abs() < 1.0, "{back}");
    }

    #[test]
    fn a_band_of_days_is_known_and_weighs_all_of_its_baseline() {
        let mut band = band(21_600, 172_800);
        for second in 0..200_000 {
            band.absorb(when(second), if second < 90_000 { 0.0 } else { 1.0 }, false);
        }
        // Before the last 6 h: 178,400 seconds of which the last 172,800 count, 84,400 of them 0.
        let mean = 88_400.0 / 172_800.0;
        let expected = (1.0 - mean) / f64::sqrt(mean * (1.0 - mean));
        let found = band.value(at(199_999)).expect("enough is known");
        assert!((found - expected).abs() < 0.01, "{found} {expected}");
    }

    #[test]
    fn a_flat_signal_that_steps_is_infinitely_far() {
        let mut band = band(2, 10);
        for second in 0..=12 {
            band.absorb(when(second), 0.1, false);
        }
        band.absorb(when(13), 0.2, false);
        assert_eq!(band.value(at(13)), Some(f64::INFINITY));
    }

    /// From all samples that were ever learned, by the words of the documentation.
    fn recomputed(samples: &[(i64, f64)], now: i64, short: i64, long: i64) -> Option<f64> {
        let of = |from: i64, to: i64| {
            let inside = samples.iter().filter(move |(s, _)| from < *s && *s <= to);
            inside.copied().collect::<Vec<_>>()
        };
        let (recent, usual) = (of(now - short, now), of(now - short - long, now - short));
        let mean = |samples: &[(i64, f64)]| {
            samples.iter().map(|(_, v)| v).sum::<f64>() / samples.len() as f64
        };
        let times = usual.iter().map(|(s, _)| *s);
        let covered = times.clone().max()? - times.min()?;
        if recent.is_empty() || covered * 2 < long {
            return None;
        }
        let m = mean(&usual);
        let variance = usual.iter().map(|(_, v)| (v - m) * (v - m)).sum::<f64>();
        let distance = mean(&recent) - m;
        let deviation = (variance / usual.len() as f64).sqrt();
        Some(if distance == 0.0 { 0.0 } else { distance / deviation })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_band_says_what_a_recomputation_from_all_samples_says(
            steps in prop::collection::vec((prop_oneof![5 => 0_i64..4, 1 => -9_i64..0], -8_i32..8), 20..300),
            short in 1_i64..40,
            long in 1_i64..300,
            idle in 0_i64..20,
        ) {
            let mut band = band(short, long);
            let mut samples: Vec<(i64, f64)> = Vec::new();
            let mut newest = 10_000;
            for (step, value) in steps {
                let second = newest + step;
                newest = newest.max(second);
                // Quarters: sums of them are exact, so that equal means are equal here and there.
                let value = f64::from(value) / 4.0;
                samples.push((second, value));
                band.absorb(when(second), value, false);
                for now in [newest, newest + idle] {
                    let (found, expected) = (band.value(at(now)), recomputed(&samples, now, short, long));
                    let same = match (found, expected) {
                        (Some(a), Some(b)) if b.is_finite() => (a - b).abs() <= 1e-9 * (1.0 + b.abs()),
                        (found, expected) => found == expected,
                    };
                    prop_assert!(same, "{:?} {:?}", found, expected);
                }
            }
        }
    }
}
