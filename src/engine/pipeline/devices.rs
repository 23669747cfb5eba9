//! The devices: who they are, what they said last, and how their clocks stand to ours.

use std::sync::Arc;

use super::alarm_past::AlarmPast;
use super::clock::DeviceClock;
use super::profile::Profile;
use super::reload::Change;
use super::repeats::Repeats;
use super::{Engine, Timer};
use crate::engine::detect::{DeviceMemory, Rule, RuleMemory, When};
use crate::engine::register::{Registered, UnknownDevices};
use crate::engine::types::alarm::{AlarmRecord, AlarmState};
use crate::engine::types::decision::{Decision, Rejection};
use crate::engine::types::device::{DeviceFacts, Nameplate};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::Reading;
use crate::engine::types::names::{DeviceId, MetricId, RuleId};
use crate::engine::types::text::one_line;
use crate::engine::types::time::Timestamp;

/// One device and its alarms.
#[derive(Debug)]
pub struct Device {
    /// Who and where.
    pub facts: DeviceFacts,
    /// What the register says of it, if it is in it.
    pub registered: Option<Arc<Registered>>,
    /// Those that were ever pending or raised, and those that time alone may raise.
    pub alarms: Vec<Alarm>,
    /// How many samples were taken in.
    pub samples: u64,
    pub(super) profile: Arc<Profile>,
    pub(super) memory: DeviceMemory,
    /// Metrics of which only the reading that was stored is known: not heard since the start.
    pub(super) recalled: Vec<MetricId>,
    /// What rules have learned, in the order of the profile's `learning`.
    pub(super) learned: Vec<RuleMemory>,
    /// No alarm is due before this event time; none at all without it.
    pub(super) next_due: Option<Timestamp>,
    /// Index of the source that it was heard on last.
    heard_on: Option<u16>,
    pub(super) clock: DeviceClock,
    /// When the device was last heard, for `absent`.
    pub(super) heard: Timestamp,
    /// Rules whose alarm is raised now.
    pub(super) raised: Vec<RuleId>,
    /// What it said lately: an exact repeat changes nothing.
    pub(super) repeats: Repeats,
}

/// One rule on one device.
#[derive(Debug)]
pub struct Alarm {
    /// Index of the rule in the policy.
    pub rule: usize,
    /// Kept from the first time that the rule held.
    pub record: Option<Box<AlarmRecord>>,
    /// Event time at which the conditions must be looked at again.
    pub(super) due: Option<Timestamp>,
    /// The timer that was set for it, in gateway time.
    pub(super) timer: Option<Timestamp>,
    /// Where it stood in the last moments: a sample that comes late is placed among them.
    pub(super) past: AlarmPast,
}

impl Alarm {
    pub(super) fn new(rule: usize) -> Alarm {
        Alarm { rule, record: None, due: None, timer: None, past: AlarmPast::default() }
    }

    /// The fault is there now.
    pub(super) fn is_raised(&self) -> bool {
        self.state().is_raised()
    }

    fn state(&self) -> &AlarmState {
        self.record.as_ref().map_or(&AlarmState::Normal, |record| &record.state)
    }

    /// Something is under way: a new sample may move it, whatever it says.
    pub(super) fn is_active(&self) -> bool {
        *self.state() != AlarmState::Normal
    }

    /// The fault is there, or seems to begin.
    fn is_pending_or_raised(&self) -> bool {
        self.state().is_raised() || matches!(self.state(), AlarmState::Pending { .. })
    }
}

impl Device {
    /// How many rules look at it.
    pub fn rules(&self) -> usize {
        self.profile.rules.len()
    }

    /// Where an alarm of a rule is kept, for a rule that has one at most; made when there is none.
    pub(super) fn slot_of(&mut self, rule: usize) -> usize {
        self.alarms.iter().position(|alarm| alarm.rule == rule).unwrap_or_else(|| {
            self.alarms.push(Alarm::new(rule));
            self.alarms.len() - 1
        })
    }

    /// Index of the source that it was heard on last; `None` before it was heard since the start.
    pub(super) fn source(&self) -> Option<usize> {
        self.heard_on.map(usize::from)
    }

