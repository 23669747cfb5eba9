//! What we counted beside what the upstreams say of it themselves.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::rating::Usage;
use crate::engine::types::ledger::{Aggregation, Meter};
use crate::engine::types::period::Period;
use crate::engine::types::reported::Reported;
use crate::engine::types::text::{Language, cut_chars};
use crate::engine::types::time::Timestamp;

/// Longest list of counters in a table; JSON has them all.
const COUNTERS_CHARS_MAX: usize = 48;
/// What stands before the name of a counter.
const USAGE: &str = "x-usage-";

/// One meter, or one counter that is like none of our meters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// Name of the meter; that of the header where no meter is like it.
    pub meter: String,
    /// What we counted; `None` where nobody here knows.
    pub ours: Option<Decimal>,
    /// What the upstreams say; `None` where they say nothing, or not since when.
    pub theirs: Option<Decimal>,
    /// Theirs less ours, where both are known.
    pub difference: Option<Decimal>,
    /// The counters behind it.
    pub counters: Vec<Counter>,
}

/// A counter of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// Name of the upstream.
    pub upstream: String,
    /// Header.
    pub header: String,
    /// What it stands at.
    pub value: Decimal,
    /// When that was told.
    pub at: Timestamp,
    /// What of it was used in the period; `None` where it was not heard before the period began.
    pub used: Option<Decimal>,
}

/// The meter that a counter is like.
fn meter_of(header: &str) -> Option<Meter> {
    match header.strip_prefix(USAGE)? {
        "api-calls" | "calls" | "api-requests" | "requests" => Some(Meter::ApiCall),
        "tickets" | "tickets-created" | "tickets-opened" => Some(Meter::TicketCreated),
        "escalations" | "tickets-escalated" => Some(Meter::TicketEscalated),
        "visits" | "service-visits" => Some(Meter::ServiceVisit),
        "messages" | "messages-sent" => Some(Meter::MessageSent),
        "storage-gb-days" => Some(Meter::StorageGbDay),
        "devices" | "devices-peak" => Some(Meter::DevicePeak),
        "users" | "users-peak" => Some(Meter::UserPeak),
        _ => None,
    }
}

/// Every meter of a period, and every counter that is like none. `usage` is what the ledger comes to.
pub fn beside(usage: &Usage, period: &Period, reported: &[Reported]) -> Vec<Beside> {
    let mut days: BTreeMap<(&str, &str), Vec<&Reported>> = BTreeMap::new();
    for day in reported.iter().filter(|day| day.day < period.end) {
        days.entry((&day.upstream, &day.header)).or_default().push(day);
    }
    let mut of_meter: BTreeMap<Meter, Vec<Counter>> = BTreeMap::new();
    let mut others = Vec::new();
    for ((_, header), mut days) in days {
        days.sort_by_key(|day| day.day);
        let meter = meter_of(header);
        let Some(counter) = counter(&days, period, meter) else { continue };
        match meter {
            Some(meter) => of_meter.entry(meter).or_default().push(counter),
            None => others.push(Beside {
                meter: header.to_owned(),
                ours: None,
                theirs: counter.used,
                difference: None,
                counters: vec![counter],
            }),
        }
    }
    let meters = Meter::ALL.into_iter().map(|meter| {
        let counters = of_meter.remove(&meter).unwrap_or_default();
        let used = counters.iter().map(|counter| counter.used);
        // One that is not known makes the sum unknown.
        let theirs = used.sum::<Option<Decimal>>().filter(|_| !counters.is_empty());
        let ours = ours(usage, meter);
        let difference = theirs.zip(ours).map(|(theirs, ours)| theirs - ours);
        Beside { meter: meter.name().to_owned(), ours, theirs, difference, counters }
    });
    meters.chain(others).collect()
}

/// What is measured or sent by others is unknown where there are no rows of it, and not 0.
fn ours(usage: &Usage, meter: Meter) -> Option<Decimal> {
    let quantity = usage.quantity(meter.name());
    let is_counted = !meter.is_measured() && meter != Meter::MessageSent;
    (is_counted || !quantity.is_zero()).then_some(quantity)
}

/// What a counter says of a period; `None` where it said nothing in it.
fn counter(days: &[&Reported], period: &Period, meter: Option<Meter>) -> Option<Counter> {
    let start = days.partition_point(|day| day.day < period.start);
    let (before, inside) = days.split_at_checked(start)?;
    let last = inside.last()?;
    let is_peak = meter.is_some_and(|meter| meter.aggregation() == Aggregation::Max);
    let used = if is_peak {
        inside.iter().map(|day| day.most).max()
    } else {
        before.last().map(|before| grown(before.value, inside))
    };
    let Reported { upstream, header, value, at, .. } = (*last).clone();
    Some(Counter { upstream, header, value, at, used })
}

