//! The last values of a metric and when they were measured, for the sketch and the plot of a ticket.
//!
//! There is one for each metric of each device: the time of the newest value is kept as it is, that
//! of any other as the time until the next one, in two bytes ([`Gap`]). A time that is read back is
//! wrong by at most 1/4096 of its age and 8 µs for each value after it: less than a pixel of a plot.

use crate::engine::types::time::{TimeSpan, Timestamp};

/// Values that are kept.
pub(super) const RECENT: usize = 24;

/// The last values, in the order of their times. Eight heights are drawn in a text, and some hundred
/// pixels in a plot: half the digits do.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    newest: Timestamp,
    values: [f32; RECENT],
    /// The time since the value before each.
    gaps: [Gap; RECENT],
    /// Where the next one goes.
    next: u8,
    /// How many there are.
    count: u8,
}

impl Default for Recent {
    fn default() -> Recent {
        let (values, gaps) = ([0.0; RECENT], [Gap(0); RECENT]);
        Recent { newest: Timestamp::EPOCH, values, gaps, next: 0, count: 0 }
    }
}

impl Recent {
    /// Places a value by its time, after those of the same time. `maybe_again`: unless it is there
    /// already.
    pub fn push(&mut self, at: Timestamp, number: f64, maybe_again: bool) {
        let value = number as f32;
        if !value.is_finite() {
            return;
        }
        if self.count == 0 || at > self.newest || (at == self.newest && !maybe_again) {
            return self.append(at, value);
        }
        let mut points = self.points();
        if maybe_again && points.iter().any(|known| self.is_same(*known, (at, value))) {
            return;
        }
        let place = points.partition_point(|(known, _)| *known <= at);
        points.insert(place, (at, value));
        *self = Recent::default();
        for (at, value) in points.into_iter().rev().take(RECENT).rev() {
            self.append(at, value);
        }
    }

    /// The values with their times, oldest first.
    pub fn points(&self) -> Vec<(Timestamp, f32)> {
        let mut points = Vec::with_capacity(RECENT);
        let (mut at, next) = (self.newest, usize::from(self.next));
        for back in 1..=usize::from(self.count) {
            let place = (next + RECENT - back) % RECENT;
            let (Some(value), Some(gap)) = (self.values.get(place), self.gaps.get(place)) else {
                break;
            };
            points.push((at, *value));
            at = at - gap.span();
        }
        points.reverse();
        points
    }

    /// A value that is not older than the newest.
    fn append(&mut self, at: Timestamp, value: f32) {
        let next = usize::from(self.next);
        if let (Some(place), Some(gap)) = (self.values.get_mut(next), self.gaps.get_mut(next)) {
            *place = value;
            // That of the first one is never read.
            *gap = if self.count == 0 { Gap(0) } else { Gap::of(at.since(self.newest)) };
        }
        self.newest = at;
        self.next = ((next + 1) % RECENT) as u8;
        self.count = self.count.saturating_add(1).min(RECENT as u8);
    }

    /// True for the same value at the same time, as far as the time of the known one can be told.
    fn is_same(&self, known: (Timestamp, f32), new: (Timestamp, f32)) -> bool {
        let age = self.newest.since(known.0).micros();
        let blur = age / GAP_RESOLUTION + RECENT as i64 * GAP_UNIT;
        known.1 == new.1 && known.0.since(new.0).micros().abs() <= if age == 0 { 0 } else { blur }
    }
}

/// What a gap is counted in, in microseconds.
const GAP_UNIT: i64 = 16;
/// Bits of a gap that are its leading digits; those above are its size.
const GAP_DIGITS: u32 = 11;
/// A gap is wrong by less than one part in so many, rounded down to be on the safe side.
const GAP_RESOLUTION: i64 = 1 << GAP_DIGITS;

/// A length of time in two bytes: 5 bits of exponent and 11 of mantissa, in units of 16 µs. It is
/// wrong by at most 8 µs, and from 33 ms on by at most 1/4096 of itself besides; the longest is 814
/// days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap(u16);

