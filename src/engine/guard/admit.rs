//! Budgets against what is spent and what may yet be: reserved before the call, bounded whatever
//! comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Serialize;

use super::budget::{Budget, Spender};
use crate::engine::types::decision::Notice;
use crate::engine::types::ledger::{Aggregation, LedgerRow, LedgerState, Meter, Rung};
use crate::engine::types::period::{Calendar, Period};
use crate::engine::types::tariff::{Quantities, Share, Tariff};
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::seeded::{self, Bug};

/// Points of percent by which a rung must be undercut before it is left downwards.
const HYSTERESIS: u32 = 5;
/// How long a period must have run before it is forecast from itself.
const FORECAST_AFTER: TimeSpan = TimeSpan::from_secs(7 * 86_400);

/// Whether the money is there, in every budget that must admit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// It is.
    Ordinary,
    /// Only with the emergency reserve.
    Reserve,
    /// Not even with it.
    Refused,
    /// Nobody knows: the ledger or the prices cannot be read.
    Blind,
}

/// How a budget stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Id of the budget.
    pub budget: String,
    /// The rung.
    pub rung: Rung,
    /// The period.
    pub period: Period,
    /// Spent.
    pub spent: Option<Decimal>,
    /// Spent and set aside, at most.
    pub used: Option<Decimal>,
    /// Money of the period.
    pub amount: Decimal,
}

/// The budgets, and what was booked on them.
#[derive(Debug, Default)]
pub struct Guard {
    watches: Vec<Watch>,
    tariff: Option<Arc<dyn Tariff>>,
    reserved: BTreeMap<String, Reserved>,
    closings: BTreeMap<TicketId, Reserved>,
    blind: bool,
}

#[derive(Debug)]
struct Watch {
    budget: Budget,
    calendar: Calendar,
    period: Period,
    committed: Quantities,
    pending: Quantities,
    rung: Rung,
    told: Rung,
}

#[derive(Debug)]
struct Reserved {
    meter: Meter,
    quantity: Decimal,
    watches: Vec<usize>,
    /// Of an attempt that ended with the process: nobody will ever know, so that it counts as made
    /// until the period is over.
    is_lost: bool,
}

impl Guard {
    /// Budgets of which nothing is spent yet, with periods of `zone`.
    pub fn new(
        budgets: Vec<Budget>,
        tariff: Option<Arc<dyn Tariff>>,
        zone: Tz,
        now: Timestamp,
    ) -> Guard {
        let watch = |budget: Budget| {
            let calendar = Calendar { unit: budget.period, ..Calendar::months(zone) };
            let period = calendar.period(now);
            let (committed, pending) = (Quantities::ZERO, Quantities::ZERO);
            let (rung, told) = (Rung::Green, Rung::Green);
            Watch { budget, calendar, period, committed, pending, rung, told }
        };
        let watches = budgets.into_iter().map(watch).collect();
        Guard { watches, tariff, ..Guard::default() }
    }

    /// While the ledger is not read, nothing but safety and critical faults is paid for.
    pub fn set_blind(&mut self, blind: bool) {
        self.blind = blind && !self.watches.is_empty();
    }