    /// False for one that was heard on another source.
    pub(super) fn may_be_of(&self, source: usize) -> bool {
        self.source().is_none_or(|own| own == source)
    }

    /// Event time of its newest sample; `None` where it was not heard since the start.
    pub fn newest(&self) -> Option<Timestamp> {
        self.clock.newest()
    }

    /// What stands on it, where the register knows.
    pub fn nameplate(&self) -> Option<&Nameplate> {
        self.registered.as_ref().map(|registered| &registered.nameplate)
    }

    /// True when its topic says something about its place that was not known: one that leaves an
    /// attribute out does not take it away, and the register knows better.
    fn moved_to(&self, facts: &DeviceFacts) -> bool {
        let nothing = DeviceFacts::default();
        let fixed = self.registered.as_ref().map_or(&nothing, |registered| &registered.facts);
        let differs =
            |old: &str, new: &str, fixed: &str| fixed.is_empty() && !new.is_empty() && old != new;
        let known = &self.facts;
        differs(&known.class, &facts.class, &fixed.class)
            || differs(&known.site, &facts.site, &fixed.site)
            || differs(&known.region, &facts.region, &fixed.region)
            || differs(&known.customer, &facts.customer, &fixed.customer)
            || facts.labels.iter().any(|(name, value)| {
                !fixed.labels.contains_key(name) && known.labels.get(name) != Some(value)
            })
    }

    /// What a rule has learned about the device.
    pub(super) fn learned(&self, rule: usize) -> Option<&RuleMemory> {
        let at = self.profile.learning.binary_search(&rule).ok()?;
        self.learned.get(at)
    }

    /// Takes in what was measured; `rules` gets those that it concerns.
    pub(super) fn absorb(
        &mut self,
        when: When,
        readings: &[(MetricId, Reading)],
        rules: &mut Vec<usize>,
    ) {
        self.samples += 1;
        self.memory.take(when, readings, &self.recalled);
        self.recalled.retain(|metric| readings.iter().all(|(heard, _)| heard != metric));
        self.learn(when, readings);
        self.concerned(readings, rules);
    }

    /// Learns what is normal.
    pub(super) fn learn(&mut self, when: When, readings: &[(MetricId, Reading)]) {
        for (rule, learned) in self.profile.learning.iter().zip(&mut self.learned) {
            let of_rule = |alarm: &&Alarm| alarm.rule == *rule;
            let frozen = self.alarms.iter().filter(of_rule).any(Alarm::is_pending_or_raised);
            for (metric, reading) in readings {
                learned.absorb(when, *metric, reading, frozen);
            }
        }
    }

    /// The rules that must be looked at when these metrics have changed, ascending.
    pub(super) fn concerned(&self, readings: &[(MetricId, Reading)], rules: &mut Vec<usize>) {
        for (metric, reading) in readings {
            self.profile.concerned(*metric, reading, rules);
        }
        rules.extend_from_slice(&self.profile.unconditional);
        rules.extend(self.alarms.iter().filter(|alarm| alarm.is_active()).map(|alarm| alarm.rule));
        rules.sort_unstable();
        rules.dedup();
    }
}

impl Engine {
    /// Every device, in the order in which they were first seen.
    pub(super) fn device_ids(&self) -> Vec<DeviceId> {
        self.devices.iter().filter_map(|device| self.names.find(&device.facts.id)).collect()
    }

