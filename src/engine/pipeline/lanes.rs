//! Messages of many devices, side by side: devices are hashed over lanes, and whoever calls runs
//! the lanes on as many cores.
//!
//! A lane does what concerns one device alone: decode, keep what was measured, evaluate. Nearly all
//! messages are quiet: no condition holds, no alarm is under way, and nothing else follows. What is
//! not quiet goes on in one ordered place, message by message, as [`Engine::step`] does: the life
//! cycle, what devices ask about each other, suppression, tickets. Once a message of a device has
//! gone there, the later ones of that device follow it, so that each device is heard in order.

use super::devices::Device;
use super::evaluation::{self, Around};
use super::repeats::Known;
use super::{Engine, Settings};
use crate::engine::decode::{Decoded, Decoders, Heard, News};
use crate::engine::detect::{Rule, When};
use crate::engine::lifecycle::Truth;
use crate::engine::policy::Policy;
use crate::engine::types::effect::Effects;
use crate::engine::types::message::Message;
use crate::engine::types::names::DeviceId;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Fewer messages than this are not worth the lanes.
const TOGETHER_MIN: usize = 32;

/// The messages of some devices, to be run on one core.
pub struct Lane<'a> {
    now: Timestamp,
    around: Around<'a>,
    policy: &'a Policy,
    settings: &'a Settings,
    decoders: &'a Decoders,
    devices: Vec<Spoken<'a>>,
    heard: Heard,
    rules: Vec<usize>,
    left: Left,
}

impl std::fmt::Debug for Lane<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Lane of {} devices", self.devices.len())
    }
}

/// A device and what it said, in order, with the place of each message in the batch.
struct Spoken<'a> {
    id: DeviceId,
    device: &'a mut Device,
    messages: Vec<(usize, &'a Message)>,
}

/// What a lane leaves to the ordered place.
#[derive(Debug, Default)]
struct Left {
    /// By the place of the message in the batch.
    follow: Vec<(usize, Follow)>,
    /// Alarms whose timers are to be set.
    timers: Vec<(DeviceId, usize)>,
    /// Rules whose condition was unknown, once for each look.
    unknown: Vec<usize>,
    /// Rules that were looked at, once for each look.
    looked: Vec<usize>,
}

/// What is still to be done for a message.
#[derive(Debug)]
enum Follow {
    /// Nothing of it was done yet.
    Whole,
    /// It is taken in; these rules must be looked at.
    Look { id: DeviceId, event: Timestamp, rules: Vec<usize> },
}

