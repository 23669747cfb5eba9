//! Operations -> true, false or unknown, for one device at one event time.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "operations are defined on the types that are listed; everything else is unknown"
)]

use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;

use super::Condition;
use super::ir::{
    Arithmetic, Attribute, Comparison, Constant, Conversion, Node, TextTest, WindowFunction,
};
use crate::engine::detect::learned::Learned;
use crate::engine::detect::memory::DeviceMemory;
use crate::engine::detect::window::Window;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{MetricId, RuleId};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// What a condition is evaluated on.
pub struct Scene<'a> {
    /// What the device said.
    pub memory: &'a DeviceMemory,
    /// What the condition has learned about this device.
    pub learned: &'a [Learned],
    /// Who the device is.
    pub device: &'a DeviceFacts,
    /// Event time.
    pub now: Timestamp,
    /// A metric that is older is stale; zero for never.
    pub stale_after: TimeSpan,
    /// Tells whether another rule's alarm is raised for this device.
    pub raised: &'a dyn Fn(RuleId) -> bool,
    /// Event time of the device's last message.
    pub last_message: Timestamp,
    /// The device's last will or death certificate says offline.
    pub offline: bool,
    /// The path to the device is down, or was until a moment ago.
    pub absence_held: bool,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// True, false or unknown.
    pub truth: Truth,
    /// Event time at which it may change without a new sample.
    pub recheck_at: Option<Timestamp>,
}

/// A three-valued truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown(Unknown),
}

/// Why a value cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The metric was never seen.
    Missing(MetricId),
    /// The metric is older than `stale_after`.
    Stale(MetricId),
    /// The metric's newest reading is of bad quality.
    Bad(MetricId),
    /// Too little history.
    NotEnough(MetricId),
    /// The path to the device is down.
    PathDown,
    /// The condition cannot be evaluated on these values.
    Error(&'static str),
}

/// A value in the middle of an evaluation.
#[derive(Clone, Debug, PartialEq)]
enum Operand<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Made(Arc<str>),
    Time(Timestamp),
    Span(TimeSpan),
}

type Result<T> = std::result::Result<T, Unknown>;

impl Condition {
    /// Evaluates the condition.
    pub fn evaluate(&self, scene: &Scene<'_>) -> Evaluation {
        let evaluator = Evaluator { scene, recheck: Cell::new(None) };
        let truth = match evaluator.bool(&self.root) {
            Ok(true) => Truth::True,
            Ok(false) => Truth::False,
            Err(unknown) => Truth::Unknown(unknown),
        };
        Evaluation { truth, recheck_at: evaluator.recheck.get() }
    }
}

struct Evaluator<'s, 'a> {
    scene: &'s Scene<'a>,
    recheck: Cell<Option<Timestamp>>,
}

