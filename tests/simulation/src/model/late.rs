//! What comes late is placed by its time: what was heard since is undone and heard again.

use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::{Device, Model, Value};

/// What is later than this is not placed by its time.
const LATENESS: TimeSpan = TimeSpan::from_secs(10);

/// What a device said at one time.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    at: Timestamp,
    said: Vec<(&'static str, Value)>,
    /// What was known of these metrics before.
    before: Vec<Known>,
    /// What was known of them after it, while it is undone.
    after: Vec<Known>,
}

/// A value and when it was measured.
type Known = Option<(Timestamp, Value)>;

impl Device {
    /// Keeps what it says at a time, at its place, and what is known before.
    pub(super) fn keep_moment(&mut self, at: Timestamp, said: &[(&'static str, Value)]) {
        let known = |metric: &&'static str| !self.recalled.contains(*metric);
        let before = said.iter().map(|(metric, _)| {
            Some(*metric).filter(known).and_then(|metric| self.values.get(metric).copied())
        });
        let (before, after) = (before.collect(), Vec::new());
        let moment = Moment { at, said: said.to_vec(), before, after };
        let place = self.moments.iter().filter(|known| known.at <= at).count();
        self.moments.insert(place, moment);
        let newest = self.moments.last().map_or(at, |last| last.at);
        self.moments.retain(|moment| newest.since(moment.at) <= LATENESS);
    }

    fn know(&mut self, metric: &'static str, known: Known) -> Known {
        match known {
            Some(known) => self.values.insert(metric, known),
            None => self.values.remove(metric),
        }
    }

    /// Forgets what it said after a time.
    fn unsay_since(&mut self, at: Timestamp) -> Vec<Moment> {
        let first = self.moments.iter().filter(|moment| moment.at <= at).count();
        let mut later = self.moments.split_off(first);
        for moment in later.iter_mut().rev() {
            for ((metric, _), before) in moment.said.iter().zip(&moment.before) {
                let after = self.know(metric, *before);
                moment.after.push(after);
            }
        }
        later
    }

    /// Takes in what is not older than what is known of a metric.
    pub(super) fn say(&mut self, at: Timestamp, said: &[(&'static str, Value)]) {
        for (metric, value) in said {
            let known = self.values.entry(metric).or_insert((at, *value));
            if known.0 <= at {
                *known = (at, *value);
            }
            self.recalled.remove(metric);
        }
    }
}

impl Model {
    /// A device tells what it measured before what it said last.
    pub(super) fn hear_late(
        &mut self,
        now: Timestamp,
        name: &str,
        event: Timestamp,
        values: &[(&'static str, Value)],
    ) {
        let Some(device) = self.devices.get_mut(name) else { return };
        let newest = device.newest.map_or(event, |(newest, _)| newest);
        if newest.since(event) > LATENESS {
            // The newest word on a metric counts from now on; of what was measured before the start
            // something newer may be forgotten.
            let started = self.started;
            let is_newest = |(metric, _): &&(&str, Value)| {
                started.is_none_or(|started| event >= started)
                    && device.values.get(*metric).is_none_or(|known| known.0 <= event)
            };
            let fresh: Vec<_> = values.iter().filter(is_newest).copied().collect();
            device.keep_moment(newest, &fresh);
            for (metric, value) in &fresh {
                device.values.insert(metric, (event, *value));
            }
            values.iter().for_each(|(metric, _)| {
                device.recalled.remove(metric);
            });
            if !fresh.is_empty() {
                self.look_at_rules(name, newest, &fresh);
            }
            return;
        }
        let later = device.unsay_since(event);
        let mut undone = Vec::new();
        for (id, alarm) in &mut device.alarms {
            if alarm.undo_since(event, newest) {
                undone.push(id.rule.clone());
            }
        }
        device.keep_moment(event, values);
        device.say(event, values);
        self.look_at_undone(name, event, values, &undone);
        // What was said at one time is heard again as one.
        for same in later.chunk_by(|a, b| a.at == b.at) {
            let Some(Moment { at, .. }) = same.first() else { continue };
            self.advance(name, *at, false);
            let Some(device) = self.devices.get_mut(name) else { return };
            let mut heard = Vec::new();
            for Moment { at, said, after, .. } in same {
                device.keep_moment(*at, said);
                for ((metric, _), known) in said.iter().zip(after) {
                    device.know(metric, *known);
                }
                heard.extend(said.iter().copied());
            }
            self.look_at_rules(name, *at, &heard);
        }
        self.look_at_undone(name, newest, &[], &undone);
        let time = self.devices.get(name).map_or(now, |device| device.time(now));
        self.advance(name, time, false);
    }

    /// Looks at what [`Model::look_at_rules`] looks at, and at the rules of which something was undone.
    pub(super) fn look_at_undone(
        &mut self,
        name: &str,
        at: Timestamp,
        values: &[(&'static str, Value)],
        undone: &[String],
    ) {
        for index in 0..self.rules.len() {
            let Some(rule) = self.rules.get(index) else { continue };
            let reads = values.iter().any(|(metric, _)| *metric == rule.metric);
            let is_active = self.devices.get(name).is_some_and(|device| {
                let mut alarms = device.alarms.iter().filter(|(known, _)| known.rule == rule.id);
                alarms.any(|(_, alarm)| alarm.is_under_way())
            });
            if reads || is_active || undone.iter().any(|id| id == rule.id) {
                self.look(name, index, at);
            }
        }
    }
}
