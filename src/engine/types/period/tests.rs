//! Periods begin where the people of the zone say that they do.

use chrono_tz::Tz;

use super::{Calendar, Period, PeriodUnit, first_instant};
use crate::engine::types::time::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn calendar(unit: PeriodUnit, anchor_day: u32, zone: &str) -> Calendar {
    Calendar { unit, anchor_day, zone: zone.parse().expect("a zone") }
}

fn hours(period: &Period) -> i64 {
    period.end.since(period.start).micros() / 3_600_000_000
}

#[test]
fn a_midnight_that_clocks_skip_is_the_end_of_the_gap() {
    for (zone, day, first) in [
        ("America/Asuncion", "2023-10-01", "2023-10-01T01:00:00-03:00"),
        ("America/Havana", "2026-03-08", "2026-03-08T01:00:00-04:00"),
        ("America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"),
        ("Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"),
    ] {
        let zone: Tz = zone.parse().expect("a zone");
        assert_eq!(first_instant(zone, day.parse().expect("a day")), at(first), "{zone}");
    }
}

#[test]
fn a_midnight_that_comes_twice_is_the_first_one() {
    let zone: Tz = "America/Havana".parse().expect("a zone");
    let day = "2026-11-01".parse().expect("a day");
    assert_eq!(first_instant(zone, day), at("2026-11-01T00:00:00-04:00"));
}

#[test]
fn a_month_has_the_hours_that_its_zone_gives_it() {
    let months = calendar(PeriodUnit::Month, 1, "America/New_York");
    for (name, wanted, days) in [("2026-03", 743, 31), ("2026-11", 721, 30), ("2026-07", 744, 31)] {
        let period = months.named(name).expect("a month");
        assert_eq!((hours(&period), period.days), (wanted, days), "{name}");
    }
}

#[test]
fn an_anchor_on_the_31st_uses_the_last_day_of_shorter_months_and_comes_back() {
    let months = calendar(PeriodUnit::Month, 31, "Asia/Shanghai");
    let mut period = months.named("2026-01-31").expect("a period");
    let mut first_days = Vec::new();
    for _ in 0..5 {
        first_days.push(period.id.clone());
        let next = months.next(&period);
        assert_eq!(next.start, period.end);
        period = next;
    }
    assert_eq!(first_days, ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]);
    assert_eq!(months.period(at("2026-03-30T23:59:59+08:00")).id, "2026-02-28");
    assert_eq!(months.named("2026-02").expect("by month").id, "2026-02-28");
}

#[test]
fn quarters_and_years_begin_in_january() {
    let quarters = calendar(PeriodUnit::Quarter, 1, "Europe/Berlin");
    let quarter = quarters.period(at("2026-06-30T23:59:59+02:00"));
    assert_eq!((quarter.id.as_str(), quarter.days), ("2026-04-01", 91));
    let years = calendar(PeriodUnit::Year, 15, "Europe/Berlin");
    assert_eq!(years.period(at("2026-01-14T12:00:00+01:00")).id, "2025-01-15");
    assert_eq!(years.period(at("2026-01-15T00:00:00+01:00")).id, "2026-01-15");
}

proptest::proptest! {
    #[test]
    fn every_instant_lies_in_one_period_and_periods_touch(
        seconds in 0_i64..4_000_000_000, anchor_day in 1_u32..=31, zone in 0_usize..6, unit in 0_usize..3
    ) {
        let zone = ["America/Asuncion", "America/Havana", "Asia/Beirut", "Pacific/Apia", "Asia/Shanghai", "America/Santiago"][zone];
        let unit = [PeriodUnit::Month, PeriodUnit::Quarter, PeriodUnit::Year][unit];
        let calendar = calendar(unit, anchor_day, zone);
        let instant = Timestamp::from_millis(seconds * 1_000);
        let period = calendar.period(instant);
        proptest::prop_assert!(period.contains(instant), "{period:?}");
        proptest::prop_assert_eq!(calendar.period(period.start), period.clone());
        proptest::prop_assert_eq!(calendar.next(&period).start, period.end);
        proptest::prop_assert_eq!(calendar.named(&period.id), Some(period));
    }
}
