//! What a condition demands of each value, as far as comparisons with constants say so.
//!
//! A condition becomes a list of alternatives, each a range for some values and perhaps something
//! that is not looked into. One without alternatives can never hold.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the forms that are looked into are listed; everything else is opaque"
)]

use std::collections::BTreeMap;
use std::fmt;

use super::linear::{Params, param, sum};
use super::parse::{Expr, ExprKind};
use crate::engine::types::document::Scalar;

/// Alternatives that are followed at most; a condition with more is not looked into.
const ALTERNATIVES_MAX: usize = 64;

/// The values from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
    low_open: bool,
    high_open: bool,
    /// Its ends are written as whole numbers.
    whole: bool,
}

impl Range {
    const ALL: Range = Range {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
        low_open: true,
        high_open: true,
        whole: true,
    };

    fn and(self, other: Range) -> Range {
        let low =
            if (self.low, self.low_open) > (other.low, other.low_open) { self } else { other };
        let (a, b) = ((self.high, !self.high_open), (other.high, !other.high_open));
        let high = if a < b { self } else { other };
        Range {
            low: low.low,
            low_open: low.low_open,
            high: high.high,
            high_open: high.high_open,
            whole: self.whole && other.whole,
        }
    }

    fn is_empty(self) -> bool {
        self.low > self.high || self.low == self.high && (self.low_open || self.high_open)
    }

    /// More than a point, and more than the gap between two whole numbers.
    fn is_wide(self) -> bool {
        let gap = self.low_open && self.high_open && self.high - self.low <= 1.0;
        self.low < self.high && !(self.whole && gap)
    }
}

/// In words: `above 80`, `between 10 and 80`.
impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => write!(out, "between {} and {}", self.low, self.high),
            (true, false) => write!(out, "above {}", self.low),
            (false, true) => write!(out, "below {}", self.high),
            (false, false) => out.write_str("anything"),
        }
    }
}

/// One way for a condition to hold.
#[derive(Clone, Debug, Default)]
struct Way {
    ranges: BTreeMap<String, Range>,
    texts: BTreeMap<String, String>,
    /// There is more to it.
    opaque: bool,
}

/// All ways for a condition to hold, and why the others cannot.
#[derive(Debug)]
struct Ways {
    open: Vec<Way>,
    conflict: Option<String>,
}

impl Ways {
    fn of(way: Way) -> Ways {
        Ways { open: vec![way], conflict: None }
    }

    fn opaque() -> Ways {
        Ways::of(Way { opaque: true, ..Way::default() })
    }

    fn constant(holds: bool) -> Ways {
        Ways { open: if holds { vec![Way::default()] } else { Vec::new() }, conflict: None }
    }

    fn or(mut self, other: Ways) -> Option<Ways> {
        self.open.extend(other.open);
        self.conflict = self.conflict.or(other.conflict);
        (self.open.len() <= ALTERNATIVES_MAX).then_some(self)
    }

    fn and(self, other: &Ways) -> Option<Ways> {
        let mut both = Ways { open: Vec::new(), conflict: self.conflict };
        both.conflict = both.conflict.or_else(|| other.conflict.clone());
        for a in &self.open {
            for b in &other.open {
                match a.and(b) {
                    Ok(way) => both.open.push(way),
                    Err(conflict) => both.conflict = Some(conflict),
                }
            }
        }
        (both.open.len() <= ALTERNATIVES_MAX).then_some(both)
    }
}

impl Way {
    fn and(&self, other: &Way) -> Result<Way, String> {
        let mut both = self.clone();
        both.opaque |= other.opaque;
        for (name, range) in &other.ranges {
            let known = both.ranges.get(name).copied().unwrap_or(Range::ALL);
            let joined = known.and(*range);
            if joined.is_empty() {
                return Err(format!("`{name}` cannot be {known} and {range} at once"));
            }
            both.ranges.insert(name.clone(), joined);
        }
        for (name, text) in &other.texts {
            let known = both.texts.insert(name.clone(), text.clone());
            if let Some(known) = known.filter(|known| known != text) {
                return Err(format!("`{name}` cannot be \"{known}\" and \"{text}\" at once"));
            }
        }
        Ok(both)
    }
}

/// Why the condition can never hold; `None` where it may.
pub(super) fn never(expr: &Expr, params: &Params) -> Option<String> {
    let ways = ways(expr, params, true)?;
    let constant = || "it is false whatever the device says".to_owned();
    ways.open.is_empty().then(|| ways.conflict.unwrap_or_else(constant))
}

