//! What must be so for a condition to hold: a comparison of one metric with a constant.
//!
//! Most conditions of a large set compare the same few metrics with constants. Sorted by these, the
//! conditions that a value cannot make true are passed over without being looked at.

use super::ir::{Comparison, Node};
use crate::engine::types::message::{Reading, Value};
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

impl Gate {
    /// True when this reading, the newest of the gate's metric and no older than `stale_after`,
    /// makes the condition false: not unknown, whatever the rest of it says. A reading that is no
    /// number shuts no gate.
    pub fn is_shut_by(&self, reading: &Reading) -> bool {
        let number = match reading {
            Reading::Good(Value::Int(number)) => *number as f64,
            Reading::Good(Value::Float(number)) => *number,
            Reading::Good(Value::Bool(_) | Value::Text(_)) | Reading::Bad => return false,
        };
        match self.side {
            Side::Above => number < self.bound,
            Side::Below => number > self.bound,
            Side::At => number != self.bound,
        }
    }
}

/// The gate of a condition, if it has one: of several that are joined by `&&`, one that lets least
/// through. A term that is known to be false makes all of `&&` false, unknown terms or not.
pub(super) fn gate(node: &Node) -> Option<Gate> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "everything else has no gate")]
    match node {
        Node::All(members) => {
            let mut gates = members.iter().filter_map(gate);
            let first = gates.next()?;
            let narrow = |gate: &Gate| gate.side == Side::At;
            Some(if narrow(&first) { first } else { gates.find(narrow).unwrap_or(first) })
        }
        Node::Test(metric, comparison, number) => {
            let side = match comparison {
                Comparison::Greater | Comparison::GreaterOrEqual => Side::Above,
                Comparison::Less | Comparison::LessOrEqual => Side::Below,
                Comparison::Equal => Side::At,
                Comparison::NotEqual => return None,
            };
            Some(Gate { metric: *metric, side, bound: number.nearest() })
        }
        _ => None,
    }
}
