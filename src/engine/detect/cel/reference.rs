//! Conditions evaluated in the plainest way, straight from `docs/conditions.md`: the tree is walked
//! and every function looks at all samples that ever came. The compiled form is held against it.

#![allow(clippy::wildcard_enum_match_arm, reason = "everything that is not listed is an error")]

use std::cmp::Ordering;

use super::parse::{Expr, ExprKind};
use crate::engine::types::message::{Reading, Value};

/// A value, or why there is none.
pub type Answer = Result<Plain, Why>;

/// A value. Times and durations are in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(i64),
    Span(i64),
}

/// Why a value cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Missing,
    Stale,
    Bad,
    NotEnough,
    PathDown,
    Error,
}

/// What a condition is evaluated on.
#[derive(Clone, Debug)]
pub struct World {
    /// Name, time and reading, in the order in which they came.
    pub samples: Vec<(&'static str, i64, Reading)>,
    pub now: i64,
    pub stale_after: i64,
    pub last_message: i64,
    pub offline: bool,
    pub absence_held: bool,
    pub raised: bool,
}

impl World {
    /// The readings of a metric in the order of their times, those of one time as they came.
    fn readings(&self, name: &str) -> Vec<(i64, &Reading)> {
        let own = self.samples.iter().filter(|(known, _, _)| *known == name);
        let mut own: Vec<(i64, &Reading)> = own.map(|(_, at, reading)| (*at, reading)).collect();
        own.sort_by_key(|(at, _)| *at);
        own
    }

    fn numbers(&self, name: &str) -> Vec<(i64, f64)> {
        let number = |(at, reading): (i64, &Reading)| match reading {
            Reading::Good(value) => value.as_number().map(|number| (at, number)),
            Reading::Bad => None,
        };
        self.readings(name).into_iter().filter_map(number).collect()
    }

    fn newest(&self, name: &str) -> Answer {
        let readings = self.readings(name);
        let (at, reading) = readings.last().ok_or(Why::Missing)?;
        if self.stale_after > 0 && self.now - at > self.stale_after {
            return Err(Why::Stale);
        }
        plain(reading)
    }

    /// Evaluates a condition.
    pub fn truth(&self, expr: &Expr) -> Result<bool, Why> {
        truth(self.value(expr)?)
    }

    fn value(&self, expr: &Expr) -> Answer {
        use Plain::{Bool, Float, Int, Span, Text, Time};
        Ok(match &expr.kind {
            ExprKind::Bool(flag) => Bool(*flag),
            ExprKind::Int(number) => Int(*number),
            ExprKind::Float(number) => Float(*number),
            ExprKind::Text(text) => Text(text.clone()),
            ExprKind::Span(span) => Span(span.micros()),
            ExprKind::Name(name) if name == "now" => Time(self.now),
            ExprKind::Name(name) => self.newest(name)?,
            ExprKind::Unary("!", inner) => Bool(!self.truth(inner)?),
            ExprKind::Unary(_, inner) => match self.value(inner)? {
                Int(number) => Int(number.checked_neg().ok_or(Why::Error)?),
                Float(number) => Float(-number),
                _ => return Err(Why::Error),
            },
            ExprKind::Binary("&&", left, right) => {
                Bool(decided(self.truth(left), self.truth(right), false)?)
            }
            ExprKind::Binary("||", left, right) => {
                Bool(decided(self.truth(left), self.truth(right), true)?)
            }
            ExprKind::Binary("in", left, right) => {
                let value = self.value(left)?;
                let ExprKind::List(members) = &right.kind else { return Err(Why::Error) };
                let members: Vec<Plain> =
                    members.iter().map(|member| self.value(member)).collect::<Result<_, _>>()?;
                let equal: Vec<_> = members.iter().map(|m| compared("==", &value, m)).collect();
                if equal.contains(&Ok(true)) {
                    Bool(true)
                } else {
                    equal.into_iter().collect::<Result<Vec<bool>, Why>>()?;
                    Bool(false)
                }
            }
            ExprKind::Binary(sign @ ("<" | "<=" | ">" | ">=" | "==" | "!="), left, right) => {
                Bool(compared(sign, &self.value(left)?, &self.value(right)?)?)
            }
            ExprKind::Binary(sign, left, right) => {
                calculated(sign, self.value(left)?, self.value(right)?)?
            }
            ExprKind::Choice(condition, yes, no) => {
                self.value(if self.truth(condition)? { yes } else { no })?
            }
            ExprKind::Call(None, name, arguments) => self.function(name, arguments)?,
            ExprKind::Call(Some(object), name, arguments) => {
                self.method(object, name, arguments)?
            }
            ExprKind::Member(..) | ExprKind::Index(..) | ExprKind::List(_) => {
                return Err(Why::Error);
            }
        })
    }

