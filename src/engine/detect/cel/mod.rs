//! Conditions: CEL, compiled once per reload into a tree of typed slots.
//!
//! Evaluation looks nothing up by name and allocates nothing. A value that cannot be told
//! (a metric never seen, stale or bad, too little history, an error) is *unknown*; `&&` and `||`
//! absorb it as CEL absorbs errors. `docs/conditions.md` lists what is supported.

mod compile;
mod evaluate;
mod fold;
mod functions;
mod gate;
mod ir;
mod limits;
mod linear;
mod operand;
mod outline;
mod parse;
mod reach;
mod token;
mod way;

use std::collections::BTreeMap;
use std::ops::Range;

use super::learned::Learned;
use super::memory::METRIC_BYTES_MAX;
use super::series::Series;
use crate::engine::types::document::Scalar;
use crate::engine::types::names::{Metric, MetricId, Names, RuleId, RuleKind};
use crate::engine::types::rule::Among;
use crate::engine::types::time::TimeSpan;

pub use evaluate::{Evaluation, Scene, Truth, Unknown};
pub use gate::{Gate, Side};
pub(super) use ir::{Learning, LearningKind};
pub use outline::{Outline, Threshold};
pub use way::Setting;

/// Longest source of a condition, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// Deepest nesting.
pub const NESTING_MAX: usize = 32;
/// Most nodes that one evaluation may visit.
pub const NODES_MAX: usize = 500;
/// Longest window.
pub const WINDOW_MAX: TimeSpan = TimeSpan::from_secs(7 * 86_400);

/// What a condition may name.
#[derive(Debug)]
pub struct CompileScope<'a> {
    /// The metrics that any condition reads; new ones are added.
    pub metrics: &'a mut Names<Metric>,
    /// The rules that `raised("...")` may name.
    pub rules: &'a Names<RuleKind>,
    /// The rule's constants.
    pub params: &'a BTreeMap<String, Scalar>,
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the condition.
    pub span: Range<usize>,
    /// Stable name of the kind of mistake.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    root: ir::Node,
    metrics: Vec<MetricId>,
    looked_back: Vec<MetricId>,
    windows: Vec<(MetricId, TimeSpan)>,
    learning: Vec<Learning>,
    rules: Vec<RuleId>,
    counts: Vec<(RuleId, Among)>,
    reads_absence: bool,
    reads_time: bool,
    parts: usize,
}

/// A history function takes about as long as so many other parts, however long its window is.
const WINDOW_STEPS: u64 = 30;

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// Every mistake that can be told without running it.
    pub fn compile(text: &str, scope: &mut CompileScope<'_>) -> Result<Condition, Vec<Fault>> {
        let tree = parse::parse(text).map_err(|fault| vec![fault])?;
        compile::compile(&tree, scope)
    }

    /// The metrics that it reads, in the order in which it names them.
    pub fn metrics(&self) -> &[MetricId] {
        &self.metrics
    }

    /// The metrics of which it reads the reading before the newest.
    pub fn looked_back(&self) -> &[MetricId] {
        &self.looked_back
    }

    /// The metrics whose history it reads, and how far back.
    pub fn windows(&self) -> &[(MetricId, TimeSpan)] {
        &self.windows
    }

    /// The rules that it asks about with `raised()`.
    pub fn rules(&self) -> &[RuleId] {
        &self.rules
    }

    /// The rules whose raised alarms it counts over devices, and among which.
    pub fn counts(&self) -> &[(RuleId, Among)] {
        &self.counts
    }

    /// True when it asks whether the device is silent.
    pub fn reads_absence(&self) -> bool {
        self.reads_absence
    }

    /// True when it may become true or false by the passing of time alone. Staleness is no such
    /// thing: it makes what was true or false unknown, and never the other way round.
    pub fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// What one metric must read for the condition to hold, where the condition says so.
    pub fn gate(&self) -> Option<Gate> {
        gate::gate(&self.root)
    }

    /// How long a look may take, as a number of steps: a step is what a part takes that is neither
    /// a history function nor a text.
    pub fn steps(&self) -> u64 {
        self.parts as u64 + self.windows.len() as u64 * WINDOW_STEPS
    }

    /// Most bytes that it keeps for each device, if no other condition reads the same metrics.
    pub fn bytes_per_device(&self) -> usize {
        let mut windows: Vec<MetricId> = self.windows.iter().map(|(metric, _)| *metric).collect();
        windows.sort_unstable();
        windows.dedup();
        let learned = self.learning.iter().map(|learning| Learned::bytes_max(learning.kind));
        self.metrics.len() * METRIC_BYTES_MAX
            + windows.len() * Series::bytes_max()
            + learned.sum::<usize>()
    }

    pub(super) fn learning(&self) -> &[Learning] {
        &self.learning
    }
}

#[cfg(test)]
#[path = "conformance/tests.rs"]
mod conformance;
#[cfg(test)]
#[path = "differential/tests.rs"]
mod differential;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
