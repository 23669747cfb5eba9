//! `zscore(d)` and `ewma(d)`: mean and variance in which a sample weighs less the older it is.
//!
//! With `a = 1 - exp(-dt / d)` for the time `dt` between a sample `x` and the one before it:
//! `mean += a (x - mean)`, `variance = (1 - a) (variance + a (x - mean)^2)`, with the mean before
//! the change. Source: T. Finch, "Incremental calculation of weighted mean and variance", 2009.
//!
//! The sums depend on the order of the samples. The samples of the last moments are kept beside
//! what was learned before them, so that one that comes late is learned at its place.

use std::collections::VecDeque;

use super::memory::When;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Most samples that a late one may be placed among.
const OPEN_MAX: usize = 64;
/// Samples that `zscore` wants to have seen before the newest.
const SCORE_SAMPLES_MIN: u32 = 30;

/// What was learned from samples in the order of their times.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    last: Option<Timestamp>,
    mean: f64,
    variance: f64,
    count: u32,
}

impl Moments {
    fn with(self, at: Timestamp, value: f64, over: TimeSpan) -> Moments {
        let count = self.count.saturating_add(1);
        let Some(last) = self.last else {
            return Moments { last: Some(at), mean: value, variance: 0.0, count };
        };
        let a = 1.0 - (-at.since(last).as_secs_f64() / over.as_secs_f64()).exp();
        let distance = value - self.mean;
        let variance = (1.0 - a) * (self.variance + a * distance * distance);
        Moments { last: Some(at), mean: self.mean + a * distance, variance, count }
    }
}

/// An exponentially weighted mean and variance of one metric.
#[derive(Clone, Debug)]
pub struct Weighted {
    over: TimeSpan,
    /// Of all samples but those in `open`.
    settled: Moments,
    /// The newest samples, in the order of their times.
    open: VecDeque<(Timestamp, f64)>,
    /// Of all samples but the newest.
    before: Moments,
}

impl Weighted {
    /// Nothing known yet.
    pub fn new(over: TimeSpan) -> Weighted {
        let (settled, before) = (Moments::default(), Moments::default());
        Weighted { over, settled, open: VecDeque::new(), before }
    }

    /// Takes a sample in, at its place by time. One that comes later than that is left out.
    pub fn absorb(&mut self, when: When, value: f64) {
        let at = when.event;
        match self.open.back().copied() {
            Some((newest_at, _)) if at < newest_at => {
                if !(when.maybe_again && self.open.contains(&(at, value))) {
                    self.absorb_late(at, value);
                }
            }
            newest => {
                if let Some((newest_at, newest)) = newest {
                    self.before = self.before.with(newest_at, newest, self.over);
                }
                self.open.push_back((at, value));
                self.settle(at - when.lateness.unwrap_or(TimeSpan::ZERO));
            }
        }
    }

    fn absorb_late(&mut self, at: Timestamp, value: f64) {
        if self.settled.last.is_some_and(|settled| at < settled) {
            return;
        }
        let place = self.open.partition_point(|(known, _)| *known <= at);
        self.open.insert(place, (at, value));
        let earlier = self.open.iter().take(self.open.len() - 1);
        self.before =
            earlier.fold(self.settled, |all, (at, value)| all.with(*at, *value, self.over));
        self.settle(Timestamp::EPOCH);
    }

    fn settle(&mut self, until: Timestamp) {
        while let Some((at, value)) = self.open.front().copied()
            && self.open.len() > 1
            && (at < until || self.open.len() > OPEN_MAX)
        {
            self.open.pop_front();
            self.settled = self.settled.with(at, value, self.over);
        }
    }

    /// `ewma`: the mean, the newest sample included.
    pub fn mean(&self) -> Option<f64> {
        let (at, newest) = self.open.back()?;
        Some(self.before.with(*at, *newest, self.over).mean)
    }

    /// `zscore`: how far the newest sample is from the mean of all before it, in standard
    /// deviations.
    pub fn score(&self) -> Option<f64> {
        let (_, newest) = self.open.back()?;
        if self.before.count < SCORE_SAMPLES_MIN {
            return None;
        }
        let distance = newest - self.before.mean;
        if distance == 0.0 { Some(0.0) } else { Some(distance / self.before.variance.sqrt()) }
    }

    /// Most bytes that it keeps beside itself.
    pub const fn bytes_max() -> usize {
        // Buffers double as they grow.
        2 * (OPEN_MAX + 1) * size_of::<(Timestamp, f64)>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> When {
        When::only(Timestamp::from_millis(second * 1_000))
    }

    #[test]
    fn a_score_leaves_the_newest_sample_out_of_what_it_is_compared_with() {
        let mut score = Weighted::new(TimeSpan::from_secs(60));
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
            assert_eq!(score.score().is_some(), second == 30);
        }
        let expected = (0.0 - mean) / variance.sqrt();
        assert!((score.score().expect("known") - expected).abs() < 1e-12);
    }

    #[test]
    fn a_sample_that_comes_later_than_that_is_left_out() {
        let mut mean = Weighted::new(TimeSpan::from_secs(60));
        for second in [0, 20, 40] {
            mean.absorb(at(second), 1.0);
        }
        mean.absorb(at(19), 100.0);
        assert_eq!(mean.mean(), Some(1.0));
    }

    #[test]
    fn a_sample_that_may_come_again_is_learned_once() {
        let mut mean = Weighted::new(TimeSpan::from_secs(60));
        mean.absorb(at(0), 1.0);
        mean.absorb(at(5), 3.0);
        mean.absorb(at(6), 3.0);
        let once = mean.mean();
        mean.absorb(When { maybe_again: true, ..at(5) }, 3.0);
        assert_eq!(mean.mean(), once);
        mean.absorb(When { maybe_again: true, ..at(4) }, 9.0);
        assert_ne!(mean.mean(), once);
    }

    proptest! {
        #[test]
        fn samples_that_come_late_are_learned_as_if_they_had_not(
            values in prop::collection::vec(-10.0..10.0_f64, 2..200),
            delays in prop::collection::vec(0_i64..10, 200),
        ) {
            let (mut inorder, mut late) =
                (Weighted::new(TimeSpan::from_secs(30)), Weighted::new(TimeSpan::from_secs(30)));
            let samples: Vec<(i64, f64)> = (0..).zip(values).collect();
            for (second, value) in &samples {
                inorder.absorb(at(*second), *value);
            }
            let mut arrivals: Vec<(i64, (i64, f64))> = samples
                .iter()
                .zip(delays)
                .map(|(sample, delay)| (sample.0 + delay, *sample))
                .collect();
            arrivals.sort_by_key(|(arrival, _)| *arrival);
            for (_, (second, value)) in arrivals {
                late.absorb(at(second), value);
            }
            prop_assert_eq!(inorder.mean(), late.mean());
            prop_assert_eq!(inorder.score(), late.score());
        }
    }
}