    fn function(&self, name: &str, arguments: &[Expr]) -> Answer {
        match (name, arguments) {
            ("offline", _) => Ok(Plain::Bool(self.offline)),
            ("raised", _) => Ok(Plain::Bool(self.raised)),
            ("absent", _) if self.absence_held => Err(Why::PathDown),
            ("absent", [span]) => Ok(Plain::Bool(self.now - self.last_message >= micros(span))),
            ("size", [text]) => match self.value(text)? {
                Plain::Text(text) => Ok(Plain::Int(text.chars().count() as i64)),
                _ => Err(Why::Error),
            },
            ("double", [value]) => match self.value(value)? {
                Plain::Int(number) => Ok(Plain::Float(number as f64)),
                Plain::Float(number) => Ok(Plain::Float(number)),
                Plain::Text(text) => text.parse().map(Plain::Float).map_err(|_| Why::Error),
                _ => Err(Why::Error),
            },
            ("int", [value]) => match self.value(value)? {
                Plain::Int(number) => Ok(Plain::Int(number)),
                Plain::Float(number) if number.abs() < 9e18 => Ok(Plain::Int(number as i64)),
                Plain::Text(text) => text.parse().map(Plain::Int).map_err(|_| Why::Error),
                _ => Err(Why::Error),
            },
            ("string", [value]) => match self.value(value)? {
                Plain::Text(text) => Ok(Plain::Text(text)),
                Plain::Int(number) => Ok(Plain::Text(number.to_string())),
                Plain::Float(number) => Ok(Plain::Text(number.to_string())),
                Plain::Bool(flag) => Ok(Plain::Text(flag.to_string())),
                _ => Err(Why::Error),
            },
            _ => Err(Why::Error),
        }
    }

    fn method(&self, object: &Expr, name: &str, arguments: &[Expr]) -> Answer {
        if let ("startsWith" | "endsWith" | "contains", [part]) = (name, arguments) {
            let (Plain::Text(text), Plain::Text(part)) = (self.value(object)?, self.value(part)?)
            else {
                return Err(Why::Error);
            };
            return Ok(Plain::Bool(match name {
                "startsWith" => text.starts_with(&part),
                "endsWith" => text.ends_with(&part),
                _ => text.contains(&part),
            }));
        }
        let ExprKind::Name(metric) = &object.kind else { return Err(Why::Error) };
        if name == "age" {
            let newest = self.readings(metric).last().map(|(at, _)| *at).ok_or(Why::Missing)?;
            return Ok(Plain::Float((self.now - newest) as f64 / 1e6));
        }
        let newest = self.newest(metric)?;
        if let "prev" | "changed" = name {
            let readings = self.readings(metric);
            let before = readings.len().checked_sub(2).ok_or(Why::NotEnough)?;
            let before = plain(readings[before].1)?;
            return match name {
                "prev" => Ok(before),
                _ => Ok(Plain::Bool(compared("!=", &newest, &before)?)),
            };
        }
        if let Plain::Text(_) = newest {
            return Err(Why::Error);
        }
        let spans: Vec<i64> = arguments.iter().map(micros).collect();
        let numbers = self.numbers(metric);
        let found = match name {
            "ewma" => ewma(&numbers, spans[0]).map(Plain::Float),
            "zscore" => zscore(&numbers, spans[0]).map(Plain::Float),
            "deviation" => self.deviation(&numbers, spans[0], spans[1]).map(Plain::Float),
            _ => self.window(name, &numbers, spans[0]),
        };
        found.ok_or(Why::NotEnough)
    }