    /// The device that `facts` name, made on first sight. `None` when it is refused: it is not
    /// registered, or there is no room for it.
    pub(super) fn find_device(
        &mut self,
        now: Timestamp,
        source: usize,
        facts: DeviceFacts,
        effects: &mut Effects,
    ) -> Option<DeviceId> {
        let known = self.names.find(&facts.id);
        let device = known.and_then(|id| self.devices.get(id.index()));
        let is_registered = device.is_some_and(|device| device.registered.is_some());
        let is_full = device.is_none() && self.devices.len() >= self.settings.devices_max;
        let rejects = !is_registered && self.standing(&facts.id) == UnknownDevices::Reject;
        if rejects || is_full {
            let detail = match rejects {
                true => format!("{} is not registered", one_line(&facts.id)),
                false => format!("{} devices are known already", self.devices.len()),
            };
            let reason = Rejection::UnknownDevice;
            self.rejected.note(now, source, reason, &detail, None);
            effects.decisions.push(Decision::Rejected { source, reason, detail });
            return None;
        }
        let Some(id) = known else {
            let id = self.add_device(now, facts);
            let device = self.devices.get(id.index())?;
            effects.writes.push(Write::Device(Box::new(device.facts.clone())));
            self.note_source(id, source);
            return Some(id);
        };
        if device.is_some_and(|device| device.facts != facts && device.moved_to(&facts)) {
            self.move_device(now, id, facts, effects);
        }
        self.note_source(id, source);
        Some(id)
    }

