//! What a condition demands of each value, as far as comparisons with constants say so.
//!
//! A condition becomes a list of alternatives, each a range for some values and perhaps something
//! that is not looked into. One without alternatives can never hold.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the forms that are looked into are listed; everything else is opaque"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::linear::{attribute, metric, param, sum, varying};
use super::parse::{Expr, ExprKind};
use super::way::{ALTERNATIVES_MAX, Range, Setting, Way, Ways};
use crate::engine::types::document::Scalar;
use crate::engine::types::time::TimeSpan;

/// Why the condition can never hold; `None` where it may.
pub(super) fn never(expr: &Expr, setting: &Setting<'_>) -> Option<String> {
    let Ways { open, mut conflict } = ways(expr, setting, true)?;
    for way in open {
        let barred = way.is_barred(setting)?;
        conflict = conflict.or(Some(barred));
    }
    Some(conflict.unwrap_or_else(|| "it is false whatever the device says".to_owned()))
}

/// True when nothing that varies can keep it from holding.
pub(super) fn always(expr: &Expr, setting: &Setting<'_>) -> bool {
    ways(expr, setting, true).is_some_and(|ways| ways.open.iter().any(Way::is_free))
}

/// Where both hold at once: what is compared, and its range. Only where the second one says
/// nothing but that range.
pub(super) fn overlap(when: &Expr, clear: &Expr, setting: &Setting<'_>) -> Option<(String, Range)> {
    let (when, clear) = (ways(when, setting, true)?, ways(clear, setting, true)?);
    clear.open.iter().filter_map(Way::only_range).find_map(|(name, range)| {
        let shared = when.open.iter().filter_map(|way| way.ranges.get(name));
        let shared = shared.map(|held| held.and(range)).filter(|both| both.low < both.high);
        let shared: Vec<Range> = shared.collect();
        // A gap between two whole numbers is none, unless there is one at either end: nobody
        // writes the opposite of a band out.
        let apart = |a: &&Range| shared.iter().any(|b| a.high <= b.low || b.high <= a.low);
        let both = shared.iter().find(|both| both.is_wide());
        Some((name.clone(), *both.or_else(|| shared.iter().find(apart))?))
    })
}

/// `None` where there are too many.
fn ways(expr: &Expr, setting: &Setting<'_>, wanted: bool) -> Option<Ways> {
    match &expr.kind {
        ExprKind::Unary("!", inner) => ways(inner, setting, !wanted),
        ExprKind::Binary(operator @ ("&&" | "||"), left, right) => {
            let (left, right) = (ways(left, setting, wanted)?, ways(right, setting, wanted)?);
            if (*operator == "&&") == wanted { left.and(&right) } else { left.or(right) }
        }
        _ => {
            let mut ways = leaf(expr, setting, wanted);
            let (mut known, mut counted) = (BTreeSet::new(), BTreeSet::new());
            note(expr, &mut known, &mut counted);
            for way in &mut ways.open {
                way.known.extend(known.iter().cloned());
                way.counted.extend(counted.iter().cloned());
            }
            Some(ways)
        }
    }
}

/// What is neither `&&`, `||` nor `!`.
fn leaf(expr: &Expr, setting: &Setting<'_>, wanted: bool) -> Ways {
    match &expr.kind {
        ExprKind::Bool(flag) => Ways::constant(*flag == wanted),
        ExprKind::Binary("in", left, right) => member(left, right, setting, wanted),
        ExprKind::Binary(operator, left, right) => compared(operator, left, right, setting, wanted),
        ExprKind::Call(None, name, arguments) => match (name.as_str(), arguments.as_slice()) {
            ("absent", [span]) if wanted => {
                Ways::of(Way { silent: length(span), opaque: true, ..Way::default() })
            }
            ("raised", [rule]) if is_off(rule, setting) => Ways::constant(!wanted),
            _ => Ways::opaque(),
        },
        _ => match param(expr).and_then(|name| setting.params.get(name)) {
            Some(Scalar::Bool(flag)) => Ways::constant(*flag == wanted),
            _ => Ways::opaque(),
        },
    }
}

fn is_off(rule: &Expr, setting: &Setting<'_>) -> bool {
    matches!(&rule.kind, ExprKind::Text(id) if setting.off.contains(id))
}

/// A duration as it is written; the compiler tells what is none.
fn length(span: &Expr) -> TimeSpan {
    match &span.kind {
        ExprKind::Span(span) => *span,
        ExprKind::Text(text) => TimeSpan::parse(text).unwrap_or(TimeSpan::ZERO),
        _ => TimeSpan::ZERO,
    }
}

