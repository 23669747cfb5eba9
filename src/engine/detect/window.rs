//! The last samples of one metric, and what can be said about a part of them.
//!
//! A series is bounded: past [`CELLS_MAX`] neighbours are merged, the older the coarser, so that a
//! window of days costs as much as one of hours and only the place of its far edge is blurred, by
//! less than one part in [`RESOLUTION`] of its length.

use std::collections::VecDeque;

use crate::engine::types::time::{TimeSpan, Timestamp};

/// Most cells of a series; a cell takes 72 bytes, so that a series takes at most 288 KiB.
pub const CELLS_MAX: usize = 4_096;
/// A merged cell is at most this part of its age long. About `2 * 128 * ln(7 d / 1 s)` cells stay.
const RESOLUTION: i64 = 128;

/// One sample, or several that were merged.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    first_at: Timestamp,
    last_at: Timestamp,
    count: u32,
    first: f64,
    last: f64,
    sum: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Cell {
    fn new(at: Timestamp, value: f64) -> Cell {
        Cell {
            first_at: at,
            last_at: at,
            count: 1,
            first: value,
            last: value,
            sum: value,
            squares: 0.0,
            least: value,
            greatest: value,
        }
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }

    /// This cell with the one after it. `squares` is the sum of squared distances from the mean;
    /// merged after Chan, Golub, LeVeque, "Updating Formulae", 1979.
    fn merged(&self, next: &Cell) -> Cell {
        let (n, m) = (f64::from(self.count), f64::from(next.count));
        let apart = next.mean() - self.mean();
        Cell {
            first_at: self.first_at,
            last_at: next.last_at,
            count: self.count.saturating_add(next.count),
            first: self.first,
            last: next.last,
            sum: self.sum + next.sum,
            squares: self.squares + next.squares + apart * apart * n * m / (n + m),
            least: self.least.min(next.least),
            greatest: self.greatest.max(next.greatest),
        }
    }
}

/// The last samples of one metric, in the order of their event times.
#[derive(Clone, Debug, Default)]
pub struct Series {
    cells: VecDeque<Cell>,
    kept: TimeSpan,
}

impl Series {
    /// A series that keeps what a window of `kept` needs.
    pub fn new(kept: TimeSpan) -> Series {
        Series { cells: VecDeque::new(), kept }
    }

    /// How far back it keeps samples.
    pub fn kept(&self) -> TimeSpan {
        self.kept
    }

    /// Keeps what a window of `kept` needs from now on; what was forgotten stays forgotten.
    pub fn keep(&mut self, kept: TimeSpan) {
        self.kept = kept;
    }

    /// Places a sample by its time. One with the time of a sample that is there replaces nothing.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        let place = self.cells.iter().rev().position(|cell| cell.last_at <= at);
        let place = place.map_or(0, |from_end| self.cells.len() - from_end);
        self.cells.insert(place, Cell::new(at, value));
        let newest = self.cells.back().map_or(at, |cell| cell.last_at);
        // One sample before the window is kept: it tells that the window is covered.
        while self.cells.get(1).is_some_and(|second| second.last_at <= newest - self.kept) {
            self.cells.pop_front();
        }
        if self.cells.len() > CELLS_MAX {
            self.merge_neighbours();
        }
    }

    fn merge_neighbours(&mut self) {
        let newest = self.cells.back().map_or(Timestamp::EPOCH, |cell| cell.last_at);
        for cell in std::mem::take(&mut self.cells) {
            let age = newest.since(cell.last_at).micros();
            match self.cells.back_mut() {
                Some(last) if cell.last_at.since(last.first_at).micros() <= age / RESOLUTION => {
                    *last = last.merged(&cell);
                }
                _ => self.cells.push_back(cell),
            }
        }
        // So many samples a second that even the newest do not fit: the oldest go.
        while self.cells.len() > CELLS_MAX / 8 * 7 {
            self.cells.pop_front();
        }
    }
}

/// The samples with `from < time <= to`.
#[derive(Debug)]
pub struct Window<'a> {
    series: &'a Series,
    start: usize,
    end: usize,
}

impl<'a> Window<'a> {
    /// A part of a series.
    pub fn new(series: &'a Series, from: Timestamp, to: Timestamp) -> Window<'a> {
        let start = series.cells.partition_point(|cell| cell.last_at <= from);
        let end = series.cells.partition_point(|cell| cell.last_at <= to);
        Window { series, start, end: end.max(start) }
    }

    fn cells(&self) -> impl Iterator<Item = &'a Cell> {
        self.series.cells.range(self.start..self.end)
    }

    fn whole(&self) -> Option<Cell> {
        let mut cells = self.cells();
        let first = *cells.next()?;
        Some(cells.fold(first, |all, cell| all.merged(cell)))
    }

