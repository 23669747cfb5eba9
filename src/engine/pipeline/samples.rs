//! Message -> Sample -> Edge: what a message, or the passing of time, does to a device's alarms.

use super::{Engine, Timer};
use crate::engine::decode::{Heard, News, Refusal};
use crate::engine::detect::{DeviceMemory, Rule, Scene, Truth as Known, Unknown};
use crate::engine::lifecycle::{self, Observation, Policy, Truth};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState, SeenReading};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Message, Reading};
use crate::engine::types::names::{DeviceId, Metric, MetricId, Names, RuleId};
use crate::engine::types::rule::RuleSpec;
use crate::engine::types::time::Timestamp;

/// Most looks at one device's alarms while its clock moves to one sample. Each look is at a later
/// time; a rule that wants more (a gap of days re-checked each second) goes on from the sample.
const LOOKS_MAX: usize = 100_000;

impl Engine {
    pub(super) fn take_message(
        &mut self,
        now: Timestamp,
        message: &Message,
        effects: &mut Effects,
    ) {
        let Some(source) = self.settings.sources.get(message.source) else {
            return;
        };
        let mut heard = Heard::default();
        self.decoders.decode(source, &self.policy.metrics, message, now, &mut heard);
        self.take_heard(now, message.source, Some(message), heard, effects);
    }

    /// Lets the decoders do what is due by `until`.
    pub(super) fn wake_decoders(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        effects: &mut Effects,
    ) {
        if self.decoders.next_wakeup().is_none_or(|at| at > until) {
            return;
        }
        for source in 0..self.settings.sources.len() {
            let mut heard = Heard::default();
            self.decoders.wake(source, until, &mut heard);
            self.take_heard(now, source, None, heard, effects);
        }
    }

    /// Takes in what the decoder of a source made of a message, or of the passing of time.
    fn take_heard(
        &mut self,
        now: Timestamp,
        source: usize,
        message: Option<&Message>,
        heard: Heard,
        effects: &mut Effects,
    ) {
        for Refusal { reason, detail } in heard.refused {
            effects.decisions.push(Decision::Rejected { source, reason, detail });
        }
        effects.publish.extend(heard.publish);
        let retained = message.is_some_and(|message| message.retain);
        for element in heard.decoded {
            let found = self.find_device(now, source, element.facts, effects);
            let Some(device) = found else { continue };
            match element.news {
                News::Presence { online } => self.take_presence(now, device, online, effects),
                News::Stale => self.take_stale(now, device, effects),
                News::History { at, readings } => self.take_history(now, device, at, &readings),
                News::Readings { at, readings } => {
                    let event = at.unwrap_or(now);
                    let hash = |message: &Message| *blake3::hash(&message.payload).as_bytes();
                    let payload = at.and(message).map(hash);
                    if self.is_repeat(device, event, payload) {
                        continue;
                    }
                    self.take_readings(now, device, event, retained, readings, effects);
                }
            }
        }
    }

    /// The readings of the metrics that some rule reads.
    pub(super) fn known_metrics(
        &self,
        readings: Vec<(String, Reading)>,
    ) -> Vec<(MetricId, Reading)> {
        let metrics = &self.policy.metrics;
        let known = readings.into_iter();
        known.filter_map(|(name, reading)| Some((metrics.find(&name)?, reading))).collect()
    }

