//! The plan that is in force: what the guard asks for prices.

use rust_decimal::Decimal;

use super::plan::{AdjustKind, Plan, Pricing};
use super::rate::ceiling;
use super::usage::Usage;
use crate::engine::types::ledger::Meter;
use crate::engine::types::tariff::{Quantities, Share, Tariff};

/// A plan, and the quantities that nobody meters: seats, sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivePlan {
    plan: Plan,
    by_use: Plan,
    told: Usage,
}

impl ActivePlan {
    /// Puts a plan in force.
    pub fn new(plan: Plan, told: Usage) -> ActivePlan {
        let mut by_use = plan.clone();
        let metered = |name: &str| Meter::ALL.iter().any(|meter| meter.name() == name);
        by_use.lines.retain(|line| match &line.pricing {
            Pricing::Fixed { .. } => false,
            Pricing::PerUnit { source, .. }
            | Pricing::Package { source, .. }
            | Pricing::Graduated { source, .. }
            | Pricing::Volume { source, .. }
            | Pricing::Stairstep { source, .. } => metered(source),
        });
        by_use.adjusts.retain(|adjust| match adjust.kind {
            AdjustKind::Percent(_) | AdjustKind::Cap(_) => true,
            AdjustKind::Minimum(_) | AdjustKind::Credit(_) => false,
        });
        ActivePlan { plan, by_use, told }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Quantities that nobody meters.
    pub fn told(&self) -> &Usage {
        &self.told
    }

    fn usage(&self, quantities: &Quantities, days: u32) -> Usage {
        let mut usage = self.told.clone();
        usage.set("days_in_period", Decimal::from(days));
        // What the operators tell of a meter that is measured counts instead.
        let counts = |(meter, quantity): &(Meter, Decimal)| {
            let is_told = meter.is_measured() && !self.told.quantity(meter.name()).is_zero();
            !quantity.is_zero() && !is_told
        };
        for (meter, quantity) in quantities.iter().filter(counts) {
            usage.set(meter.name(), quantity);
        }
        usage
    }
}

impl Tariff for ActivePlan {
    fn id(&self) -> &str {
        &self.plan.id
    }

    fn ceiling(
        &self,
        low: &Quantities,
        high: &Quantities,
        days: u32,
        share: Share,
    ) -> Option<Decimal> {
        let plan = match share {
            Share::Whole => &self.plan,
            Share::Part => &self.by_use,
        };
        let bill = ceiling(plan, &self.usage(low, days), &self.usage(high, days));
        bill.ok().map(|bill| bill.total)
    }
}
