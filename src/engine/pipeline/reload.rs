//! A new set of rules, taken in while the gateway runs.
//!
//! A rule is known by its id. An alarm whose condition still holds stays the same episode on the
//! same ticket, one that no longer does returns, and the alarm of a rule that has gone is kept with
//! its ticket. What devices said is kept as far as the new rules read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::profile::Profiles;
use super::{Engine, Timer};
use crate::engine::detect::Rule;
use crate::engine::lifecycle;
use crate::engine::policy::Policy;
use crate::engine::ticket;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

/// Where the names and rules of the former set stand in the new one.
#[derive(Debug)]
pub(super) struct Change {
    metrics: Vec<Option<MetricId>>,
    rules: Vec<Option<Moved>>,
}

/// A rule that is in both sets.
#[derive(Clone, Copy, Debug)]
struct Moved {
    to: usize,
    /// It fires when it did before.
    is_same: bool,
}

impl Change {
    fn new(old: &Policy, new: &Policy) -> Change {
        let metrics = old.metrics.texts().map(|metric| new.metrics.find(metric)).collect();
        let places: BTreeMap<&str, usize> =
            new.rules.iter().enumerate().map(|(at, rule)| (rule.spec.id.as_str(), at)).collect();
        let renamed: BTreeMap<&str, usize> = (0..)
            .zip(&new.rules)
            .filter_map(|(at, rule)| Some((rule.spec.renamed_from.as_deref()?, at)))
            .collect();
        let moved = |rule: &Arc<Rule>| {
            let id = rule.spec.id.as_str();
            let to = *places.get(id).or_else(|| renamed.get(id))?;
            let is_same = new.rules.get(to)?.spec.revision == rule.spec.revision;
            Some(Moved { to, is_same })
        };
        Change { metrics, rules: old.rules.iter().map(moved).collect() }
    }

    pub fn metric(&self, old: MetricId) -> Option<MetricId> {
        self.metrics.get(old.index()).copied().flatten()
    }

    /// Where a rule stands now.
    pub fn rule(&self, old: usize) -> Option<usize> {
        self.rules.get(old).copied().flatten().map(|moved| moved.to)
    }

    /// Where the rule stood that is at `new` and fires as it did.
    pub fn same_rule_before(&self, new: usize) -> Option<usize> {
        self.rules
            .iter()
            .position(|moved| moved.is_some_and(|Moved { to, is_same }| to == new && is_same))
    }
}

impl Engine {
    /// Goes on with other rules. Opens nothing by itself: a new rule is looked at with the next
    /// sample, and alarms that are under way are looked at now.
    pub fn reload(&mut self, now: Timestamp, policy: Policy, effects: &mut Effects) {
        let old = std::mem::replace(&mut self.policy, policy);
        let change = Change::new(&old, &self.policy);
        self.profiles = Profiles::default();
        self.topics.forget();
        self.unknown = vec![0; self.policy.rules.len()];
        self.looks = self.unknown.clone();
        self.timers.retain(|(_, timer)| {
            matches!(
                timer,
                Timer::Ladder(_)
                    | Timer::Askers
                    | Timer::Groups
                    | Timer::Untold(_)
                    | Timer::Verify(_)
                    | Timer::Period
                    | Timer::Confirm
                    | Timer::Retention
            )
        });
        if old.budgets != self.policy.budgets || old.plan != self.policy.plan {
            self.set_budgets(now);
            self.guard.set_blind(true);
        }
        let ids = self.device_ids();
        self.register_devices(effects);
        for id in &ids {
            if let Some(device) = self.devices.get_mut(id.index()) {
                device.next_due = None;
                device.alarms.iter_mut().for_each(|alarm| alarm.timer = None);
            }
            self.attach(*id, Some(&change));
        }
        self.note_on_remove(effects);
        self.settle_departed(now, effects);
        self.add_registered(now);
        self.recount_peers();
        self.restore_suppression(now);
        for id in ids {
            if let Some(device) = self.devices.get(id.index())
                && !seeded::has(Bug::TimerLostAtReload)
            {
                let event = device.clock.at(now);
                self.look_concerned(now, id, &[], event, effects);
            }
            self.note_judged(id, effects);
        }
        self.look_at_askers(now, effects);
        self.note_severities(now, effects);
        let tickets: Vec<_> =
            self.tickets.values().filter(|ticket| ticket.ladder.is_some()).cloned().collect();
        tickets.iter().for_each(|ticket| self.set_ladder_timer(ticket));
    }

    /// What becomes of an alarm when its rule goes is kept with it: the rule is not there to ask.
    fn note_on_remove(&mut self, effects: &mut Effects) {
        for alarm in self.devices.iter_mut().flat_map(|device| &mut device.alarms) {
            let rule = self.policy.rules.get(alarm.rule);
            if let (Some(rule), Some(record)) = (rule, &mut alarm.record)
                && record.on_remove != rule.spec.on_remove
            {
                record.on_remove = rule.spec.on_remove;
                effects.writes.push(Write::Alarm(record.clone()));
            }
        }
    }

    /// A raised alarm whose rule calls it worse than it was when it was raised alarms again, on
    /// the same ticket; when it is no longer suppressed, where it is.
    pub(super) fn note_severities(&mut self, now: Timestamp, effects: &mut Effects) {
        for id in self.device_ids() {
            let count = self.devices.get(id.index()).map_or(0, |device| device.alarms.len());
            for index in 0..count {
                self.note_severity(now, (id, index), effects);
            }
        }
    }

    pub(super) fn note_severity(
        &mut self,
        now: Timestamp,
        (id, index): (DeviceId, usize),
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else { return };
        let spec = rule.spec.for_key(&record.id.key);
        let Some(episode) = &record.episode else { return };
        if !record.state.is_raised() || spec.severity >= episode.severity {
            return;
        }
        let (alarm, ticket) = (record.id.clone(), episode.ticket);
        if let Some(cause) = self.suppressed(now, id, index, &spec) {
            return self.hold_worse(now, alarm, &cause);
        }
        let severity = spec.severity;
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            episode.severity = severity;
            record.remember(now, now, format!("now {}: alarms again", severity.word()));
        }
        self.change(now, id, index, "", effects, |state, _| lifecycle::re_alarm(state));
        self.write_alarm(id, index, effects);
        if let Some(ticket) = ticket {
            let text = ticket::comment_worse(self.speech(), &alarm, severity);
            self.worsen(now, ticket, &rule, (severity, text), effects);
        }
    }
}
