//! Plan and usage -> bill. Multiply first, divide once, round once a line.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Tier};
use super::usage::Usage;

/// What a period costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// Id of the plan.
    pub plan: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Every charge and adjustment.
    pub lines: Vec<BillLine>,
    /// Their sum.
    #[serde(serialize_with = "as_text")]
    pub total: Decimal,
}

/// One charge or adjustment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BillLine {
    /// Id in the plan; tiers have `.t1`, `.t2` ..., pro-rated units `.prorated`.
    pub id: String,
    /// Money, with the minor units of the currency.
    #[serde(serialize_with = "as_text")]
    pub amount: Decimal,
}

fn as_text<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Why a bill cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// More than a decimal number of 28 digits holds.
    #[error("line `{0}`: the amount is too large")]
    TooLarge(String),
    /// A line is charged by the day, and the usage does not say how many there were.
    #[error("line `{0}` needs `days_in_period` in the usage")]
    NoDays(String),
}

/// Makes the bill of a period.
///
/// # Errors
/// See [`RatingError`].
pub fn rate(plan: &Plan, usage: &Usage) -> Result<Bill, RatingError> {
    let mut charged: Vec<Charged> = Vec::new();
    for line in &plan.lines {
        for (id, amount) in charge(plan, line, usage)? {
            charged.push(Charged { id, amount, classes: vec![line.class.clone()] });
        }
    }
    for adjust in &plan.adjusts {
        let sum = sum_of(&charged, &adjust.classes, &adjust.id)?;
        if let Some(amount) = adjustment(plan, adjust, sum)? {
            let classes = adjust.classes.clone();
            charged.push(Charged { id: adjust.id.clone(), amount, classes });
        }
    }
    let total = charged.iter().try_fold(Decimal::ZERO, |sum, line| sum.checked_add(line.amount));
    let total = total.ok_or_else(|| RatingError::TooLarge("total".to_owned()))?;
    let lines = charged.into_iter().map(|line| BillLine { id: line.id, amount: line.amount });
    Ok(Bill {
        plan: plan.id.clone(),
        currency: plan.currency.clone(),
        lines: lines.collect(),
        total: fixed(plan, total),
    })
}

/// What the metered quantities cost so far in a period: quantities that are not metered here
/// (seats, sites, storage) count as 0, and the period as 30 days.
///
/// # Errors
/// See [`RatingError`].
pub fn running_bill(plan: &Plan, metered: &[(&str, Decimal)]) -> Result<Bill, RatingError> {
    let mut usage = Usage::default();
    usage.set("days_in_period", Decimal::from(30));
    for (meter, quantity) in metered {
        usage.set(meter, *quantity);
    }
    rate(plan, &usage)
}

struct Charged {
    id: String,
    amount: Decimal,
    classes: Vec<String>,
}

/// Lines of these classes, and the adjustments that changed nothing but them.
fn sum_of(charged: &[Charged], classes: &[String], id: &str) -> Result<Decimal, RatingError> {
    charged
        .iter()
        .filter(|line| line.classes.iter().all(|class| classes.contains(class)))
        .try_fold(Decimal::ZERO, |sum, line| sum.checked_add(line.amount))
        .ok_or_else(|| RatingError::TooLarge(id.to_owned()))
}

