//! Functions that learn what is normal for one device: `deviation`, `zscore`, `ewma`.

use std::collections::VecDeque;

use super::cel::{Learning, LearningKind};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Most samples that are kept of one window, 16 bytes each; past that every other sample is kept,
/// then every fourth and so on, evenly over the whole window.
const BASELINE_MAX: usize = 16_384;
/// Samples that `zscore` wants to have seen.
const SCORE_SAMPLES_MIN: u32 = 30;

/// What one learning function knows about one device.
#[derive(Clone, Debug)]
pub enum Learned {
    /// `deviation(short, long)`.
    Band(Band),
    /// `zscore(d)`.
    Score(Score),
    /// `ewma(d)`.
    Mean(Mean),
}

impl Learned {
    /// Nothing known yet.
    pub(super) fn new(learning: Learning) -> Learned {
        match learning.kind {
            LearningKind::Band { short, long } => Learned::Band(Band::new(short, long)),
            LearningKind::Score { over } => Learned::Score(Score::new(over)),
            LearningKind::Mean { over } => Learned::Mean(Mean { over, last: None, mean: 0.0 }),
        }
    }

    /// Takes a sample in. `frozen` while the rule's alarm is pending or raised: what is normal is
    /// not learned from a fault. A sample that comes late is placed by its time in a band; means
    /// that are weighted by age cannot take it in any more.
    pub fn absorb(&mut self, at: Timestamp, value: f64, frozen: bool) {
        match self {
            Learned::Band(band) => band.absorb(at, value, frozen),
            Learned::Score(score) => score.absorb(at, value),
            Learned::Mean(mean) => mean.absorb(at, value),
        }
    }

    /// The function's value; `None` while too little is known.
    pub fn value(&self, now: Timestamp) -> Option<f64> {
        match self {
            Learned::Band(band) => band.value(now),
            Learned::Score(score) => score.value(),
            Learned::Mean(mean) => mean.last.map(|_| mean.mean),
        }
    }
}

/// The learned band: the mean of the last `short`, against the `long` before it.
///
/// Samples wait in `recent` until they are older than `short`, then they belong to the baseline,
/// unless the alarm is up at that time: then they are dropped, and the baseline's own clock
/// stands still, so that nothing in it grows old.
#[derive(Clone, Debug)]
pub struct Band {
    short: TimeSpan,
    long: TimeSpan,
    recent: VecDeque<(Timestamp, f64)>,
    recent_stride: Stride,
    baseline: Baseline,
    stopped_at: Option<Timestamp>,
    stood_still: TimeSpan,
}

impl Band {
    fn new(short: TimeSpan, long: TimeSpan) -> Band {
        Band {
            short,
            long,
            recent: VecDeque::new(),
            recent_stride: Stride::default(),
            baseline: Baseline::default(),
            stopped_at: None,
            stood_still: TimeSpan::ZERO,
        }
    }

