//! What is spent and set aside, reckoned a second time from the rows of the ledger, plainly.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter, Rung};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::time::Timestamp;
use rust_decimal::prelude::ToPrimitive;

use crate::money::{Budget, Money, Use, place};

/// A ticket, with the calls that open and close it.
const TICKET: Use = [1, 0, 2];
/// A rung is left so many points below where it begins.
const EASE: i64 = 5;

/// The books of a run with budgets.
#[derive(Clone, Debug)]
pub struct Books {
    money: Money,
    watches: Vec<Watch>,
    /// What is set aside, by key of the movement.
    pending: BTreeMap<String, Movement>,
    /// What was paid for before it was done, once each: a call for each effect, and the effect.
    admitted: BTreeMap<String, (Movement, bool)>,
    has_turned: bool,
    rows: u64,
    /// Steps that were admitted since the last question, and what all had come to with them.
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Movement {
    meter: usize,
    qty: i64,
    site: String,
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
struct Step {
    row: LedgerRow,
    budget: usize,
    used: i64,
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
            watches: vec![Watch::default(); money.budgets.len()],
            money,
            pending: BTreeMap::new(),
            admitted: BTreeMap::new(),
            has_turned: false,
            rows: 0,
            steps: Vec::new(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A month begins: what is set aside goes on.
    pub fn turn_month(&mut self, now: Timestamp) {
        if self.has_turned || now < self.money.turns_at {
            return;
        }
        self.has_turned = true;
        self.watches.iter_mut().for_each(|watch| watch.committed = [0; 3]);
        let pending = &self.pending;
        self.admitted.retain(|key, (_, committed)| {
            *committed = false;
            pending.keys().any(|idem| key_of(idem) == key)
        });
    }

    /// Takes in rows; `is_excess` tells those that no budget can hold back.
    pub fn take(
        &mut self,
        now: Timestamp,
        rows: &[LedgerRow],
        is_excess: impl Fn(&LedgerRow) -> bool,
    ) {
        self.turn_month(now);
        for at in 0..self.watches.len() {
            let used = self.used(at, [0; 3]);
            if let Some(watch) = self.watches.get_mut(at) {
                watch.between = (used, used);
            }
        }
        for row in rows {
            self.rows += 1;
            self.apply(row, is_excess(row));
            for at in 0..self.watches.len() {
                let used = self.used(at, [0; 3]);
                if let Some(watch) = self.watches.get_mut(at) {
                    watch.between = (watch.between.0.min(used), watch.between.1.max(used));
                }
                let is_step = row.state == LedgerState::Reserved
                    && row.idem.ends_with("#1")
                    && row.action != "resolve";
                if is_step && self.covers(at, &row.site) {
                    self.steps.push(Step { row: row.clone(), budget: at, used });
                }
            }
        }
    }

    fn apply(&mut self, row: &LedgerRow, is_excess: bool) {
        let key = key_of(&row.idem).to_owned();
        let (meter, qty) = (place(row.meter), row.qty.to_i64().unwrap_or(i64::MAX));
        let movement = Movement { meter, qty, site: row.site.clone() };
        if row.state != LedgerState::Ambiguous
            && let Some(before) = self.pending.remove(&row.idem)
        {
            self.add(&before, false, -before.qty);
        }
        match row.state {
            LedgerState::Ambiguous => {}
            LedgerState::Reserved => {
                self.add(&movement, false, qty);
                self.pending.insert(row.idem.clone(), movement.clone());
                if !is_excess {
                    let unit = Movement { qty: 1, ..movement };
                    self.admitted.entry(key).or_insert((unit, false));
                }
            }
            LedgerState::Released => {
                let is_spent = self.admitted.get(&key).is_some_and(|(_, committed)| *committed);
                if row.meter != Meter::ApiCall || !is_spent {
                    self.admitted.remove(&key);
                }
            }
            LedgerState::Committed => {
                self.add(&movement, true, qty);
                if let Some((_, committed)) = self.admitted.get_mut(&key) {
                    *committed = true;
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
            let ahead = self.used(at, [0, 0, open]) - self.used(at, [0; 3]);
            let (least, most) = (watch.between.0, watch.between.1 + ahead.max(0));
            let step = self.used(at, sum(TICKET, [0, 0, open])) - self.used(at, [0, 0, open]);
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
            let used = self.used(at, sum(TICKET, [0, 0, open]));
            !self.covers(at, site) || used * 100 < budget.amount * (budget.rungs.0 - 2 * EASE)
        })
    }

    /// Nothing was admitted that a budget does not hold.
    pub fn check(&mut self, is_excess: impl Fn(&LedgerRow) -> bool) -> anyhow::Result<()> {
        for Step { row, budget, used } in std::mem::take(&mut self.steps) {
            let Some(budget) = self.money.budgets.get(budget) else { continue };
            let reserve = if row.severity == Severity::Critical { 0 } else { budget.reserve };
            ensure!(
                is_excess(&row) || used * 100 <= budget.amount * (100 - reserve),
                "{}: `{}` is admitted, and all comes to {used} of {} (billing)",
                budget.id,
                row.idem,
                budget.amount
            );
        }
        for (at, budget) in self.money.budgets.iter().enumerate() {
            let mut used = [0; 3];
            for (movement, _) in self.admitted.values().filter(|(m, _)| self.covers(at, &m.site)) {
                if let Some(sum) = used.get_mut(movement.meter) {
                    *sum += movement.qty;
                }
            }
            let cost = self.money.most(budget, used, used);
            ensure!(
                !self.money.only_rises() || cost <= budget.amount,
                "{}: what was admitted comes to {cost} of {} (billing)",
                budget.id,
                budget.amount
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