impl Gap {
    fn of(span: TimeSpan) -> Gap {
        let units = (span.micros().max(0) as u64 + GAP_UNIT as u64 / 2) / GAP_UNIT as u64;
        let digits = u64::BITS - units.leading_zeros();
        let Some(mut shift) = digits.checked_sub(GAP_DIGITS + 1) else {
            return Gap(units as u16);
        };
        let mut mantissa = (units + (1 << shift >> 1)) >> shift;
        if mantissa >> (GAP_DIGITS + 1) > 0 {
            (mantissa, shift) = (mantissa >> 1, shift + 1);
        }
        if shift >= 31 {
            return Gap(u16::MAX);
        }
        // The leading one is not kept: it is always there.
        Gap(((shift + 1) << GAP_DIGITS) as u16 | (mantissa as u16 & ((1 << GAP_DIGITS) - 1)))
    }

    fn span(self) -> TimeSpan {
        let mantissa = i64::from(self.0 & ((1 << GAP_DIGITS) - 1));
        let units = match self.0 >> GAP_DIGITS {
            0 => mantissa,
            exponent => (mantissa | 1 << GAP_DIGITS) << (exponent - 1),
        };
        TimeSpan::from_micros(units * GAP_UNIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_gap_is_told_to_one_part_in_4096() {
        let mut micros = 1_i64;
        while micros < 600 * 86_400_000_000 {
            for span in [micros - 1, micros, micros + micros / 3] {
                let told = Gap::of(TimeSpan::from_micros(span)).span().micros();
                assert!((told - span).abs() <= 8 + span / 4_096 + 1, "{span} {told}");
            }
            micros = micros * 3 / 2 + 1;
        }
        for (code, next) in (0..u16::MAX).zip(1..=u16::MAX) {
            assert!(Gap(code).span() < Gap(next).span());
            assert_eq!(Gap::of(Gap(code).span()), Gap(code));
        }
        assert_eq!(Gap::of(TimeSpan::from_micros(-5)).span(), TimeSpan::ZERO);
        assert_eq!(Gap::of(TimeSpan::from_micros(i64::MAX)), Gap(u16::MAX));
    }

    #[test]
    fn times_are_read_back_to_one_part_in_4096_of_their_age() {
        let mut recent = Recent::default();
        let times: Vec<i64> = (0..40).map(|n| n * n * 7_654_321 + n).collect();
        for (time, number) in times.iter().zip(0..) {
            recent.push(at(*time), f64::from(number), false);
        }
        let (points, newest) = (recent.points(), *times.last().expect("a time"));
        assert_eq!(points.len(), RECENT);
        for ((told, value), time) in points.iter().zip(&times[40 - RECENT..]) {
            let wrong = (told.micros() - time).abs();
            assert!(wrong <= (newest - time) / 4_096 + 8 * RECENT as i64, "{value} {wrong}");
        }
        assert_eq!(points.last(), Some(&(at(newest), 39.0)));
    }

    #[test]
    fn a_late_value_stands_where_it_belongs_and_a_repeated_one_is_there_once() {
        let values = |recent: &Recent| recent.points().iter().map(|(_, v)| *v).collect::<Vec<_>>();
        let mut recent = Recent::default();
        for second in [10, 20, 40, 30] {
            recent.push(at(second * 1_000_000), second as f64, false);
        }
        assert_eq!(values(&recent), [10.0, 20.0, 30.0, 40.0]);
        for second in [10, 20, 30, 40] {
            recent.push(at(second * 1_000_000), second as f64, true);
        }
        recent.push(at(40_000_000), f64::NAN, false);
        recent.push(at(40_000_000), 1e300, false);
        assert_eq!(values(&recent), [10.0, 20.0, 30.0, 40.0]);
        recent.push(at(40_000_000), 41.0, true);
        assert_eq!(values(&recent), [10.0, 20.0, 30.0, 40.0, 41.0]);
        for second in 50..90 {
            recent.push(at(second * 1_000_000), second as f64, false);
        }
        recent.push(at(1_000_000), 1.0, false);
        assert_eq!(values(&recent).first(), Some(&66.0), "older than all that is kept");
    }
}
