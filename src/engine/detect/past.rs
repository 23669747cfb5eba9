//! What a device said in the last moments, so that a sample that comes late is placed among it.
//!
//! For each reading there is a step, which holds what stood before it. Putting the memory back to a
//! time swaps the two, newest step first, so that the steps hold what comes after that time; each
//! step that is taken again swaps them back.

use std::collections::VecDeque;

use crate::engine::types::message::Reading;
use crate::engine::types::names::MetricId;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Readings that are kept. Of a device that says more within `lateness`, only what belongs among
/// the last of these is placed by its time.
const READINGS_MAX: usize = 256;

/// A reading and its event time.
pub(super) type Heard = (Timestamp, Reading);

/// One reading that was taken in.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub at: Timestamp,
    pub metric: MetricId,
    /// What stood before it; while the memory is put back to before it, what it brought.
    pub other: Option<Heard>,
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
        self.steps.retain_mut(|step| match to(step.metric) {
            Some(metric) => {
                step.metric = metric;
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
    pub fn before(&self, number: usize, metric: MetricId) -> Option<&Heard> {
        let mut earlier = self.steps.range(..number.min(self.steps.len())).rev();
        earlier.find(|step| step.metric == metric)?.other.as_ref()
    }
}
