//! Plan and usage -> bill. Multiply first, divide once, round once a line.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Tier};
use super::usage::Usage;
use super::working::{Sum, Working};

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

impl Bill {
    /// The sum over the charges of a class, before adjustments.
    pub fn charged(&self, class: &str) -> Decimal {
        let of_class = |line: &&BillLine| {
            !line.is_adjustment() && line.classes.iter().any(|named| named == class)
        };
        self.lines.iter().filter(of_class).map(|line| line.amount).sum()
    }
}

/// One charge or adjustment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BillLine {
    /// Id in the plan; tiers have `.t1`, `.t2` ..., pro-rated units `.prorated`.
    pub id: String,
    /// Money, with the minor units of the currency.
    #[serde(serialize_with = "as_text")]
    pub amount: Decimal,
    /// Class of a charge; classes that an adjustment looks at.
    #[serde(skip)]
    pub classes: Vec<String>,
    /// How it came about.
    #[serde(skip)]
    pub working: Working,
}

impl BillLine {
    /// A change of a sum, not a charge.
    pub fn is_adjustment(&self) -> bool {
        match self.working.sum {
            Sum::Percent { .. } | Sum::Cap { .. } | Sum::Minimum { .. } | Sum::Credit { .. } => {
                true
            }
            Sum::Fixed
            | Sum::Units { .. }
            | Sum::UnitDays { .. }
            | Sum::Packages { .. }
            | Sum::Tier { .. }
            | Sum::Volume { .. }
            | Sum::Step { .. } => false,
        }
    }
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
    bill(plan, usage, |_, source| usage.quantity(source))
}

/// The greatest bill over every usage from `low` to `high`, quantity by quantity. No adjustment
/// turns more into less (a plan takes off 100 % at most), so that the dearest quantity of each line
/// makes the dearest bill.
///
/// # Errors
/// See [`RatingError`].
pub fn ceiling(plan: &Plan, low: &Usage, high: &Usage) -> Result<Bill, RatingError> {
    bill(plan, high, |line, source| dearest(line, low.quantity(source), high.quantity(source)))
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

fn bill(
    plan: &Plan,
    usage: &Usage,
    quantity: impl Fn(&Line, &str) -> Decimal,
) -> Result<Bill, RatingError> {
    let mut lines: Vec<BillLine> = Vec::with_capacity(plan.lines.len() + plan.adjusts.len() + 2);
    for line in &plan.lines {
        let quantity = line.pricing.source().map_or(Decimal::ZERO, |source| quantity(line, source));
        charge(plan, line, quantity, usage, &mut lines)?;
    }
    for adjust in &plan.adjusts {
        let of = sum_of(&lines, &adjust.classes, &adjust.id)?;
        let working = adjustment(adjust, of)?;
        let amount = plan.fixed(working.exact);
        if !amount.is_zero() {
            let classes = adjust.classes.clone();
            lines.push(BillLine { id: adjust.id.clone(), amount, classes, working });
        }
    }
    let total = lines.iter().try_fold(Decimal::ZERO, |sum, line| sum.checked_add(line.amount));
    let total = total.ok_or_else(|| RatingError::TooLarge("total".to_owned()))?;
    let total = plan.fixed(total);
    Ok(Bill { plan: plan.id.clone(), currency: plan.currency.clone(), lines, total })
}

/// Lines of these classes, and the adjustments that changed nothing but them.
fn sum_of(lines: &[BillLine], classes: &[String], id: &str) -> Result<Decimal, RatingError> {
    lines
        .iter()
        .filter(|line| line.classes.iter().all(|class| classes.contains(class)))
        .try_fold(Decimal::ZERO, |sum, line| sum.checked_add(line.amount))
        .ok_or_else(|| RatingError::TooLarge(id.to_owned()))
}

fn charge(
    plan: &Plan,
    line: &Line,
    quantity: Decimal,
    usage: &Usage,
    lines: &mut Vec<BillLine>,
) -> Result<(), RatingError> {
    let mut add = |suffix: Option<String>, sum: Sum, exact: Option<Decimal>| {
        let exact = exact.ok_or_else(|| RatingError::TooLarge(line.id.clone()))?;
        let id = suffix.map_or_else(|| line.id.clone(), |suffix| format!("{}.{suffix}", line.id));
        let amount = plan.fixed(exact);
        let classes = vec![line.class.clone()];
        lines.push(BillLine { id, amount, classes, working: Working { sum, exact } });
        Ok(())
    };
    match &line.pricing {
        Pricing::Fixed { price } => add(None, Sum::Fixed, Some(*price)),
        Pricing::PerUnit { source, unit, included, prorate, divide_by } => {
            let days = match divide_by {
                Some(Divisor::DaysInPeriod) => Some(days(line, usage)?),
                None => None,
            };
            let product = unit.checked_mul(above(quantity, *included));
            let exact = product.and_then(|product| match days {
                Some(days) => product.checked_div(days),
                None => Some(product),
            });
            add(None, Sum::Units { quantity, included: *included, unit: *unit, days }, exact)?;
            if *prorate && !usage.segments(source).is_empty() {
                let (sum, exact) = prorated(*unit, source, self::days(line, usage)?, usage);
                add(Some("prorated".to_owned()), sum, exact)?;
            }
            Ok(())
        }
        Pricing::Package { size, price, included, .. } => {
            let packages = above(quantity, *included).checked_div(*size);
            let exact = packages.and_then(|packages| packages.ceil().checked_mul(*price));
            let sum = Sum::Packages { quantity, included: *included, size: *size, price: *price };
            add(None, sum, exact)
        }
        Pricing::Graduated { included, tiers, .. } => {
            let mut from = *included;
            for (index, tier) in tiers.iter().enumerate() {
                let to = tier.up_to.unwrap_or(quantity).min(quantity);
                if to > from {
                    let product = tier.unit.checked_mul(to - from);
                    let exact = product.and_then(|product| product.checked_add(tier.flat));
                    if !exact.is_some_and(|exact| plan.fixed(exact).is_zero()) {
                        let sum = Sum::Tier { from, to, unit: tier.unit, flat: tier.flat };
                        add(Some(format!("t{}", index + 1)), sum, exact)?;
                    }
                    from = to;
                }
            }
            Ok(())
        }
        Pricing::Volume { tiers, .. } => {
            let (unit, flat) = reached(tiers, quantity);
            let exact = unit.checked_mul(quantity).and_then(|product| product.checked_add(flat));
            add(None, Sum::Volume { quantity, unit, flat }, exact)
        }
        Pricing::Stairstep { tiers, .. } => {
            let (unit, flat) = reached(tiers, quantity);
            add(None, Sum::Step { quantity }, unit.checked_add(flat))
        }
    }
}

/// Units that were there for some days: their days together, times the price, over all days.
fn prorated(unit: Decimal, source: &str, days: Decimal, usage: &Usage) -> (Sum, Option<Decimal>) {
    let unit_days = usage.segments(source).iter().try_fold(Decimal::ZERO, |sum, segment| {
        sum.checked_add(segment.quantity.checked_mul(segment.days)?)
    });
    let exact = unit_days.and_then(|unit_days| unit.checked_mul(unit_days)?.checked_div(days));
    (Sum::UnitDays { unit_days: unit_days.unwrap_or_default(), unit, days }, exact)
}

fn days(line: &Line, usage: &Usage) -> Result<Decimal, RatingError> {
    usage.days_in_period().ok_or_else(|| RatingError::NoDays(line.id.clone()))
}

fn above(quantity: Decimal, included: Decimal) -> Decimal {
    (quantity - included).max(Decimal::ZERO)
}

/// Price of a unit and for reaching it, in the tier that a total lies in; bounds belong to the
/// lower tier.
fn reached(tiers: &[Tier], quantity: Decimal) -> (Decimal, Decimal) {
    let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|up_to| quantity <= up_to));
    tier.map_or((Decimal::ZERO, Decimal::ZERO), |tier| (tier.unit, tier.flat))
}

