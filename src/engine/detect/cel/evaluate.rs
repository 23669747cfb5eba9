//! Operations -> true, false or unknown, for one device at one event time.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "operations are defined on the types that are listed; everything else is unknown"
)]

use std::cell::Cell;

use super::Condition;
use super::ir::{Attribute, Comparison, Constant, Node, WindowFunction};
use super::operand::{
    DIFFERENT, Operand, Result, arithmetic, compare, convert, negate, operand, reading, size, test,
    text_test, value_operand, within,
};
use crate::engine::detect::learned::Learned;
use crate::engine::detect::memory::DeviceMemory;
use crate::engine::detect::window::Window;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{MetricId, RuleId};
use crate::engine::types::rule::Among;
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
    /// Counts the devices among those of the same site, region or class for which a rule's alarm
    /// is raised; `None` where the device has no such thing.
    pub count_raised: &'a dyn Fn(RuleId, Among) -> Option<i64>,
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
        match node {
            Node::Test(metric, comparison, number) => {
                test(*comparison, self.current(*metric)?, *number)
            }
            Node::Constant(Constant::Bool(flag)) => Ok(*flag),
            Node::TestText(metric, comparison, text) => match self.current(*metric)? {
                Value::Text(value) => Ok(comparison.holds_of_texts(value, text)),
                Value::Bool(_) | Value::Int(_) | Value::Float(_) => Err(DIFFERENT),
            },
            Node::All(members) => self.absorb(members, false),
            Node::Any(members) => self.absorb(members, true),
            Node::Not(inner) => Ok(!self.bool(inner)?),
            Node::Compare(comparison, left, right) => {
                compare(*comparison, &self.value(left)?, &self.value(right)?)
            }
            Node::In(value, members) => {
                within(&self.value(value)?, members.iter().map(|member| self.value(member)))
            }
            Node::TextTest(test, text, part) => {
                text_test(*test, &self.value(text)?, &self.value(part)?)
            }
            Node::Changed(metric) => self.changed(*metric),
            Node::Absent(span) => self.absent(*span),
            Node::Offline => Ok(self.scene.offline),
            Node::Raised(rule) => Ok((self.scene.raised)(*rule)),
            _ => match self.value(node)? {
                Operand::Bool(flag) => Ok(flag),
                _ => Err(Unknown::Error("a value is neither true nor false")),
            },
        }
    }

    fn value(&self, node: &'s Node) -> Result<Operand<'s>> {
        let value = match node {
            Node::Constant(constant) => operand(constant),
            Node::Metric(metric) => value_operand(self.current(*metric)?),
            Node::Attribute(attribute) => Operand::Text(self.attribute(attribute)),
            Node::Now => {
                self.recheck(self.scene.now + TimeSpan::from_secs(1));
                Operand::Time(self.scene.now)
            }
            Node::Negate(inner) => negate(self.value(inner)?)?,
            Node::Choice(condition, yes, no) => {
                self.value(if self.bool(condition)? { yes } else { no })?
            }
            Node::Arithmetic(operation, left, right) => {
                arithmetic(*operation, self.value(left)?, self.value(right)?)?
            }
            Node::CountRaised(rule, among) => (self.scene.count_raised)(*rule, *among)
                .map(Operand::Int)
                .ok_or(Unknown::Error("the device has no such site, region or class"))?,
            Node::Size(text) => Operand::Int(size(&self.value(text)?)?),
            Node::Convert(conversion, value) => convert(*conversion, self.value(value)?)?,
            Node::Window(function, metric, span) => self.window(*function, *metric, *span)?,
            Node::Previous(metric) => self.previous(*metric)?,
            Node::Age(metric) => {
                let (at, _) = self.scene.memory.latest(*metric).ok_or(Unknown::Missing(*metric))?;
                self.recheck(self.scene.now + TimeSpan::from_secs(1));
                Operand::Float(self.scene.now.since(at).as_secs_f64())
            }
            Node::Learned(metric, place) => Operand::Float(self.learned(*metric, *place)?),
            _ => Operand::Bool(self.bool(node)?),
        };
        Ok(value)
    }

    /// `&&` (absorbing false) and `||` (absorbing true): what is unknown does not matter when
    /// something else decides.
    fn absorb(&self, members: &'s [Node], absorbing: bool) -> Result<bool> {
        let mut all = Ok(!absorbing);
        for member in members {
            match self.bool(member) {
                Ok(found) if found == absorbing => return Ok(absorbing),
                Ok(_) => {}
                Err(unknown) => all = all.and(Err(unknown)),
            }
        }
        all
    }

    fn previous(&self, metric: MetricId) -> Result<Operand<'s>> {
        self.current(metric)?;
        let previous = self.scene.memory.previous(metric);
        reading(metric, previous.ok_or(Unknown::NotEnough(metric))?)
    }

    fn changed(&self, metric: MetricId) -> Result<bool> {
        let now = value_operand(self.current(metric)?);
        compare(Comparison::NotEqual, &now, &self.previous(metric)?)
    }

    fn learned(&self, metric: MetricId, place: usize) -> Result<f64> {
        self.current_number(metric)?;
        let learned = self.scene.learned.get(place).ok_or(Unknown::NotEnough(metric))?;
        if let Some(changes_at) = learned.changes_at(self.scene.now) {
            self.recheck(changes_at);
        }
        learned.value(self.scene.now).ok_or(Unknown::NotEnough(metric))
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

    /// The past of a metric is a past of numbers.
    fn current_number(&self, metric: MetricId) -> Result<()> {
        match self.current(metric)? {
            Value::Text(_) => {
                Err(Unknown::Error("a history is one of numbers, and this is a text"))
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
        }
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

    fn window(
        &self,
        function: WindowFunction,
        metric: MetricId,
        span: TimeSpan,
    ) -> Result<Operand<'s>> {
        self.current_number(metric)?;
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
