//! Figures of several samples that can be joined with those of others.
//!
//! Nothing is ever subtracted, so nothing drifts and no single huge value spoils what comes after
//! it: a window is summed up from parts, each of which was summed up once.

use crate::engine::types::time::{TimeSpan, Timestamp};

/// Figures of one or more samples that follow each other in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Time of the oldest.
    pub first_at: Timestamp,
    /// Time of the newest.
    pub last_at: Timestamp,
    /// How many.
    pub count: u64,
    /// The oldest.
    pub first: f64,
    /// The newest.
    pub last: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    /// Mean of the times, in seconds after `first_at`.
    middle: f64,
    /// Sum of squared distances from the mean time.
    time_squares: f64,
    /// Sum of the products of both distances.
    products: f64,
}

impl Summary {
    /// Figures of one sample.
    pub fn of(at: Timestamp, value: f64) -> Summary {
        Summary {
            first_at: at,
            last_at: at,
            count: 1,
            first: value,
            last: value,
            sum: value,
            least: value,
            greatest: value,
            squares: 0.0,
            middle: 0.0,
            time_squares: 0.0,
            products: 0.0,
        }
    }

    /// These samples and those that came after the first of them. After Chan, Golub, LeVeque, "Updating Formulae
    /// and a Pairwise Algorithm for Computing Sample Variances", 1979.
    pub fn joined(&self, next: &Summary) -> Summary {
        let (n, m) = (self.count as f64, next.count as f64);
        let weight = n * m / (n + m);
        let apart = next.sum / m - self.sum / n;
        let middle = next.first_at.since(self.first_at).as_secs_f64() + next.middle;
        let time_apart = middle - self.middle;
        Summary {
            first_at: self.first_at,
            last_at: self.last_at.max(next.last_at),
            count: self.count + next.count,
            first: self.first,
            last: next.last,
            sum: self.sum + next.sum,
            least: self.least.min(next.least),
            greatest: self.greatest.max(next.greatest),
            squares: self.squares + next.squares + apart * apart * weight,
            middle: self.middle + time_apart * m / (n + m),
            time_squares: self.time_squares + next.time_squares + time_apart * time_apart * weight,
            products: self.products + next.products + apart * time_apart * weight,
        }
    }

    /// These samples and one that was measured between them.
    pub fn joined_within(&self, late: &Summary) -> Summary {
        Summary { last: self.last, ..self.joined(late) }
    }

    /// The same samples, as if they had been earlier.
    pub fn earlier(&self, by: TimeSpan) -> Summary {
        Summary { first_at: self.first_at - by, last_at: self.last_at - by, ..*self }
    }

    /// Figures of samples in the order of their times; `None` for none.
    pub fn of_all(samples: &[(Timestamp, f64)]) -> Option<Summary> {
        let ((first_at, first), (last_at, last)) = (*samples.first()?, *samples.last()?);
        let count = samples.len() as f64;
        let seconds = |at: Timestamp| at.since(first_at).as_secs_f64();
        let mut all = Summary { last_at, last, ..Summary::of(first_at, first) };
        (all.count, all.sum) = (samples.len() as u64, 0.0);
        for (at, value) in samples {
            all.sum += value;
            all.least = all.least.min(*value);
            all.greatest = all.greatest.max(*value);
            all.middle += seconds(*at);
        }
        all.middle /= count;
        let mean = all.sum / count;
        for (at, value) in samples {
            let (distance, apart) = (value - mean, seconds(*at) - all.middle);
            all.squares += distance * distance;
            all.time_squares += apart * apart;
            all.products += distance * apart;
        }
        Some(all)
    }

    /// The plain mean.
    pub fn mean(&self) -> f64 {
        // Rounding does not lead out of the values: the mean of equal ones is that value.
        (self.sum / self.count as f64).clamp(self.least, self.greatest)
    }

    /// Population standard deviation: the square root of the mean squared distance from the mean.
    pub fn deviation(&self) -> f64 {
        if self.least == self.greatest {
            // What rounding leaves of equal values is no spread.
            return 0.0;
        }
        (self.squares / self.count as f64).sqrt()
    }

    /// Slope of the least-squares line, per second; `None` when all are of one time.
    pub fn slope(&self) -> Option<f64> {
        (self.time_squares > 0.0).then(|| self.products / self.time_squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[(i64, f64)]) -> Summary {
        let samples = samples.iter().map(|(s, value)| (Timestamp::from_millis(s * 1_000), *value));
        Summary::of_all(&samples.collect::<Vec<_>>()).expect("some samples")
    }

    #[test]
    fn figures_do_not_depend_on_where_samples_are_parted() {
        let samples = [(0, 2.0), (10, 4.0), (20, 4.0), (30, 6.0)];
        // Distances from the mean 4: -2 0 0 2, squares 8 over 4. Times -15 -5 5 15: 60 over 500.
        for parted in 1..4 {
            let (before, after) = samples.split_at(parted);
            let all = of(before).joined(&of(after));
            assert_eq!((all.mean(), all.deviation()), (4.0, 2.0_f64.sqrt()));
            assert!((all.slope().expect("a slope") - 0.12).abs() < 1e-12);
            assert_eq!((all.first, all.last, all.least, all.greatest), (2.0, 6.0, 2.0, 6.0));
        }
    }

    #[test]
    fn small_spread_far_from_zero_keeps_its_digits() {
        let samples: Vec<(i64, f64)> = (0..1_000).map(|s| (s, 1e9 + (s % 2) as f64)).collect();
        assert!((of(&samples).deviation() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn equal_values_have_no_spread_and_one_time_has_no_slope() {
        assert_eq!(of(&[(0, 0.1), (1, 0.1), (2, 0.1)]).mean(), 0.1);
        assert_eq!(of(&[(0, 0.1), (1, 0.1), (2, 0.1)]).deviation(), 0.0);
        assert_eq!(of(&[(5, 1.0), (5, 3.0)]).slope(), None);
    }
}
