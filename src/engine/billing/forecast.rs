//! Where a period will end: quantities are forecast, and rated afterwards.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::rating::ActivePlan;
use crate::engine::types::ledger::{Aggregation, LedgerRow, Meter};
use crate::engine::types::period::Period;
use crate::engine::types::tariff::{Quantities, Share, Tariff};
use crate::engine::types::time::Timestamp;

/// Days of rows without which nothing is forecast.
const DAYS_MIN: usize = 7;
/// Days of rows from which on the hours of the week are told apart.
const SEASONAL_DAYS: usize = 28;
/// How often the rest of the period is drawn from the days that were.
const DRAWS: usize = 400;
/// Most tickets that are counted as left.
const LEFT_MAX: u32 = 10_000_000;

/// A quantity or a sum, with the range in which four of five periods end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// One in ten ends below.
    pub p10: Decimal,
    /// Expected.
    pub p50: Decimal,
    /// One in ten ends above.
    pub p90: Decimal,
}

/// Where a period will end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// First day of the period.
    pub period: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What was used so far.
    pub so_far: BTreeMap<&'static str, Decimal>,
    /// What that costs.
    pub spent: Decimal,
    /// `linear`, `seasonal`, or `not enough data`.
    pub method: &'static str,
    /// Quantities at the end.
    pub quantities: BTreeMap<&'static str, Range>,
    /// Money at the end.
    pub spend: Option<Range>,
    /// The budget that it is held against.
    pub budget: Option<Decimal>,
    /// The day on which the budget is used up; `None` where it lasts.
    pub reached_on: Option<NaiveDate>,
    /// Tickets that the budget still pays for.
    pub tickets_left: Option<u32>,
    /// Price of the next ticket.
    pub next_ticket: Decimal,
}

/// What happened when, in the days of the zone.
#[derive(Debug, Default)]
struct History {
    /// By day.
    days: BTreeMap<NaiveDate, Quantities>,
    /// By hour of the week.
    hours: BTreeMap<(u32, u32), Quantities>,
}

/// Forecasts from rows up to `now`, those of earlier periods among them.
pub fn forecast(
    active: &ActivePlan,
    period: &Period,
    now: Timestamp,
    zone: Tz,
    budget: Option<Decimal>,
    rows: impl Iterator<Item = LedgerRow>,
) -> Forecast {
    let mut history = History::default();
    let (mut used, mut first) = (Quantities::ZERO, now);
    for row in rows.filter(|row| !row.committed().is_zero() && row.time < now) {
        if row.meter.aggregation() == Aggregation::Max {
            // The most at a time stays what it is: it does not grow with the time.
            if period.contains(row.time) {
                used[row.meter] = used[row.meter].max(row.qty);
            }
            continue;
        }
        let local = row.time.to_chrono().with_timezone(&zone);
        let day = history.days.entry(local.date_naive()).or_default();
        day[row.meter] += row.qty;
        let slot = (local.weekday().num_days_from_monday(), local.hour());
        history.hours.entry(slot).or_default()[row.meter] += row.qty;
        first = first.min(row.time);
        if period.contains(row.time) {
            used[row.meter] += row.qty;
        }
    }
    let start = first
        .min(period.start)
        .max(period.start - crate::engine::types::time::TimeSpan::from_secs(56 * 86_400));
    let days = history.fill(start, now, zone);
    let cost = |quantities: &Quantities| {
        active.ceiling(quantities, quantities, period.days, Share::Whole).unwrap_or_default()
    };
    let one = Quantities::ZERO.with(Meter::TicketCreated, Decimal::ONE);
    let spent = cost(&used);
    let ends = match days {
        0..DAYS_MIN => None,
        DAYS_MIN..SEASONAL_DAYS => Some(("linear", linear(&history, period, now, &used))),
        _ => Some(("seasonal", history.seasonal(period, now, zone, &used, days))),
    };
    let (method, end) = ends.map_or(("not enough data", None), |(method, end)| (method, Some(end)));
    let drawn = end.map(|end| history.draw(period, now, zone, &used, &end));
    let spend = drawn.as_ref().map(|[low, end, high]| {
        let (p10, p50, p90) = (cost(low), cost(end), cost(high));
        Range { p10: p10.min(p50), p50, p90: p90.max(p50) }
    });
    let quantities = drawn.as_ref().map(|[low, end, high]| {
        let meters = Meter::ALL.into_iter().filter(|meter| !end[*meter].is_zero());
        let range = |meter| Range { p10: low[meter], p50: end[meter], p90: high[meter] };
        meters.map(|meter| (meter.name(), range(meter))).collect()
    });
    let so_far = used.iter().filter(|(_, quantity)| !quantity.is_zero());
    Forecast {
        period: period.id.clone(),
        currency: active.plan().currency.clone(),
        so_far: so_far.map(|(meter, quantity)| (meter.name(), quantity)).collect(),
        spent,
        method,
        quantities: quantities.unwrap_or_default(),
        spend,
        budget,
        reached_on: budget.zip(drawn).and_then(|(budget, [_, end, _])| {
            reached_on(period, now, zone, &used, &end, |quantities| cost(quantities) >= budget)
        }),
        tickets_left: budget.map(|budget| left(active, period, &used, budget)),
        next_ticket: cost(&used.plus(&one)) - spent,
    }
}

