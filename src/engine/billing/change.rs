//! A change of plan within a period: each plan for its part, and what that comes to beforehand.

use rust_decimal::Decimal;

use crate::engine::rating::{AdjustKind, Bill, Plan, Pricing, RatingError, Usage, rate};

/// What a change of plan would come to.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The old plan, for the days before the change.
    pub before: Bill,
    /// The new one, for those from it on.
    pub after: Bill,
    /// Sum of both.
    pub total: Decimal,
    /// The whole period on the old plan.
    pub kept: Decimal,
}

/// Rates a period of `days` that changes from `old` to `new` after `day` of them. What recurs is
/// charged by the day, as are caps, minimums and credits; what is used, on the plan of its time.
///
/// # Errors
/// A plan that cannot rate the usage.
pub fn preview(
    (old, used_before): (&Plan, &Usage),
    (new, used_after): (&Plan, &Usage),
    used_in_all: &Usage,
    day: u32,
    days: u32,
) -> Result<Preview, RatingError> {
    let before = rate(&part(old, day, days), used_before)?;
    let after = rate(&part(new, days.saturating_sub(day), days), used_after)?;
    let total = new.fixed(before.total + after.total);
    let kept = rate(old, used_in_all)?.total;
    Ok(Preview { before, after, total, kept })
}

/// A plan for so many days of a period.
fn part(plan: &Plan, of: u32, days: u32) -> Plan {
    let share = |amount: &mut Decimal| {
        *amount = *amount * Decimal::from(of) / Decimal::from(days.max(1));
    };
    let mut part = plan.clone();
    for line in part.lines.iter_mut().filter(|line| line.class == "recurring") {
        match &mut line.pricing {
            Pricing::Fixed { price } | Pricing::Package { price, .. } => share(price),
            Pricing::PerUnit { unit, .. } => share(unit),
            Pricing::Graduated { tiers, .. }
            | Pricing::Volume { tiers, .. }
            | Pricing::Stairstep { tiers, .. } => {
                for tier in tiers {
                    share(&mut tier.unit);
                    share(&mut tier.flat);
                }
            }
        }
    }
    for adjust in &mut part.adjusts {
        match &mut adjust.kind {
            AdjustKind::Percent(_) => {}
            AdjustKind::Cap(amount) | AdjustKind::Minimum(amount) | AdjustKind::Credit(amount) => {
                share(amount);
            }
        }
    }
    part
}
