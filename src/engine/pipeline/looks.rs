//! Sample -> Edge: which rules are looked at when, and what comes of a look.

use std::collections::VecDeque;

use super::Engine;
use super::devices::{Alarm, Device};
use super::evaluation::{self, Around, Seen};
use super::near_miss;
use crate::engine::detect::{DeviceMemory, Rule};
use crate::engine::lifecycle::{self, Observation, Past, Policy, Truth};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, SeenReading};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::Reading;
use crate::engine::types::names::{DeviceId, Metric, MetricId, Names};
use crate::engine::types::rule::RuleSpec;
use crate::engine::types::time::Timestamp;

/// Most looks at one device's alarms while its clock moves to one sample. Each look is at a later
/// time; a rule that wants more (a gap of days re-checked each second) goes on from the sample.
const LOOKS_MAX: usize = 100_000;

/// Alarms of one rule on one device, told apart by the values of its key: a device that sends junk
/// for a fault code cannot fill the memory.
const KEYS_MAX: usize = 256;

/// One look at a rule of a device.
#[derive(Clone, Copy, Debug)]
struct Look<'a> {
    rule: &'a Rule,
    event: Timestamp,
    /// Values of the rule's key metrics.
    key: &'a [String],
    seen: Seen,
}

impl Device {
    /// True while a rule cannot say what becomes of its alarms: they are under way by other limits,
    /// and what the device said last is known only as far as it decided by those. A reading that
    /// changed nothing is not stored.
    fn awaits_word(&self, index: usize, rule: &Rule) -> bool {
        let reads = |metric: &MetricId| {
            let clear = rule.clear_when.iter().flat_map(|condition| condition.metrics());
            rule.when.metrics().iter().chain(&rule.key).chain(clear).any(|read| read == metric)
        };
        let by_others = |alarm: &Alarm| {
            let record = alarm.record.as_ref().filter(|_| alarm.is_active());
            alarm.rule == index
                && record.is_some_and(|record| record.revision != rule.spec.revision)
        };
        !self.recalled.is_empty()
            && self.alarms.iter().any(by_others)
            && self.recalled.iter().any(reads)
    }
}

impl Engine {
    /// Looks at these rules of a device, and then at those that ask whether an alarm is raised
    /// which has just been raised or has returned.
    pub(super) fn look_at(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rules: &[usize],
        event: Timestamp,
        effects: &mut Effects,
    ) {
        let mut waiting: VecDeque<usize> = VecDeque::new();
        for rule in rules {
            if self.look(now, id, *rule, event, effects) {
                self.add_askers(id, *rule, &mut waiting);
            }
        }
        let Some(device) = self.devices.get(id.index()) else {
            return;
        };
        // Two rules that ask about each other could go on for ever.
        for _ in 0..=device.profile.rules.len() {
            let Some(rule) = waiting.pop_front() else {
                return;
            };
            if self.look(now, id, rule, event, effects) {
                self.add_askers(id, rule, &mut waiting);
            }
        }
    }

    /// Looks at what these readings concern, and at what may change without any: alarms that are
    /// under way, and rules that ask about the device itself.
    pub(super) fn look_concerned(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        readings: &[(MetricId, Reading)],
        event: Timestamp,
        effects: &mut Effects,
    ) {
        let mut rules = std::mem::take(&mut self.scratch);
        if let Some(device) = self.devices.get(id.index()) {
            device.concerned(readings, &mut rules);
        }
        self.look_at(now, id, &rules, event, effects);
        rules.clear();
        self.scratch = rules;
    }

    fn add_askers(&self, id: DeviceId, rule: usize, waiting: &mut VecDeque<usize>) {
        let rule = self.policy.rules.get(rule);
        if let (Some(device), Some(rule)) = (self.devices.get(id.index()), rule) {
            waiting.extend(device.profile.askers(rule.id));
        }
    }

