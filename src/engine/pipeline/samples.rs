//! Message -> Sample: what a message says, and which rules it concerns.

use super::Engine;
use super::repeats::Known;
use crate::engine::decode::{Decoded, Heard, News, Refusal};
use crate::engine::detect::When;
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Message, Reading};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

/// What is known of a sample beside its readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// When it was measured.
    pub event: Timestamp,
    /// The device says so.
    pub own_time: bool,
    /// It was kept by the broker.
    pub retained: bool,
    /// It may have been taken in before.
    pub maybe_again: bool,
}

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
                    let repeat = self.find_repeat(device, event, at.and(message));
                    if repeat == Some(Known::Again) {
                        effects.decisions.push(Decision::Repeated { source });
                        continue;
                    }
                    if let (None, Some(message)) = (known, message) {
                        self.topics.remember(source, &message.topic, device);
                    }
                    let maybe_again = repeat == Some(Known::Unsure);
                    let told = Told { event, own_time: at.is_some(), retained, maybe_again };
                    self.take_readings(now, device, told, &readings, effects);
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
        let when = When { event: at, reached: at, lateness: None, maybe_again: true };
        device.memory.fill(when, readings);
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

    /// Takes in what a device measured.
    pub(super) fn take_readings(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        told: Told,
        readings: &[(MetricId, Reading)],
        effects: &mut Effects,
    ) {
        let lateness = self.settings.lateness;
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        device.heard = device.heard.max(now);
        let event = told.event;
        let is_older = device.clock.newest().is_some_and(|newest| event < newest);
        // A retained value may be old: it sets state as of its time, but nothing begins before now.
        let reached = device.clock.reached(if told.retained { event.max(now) } else { event });
        let lateness_of_device = told.own_time.then_some(lateness);
        let when =
            When { event, reached, lateness: lateness_of_device, maybe_again: told.maybe_again };
        if is_older && !told.retained {
            let late = device.clock.is_late(event, lateness)
                || !device.memory.reaches(event)
                || seeded::has(Bug::LateForgotten);
            match late {
                true => self.take_too_late(now, id, when, readings, effects),
                false => self.take_late(now, id, when, readings, effects),
            }
            return;
        }
        if !seeded::has(Bug::SampleBeforeDue) {
            self.advance(now, id, reached, effects);
        }
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let mut rules = std::mem::take(&mut self.scratch);
        device.absorb(when, readings, &mut rules);
        device.clock.hear(reached, now);
        self.look_at(now, id, &rules, reached, effects);
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

    /// Whether a message was taken in before, where its device sends its time; one that was not is
    /// remembered.
    fn find_repeat(
        &mut self,
        id: DeviceId,
        event: Timestamp,
        message: Option<&Message>,
    ) -> Option<Known> {
        let device = self.devices.get_mut(id.index())?;
        let message = message?;
        let known = device.repeats.find(event, message);
        // What is older than all that is remembered takes no place of it.
        if known == Known::New {
            device.repeats.remember(event, message);
        }
        Some(known)
    }
}
