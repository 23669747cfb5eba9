//! What a device said, as far as some rule reads it.

use std::collections::VecDeque;

use super::cel::Condition;
use super::learned::Learned;
use super::series::Series;
use crate::engine::types::message::Reading;
use crate::engine::types::names::MetricId;
use crate::engine::types::time::Timestamp;

/// Values that a sparkline shows.
const RECENT: usize = 40;

/// The metrics of one device that some rule reads, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct DeviceMemory {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    metric: MetricId,
    latest: Option<(Timestamp, Reading)>,
    previous: Option<Reading>,
    /// The last values, for the sketch in the ticket.
    recent: VecDeque<f64>,
    /// Only where a window reads it.
    series: Option<Series>,
}

impl Slot {
    fn new(metric: MetricId) -> Slot {
        Slot { metric, latest: None, previous: None, recent: VecDeque::new(), series: None }
    }
}

impl DeviceMemory {
    /// Room for everything that these conditions read; nothing is known yet.
    pub fn new(conditions: &[&Condition]) -> DeviceMemory {
        let mut memory = DeviceMemory::default();
        for condition in conditions {
            for metric in condition.metrics() {
                memory.slot_for(*metric);
            }
            for (metric, window) in condition.windows() {
                let slot = memory.slot_for(*metric);
                if slot.series.as_ref().is_none_or(|series| series.kept() < *window) {
                    slot.series = Some(Series::new(*window));
                }
            }
        }
        memory
    }

    fn slot_for(&mut self, metric: MetricId) -> &mut Slot {
        let at = match self.slots.binary_search_by_key(&metric, |slot| slot.metric) {
            Ok(at) => at,
            Err(at) => {
                self.slots.insert(at, Slot::new(metric));
                at
            }
        };
        &mut self.slots[at]
    }

    /// Gives the metrics other ids; those without one are forgotten.
    pub fn rename(&mut self, to: impl Fn(MetricId) -> Option<MetricId>) {
        self.slots.retain_mut(|slot| match to(slot.metric) {
            Some(metric) => {
                slot.metric = metric;
                true
            }
            None => false,
        });
        self.slots.sort_by_key(|slot| slot.metric);
    }

    /// Takes in what `before` knew of the metrics that are read here too.
    pub fn inherit(&mut self, before: DeviceMemory) {
        for known in before.slots {
            if let Some(slot) = self.slot_mut(known.metric) {
                if let (Some(wanted), Some(mut series)) = (&slot.series, known.series) {
                    series.keep(wanted.kept());
                    slot.series = Some(series);
                }
                slot.recent = known.recent;
                slot.latest = known.latest;
                slot.previous = known.previous;
            }
        }
    }

    /// Takes a reading in. One that is older than the newest is placed by its time in the history
    /// and does not become the newest.
    pub fn absorb(&mut self, at: Timestamp, metric: MetricId, reading: &Reading) {
        let Some(slot) = self.slot_mut(metric) else {
            return;
        };
        if slot.latest.as_ref().is_none_or(|(newest, _)| at >= *newest) {
            slot.previous = slot.latest.take().map(|(_, reading)| reading);
            slot.latest = Some((at, reading.clone()));
        }
        if let Reading::Good(value) = reading
            && let Some(number) = value.as_number()
        {
            if slot.recent.len() >= RECENT {
                slot.recent.pop_front();
            }
            slot.recent.push_back(number);
            if let Some(series) = &mut slot.series {
                series.push(at, number);
            }
        }
    }

    /// The newest reading of a metric and its event time.
    pub fn latest(&self, metric: MetricId) -> Option<(Timestamp, &Reading)> {
        let (at, reading) = self.slot(metric)?.latest.as_ref()?;
        Some((*at, reading))
    }

    /// The reading before the newest.
    pub fn previous(&self, metric: MetricId) -> Option<&Reading> {
        self.slot(metric)?.previous.as_ref()
    }

    /// The last samples of a metric.
    pub fn series(&self, metric: MetricId) -> Option<&Series> {
        self.slot(metric)?.series.as_ref()
    }

    /// The last values of a metric, oldest first.
    pub fn recent(&self, metric: MetricId) -> Vec<f64> {
        self.slot(metric).map(|slot| slot.recent.iter().copied().collect()).unwrap_or_default()
    }

    fn slot(&self, metric: MetricId) -> Option<&Slot> {
        let at = self.slots.binary_search_by_key(&metric, |slot| slot.metric).ok()?;
        self.slots.get(at)
    }

    fn slot_mut(&mut self, metric: MetricId) -> Option<&mut Slot> {
        let at = self.slots.binary_search_by_key(&metric, |slot| slot.metric).ok()?;
        self.slots.get_mut(at)
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

    fn absorb(&mut self, at: Timestamp, metric: MetricId, number: f64, frozen: bool) {
        for (watched, state) in self.metrics.iter().zip(&mut self.states) {
            if *watched == metric {
                state.absorb(at, number, frozen);
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
    pub fn absorb(&mut self, at: Timestamp, metric: MetricId, reading: &Reading, frozen: bool) {
        if self.when.states.is_empty() && self.clear.states.is_empty() {
            return;
        }
        let Reading::Good(value) = reading else {
            return;
        };
        if let Some(number) = value.as_number() {
            self.when.absorb(at, metric, number, frozen);
            self.clear.absorb(at, metric, number, frozen);
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
