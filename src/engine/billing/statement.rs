//! The invoice as we work it out: drafted while its period runs, closed once.

use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::correct::Correction;
use super::tally::Tally;
use crate::engine::rating::{ActivePlan, Bill, Plan, Pricing, RatingError, Usage, Working, rate};
use crate::engine::types::ledger::Meter;
use crate::engine::types::period::{Calendar, Period};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// What a period came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The period.
    pub period: Period,
    /// Id of the plan.
    pub plan: String,
    /// Its version, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
    /// The plan's file as it was: the statement can be worked out again from it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan_text: String,
    /// Quantities that were rated.
    pub usage: Vec<(String, Decimal)>,
    /// Charges and adjustments.
    pub lines: Vec<StatementLine>,
    /// What came too late for the periods before.
    pub corrections: Vec<Correction>,
    /// What is paid for, and how much of it is used.
    pub utilisation: Vec<Use>,
    /// Sum of lines and corrections.
    pub total: Decimal,
    /// Number of the last row of the ledger that counts.
    pub rows: u64,
    /// Its hash.
    pub rows_hash: String,
    /// When it was closed; `None` for a draft.
    pub closed_at: Option<Timestamp>,
    /// Hash of the statement before; empty for the first.
    pub prev_hash: String,
    /// BLAKE3 of the JSON with an empty `hash`, hex; empty for a draft.
    pub hash: String,
}

/// One charge or adjustment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Id in the plan.
    pub id: String,
    /// Class of a charge; classes of an adjustment, with `+` between them.
    pub class: String,
    /// The arithmetic.
    pub because: String,
    /// The same, to be told in any language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working: Option<Working>,
    /// Money.
    pub amount: Decimal,
}

/// What is paid for whether it is used or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Line.
    pub line: String,
    /// Used of it.
    pub used: Decimal,
    /// Paid for.
    pub paid: Decimal,
}

impl Use {
    /// Paid for and not used.
    pub fn unused(&self) -> Decimal {
        (self.paid - self.used).max(Decimal::ZERO)
    }
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The plan cannot rate what was used.
    #[error("{period}: {cause}")]
    Rating {
        /// First day of the period.
        period: String,
        /// Why.
        cause: RatingError,
    },
}

/// A statement with the bill that it was made of.
#[derive(Clone, Debug)]
pub struct Drafted {
    /// The statement.
    pub statement: Statement,
    /// Lines and their arithmetic.
    pub bill: Bill,
    /// What was rated.
    pub usage: Usage,
}

impl Statement {
    /// Rates what was tallied.
    ///
    /// # Errors
    /// A plan that cannot rate it.
    pub fn draft(
        active: &ActivePlan,
        tally: &Tally,
        corrections: Vec<Correction>,
    ) -> Result<Drafted, StatementError> {
        let usage = tally.usage(active);
        let plan = active.plan();
        let period = tally.period().clone();
        let bill = rate(plan, &usage)
            .map_err(|cause| StatementError::Rating { period: period.id.clone(), cause })?;
        let lines = bill.lines.iter().map(|line| StatementLine {
            id: line.id.clone(),
            class: line.classes.join("+"),
            because: line.working.to_string(),
            working: Some(line.working.clone()),
            amount: line.amount,
        });
        let corrected: Decimal = corrections.iter().map(|correction| correction.amount).sum();
        let (rows, rows_hash) = tally.end();
        let statement = Statement {
            period,
            plan: plan.id.clone(),
            version: plan.version.clone(),
            currency: plan.currency.clone(),
            plan_text: String::new(),
            usage: rated(plan, &usage),
            lines: lines.collect(),
            corrections,
            utilisation: utilisation(plan, &usage),
            total: plan.fixed(bill.total + corrected),
            rows,
            rows_hash: rows_hash.to_owned(),
            closed_at: None,
            prev_hash: String::new(),
            hash: String::new(),
        };
        Ok(Drafted { statement, bill, usage })
    }

    /// Closes it on top of the one before.
    pub fn seal(&mut self, plan_text: &str, closed_at: Timestamp, prev_hash: &str) {
        plan_text.clone_into(&mut self.plan_text);
        self.closed_at = Some(closed_at);
        prev_hash.clone_into(&mut self.prev_hash);
        self.hash = self.digest();
    }

    /// True when it is what was closed, and its sums are right.
    pub fn is_intact(&self) -> bool {
        let lines: Decimal = self.lines.iter().map(|line| line.amount).sum();
        let corrected: Decimal = self.corrections.iter().map(|correction| correction.amount).sum();
        self.digest() == self.hash && lines + corrected == self.total
    }

    fn digest(&self) -> String {
        let bare = Statement { hash: String::new(), ..self.clone() };
        // A struct of texts and numbers cannot fail to serialise.
        let json = serde_json::to_vec(&bare).unwrap_or_default();
        blake3::hash(&json).to_hex().to_string()
    }
}

/// The quantities that the plan charges.
fn rated(plan: &Plan, usage: &Usage) -> Vec<(String, Decimal)> {
    let mut names: Vec<&str> = plan.lines.iter().filter_map(|line| line.pricing.source()).collect();
    names.extend(Meter::ALL.iter().map(|meter| meter.name()));
    let mut rated: Vec<(String, Decimal)> = Vec::new();
    for name in names {
        let quantity = usage.quantity(name);
        if !quantity.is_zero() && rated.iter().all(|(known, _)| known != name) {
            rated.push((name.to_owned(), quantity));
        }
    }
    rated
}

fn utilisation(plan: &Plan, usage: &Usage) -> Vec<Use> {
    let mut uses = Vec::new();
    for line in &plan.lines {
        let Some(source) = line.pricing.source() else { continue };
        let used = usage.quantity(source);
        let paid = match &line.pricing {
            Pricing::Fixed { .. } => continue,
            Pricing::PerUnit { included, .. } | Pricing::Graduated { included, .. } => *included,
            Pricing::Package { size, included, .. } => {
                let packages = ((used - included).max(Decimal::ZERO) / size).ceil();
                included + packages * size
            }
            Pricing::Volume { .. } => continue,
            Pricing::Stairstep { tiers, .. } => {
                let reached = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| used <= end));
                match reached.and_then(|tier| tier.up_to) {
                    Some(end) => end,
                    None => continue,
                }
            }
        };
        if !paid.is_zero() {
            uses.push(Use { line: line.id.clone(), used: used.min(paid), paid });
        }
    }
    uses
}

/// How the plan cuts time; calendar months of `zone` where it does not say.
pub fn calendar(plan: &Plan, zone: Tz) -> Calendar {
    plan.period.unwrap_or_else(|| Calendar::months(zone))
}

/// The first period that is over and not closed. `first` is the time of the oldest row.
pub fn overdue(
    plan: &Plan,
    zone: Tz,
    last: Option<&Period>,
    first: Timestamp,
    now: Timestamp,
) -> Option<Period> {
    let calendar = calendar(plan, zone);
    let next = last.map_or_else(|| calendar.period(first), |last| calendar.period(last.end));
    let due = plan.close.as_ref().map_or(next.end, |close| close.due(next.end, calendar.zone));
    (due <= now && next.end <= now && next.end.since(next.start) > TimeSpan::ZERO).then_some(next)
}
