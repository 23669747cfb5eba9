//! What is known about a fault when its ticket is written.

use super::Engine;
use super::devices::Device;
use crate::engine::detect::Rule;
use crate::engine::ticket::Evidence;
use crate::engine::types::alarm::{AlarmId, Fingerprint};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::rule::RuleSpec;
use crate::engine::types::time::Timestamp;

/// Most sibling alarms that a ticket names.
const SIBLINGS_MAX: usize = 10;

/// How an episode comes to the tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// For the first time.
    New,
    /// Again, after it was held for want of money.
    Again,
    /// Again, and somebody pays for it.
    Approved,
}

/// An episode that is to have a ticket.
pub(super) struct Incident<'a> {
    /// How it comes to the tickets.
    pub entry: Entry,
    pub alarm: &'a AlarmId,
    pub episode: u32,
    pub fingerprint: &'a Fingerprint,
    /// Event time of the raise.
    pub raised_at: Timestamp,
    /// When somebody may know of it: the raise, or the end of what suppressed it. The ladder counts
    /// from then.
    pub known_at: Timestamp,
    /// The values that decided.
    pub values: Vec<(String, Value)>,
}

impl Engine {
    /// The evidence of an episode.
    pub(super) fn evidence<'a>(
        &self,
        now: Timestamp,
        device: &'a Device,
        rule: &Rule,
        spec: &'a RuleSpec,
        incident: Incident<'a>,
        earlier: Option<String>,
    ) -> Evidence<'a> {
        Evidence {
            rule: spec,
            device: &device.facts,
            nameplate: device.nameplate(),
            fingerprint: incident.fingerprint,
            episode: incident.episode,
            raised_at: incident.raised_at,
            now,
            sparkline: self.sparkline(device, rule),
            values: incident.values,
            siblings: self.siblings(device, rule),
            others: Vec::new(),
            earlier,
        }
    }

    pub(super) fn values(&self, id: DeviceId, rule: &Rule) -> Vec<(String, Value)> {
        let Some(device) = self.devices.get(id.index()) else {
            return Vec::new();
        };
        let latest = |metric| match device.memory.latest(metric)? {
            (_, Reading::Good(value)) => {
                Some((self.policy.metrics.text(metric).to_owned(), value.clone()))
            }
            (_, Reading::Bad) => None,
        };
        let mut metrics: Vec<MetricId> = rule.key.clone();
        metrics.extend(rule.when.metrics().iter().filter(|metric| !rule.key.contains(metric)));
        metrics.into_iter().filter_map(latest).collect()
    }

    fn siblings(&self, device: &Device, rule: &Rule) -> Vec<String> {
        let others = device.raised.iter().filter(|raised| **raised != rule.id);
        let names = others.map(|raised| self.policy.rule_names.text(*raised).to_owned());
        names.take(SIBLINGS_MAX).collect()
    }
}