/// Notes what must be known for an expression to be, and what in it cannot be below 0.
fn note(expr: &Expr, known: &mut BTreeSet<String>, counted: &mut BTreeSet<String>) {
    if let ExprKind::Call(Some(_), name, _) = &expr.kind
        && ["count", "stddev", "age"].contains(&name.as_str())
    {
        counted.extend(varying(expr));
    }
    if let Some(metric) = metric(expr) {
        known.insert(metric);
        return;
    }
    match &expr.kind {
        // The age of a stale metric is known.
        ExprKind::Call(Some(_), name, _) if name == "age" => {}
        ExprKind::Binary("in", left, _) => note(left, known, counted),
        // Something else may decide.
        ExprKind::Choice(..) | ExprKind::Binary("&&" | "||", ..) => {}
        ExprKind::Member(inner, _) | ExprKind::Unary(_, inner) => note(inner, known, counted),
        ExprKind::Index(left, right) | ExprKind::Binary(_, left, right) => {
            note(left, known, counted);
            note(right, known, counted);
        }
        ExprKind::Call(object, _, arguments) => {
            object.iter().for_each(|object| note(object, known, counted));
            arguments.iter().for_each(|argument| note(argument, known, counted));
        }
        _ => {}
    }
}

fn compared(
    operator: &str,
    left: &Expr,
    right: &Expr,
    setting: &Setting<'_>,
    wanted: bool,
) -> Ways {
    let operator = match (operator, wanted) {
        (operator @ ("<" | "<=" | ">" | ">=" | "==" | "!="), true) => operator,
        ("<", false) => ">=",
        ("<=", false) => ">",
        (">", false) => "<=",
        (">=", false) => "<",
        ("==", false) => "!=",
        ("!=", false) => "==",
        _ => return Ways::opaque(),
    };
    let (Some(left_sum), Some(right_sum)) = (sum(left, setting.params), sum(right, setting.params))
    else {
        return texts(operator, left, right, setting);
    };
    let whole = left_sum.whole && right_sum.whole;
    let difference = left_sum.less(right_sum);
    let Some((name, factor)) = difference.normalised() else {
        let constant = difference.constant;
        return Ways::constant(match operator {
            "<" => constant < 0.0,
            "<=" => constant <= 0.0,
            ">" => constant > 0.0,
            ">=" => constant >= 0.0,
            "==" => constant == 0.0,
            _ => constant != 0.0,
        });
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
    Ways { open: ranges.into_iter().map(way).collect(), conflict: None }
}

/// Two texts that are compared, of which one may vary.
fn texts(operator: &str, left: &Expr, right: &Expr, setting: &Setting<'_>) -> Ways {
    let pair = match (text(left, setting), text(right, setting)) {
        (Some(left), Some(right)) if operator == "==" => return Ways::constant(left == right),
        (None, Some(text)) => name(left, setting).zip(Some(text)),
        (Some(text), None) => name(right, setting).zip(Some(text)),
        _ => None,
    };
    match (pair, operator) {
        (Some((name, text)), "==") => Ways::of(is_text(&name, text)),
        (Some((name, text)), "!=") => Ways::of(is_none_of(name, [text])),
        _ => Ways::opaque(),
    }
}

/// `x in ["a", "b"]`.
fn member(left: &Expr, right: &Expr, setting: &Setting<'_>, wanted: bool) -> Ways {
    let ExprKind::List(members) = &right.kind else { return Ways::opaque() };
    let members: Option<Vec<String>> = members.iter().map(|member| text(member, setting)).collect();
    match (name(left, setting), members) {
        (Some(name), Some(texts)) if wanted && texts.len() <= ALTERNATIVES_MAX => {
            let open = texts.into_iter().map(|text| is_text(&name, text)).collect();
            Ways { open, conflict: None }
        }
        (Some(name), Some(texts)) if !wanted => Ways::of(is_none_of(name, texts)),
        _ => Ways::opaque(),
    }
}

fn is_text(name: &str, text: String) -> Way {
    Way { texts: BTreeMap::from([(name.to_owned(), text)]), ..Way::default() }
}

fn is_none_of(name: String, texts: impl IntoIterator<Item = String>) -> Way {
    let texts = texts.into_iter().collect();
    Way { other_than: BTreeMap::from([(name, texts)]), ..Way::default() }
}

/// A text that is written here or in a parameter.
fn text(expr: &Expr, setting: &Setting<'_>) -> Option<String> {
    match &expr.kind {
        ExprKind::Text(text) => Some(text.clone()),
        _ => match setting.params.get(param(expr)?)? {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => None,
        },
    }
}

/// A text that varies, as it is written.
fn name(expr: &Expr, setting: &Setting<'_>) -> Option<String> {
    attribute(expr).or_else(|| sum(expr, setting.params)?.normalised().map(|(name, _)| name))
}
