//! The readings of one sample: each metric once, and only what some rule reads.

use super::{METRIC_NAME_BYTES_MAX, METRICS_PER_MESSAGE_MAX, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::Reading;
use crate::engine::types::names::{Metric, MetricId, Names};

/// Collects readings. A name that no rule reads costs a look-up and nothing else.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    metrics: &'a Names<Metric>,
    list: Vec<(MetricId, Reading)>,
    seen: usize,
    most: usize,
}

impl<'a> Readings<'a> {
    pub fn new(metrics: &'a Names<Metric>) -> Readings<'a> {
        Readings::up_to(metrics, METRICS_PER_MESSAGE_MAX)
    }

    /// With a bound of the caller's own.
    pub fn up_to(metrics: &'a Names<Metric>, most: usize) -> Readings<'a> {
        Readings { metrics, list: Vec::new(), seen: 0, most }
    }

    /// The id of a metric that is wanted and not there yet.
    ///
    /// # Errors
    /// More metrics than one sample may carry, wanted or not.
    pub fn wanted(&mut self, name: &str) -> Result<Option<MetricId>, Refusal> {
        self.seen += 1;
        if self.seen > self.most {
            let detail = format!("more than {} metrics", self.most);
            return Err(Refusal::new(Rejection::TooManyMetrics, &detail));
        }
        if name.len() > METRIC_NAME_BYTES_MAX {
            return Ok(None);
        }
        let id = self.metrics.find(name);
        Ok(id.filter(|id| self.list.iter().all(|(known, _)| known != id)))
    }

    /// Puts the reading of a metric that [`Readings::wanted`] gave.
    pub fn put(&mut self, id: MetricId, reading: Reading) {
        self.list.push((id, reading));
    }

    /// Puts a reading if it is wanted.
    ///
    /// # Errors
    /// See [`Readings::wanted`].
    pub fn add(&mut self, name: &str, reading: Reading) -> Result<(), Refusal> {
        if let Some(id) = self.wanted(name)? {
            self.put(id, reading);
        }
        Ok(())
    }

    /// The device says that none of them is to be trusted.
    pub fn spoil(&mut self) {
        for (_, reading) in &mut self.list {
            *reading = Reading::Bad;
        }
    }

    /// In memory that an earlier message has used.
    pub fn within(metrics: &'a Names<Metric>, list: Vec<(MetricId, Reading)>) -> Readings<'a> {
        Readings { list, ..Readings::new(metrics) }
    }

    pub fn into_list(self) -> Vec<(MetricId, Reading)> {
        self.list
    }
}