    fn note_source(&mut self, id: DeviceId, source: usize) {
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.heard_on = u16::try_from(source).ok();
        }
    }

    /// A device says that it stands somewhere else, or is something else, than before.
    fn move_device(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        facts: DeviceFacts,
        effects: &mut Effects,
    ) {
        self.topics.forget();
        self.count_out(id);
        if let Some(device) = self.devices.get_mut(id.index()) {
            let facts = DeviceFacts { offline: device.facts.offline, ..facts };
            device.facts = complete(device.registered.as_ref(), facts);
            effects.writes.push(Write::Device(Box::new(device.facts.clone())));
        }
        self.attach(id, None);
        self.count_in(id);
        self.settle_departed(now, effects);
    }

    /// Adds the devices of the register that were not seen yet, and takes in what it says of the
    /// others.
    pub(super) fn add_registered(&mut self, now: Timestamp) {
        let registered: Vec<Arc<Registered>> = self.policy.register.devices().cloned().collect();
        for device in registered {
            let is_known = self.names.find(&device.facts.id).is_some();
            if !is_known && self.devices.len() < self.settings.devices_max {
                self.add_device(now, device.facts.clone());
            }
        }
    }

    /// What a registered device had said of itself before a restart.
    pub(super) fn recall_device(&mut self, id: DeviceId, facts: DeviceFacts) {
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.facts = complete(device.registered.as_ref(), facts);
        }
        self.attach(id, None);
        self.count_in(id);
    }

    /// Has every device say what a new register says of it.
    pub(super) fn register_devices(&mut self, effects: &mut Effects) {
        for device in &mut self.devices {
            device.registered = self.policy.register.device(&device.facts.id).cloned();
            let facts = complete(device.registered.as_ref(), device.facts.clone());
            if facts != device.facts {
                device.facts = facts;
                effects.writes.push(Write::Device(Box::new(device.facts.clone())));
            }
        }
    }

    /// Adds a device that is not known yet.
    pub(super) fn add_device(&mut self, now: Timestamp, facts: DeviceFacts) -> DeviceId {
        let id = self.names.intern(&facts.id);
        let registered = self.policy.register.device(&facts.id).cloned();
        self.devices.push(Device {
            facts: complete(registered.as_ref(), facts),
            registered,
            alarms: Vec::new(),
            samples: 0,
            profile: Arc::default(),
            memory: DeviceMemory::default(),
            recalled: Vec::new(),
            learned: Vec::new(),
            next_due: None,
            heard_on: None,
            clock: DeviceClock::default(),
            heard: now,
            raised: Vec::new(),
            repeats: Repeats::default(),
        });
        self.attach(id, None);
        self.count_in(id);
        id
    }

    /// Finds the rules that look at a device anew, keeping the alarms that it has. `change` says
    /// where everything stands in the policy, if that is a new one.
    pub(super) fn attach(&mut self, id: DeviceId, change: Option<&Change>) {
        let Some(facts) = self.devices.get(id.index()).map(|device| device.facts.clone()) else {
            return;
        };
        let profile = self.profile_of(&facts);
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let mut known = std::mem::replace(&mut device.memory, profile.memory.clone());
        if let Some(change) = change {
            known.rename(|metric| change.metric(metric));
            let recalled = std::mem::take(&mut device.recalled);
            device.recalled = recalled.into_iter().filter_map(|old| change.metric(old)).collect();
        }
        device.memory.inherit(known);
        let before = std::mem::replace(&mut device.profile, Arc::clone(&profile));
        let mut learned: Vec<Option<RuleMemory>> =
            std::mem::take(&mut device.learned).into_iter().map(Some).collect();
        for rule in &profile.learning {
            let Some(fresh) = self.policy.rules.get(*rule).map(|rule| rule.memory()) else {
                continue;
            };
            let old = change.map_or(Some(*rule), |change| change.same_rule_before(*rule));
            let revision = |tuned: Option<&Arc<Rule>>| tuned.map(|rule| rule.spec.revision.clone());
            let old = old
                .filter(|old| revision(before.tuned.get(old)) == revision(profile.tuned.get(rule)));
            let known = old.and_then(|old| before.learning.binary_search(&old).ok());
            let known = known.and_then(|at| learned.get_mut(at)?.take());
            device.learned.push(match known {
                Some(known) => fresh.inheriting(known),
                None => fresh,
            });
        }
        let alarms = std::mem::take(&mut device.alarms);
        let had_timers = alarms.iter().any(|alarm| alarm.timer.is_some());
        let mut departed = Vec::new();
        for mut alarm in alarms {
            alarm.timer = None;
            alarm.past = AlarmPast::default();
            let rule = change.map_or(Some(alarm.rule), |change| change.rule(alarm.rule));
            let rule = rule.filter(|rule| profile.rules.binary_search(rule).is_ok());
            let id_of = |rule: usize| self.policy.rules.get(rule).map(|rule| &rule.spec.id);
            let is_renamed = |rule| {
                alarm.record.as_ref().is_some_and(|record| id_of(rule) != Some(&record.id.rule))
            };
            match rule.filter(|rule| !is_renamed(*rule)) {
                Some(rule) => device.alarms.push(Alarm { rule, ..alarm }),
                None => departed.extend(alarm.record),
            }
        }
        let raised = device.alarms.iter().filter(|alarm| alarm.state().is_raised());
        let raised = raised.filter_map(|alarm| Some(self.policy.rules.get(alarm.rule)?.id));
        device.raised = raised.collect();
        let count = device.alarms.len();
        departed.into_iter().for_each(|record| self.part_with(*record));
        if had_timers {
            self.timers.retain(|(_, timer)| !matches!(timer, Timer::Alarm(of, _) if *of == id));
        }
        for alarm in 0..count {
            self.set_timer(id, alarm);
        }
    }

    pub(super) fn alarm_mut(&mut self, device: DeviceId, alarm: usize) -> Option<&mut Alarm> {
        self.devices.get_mut(device.index())?.alarms.get_mut(alarm)
    }

    /// Sets the timer of an alarm to when it is due. A timer that comes too early is left: when it
    /// fires and nothing is due yet, it is set again.
    pub(super) fn set_timer(&mut self, id: DeviceId, index: usize) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let clock = device.clock;
        let Some(alarm) = device.alarms.get_mut(index) else {
            return;
        };
        if let Some(due) = alarm.due {
            device.next_due = Some(device.next_due.map_or(due, |known| known.min(due)));
        }
        let wanted = alarm.due.map(|due| clock.to_gateway(due));
        let timer = Timer::Alarm(id, index);
        match (alarm.timer, wanted) {
            (Some(set), Some(wanted)) if set <= wanted => {}
            (set, Some(wanted)) => {
                if let Some(set) = set {
                    self.timers.remove(&(set, timer));
                }
                alarm.timer = Some(wanted);
                self.timers.insert((wanted, timer));
            }
            (Some(set), None) => {
                self.timers.remove(&(set, timer));
                alarm.timer = None;
            }
            (None, None) => {}
        }
    }
}

/// What is known of a device: what the register says, else what its topic says.
fn complete(registered: Option<&Arc<Registered>>, facts: DeviceFacts) -> DeviceFacts {
    registered.map(|registered| registered.complete(&facts)).unwrap_or(facts)
}
