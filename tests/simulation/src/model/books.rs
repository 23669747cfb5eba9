//! What is spent and set aside, reckoned a second time from the rows of the ledger, plainly.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter, Rung};
use faultgate::engine::types::time::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::money::{Budget, Money, Use, place};
use crate::process::ALLOWED;

/// A ticket, with the calls that open and close it, at most.
const TICKET: Use = [1, 0, (ALLOWED.open + ALLOWED.follow) as i64];
/// A rung is left so many points below where it begins.
const EASE: i64 = 5;

/// The books of a run with budgets.
#[derive(Clone, Debug)]
pub struct Books {
    /// As it was planned.
    plan: Money,
    /// With the budgets that are in force.
    money: Money,
    /// The most that each budget has held so far.
    most: Vec<i64>,
    watches: Vec<Watch>,
    /// What is set aside, by key of the movement.
    pending: BTreeMap<String, Movement>,
    /// What of it the budgets had to hold, and what they had to hold is spent.
    bound: BTreeMap<String, Movement>,
    bound_spent: Vec<Use>,
    has_turned: bool,
    rows: u64,
    /// Rows since the last question.
    fresh: Vec<Fresh>,
    /// What cannot be in any ledger.
    wrong: Option<String>,
}

#[derive(Clone, Debug)]
struct Movement {
    meter: usize,
    qty: i64,
    site: String,
    /// It ended with the process: nobody will ever know.
    is_lost: bool,
}

/// How one budget stands.
#[derive(Clone, Debug, Default)]
struct Watch {
    committed: Use,
    pending: Use,
    /// The least and the most that was used since the last question.
    between: (i64, i64),
}

#[derive(Clone, Debug)]
struct Fresh {
    row: LedgerRow,
    /// What all had come to with it, by budget.
    used: Vec<i64>,
    /// It leaves to the next attempt what the one before it did not use.
    is_kept: bool,
}

/// What is to be known of a row.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// No budget can hold it back.
    pub is_excess: bool,
    /// It may take of the reserve.
    pub is_critical: bool,
}

/// What the budgets of a place allow, as far as can be told.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    /// The rungs between which it was.
    pub rungs: (Rung, Rung),
    /// A ticket of its own may have been too much.
    pub may_refuse: bool,
}

