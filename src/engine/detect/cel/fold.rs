//! What can be computed once, at compile time: parts without a metric, the device or time.
//!
//! A part that fails, such as `1 / 0`, stays as it is: it is unknown at every look, and counted.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what can be computed is listed; everything else stays as it is"
)]

use super::ir::{Comparison, Constant, Node, Number};
use super::operand::{
    Operand, Result, arithmetic, compare, convert, negate, operand, size, text_test, within,
};
use crate::engine::types::names::MetricId;

/// The same node, or a constant or a quicker one that says the same.
pub(super) fn fold(node: Node) -> Node {
    if let Some(Ok(constant)) = computed(&node) {
        return Node::Constant(constant);
    }
    match node {
        Node::Choice(condition, yes, no) => match *condition {
            Node::Constant(Constant::Bool(true)) => *yes,
            Node::Constant(Constant::Bool(false)) => *no,
            condition => Node::Choice(Box::new(condition), yes, no),
        },
        Node::Compare(comparison, left, right) => match (*left, *right) {
            (Node::Metric(metric), Node::Constant(constant)) => test(metric, comparison, constant),
            (Node::Constant(constant), Node::Metric(metric)) => {
                test(metric, comparison.mirrored(), constant)
            }
            (left, right) => Node::Compare(comparison, Box::new(left), Box::new(right)),
        },
        node => node,
    }
}

/// `&&` or `||` of two parts. Chains become one list; what decides alone stands for all.
pub(super) fn join(all: bool, left: Node, right: Node) -> Node {
    let absorbing =
        |part: &Node| matches!(part, Node::Constant(Constant::Bool(flag)) if *flag != all);
    let mut members = Vec::new();
    for part in [left, right] {
        match part {
            Node::All(parts) if all => members.extend(parts),
            Node::Any(parts) if !all => members.extend(parts),
            part => members.push(part),
        }
    }
    if members.iter().any(absorbing) {
        return Node::Constant(Constant::Bool(!all));
    }
    if all { Node::All(members) } else { Node::Any(members) }
}

fn test(metric: MetricId, comparison: Comparison, constant: Constant) -> Node {
    match constant {
        Constant::Int(number) => Node::Test(metric, comparison, Number::Int(number)),
        Constant::Float(number) => Node::Test(metric, comparison, Number::Float(number)),
        Constant::Text(text) => Node::TestText(metric, comparison, text),
        Constant::Bool(_) | Constant::Span(_) => {
            let (left, right) = (Node::Metric(metric), Node::Constant(constant));
            Node::Compare(comparison, Box::new(left), Box::new(right))
        }
    }
}

/// The value of a node whose operands are constants; `None` for any other node.
fn computed(node: &Node) -> Option<Result<Constant>> {
    let computed = match node {
        Node::Not(inner) => match &**inner {
            Node::Constant(Constant::Bool(flag)) => Ok(Operand::Bool(!flag)),
            _ => return None,
        },
        Node::Negate(inner) => negate(constant(inner)?),
        Node::Arithmetic(operation, left, right) => {
            arithmetic(*operation, constant(left)?, constant(right)?)
        }
        Node::Compare(comparison, left, right) => {
            compare(*comparison, &constant(left)?, &constant(right)?).map(Operand::Bool)
        }
        Node::In(value, members) => {
            let members: Option<Vec<Operand<'_>>> = members.iter().map(constant).collect();
            within(&constant(value)?, members?.into_iter().map(Ok)).map(Operand::Bool)
        }
        Node::TextTest(test, text, part) => {
            text_test(*test, &constant(text)?, &constant(part)?).map(Operand::Bool)
        }
        Node::Size(text) => size(&constant(text)?).map(Operand::Int),
        Node::Convert(conversion, value) => convert(*conversion, constant(value)?),
        _ => return None,
    };
    match computed {
        Ok(Operand::Bool(flag)) => Some(Ok(Constant::Bool(flag))),
        Ok(Operand::Int(number)) => Some(Ok(Constant::Int(number))),
        Ok(Operand::Float(number)) => Some(Ok(Constant::Float(number))),
        Ok(Operand::Text(text)) => Some(Ok(Constant::Text(text.into()))),
        Ok(Operand::Made(text)) => Some(Ok(Constant::Text(text))),
        Ok(Operand::Span(span)) => Some(Ok(Constant::Span(span))),
        Ok(Operand::Time(_)) => None,
        Err(unknown) => Some(Err(unknown)),
    }
}

fn constant(node: &Node) -> Option<Operand<'_>> {
    match node {
        Node::Constant(constant) => Some(operand(constant)),
        _ => None,
    }
}