/// At the pace of the period so far; at that of all rows while the period is young.
fn linear(history: &History, period: &Period, now: Timestamp, used: &Quantities) -> Quantities {
    let whole = Decimal::from(period.end.since(period.start).micros());
    let elapsed = Decimal::from(now.since(period.start).micros().max(1));
    let young = elapsed < Decimal::from(DAYS_MIN as i64 * 86_400_000_000);
    let days = Decimal::from(history.days.len().max(1));
    let rest =
        Decimal::from(period.end.since(now).micros().max(0)) / Decimal::from(86_400_000_000_i64);
    let mut end = Quantities::ZERO;
    for (meter, quantity) in used.iter() {
        let all: Decimal = history.days.values().map(|day| day[meter]).sum();
        let linear = quantity * whole / elapsed;
        let recent = quantity + all / days * rest;
        let grown = if young { recent } else { linear }.round_dp(meter.places());
        end[meter] = if meter.aggregation() == Aggregation::Max { quantity } else { grown };
    }
    end
}

impl History {
    /// Days without rows count too; how many days there are.
    fn fill(&mut self, start: Timestamp, now: Timestamp, zone: Tz) -> usize {
        let day = |at: Timestamp| at.to_chrono().with_timezone(&zone).date_naive();
        let (first, today) = (day(start), day(now));
        for day in first.iter_days().take_while(|day| *day < today) {
            self.days.entry(day).or_default();
        }
        self.days.len()
    }

    /// The hours that are left, each as it was in the weeks before.
    fn seasonal(
        &self,
        period: &Period,
        now: Timestamp,
        zone: Tz,
        used: &Quantities,
        days: usize,
    ) -> Quantities {
        let weeks = Decimal::from(days) / Decimal::from(7);
        let hour = crate::engine::types::time::TimeSpan::from_secs(3_600);
        let mut rest = Quantities::ZERO;
        let mut at = now;
        while at < period.end {
            let local = at.to_chrono().with_timezone(&zone);
            let slot = (local.weekday().num_days_from_monday(), local.hour());
            if let Some(hours) = self.hours.get(&slot) {
                rest = rest.plus(hours);
            }
            at = at + hour;
        }
        let mut end = *used;
        for (meter, quantity) in rest.iter() {
            end[meter] = (end[meter] + quantity / weeks).round_dp(meter.places());
        }
        end
    }

    /// The end, with what one in ten periods stays below and above: the days that are left are drawn
    /// from those of the same weekday, always in the same order.
    fn draw(
        &self,
        period: &Period,
        now: Timestamp,
        zone: Tz,
        used: &Quantities,
        end: &Quantities,
    ) -> [Quantities; 3] {
        let mut by_weekday: [Vec<Quantities>; 7] = Default::default();
        for (day, quantities) in &self.days {
            if let Some(days) = by_weekday.get_mut(day.weekday().num_days_from_monday() as usize) {
                days.push(*quantities);
            }
        }
        let day = |at: Timestamp| at.to_chrono().with_timezone(&zone).date_naive();
        let left: Vec<NaiveDate> =
            day(now).iter_days().take_while(|left| *left < day(period.end)).collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut sums: Vec<Quantities> = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            let mut sum = *used;
            for day in &left {
                let days = by_weekday.get(day.weekday().num_days_from_monday() as usize);
                let days = days.map_or(&[][..], Vec::as_slice);
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let drawn = (seed >> 33) as usize % days.len().max(1);
                sum = sum.plus(days.get(drawn).unwrap_or(&Quantities::ZERO));
            }
            sums.push(sum);
        }
        let (mut low, mut high) = (*end, *end);
        for meter in Meter::ALL {
            let mut drawn: Vec<Decimal> = sums.iter().map(|sum| sum[meter]).collect();
            drawn.sort_unstable();
            let at = |tenths: usize| drawn.get(DRAWS * tenths / 10).copied();
            low[meter] = at(1).unwrap_or_default().min(end[meter]);
            high[meter] = at(9).unwrap_or_default().max(end[meter]);
        }
        [low, *end, high]
    }
}

/// The day on which what is used comes to the end evenly, and passes a bar before it.
fn reached_on(
    period: &Period,
    now: Timestamp,
    zone: Tz,
    used: &Quantities,
    end: &Quantities,
    is_reached: impl Fn(&Quantities) -> bool,
) -> Option<NaiveDate> {
    let today = now.to_chrono().with_timezone(&zone).date_naive();
    let last = period.end.to_chrono().with_timezone(&zone).date_naive();
    let days = (last - today).num_days().max(1);
    (0..days).map(|day| (day, day + 1)).find_map(|(day, passed)| {
        let mut then = *used;
        for meter in Meter::ALL {
            let rest = end[meter] - used[meter];
            then[meter] += rest * Decimal::from(passed) / Decimal::from(days);
        }
        is_reached(&then).then(|| today + chrono::Days::new(day.unsigned_abs()))
    })
}

/// The most tickets that a budget still pays for, whatever of them comes about.
fn left(active: &ActivePlan, period: &Period, used: &Quantities, budget: Decimal) -> u32 {
    let fits = |count: u32| {
        let more = used.plus(&Quantities::ZERO.with(Meter::TicketCreated, Decimal::from(count)));
        let cost = active.ceiling(used, &more, period.days, Share::Whole);
        cost.is_some_and(|cost| cost <= budget)
    };
    let (mut low, mut high) = (0, LEFT_MAX);
    while low < high {
        let middle = high - (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
