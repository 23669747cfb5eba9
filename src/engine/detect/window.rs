//! What can be said about a part of a series.

use super::series::{Part, Series};
use super::summary::Summary;
use crate::engine::types::time::Timestamp;

/// The samples with `from < time <= to`.
#[derive(Debug)]
pub struct Window<'a> {
    series: &'a Series,
    part: Part<'a>,
}

impl<'a> Window<'a> {
    /// A part of a series.
    pub fn new(series: &'a Series, from: Timestamp, to: Timestamp) -> Window<'a> {
        Window { series, part: series.part_between(from, to) }
    }

    /// Goes over its samples and over the figures of many at once, oldest first.
    fn fold<T: Copy>(
        &self,
        start: T,
        sample: impl Fn(T, Timestamp, f64) -> T,
        several: impl Fn(T, &Summary) -> T,
    ) -> T {
        let Part { head, whole, tail, .. } = &self.part;
        let mut all = head.iter().fold(start, |all, (at, value)| sample(all, *at, *value));
        self.series.parts(whole.clone(), |part| all = several(all, part));
        tail.iter().fold(all, |all, (at, value)| sample(all, *at, *value))
    }

    /// Figures of all its samples; `None` without any.
    pub fn summary(&self) -> Option<Summary> {
        let Part { head, whole, tail, .. } = &self.part;
        let mut all = Summary::of_all(head);
        let mut join = |next: &Summary| all = Some(all.map_or(*next, |all| all.joined(next)));
        self.series.parts(whole.clone(), &mut join);
        Summary::of_all(tail).iter().for_each(join);
        all
    }

    /// Time of the sample that leaves the window first.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.part.leaves_first
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.fold(0, |count, _, _| count + 1, |count, part| count + part.count)
    }

    /// Their sum; 0 for none.
    pub fn sum(&self) -> f64 {
        self.fold(0.0, |sum, _, value| sum + value, |sum, part| sum + part.sum)
    }

    /// Their plain mean.
    pub fn mean(&self) -> Option<f64> {
        let (count, sum) = self.fold(
            (0, 0.0),
            |(count, sum), _, value| (count + 1, sum + value),
            |(count, sum), part| (count + part.count, sum + part.sum),
        );
        (count > 0).then(|| sum / count as f64)
    }

    /// The least.
    pub fn least(&self) -> Option<f64> {
        self.oldest()?;
        Some(self.fold(
            f64::INFINITY,
            |least, _, value| least.min(value),
            |least, part| least.min(part.least),
        ))
    }

    /// The greatest.
    pub fn greatest(&self) -> Option<f64> {
        self.oldest()?;
        Some(self.fold(
            f64::NEG_INFINITY,
            |greatest, _, value| greatest.max(value),
            |greatest, part| greatest.max(part.greatest),
        ))
    }

    /// Population standard deviation: the square root of the mean squared distance from the mean.
    pub fn deviation(&self) -> Option<f64> {
        self.summary().map(|all| all.deviation())
    }

    /// Slope of the least-squares line, per second; `None` for fewer than two times.
    pub fn rate(&self) -> Option<f64> {
        self.summary()?.slope()
    }

    /// Newest minus oldest.
    pub fn delta(&self) -> Option<f64> {
        let ends = self.fold(
            None,
            |ends: Option<(f64, f64)>, _, value| Some((ends.map_or(value, |ends| ends.0), value)),
            |ends, part| Some((ends.map_or(part.first, |ends| ends.0), part.last)),
        );
        ends.map(|(first, last)| last - first)
    }

    /// True when there were samples over all of the window and none differed; `None` while the
    /// window is not covered, or holds no sample. The sample before the window counts: its value
    /// stood when the window began.
    pub fn stuck(&self) -> Option<bool> {
        let before = self.part.before?;
        // Not equality by a margin: a sensor that is stuck repeats the very same number.
        Some(self.least()?.min(before) == self.greatest()?.max(before))
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