/// The quantity from `low` to `high` at which a line costs most. Only prices that look at the total
/// fall with it, and those only just after the end of a tier.
fn dearest(line: &Line, low: Decimal, high: Decimal) -> Decimal {
    let (tiers, by_unit) = match &line.pricing {
        Pricing::Volume { tiers, .. } => (tiers, true),
        Pricing::Stairstep { tiers, .. } => (tiers, false),
        Pricing::Fixed { .. }
        | Pricing::PerUnit { .. }
        | Pricing::Package { .. }
        | Pricing::Graduated { .. } => return high,
    };
    let cost = |quantity: Decimal| {
        let (unit, flat) = reached(tiers, quantity);
        let units = if by_unit { quantity } else { Decimal::ONE };
        unit.checked_mul(units).and_then(|product| product.checked_add(flat))
    };
    let ends = tiers.iter().filter_map(|tier| tier.up_to);
    let ends = ends.filter(|end| low <= *end && *end <= high);
    let dearest = ends.chain([low, high]).max_by_key(|quantity| cost(*quantity));
    dearest.unwrap_or(high)
}

/// The amount by which an adjustment changes a sum; 0 where it changes nothing.
fn adjustment(adjust: &Adjust, of: Decimal) -> Result<Working, RatingError> {
    let (sum, exact) = match adjust.kind {
        AdjustKind::Percent(percent) => {
            let exact = of
                .checked_mul(percent)
                .and_then(|product| product.checked_div(Decimal::ONE_HUNDRED))
                .ok_or_else(|| RatingError::TooLarge(adjust.id.clone()))?;
            (Sum::Percent { of, percent }, exact)
        }
        AdjustKind::Cap(cap) => (Sum::Cap { of, cap }, (cap - of).min(Decimal::ZERO)),
        AdjustKind::Minimum(minimum) => {
            (Sum::Minimum { of, minimum }, (minimum - of).max(Decimal::ZERO))
        }
        AdjustKind::Credit(credit) => {
            (Sum::Credit { of, credit }, -credit.min(of.max(Decimal::ZERO)))
        }
    };
    Ok(Working { sum, exact })
}
