//! What a price plan says, after all checks: every plan of these types can be rated.

use rust_decimal::{Decimal, RoundingStrategy};

use super::terms::{Addon, Close, MeterDefinition, OneOff, Term};
use crate::engine::types::document::Word;
use crate::engine::types::period::Calendar;

/// A supplier's price plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Id, as bills name it.
    pub id: String,
    /// Version of the plan, when the file names one.
    pub version: Option<String>,
    /// ISO 4217 code, e.g. `CNY`.
    pub currency: String,
    /// Decimal places of every amount of a bill.
    pub minor_units: u32,
    /// What happens to half a minor unit.
    pub rounding: Rounding,
    /// How long a billing period is.
    pub period: Option<Calendar>,
    /// When a period is closed.
    pub close: Option<Close>,
    /// How long one is bound, and how one gets out.
    pub term: Option<Term>,
    /// What the supplier counts.
    pub meters: Vec<MeterDefinition>,
    /// What is charged, in the order of the bill.
    pub lines: Vec<Line>,
    /// What changes the sum, in the order in which it is applied.
    pub adjusts: Vec<Adjust>,
    /// Functions that are included, cost extra or cannot be had.
    pub addons: Vec<Addon>,
    /// What is paid once.
    pub one_offs: Vec<OneOff>,
}

impl Plan {
    /// Rounded to the minor units, and written with all of them.
    pub fn fixed(&self, amount: Decimal) -> Decimal {
        let mut amount = amount.round_dp_with_strategy(self.minor_units, self.rounding.strategy());
        amount.rescale(self.minor_units);
        amount
    }

    /// True when more use costs more without end: some line charges by quantity, and no cap is on
    /// its class.
    pub fn charges_by_use(&self) -> bool {
        let capped = |class: &String| {
            let caps =
                self.adjusts.iter().filter(|adjust| matches!(adjust.kind, AdjustKind::Cap(_)));
            caps.into_iter().any(|adjust| adjust.classes.contains(class))
        };
        let by_use = |line: &&Line| match line.pricing {
            Pricing::Fixed { .. } | Pricing::Stairstep { .. } => false,
            Pricing::PerUnit { .. }
            | Pricing::Package { .. }
            | Pricing::Graduated { .. }
            | Pricing::Volume { .. } => true,
        };
        self.lines.iter().filter(by_use).any(|line| !capped(&line.class))
    }
}

/// What happens to half a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the even neighbour: 38.745 is 38.74.
    HalfEven,
    /// Away from zero: 38.745 is 38.75.
    HalfUp,
}

impl Rounding {
    /// The same in the words of the decimal library.
    pub fn strategy(self) -> RoundingStrategy {
        match self {
            Rounding::HalfEven => RoundingStrategy::MidpointNearestEven,
            Rounding::HalfUp => RoundingStrategy::MidpointAwayFromZero,
        }
    }
}

impl Word for Rounding {
    const WORDS: &'static [(&'static str, Self)] =
        &[("half_even", Rounding::HalfEven), ("half_up", Rounding::HalfUp)];
}

/// One charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Id on the bill.
    pub id: String,
    /// Class that adjustments name, e.g. `recurring` or `usage`.
    pub class: String,
    /// How the amount comes about.
    pub pricing: Pricing,
}

/// How the amount of a line comes about. `source` is the meter or quantity that is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// The same every period.
    Fixed {
        /// Money a period.
        price: Decimal,
    },
    /// Each unit beyond `included`.
    PerUnit {
        /// Name in the usage.
        source: String,
        /// Money a unit.
        unit: Decimal,
        /// Units that cost nothing.
        included: Decimal,
        /// Units that were there for some days only are charged by the day.
        prorate: bool,
        /// What the product is divided by.
        divide_by: Option<Divisor>,
    },
    /// Packages of `size`; a package that was begun is charged in full.
    Package {
        /// Name in the usage.
        source: String,
        /// Units in a package, more than 0.
        size: Decimal,
        /// Money a package.
        price: Decimal,
        /// Units that cost nothing.
        included: Decimal,
    },
    /// Each unit at the price of the tier in which it lies.
    Graduated {
        /// Name in the usage.
        source: String,
        /// Units that cost nothing; the first tier begins above them.
        included: Decimal,
        /// Ascending, the last one open.
        tiers: Vec<Tier>,
    },
    /// All units at the price of the tier that the total reaches.
    Volume {
        /// Name in the usage.
        source: String,
        /// Ascending, the last one open.
        tiers: Vec<Tier>,
    },
    /// One price for the tier that the total reaches, whatever the number of units.
    Stairstep {
        /// Name in the usage.
        source: String,
        /// Ascending, the last one open.
        tiers: Vec<Tier>,
    },
}

impl Pricing {
    /// The meter or quantity that is charged; none for a fixed price.
    pub fn source(&self) -> Option<&str> {
        match self {
            Pricing::Fixed { .. } => None,
            Pricing::PerUnit { source, .. }
            | Pricing::Package { source, .. }
            | Pricing::Graduated { source, .. }
            | Pricing::Volume { source, .. }
            | Pricing::Stairstep { source, .. } => Some(source),
        }
    }
}

/// What a product is divided by, once, before it is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The days of the billing period, from the usage.
    DaysInPeriod,
}

impl Word for Divisor {
    const WORDS: &'static [(&'static str, Self)] = &[("days_in_period", Divisor::DaysInPeriod)];
}

/// One step of a price list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Last unit of the tier, counted from the first unit of all; `None`: no end.
    pub up_to: Option<Decimal>,
    /// Money a unit; of a stairstep the price of the step.
    pub unit: Decimal,
    /// Money for reaching the tier.
    pub flat: Decimal,
}

/// A change of the sum over some classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// Id on the bill.
    pub id: String,
    /// What it does.
    pub kind: AdjustKind,
    /// Classes whose sum it looks at and changes.
    pub classes: Vec<String>,
}

/// What an adjustment does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdjustKind {
    /// Adds this percentage of the sum; a discount is negative.
    Percent(Decimal),
    /// The sum is at most this.
    Cap(Decimal),
    /// The sum is at least this.
    Minimum(Decimal),
    /// Takes off this much, at most the whole sum.
    Credit(Decimal),
}