impl<'s> Evaluator<'s, '_> {
    fn recheck(&self, at: Timestamp) {
        let sooner = self.recheck.get().is_none_or(|known| at < known);
        if at > self.scene.now && sooner {
            self.recheck.set(Some(at));
        }
    }

    fn bool(&self, node: &'s Node) -> Result<bool> {
        match self.value(node)? {
            Operand::Bool(flag) => Ok(flag),
            _ => Err(Unknown::Error("a value is neither true nor false")),
        }
    }

    fn value(&self, node: &'s Node) -> Result<Operand<'s>> {
        let value = match node {
            Node::Constant(constant) => operand(constant),
            Node::Metric(metric) => self.metric(*metric)?,
            Node::Attribute(attribute) => Operand::Text(self.attribute(attribute)),
            Node::Now => {
                self.recheck(self.scene.now + TimeSpan::from_secs(1));
                Operand::Time(self.scene.now)
            }
            Node::Not(inner) => Operand::Bool(!self.bool(inner)?),
            Node::Negate(inner) => negate(self.value(inner)?)?,
            Node::And(left, right) => Operand::Bool(self.absorb(left, right, false)?),
            Node::Or(left, right) => Operand::Bool(self.absorb(left, right, true)?),
            Node::Choice(condition, yes, no) => {
                self.value(if self.bool(condition)? { yes } else { no })?
            }
            Node::Arithmetic(operation, left, right) => {
                arithmetic(*operation, self.value(left)?, self.value(right)?)?
            }
            Node::Compare(comparison, left, right) => {
                Operand::Bool(compare(*comparison, &self.value(left)?, &self.value(right)?)?)
            }
            Node::In(value, members) => Operand::Bool(self.within(value, members)?),
            Node::TextTest(test, text, part) => self.text_test(*test, text, part)?,
            Node::Size(text) => {
                let text = self.value(text)?;
                let count = text_of(&text)?.chars().count();
                Operand::Int(i64::try_from(count).unwrap_or(i64::MAX))
            }
            Node::Convert(conversion, value) => convert(*conversion, self.value(value)?)?,
            Node::Window(function, metric, span) => self.window(*function, *metric, *span)?,
            Node::Previous(metric) => {
                self.current(*metric)?;
                let previous = self.scene.memory.previous(*metric);
                reading(*metric, previous.ok_or(Unknown::NotEnough(*metric))?)?
            }
            Node::Changed(metric) => {
                let now = self.metric(*metric)?;
                let previous = self.scene.memory.previous(*metric);
                let before = reading(*metric, previous.ok_or(Unknown::NotEnough(*metric))?)?;
                Operand::Bool(compare(Comparison::NotEqual, &now, &before)?)
            }
            Node::Age(metric) => {
                let (at, _) = self.scene.memory.latest(*metric).ok_or(Unknown::Missing(*metric))?;
                self.recheck(self.scene.now + TimeSpan::from_secs(1));
                Operand::Float(self.scene.now.since(at).as_secs_f64())
            }
            Node::Learned(metric, place) => {
                self.current(*metric)?;
                let learned = self.scene.learned.get(*place);
                let value = learned.and_then(|learned| learned.value(self.scene.now));
                Operand::Float(value.ok_or(Unknown::NotEnough(*metric))?)
            }
            Node::Absent(span) => Operand::Bool(self.absent(*span)?),
            Node::Offline => Operand::Bool(self.scene.offline),
            Node::Raised(rule) => Operand::Bool((self.scene.raised)(*rule)),
        };
        Ok(value)
    }

    /// `&&` (absorbing false) and `||` (absorbing true): an unknown side does not matter when the
    /// other decides.
    fn absorb(&self, left: &'s Node, right: &'s Node, absorbing: bool) -> Result<bool> {
        match self.bool(left) {
            Ok(left) if left == absorbing => Ok(absorbing),
            Ok(_) => self.bool(right),
            Err(unknown) => match self.bool(right) {
                Ok(right) if right == absorbing => Ok(absorbing),
                Ok(_) | Err(_) => Err(unknown),
            },
        }
    }

    /// The newest reading of a metric, when it can be trusted.
    fn current(&self, metric: MetricId) -> Result<&'s Value> {
        let (at, found) = self.scene.memory.latest(metric).ok_or(Unknown::Missing(metric))?;
        let stale_after = self.scene.stale_after;
        if stale_after > TimeSpan::ZERO && self.scene.now.since(at) > stale_after {
            return Err(Unknown::Stale(metric));
        }
        match found {
            Reading::Good(value) => Ok(value),
            Reading::Bad => Err(Unknown::Bad(metric)),
        }
    }

    fn metric(&self, metric: MetricId) -> Result<Operand<'s>> {
        self.current(metric).map(value_operand)
    }

    fn attribute(&self, attribute: &Attribute) -> &'s str {
        let device = self.scene.device;
        match attribute {
            Attribute::Id => &device.id,
            Attribute::Class => &device.class,
            Attribute::Site => &device.site,
            Attribute::Region => &device.region,
            Attribute::Customer => &device.customer,
            Attribute::Label(name) => device.labels.get(&**name).map_or("", String::as_str),
        }
    }

    /// A list with a member that cannot be told is no list, as in CEL. One that holds the value
    /// holds it whatever else is in it; else a member of another type cannot be compared, as `==`
    /// has it.
    fn within(&self, value: &'s Node, members: &'s [Node]) -> Result<bool> {
        let value = self.value(value)?;
        let mut found = Ok(false);
        for member in members {
            match compare(Comparison::Equal, &value, &self.value(member)?) {
                Ok(true) => found = Ok(true),
                Ok(false) => {}
                Err(unknown) => {
                    found = found.and_then(|held| if held { Ok(true) } else { Err(unknown) })
                }
            }
        }
        found
    }

    fn text_test(&self, test: TextTest, text: &'s Node, part: &'s Node) -> Result<Operand<'s>> {
        let (text, part) = (self.value(text)?, self.value(part)?);
        let (text, part) = (text_of(&text)?, text_of(&part)?);
        Ok(Operand::Bool(match test {
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
            TextTest::Contains => text.contains(part),
        }))
    }

    fn window(
        &self,
        function: WindowFunction,
        metric: MetricId,
        span: TimeSpan,
    ) -> Result<Operand<'s>> {
        if matches!(self.current(metric)?, Value::Text(_)) {
            return Err(Unknown::Error("a window is over numbers, and this is a text"));
        }
        let now = self.scene.now;
        let series = self.scene.memory.series(metric).ok_or(Unknown::NotEnough(metric))?;
        let window = Window::new(series, now - span, now);
        if let Some(leaves) = window.oldest() {
            self.recheck(leaves + span);
        }
        let not_enough = Unknown::NotEnough(metric);
        let number = match function {
            WindowFunction::Count => {
                return Ok(Operand::Int(i64::try_from(window.count()).unwrap_or(i64::MAX)));
            }
            WindowFunction::Stuck => {
                return window.stuck().map(Operand::Bool).ok_or(not_enough);
            }
            WindowFunction::Sum => Some(window.sum()),
            WindowFunction::Average => window.mean(),
            WindowFunction::Minimum => window.least(),
            WindowFunction::Maximum => window.greatest(),
            WindowFunction::Deviation => window.deviation(),
            WindowFunction::Rate => window.rate(),
            WindowFunction::Delta => window.delta(),
        };
        number.map(Operand::Float).ok_or(not_enough)
    }

    fn absent(&self, span: TimeSpan) -> Result<bool> {
        if self.scene.absence_held {
            return Err(Unknown::PathDown);
        }
        let due = self.scene.last_message + span;
        self.recheck(due);
        Ok(self.scene.now >= due)
    }
}

