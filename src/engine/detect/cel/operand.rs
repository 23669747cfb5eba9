//! Values in the middle of an evaluation, and what operators make of them.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "operations are defined on the types that are listed; everything else is unknown"
)]

use std::cmp::Ordering;
use std::sync::Arc;

use super::evaluate::Unknown;
use super::ir::{Arithmetic, Comparison, Constant, Conversion, Number, TextTest};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::MetricId;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Longest text that `+` makes, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// A value in the middle of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Made(Arc<str>),
    Time(Timestamp),
    Span(TimeSpan),
}

pub(super) type Result<T> = std::result::Result<T, Unknown>;

pub(super) fn operand(constant: &Constant) -> Operand<'_> {
    match constant {
        Constant::Bool(flag) => Operand::Bool(*flag),
        Constant::Int(number) => Operand::Int(*number),
        Constant::Float(number) => Operand::Float(*number),
        Constant::Text(text) => Operand::Text(text),
        Constant::Span(span) => Operand::Span(*span),
    }
}

pub(super) fn value_operand(value: &Value) -> Operand<'_> {
    match value {
        Value::Bool(flag) => Operand::Bool(*flag),
        Value::Int(number) => Operand::Int(*number),
        Value::Float(number) => Operand::Float(*number),
        Value::Text(text) => Operand::Text(text),
    }
}

pub(super) fn reading(metric: MetricId, reading: &Reading) -> Result<Operand<'_>> {
    match reading {
        Reading::Good(value) => Ok(value_operand(value)),
        Reading::Bad => Err(Unknown::Bad(metric)),
    }
}

pub(super) fn text_of<'o>(operand: &'o Operand<'_>) -> Result<&'o str> {
    match operand {
        Operand::Text(text) => Ok(text),
        Operand::Made(text) => Ok(text),
        _ => Err(Unknown::Error("a value is not a text")),
    }
}

pub(super) fn negate(operand: Operand<'_>) -> Result<Operand<'_>> {
    match operand {
        Operand::Int(number) => number.checked_neg().map(Operand::Int).ok_or(OVERFLOW),
        Operand::Float(number) => Ok(Operand::Float(-number)),
        _ => Err(Unknown::Error("a value is not a number")),
    }
}

/// Values of two types have no order and are not equal.
pub(super) const DIFFERENT: Unknown = Unknown::Error("values of different types are compared");
const OVERFLOW: Unknown = Unknown::Error("a whole number overflows");

pub(super) fn arithmetic<'a>(
    operation: Arithmetic,
    left: Operand<'a>,
    right: Operand<'a>,
) -> Result<Operand<'a>> {
    use Operand::{Float, Int, Made, Span, Time};
    match (operation, &left, &right) {
        (_, Int(a), Int(b)) => integers(operation, *a, *b),
        (_, Int(_) | Float(_), Int(_) | Float(_)) => {
            let (a, b) = (number(&left), number(&right));
            match operation {
                Arithmetic::Add => Ok(Float(a + b)),
                Arithmetic::Subtract => Ok(Float(a - b)),
                Arithmetic::Multiply => Ok(Float(a * b)),
                Arithmetic::Divide if b == 0.0 => Err(Unknown::Error("division by zero")),
                Arithmetic::Divide => Ok(Float(a / b)),
                Arithmetic::Remainder => Err(Unknown::Error("% takes whole numbers")),
            }
        }
        (Arithmetic::Add, Time(a), Span(b)) => Ok(Time(*a + *b)),
        (Arithmetic::Subtract, Time(a), Span(b)) => Ok(Time(*a - *b)),
        (Arithmetic::Subtract, Time(a), Time(b)) => Ok(Span(a.since(*b))),
        (Arithmetic::Add, Span(a), Span(b)) => Ok(Span(*a + *b)),
        (Arithmetic::Subtract, Span(a), Span(b)) => Ok(Span(*a - *b)),
        (Arithmetic::Add, _, _) => {
            let (left, right) = (text_of(&left)?, text_of(&right)?);
            if left.len() + right.len() > TEXT_BYTES_MAX {
                return Err(Unknown::Error("a text that is put together is too long"));
            }
            Ok(Made([left, right].concat().into()))
        }
        _ => Err(Unknown::Error("the values do not fit the operator")),
    }
}

fn integers<'a>(operation: Arithmetic, a: i64, b: i64) -> Result<Operand<'a>> {
    if b == 0 && matches!(operation, Arithmetic::Divide | Arithmetic::Remainder) {
        return Err(Unknown::Error("division by zero"));
    }
    let whole = match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    whole.map(Operand::Int).ok_or(OVERFLOW)
}

/// The number of an operand that is one.
fn number(operand: &Operand<'_>) -> f64 {
    match operand {
        Operand::Int(number) => *number as f64,
        Operand::Float(number) => *number,
        _ => f64::NAN,
    }
}

