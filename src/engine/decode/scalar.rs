//! One value of a payload before it is a reading: borrowed, whatever it was written in.

use std::fmt;

use super::Refusal;
use crate::engine::types::decision::Rejection;
use crate::engine::types::document::Scalar;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::text::cut_bytes;

/// Longest text value, in bytes; longer ones are cut on a character boundary.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// A value as a payload has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl Found<'_> {
    /// The nearest number where it is larger than any signed one.
    pub fn unsigned(number: u64) -> Found<'static> {
        i64::try_from(number).map_or(Found::Float(number as f64), Found::Int)
    }

    /// True when the operator's file means this value; numbers compare as numbers.
    pub fn is(self, scalar: &Scalar) -> bool {
        match (self, scalar) {
            (Found::Bool(found), Scalar::Bool(named)) => found == *named,
            (Found::Int(found), Scalar::Int(named)) => found == *named,
            (Found::Int(found), Scalar::Float(named)) => found as f64 == *named,
            (Found::Float(found), Scalar::Float(named)) => found == *named,
            (Found::Float(found), Scalar::Int(named)) => found == *named as f64,
            (Found::Text(found), Scalar::Text(named)) => found == named,
            (
                Found::Null | Found::Bool(_) | Found::Int(_) | Found::Float(_) | Found::Text(_),
                Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Text(_),
            ) => false,
        }
    }

    /// True for a number that may be infinite, or be so once it is scaled: it is refused whether
    /// some rule reads it or not.
    pub fn may_be_no_number(self) -> bool {
        match self {
            Found::Float(number) => number.abs() > 1e100,
            Found::Null | Found::Bool(_) | Found::Int(_) | Found::Text(_) => false,
        }
    }

    /// The value as a number that can be scaled; devices quote them.
    pub fn as_number(self) -> Option<f64> {
        match self {
            Found::Int(number) => Some(number as f64),
            Found::Float(number) => Some(number),
            Found::Text(text) => text.trim().parse().ok(),
            Found::Null | Found::Bool(_) => None,
        }
        .filter(|number| number.is_finite())
    }

    /// What it is as a reading, `value * scale + offset`; `None` for null. What is not a number
    /// where one should be is bad, and `refused` says so.
    pub fn reading(self, scale: f64, offset: f64, refused: &mut Vec<Refusal>) -> Option<Reading> {
        let scaled = scale != 1.0 || offset != 0.0;
        let number = match self {
            Found::Null => return None,
            Found::Bool(flag) => return Some(Reading::Good(Value::Bool(flag))),
            Found::Int(number) if !scaled => return Some(Reading::Good(Value::Int(number))),
            Found::Float(number) if !scaled && number.is_finite() => {
                return Some(Reading::Good(Value::Float(number)));
            }
            Found::Text(text) if !is_not_a_number(text) => {
                let text = cut_bytes(text, TEXT_BYTES_MAX);
                return Some(Reading::Good(Value::Text(text.into())));
            }
            Found::Int(number) => number as f64,
            Found::Float(number) => number,
            Found::Text(_) => f64::NAN,
        };
        let number = number.mul_add(scale, offset);
        if number.is_finite() {
            return Some(Reading::Good(Value::Float(number)));
        }
        refused.push(Refusal::new(Rejection::Number, &self.to_string()));
        Some(Reading::Bad)
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Null => out.write_str("null"),
            Found::Bool(flag) => write!(out, "{flag}"),
            Found::Int(number) => write!(out, "{number}"),
            Found::Float(number) => write!(out, "{number}"),
            Found::Text(text) => out.write_str(text),
        }
    }
}

/// Texts that devices put where a number has no value (IEEE 754 specials in JSON).
pub(super) fn is_not_a_number(text: &str) -> bool {
    const WORDS: [&str; 6] = ["nan", "inf", "-inf", "+inf", "infinity", "-infinity"];
    text.len() <= 9 && WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A number, truth or text that is written without quotes.
pub(super) fn parse_bare(text: &str) -> Found<'_> {
    match text {
        "true" => Found::Bool(true),
        "false" => Found::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(number) => Found::Int(number),
            Err(_) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() || !is_not_a_number(text) => Found::Float(number),
                Ok(_) | Err(_) => Found::Text(text),
            },
        },
    }
}
