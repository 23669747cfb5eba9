//! What a device said in the last moments, so that a sample that comes late is placed among it.
//!
//! For each reading there is a step, which holds what stood before it. Putting the memory back to a
//! time swaps the two, newest step first, so that the steps hold what comes after that time; each
//! step that is taken again swaps them back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::MetricId;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Readings that are kept. Of a device that says more within `lateness`, only what belongs among
/// the last of these is placed by its time.
const READINGS_MAX: usize = 256;

/// A reading and its event time.
pub(super) type Heard = (Timestamp, Reading);

/// One reading that was taken in. There are as many as come within `lateness`: 32 bytes each.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub at: Timestamp,
    /// Event time of the other reading.
    other_at: Timestamp,
    other: Other,
}

/// The metric of a step, and the other reading: what stood before it, and while the memory is put
/// back to before it, what it brought.
#[derive(Clone, Debug)]
enum Other {
    Nothing(MetricId),
    Bad(MetricId),
    Bool(MetricId, bool),
    Int(MetricId, i64),
    Float(MetricId, f64),
    Text(MetricId, Box<Arc<str>>),
}

impl Step {
    pub fn new(at: Timestamp, metric: MetricId, other: Option<Heard>) -> Step {
        let other_at = other.as_ref().map_or(at, |(at, _)| *at);
        let other = match other.map(|(_, reading)| reading) {
            None => Other::Nothing(metric),
            Some(Reading::Bad) => Other::Bad(metric),
            Some(Reading::Good(Value::Bool(flag))) => Other::Bool(metric, flag),
            Some(Reading::Good(Value::Int(number))) => Other::Int(metric, number),
            Some(Reading::Good(Value::Float(number))) => Other::Float(metric, number),
            Some(Reading::Good(Value::Text(text))) => Other::Text(metric, Box::new(text)),
        };
        Step { at, other_at, other }
    }

    pub fn metric(&self) -> MetricId {
        match &self.other {
            Other::Nothing(metric)
            | Other::Bad(metric)
            | Other::Bool(metric, _)
            | Other::Int(metric, _)
            | Other::Float(metric, _)
            | Other::Text(metric, _) => *metric,
        }
    }

    pub fn other(&self) -> Option<Heard> {
        let reading = match &self.other {
            Other::Nothing(_) => return None,
            Other::Bad(_) => Reading::Bad,
            Other::Bool(_, flag) => Reading::Good(Value::Bool(*flag)),
            Other::Int(_, number) => Reading::Good(Value::Int(*number)),
            Other::Float(_, number) => Reading::Good(Value::Float(*number)),
            Other::Text(_, text) => Reading::Good(Value::Text(Arc::clone(text))),
        };
        Some((self.other_at, reading))
    }

    pub fn set_other(&mut self, other: Option<Heard>) {
        *self = Step::new(self.at, self.metric(), other);
    }

    fn of_metric(&self, metric: MetricId) -> Step {
        Step::new(self.at, metric, self.other())
    }
}

/// The last steps, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    steps: VecDeque<Step>,
    /// Nothing can be put back to before this time.
    floor: Option<Timestamp>,
}

impl Past {
    /// True when everything since `at` is kept.
    pub fn reaches(&self, at: Timestamp) -> bool {
        self.floor.is_none_or(|floor| floor <= at)
    }

    /// Drops what no sample is placed before any more, and makes room for so many steps.
    pub fn forget(&mut self, newest: Timestamp, lateness: TimeSpan, room: usize) {
        let until = newest - lateness;
        while let Some(oldest) = self.steps.front().map(|step| step.at)
            && (oldest <= until || self.steps.len() + room > READINGS_MAX)
        {
            self.steps.pop_front();
            self.floor = self.floor.max(Some(oldest));
        }
        // A sample goes as a whole.
        while let Some(floor) = self.floor
            && self.steps.front().is_some_and(|step| step.at <= floor)
        {
            self.steps.pop_front();
        }
        if self.steps.len() + room > self.steps.capacity() {
            self.steps.reserve_exact(room);
        }
    }

    /// Keeps a step, at its place by time.
    pub fn keep(&mut self, step: Step) {
        let is_newest = self.steps.back().is_none_or(|last| last.at <= step.at);
        match is_newest {
            true => self.steps.push_back(step),
            false => {
                let place = self.steps.partition_point(|known| known.at <= step.at);
                self.steps.insert(place, step);
            }
        }
    }

    /// Nothing from before `at` is kept.
    pub fn clear(&mut self, at: Timestamp) {
        self.steps.clear();
        self.floor = self.floor.max(Some(at));
    }

    /// Gives the metrics other ids; those without one are forgotten.
    pub fn rename(&mut self, to: impl Fn(MetricId) -> Option<MetricId>) {
        self.steps.retain_mut(|step| match to(step.metric()) {
            Some(metric) => {
                *step = step.of_metric(metric);
                true
            }
            None => false,
        });
    }

    /// The number of the first step after `at`.
    pub fn first_after(&self, at: Timestamp) -> usize {
        self.steps.partition_point(|step| step.at <= at)
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn step(&self, number: usize) -> Option<&Step> {
        self.steps.get(number)
    }

    pub fn step_mut(&mut self, number: usize) -> Option<&mut Step> {
        self.steps.get_mut(number)
    }

    /// What stood before the newest step of a metric that has a lower number.
    pub fn before(&self, number: usize, metric: MetricId) -> Option<Heard> {
        let mut earlier = self.steps.range(..number.min(self.steps.len())).rev();
        earlier.find(|step| step.metric() == metric)?.other()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::names::Names;

    #[test]
    fn a_step_is_small_and_says_what_it_was_told() {
        assert_eq!(size_of::<Step>(), 32);
        let metric = Names::default().intern("x");
        let (at, before) = (Timestamp::from_millis(9_000), Timestamp::from_millis(8_000));
        let values =
            [Value::Bool(true), Value::Int(-1), Value::Float(0.5), Value::Text("满".into())];
        let readings = values.into_iter().map(Reading::Good).chain([Reading::Bad]);
        for other in readings.map(|reading| Some((before, reading))).chain([None]) {
            let step = Step::new(at, metric, other.clone());
            assert_eq!((step.at, step.metric(), step.other()), (at, metric, other));
        }
    }
}
