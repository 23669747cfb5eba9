//! Message -> Sample: what a message says, and which rules it concerns.

use super::Engine;
use crate::engine::decode::{self, News, Refusal};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::Effects;
use crate::engine::types::message::{Message, Reading};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::time::Timestamp;

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
        if self.redelivery.is_repeat(&source.name, message) {
            effects.decisions.push(Decision::Repeated { source: message.source });
            return;
        }
        let (mut decoded, mut refused) = (Vec::new(), Vec::new());
        let metrics = &self.policy.metrics;
        let wanted = |name: &str| metrics.find(name).is_some();
        decode::decode(source, message, now, &wanted, &mut decoded, &mut refused);
        for Refusal { reason, detail } in refused {
            effects.decisions.push(Decision::Rejected { source: message.source, reason, detail });
        }
        for element in decoded {
            let found = self.find_device(now, message.source, element.facts, effects);
            let Some(device) = found else { continue };
            match element.news {
                News::Presence { online } => self.take_presence(now, device, online, effects),
                News::Readings { at, readings } => {
                    let event = at.unwrap_or(now);
                    let payload = at.map(|_| xxhash_rust::xxh3::xxh3_128(&message.payload));
                    if self.is_repeat(device, event, payload) {
                        effects.decisions.push(Decision::Repeated { source: message.source });
                        continue;
                    }
                    self.take_readings(now, device, event, message.retain, readings, effects);
                }
            }
        }
    }

    /// Takes in what a device measured at `event` time.
    pub(super) fn take_readings(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        event: Timestamp,
        retained: bool,
        readings: Vec<(String, Reading)>,
        effects: &mut Effects,
    ) {
        let metrics = &self.policy.metrics;
        let readings: Vec<(MetricId, Reading)> = readings
            .into_iter()
            .filter_map(|(name, reading)| metrics.find(&name).map(|metric| (metric, reading)))
            .collect();
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
        let mut rules = std::mem::take(&mut self.scratch);
        device.absorb(event, &readings, &mut rules);
        if !late {
            device.clock.hear(look_at, now);
            self.look_at(now, id, &rules, look_at, effects);
        }
        rules.clear();
        self.scratch = rules;
    }

    fn take_presence(&mut self, now: Timestamp, id: DeviceId, online: bool, effects: &mut Effects) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.offline = !online;
        let event = device.clock.at(now);
        let mut rules = std::mem::take(&mut self.scratch);
        device.concerned(&[], &mut rules);
        self.advance(now, id, event, effects);
        self.look_at(now, id, &rules, event, effects);
        rules.clear();
        self.scratch = rules;
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

    /// True for an exact repeat of the device's newest message.
    fn is_repeat(&mut self, id: DeviceId, event: Timestamp, payload: Option<u128>) -> bool {
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
