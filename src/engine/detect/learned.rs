//! Functions that learn what is normal for one device: `deviation`, `zscore`, `ewma`.

use super::band::Band;
use super::cel::{Learning, LearningKind};
use super::weighted::Weighted;
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
    pub fn absorb(&mut self, at: Timestamp, value: f64, frozen: bool) {
        match self {
            Learned::Band(band) => band.absorb(at, value, frozen),
            Learned::Score(weighted) | Learned::Mean(weighted) => weighted.absorb(at, value),
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
