//! Two sets of rules on the same recording: what one does and the other does not.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use super::{AlarmLine, Outcome};
use crate::engine::rating::{Plan, RatingError, Usage, rate};
use crate::engine::types::time::Timestamp;

/// What `backtest --against --format json` adds under `difference`; old first.
#[derive(Debug, Serialize)]
pub struct Difference<'a> {
    /// Every rule of either set: those of the new set, then those that only the old one has.
    pub rules: Vec<RuleDifference>,
    /// Every plan.
    pub cost: Vec<CostDifference>,
    /// Episodes that only one of them has.
    pub alarms: AlarmDifference<'a>,
}

/// One rule; 0 where a set does not have it.
#[derive(Debug, Serialize)]
pub struct RuleDifference {
    /// Its id.
    pub rule: String,
    /// Episodes.
    pub raised: [u64; 2],
    /// Tickets that it opened.
    pub tickets: [u64; 2],
}

impl RuleDifference {
    /// True when both sets do the same.
    pub fn is_none(&self) -> bool {
        self.raised[0] == self.raised[1] && self.tickets[0] == self.tickets[1]
    }
}

/// What the calls cost on one plan.
#[derive(Debug, Serialize)]
pub struct CostDifference {
    /// Id of the plan.
    pub plan: String,
    /// ISO 4217 code.
    pub currency: String,
    /// On the old set.
    #[serde(serialize_with = "as_text")]
    pub old: Decimal,
    /// On the new set.
    #[serde(serialize_with = "as_text")]
    pub new: Decimal,
    /// New less old.
    #[serde(serialize_with = "as_text")]
    pub delta: Decimal,
    /// The month that the change is priced on, as it stands and with what the new set does otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<MonthDifference>,
}

/// A month rated as a whole: what more tickets cost depends on how many there are.
#[derive(Debug, Serialize)]
pub struct MonthDifference {
    /// As it stands.
    #[serde(serialize_with = "as_text")]
    pub old: Decimal,
    /// With the change.
    #[serde(serialize_with = "as_text")]
    pub new: Decimal,
    /// New less old.
    #[serde(serialize_with = "as_text")]
    pub delta: Decimal,
}

impl MonthDifference {
    /// Rates `month`, and `month` with the difference of the two sets, whole.
    ///
    /// # Errors
    /// A plan that cannot rate it.
    pub fn of(
        plan: &Plan,
        month: &Usage,
        old: &Outcome,
        new: &Outcome,
    ) -> Result<MonthDifference, RatingError> {
        let mut changed = month.clone();
        for (meter, quantity) in &new.usage {
            let before = old.usage.get(meter).copied().unwrap_or_default();
            let then = month.quantity(meter) + quantity - before;
            changed.set(meter, then.max(Decimal::ZERO));
        }
        let (old, new) = (rate(plan, month)?.total, rate(plan, &changed)?.total);
        Ok(MonthDifference { old, new, delta: new - old })
    }
}

/// Episodes without a counterpart: one of the same rule, device and key that is raised at some
/// time at which the other is.
#[derive(Debug, Serialize)]
pub struct AlarmDifference<'a> {
    /// Not raised any more.
    pub only_old: Vec<&'a AlarmLine>,
    /// Not raised before.
    pub only_new: Vec<&'a AlarmLine>,
}

fn as_text<S: serde::Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

impl<'a> Difference<'a> {
    /// What the new set does otherwise than the old one.
    pub fn between(old: &'a Outcome, new: &'a Outcome) -> Difference<'a> {
        Difference {
            rules: rules(old, new),
            cost: old
                .cost
                .iter()
                .zip(&new.cost)
                .map(|(old, new)| CostDifference {
                    plan: new.plan.clone(),
                    currency: new.currency.clone(),
                    old: old.total,
                    new: new.total,
                    delta: new.total - old.total,
                    month: None,
                })
                .collect(),
            alarms: AlarmDifference {
                only_old: without_counterpart(&old.alarms, &new.alarms),
                only_new: without_counterpart(&new.alarms, &old.alarms),
            },
        }
    }
}

fn rules(old: &Outcome, new: &Outcome) -> Vec<RuleDifference> {
    let known: BTreeMap<&str, _> =
        old.rules.iter().map(|line| (line.rule.as_str(), line)).collect();
    let mut all: Vec<RuleDifference> = new
        .rules
        .iter()
        .map(|line| {
            let former = known.get(line.rule.as_str());
            let (raised, tickets) = former.map_or((0, 0), |old| (old.raised, old.tickets));
            let rule = line.rule.clone();
            RuleDifference { rule, raised: [raised, line.raised], tickets: [tickets, line.tickets] }
        })
        .collect();
    for line in &old.rules {
        if new.rules.iter().all(|kept| kept.rule != line.rule) {
            let rule = line.rule.clone();
            all.push(RuleDifference { rule, raised: [line.raised, 0], tickets: [line.tickets, 0] });
        }
    }
    all
}

fn without_counterpart<'a>(alarms: &'a [AlarmLine], others: &[AlarmLine]) -> Vec<&'a AlarmLine> {
    let mut by_identity: BTreeMap<_, Vec<&AlarmLine>> = BTreeMap::new();
    for other in others {
        by_identity.entry(other.identity()).or_default().push(other);
    }
    let has_counterpart = |alarm: &&AlarmLine| {
        let same = by_identity.get(&alarm.identity());
        same.is_some_and(|same| same.iter().any(|other| other.overlaps(alarm)))
    };
    alarms.iter().filter(|alarm| !has_counterpart(alarm)).collect()
}

impl AlarmLine {
    /// Rule, device and key.
    pub(super) fn identity(&self) -> (&str, &str, &[String]) {
        (&self.rule, &self.device, &self.key)
    }

    /// True when both are raised at some time.
    pub(super) fn overlaps(&self, other: &AlarmLine) -> bool {
        let ends = |line: &AlarmLine| line.returned_at.unwrap_or(Timestamp::from_micros(i64::MAX));
        self.raised_at <= ends(other) && other.raised_at <= ends(self)
    }
}
