//! What was used in a period: quantities by meter or name.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;

/// Quantities of one billing period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    quantities: BTreeMap<String, Decimal>,
    segments: BTreeMap<String, Vec<Segment>>,
}

/// Units that were there for a part of the period only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Units.
    pub quantity: Decimal,
    /// Days that they were there.
    pub days: Decimal,
}

/// What is wrong with a usage file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Not JSON, or not one object.
    #[error("usage is one JSON object such as {{\"ticket.created\": \"120\"}}: {0}")]
    Shape(String),
    /// A value that is no quantity.
    #[error("`{0}` is not a quantity; write a decimal number in quotes, 0 or more")]
    Quantity(String),
    /// Segments that are no list of pairs.
    #[error("`{0}` is a list of [quantity, days], each in quotes")]
    Segments(String),
}

impl Usage {
    /// Reads one JSON object: quantities as decimal text, `NAME.segments` as a list of
    /// `[quantity, days]`.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn from_json(text: &str) -> Result<Usage, UsageError> {
        let shape = |error: String| UsageError::Shape(error);
        let json: Json = serde_json::from_str(text).map_err(|error| shape(error.to_string()))?;
        let object = json.as_object().ok_or_else(|| shape("it is something else".to_owned()))?;
        let mut usage = Usage::default();
        for (name, value) in object {
            match name.strip_suffix(".segments") {
                Some(of) => {
                    let wrong = || UsageError::Segments(name.clone());
                    let list = value.as_array().ok_or_else(wrong)?;
                    let list = list.iter().map(segment).collect::<Option<Vec<_>>>();
                    usage.segments.insert(of.to_owned(), list.ok_or_else(wrong)?);
                }
                None => {
                    let wrong = || UsageError::Quantity(name.clone());
                    usage.set(name, quantity(value).ok_or_else(wrong)?);
                }
            }
        }
        Ok(usage)
    }

    /// Sets a quantity.
    pub fn set(&mut self, name: &str, quantity: Decimal) {
        self.quantities.insert(name.to_owned(), quantity);
    }

    /// A quantity; what was not used is 0.
    pub fn quantity(&self, name: &str) -> Decimal {
        self.quantities.get(name).copied().unwrap_or_default()
    }

    /// Days of the period, where they are told.
    pub fn days_in_period(&self) -> Option<Decimal> {
        self.quantities.get("days_in_period").copied().filter(|days| *days > Decimal::ZERO)
    }

    /// Units that were there for a part of the period.
    pub fn segments(&self, name: &str) -> &[Segment] {
        self.segments.get(name).map_or(&[], Vec::as_slice)
    }
}

fn quantity(value: &Json) -> Option<Decimal> {
    let number = Decimal::from_str_exact(value.as_str()?).ok()?;
    (number >= Decimal::ZERO).then_some(number)
}

fn segment(value: &Json) -> Option<Segment> {
    match value.as_array()?.as_slice() {
        [units, days] => Some(Segment { quantity: quantity(units)?, days: quantity(days)? }),
        _ => None,
    }
}