    /// Time of the oldest sample.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.cells().next().map(|cell| cell.last_at)
    }

    /// How many samples.
    pub fn count(&self) -> usize {
        self.cells().map(|cell| cell.count as usize).sum()
    }

    /// Their sum; 0 for none.
    pub fn sum(&self) -> f64 {
        self.cells().map(|cell| cell.sum).sum()
    }

    /// Their plain mean.
    pub fn mean(&self) -> Option<f64> {
        self.oldest().map(|_| self.sum() / self.count() as f64)
    }

    /// The least.
    pub fn least(&self) -> Option<f64> {
        self.cells().map(|cell| cell.least).reduce(f64::min)
    }

    /// The greatest.
    pub fn greatest(&self) -> Option<f64> {
        self.cells().map(|cell| cell.greatest).reduce(f64::max)
    }

    /// Population standard deviation: the square root of the mean squared distance from the mean.
    pub fn deviation(&self) -> Option<f64> {
        self.whole().map(|whole| (whole.squares / f64::from(whole.count)).max(0.0).sqrt())
    }

    /// Slope of the least-squares line, per second; `None` for fewer than two times.
    pub fn rate(&self) -> Option<f64> {
        let origin = self.oldest()?;
        let points = || {
            self.cells().map(|cell| {
                let middle = cell.first_at.since(origin).as_secs_f64() / 2.0
                    + cell.last_at.since(origin).as_secs_f64() / 2.0;
                (middle, cell.mean(), f64::from(cell.count))
            })
        };
        let weight: f64 = points().map(|(_, _, n)| n).sum();
        let time: f64 = points().map(|(t, _, n)| t * n).sum::<f64>() / weight;
        let value: f64 = points().map(|(_, v, n)| v * n).sum::<f64>() / weight;
        let spread: f64 = points().map(|(t, _, n)| n * (t - time) * (t - time)).sum();
        let together: f64 = points().map(|(t, v, n)| n * (t - time) * (v - value)).sum();
        (spread > 0.0).then(|| together / spread)
    }

    /// Newest minus oldest.
    pub fn delta(&self) -> Option<f64> {
        let first = self.cells().next()?;
        let last = self.cells().last()?;
        Some(last.last - first.first)
    }

    /// True when there were samples over all of the window and none differed; `None` while the
    /// window is not covered, or holds no sample. The sample before the window counts: its value
    /// stood when the window began.
    pub fn stuck(&self) -> Option<bool> {
        let before = self.series.cells.get(self.start.checked_sub(1)?)?;
        let (least, greatest) = (self.least()?, self.greatest()?);
        let (least, greatest) = (least.min(before.last), greatest.max(before.last));
        // Not equality by a margin: a sensor that is stuck repeats the very same number.
        Some(least.to_bits() == greatest.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: &[(i64, f64)]) -> Series {
        let mut series = Series::new(TimeSpan::from_secs(100));
        for (second, value) in samples {
            series.push(Timestamp::from_millis(second * 1_000), *value);
        }
        series
    }

    fn window(series: &Series, from: i64, to: i64) -> Window<'_> {
        Window::new(
            series,
            Timestamp::from_millis(from * 1_000),
            Timestamp::from_millis(to * 1_000),
        )
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
    fn a_late_sample_is_placed_by_its_time() {
        let series = series(&[(10, 1.0), (30, 3.0), (20, 2.0)]);
        let values: Vec<f64> = series.cells.iter().map(Cell::mean).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_long_window_forgets_what_is_older_than_it() {
        let mut series = Series::new(TimeSpan::from_secs(21_600));
        for second in 0..172_800 {
            series.push(Timestamp::from_millis(second * 1_000), second as f64);
        }
        assert!(series.cells.len() <= CELLS_MAX);
        for hours in [1, 6] {
            let length = hours * 3_600;
            let window = window(&series, 172_799 - length, 172_799);
            let blur = length / RESOLUTION;
            let count = window.count() as i64;
            assert!((length..=length + blur).contains(&count), "{count} of {length}");
        }
    }

    #[test]
    fn a_series_stays_bounded_and_its_figures_stay_true() {
        let mut series = Series::new(TimeSpan::from_secs(1_000_000));
        let count = 20_000;
        for second in 0..count {
            series.push(Timestamp::from_millis(second * 1_000), f64::from((second % 7) as i32));
        }
        assert!(series.cells.len() <= CELLS_MAX);
        let window = window(&series, -1, count);
        let values = (0..count).map(|second| f64::from((second % 7) as i32));
        let mean = values.clone().sum::<f64>() / count as f64;
        let variance = values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / count as f64;
        assert_eq!(window.count() as i64, count);
        assert!((window.mean().expect("a mean") - mean).abs() < 1e-9);
        assert!((window.deviation().expect("a deviation") - variance.sqrt()).abs() < 1e-9);
    }
}