    /// Takes in what a device had kept while nobody heard it: it fills history and starts nothing.
    fn take_history(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        at: Timestamp,
        readings: &[(MetricId, Reading)],
    ) {
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.heard = device.heard.max(now);
            for (metric, reading) in readings {
                device.memory.recall(at, *metric, reading);
            }
        }
    }

    /// What a device said before is no longer known to hold: no rule decides by it.
    fn take_stale(&mut self, now: Timestamp, id: DeviceId, effects: &mut Effects) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let event = device.clock.at(now);
        self.advance(now, id, event, effects);
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.memory.spoil(event);
        }
        self.look_at_all(now, id, event, effects);
    }

    /// Takes in what a device measured at `event` time.
    pub(super) fn take_readings(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        event: Timestamp,
        retained: bool,
        readings: Vec<(MetricId, Reading)>,
        effects: &mut Effects,
    ) {
        let lateness = self.settings.lateness;
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.heard = device.heard.max(now);
        let newest = device.clock.newest();
        let late = newest.is_some_and(|newest| newest.since(event) > lateness);
        // A retained value may be old: it sets state as of its time, but nothing begins before now.
        let look_at = if retained { event.max(now) } else { event.max(newest.unwrap_or(event)) };
        if !late {
            self.advance(now, id, look_at, effects);
        }
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        for (metric, reading) in &readings {
            device.memory.absorb(event, *metric, reading);
            for alarm in &mut device.alarms {
                let frozen = alarm.record.as_ref().is_some_and(|record| {
                    record.state.is_raised() || matches!(record.state, AlarmState::Pending { .. })
                });
                alarm.memory.absorb(event, *metric, reading, frozen);
            }
        }
        if late {
            return;
        }
        device.clock.hear(look_at, now);
        self.look_at_all(now, id, look_at, effects);
    }

    /// Looks at every alarm of a device, and again while an alarm of it rises or falls, since
    /// `raised()` of another rule may depend on it.
    pub(super) fn look_at_all(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        event: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(count) = self.devices.get(id.index()).map(|device| device.alarms.len()) else {
            return;
        };
        for _ in 0..=count {
            let mut changed = false;
            for alarm in 0..count {
                changed |= self.look(now, id, alarm, event, effects);
            }
            if !changed {
                break;
            }
        }
    }

    /// Lets everything happen that is due on a device before its clock reaches `event`.
    fn advance(&mut self, now: Timestamp, id: DeviceId, event: Timestamp, effects: &mut Effects) {
        for _ in 0..LOOKS_MAX {
            let Some(device) = self.devices.get(id.index()) else {
                return;
            };
            let next = device.alarms.iter().enumerate();
            let next = next.filter_map(|(index, alarm)| Some((alarm.due?, index))).min();
            match next {
                Some((due, alarm)) if due < event => {
                    self.look(now, id, alarm, due, effects);
                }
                _ => return,
            }
        }
    }

    pub(super) fn fire_alarm(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        effects: &mut Effects,
    ) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let time = device.clock.at(now);
        let Some(alarm) = device.alarms.get_mut(index) else {
            return;
        };
        alarm.timer = None;
        match alarm.due {
            Some(due) if due <= time => {
                if self.look(now, id, index, due, effects) {
                    self.look_at_all(now, id, due, effects);
                }
            }
            _ => self.set_timer(id, index),
        }
    }

    /// Looks at one alarm at one event time. True when it was raised or returned.
    fn look(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        event: Timestamp,
        effects: &mut Effects,
    ) -> bool {
        let held = now < self.absence_held_until || !self.paths_down.is_empty();
        let Some(device) = self.devices.get_mut(id.index()) else {
            return false;
        };
        let Some(alarm) = device.alarms.get_mut(index) else {
            return false;
        };
        let Some(rule) = self.policy.rules.get(alarm.rule).cloned() else {
            return false;
        };
        if alarm.record.as_ref().is_some_and(|record| event < record.changed_at) {
            return false;
        }
        let raised = &device.raised;
        let raised = |rule| raised.contains(&rule);
        let mut scene = Scene {
            memory: &device.memory,
            learned: alarm.memory.of_when(),
            device: &device.facts,
            now: event,
            stale_after: rule.spec.stale_after,
            raised: &raised,
            last_message: device.clock.newest().unwrap_or(device.heard),
            offline: device.offline,
            absence_held: held,
        };
        let when = rule.when.evaluate(&scene);
        scene.learned = alarm.memory.of_clear();
        let clear = rule.clear_when.as_ref().map(|condition| condition.evaluate(&scene));
        let recheck = [when.recheck_at, clear.as_ref().and_then(|clear| clear.recheck_at)];
        let truths = [Some(&when.truth), clear.as_ref().map(|clear| &clear.truth)];
        tell_errors(truths, rule.id, id, effects);
        let when = known(&when.truth);
        let clear = clear.map_or_else(|| opposite(when), |clear| known(&clear.truth));
        let mut fresh = None;
        let record = match &mut alarm.record {
            Some(record) => record,
            None if when == Truth::Holds => {
                let (rule, device) = (rule.spec.id.clone(), device.facts.id.clone());
                let id = AlarmId { rule, device, key: Vec::new() };
                fresh.insert(Box::new(AlarmRecord::new(id, String::new())))
            }
            None => {
                alarm.due = recheck.into_iter().flatten().filter(|at| *at > event).min();
                self.set_timer(id, index);
                return false;
            }
        };
        let seen = Observation { at: event, when, clear };
        let edges = record.edges.len();
        let next = lifecycle::observe(&record.state, &mut record.edges, &policy(&rule.spec), seen);
        let due = recheck.into_iter().flatten().chain(next.due).filter(|at| *at > event).min();
        let changed = next.state != record.state || edges != record.edges.len();
        if changed {
            record.state = next.state;
            record.changed_at = event;
            record.revision = rule.spec.revision.clone();
            record.seen = seen_readings(&rule, &device.memory, &self.policy.metrics);
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

    pub(super) fn write_alarm(&self, id: DeviceId, index: usize, effects: &mut Effects) {
        let device = self.devices.get(id.index());
        let record = device.and_then(|device| device.alarms.get(index)?.record.as_ref());
        effects.writes.extend(record.cloned().map(Write::Alarm));
    }

    fn take_presence(&mut self, now: Timestamp, id: DeviceId, online: bool, effects: &mut Effects) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.offline = !online;
        let event = device.clock.at(now);
        self.advance(now, id, event, effects);
        self.look_at_all(now, id, event, effects);
    }

    pub(super) fn take_path(&mut self, now: Timestamp, source: usize, up: bool) {
        if !up {
            self.paths_down.insert(source);
        } else if self.paths_down.remove(&source) {
            self.absence_held_until =
                self.absence_held_until.max(now + self.settings.restart_grace);
            self.wake_absence();
        }
    }

    /// Has every alarm looked at again once `absent` is no longer held back.
    pub(super) fn wake_absence(&mut self) {
        let at = self.absence_held_until;
        for (number, device) in self.devices.iter_mut().enumerate() {
            let Some(id) = self.names.find(&device.facts.id) else {
                continue;
            };
            debug_assert_eq!(id.index(), number);
            let event = device.clock.at(at);
            for (index, alarm) in device.alarms.iter_mut().enumerate() {
                let reads_absence =
                    self.policy.rules.get(alarm.rule).is_some_and(|rule| rule.reads_absence());
                if reads_absence && alarm.due.is_none_or(|due| due > event) {
                    alarm.due = Some(event);
                    if let Some(set) = alarm.timer.replace(at) {
                        self.timers.remove(&(set, Timer::Alarm(id, index)));
                    }
                    self.timers.insert((at, Timer::Alarm(id, index)));
                }
            }
        }
    }

    /// True for an exact repeat of the device's newest message.
    fn is_repeat(&mut self, id: DeviceId, event: Timestamp, payload: Option<[u8; 32]>) -> bool {
        let (Some(device), Some(payload)) = (self.devices.get_mut(id.index()), payload) else {
            return false;
        };
        let repeat = device.newest_payload == Some((event, payload));
        if device.newest_payload.is_none_or(|(newest, _)| event >= newest) {
            device.newest_payload = Some((event, payload));
        }
        repeat
    }
}