    /// Lets everything happen that is due on a device before its clock reaches `event`.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        event: Timestamp,
        effects: &mut Effects,
    ) {
        for _ in 0..LOOKS_MAX {
            let Some(device) = self.devices.get_mut(id.index()) else {
                return;
            };
            if device.next_due.is_none_or(|due| due >= event) {
                return;
            }
            let next = device.alarms.iter().filter_map(|alarm| Some((alarm.due?, alarm.rule)));
            let next = next.min();
            device.next_due = next.map(|(due, _)| due);
            match next {
                Some((due, rule)) if due < event => self.look_at(now, id, &[rule], due, effects),
                _ => return,
            }
        }
    }

    /// The timer of an alarm fires: what is due by `until` happens.
    pub(super) fn fire_alarm(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        (id, index): (DeviceId, usize),
        effects: &mut Effects,
    ) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let time = device.clock.at(until);
        let Some(alarm) = device.alarms.get_mut(index) else {
            return;
        };
        alarm.timer = None;
        match alarm.due {
            Some(due) if due <= time => {
                let rule = alarm.rule;
                self.look_at(now, id, &[rule], due, effects);
                // A look that changed nothing leaves the alarm as it was: it is due later, or not.
                self.set_timer(id, index);
            }
            _ => self.set_timer(id, index),
        }
    }

    /// Looks at one rule of a device at one event time. True when an alarm was raised or returned.
    fn look(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rule_index: usize,
        event: Timestamp,
        effects: &mut Effects,
    ) -> bool {
        let Some(rule) = self.rule_of(id, rule_index) else {
            return false;
        };
        let Some(seen) = self.evaluate(now, id, rule_index, &rule, event, effects) else {
            return false;
        };
        let device = self.devices.get(id.index());
        let awaits_word = device.is_some_and(|device| device.awaits_word(rule_index, &rule));
        let key = self.key_of(id, &rule).filter(|_| !awaits_word);
        let mut look = Look { rule: &rule, event, key: key.as_deref().unwrap_or(&[]), seen };
        let mut happened = false;
        if !rule.key.is_empty() {
            happened |= self.look_at_other_keys(now, id, rule_index, look, key.is_some(), effects);
        }
        if key.is_none() {
            // Whose alarm it would be cannot be told, or what becomes of it.
            look.seen = Seen { when: Truth::Unknown, clear: Truth::Unknown, ..seen };
        }
        match self.slot_for(id, rule_index, look, effects) {
            Some(index) => self.observe(now, id, index, look, effects) || happened,
            None => happened,
        }
    }

    /// The values of the rule's key metrics now; `None` while one of them cannot be told.
    fn key_of(&self, id: DeviceId, rule: &Rule) -> Option<Vec<String>> {
        let memory = &self.devices.get(id.index())?.memory;
        let value = |metric: &MetricId| match memory.latest(*metric)? {
            (_, Reading::Good(value)) => Some(value.to_string()),
            (_, Reading::Bad) => None,
        };
        rule.key.iter().map(value).collect()
    }

    /// The alarms of a rule whose key values are others than those of now: their fault is over,
    /// unless the values cannot be told.
    fn look_at_other_keys(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rule_index: usize,
        look: Look<'_>,
        is_known: bool,
        effects: &mut Effects,
    ) -> bool {
        let gone = Seen::of(Truth::Fails, Truth::Holds);
        let unknown = Seen::of(Truth::Unknown, Truth::Unknown);
        let look = Look { seen: if is_known { gone } else { unknown }, ..look };
        let Some(count) = self.devices.get(id.index()).map(|device| device.alarms.len()) else {
            return false;
        };
        let mut happened = false;
        for index in 0..count {
            let is_other = self.alarm_mut(id, index).is_some_and(|alarm| {
                let record = alarm.record.as_ref();
                alarm.rule == rule_index
                    && record.is_some_and(|record| !is_known || record.id.key != look.key)
            });
            if is_other {
                happened |= self.observe(now, id, index, look, effects);
            }
        }
        happened
    }

    /// Where the alarm of a rule with these key values is kept; made when it is needed.
    fn slot_for(
        &mut self,
        id: DeviceId,
        rule_index: usize,
        look: Look<'_>,
        effects: &mut Effects,
    ) -> Option<usize> {
        let device = self.devices.get_mut(id.index())?;
        let of_rule = || device.alarms.iter().enumerate().filter(|(_, a)| a.rule == rule_index);
        let has_key = |alarm: &Alarm| alarm.record.as_ref().is_some_and(|r| r.id.key == look.key);
        let known = of_rule().find(|(_, alarm)| has_key(alarm));
        let known = known.or_else(|| of_rule().find(|(_, alarm)| alarm.record.is_none()));
        if let Some((index, _)) = known {
            return Some(index);
        }
        if look.seen.when != Truth::Holds && look.seen.recheck_at.is_none() {
            return None;
        }
        if of_rule().count() >= KEYS_MAX {
            let detail = format!("more than {KEYS_MAX} values of the key");
            let rule = look.rule.id;
            effects.decisions.push(Decision::RuleError { rule, device: id, detail });
            return None;
        }
        device.alarms.push(Alarm::new(rule_index));
        Some(device.alarms.len() - 1)
    }

    /// Evaluates the conditions of a rule; what cannot be told is counted, and stops nothing.
    fn evaluate(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rule_index: usize,
        rule: &Rule,
        event: Timestamp,
        effects: &mut Effects,
    ) -> Option<Seen> {
        let device = self.devices.get(id.index())?;
        let seen = evaluation::evaluate(device, rule_index, rule, event, self.around(now));
        for detail in seen.errors.into_iter().flatten() {
            let (rule, device, detail) = (rule.id, id, detail.to_owned());
            effects.decisions.push(Decision::RuleError { rule, device, detail });
        }
        if let Some(count) = self.looks.get_mut(rule_index) {
            *count += 1;
        }
        if let (Truth::Unknown, Some(count)) = (seen.when, self.unknown.get_mut(rule_index)) {
            *count += 1;
        }
        Some(seen)
    }

    /// What lies around every device.
    pub(super) fn around(&self, now: Timestamp) -> Around<'_> {
        Around { peers: &self.peers, paths: &self.paths, now }
    }

    /// Moves one alarm on what its conditions say. True when it was raised or returned.
    fn observe(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        look: Look<'_>,
        effects: &mut Effects,
    ) -> bool {
        let Look { rule, event, key, seen } = look;
        let Some(device) = self.devices.get_mut(id.index()) else {
            return false;
        };
        let Some(alarm) = device.alarms.get_mut(index) else {
            return false;
        };
        let mut fresh = None;
        let decided = alarm.record.as_ref().map(|record| record.changed_at);
        let is_past = device.clock.newest().is_some_and(|newest| event < newest);
        if is_past && decided.is_some_and(|decided| event < decided) {
            // It was not put back to before what was decided since.
            alarm.due = alarm.due.filter(|due| *due > event);
            return false;
        }
        // What was measured before a delay ended and is received after it is still the newest word of
        // the device: it cannot undo what was decided, but it counts from then on.
        let event = decided.map_or(event, |decided| event.max(decided));
        let record = match &mut alarm.record {
            Some(record) => record,
            None if seen.when == Truth::Holds => {
                let (rule, device) = (rule.spec.id.clone(), device.facts.id.clone());
                let id = AlarmId { rule, device, key: key.to_vec() };
                fresh.insert(Box::new(AlarmRecord::new(id, String::new())))
            }
            None => {
                alarm.due = seen.recheck_at;
                self.set_timer(id, index);
                return false;
            }
        };
        alarm.past.begin(record);
        let Seen { when, clear, recheck_at, .. } = seen;
        let observed = Observation { at: event, when, clear };
        let (edges, flapping) = (record.edges.len(), record.flapping.clone());
        let policy = policy(&rule.spec);
        let mut past = Past {
            edges: &mut record.edges,
            changes: &mut record.changes,
            flapping: &mut record.flapping,
        };
        let next = lifecycle::observe(&record.state, &mut past, &policy, observed);
        let due = recheck_at.into_iter().chain(next.due).filter(|at| *at > event).min();
        let changed = next.state != record.state
            || edges != record.edges.len()
            || flapping != record.flapping;
        if changed {
            let before = std::mem::replace(&mut record.state, next.state);
            near_miss::note(record, &before, event, now, &policy);
            record.changed_at = event;
            record.revision = rule.spec.revision.clone();
            record.on_remove = rule.spec.on_remove;
            record.seen = seen_readings(rule, &device.memory, &self.policy.metrics);
            let newest = device.clock.newest().unwrap_or(event);
            alarm.past.note(record, !next.events.is_empty(), newest - self.settings.lateness);
        }
        alarm.record = alarm.record.take().or(fresh);
        alarm.due = due;
        self.set_timer(id, index);
        if changed {
            self.take_events(now, id, index, &next.events, effects);
            self.write_alarm(id, index, effects);
        }
        !next.events.is_empty()
    }

    /// Keeps with the alarms of a device that are under way what its rules judge them by from now on:
    /// after a restart they judge by it again.
    pub(super) fn note_judged(&mut self, id: DeviceId, effects: &mut Effects) {
        let count = self.devices.get(id.index()).map_or(0, |device| device.alarms.len());
        for index in 0..count {
            let Some(device) = self.devices.get(id.index()) else { return };
            let Some(alarm) = device.alarms.get(index).filter(|alarm| alarm.is_active()) else {
                continue;
            };
            let Some(rule) = self.rule_of(id, alarm.rule) else { continue };
            let is_same =
                alarm.record.as_ref().is_some_and(|record| record.revision == rule.spec.revision);
            if is_same || device.awaits_word(alarm.rule, &rule) {
                continue;
            }
            let seen = seen_readings(&rule, &device.memory, &self.policy.metrics);
            if let Some(record) = self.record_mut(id, index) {
                record.revision.clone_from(&rule.spec.revision);
                record.seen = seen;
            }
            self.write_alarm(id, index, effects);
        }
    }

    pub(super) fn write_alarm(&self, id: DeviceId, index: usize, effects: &mut Effects) {
        let device = self.devices.get(id.index());
        let record = device.and_then(|device| device.alarms.get(index)?.record.as_ref());
        effects.writes.extend(record.cloned().map(Write::Alarm));
    }
}

/// What the rule's metrics read now, so that a delay outlives a restart.
fn seen_readings(rule: &Rule, memory: &DeviceMemory, names: &Names<Metric>) -> Vec<SeenReading> {
    let clear = rule.clear_when.iter().flat_map(|condition| condition.metrics());
    let mut seen: Vec<SeenReading> = Vec::new();
    for id in rule.when.metrics().iter().chain(&rule.key).chain(clear) {
        let metric = names.text(*id);
        if let Some((at, reading)) = memory.latest(*id)
            && seen.iter().all(|known| known.metric != metric)
        {
            seen.push(SeenReading { metric: metric.to_owned(), at, reading: reading.clone() });
        }
    }
    seen
}

fn policy(spec: &RuleSpec) -> Policy {
    Policy {
        on_delay: spec.on_delay,
        off_delay: spec.off_delay,
        occurrences: spec.occurrences,
        occurrences_within: spec.occurrences_within,
        latch: spec.latch,
        flapping: spec.flapping,
    }
}