fn operand(constant: &Constant) -> Operand<'_> {
    match constant {
        Constant::Bool(flag) => Operand::Bool(*flag),
        Constant::Int(number) => Operand::Int(*number),
        Constant::Float(number) => Operand::Float(*number),
        Constant::Text(text) => Operand::Text(text),
        Constant::Span(span) => Operand::Span(*span),
    }
}

fn value_operand(value: &Value) -> Operand<'_> {
    match value {
        Value::Bool(flag) => Operand::Bool(*flag),
        Value::Int(number) => Operand::Int(*number),
        Value::Float(number) => Operand::Float(*number),
        Value::Text(text) => Operand::Text(text),
    }
}

fn reading(metric: MetricId, reading: &Reading) -> Result<Operand<'_>> {
    match reading {
        Reading::Good(value) => Ok(value_operand(value)),
        Reading::Bad => Err(Unknown::Bad(metric)),
    }
}

fn text_of<'o>(operand: &'o Operand<'_>) -> Result<&'o str> {
    match operand {
        Operand::Text(text) => Ok(text),
        Operand::Made(text) => Ok(text),
        _ => Err(Unknown::Error("a value is not a text")),
    }
}

fn negate(operand: Operand<'_>) -> Result<Operand<'_>> {
    match operand {
        Operand::Int(number) => number.checked_neg().map(Operand::Int).ok_or(OVERFLOW),
        Operand::Float(number) => Ok(Operand::Float(-number)),
        _ => Err(Unknown::Error("a value is not a number")),
    }
}

const OVERFLOW: Unknown = Unknown::Error("a whole number overflows");

fn arithmetic<'a>(
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
            let text = format!("{}{}", text_of(&left)?, text_of(&right)?);
            Ok(Made(text.into()))
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
        (Int(_) | Float(_), Int(_) | Float(_)) => number(left).partial_cmp(&number(right)),
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Text(_) | Made(_), Text(_) | Made(_)) => Some(text_of(left)?.cmp(text_of(right)?)),
        (Time(a), Time(b)) => Some(a.cmp(b)),
        (Span(a), Span(b)) => Some(a.cmp(b)),
        _ => return Err(Unknown::Error("values of different types are compared")),
    })
}

fn compare(comparison: Comparison, left: &Operand<'_>, right: &Operand<'_>) -> Result<bool> {
    let order = order(left, right)?;
    Ok(match comparison {
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
    })
}

fn convert(conversion: Conversion, value: Operand<'_>) -> Result<Operand<'_>> {
    const NOT_A_NUMBER: Unknown = Unknown::Error("a text is not a number");
    Ok(match (conversion, &value) {
        (Conversion::Double, Operand::Int(_) | Operand::Float(_)) => Operand::Float(number(&value)),
        (Conversion::Double, Operand::Text(text)) => {
            let parsed: f64 = text.trim().parse().map_err(|_| NOT_A_NUMBER)?;
            Operand::Float(Some(parsed).filter(|number| number.is_finite()).ok_or(NOT_A_NUMBER)?)
        }
        (Conversion::Int, Operand::Int(number)) => Operand::Int(*number),
        (Conversion::Int, Operand::Float(number)) if number.abs() < 9.2e18 => {
            Operand::Int(number.trunc() as i64)
        }
        (Conversion::Int, Operand::Text(text)) => {
            Operand::Int(text.trim().parse().map_err(|_| NOT_A_NUMBER)?)
        }
        (Conversion::Text, Operand::Text(_) | Operand::Made(_)) => value,
        (Conversion::Text, Operand::Int(number)) => Operand::Made(number.to_string().into()),
        (Conversion::Text, Operand::Float(number)) => Operand::Made(number.to_string().into()),
        (Conversion::Text, Operand::Bool(flag)) => Operand::Made(flag.to_string().into()),
        _ => return Err(Unknown::Error("the value cannot be converted")),
    })
}