/// What the rule's metrics read now, so that a delay outlives a restart.
fn seen_readings(rule: &Rule, memory: &DeviceMemory, names: &Names<Metric>) -> Vec<SeenReading> {
    let clear = rule.clear_when.iter().flat_map(|condition| condition.metrics());
    let mut seen: Vec<SeenReading> = Vec::new();
    for id in rule.when.metrics().iter().chain(clear) {
        let metric = names.text(*id);
        if let Some((at, reading)) = memory.latest(*id)
            && seen.iter().all(|known| known.metric != metric)
        {
            seen.push(SeenReading { metric: metric.to_owned(), at, reading: reading.clone() });
        }
    }
    seen
}

/// A condition that cannot be evaluated is counted, and stops nothing.
fn tell_errors(truths: [Option<&Known>; 2], rule: RuleId, device: DeviceId, effects: &mut Effects) {
    for truth in truths.into_iter().flatten() {
        if let Known::Unknown(Unknown::Error(detail)) = truth {
            let detail = (*detail).to_owned();
            effects.decisions.push(Decision::RuleError { rule, device, detail });
        }
    }
}

fn known(truth: &Known) -> Truth {
    match truth {
        Known::True => Truth::Holds,
        Known::False => Truth::Fails,
        Known::Unknown(_) => Truth::Unknown,
    }
}

fn opposite(truth: Truth) -> Truth {
    match truth {
        Truth::Holds => Truth::Fails,
        Truth::Fails => Truth::Holds,
        Truth::Unknown => Truth::Unknown,
    }
}

fn policy(spec: &RuleSpec) -> Policy {
    Policy {
        on_delay: spec.on_delay,
        off_delay: spec.off_delay,
        occurrences: spec.occurrences,
        occurrences_within: spec.occurrences_within,
        latch: spec.latch,
    }
}
