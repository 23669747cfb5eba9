//! Billing periods: calendar arithmetic in a zone. `[start, end)`, and no period of any other zone.

use chrono::{DateTime, Datelike, Days, Duration, MappedLocalTime, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::document::Word;
use super::time::Timestamp;

/// Length of a billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodUnit {
    /// A calendar month.
    Month,
    /// Three months, the first from January.
    Quarter,
    /// Twelve months from January.
    Year,
}

impl PeriodUnit {
    fn months(self) -> u32 {
        match self {
            PeriodUnit::Month => 1,
            PeriodUnit::Quarter => 3,
            PeriodUnit::Year => 12,
        }
    }
}

impl Word for PeriodUnit {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("month", PeriodUnit::Month),
        ("quarter", PeriodUnit::Quarter),
        ("year", PeriodUnit::Year),
    ];
}

/// How time is cut into periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Length.
    pub unit: PeriodUnit,
    /// Day of the month on which a period begins, 1 to 31; shorter months use their last day.
    pub anchor_day: u32,
    /// Zone in which days begin.
    pub zone: Tz,
}

/// One period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Period {
    /// Name: its first day, `2026-03-01`.
    pub id: String,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Calendar days in it.
    pub days: u32,
}

impl Period {
    /// True when `at` lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

impl Calendar {
    /// Calendar months of a zone.
    pub fn months(zone: Tz) -> Calendar {
        Calendar { unit: PeriodUnit::Month, anchor_day: 1, zone }
    }

    /// The period that `at` lies in.
    pub fn period(&self, at: Timestamp) -> Period {
        let local = at.to_chrono().with_timezone(&self.zone).date_naive();
        let months = i32::try_from(self.unit.months()).unwrap_or(1);
        let month = month_number(local).div_euclid(months) * months;
        // The anchor, and a gap at midnight, may put an instant into the period before.
        let candidates = [month + months, month, month - months].map(|month| self.begins(month));
        let first = candidates.into_iter().find(|day| first_instant(self.zone, *day) <= at);
        let first = first.unwrap_or(local);
        self.beginning_on(first)
    }

    /// The period after another one.
    pub fn next(&self, period: &Period) -> Period {
        self.period(period.end)
    }

    /// The period whose name begins with `name`: a day of it, `2026-03-15`, or its month.
    pub fn named(&self, name: &str) -> Option<Period> {
        let day = match name.len() {
            7 => {
                let first: NaiveDate = format!("{name}-01").parse().ok()?;
                self.begins(month_number(first))
            }
            _ => name.parse().ok()?,
        };
        Some(self.period(first_instant(self.zone, day)))
    }

    fn beginning_on(&self, first: NaiveDate) -> Period {
        let months = i32::try_from(self.unit.months()).unwrap_or(1);
        let after = self.begins(month_number(first) + months);
        Period {
            id: first.to_string(),
            start: first_instant(self.zone, first),
            end: first_instant(self.zone, after),
            days: u32::try_from((after - first).num_days()).unwrap_or(0),
        }
    }

    /// The day of this month on which a period begins.
    fn begins(&self, month: i32) -> NaiveDate {
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12).unsigned_abs() + 1);
        let day = |day| NaiveDate::from_ymd_opt(year, month, day);
        let days = (1..=self.anchor_day).rev();
        days.filter_map(day).next().unwrap_or(NaiveDate::MIN)
    }
}

/// Months since the year 0.
fn month_number(date: NaiveDate) -> i32 {
    date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0)
}

/// The first instant of a day in a zone: midnight; where clocks skip it the end of the gap, where
/// they pass it twice the first time.
pub fn first_instant(zone: Tz, day: NaiveDate) -> Timestamp {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let at = match zone.from_local_datetime(&midnight) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.with_timezone(&Utc),
        MappedLocalTime::None => end_of_gap(zone, day),
    };
    Timestamp::from_micros(at.timestamp_micros())
}

/// Bisects the day around a midnight that is not there, to the second.
fn end_of_gap(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let is_after = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local() >= midnight;
    let eve = day.checked_sub_days(Days::new(1)).unwrap_or(day);
    // Midnight of any zone lies from 10:00 UTC of the day before to 12:00 UTC.
    let mut before = eve.and_time(chrono::NaiveTime::MIN).and_utc() + Duration::hours(9);
    let mut after = before + Duration::hours(32);
    while after - before > Duration::seconds(1) {
        let between = before + (after - before) / 2;
        let between = DateTime::from_timestamp(between.timestamp(), 0).unwrap_or(after);
        if is_after(between) {
            after = between;
        } else {
            before = between;
        }
    }
    after
}

#[cfg(test)]
mod tests;