    /// True while the ledger could not be read.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// True when there is a budget.
    pub fn is_on(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Id of the active plan; empty for none.
    pub fn plan(&self) -> &str {
        self.tariff.as_ref().map_or("", |tariff| tariff.id())
    }

    /// The earliest time from which rows count in some budget.
    pub fn since(&self) -> Option<Timestamp> {
        self.watches.iter().map(|watch| watch.period.start).min()
    }

    /// When the next period of some budget begins.
    pub fn next_period(&self) -> Option<Timestamp> {
        self.watches.iter().map(|watch| watch.period.end).min()
    }

    /// How long an alarm of this spender is held before a human is told.
    pub fn hold_max(&self, spender: Spender<'_>) -> TimeSpan {
        let covering = self.watches.iter().filter(|watch| watch.budget.scope.covers(spender));
        covering.map(|watch| watch.budget.hold_max).min().unwrap_or(TimeSpan::ZERO)
    }

    /// The rung of each budget.
    pub fn rungs(&self) -> Vec<Rung> {
        self.watches.iter().map(|watch| watch.rung).collect()
    }

    /// The worst rung among the budgets that must admit what `spender` does; `None` for no budget.
    pub fn rung(&self, spender: Spender<'_>) -> Option<Rung> {
        let covering = self.watches.iter().filter(|watch| watch.budget.scope.covers(spender));
        covering.map(|watch| watch.rung).max()
    }

    /// Whether every budget of `spender` holds `step` whatever comes of all that is pending.
    pub fn admission(&self, spender: Spender<'_>, step: &Quantities) -> Admission {
        if self.blind {
            return Admission::Blind;
        }
        let covering = self.watches.iter().filter(|watch| watch.budget.scope.covers(spender));
        covering.map(|watch| self.admits(watch, step)).max().unwrap_or(Admission::Ordinary)
    }

    fn admits(&self, watch: &Watch, step: &Quantities) -> Admission {
        let pending = match seeded::has(Bug::InFlightUncounted) {
            true => Quantities::ZERO,
            false => watch.pending,
        };
        let high = watch.committed.plus(&pending).plus(step);
        match self.cost(watch, &watch.committed, &high) {
            None => Admission::Blind,
            Some(cost) if cost <= watch.budget.ordinary() => Admission::Ordinary,
            Some(cost) if cost <= watch.budget.amount => Admission::Reserve,
            Some(_) => Admission::Refused,
        }
    }

    fn cost(&self, watch: &Watch, low: &Quantities, high: &Quantities) -> Option<Decimal> {
        let whole = watch.budget.scope.is_whole();
        let share = if whole { Share::Whole } else { Share::Part };
        self.tariff.as_ref()?.ceiling(low, high, watch.period.days, share)
    }

    /// Books a row that is written at `now`; the rungs that were entered with it.
    pub fn book(&mut self, now: Timestamp, row: &LedgerRow) -> Vec<Notice> {
        if self.watches.is_empty() {
            return Vec::new();
        }
        self.apply(now, row);
        self.measure(now)
    }

    /// What was set aside before a restart, and what of the period was spent before it.
    pub fn restore(&mut self, rows: impl Iterator<Item = LedgerRow>) {
        for row in rows {
            self.apply(row.recorded, &row);
        }
    }

    /// What was spent counts in the period in which it was, and what is set aside in every one.
    fn apply(&mut self, at: Timestamp, row: &LedgerRow) {
        match row.state {
            LedgerState::Reserved => self.set_aside(row),
            LedgerState::Ambiguous if row.meter == Meter::ApiCall => self.lose(at, row),
            // It stays set aside.
            LedgerState::Ambiguous => {}
            LedgerState::Released => self.give_back(&row.idem),
            LedgerState::Committed => {
                self.give_back(&row.idem);
                for index in self.covering(spender_of(row)) {
                    if let Some(watch) = self.watches.get_mut(index)
                        && watch.period.contains(at)
                    {
                        let quantity = &mut watch.committed[row.meter];
                        *quantity = row.meter.aggregation().add(*quantity, row.qty);
                    }
                }
            }
        }
    }

    /// Begins the periods that are due; true when one has begun.
    pub fn roll(&mut self, now: Timestamp) -> bool {
        let mut rolled = BTreeSet::new();
        let watches = self.watches.iter_mut().enumerate();
        for (index, watch) in watches.filter(|(_, watch)| watch.period.end <= now) {
            watch.period = watch.calendar.period(now);
            watch.committed = Quantities::ZERO;
            (watch.rung, watch.told) = (Rung::Green, Rung::Green);
            rolled.insert(index);
        }
        for lost in self.reserved.values_mut().filter(|reserved| reserved.is_lost) {
            for index in lost.watches.extract_if(.., |index| rolled.contains(index)) {
                if let Some(watch) = self.watches.get_mut(index) {
                    watch.pending[lost.meter] -= lost.quantity;
                }
            }
        }
        self.reserved.retain(|_, reserved| !(reserved.is_lost && reserved.watches.is_empty()));
        !rolled.is_empty()
    }

    /// How each budget stands.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |watch: &Watch| Standing {
            budget: watch.budget.id.clone(),
            rung: watch.rung,
            period: watch.period.clone(),
            spent: self.cost(watch, &watch.committed, &watch.committed),
            used: self.cost(watch, &watch.committed, &watch.committed.plus(&watch.pending)),
            amount: watch.budget.amount,
        };
        self.watches.iter().map(standing).collect()
    }

    fn covering(&self, spender: Spender<'_>) -> Vec<usize> {
        let watches = self.watches.iter().enumerate();
        let covering = watches.filter(|(_, watch)| watch.budget.scope.covers(spender));
        covering.map(|(index, _)| index).collect()
    }

    fn set_aside(&mut self, row: &LedgerRow) {
        // A start books what is lost before it reads what was set aside for it.
        if self.reserved.get(&row.idem).is_some_and(|reserved| reserved.is_lost) {
            return;
        }
        self.give_back(&row.idem);
        let reserved = self.pending(row.meter, row.qty, self.covering(spender_of(row)));
        self.reserved.insert(row.idem.clone(), reserved);
    }

    /// What was lost in an earlier period of a budget counted there.
    fn lose(&mut self, at: Timestamp, row: &LedgerRow) {
        self.give_back(&row.idem);
        let is_in =
            |index: &usize| self.watches.get(*index).is_some_and(|watch| watch.period.contains(at));
        let watches = self.covering(spender_of(row)).into_iter().filter(is_in).collect();
        let reserved = self.pending(row.meter, row.qty, watches);
        self.reserved.insert(row.idem.clone(), Reserved { is_lost: true, ..reserved });
    }

    fn give_back(&mut self, idem: &str) {
        if let Some(reserved) = self.reserved.remove(idem) {
            self.not_pending(reserved);
        }
    }

    /// Keeps back the requests that close an open ticket, so that they are paid for whatever comes.
    /// They are no row of the ledger: nothing has been decided yet.
    pub fn keep_closing(&mut self, ticket: TicketId, calls: u32, spender: Spender<'_>) {
        if self.is_on() && !self.closings.contains_key(&ticket) {
            let watches = self.covering(spender);
            let closing = self.pending(Meter::ApiCall, Decimal::from(calls), watches);
            self.closings.insert(ticket, closing);
        }
    }

    /// The ticket is closed, or is about to be: the call has rows of its own.
    pub fn free_closing(&mut self, ticket: TicketId) {
        if let Some(closing) = self.closings.remove(&ticket) {
            self.not_pending(closing);
        }
    }

    fn pending(&mut self, meter: Meter, quantity: Decimal, watches: Vec<usize>) -> Reserved {
        for index in &watches {
            if let Some(watch) = self.watches.get_mut(*index) {
                watch.pending[meter] += quantity;
            }
        }
        Reserved { meter, quantity, watches, is_lost: false }
    }

    fn not_pending(&mut self, Reserved { meter, quantity, watches, .. }: Reserved) {
        for index in watches {
            if let Some(watch) = self.watches.get_mut(index) {
                watch.pending[meter] -= quantity;
            }
        }
    }

    /// Finds the rung of each budget anew; those that are entered for the first time in the period.
    pub fn measure(&mut self, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        let used: Vec<_> = self.watches.iter().map(|watch| self.used(watch, now)).collect();
        for (watch, (used, forecast)) in self.watches.iter_mut().zip(used) {
            let Some(used) = used else {
                continue;
            };
            let rung = watch.rung_at(used, forecast.unwrap_or(used));
            watch.rung = rung;
            if rung > watch.told {
                watch.told = rung;
                notices.push(Notice {
                    budget: watch.budget.id.clone(),
                    rung,
                    period: watch.period.id.clone(),
                    used,
                    amount: watch.budget.amount,
                });
            }
        }
        notices
    }

    /// Spent and set aside at most; and what the whole period will have cost at this pace.
    fn used(&self, watch: &Watch, now: Timestamp) -> (Option<Decimal>, Option<Decimal>) {
        let used = self.cost(watch, &watch.committed, &watch.committed.plus(&watch.pending));
        let elapsed = now.since(watch.period.start);
        if elapsed < FORECAST_AFTER {
            return (used, None);
        }
        let whole = Decimal::from(watch.period.end.since(watch.period.start).micros());
        let mut forecast = Quantities::ZERO;
        for (meter, quantity) in watch.committed.iter() {
            // What was the most at a time does not grow with the time.
            if meter.aggregation() == Aggregation::Max {
                forecast[meter] = quantity;
                continue;
            }
            let scaled = quantity.checked_mul(whole);
            let scaled = scaled.map(|scaled| scaled / Decimal::from(elapsed.micros()));
            forecast[meter] = scaled.unwrap_or(quantity).round_dp(meter.places());
        }
        (used, self.cost(watch, &forecast, &forecast))
    }
}

fn spender_of(row: &LedgerRow) -> Spender<'_> {
    Spender {
        customer: &row.customer,
        site: &row.site,
        region: &row.region,
        device_class: &row.device_class,
        rule: &row.rule,
    }
}

impl Watch {
    fn rung_at(&self, used: Decimal, forecast: Decimal) -> Rung {
        let reaches = |cost: Decimal, percent: u32| {
            let percent = Decimal::from(percent);
            self.budget
                .amount
                .checked_mul(percent)
                .is_none_or(|bar| cost >= bar / Decimal::ONE_HUNDRED)
        };
        let worse = used.max(forecast);
        let Budget { thresholds, emergency_reserve_percent: reserve, .. } = &self.budget;
        let bars = [
            (Rung::Stop, used, 100_u32.saturating_sub(*reserve)),
            (Rung::Red, worse, thresholds.red),
            (Rung::Amber, worse, thresholds.amber),
        ];
        let reached = bars.into_iter().find(|(rung, cost, bar)| {
            let ease = if *rung <= self.rung { HYSTERESIS } else { 0 };
            reaches(*cost, bar.saturating_sub(ease))
        });
        reached.map_or(Rung::Green, |(rung, _, _)| rung)
    }
}

#[cfg(test)]
mod tests;
