//! Expressions as sums: what varies, each times a factor, and a constant.
//!
//! `params.high - 2.0` is a constant, `2 * t + 1 > 9` is `t > 4`, and `supply - setpoint > 3` says
//! something about one difference.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the forms that are sums are listed; everything else is none"
)]

use std::collections::BTreeMap;

use super::parse::{Expr, ExprKind};
use crate::engine::types::document::Scalar;

/// The rule's constants.
pub(super) type Params = BTreeMap<String, Scalar>;

/// A sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sum {
    /// What varies, as it is written, and its factor, never 0.
    pub terms: BTreeMap<String, f64>,
    pub constant: f64,
    /// Every number in it is written as a whole one.
    pub whole: bool,
}

impl Sum {
    fn constant(constant: f64, whole: bool) -> Sum {
        Sum { terms: BTreeMap::new(), constant, whole }
    }

    fn times(mut self, factor: &Sum) -> Option<Sum> {
        if !factor.terms.is_empty() {
            return None;
        }
        self.terms.values_mut().for_each(|own| *own *= factor.constant);
        self.terms.retain(|_, own| *own != 0.0);
        self.constant *= factor.constant;
        self.whole &= factor.whole;
        Some(self)
    }

    /// This sum less another.
    pub fn less(mut self, other: Sum) -> Sum {
        for (name, factor) in other.terms {
            *self.terms.entry(name).or_default() -= factor;
        }
        self.terms.retain(|_, factor| *factor != 0.0);
        self.constant -= other.constant;
        self.whole &= other.whole;
        self
    }

    /// The sum with the first factor 1, and that factor; `None` for a constant.
    pub fn normalised(&self) -> Option<(String, f64)> {
        let first = *self.terms.values().next()?;
        let mut text = String::new();
        for (name, factor) in &self.terms {
            let factor = factor / first;
            let sign = if factor < 0.0 { " - " } else { " + " };
            if !text.is_empty() {
                text.push_str(sign);
            }
            if factor.abs() != 1.0 {
                text.push_str(&format!("{} * ", factor.abs()));
            }
            text.push_str(name);
        }
        Some((text, first))
    }
}

/// The expression as a sum; `None` for what is none.
pub(super) fn sum(expr: &Expr, params: &Params) -> Option<Sum> {
    match &expr.kind {
        ExprKind::Int(number) => Some(Sum::constant(*number as f64, true)),
        ExprKind::Float(number) => Some(Sum::constant(*number, false)),
        ExprKind::Unary("-", inner) => Some(Sum::constant(0.0, true).less(sum(inner, params)?)),
        ExprKind::Binary("+", left, right) => {
            let right = Sum::constant(0.0, true).less(sum(right, params)?);
            Some(sum(left, params)?.less(right))
        }
        ExprKind::Binary("-", left, right) => Some(sum(left, params)?.less(sum(right, params)?)),
        ExprKind::Binary("*", left, right) => {
            let (left, right) = (sum(left, params)?, sum(right, params)?);
            if left.terms.is_empty() { right.times(&left) } else { left.times(&right) }
        }
        ExprKind::Binary("/", left, right) => {
            let by = sum(right, params).filter(|by| by.terms.is_empty() && by.constant != 0.0)?;
            // Whole numbers divide to whole numbers, which is no sum.
            let left = sum(left, params).filter(|left| !(left.whole && by.whole))?;
            left.times(&Sum::constant(1.0 / by.constant, false))
        }
        _ => match (param(expr), varying(expr)) {
            (Some(name), _) => match params.get(name)? {
                Scalar::Int(number) => Some(Sum::constant(*number as f64, true)),
                Scalar::Float(number) => Some(Sum::constant(*number, false)),
                Scalar::Bool(_) | Scalar::Text(_) => None,
            },
            (None, Some(name)) => {
                Some(Sum { terms: BTreeMap::from([(name, 1.0)]), constant: 0.0, whole: true })
            }
            (None, None) => None,
        },
    }
}

/// True for a constant that is written in numbers alone.
pub(super) fn names_no_param(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Int(_) | ExprKind::Float(_) => true,
        ExprKind::Unary(_, inner) => names_no_param(inner),
        ExprKind::Binary(_, left, right) => names_no_param(left) && names_no_param(right),
        _ => false,
    }
}

/// The name of `params.NAME`.
pub(super) fn param(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Member(root, name) if is_name(root, "params") => Some(name),
        _ => None,
    }
}

/// The name of a metric, however it is written.
pub(super) fn metric(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => {
            let reserved = ["now", "device", "params", "m"].contains(&name.as_str());
            (!reserved).then(|| name.clone())
        }
        ExprKind::Member(object, name) => Some(format!("{}.{name}", metric(object)?)),
        ExprKind::Index(root, index) if is_name(root, "m") => match &index.kind {
            ExprKind::Text(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// What is known of the device, by the name in conditions: `device.class`, `device.labels.floor`.
pub(super) fn attribute(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Member(root, name) if is_name(root, "device") => Some(format!("device.{name}")),
        ExprKind::Member(labels, name) => Some(format!("{}.{name}", labels_of(labels)?)),
        ExprKind::Index(labels, index) => match &index.kind {
            ExprKind::Text(name) => Some(format!("{}.{name}", labels_of(labels)?)),
            _ => None,
        },
        _ => None,
    }
}

fn labels_of(expr: &Expr) -> Option<String> {
    attribute(expr).filter(|name| name == "device.labels")
}

/// A metric, or a function of its past with written arguments.
pub(super) fn varying(expr: &Expr) -> Option<String> {
    let ExprKind::Call(Some(object), name, arguments) = &expr.kind else { return metric(expr) };
    let arguments = arguments.iter().map(|argument| match &argument.kind {
        ExprKind::Span(span) => Some(span.to_string()),
        ExprKind::Text(text) => Some(text.clone()),
        _ => None,
    });
    let arguments = arguments.collect::<Option<Vec<String>>>()?.join(", ");
    Some(format!("{}.{name}({arguments})", metric(object)?))
}

fn is_name(expr: &Expr, wanted: &str) -> bool {
    matches!(&expr.kind, ExprKind::Name(name) if name == wanted)
}
