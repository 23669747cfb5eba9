//! What is known about a fault when its ticket is written.

use super::Engine;
use super::devices::Device;
use crate::engine::detect::Rule;
use crate::engine::lifecycle;
use crate::engine::ticket::{Decided, Evidence, Speech};
use crate::engine::types::alarm::{AlarmId, Fingerprint};
use crate::engine::types::message::Reading;
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

/// The tickets that a fault has had before.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// In words, newest first.
    pub tickets: Vec<String>,
    /// The last of them, and when it ended, where somebody comes again for the same fault.
    pub repeats: Option<(String, Timestamp)>,
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
    pub values: Vec<Decided>,
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
        earlier: Earlier,
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
            flaps: self.flaps_of(incident.alarm, incident.raised_at),
            link: self
                .settings
                .console
                .as_ref()
                .map(|base| format!("{base}{}", incident.alarm.page())),
            siblings: self.siblings(device, rule),
            at_site: self.at_site(device),
            others: Vec::new(),
            earlier: earlier.tickets,
            repeats: earlier.repeats,
        }
    }

    /// What is told of an alarm that has its ticket: `say` writes it, from the evidence as it is now,
    /// of a fault that is there since the first time and known since the second.
    pub(super) fn told_again(
        &self,
        (raised_at, known_at): (Timestamp, Timestamp),
        (id, index): (DeviceId, usize),
        say: fn(Speech, &Evidence<'_>) -> String,
    ) -> Option<String> {
        let (rule, record) = self.alarm_of(id, index)?;
        let (episode, device) = (record.episode.as_ref()?, self.devices.get(id.index())?);
        let spec = rule.spec.for_key(&record.id.key);
        let incident = Incident {
            entry: Entry::Again,
            alarm: &record.id,
            episode: episode.number,
            fingerprint: &episode.fingerprint,
            raised_at,
            known_at,
            values: self.values(id, &rule),
        };
        let evidence = self.evidence(known_at, device, &rule, &spec, incident, Earlier::default());
        Some(say(self.speech(), &evidence))
    }

    pub(super) fn values(&self, id: DeviceId, rule: &Rule) -> Vec<Decided> {
        let Some(device) = self.devices.get(id.index()) else {
            return Vec::new();
        };
        let latest = |metric| match device.memory.latest(metric)? {
            (at, Reading::Good(value)) => {
                let name = self.policy.metrics.text(metric).to_owned();
                Some(Decided { name, value: value.clone(), at })
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

    fn at_site(&self, device: &Device) -> Vec<String> {
        let others = self.peers.at_site(&device.facts.site);
        let others = others.filter_map(|(id, rule)| Some((self.devices.get(id.index())?, rule)));
        let others = others.filter(|(other, _)| other.facts.id != device.facts.id);
        let names = others.map(|(other, rule)| {
            format!("{}/{}", self.policy.rule_names.text(rule), other.facts.id)
        });
        names.take(SIBLINGS_MAX).collect()
    }

    fn flaps_of(&self, alarm: &AlarmId, at: Timestamp) -> (usize, f64) {
        let found = self.find_alarm(alarm).and_then(|(id, index)| self.alarm_of(id, index));
        let changes = found.map_or(0, |(_, record)| lifecycle::recent(&record.changes, at));
        (changes, lifecycle::score(changes))
    }
}
