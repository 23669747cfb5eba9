//! How the amount of a line came about, so that everybody can do the sum again.

use std::fmt;

use rust_decimal::Decimal;

/// The arithmetic of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    /// What was multiplied and divided.
    pub sum: Sum,
    /// What came out, before it was rounded.
    pub exact: Decimal,
}

/// What was multiplied and divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl fmt::Display for Working {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |number: Decimal| number.normalize();
        match self.sum {
            Sum::Fixed => return write!(out, "a period"),
            Sum::Units { quantity, included, unit, days } => {
                if included.is_zero() {
                    write!(out, "{} × {unit}", n(quantity))?;
                } else if quantity <= included {
                    write!(out, "{} of {} included", n(quantity), n(included))?;
                } else {
                    write!(out, "({} − {}) × {unit}", n(quantity), n(included))?;
                }
                if let Some(days) = days {
                    write!(out, " / {} days", n(days))?;
                }
            }
            Sum::UnitDays { unit_days, unit, days } => {
                write!(out, "{} unit days × {unit} / {} days", n(unit_days), n(days))?;
            }
            Sum::Packages { quantity, included, size, price } => {
                if quantity <= included {
                    write!(out, "{} of {} included", n(quantity), n(included))?;
                } else if included.is_zero() {
                    write!(out, "⌈{} / {}⌉ × {price}", n(quantity), n(size))?;
                } else {
                    write!(out, "⌈({} − {}) / {}⌉ × {price}", n(quantity), n(included), n(size))?;
                }
            }
            Sum::Tier { from, to, unit, flat } => {
                write!(out, "({} − {}) × {unit}", n(to), n(from))?;
                plus(out, flat)?;
            }
            Sum::Volume { quantity, unit, flat } => {
                write!(out, "{} × {unit}", n(quantity))?;
                plus(out, flat)?;
            }
            Sum::Step { quantity } => write!(out, "the step of {}", n(quantity))?,
            Sum::Percent { of, percent } => write!(out, "{of} × {} %", n(percent))?,
            Sum::Cap { of, cap } => write!(out, "{cap} at most − {of}")?,
            Sum::Minimum { of, minimum } => write!(out, "{minimum} at least − {of}")?,
            Sum::Credit { of, credit } => write!(out, "credit of {credit}, at most {of}")?,
        }
        write!(out, " = {}", n(self.exact))
    }
}

fn plus(out: &mut fmt::Formatter<'_>, flat: Decimal) -> fmt::Result {
    if flat.is_zero() { Ok(()) } else { write!(out, " + {flat}") }
}
