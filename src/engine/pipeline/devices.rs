//! The devices: who they are, what they said last, and how their clocks stand to ours.

use super::{Engine, Timer};
use crate::engine::detect::{DeviceMemory, RuleMemory};
use crate::engine::types::alarm::AlarmRecord;
use crate::engine::types::decision::{Decision, Rejection};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::names::{DeviceId, RuleId};
use crate::engine::types::rule::Mode;
use crate::engine::types::time::Timestamp;

/// One device and its alarms.
#[derive(Debug)]
pub struct Device {
    /// Who and where.
    pub facts: DeviceFacts,
    /// Its last will or birth message says that it is gone.
    pub offline: bool,
    /// One for each rule that selects the device.
    pub alarms: Vec<Alarm>,
    pub(super) memory: DeviceMemory,
    pub(super) clock: DeviceClock,
    /// When the device was last heard, for `absent`.
    pub(super) heard: Timestamp,
    /// Rules whose alarm is raised now.
    pub(super) raised: Vec<RuleId>,
    /// Event time and hash of the newest payload: an exact repeat changes nothing.
    pub(super) newest_payload: Option<(Timestamp, u128)>,
}

/// One rule on one device.
#[derive(Debug)]
pub struct Alarm {
    /// Index of the rule in the policy.
    pub rule: usize,
    /// Kept from the first time that the rule held.
    pub record: Option<Box<AlarmRecord>>,
    pub(super) memory: RuleMemory,
    /// Event time at which the conditions must be looked at again.
    pub(super) due: Option<Timestamp>,
    /// The timer that was set for it, in gateway time.
    pub(super) timer: Option<Timestamp>,
}

/// A device's time: its newest event time, which moves on with our clock while it is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeviceClock {
    newest: Option<(Timestamp, Timestamp)>,
}

impl DeviceClock {
    /// Newest event time.
    pub fn newest(self) -> Option<Timestamp> {
        self.newest.map(|(event, _)| event)
    }

    /// A sample of `event` time was received.
    pub fn hear(&mut self, event: Timestamp, received: Timestamp) {
        if self.newest().is_none_or(|newest| event >= newest) {
            self.newest = Some((event, received));
        }
    }

    /// The device's time at `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        self.newest.map_or(now, |(event, received)| event + now.since(received))
    }

    /// Our time when the device's is `event`.
    pub fn to_gateway(self, event: Timestamp) -> Timestamp {
        self.newest.map_or(event, |(newest, received)| received + event.since(newest))
    }
}

impl Engine {
    /// The device that `facts` name, made on first sight. `None` when there is no room for it.
    pub(super) fn find_device(
        &mut self,
        now: Timestamp,
        source: usize,
        facts: DeviceFacts,
        effects: &mut Effects,
    ) -> Option<DeviceId> {
        if let Some(id) = self.names.find(&facts.id) {
            let device = self.devices.get_mut(id.index())?;
            if device.facts != facts && moved(&device.facts, &facts) {
                device.facts = facts;
                effects.writes.push(Write::Device(Box::new(device.facts.clone())));
                self.attach_rules(id);
            }
            return Some(id);
        }
        if self.devices.len() >= self.settings.devices_max {
            let detail = format!("{} devices are known already", self.devices.len());
            let reason = Rejection::UnknownDevice;
            effects.decisions.push(Decision::Rejected { source, reason, detail });
            return None;
        }
        effects.writes.push(Write::Device(Box::new(facts.clone())));
        Some(self.add_device(now, facts))
    }

    /// Adds a device that is not known yet.
    pub(super) fn add_device(&mut self, now: Timestamp, facts: DeviceFacts) -> DeviceId {
        let id = self.names.intern(&facts.id);
        self.devices.push(Device {
            facts,
            offline: false,
            alarms: Vec::new(),
            memory: DeviceMemory::new(&[]),
            clock: DeviceClock::default(),
            heard: now,
            raised: Vec::new(),
            newest_payload: None,
        });
        self.attach_rules(id);
        id
    }

    /// Gives a device an alarm for each rule that selects it, keeping those that it has.
    fn attach_rules(&mut self, id: DeviceId) {
        let Some(device) = self.devices.get_mut(id.index()) else {
            return;
        };
        let mut before = std::mem::take(&mut device.alarms);
        let had_alarms = !before.is_empty();
        let mut conditions = Vec::new();
        for (index, rule) in self.policy.rules.iter().enumerate() {
            if rule.spec.mode == Mode::Off || !rule.spec.selector.selects(&device.facts) {
                continue;
            }
            conditions.push(&rule.when);
            conditions.extend(rule.clear_when.as_ref());
            let kept = before.iter().position(|alarm| alarm.rule == index);
            device.alarms.push(match kept {
                Some(at) => before.swap_remove(at),
                None => Alarm {
                    rule: index,
                    record: None,
                    memory: RuleMemory::new(&rule.when, rule.clear_when.as_ref()),
                    due: None,
                    timer: None,
                },
            });
        }
        let known = std::mem::replace(&mut device.memory, DeviceMemory::new(&conditions));
        device.memory.inherit(known);
        for gone in before {
            if let Some(record) = gone.record {
                self.orphans.insert(record.id.clone(), *record);
            }
        }
        let count = device.alarms.len();
        if had_alarms {
            self.timers.retain(|(_, timer)| !matches!(timer, Timer::Alarm(of, _) if *of == id));
        }
        for alarm in 0..count {
            if let Some(alarm) = self.alarm_mut(id, alarm) {
                alarm.timer = None;
            }
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

/// True when `new` says something about the device's place that `old` did not: a topic that leaves
/// an attribute out does not take it away.
fn moved(old: &DeviceFacts, new: &DeviceFacts) -> bool {
    let differs = |old: &str, new: &str| !new.is_empty() && old != new;
    differs(&old.class, &new.class)
        || differs(&old.site, &new.site)
        || differs(&old.region, &new.region)
        || differs(&old.customer, &new.customer)
        || new.labels.iter().any(|(name, value)| old.labels.get(name) != Some(value))
}
