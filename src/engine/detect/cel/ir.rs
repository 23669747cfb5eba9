//! What a condition is compiled into.

use std::sync::Arc;

use crate::engine::types::names::{MetricId, RuleId};
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

/// One operation.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Constant),
    Metric(MetricId),
    Attribute(Attribute),
    Now,
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
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