    fn window(&self, name: &str, numbers: &[(i64, f64)], span: i64) -> Option<Plain> {
        let from = self.now - span;
        let inside = between(numbers, from, self.now);
        let values = || inside.iter().map(|(_, value)| *value);
        let sum: f64 = values().sum();
        let count = inside.len() as f64;
        match name {
            "count" => return Some(Plain::Int(inside.len() as i64)),
            "sum" => return Some(Plain::Float(sum)),
            _ => {}
        }
        let (first, last) = (inside.first()?, inside.last()?);
        let mean = sum / count;
        Some(Plain::Float(match name {
            "avg" => mean,
            "min" => values().reduce(f64::min)?,
            "max" => values().reduce(f64::max)?,
            "delta" => last.1 - first.1,
            "stddev" => (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt(),
            "rate" => {
                let seconds = || inside.iter().map(|(at, _)| (at - first.0) as f64 / 1e6);
                let middle = seconds().sum::<f64>() / count;
                let spread: f64 = seconds().map(|s| (s - middle) * (s - middle)).sum();
                let both: f64 =
                    seconds().zip(values()).map(|(s, v)| (s - middle) * (v - mean)).sum();
                (spread > 0.0).then(|| both / spread)?
            }
            "stuck" => {
                let before = numbers.iter().rev().find(|(at, _)| *at <= from)?;
                return Some(Plain::Bool(values().all(|value| value == before.1)));
            }
            _ => return None,
        }))
    }

    fn deviation(&self, numbers: &[(i64, f64)], short: i64, long: i64) -> Option<f64> {
        let recent = between(numbers, self.now - short, self.now);
        let usual = between(numbers, self.now - short - long, self.now - short);
        let covered = usual.last()?.0 - usual.first()?.0;
        if recent.is_empty() || covered * 2 < long {
            return None;
        }
        let mean = |all: &[(i64, f64)]| all.iter().map(|(_, v)| v).sum::<f64>() / all.len() as f64;
        let usually = mean(&usual);
        let squares: f64 = usual.iter().map(|(_, v)| (v - usually) * (v - usually)).sum();
        let distance = mean(&recent) - usually;
        let deviation = (squares / usual.len() as f64).sqrt();
        Some(if distance == 0.0 { 0.0 } else { distance / deviation })
    }
}

/// A duration that is written in the condition.
fn micros(expr: &Expr) -> i64 {
    match &expr.kind {
        ExprKind::Span(span) => span.micros(),
        _ => unreachable!("the generator writes durations without quotes"),
    }
}

fn between(numbers: &[(i64, f64)], from: i64, to: i64) -> Vec<(i64, f64)> {
    numbers.iter().filter(|(at, _)| from < *at && *at <= to).copied().collect()
}

/// Mean and variance after all samples, and how many there were.
fn weighted(numbers: &[(i64, f64)], over: i64) -> Option<(f64, f64, usize)> {
    let (mut mean, mut variance) = (numbers.first()?.1, 0.0);
    for pair in numbers.windows(2) {
        let a = 1.0 - (-((pair[1].0 - pair[0].0) as f64) / over as f64).exp();
        let distance = pair[1].1 - mean;
        mean += a * distance;
        variance = (1.0 - a) * (variance + a * distance * distance);
    }
    Some((mean, variance, numbers.len()))
}

fn ewma(numbers: &[(i64, f64)], over: i64) -> Option<f64> {
    weighted(numbers, over).map(|(mean, _, _)| mean)
}

fn zscore(numbers: &[(i64, f64)], over: i64) -> Option<f64> {
    let (newest, before) = numbers.split_last()?;
    let (mean, variance, count) = weighted(before, over)?;
    let distance = newest.1 - mean;
    (count >= 30).then(|| if distance == 0.0 { 0.0 } else { distance / variance.sqrt() })
}

fn plain(reading: &Reading) -> Answer {
    match reading {
        Reading::Bad => Err(Why::Bad),
        Reading::Good(Value::Bool(flag)) => Ok(Plain::Bool(*flag)),
        Reading::Good(Value::Int(number)) => Ok(Plain::Int(*number)),
        Reading::Good(Value::Float(number)) => Ok(Plain::Float(*number)),
        Reading::Good(Value::Text(text)) => Ok(Plain::Text(text.to_string())),
    }
}

fn truth(value: Plain) -> Result<bool, Why> {
    match value {
        Plain::Bool(flag) => Ok(flag),
        _ => Err(Why::Error),
    }
}

fn decided(left: Result<bool, Why>, right: Result<bool, Why>, by: bool) -> Result<bool, Why> {
    if left == Ok(by) || right == Ok(by) {
        return Ok(by);
    }
    left.and(right)
}

fn compared(sign: &str, left: &Plain, right: &Plain) -> Result<bool, Why> {
    use Plain::{Bool, Float, Int, Span, Text, Time};
    let order = match (left, right) {
        (Int(a), Int(b)) | (Time(a), Time(b)) | (Span(a), Span(b)) => a.partial_cmp(b),
        (Int(a), Float(b)) => exactly(*a, *b),
        (Float(a), Int(b)) => exactly(*b, *a).map(Ordering::reverse),
        (Float(a), Float(b)) => a.partial_cmp(b),
        (Bool(a), Bool(b)) => a.partial_cmp(b),
        (Text(a), Text(b)) => a.partial_cmp(b),
        _ => return Err(Why::Error),
    };
    Ok(match sign {
        "<" => order.is_some_and(|order| order.is_lt()),
        "<=" => order.is_some_and(|order| order.is_le()),
        ">" => order.is_some_and(|order| order.is_gt()),
        ">=" => order.is_some_and(|order| order.is_ge()),
        "==" => order.is_some_and(|order| order.is_eq()),
        _ => !order.is_some_and(|order| order.is_eq()),
    })
}

/// A whole number against a fraction, of which the part before the point is a whole number too.
fn exactly(whole: i64, fraction: f64) -> Option<Ordering> {
    let before = i128::from(whole).cmp(&(fraction as i128));
    (!fraction.is_nan()).then(|| before.then(0.0_f64.total_cmp(&(fraction.fract() + 0.0))))
}

fn calculated(sign: &str, left: Plain, right: Plain) -> Answer {
    use Plain::{Float, Int, Span, Text, Time};
    let float = |a: f64, b: f64| match sign {
        "+" => Ok(Float(a + b)),
        "-" => Ok(Float(a - b)),
        "*" => Ok(Float(a * b)),
        "/" if b != 0.0 => Ok(Float(a / b)),
        _ => Err(Why::Error),
    };
    match (left, right) {
        (Int(a), Int(b)) => {
            let whole = match sign {
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                "/" => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            whole.map(Int).ok_or(Why::Error)
        }
        (Int(a), Float(b)) => float(a as f64, b),
        (Float(a), Int(b)) => float(a, b as f64),
        (Float(a), Float(b)) => float(a, b),
        (Text(a), Text(b)) if sign == "+" => Ok(Text(a + &b)),
        (Time(a), Span(b)) if sign == "+" => Ok(Time(a + b)),
        (Time(a), Span(b)) if sign == "-" => Ok(Time(a - b)),
        (Time(a), Time(b)) if sign == "-" => Ok(Span(a - b)),
        (Span(a), Span(b)) if sign == "+" => Ok(Span(a + b)),
        (Span(a), Span(b)) if sign == "-" => Ok(Span(a - b)),
        _ => Err(Why::Error),
    }
}