/// Whole numbers and fractions compare as numbers: 100 and 100.0 are the same threshold.
fn order(left: &Operand<'_>, right: &Operand<'_>) -> Result<Option<Ordering>> {
    use Operand::{Bool, Float, Int, Made, Span, Text, Time};
    Ok(match (left, right) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Int(a), Float(b)) => order_mixed(*a, *b),
        (Float(a), Int(b)) => order_mixed(*b, *a).map(Ordering::reverse),
        (Float(a), Float(b)) => a.partial_cmp(b),
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Text(_) | Made(_), Text(_) | Made(_)) => Some(text_of(left)?.cmp(text_of(right)?)),
        (Time(a), Time(b)) => Some(a.cmp(b)),
        (Span(a), Span(b)) => Some(a.cmp(b)),
        _ => return Err(DIFFERENT),
    })
}

/// Exact: a whole number of 19 digits is not rounded to the nearest fraction first.
fn order_mixed(whole: i64, fraction: f64) -> Option<Ordering> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if fraction.is_nan() {
        None
    } else if fraction >= END {
        Some(Ordering::Less)
    } else if fraction < -END {
        Some(Ordering::Greater)
    } else {
        let floor = fraction.floor();
        let below = if fraction > floor { Ordering::Less } else { Ordering::Equal };
        Some(whole.cmp(&(floor as i64)).then(below))
    }
}

pub(super) fn compare(
    comparison: Comparison,
    left: &Operand<'_>,
    right: &Operand<'_>,
) -> Result<bool> {
    Ok(comparison.holds(order(left, right)?))
}

/// A metric's value compared with a number.
pub(super) fn test(comparison: Comparison, value: &Value, number: Number) -> Result<bool> {
    let order = match (value, number) {
        (Value::Float(a), Number::Float(b)) => a.partial_cmp(&b),
        (Value::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Value::Int(a), Number::Float(b)) => order_mixed(*a, b),
        (Value::Float(a), Number::Int(b)) => order_mixed(b, *a).map(Ordering::reverse),
        (Value::Bool(_) | Value::Text(_), _) => return Err(DIFFERENT),
    };
    Ok(comparison.holds(order))
}

pub(super) fn convert(conversion: Conversion, value: Operand<'_>) -> Result<Operand<'_>> {
    const NOT_A_NUMBER: Unknown = Unknown::Error("a text is not a number");
    Ok(match (conversion, &value) {
        (Conversion::Double, Operand::Int(_) | Operand::Float(_)) => Operand::Float(number(&value)),
        (Conversion::Double, Operand::Text(_) | Operand::Made(_)) => {
            let parsed: f64 = text_of(&value)?.trim().parse().map_err(|_| NOT_A_NUMBER)?;
            Operand::Float(Some(parsed).filter(|number| number.is_finite()).ok_or(NOT_A_NUMBER)?)
        }
        (Conversion::Int, Operand::Int(number)) => Operand::Int(*number),
        (Conversion::Int, Operand::Float(number)) if number.abs() < 9.2e18 => {
            Operand::Int(number.trunc() as i64)
        }
        (Conversion::Int, Operand::Text(_) | Operand::Made(_)) => {
            Operand::Int(text_of(&value)?.trim().parse().map_err(|_| NOT_A_NUMBER)?)
        }
        (Conversion::Text, Operand::Text(_) | Operand::Made(_)) => value,
        (Conversion::Text, Operand::Int(number)) => Operand::Made(number.to_string().into()),
        (Conversion::Text, Operand::Float(number)) => Operand::Made(number.to_string().into()),
        (Conversion::Text, Operand::Bool(flag)) => Operand::Made(flag.to_string().into()),
        _ => return Err(Unknown::Error("the value cannot be converted")),
    })
}

pub(super) fn text_test(test: TextTest, text: &Operand<'_>, part: &Operand<'_>) -> Result<bool> {
    let (text, part) = (text_of(text)?, text_of(part)?);
    Ok(match test {
        TextTest::StartsWith => text.starts_with(part),
        TextTest::EndsWith => text.ends_with(part),
        TextTest::Contains => text.contains(part),
    })
}

/// Characters of a text.
pub(super) fn size(text: &Operand<'_>) -> Result<i64> {
    Ok(i64::try_from(text_of(text)?.chars().count()).unwrap_or(i64::MAX))
}

/// Whether a list holds a value. One that holds it holds it whatever else is in it; else a member
/// of another type cannot be compared, as `==` has it. A member that cannot be told makes all of
/// the list unknown, as in CEL.
pub(super) fn within<'o>(
    value: &Operand<'_>,
    members: impl Iterator<Item = Result<Operand<'o>>>,
) -> Result<bool> {
    let mut found = Ok(false);
    for member in members {
        match compare(Comparison::Equal, value, &member?) {
            Ok(true) => found = Ok(true),
            Err(unknown) if found == Ok(false) => found = Err(unknown),
            Ok(false) | Err(_) => {}
        }
    }
    found
}
