//! Stage 2, Sample -> Edge: rule files, their conditions, and what devices said.
//!
//! [`rule_file`] reads what operators write, [`cel`] compiles the conditions, [`memory`] keeps what
//! a device said, [`window`] and [`learned`] answer questions about the past.

mod amend;
mod band;
pub mod cel;
mod code_table;
mod learned;
mod lint;
mod memory;
mod past;
mod recent;
mod rule_file;
mod rule_test;
mod series;
mod summary;
mod ticket_keys;
mod weighted;
mod window;

use std::collections::BTreeMap;

use crate::engine::types::document::Scalar;
use crate::engine::types::names::{Metric, MetricId, Names, RuleId, RuleKind};
use crate::engine::types::rule::{Among, RuleSpec};
use cel::{CompileScope, Fault};

pub use amend::amend;
pub use cel::{Condition, Evaluation, Gate, Outline, Scene, Side, Threshold, Truth, Unknown};
pub use code_table::{CodeTableDraft, read_codes};
pub use learned::{Learned, RuleMemory};
pub use lint::lint;
pub use memory::{DeviceMemory, When};
pub use rule_file::{RuleDraft, compile, read_rules};
pub use rule_test::{Expectation, RuleTest, TestSample, read_tests};

/// A rule that is ready to be evaluated.
#[derive(Debug)]
pub struct Rule {
    /// Its interned id.
    pub id: RuleId,
    /// Everything but its conditions.
    pub spec: RuleSpec,
    /// The metrics whose values tell its alarms on one device apart.
    pub key: Vec<MetricId>,
    /// When it holds.
    pub when: Condition,
    /// When it no longer holds; `None` for the opposite of `when`.
    pub clear_when: Option<Condition>,
}

impl Rule {
    /// What it learns about one device; nothing yet.
    pub fn memory(&self) -> RuleMemory {
        RuleMemory::new(&self.when, self.clear_when.as_ref())
    }

    /// True when it learns something about each device.
    pub fn learns(&self) -> bool {
        let learns = |condition: &Condition| !condition.learning().is_empty();
        learns(&self.when) || self.clear_when.as_ref().is_some_and(learns)
    }

    /// How long a look may take; see [`Condition::steps`].
    pub fn steps(&self) -> u64 {
        self.when.steps() + self.clear_when.as_ref().map_or(0, Condition::steps)
    }

    /// Most bytes that it keeps for each device; rules that read the same metrics share them.
    pub fn bytes_per_device(&self) -> usize {
        let clear = self.clear_when.as_ref().map_or(0, Condition::bytes_per_device);
        self.when.bytes_per_device() + clear
    }

    /// The rules whose raised alarms it counts over devices, and among which.
    pub fn counts(&self) -> impl Iterator<Item = (RuleId, Among)> {
        let clear = self.clear_when.iter().flat_map(Condition::counts);
        self.when.counts().iter().chain(clear).copied()
    }

    /// The same rule with other constants, which must be of the same types.
    ///
    /// # Errors
    /// What is wrong with the conditions then.
    pub fn tuned(
        &self,
        params: BTreeMap<String, Scalar>,
        metrics: &mut Names<Metric>,
        rules: &Names<RuleKind>,
    ) -> Result<Rule, Vec<Fault>> {
        let mut scope = CompileScope { metrics, rules, params: &params };
        let when = Condition::compile(&self.spec.when, &mut scope)?;
        let clear_when = self.spec.clear_when.as_ref();
        let clear_when = clear_when.map(|text| Condition::compile(text, &mut scope)).transpose()?;
        let spec = rule_file::with_params(&self.spec, params);
        Ok(Rule { id: self.id, spec, key: self.key.clone(), when, clear_when })
    }

    /// True when it asks whether the device is silent.
    pub fn reads_absence(&self) -> bool {
        self.when.reads_absence() || self.clear_when.as_ref().is_some_and(Condition::reads_absence)
    }
}