    fn absorb(&mut self, at: Timestamp, value: f64, frozen: bool) {
        if let Some((newest, _)) = self.recent.back().copied().filter(|(newest, _)| at < *newest) {
            if at > newest - self.short {
                let place = self.recent.partition_point(|(known, _)| *known <= at);
                self.recent.insert(place, (at, value));
            } else if !frozen {
                self.baseline.push(at - self.stood_still, value);
            }
            return;
        }
        match (frozen, self.stopped_at) {
            (true, None) => self.stopped_at = Some(at),
            (false, Some(stopped)) => {
                self.stood_still = self.stood_still + at.since(stopped);
                self.stopped_at = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        while let Some((old_at, old)) = self.recent.front().copied() {
            if old_at > at - self.short {
                break;
            }
            self.recent.pop_front();
            if !frozen {
                self.baseline.push(old_at - self.stood_still, old);
            }
        }
        if self.recent_stride.takes() {
            self.recent.push_back((at, value));
        }
        if self.recent.len() > BASELINE_MAX {
            self.recent_stride.widen(&mut self.recent);
        }
        let clock = self.clock(at);
        self.baseline.forget(clock - self.short - self.long);
    }

    /// The baseline's own time: it stands still while the alarm is up.
    fn clock(&self, now: Timestamp) -> Timestamp {
        self.stopped_at.unwrap_or(now) - self.stood_still
    }

    fn value(&self, now: Timestamp) -> Option<f64> {
        let from = now - self.short;
        let (mut count, mut sum) = (0.0, 0.0);
        for (_, value) in self.recent.iter().rev().take_while(|(at, _)| *at > from) {
            count += 1.0;
            sum += value;
        }
        if count == 0.0 || self.baseline.covers() < TimeSpan::from_micros(self.long.micros() / 2) {
            return None;
        }
        let (mean, deviation) = self.baseline.figures()?;
        let distance = sum / count - mean;
        // A signal that never moved has no spread: any step is infinitely far, no step is none.
        if distance == 0.0 { Some(0.0) } else { Some(distance / deviation) }
    }
}

/// Samples with running sums, measured from the first value so that no digits are lost.
#[derive(Clone, Debug, Default)]
struct Baseline {
    samples: VecDeque<(Timestamp, f64)>,
    origin: f64,
    sum: f64,
    squares: f64,
    pushes: usize,
    stride: Stride,
}

/// Which samples are kept: every first, every second, every fourth ...
#[derive(Clone, Copy, Debug, Default)]
struct Stride {
    skip: u32,
    left: u32,
}

impl Stride {
    /// True for a sample that is kept.
    fn takes(&mut self) -> bool {
        let takes = self.left == 0;
        self.left = if takes { self.skip } else { self.left - 1 };
        takes
    }

    /// Drops every other sample, and from now on keeps half as many.
    fn widen(&mut self, samples: &mut VecDeque<(Timestamp, f64)>) {
        self.skip = self.skip.saturating_mul(2).saturating_add(1);
        let mut keep = false;
        samples.retain(|_| {
            keep = !keep;
            keep
        });
    }
}

impl Baseline {
    fn push(&mut self, at: Timestamp, value: f64) {
        if !self.stride.takes() {
            return;
        }
        if self.samples.is_empty() {
            self.origin = value;
            (self.sum, self.squares) = (0.0, 0.0);
        }
        let place = self.samples.partition_point(|(known, _)| *known <= at);
        self.samples.insert(place, (at, value));
        self.add(value, 1.0);
        self.pushes += 1;
        if self.samples.len() > BASELINE_MAX {
            self.stride.widen(&mut self.samples);
            self.recount();
        }
        // Running sums drift with every subtraction: they are made anew now and then.
        if self.pushes >= BASELINE_MAX {
            self.recount();
        }
    }

    fn forget(&mut self, until: Timestamp) {
        while let Some((_, value)) = self.samples.front().copied().filter(|(at, _)| *at <= until) {
            self.samples.pop_front();
            self.add(value, -1.0);
        }
    }

    fn add(&mut self, value: f64, sign: f64) {
        let distance = value - self.origin;
        self.sum += sign * distance;
        self.squares += sign * distance * distance;
    }

    /// From the oldest sample to the newest.
    fn covers(&self) -> TimeSpan {
        match (self.samples.front(), self.samples.back()) {
            (Some((oldest, _)), Some((newest, _))) => newest.since(*oldest),
            _ => TimeSpan::ZERO,
        }
    }

    /// Mean and population standard deviation.
    fn figures(&self) -> Option<(f64, f64)> {
        if self.samples.is_empty() {
            return None;
        }
        let count = self.samples.len() as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        // What the subtraction leaves of equal values is rounding, not spread.
        let noise = f64::EPSILON * (self.squares / count).max(mean * mean) * 4.0;
        let deviation = if variance <= noise { 0.0 } else { variance.sqrt() };
        Some((self.origin + mean, deviation))
    }

    fn recount(&mut self) {
        self.pushes = 0;
        self.origin = self.samples.front().map_or(0.0, |(_, value)| *value);
        (self.sum, self.squares) = (0.0, 0.0);
        for at in 0..self.samples.len() {
            if let Some((_, value)) = self.samples.get(at).copied() {
                self.add(value, 1.0);
            }
        }
    }
}

/// `zscore(d)`: the newest sample against an exponentially weighted mean and variance of all
/// before it.
///
/// With `a = 1 - exp(-dt / d)` for the time `dt` between a sample `x` and the one before it:
/// `mean += a (x - mean)`, `variance = (1 - a) (variance + a (x - mean)^2)`, with the mean before
/// the change. Source: T. Finch, "Incremental calculation of weighted mean and variance", 2009.
#[derive(Clone, Debug)]
pub struct Score {
    over: TimeSpan,
    newest: Option<(Timestamp, f64)>,
    before: Option<Timestamp>,
    mean: f64,
    variance: f64,
    count: u32,
}

impl Score {
    fn new(over: TimeSpan) -> Score {
        Score { over, newest: None, before: None, mean: 0.0, variance: 0.0, count: 0 }
    }

    fn absorb(&mut self, at: Timestamp, value: f64) {
        if let Some((newest_at, newest)) = self.newest {
            if at < newest_at {
                return;
            }
            self.fold(newest_at, newest);
        }
        self.newest = Some((at, value));
    }

    fn fold(&mut self, at: Timestamp, value: f64) {
        match self.before {
            None => self.mean = value,
            Some(before) => {
                let a = weight(at.since(before), self.over);
                let distance = value - self.mean;
                self.mean += a * distance;
                self.variance = (1.0 - a) * (self.variance + a * distance * distance);
            }
        }
        self.before = Some(at);
        self.count = self.count.saturating_add(1);
    }

    fn value(&self) -> Option<f64> {
        let (_, newest) = self.newest?;
        if self.count < SCORE_SAMPLES_MIN {
            return None;
        }
        let distance = newest - self.mean;
        if distance == 0.0 { Some(0.0) } else { Some(distance / self.variance.sqrt()) }
    }
}

/// `ewma(d)`: exponentially weighted mean, the newest sample included.
#[derive(Clone, Debug)]
pub struct Mean {
    over: TimeSpan,
    last: Option<Timestamp>,
    mean: f64,
}

impl Mean {
    fn absorb(&mut self, at: Timestamp, value: f64) {
        match self.last {
            Some(last) if at < last => return,
            Some(last) => self.mean += weight(at.since(last), self.over) * (value - self.mean),
            None => self.mean = value,
        }
        self.last = Some(at);
    }
}

fn weight(apart: TimeSpan, over: TimeSpan) -> f64 {
    1.0 - (-apart.as_secs_f64() / over.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn band(short: i64, long: i64) -> Learned {
        Learned::Band(Band::new(TimeSpan::from_secs(short), TimeSpan::from_secs(long)))
    }

    #[test]
    fn a_band_compares_the_last_while_with_what_was_before_it() {
        let mut band = band(2, 10);
        for second in 0..=10 {
            band.absorb(at(second), if second % 2 == 0 { 1.0 } else { 3.0 }, false);
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
            band.absorb(at(second), 1.0, false);
        }
        assert_eq!(band.value(at(6)), None);
        band.absorb(at(7), 1.0, false);
        assert_eq!(band.value(at(7)), Some(0.0));
    }

    #[test]
    fn a_baseline_stands_still_while_the_alarm_is_up() {
        let mut band = band(2, 10);
        for second in 0..=12 {
            band.absorb(at(second), if second % 2 == 0 { 1.0 } else { 3.0 }, false);
        }
        let mut frozen = band.clone();
        for second in 13..5_000 {
            frozen.absorb(at(second), 100.0, true);
            band.absorb(at(second), 100.0, false);
        }
        assert!(frozen.value(at(4_999)).expect("still known") > 90.0);
        assert_eq!(band.value(at(4_999)), Some(0.0));
        for second in 5_000..5_003 {
            frozen.absorb(at(second), 2.0, false);
        }
        let back = frozen.value(at(5_002)).expect("known at once after the fault");
        assert!(back.abs() < 1.0, "{back}");
    }

    #[test]
    fn a_band_of_days_is_known_and_weighs_all_of_its_baseline() {
        let mut band = band(21_600, 172_800);
        for second in 0..200_000 {
            band.absorb(at(second), if second < 90_000 { 0.0 } else { 1.0 }, false);
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
            band.absorb(at(second), 0.1, false);
        }
        band.absorb(at(13), 0.2, false);
        assert_eq!(band.value(at(13)), Some(f64::INFINITY));
    }

    #[test]
    fn a_score_leaves_the_newest_sample_out_of_what_it_is_compared_with() {
        let mut score = Score::new(TimeSpan::from_secs(60));
        let (mut mean, mut variance): (f64, f64) = (0.0, 0.0);
        for second in 0..31 {
            let value = f64::from((second % 3) as i32);
            let a = 1.0 - (-1.0_f64 / 60.0).exp();
            if second == 0 {
                mean = value;
            } else if second < 30 {
                let distance = value - mean;
                mean += a * distance;
                variance = (1.0 - a) * (variance + a * distance * distance);
            }
            score.absorb(at(second), value);
            assert_eq!(score.value().is_some(), second == 30);
        }
        let expected = (0.0 - mean) / variance.sqrt();
        assert!((score.value().expect("known") - expected).abs() < 1e-12);
    }
}