/// How much a counter has grown over some days. One that falls has begun anew, from 0.
fn grown(from: Decimal, days: &[&Reported]) -> Decimal {
    let step = |before: Decimal, after: Decimal| {
        if after < before { after } else { after - before }
    };
    let mut sum = Decimal::ZERO;
    let mut before = from;
    for day in days {
        sum += step(before, day.first);
        // Within a day it may have begun anew as well: up to the greatest value, and on from there.
        sum += if day.value < day.first {
            day.most - day.first + day.value
        } else {
            day.value - day.first
        };
        before = day.value;
    }
    sum
}

/// A table for a terminal; `table` lays columns out.
pub fn beside_text(
    rows: &[Beside],
    language: Language,
    table: impl Fn(&[&str], &[Vec<String>]) -> String,
) -> String {
    let (head, unknown, silent) = match language {
        Language::Chinese => (["计量项", "我方", "上游", "差额", "上游计数"], "未知", "未提供"),
        Language::English => {
            (["meter", "ours", "upstream", "difference", "its counters"], "unknown", "none told")
        }
    };
    let number = |number: Option<Decimal>, none: &str| {
        number.map_or_else(|| none.to_owned(), |number| number.normalize().to_string())
    };
    let cells = rows.iter().map(|row| {
        let counters = row.counters.iter().map(|counter| {
            format!("{} {} = {}", counter.upstream, counter.header, counter.value.normalize())
        });
        let theirs = if row.counters.is_empty() { silent } else { unknown };
        vec![
            row.meter.clone(),
            number(row.ours, unknown),
            number(row.theirs, theirs),
            number(row.difference, "-"),
            cut_chars(&counters.collect::<Vec<_>>().join(", "), COUNTERS_CHARS_MAX).to_owned(),
        ]
    });
    table(&head, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::engine::types::period::Calendar;

    fn day(header: &str, day: &str, first: i64, value: i64) -> Reported {
        let day = Timestamp::parse_rfc3339(&format!("2026-{day}T00:00:00Z")).expect("a time");
        let (first, value) = (Decimal::from(first), Decimal::from(value));
        let (upstream, header) = ("desk".to_owned(), header.to_owned());
        Reported { upstream, header, day, first, value, most: first.max(value), at: day }
    }

    fn told(reported: &[Reported]) -> Vec<(String, Option<i64>, Option<i64>)> {
        let period = Calendar::months(Tz::UTC).named("2026-03").expect("a month");
        let mut usage = Usage::default();
        usage.set("api.call", Decimal::from(40));
        let short = |number: Option<Decimal>| number.and_then(|n| i64::try_from(n).ok());
        let rows = beside(&usage, &period, reported);
        let rows = rows.into_iter().filter(|row| !row.counters.is_empty());
        rows.map(|row| (row.meter, short(row.theirs), short(row.difference))).collect()
    }

    #[test]
    fn a_counter_is_compared_from_the_first_instant_of_the_period_also_where_it_begins_anew() {
        let calls = "x-usage-api-calls";
        let known = [
            day(calls, "02-28", 90, 100),
            day(calls, "03-01", 101, 120),
            day(calls, "03-09", 121, 142),
        ];
        assert_eq!(told(&known), [("api.call".to_owned(), Some(42), Some(2))]);
        // It was set to 0 at the beginning of the month: 20, then 22 more.
        let anew =
            [day(calls, "02-28", 90, 100), day(calls, "03-01", 1, 20), day(calls, "03-09", 21, 42)];
        assert_eq!(told(&anew), [("api.call".to_owned(), Some(42), Some(2))]);
    }

    #[test]
    fn what_was_not_heard_before_the_period_is_unknown_and_never_0() {
        let late = [day("x-usage-api-calls", "03-09", 1_000, 1_020)];
        assert_eq!(told(&late), [("api.call".to_owned(), None, None)]);
        let strange = [day("x-usage-robots", "02-09", 1, 2), day("x-usage-robots", "03-09", 2, 5)];
        assert_eq!(told(&strange), [("x-usage-robots".to_owned(), Some(3), None)]);
        let period = Calendar::months(Tz::UTC).named("2026-03").expect("a month");
        let rows = beside(&Usage::default(), &period, &[]);
        let unknown = rows.iter().filter(|row| row.ours.is_none()).map(|row| row.meter.as_str());
        let unknown: Vec<&str> = unknown.collect();
        assert_eq!(unknown, ["message.sent", "storage.gb_day", "device.peak", "user.peak"]);
    }
}
