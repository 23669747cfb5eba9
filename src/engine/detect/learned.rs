//! Functions that learn what is normal for one device: `deviation`, `zscore`, `ewma`.

use super::band::Band;
use super::cel::{Condition, Learning, LearningKind};
use super::memory::When;
use super::weighted::Weighted;
use crate::engine::types::message::Reading;
use crate::engine::types::names::MetricId;
use crate::engine::types::time::Timestamp;

/// What one learning function knows about one device.
#[derive(Clone, Debug)]
pub enum Learned {
    /// `deviation(short, long)`.
    Band(Box<Band>),
    /// `zscore(d)`.
    Score(Weighted),
    /// `ewma(d)`.
    Mean(Weighted),
}

impl Learned {
    /// Nothing known yet.
    pub(super) fn new(learning: Learning) -> Learned {
        match learning.kind {
            LearningKind::Band { short, long } => Learned::Band(Box::new(Band::new(short, long))),
            LearningKind::Score { over } => Learned::Score(Weighted::new(over)),
            LearningKind::Mean { over } => Learned::Mean(Weighted::new(over)),
        }
    }

    /// Takes a sample in, at its place by time. `frozen` while the rule's alarm is pending or
    /// raised: what is normal is not learned from a fault.
    pub fn absorb(&mut self, when: When, value: f64, frozen: bool) {
        match self {
            Learned::Band(band) => band.absorb(when, value, frozen),
            Learned::Score(weighted) | Learned::Mean(weighted) => weighted.absorb(when, value),
        }
    }

    /// The function's value; `None` while too little is known.
    pub fn value(&self, now: Timestamp) -> Option<f64> {
        match self {
            Learned::Band(band) => band.value(now),
            Learned::Score(weighted) => weighted.score(),
            Learned::Mean(weighted) => weighted.mean(),
        }
    }

    /// When the value changes without a new sample, if it does.
    pub fn changes_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Learned::Band(band) => band.changes_at(now),
            Learned::Score(_) | Learned::Mean(_) => None,
        }
    }

    /// Most bytes that a function of this kind keeps for a device.
    pub(super) const fn bytes_max(kind: LearningKind) -> usize {
        size_of::<Learned>()
            + match kind {
                LearningKind::Band { .. } => Band::bytes_max(),
                LearningKind::Score { .. } | LearningKind::Mean { .. } => Weighted::bytes_max(),
            }
    }
}

/// What the conditions of one rule have learned about one device.
#[derive(Clone, Debug, Default)]
pub struct RuleMemory {
    when: Learnt,
    clear: Learnt,
}

/// What one condition has learned, in the order of its learning functions.
#[derive(Clone, Debug, Default)]
struct Learnt {
    metrics: Vec<MetricId>,
    states: Vec<Learned>,
}

impl Learnt {
    fn new(condition: &Condition) -> Learnt {
        let learning = condition.learning();
        Learnt {
            metrics: learning.iter().map(|learning| learning.metric).collect(),
            states: learning.iter().map(|learning| Learned::new(*learning)).collect(),
        }
    }

    fn absorb(&mut self, when: When, metric: MetricId, number: f64, frozen: bool) {
        for (watched, state) in self.metrics.iter().zip(&mut self.states) {
            if *watched == metric {
                state.absorb(when, number, frozen);
            }
        }
    }
}

impl RuleMemory {
    /// Nothing learned yet.
    pub fn new(when: &Condition, clear: Option<&Condition>) -> RuleMemory {
        RuleMemory { when: Learnt::new(when), clear: clear.map(Learnt::new).unwrap_or_default() }
    }

    /// What was learned by the same conditions before, whatever ids their metrics had.
    pub fn inheriting(mut self, before: RuleMemory) -> RuleMemory {
        for (own, known) in [(&mut self.when, before.when), (&mut self.clear, before.clear)] {
            if own.states.len() == known.states.len() {
                own.states = known.states;
            }
        }
        self
    }

    /// Takes a reading in; see [`Learned::absorb`].
    pub fn absorb(&mut self, when: When, metric: MetricId, reading: &Reading, frozen: bool) {
        if self.when.states.is_empty() && self.clear.states.is_empty() {
            return;
        }
        if let Some(number) = reading.as_number() {
            self.when.absorb(when, metric, number, frozen);
            self.clear.absorb(when, metric, number, frozen);
        }
    }

    /// What `when` has learned.
    pub fn of_when(&self) -> &[Learned] {
        &self.when.states
    }

    /// What `clear_when` has learned.
    pub fn of_clear(&self) -> &[Learned] {
        &self.clear.states
    }
}