impl Books {
    /// Nothing is booked yet.
    pub fn new(money: Money) -> Books {
        Books {
            plan: money.clone(),
            most: money.budgets.iter().map(|budget| budget.amount).collect(),
            watches: vec![Watch::default(); money.budgets.len()],
            bound_spent: vec![[0; 3]; money.budgets.len()],
            money,
            pending: BTreeMap::new(),
            bound: BTreeMap::new(),
            has_turned: false,
            rows: 0,
            fresh: Vec::new(),
            wrong: None,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The budgets hold so many percent of what they were meant to.
    pub fn set_budgets(&mut self, percent: i64) {
        self.money = self.plan.holding(percent);
        for (most, budget) in self.most.iter_mut().zip(&self.money.budgets) {
            *most = budget.amount.max(*most);
        }
    }

    /// A month begins: what is set aside goes on, and what is lost is over.
    pub fn turn_month(&mut self, now: Timestamp) {
        if self.has_turned || now < self.money.turns_at {
            return;
        }
        self.has_turned = true;
        self.watches.iter_mut().for_each(|watch| watch.committed = [0; 3]);
        self.bound_spent.fill([0; 3]);
        let (lost, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.pending).into_iter().partition(|(_, one)| one.is_lost);
        self.pending = kept;
        lost.values().for_each(|movement| self.add(movement, false, -movement.qty));
        self.bound.retain(|idem, _| self.pending.contains_key(idem));
    }

    /// Takes in rows.
    pub fn take(&mut self, now: Timestamp, rows: &[LedgerRow]) {
        self.turn_month(now);
        for at in 0..self.watches.len() {
            let used = self.used(at, [0; 3]);
            if let Some(watch) = self.watches.get_mut(at) {
                watch.between = (used, used);
            }
        }
        let mut left: BTreeMap<&str, Decimal> = BTreeMap::new();
        for row in rows {
            self.rows += 1;
            self.apply(row);
            let used: Vec<i64> = (0..self.watches.len()).map(|at| self.used(at, [0; 3])).collect();
            for (watch, used) in self.watches.iter_mut().zip(&used) {
                watch.between = (watch.between.0.min(*used), watch.between.1.max(*used));
            }
            let mut is_kept = false;
            if row.meter == Meter::ApiCall && row.state == LedgerState::Released {
                left.insert(key_of(&row.idem), row.qty);
            } else if row.meter == Meter::ApiCall && row.state == LedgerState::Reserved {
                is_kept = left.remove(key_of(&row.idem)) == Some(row.qty);
            }
            self.fresh.push(Fresh { row: row.clone(), used, is_kept });
        }
    }

    fn apply(&mut self, row: &LedgerRow) {
        let (meter, qty) = (place(row.meter), row.qty.to_i64().unwrap_or(i64::MAX));
        let is_lost = row.state == LedgerState::Ambiguous && row.meter == Meter::ApiCall;
        if row.state == LedgerState::Ambiguous && !is_lost {
            return;
        }
        let movement = Movement { meter, qty, site: row.site.clone(), is_lost };
        let before = self.pending.remove(&row.idem);
        if let Some(before) = &before {
            self.add(before, false, -before.qty);
        }
        if row.state != LedgerState::Reserved && before.is_none_or(|before| before.qty < qty) {
            self.wrong = Some(format!("`{}`: more than was set aside: {row:?}", row.idem));
        }
        match row.state {
            LedgerState::Reserved | LedgerState::Ambiguous => {
                self.add(&movement, false, qty);
                self.pending.insert(row.idem.clone(), movement);
            }
            LedgerState::Released => {}
            LedgerState::Committed => self.add(&movement, true, qty),
        }
    }

    /// Takes in a row of what the budgets had to hold.
    fn bind(&mut self, row: &LedgerRow) {
        let Some(movement) = self.bound.remove(&row.idem) else { return };
        match row.state {
            LedgerState::Reserved | LedgerState::Released => {}
            LedgerState::Ambiguous => drop(self.bound.insert(row.idem.clone(), movement)),
            LedgerState::Committed => {
                let qty = row.qty.to_i64().unwrap_or(i64::MAX);
                for at in 0..self.bound_spent.len() {
                    let is_here = self.covers(at, &movement.site);
                    let spent = self.bound_spent.get_mut(at).filter(|_| is_here);
                    if let Some(sum) = spent.and_then(|spent| spent.get_mut(movement.meter)) {
                        *sum += qty;
                    }
                }
            }
        }
    }

    fn add(&mut self, movement: &Movement, is_spent: bool, qty: i64) {
        for at in 0..self.watches.len() {
            if self.covers(at, &movement.site)
                && let Some(watch) = self.watches.get_mut(at)
            {
                let sums = if is_spent { &mut watch.committed } else { &mut watch.pending };
                if let Some(sum) = sums.get_mut(movement.meter) {
                    *sum += qty;
                }
            }
        }
    }

    fn covers(&self, at: usize, site: &str) -> bool {
        let budget = self.money.budgets.get(at);
        budget.is_some_and(|budget| budget.site.is_none_or(|of| of == site))
    }

    /// Spent and set aside at most, and `more`.
    fn used(&self, at: usize, more: Use) -> i64 {
        let (Some(budget), Some(watch)) = (self.money.budgets.get(at), self.watches.get(at)) else {
            return 0;
        };
        self.money.most(budget, watch.committed, sum(sum(watch.committed, watch.pending), more))
    }

    /// What the budgets of a site allow, with so many tickets open that are to be closed yet.
    pub fn pressure(&self, site: &str, open: i64) -> Pressure {
        let mut found = Pressure { rungs: (Rung::Green, Rung::Green), may_refuse: false };
        for (at, budget) in self.money.budgets.iter().enumerate() {
            let Some(watch) = self.watches.get(at).filter(|_| self.covers(at, site)) else {
                continue;
            };
            let ahead = self.used(at, closing(open)) - self.used(at, [0; 3]);
            let (least, most) = (watch.between.0, watch.between.1 + ahead.max(0));
            let step = self.used(at, sum(TICKET, closing(open))) - self.used(at, closing(open));
            // What the month will come to at this pace is hardly more, at its end.
            let most = most + most / 50 + 1;
            let rungs = (rung(budget, least, 0), rung(budget, most, EASE));
            found.rungs = (found.rungs.0.max(rungs.0), found.rungs.1.max(rungs.1));
            let step = step.max(self.money.most(budget, [0; 3], TICKET));
            found.may_refuse |= (most + step) * 100 > budget.amount * (100 - budget.reserve);
        }
        found
    }

    /// True where nothing can be held for want of money: every budget of the site is far from it,
    /// whatever it was before.
    pub fn is_easy(&self, site: &str, open: i64) -> bool {
        self.money.budgets.iter().enumerate().all(|(at, budget)| {
            let used = self.used(at, sum(TICKET, closing(open)));
            !self.covers(at, site) || used * 100 < budget.amount * (budget.rungs.0 - 2 * EASE)
        })
    }

    /// True where nothing keeps so much more from being paid for at a site.
    pub fn must_pay(&self, site: &str, is_critical: bool, owed: Use, open: i64) -> bool {
        self.money.budgets.iter().enumerate().all(|(at, budget)| {
            let reserve = if is_critical { 0 } else { budget.reserve };
            let used = self.used(at, sum(owed, closing(open)));
            !self.covers(at, site) || used * 100 <= budget.amount * (100 - reserve)
        })
    }

    /// Nothing was admitted that a budget does not hold: no first attempt, and no further one.
    pub fn check(&mut self, class: impl Fn(&LedgerRow) -> Class) -> anyhow::Result<()> {
        if let Some(wrong) = self.wrong.take() {
            bail!("{wrong} (I9)");
        }
        let mut left: BTreeMap<String, bool> = BTreeMap::new();
        for Fresh { row, used, is_kept } in std::mem::take(&mut self.fresh) {
            let Class { is_excess, is_critical } = class(&row);
            let key = key_of(&row.idem).to_owned();
            if row.state != LedgerState::Reserved {
                left.insert(key, self.bound.contains_key(&row.idem));
                self.bind(&row);
                continue;
            }
            let is_bound = if is_kept { left.get(&key) == Some(&true) } else { !is_excess };
            if is_bound && let Some(movement) = self.pending_as(&row) {
                self.bound.insert(row.idem.clone(), movement);
            }
            // What closes a ticket was asked for when it was opened.
            let is_closing = row.action == "resolve" && row.idem.ends_with("#1");
            if is_excess || is_kept || is_closing || row.meter != Meter::ApiCall {
                continue;
            }
            for (at, (budget, used)) in self.money.budgets.iter().zip(used).enumerate() {
                let reserve = if is_critical { 0 } else { budget.reserve };
                ensure!(
                    !self.covers(at, &row.site) || used * 100 <= budget.amount * (100 - reserve),
                    "{}: `{}` is admitted, and all comes to {used} of {} (billing)",
                    budget.id,
                    row.idem,
                    budget.amount
                );
            }
        }
        self.check_bound()
    }

    fn pending_as(&self, row: &LedgerRow) -> Option<Movement> {
        let qty = row.qty.to_i64()?;
        Some(Movement { meter: place(row.meter), qty, site: row.site.clone(), is_lost: false })
    }

    /// All that the budgets had to hold is within what they held at most, whatever comes of it.
    fn check_bound(&self) -> anyhow::Result<()> {
        for (at, budget) in self.money.budgets.iter().enumerate() {
            let mut used = self.bound_spent.get(at).copied().unwrap_or_default();
            for movement in self.bound.values().filter(|m| self.covers(at, &m.site)) {
                if let Some(sum) = used.get_mut(movement.meter) {
                    *sum += movement.qty;
                }
            }
            let (cost, most) = (self.money.most(budget, used, used), self.most.get(at));
            ensure!(
                !self.money.only_rises() || most.is_some_and(|most| cost <= *most),
                "{}: what was admitted comes to {cost} of {most:?} (billing)",
                budget.id,
            );
        }
        Ok(())
    }

    /// No movement is spent twice (I9), and the books are those of the ledger.
    pub fn check_all(&self, rows: &[LedgerRow]) -> anyhow::Result<()> {
        let count = rows.len() as u64;
        ensure!(count == self.rows, "the ledger has {count} rows, {} were booked (I9)", self.rows);
        let mut once = BTreeSet::new();
        for row in rows.iter().filter(|row| row.state == LedgerState::Committed) {
            ensure!(once.insert(&row.idem), "`{}` is committed twice (I9)", row.idem);
        }
        Ok(())
    }
}

/// The effect and the meter of a movement, whatever the attempt.
fn key_of(idem: &str) -> &str {
    idem.split('#').next().unwrap_or(idem)
}

/// The requests that close so many tickets, at most.
fn closing(open: i64) -> Use {
    [0, 0, open * i64::from(ALLOWED.follow)]
}

fn sum(one: Use, other: Use) -> Use {
    [one[0] + other[0], one[1] + other[1], one[2] + other[2]]
}

fn rung(budget: &Budget, used: i64, ease: i64) -> Rung {
    let reaches = |percent: i64| used * 100 >= budget.amount * (percent - ease);
    match budget.rungs {
        _ if reaches(100 - budget.reserve) => Rung::Stop,
        (_, red) if reaches(red) => Rung::Red,
        (amber, _) if reaches(amber) => Rung::Amber,
        _ => Rung::Green,
    }
}