fn charge(plan: &Plan, line: &Line, usage: &Usage) -> Result<Vec<(String, Decimal)>, RatingError> {
    let too_large = || RatingError::TooLarge(line.id.clone());
    let single = |amount: Option<Decimal>| {
        let amount = fixed(plan, amount.ok_or_else(too_large)?);
        Ok(vec![(line.id.clone(), amount)])
    };
    match &line.pricing {
        Pricing::Fixed { price } => single(Some(*price)),
        Pricing::PerUnit { source, unit, included, prorate, divide_by } => {
            let divisor = match divide_by {
                Some(Divisor::DaysInPeriod) => Some(days(line, usage)?),
                None => None,
            };
            let product = unit.checked_mul(above(usage.quantity(source), *included));
            let mut lines = single(product.and_then(|product| match divisor {
                Some(divisor) => product.checked_div(divisor),
                None => Some(product),
            }))?;
            let segments = usage.segments(source);
            if *prorate && !segments.is_empty() {
                let days = days(line, usage)?;
                let unit_days = segments.iter().try_fold(Decimal::ZERO, |sum, segment| {
                    sum.checked_add(segment.quantity.checked_mul(segment.days)?)
                });
                let amount = unit_days
                    .and_then(|unit_days| unit.checked_mul(unit_days)?.checked_div(days))
                    .ok_or_else(too_large)?;
                lines.push((format!("{}.prorated", line.id), fixed(plan, amount)));
            }
            Ok(lines)
        }
        Pricing::Package { source, size, price, included } => {
            let packages = above(usage.quantity(source), *included).checked_div(*size);
            single(packages.and_then(|packages| packages.ceil().checked_mul(*price)))
        }
        Pricing::Graduated { source, included, tiers } => {
            let quantity = usage.quantity(source);
            let lines = graduated(tiers, *included, quantity).ok_or_else(too_large)?;
            let named = lines.into_iter().filter(|(_, amount)| !amount.is_zero());
            Ok(named
                .map(|(tier, amount)| (format!("{}.t{tier}", line.id), fixed(plan, amount)))
                .collect())
        }
        Pricing::Volume { source, tiers } => {
            let quantity = usage.quantity(source);
            single(reached(tiers, quantity).map_or(Some(Decimal::ZERO), |tier| {
                tier.unit.checked_mul(quantity)?.checked_add(tier.flat)
            }))
        }
        Pricing::Stairstep { source, tiers } => {
            let tier = reached(tiers, usage.quantity(source));
            single(tier.map_or(Some(Decimal::ZERO), |tier| tier.unit.checked_add(tier.flat)))
        }
    }
}

fn days(line: &Line, usage: &Usage) -> Result<Decimal, RatingError> {
    usage.days_in_period().ok_or_else(|| RatingError::NoDays(line.id.clone()))
}

fn above(quantity: Decimal, included: Decimal) -> Decimal {
    (quantity - included).max(Decimal::ZERO)
}

/// Each unit at the price of its tier: number of the tier from 1, and its amount.
fn graduated(
    tiers: &[Tier],
    included: Decimal,
    quantity: Decimal,
) -> Option<Vec<(usize, Decimal)>> {
    let mut from = included;
    let mut lines = Vec::new();
    for (index, tier) in tiers.iter().enumerate() {
        let to = tier.up_to.unwrap_or(quantity).min(quantity);
        if to > from {
            let amount = tier.unit.checked_mul(to - from)?.checked_add(tier.flat)?;
            lines.push((index + 1, amount));
            from = to;
        }
    }
    Some(lines)
}

/// The tier that a total lies in; bounds belong to the lower tier.
fn reached(tiers: &[Tier], quantity: Decimal) -> Option<&Tier> {
    tiers.iter().find(|tier| tier.up_to.is_none_or(|up_to| quantity <= up_to))
}

/// The amount by which an adjustment changes a sum; `None` where it changes nothing.
fn adjustment(plan: &Plan, adjust: &Adjust, sum: Decimal) -> Result<Option<Decimal>, RatingError> {
    let amount = match adjust.kind {
        AdjustKind::Percent(percent) => sum
            .checked_mul(percent)
            .and_then(|product| product.checked_div(Decimal::ONE_HUNDRED))
            .ok_or_else(|| RatingError::TooLarge(adjust.id.clone()))?,
        AdjustKind::Cap(cap) => (cap - sum).min(Decimal::ZERO),
        AdjustKind::Minimum(minimum) => (minimum - sum).max(Decimal::ZERO),
        AdjustKind::Credit(credit) => -credit.min(sum.max(Decimal::ZERO)),
    };
    let amount = fixed(plan, amount);
    Ok((!amount.is_zero()).then_some(amount))
}

/// Rounded to the minor units, and written with all of them.
fn fixed(plan: &Plan, amount: Decimal) -> Decimal {
    let mut amount = amount.round_dp_with_strategy(plan.minor_units, plan.rounding.strategy());
    amount.rescale(plan.minor_units);
    amount
}
