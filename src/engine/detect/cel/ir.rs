//! What a condition is compiled into.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::engine::types::names::{MetricId, RuleId};
use crate::engine::types::rule::Among;
use crate::engine::types::time::TimeSpan;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Span(TimeSpan),
}

/// A number that a metric is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// The nearest fraction.
    pub fn nearest(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }
}

/// One operation.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Constant),
    Metric(MetricId),
    Attribute(Attribute),
    Now,
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&` of all of them.
    All(Vec<Node>),
    /// `||` of all of them.
    Any(Vec<Node>),
    /// A metric is compared with a number: what most conditions do.
    Test(MetricId, Comparison, Number),
    /// A metric is compared with a text.
    TestText(MetricId, Comparison, Arc<str>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    TextTest(TextTest, Box<Node>, Box<Node>),
    Size(Box<Node>),
    Convert(Conversion, Box<Node>),
    Window(WindowFunction, MetricId, TimeSpan),
    Previous(MetricId),
    Changed(MetricId),
    Age(MetricId),
    /// A function that learns; the number is its place in the condition's `learning`.
    Learned(MetricId, usize),
    Absent(TimeSpan),
    Offline,
    Raised(RuleId),
    CountRaised(RuleId, Among),
}

/// What is known of the device.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Id,
    Class,
    Site,
    Region,
    Customer,
    Label(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

impl Comparison {
    /// The same comparison, seen from the other operand.
    pub fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            Comparison::Equal | Comparison::NotEqual => self,
        }
    }

    /// Whether it holds of two texts. Equality looks at their lengths first.
    pub fn holds_of_texts(self, left: &str, right: &str) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual => self.holds(Some(left.cmp(right))),
        }
    }

    /// Whether it holds of two values that stand in this order; `None` for a number that is none.
    pub fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    Double,
    Int,
    Text,
}

/// A function over the samples of the last while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowFunction {
    Average,
    Minimum,
    Maximum,
    Sum,
    Count,
    Deviation,
    Rate,
    Delta,
    Stuck,
}

/// A function that keeps a state of its own for each rule and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::detect) struct Learning {
    /// What it watches.
    pub metric: MetricId,
    /// How it learns.
    pub kind: LearningKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::detect) enum LearningKind {
    /// `deviation(short, long)`.
    Band { short: TimeSpan, long: TimeSpan },
    /// `zscore(d)`.
    Score { over: TimeSpan },
    /// `ewma(d)`.
    Mean { over: TimeSpan },
}
