//! Message -> Sample: what a message says, and which rules it concerns.

use super::Engine;
use crate::engine::decode::{Decoded, Heard, News, Refusal};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Message, Reading};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

impl Engine {
    pub(super) fn take_message(
        &mut self,
        now: Timestamp,
        message: &Message,
        effects: &mut Effects,
    ) {
        if !self.is_redelivered(message, effects) {
            self.take_first_time(now, message, effects);
        }
    }

    /// True for a message that was taken in before; any other is remembered. To be asked once.
    pub(super) fn is_redelivered(&mut self, message: &Message, effects: &mut Effects) -> bool {
        let source = self.settings.sources.get(message.source);
        let again = source.is_some_and(|source| self.redelivery.is_repeat(&source.name, message));
        if again {
            effects.decisions.push(Decision::Repeated { source: message.source });
        }
        again
    }

    /// Takes in a message that is no redelivery.
    pub(super) fn take_first_time(
        &mut self,
        now: Timestamp,
        message: &Message,
        effects: &mut Effects,
    ) {
        let Some(source) = self.settings.sources.get(message.source) else {
            return;
        };
        let mut heard = std::mem::take(&mut self.heard);
        let known = self.topics.find(message.source, &message.topic);
        let metrics = &self.policy.metrics;
        match known {
            Some(_) => self.decoders.decode_known(source, metrics, message, now, &mut heard),
            None => self.decoders.decode(source, metrics, message, now, &mut heard),
        }
        self.take_heard(now, message.source, Some((message, known)), &mut heard, effects);
        self.heard = heard;
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
            self.take_heard(now, source, None, &mut heard, effects);
        }
    }

    /// Takes in what the decoder of a source made of a message, or of the passing of time.
    fn take_heard(
        &mut self,
        now: Timestamp,
        source: usize,
        message: Option<(&Message, Option<DeviceId>)>,
        heard: &mut Heard,
        effects: &mut Effects,
    ) {
        for Refusal { reason, detail } in heard.refused.drain(..) {
            let message = message.map(|(message, _)| message);
            self.rejected.note(now, source, reason, &detail, message);
            effects.decisions.push(Decision::Rejected { source, reason, detail });
        }
        effects.publish.append(&mut heard.publish);
        let (message, known) = message.unzip();
        let known = known.flatten();
        let retained = message.is_some_and(|message| message.retain);
        let mut decoded = std::mem::take(&mut heard.decoded);
        for Decoded { facts, news } in decoded.drain(..) {
            let found = known.or_else(|| self.find_device(now, source, facts, effects));
            let Some(device) = found else { continue };
            match news {
                News::Presence { online } => self.take_presence(now, device, online, effects),
                News::Stale => self.take_stale(now, device, effects),
                News::History { at, readings } => {
                    self.take_history(now, device, at, &readings, effects)
                }
                News::Readings { at, readings } => {
                    let clock = self.devices.get(device.index()).map(|device| device.clock);
                    let event = at.unwrap_or_else(|| clock.map_or(now, |clock| clock.receipt(now)));
                    if self.is_repeat(device, event, at.and(message)) {
                        effects.decisions.push(Decision::Repeated { source });
                        continue;
                    }
                    if let (None, Some(message)) = (known, message) {
                        self.topics.remember(source, &message.topic, device);
                    }
                    self.take_readings(now, device, event, retained, &readings, effects);
                    heard.recycle(readings);
                }
            }
        }
        heard.decoded = decoded;
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

    /// Takes in what a device had kept while nobody heard it: it fills history and begins nothing in
    /// the past.
    fn take_history(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        at: Timestamp,
        readings: &[(MetricId, Reading)],
        effects: &mut Effects,
    ) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.heard = device.heard.max(now);
        for (metric, reading) in readings {
            device.memory.recall(at, *metric, reading);
        }
        let event = device.clock.at(now);
        self.look_concerned(now, id, readings, event, effects);
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
        self.look_concerned(now, id, &[], event, effects);
    }

    /// Takes in what a device measured at `event` time.
    pub(super) fn take_readings(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        event: Timestamp,
        retained: bool,
        readings: &[(MetricId, Reading)],
        effects: &mut Effects,
    ) {
        let lateness = self.settings.lateness;
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.heard = device.heard.max(now);
        let late = device.clock.is_late(event, lateness);
        // A retained value may be old: it sets state as of its time, but nothing begins before now.
        let look_at = if retained { event.max(now) } else { device.clock.reached(event) };
        if !late && !seeded::has(Bug::SampleBeforeDue) {
            self.advance(now, id, look_at, effects);
        }
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let mut rules = std::mem::take(&mut self.scratch);
        device.absorb(event, readings, &mut rules);
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
        if device.facts.offline == online {
            device.facts.offline = !online;
            effects.writes.push(Write::Device(Box::new(device.facts.clone())));
        }
        let event = device.clock.at(now);
        self.advance(now, id, event, effects);
        self.look_concerned(now, id, &[], event, effects);
    }

    /// True for an exact repeat of the device's newest message; any other is remembered.
    fn is_repeat(&mut self, id: DeviceId, event: Timestamp, message: Option<&Message>) -> bool {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return false;
        };
        let repeat = device.is_repeat(event, message);
        device.remember(event, message);
        repeat
    }
}
