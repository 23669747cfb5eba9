//! The way to the devices of a source: while it is lost nobody counts as silent, and the loss itself
//! is what is raised.

use std::sync::Arc;

use super::Engine;
use super::samples::Told;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::Timestamp;

/// Class of the devices that stand for the ways to other devices.
const CLASS: &str = "path";
/// What rules read of them.
const METRIC: &str = "up";

impl Engine {
    /// The path to the devices of a source was lost or is back.
    pub(super) fn take_path(
        &mut self,
        now: Timestamp,
        source: usize,
        up: bool,
        effects: &mut Effects,
    ) {
        if !up {
            if self.paths_down.is_empty() && now >= self.absence_held_until {
                self.absence_held_since = now;
            }
            self.paths_down.insert(source);
        } else if self.paths_down.remove(&source) && self.paths_down.is_empty() {
            self.absence_held_until =
                self.absence_held_until.max(now + self.settings.restart_grace);
            self.stand_still();
            self.wake_absence();
        }
        self.tell_path(now, source, up, effects);
    }

    /// Silence does not go on while the path is lost, nor until all could have spoken again.
    fn stand_still(&mut self) {
        let (since, until) = (self.absence_held_since, self.absence_held_until);
        for device in &mut self.devices {
            let from = since.max(device.heard);
            if from < until {
                device.clock.forgive(until.since(from));
            }
        }
    }

    /// Has the rules look at the path, as at any device. One that was never lost is not known.
    fn tell_path(&mut self, now: Timestamp, source: usize, up: bool, effects: &mut Effects) {
        let Some(name) = self.settings.sources.get(source).map(|source| &source.name) else {
            return;
        };
        let id = format!("source:{name}");
        let known = self.names.find(&id);
        if known.is_none() && up {
            return;
        }
        let id = known.unwrap_or_else(|| {
            let facts = DeviceFacts { id, class: CLASS.to_owned(), ..DeviceFacts::default() };
            effects.writes.push(Write::Device(Box::new(facts.clone())));
            self.add_device(now, facts)
        });
        let reading = (METRIC.to_owned(), Reading::Good(Value::Bool(up)));
        let readings = self.known_metrics(vec![reading]);
        let clock = self.devices.get(id.index()).map(|device| device.clock);
        let event = clock.map_or(now, |clock| clock.receipt(now));
        let told = Told { event, own_time: false, retained: false, maybe_again: false };
        self.take_readings(now, id, told, &readings, effects);
    }

    /// True while nothing can be said about who is silent.
    pub(super) fn is_absence_held(&self, now: Timestamp) -> bool {
        now < self.absence_held_until || !self.paths_down.is_empty()
    }

    /// Has every rule looked at again that asks about absence, once that is no longer held back.
    pub(super) fn wake_absence(&mut self) {
        let at = self.absence_held_until;
        for id in self.device_ids() {
            let Some(device) = self.devices.get_mut(id.index()) else {
                continue;
            };
            let event = device.clock.at(at);
            let profile = Arc::clone(&device.profile);
            for rule in &profile.absence {
                let Some(device) = self.devices.get_mut(id.index()) else {
                    continue;
                };
                let index = device.slot_of(*rule);
                if let Some(alarm) = device.alarms.get_mut(index)
                    && alarm.due.is_none_or(|due| due > event)
                {
                    alarm.due = Some(event);
                    self.set_timer(id, index);
                }
            }
        }
    }
}
