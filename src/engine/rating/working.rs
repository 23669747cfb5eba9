//! How the amount of a line came about, so that everybody can do the sum again.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::types::text::Language;

/// The arithmetic of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Working {
    /// What was multiplied and divided.
    pub sum: Sum,
    /// What came out, before it was rounded.
    pub exact: Decimal,
}

/// What was multiplied and divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sum {
    /// A price a period.
    Fixed,
    /// Units beyond those included, at a price each, over the days of the period.
    Units {
        /// All units.
        quantity: Decimal,
        /// Those that cost nothing.
        included: Decimal,
        /// Money a unit.
        unit: Decimal,
        /// Days of the period, where the line divides by them.
        days: Option<Decimal>,
    },
    /// Units that were there for some days.
    UnitDays {
        /// Units times days.
        unit_days: Decimal,
        /// Money a unit.
        unit: Decimal,
        /// Days of the period.
        days: Decimal,
    },
    /// Packages, begun ones in full.
    Packages {
        /// All units.
        quantity: Decimal,
        /// Those that cost nothing.
        included: Decimal,
        /// Units in a package.
        size: Decimal,
        /// Money a package.
        price: Decimal,
    },
    /// Units of one tier.
    Tier {
        /// Last unit before the tier.
        from: Decimal,
        /// Last unit in it.
        to: Decimal,
        /// Money a unit.
        unit: Decimal,
        /// Money for reaching it.
        flat: Decimal,
    },
    /// All units at the price of the tier that they reach.
    Volume {
        /// All units.
        quantity: Decimal,
        /// Money a unit.
        unit: Decimal,
        /// Money for reaching the tier.
        flat: Decimal,
    },
    /// The price of the step that the units reach.
    Step {
        /// All units.
        quantity: Decimal,
    },
    /// A part of a sum.
    Percent {
        /// Sum over the classes.
        of: Decimal,
        /// Percentage.
        percent: Decimal,
    },
    /// A sum is at most this.
    Cap {
        /// Sum over the classes.
        of: Decimal,
        /// The cap.
        cap: Decimal,
    },
    /// A sum is at least this.
    Minimum {
        /// Sum over the classes.
        of: Decimal,
        /// The minimum.
        minimum: Decimal,
    },
    /// Money off a sum, at most all of it.
    Credit {
        /// Sum over the classes.
        of: Decimal,
        /// The credit.
        credit: Decimal,
    },
}

impl Working {
    /// The arithmetic for people.
    pub fn text(&self, language: Language) -> String {
        let say = |chinese: String, english: String| match language {
            Language::Chinese => chinese,
            Language::English => english,
        };
        let n = |number: Decimal| number.normalize();
        let within = |quantity: Decimal, included: Decimal| {
            let (quantity, included) = (n(quantity), n(included));
            say(
                format!("包含 {included}，已用 {quantity}"),
                format!("{quantity} of {included} included"),
            )
        };
        let by_days =
            |days: Decimal| say(format!(" / {} 天", n(days)), format!(" / {} days", n(days)));
        let with =
            |flat: Decimal| if flat.is_zero() { String::new() } else { format!(" + {flat}") };
        let sum = match self.sum {
            Sum::Fixed => return say("每周期".to_owned(), "a period".to_owned()),
            Sum::Units { quantity, included, unit, days } => {
                let units = if included.is_zero() {
                    format!("{} × {unit}", n(quantity))
                } else if quantity <= included {
                    within(quantity, included)
                } else {
                    format!("({} − {}) × {unit}", n(quantity), n(included))
                };
                units + &days.map(by_days).unwrap_or_default()
            }
            Sum::UnitDays { unit_days, unit, days } => {
                let unit_days = n(unit_days);
                let unit_days =
                    say(format!("{unit_days} 单位天"), format!("{unit_days} unit days"));
                format!("{unit_days} × {unit}{}", by_days(days))
            }
            Sum::Packages { quantity, included, .. } if quantity <= included => {
                within(quantity, included)
            }
            Sum::Packages { quantity, included, size, price } if included.is_zero() => {
                format!("⌈{} / {}⌉ × {price}", n(quantity), n(size))
            }
            Sum::Packages { quantity, included, size, price } => {
                format!("⌈({} − {}) / {}⌉ × {price}", n(quantity), n(included), n(size))
            }
            Sum::Tier { from, to, unit, flat } => {
                format!("({} − {}) × {unit}{}", n(to), n(from), with(flat))
            }
            Sum::Volume { quantity, unit, flat } => {
                format!("{} × {unit}{}", n(quantity), with(flat))
            }
            Sum::Step { quantity } => {
                say(format!("{} 所在的档", n(quantity)), format!("the step of {}", n(quantity)))
            }
            Sum::Percent { of, percent } => format!("{of} × {} %", n(percent)),
            Sum::Cap { of, cap } => {
                say(format!("上限 {cap} − {of}"), format!("{cap} at most − {of}"))
            }
            Sum::Minimum { of, minimum } => {
                say(format!("下限 {minimum} − {of}"), format!("{minimum} at least − {of}"))
            }
            Sum::Credit { of, credit } => say(
                format!("抵扣 {credit}，不超过 {of}"),
                format!("credit of {credit}, at most {of}"),
            ),
        };
        format!("{sum} = {}", n(self.exact))
    }
}

impl fmt::Display for Working {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Language::English))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_told_in_the_language_of_the_invoice() {
        let told = |sum: Sum, exact: i64| {
            let working = Working { sum, exact: Decimal::from(exact) };
            [working.text(Language::English), working.text(Language::Chinese)]
        };
        let (quantity, unit) = (Decimal::from(3), Decimal::from(2));
        let included = Decimal::from(5);
        let units = |included| Sum::Units { quantity, included, unit, days: None };
        assert_eq!(told(Sum::Fixed, 9), ["a period", "每周期"]);
        assert_eq!(told(units(included), 0), ["3 of 5 included = 0", "包含 5，已用 3 = 0"]);
        assert_eq!(told(units(Decimal::ONE), 4), ["(3 − 1) × 2 = 4", "(3 − 1) × 2 = 4"]);
        let stays = Sum::UnitDays { unit_days: quantity, unit, days: Decimal::from(30) };
        assert_eq!(told(stays, 0), ["3 unit days × 2 / 30 days = 0", "3 单位天 × 2 / 30 天 = 0"]);
    }
}
