//! How much a metric wavers from one sample to the next, near the threshold that a rule has for it.

use std::collections::BTreeMap;

use crate::engine::decode::{Decoders, Heard, News, SourceSpec};
use crate::engine::detect::Threshold;
use crate::engine::types::message::Reading;
use crate::engine::types::names::{Metric, MetricId, Names};
use crate::service::backtest::Recorded;

/// Pairs that are kept for one threshold; past it every second one is left out.
const PAIRS_MAX: usize = 200_000;
/// Fewer pairs say nothing.
const PAIRS_MIN: usize = 30;
/// The standard deviation of normal noise is so many times its median absolute deviation.
const DEVIATIONS_PER_MAD: f64 = 1.4826;

/// The wavering of one metric near one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Robust standard deviation.
    pub deviation: f64,
    /// The smallest step that was seen.
    pub step: f64,
    /// How many differences it comes from.
    pub pairs: usize,
}

/// Two samples of a device that follow each other.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// Of their middle from the threshold.
    distance: f64,
    difference: f64,
}

#[derive(Debug)]
struct Watched {
    metric: MetricId,
    bound: f64,
    last: BTreeMap<String, f64>,
    pairs: Vec<Pair>,
    /// One pair in so many is kept.
    stride: usize,
    seen: usize,
}

/// Hears a recording and measures.
#[derive(Debug)]
pub struct NoiseMeter {
    sources: Vec<SourceSpec>,
    decoders: Decoders,
    metrics: Names<Metric>,
    watched: Vec<Watched>,
    heard: Heard,
}

impl NoiseMeter {
    /// Measures near these thresholds.
    pub fn new<'t>(
        sources: &[SourceSpec],
        thresholds: impl IntoIterator<Item = &'t Threshold>,
    ) -> NoiseMeter {
        let mut metrics = Names::default();
        let watch = |threshold: &Threshold| Watched {
            metric: metrics.intern(&threshold.metric),
            bound: threshold.bound,
            last: BTreeMap::new(),
            pairs: Vec::new(),
            stride: 1,
            seen: 0,
        };
        NoiseMeter {
            watched: thresholds.into_iter().map(watch).collect(),
            sources: sources.to_vec(),
            decoders: Decoders::new(sources),
            metrics,
            heard: Heard::default(),
        }
    }

    /// Takes one message in.
    pub fn hear(&mut self, recorded: &Recorded) {
        let Recorded { at, message } = recorded;
        let Some(source) = self.sources.get(message.source) else { return };
        self.decoders.decode(source, &self.metrics, message, *at, &mut self.heard);
        for decoded in self.heard.decoded.drain(..) {
            let (News::Readings { readings, .. } | News::History { readings, .. }) = decoded.news
            else {
                continue;
            };
            for (metric, reading) in readings {
                let Reading::Good(value) = reading else { continue };
                let Some(number) = value.as_number() else { continue };
                for watched in self.watched.iter_mut().filter(|w| w.metric == metric) {
                    watched.absorb(&decoded.facts.id, number);
                }
            }
        }
        self.heard.refused.clear();
        self.heard.publish.clear();
    }

    /// What was measured, in the order of the thresholds; `None` for too few samples, or a metric
    /// that never moved.
    pub fn measured(self) -> Vec<Option<Noise>> {
        self.watched.into_iter().map(|watched| noise(watched.pairs)).collect()
    }
}

impl Watched {
    fn absorb(&mut self, device: &str, value: f64) {
        let Some(last) = self.last.get_mut(device) else {
            self.last.insert(device.to_owned(), value);
            return;
        };
        let before = std::mem::replace(last, value);
        self.seen += 1;
        if !self.seen.is_multiple_of(self.stride) {
            return;
        }
        let distance = ((before + value) / 2.0 - self.bound).abs();
        self.pairs.push(Pair { distance, difference: value - before });
        if self.pairs.len() >= PAIRS_MAX {
            let mut odd = false;
            self.pairs.retain(|_| {
                odd = !odd;
                odd
            });
            self.stride *= 2;
        }
    }
}

/// Differences rid the signal of its slow course, the median of those that jump. The noise of a
/// difference is that of two samples: √2 times that of one.
fn noise(mut pairs: Vec<Pair>) -> Option<Noise> {
    if pairs.len() < PAIRS_MIN {
        return None;
    }
    pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    pairs.truncate((pairs.len() / 4).max(PAIRS_MIN));
    let differences: Vec<f64> = pairs.iter().map(|pair| pair.difference).collect();
    let steps = differences.iter().map(|difference| difference.abs()).filter(|step| *step > 0.0);
    let step = steps.min_by(f64::total_cmp)?;
    let middle = median(differences.clone());
    let apart = median(differences.iter().map(|difference| (difference - middle).abs()).collect());
    let deviation = DEVIATIONS_PER_MAD * apart / std::f64::consts::SQRT_2;
    Some(Noise { deviation, step, pairs: pairs.len() })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(0.0);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(upper);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normal noise of deviation 1, the same each time (SplitMix64, Box-Muller).
    fn normal(count: usize) -> Vec<f64> {
        let mut state: u64 = 1;
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-12
        };
        let mut next =
            || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        (0..count).map(|_| next()).collect()
    }

    fn measured(values: impl Iterator<Item = f64>) -> Option<Noise> {
        let metric = Names::default().intern("t");
        let (last, pairs) = (BTreeMap::new(), Vec::new());
        let mut watched = Watched { metric, bound: 0.0, last, pairs, stride: 1, seen: 0 };
        values.for_each(|value| watched.absorb("d", value));
        noise(watched.pairs)
    }

    #[test]
    fn the_noise_is_found_under_a_slow_course_and_beside_jumps() {
        let noisy = normal(4_000);
        let course = noisy.iter().enumerate().map(|(n, value)| {
            let jump = if n % 50 == 0 { 500.0 } else { 0.0 };
            0.5 * value + (n as f64 / 400.0).sin() * 20.0 + jump
        });
        let found = measured(course).expect("noise").deviation;
        assert!((0.4..0.6).contains(&found), "{found}");
    }

    #[test]
    fn too_few_samples_and_a_metric_that_never_moves_have_no_noise() {
        assert_eq!(measured(normal(20).into_iter()), None);
        assert_eq!(measured(std::iter::repeat_n(3.0, 1_000)), None);
    }
}