/// True when nothing that varies can keep it from holding.
pub(super) fn always(expr: &Expr, params: &Params) -> bool {
    let free = |way: &Way| way.ranges.is_empty() && way.texts.is_empty() && !way.opaque;
    ways(expr, params, true).is_some_and(|ways| ways.open.iter().any(free))
}

/// Where both hold at once: what is compared, and its range. Only where the second one says
/// nothing but that range.
pub(super) fn overlap(when: &Expr, clear: &Expr, params: &Params) -> Option<(String, Range)> {
    let (when, clear) = (ways(when, params, true)?, ways(clear, params, true)?);
    let alone = |way: &Way| {
        let one = way.ranges.len() == 1 && way.texts.is_empty() && !way.opaque;
        way.ranges.first_key_value().filter(|_| one).map(|(name, range)| (name.clone(), *range))
    };
    clear.open.iter().filter_map(alone).find_map(|(name, range)| {
        let shared = when.open.iter().filter_map(|way| way.ranges.get(&name));
        let both = shared.map(|held| held.and(range)).find(|both| both.is_wide())?;
        Some((name, both))
    })
}

/// `None` where there are too many.
fn ways(expr: &Expr, params: &Params, wanted: bool) -> Option<Ways> {
    match &expr.kind {
        ExprKind::Bool(flag) => Some(Ways::constant(*flag == wanted)),
        ExprKind::Unary("!", inner) => ways(inner, params, !wanted),
        ExprKind::Binary(operator @ ("&&" | "||"), left, right) => {
            let (left, right) = (ways(left, params, wanted)?, ways(right, params, wanted)?);
            if (*operator == "&&") == wanted { left.and(&right) } else { left.or(right) }
        }
        ExprKind::Binary(operator, left, right) => compared(operator, left, right, params, wanted),
        _ => match param(expr).and_then(|name| params.get(name)) {
            Some(Scalar::Bool(flag)) => Some(Ways::constant(*flag == wanted)),
            _ => Some(Ways::opaque()),
        },
    }
}

fn compared(
    operator: &str,
    left: &Expr,
    right: &Expr,
    params: &Params,
    wanted: bool,
) -> Option<Ways> {
    let operator = match (operator, wanted) {
        (operator @ ("<" | "<=" | ">" | ">=" | "==" | "!="), true) => operator,
        ("<", false) => ">=",
        ("<=", false) => ">",
        (">", false) => "<=",
        (">=", false) => "<",
        ("==", false) => "!=",
        ("!=", false) => "==",
        _ => return Some(Ways::opaque()),
    };
    let (Some(left_sum), Some(right_sum)) = (sum(left, params), sum(right, params)) else {
        return Some(texts(operator, left, right, params));
    };
    let whole = left_sum.whole && right_sum.whole;
    let difference = left_sum.less(right_sum);
    let Some((name, factor)) = difference.normalised() else {
        let constant = difference.constant;
        return Some(Ways::constant(match operator {
            "<" => constant < 0.0,
            "<=" => constant <= 0.0,
            ">" => constant > 0.0,
            ">=" => constant >= 0.0,
            "==" => constant == 0.0,
            _ => constant != 0.0,
        }));
    };
    let bound = -difference.constant / factor;
    let below = |open| Range { high: bound, high_open: open, whole, ..Range::ALL };
    let above = |open| Range { low: bound, low_open: open, whole, ..Range::ALL };
    let is_below = operator.starts_with('<') == (factor > 0.0);
    let ranges = match operator {
        "==" => vec![below(false).and(above(false))],
        "!=" => vec![below(true), above(true)],
        _ if is_below => vec![below(operator.len() == 1)],
        _ => vec![above(operator.len() == 1)],
    };
    let way = |range| Way { ranges: BTreeMap::from([(name.clone(), range)]), ..Way::default() };
    Some(Ways { open: ranges.into_iter().map(way).collect(), conflict: None })
}

/// Two texts that are compared, of which one may vary.
fn texts(operator: &str, left: &Expr, right: &Expr, params: &Params) -> Ways {
    let text = |expr: &Expr| match &expr.kind {
        ExprKind::Text(text) => Some(text.clone()),
        _ => match params.get(param(expr)?)? {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => None,
        },
    };
    let name = |expr: &Expr| sum(expr, params)?.normalised().map(|(name, _)| name);
    let pair = match (text(left), text(right)) {
        (Some(left), Some(right)) if operator == "==" => return Ways::constant(left == right),
        (None, Some(text)) => name(left).zip(Some(text)),
        (Some(text), None) => name(right).zip(Some(text)),
        _ => None,
    };
    match pair.filter(|_| operator == "==") {
        Some((name, text)) => {
            Ways::of(Way { texts: BTreeMap::from([(name, text)]), ..Way::default() })
        }
        None => Ways::opaque(),
    }
}
