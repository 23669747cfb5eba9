//! What other rules would have done with the same recording.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Serialize;

use super::backtest::{AlarmLine, Outcome};
use crate::engine::types::time::Timestamp;

/// The difference between two backtests of one recording.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Every rule whose figures differ, by id.
    pub rules: Vec<RuleChange>,
    /// Every plan, in the order in which they were named.
    pub cost: Vec<CostChange>,
    /// Alarms that only one of the two has raised at that time.
    pub alarms: AlarmChange,
}

/// How often a rule raised, and how many tickets it opened: before and now.
#[derive(Debug, Serialize)]
pub struct RuleChange {
    rule: String,
    raised: [u64; 2],
    tickets: [u64; 2],
}

/// What a plan comes to: before and now.
#[derive(Debug, Serialize)]
pub struct CostChange {
    plan: String,
    currency: String,
    old: Decimal,
    new: Decimal,
    delta: Decimal,
}

/// Alarms of one side only.
#[derive(Debug, Serialize)]
pub struct AlarmChange {
    only_old: Vec<AlarmPoint>,
    only_new: Vec<AlarmPoint>,
}

/// An alarm and when it was raised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AlarmPoint {
    raised_at: Timestamp,
    rule: String,
    device: String,
    key: Vec<String>,
}

impl Difference {
    /// Compares the outcome of the old rules with that of the new ones.
    pub fn between(old: &Outcome, new: &Outcome) -> Difference {
        let mut rules: BTreeMap<&str, RuleChange> = BTreeMap::new();
        for (side, outcome) in [old, new].into_iter().enumerate() {
            for line in &outcome.rules {
                let change = rules.entry(&line.rule).or_insert_with(|| RuleChange {
                    rule: line.rule.clone(),
                    raised: [0, 0],
                    tickets: [0, 0],
                });
                change.raised[side] = line.raised;
                change.tickets[side] = line.tickets;
            }
        }
        let differs = |change: &RuleChange| {
            change.raised[0] != change.raised[1] || change.tickets[0] != change.tickets[1]
        };
        let cost = old.cost.iter().zip(&new.cost).map(|(old, new)| CostChange {
            plan: new.plan.clone(),
            currency: new.currency.clone(),
            old: old.total,
            new: new.total,
            delta: new.total - old.total,
        });
        let (before, now) = (points(&old.alarms), points(&new.alarms));
        Difference {
            rules: rules.into_values().filter(differs).collect(),
            cost: cost.collect(),
            alarms: AlarmChange {
                only_old: before.difference(&now).cloned().collect(),
                only_new: now.difference(&before).cloned().collect(),
            },
        }
    }

    /// The rules as rows of a table: rule, raised before and now, tickets before and now.
    pub fn rule_rows(&self) -> Vec<Vec<String>> {
        let arrow = |[old, new]: [u64; 2]| format!("{old} -> {new}");
        let row = |change: &RuleChange| {
            vec![change.rule.clone(), arrow(change.raised), arrow(change.tickets)]
        };
        self.rules.iter().map(row).collect()
    }

    /// The money in one line for each plan.
    pub fn cost_lines(&self) -> Vec<String> {
        let sign = |delta: Decimal| if delta > Decimal::ZERO { "+" } else { "" };
        let line = |cost: &CostChange| {
            let CostChange { plan, currency, old, new, delta } = cost;
            format!("{plan}: {old} -> {new} {currency} ({}{delta})", sign(*delta))
        };
        self.cost.iter().map(line).collect()
    }
}

fn points(alarms: &[AlarmLine]) -> BTreeSet<AlarmPoint> {
    let point = |alarm: &AlarmLine| AlarmPoint {
        raised_at: alarm.raised_at,
        rule: alarm.rule.clone(),
        device: alarm.device.clone(),
        key: alarm.key.clone(),
    };
    alarms.iter().map(point).collect()
}