impl Engine {
    /// Takes in what arrived at `now`, in order, as many calls of [`Engine::step`] would, with the
    /// quiet part in `lanes` lanes that `run` runs at the same time.
    ///
    /// A message on a topic that was not heard before may be of any device: what came before it is
    /// finished first, and what comes after it waits.
    pub fn step_together(
        &mut self,
        now: Timestamp,
        messages: &[Message],
        lanes: usize,
        run: impl Fn(&mut [Lane<'_>]),
        effects: &mut Effects,
    ) {
        let until = now - TimeSpan::from_micros(1);
        self.fire_timers(now, until, effects);
        self.wake_decoders(now, until, effects);
        let mut rest = messages;
        while !rest.is_empty() {
            let known = rest.iter().map_while(|m| self.topics.find(m.source, &m.topic));
            let known: Vec<DeviceId> = known.collect();
            let (together, after) = rest.split_at(known.len());
            self.take_together(now, (together, &known), lanes, &run, effects);
            rest = after;
            if let Some((first, after)) = rest.split_first() {
                self.take_message(now, first, effects);
                self.look_at_askers(now, effects);
                rest = after;
            }
        }
        self.take_calls(now, effects);
    }

    /// Takes in messages of these devices.
    fn take_together(
        &mut self,
        now: Timestamp,
        (messages, devices): (&[Message], &[DeviceId]),
        lanes: usize,
        run: impl Fn(&mut [Lane<'_>]),
        effects: &mut Effects,
    ) {
        let mut by_device: Vec<(DeviceId, usize)> = Vec::with_capacity(messages.len());
        for (place, (message, id)) in messages.iter().zip(devices).enumerate() {
            if !self.is_redelivered(message, effects) {
                by_device.push((*id, place));
            }
        }
        let mut follow: Vec<(usize, Follow)> = Vec::new();
        if messages.len() < TOGETHER_MIN {
            follow.extend(by_device.iter().map(|(_, place)| (*place, Follow::Whole)));
            by_device.clear();
        }
        // By device, and for each in the order of arrival: one walk hands every device out.
        by_device.sort_unstable();
        for left in self.run_lanes(now, messages, &by_device, lanes, run) {
            follow.extend(left.follow);
            for (id, alarm) in left.timers {
                self.set_timer(id, alarm);
            }
            for rule in left.looked {
                if let Some(count) = self.looks.get_mut(rule) {
                    *count += 1;
                }
            }
            for rule in left.unknown {
                if let Some(count) = self.unknown.get_mut(rule) {
                    *count += 1;
                }
            }
        }
        follow.sort_unstable_by_key(|(place, _)| *place);
        for (place, follow) in follow {
            match (follow, messages.get(place)) {
                (Follow::Look { id, event, rules }, _) => {
                    self.look_at(now, id, &rules, event, effects);
                }
                (Follow::Whole, Some(message)) => self.take_first_time(now, message, effects),
                (Follow::Whole, None) => {}
            }
            self.look_at_askers(now, effects);
        }
    }

    fn run_lanes<'a>(
        &'a mut self,
        now: Timestamp,
        messages: &'a [Message],
        by_device: &[(DeviceId, usize)],
        count: usize,
        run: impl Fn(&mut [Lane<'_>]),
    ) -> Vec<Left> {
        if by_device.is_empty() {
            return Vec::new();
        }
        let around = Around { peers: &self.peers, paths: &self.paths, now };
        let (policy, settings, decoders) = (&self.policy, &self.settings, &self.decoders);
        let lane = |_| Lane {
            now,
            around,
            policy,
            settings,
            decoders,
            devices: Vec::new(),
            heard: Heard::default(),
            rules: Vec::new(),
            left: Left::default(),
        };
        let mut lanes: Vec<Lane<'a>> = (0..count.max(1)).map(lane).collect();
        let count = lanes.len();
        let mut rest: &'a mut [Device] = &mut self.devices;
        let mut handed_out = 0;
        for same in by_device.chunk_by(|a, b| a.0 == b.0) {
            let Some((id, _)) = same.first().copied() else {
                continue;
            };
            let Some((head, tail)) = rest.split_at_mut_checked(id.index() + 1 - handed_out) else {
                break;
            };
            handed_out = id.index() + 1;
            rest = tail;
            let of_place = |(_, place): &(DeviceId, usize)| Some((*place, messages.get(*place)?));
            let messages = same.iter().filter_map(of_place).collect();
            if let (Some(device), Some(lane)) = (head.last_mut(), lanes.get_mut(id.index() % count))
            {
                lane.devices.push(Spoken { id, device, messages });
            }
        }
        run(&mut lanes);
        lanes.into_iter().map(|lane| lane.left).collect()
    }
}

impl Lane<'_> {
    /// Does the quiet part; to be called once.
    pub fn run(&mut self) {
        for Spoken { id, device, messages } in std::mem::take(&mut self.devices) {
            let mut messages = messages.into_iter();
            while let Some((place, message)) = messages.next() {
                if let Some(follow) = self.take(id, device, message) {
                    self.left.follow.push((place, follow));
                    let later = messages.by_ref().map(|(place, _)| (place, Follow::Whole));
                    self.left.follow.extend(later);
                }
            }
        }
    }

    /// Takes one message in; what is still to be done, if it is not quiet.
    fn take(&mut self, id: DeviceId, device: &mut Device, message: &Message) -> Option<Follow> {
        let source = self.settings.sources.get(message.source).filter(|_| !message.retain);
        let Some(source) = source else {
            return Some(Follow::Whole);
        };
        let metrics = &self.policy.metrics;
        self.decoders.decode_known(source, metrics, message, self.now, &mut self.heard);
        let only = self.heard.decoded.pop();
        let is_plain = self.heard.decoded.is_empty() && self.heard.refused.is_empty();
        self.heard.decoded.clear();
        self.heard.refused.clear();
        let Some(Decoded { news: News::Readings { at, readings }, .. }) = only.filter(|_| is_plain)
        else {
            return Some(Follow::Whole);
        };
        let event = at.unwrap_or_else(|| device.clock.receipt(self.now));
        let is_older = device.clock.newest().is_some_and(|newest| event < newest);
        let is_due = device.next_due.is_some_and(|due| due < event);
        if is_older || is_due {
            return Some(Follow::Whole);
        }
        if at.is_some() {
            if device.repeats.find(event, message) != Known::New {
                return Some(Follow::Whole);
            }
            device.repeats.remember(event, message);
        }
        device.heard = device.heard.max(self.now);
        let mut rules = std::mem::take(&mut self.rules);
        let lateness = at.map(|_| self.settings.lateness);
        let when = When { event, reached: event, lateness, maybe_again: false };
        device.absorb(when, &readings, &mut rules);
        device.clock.hear(event, self.now);
        self.heard.recycle(readings);
        let is_quiet = self.evaluate(id, device, &rules, event);
        let follow = (!is_quiet).then(|| Follow::Look { id, event, rules: rules.clone() });
        rules.clear();
        self.rules = rules;
        follow
    }

    /// Evaluates the rules, and notes when they may say something else. False, with nothing noted,
    /// when something follows.
    fn evaluate(
        &mut self,
        id: DeviceId,
        device: &mut Device,
        rules: &[usize],
        event: Timestamp,
    ) -> bool {
        let (timers, unknown) = (self.left.timers.len(), self.left.unknown.len());
        let looked = self.left.looked.len();
        let mut due = Vec::new();
        for index in rules {
            let Some(rule) = device.profile.rule(self.policy, *index) else {
                continue;
            };
            let seen = evaluation::evaluate(device, *index, rule, event, self.around);
            let calm = seen.when != Truth::Holds && seen.errors == [None, None];
            if !calm || !is_at_rest(device, *index, rule) {
                self.left.timers.truncate(timers);
                self.left.unknown.truncate(unknown);
                self.left.looked.truncate(looked);
                return false;
            }
            self.left.looked.push(*index);
            if seen.when == Truth::Unknown {
                self.left.unknown.push(*index);
            }
            due.push((*index, seen.recheck_at));
        }
        for (rule, recheck_at) in due {
            let known = device.alarms.iter().position(|alarm| alarm.rule == rule);
            let place = match (known, recheck_at) {
                (None, None) => continue,
                (None, Some(_)) => device.slot_of(rule),
                (Some(place), _) => place,
            };
            if let Some(alarm) = device.alarms.get_mut(place)
                && alarm.due != recheck_at
            {
                alarm.due = recheck_at;
                self.left.timers.push((id, place));
                // A later message of the same batch must see it.
                device.next_due = device.next_due.into_iter().chain(recheck_at).min();
            }
        }
        true
    }
}

/// True when a look at which the condition does not hold changes nothing: no alarm is under way.
fn is_at_rest(device: &Device, index: usize, rule: &Rule) -> bool {
    let mut alarms = device.alarms.iter().filter(|alarm| alarm.rule == index);
    rule.key.is_empty() && alarms.all(|alarm| !alarm.is_active())
}
