//! What must be so for a condition to hold: a comparison of one metric with a constant.
//!
//! Most conditions of a large set compare the same few metrics with constants. Sorted by these, the
//! conditions that a value cannot make true are passed over without being looked at.

use super::ir::{Comparison, Constant, Node};
use crate::engine::types::names::MetricId;

/// The condition holds only while the metric's newest reading is a number on this side of `bound`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// The metric.
    pub metric: MetricId,
    /// Which side.
    pub side: Side,
    /// The constant that it is compared with.
    pub bound: f64,
}

/// Where the metric must lie. The bound itself belongs to both sides: whole numbers that differ
/// may be the same as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At the bound or over it.
    Above,
    /// At the bound or under it.
    Below,
    /// At the bound.
    At,
}

/// The gate of a condition, if it has one.
pub(super) fn gate(node: &Node) -> Option<Gate> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "everything else has no gate")]
    match node {
        Node::And(left, right) => match (gate(left), gate(right)) {
            // The one that lets least through.
            (Some(gate), _) | (_, Some(gate)) if gate.side == Side::At => Some(gate),
            (left, right) => left.or(right),
        },
        Node::Compare(comparison, left, right) => match (left.as_ref(), right.as_ref()) {
            (Node::Metric(metric), Node::Constant(constant)) => {
                of_comparison(*metric, *comparison, constant)
            }
            (Node::Constant(constant), Node::Metric(metric)) => {
                of_comparison(*metric, mirrored(*comparison), constant)
            }
            _ => None,
        },
        _ => None,
    }
}

fn of_comparison(metric: MetricId, comparison: Comparison, constant: &Constant) -> Option<Gate> {
    let bound = match constant {
        Constant::Int(number) => *number as f64,
        Constant::Float(number) => *number,
        Constant::Bool(_) | Constant::Text(_) | Constant::Span(_) => return None,
    };
    let side = match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => Side::Above,
        Comparison::Less | Comparison::LessOrEqual => Side::Below,
        Comparison::Equal => Side::At,
        Comparison::NotEqual => return None,
    };
    Some(Gate { metric, side, bound })
}

/// The comparison seen from the other operand.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal | Comparison::NotEqual => comparison,
    }
}
