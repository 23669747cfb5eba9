//! A sample that comes late is placed by its time: the device is put back to it, and what was heard
//! since is taken again.
//!
//! What comes of it is what would have come of the samples in their order, but for what somebody
//! was told already: a raise, a return and what a person did stand. Rules that learn what is normal
//! are not put back: they learn the sample at its place, and decide by what they know in the end.

use super::Engine;
use super::devices::Device;
use crate::engine::detect::When;
use crate::engine::types::effect::Effects;
use crate::engine::types::message::Reading;
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

impl Device {
    /// Puts the alarms back to where they stood then. The places of those that moved since.
    fn put_alarms_back(&mut self, When { event, reached, .. }: When) -> Vec<usize> {
        let learning = &self.profile.learning;
        let mut moved = Vec::new();
        for (place, alarm) in self.alarms.iter_mut().enumerate() {
            let Some(record) = &mut alarm.record else { continue };
            if learning.binary_search(&alarm.rule).is_err()
                && alarm.past.put_back(record, event, reached)
            {
                alarm.due = None;
                moved.push(place);
            }
        }
        moved
    }

    /// Only the rules that are put back, or only the others.
    fn keep_rules(&self, rules: &mut Vec<usize>, learning: bool) {
        rules.retain(|rule| self.profile.learning.binary_search(rule).is_ok() == learning);
    }
}

impl Engine {
    /// Takes in what a device measured before what it said last.
    pub(super) fn take_late(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        when: When,
        readings: &[(MetricId, Reading)],
        effects: &mut Effects,
    ) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.samples += 1;
        device.learn(when, readings);
        device.memory.put_back(when.event);
        let moved = device.put_alarms_back(when);
        let mut next = device.memory.take_late(when, readings);
        device.recalled.retain(|metric| readings.iter().all(|(heard, _)| heard != metric));
        let mut rules = std::mem::take(&mut self.scratch);
        device.concerned(readings, &mut rules);
        let alarms = &device.alarms;
        let moved_rules: Vec<usize> =
            moved.iter().filter_map(|place| Some(alarms.get(*place)?.rule)).collect();
        rules.extend(&moved_rules);
        rules.sort_unstable();
        rules.dedup();
        device.keep_rules(&mut rules, false);
        self.look_at(now, id, &rules, when.event, effects);
        let mut again = Vec::new();
        while let Some(at) = self.time_of_step(id, next) {
            self.advance(now, id, at, effects);
            let Some(device) = self.devices.get_mut(id.index()) else { break };
            rules.clear();
            again.clear();
            next = device.memory.take_again(next, &mut again);
            device.concerned(&again, &mut rules);
            device.keep_rules(&mut rules, false);
            self.look_at(now, id, &rules, at, effects);
        }
        rules.clear();
        if let Some(device) = self.devices.get(id.index()) {
            device.concerned(readings, &mut rules);
            device.keep_rules(&mut rules, true);
        }
        // When those are due that no later sample concerned.
        rules.extend(moved_rules);
        self.look_at(now, id, &rules, when.reached, effects);
        rules.clear();
        self.scratch = rules;
        // What is due now that was not before.
        let time = self.devices.get(id.index()).map_or(now, |device| device.clock.at(now));
        self.advance(now, id, time, effects);
        for place in moved {
            self.write_alarm(id, place, effects);
        }
    }

    /// Takes in what comes too late to be placed: it fills history, and nothing begins at its time.
    /// What is the newest word on its metric counts from now on: of what was measured before the
    /// start something newer may have been heard and forgotten.
    pub(super) fn take_too_late(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        when: When,
        readings: &[(MetricId, Reading)],
        effects: &mut Effects,
    ) {
        let started = self.started;
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let is_newest = |(metric, _): &(MetricId, Reading)| {
            let known = device.memory.latest(*metric);
            when.event >= started && known.is_none_or(|(at, _)| at <= when.event)
        };
        let (newest, others): (Vec<_>, Vec<_>) = readings.iter().cloned().partition(is_newest);
        device.learn(when, &others);
        device.memory.fill(when, &others);
        device.recalled.retain(|metric| others.iter().all(|(heard, _)| heard != metric));
        let mut rules = std::mem::take(&mut self.scratch);
        device.absorb(when, &newest, &mut rules);
        if !newest.is_empty() && !seeded::has(Bug::LateForgotten) {
            self.look_at(now, id, &rules, when.reached, effects);
        }
        rules.clear();
        self.scratch = rules;
    }

    fn time_of_step(&self, id: DeviceId, number: usize) -> Option<Timestamp> {
        self.devices.get(id.index())?.memory.time_of_step(number)
    }
}
