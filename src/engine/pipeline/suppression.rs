//! Transition -> Incident, held back: suppression by design at a raise, and what happens when it
//! ends.

use std::collections::BTreeSet;

use super::evidence::Incident;
use super::{Engine, Timer};
use crate::engine::suppress::{AlarmFacts, Inhibitors};
use crate::engine::types::alarm::{AlarmId, Fingerprint, HeldBy};
use crate::engine::types::decision::{AlarmEvent, Decision};
use crate::engine::types::effect::Effects;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::{Mode, RuleSpec};
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::Timestamp;

/// What is suppressed, and by what.
#[derive(Debug, Default)]
pub(super) struct Suppression {
    inhibitors: Inhibitors,
    /// Raised alarms whose tickets wait.
    held: BTreeSet<AlarmId>,
    /// Those that were held for money so long that a human was told.
    overdue: BTreeSet<Fingerprint>,
    /// Tickets whose ladders wait.
    hushed: BTreeSet<TicketId>,
}

/// Why an alarm is suppressed.
#[derive(Debug)]
pub(super) struct Cause {
    /// In one word.
    pub held_by: HeldBy,
    /// In one line.
    pub why: String,
    /// When it ends, where that is known.
    pub until: Option<Timestamp>,
}

impl Engine {
    /// Why an alarm of this rule opens no ticket on the device now.
    pub(super) fn suppressed(
        &self,
        now: Timestamp,
        id: DeviceId,
        rule: &RuleSpec,
    ) -> Option<Cause> {
        if rule.safety {
            return None;
        }
        let device = &self.devices.get(id.index())?.facts;
        let alarm = AlarmFacts { rule: &rule.id, severity: rule.severity, device };
        let inhibits = &self.policy.inhibits;
        if let Some(source) = self.suppression.inhibitors.holds(inhibits, alarm, now) {
            let why = format!("suppressed while {source} is raised");
            return Some(Cause { held_by: HeldBy::Inhibit, why, until: None });
        }
        let ends_at = |window: &crate::engine::suppress::Maintenance| {
            window.ends_at(device, now, self.settings.zone)
        };
        let windows = self.policy.maintenance.iter();
        let open = windows.filter_map(|window| Some((ends_at(window)?, window)));
        let (until, window) = open.max_by_key(|(until, _)| *until)?;
        let reason = window.reason.get(self.settings.language);
        let colon = if reason.is_empty() { "" } else { ": " };
        let why = format!("suppressed in maintenance until {until}{colon}{reason}");
        Some(Cause { held_by: HeldBy::Maintenance, why, until: Some(until) })
    }

    /// Keeps an alarm whose ticket waits.
    pub(super) fn hold(&mut self, now: Timestamp, alarm: &AlarmId, cause: &Cause) {
        self.suppression.held.insert(alarm.clone());
        if let Some(until) = cause.until.filter(|until| *until > now) {
            self.timers.insert((until, Timer::Lift));
        }
    }

    /// An alarm was raised: it may be the source of an inhibition, and be counted.
    pub(super) fn note_raised(&mut self, id: DeviceId, alarm: &AlarmId, rule: &RuleSpec) {
        let Some(device) = self.devices.get(id.index()) else {
            return;
        };
        if rule.mode == Mode::Live {
            let facts =
                AlarmFacts { rule: &rule.id, severity: rule.severity, device: &device.facts };
            self.suppression.inhibitors.raised(&self.policy.inhibits, alarm, facts);
        }
        if let Some(rule) = self.policy.rule_names.find(&rule.id) {
            self.peers.note(id, &device.facts, rule, true);
        }
    }

    /// An alarm has returned: what it suppressed is free, after the time to settle.
    pub(super) fn note_returned(&mut self, now: Timestamp, id: DeviceId, alarm: &AlarmId) {
        self.suppression.held.remove(alarm);
        let inhibits = &self.policy.inhibits;
        if let Some(at) = self.suppression.inhibitors.returned(inhibits, alarm, now) {
            self.timers.insert((at, Timer::Lift));
        }
        let rule = self.policy.rule_names.find(&alarm.rule);
        if let (Some(device), Some(rule)) = (self.devices.get(id.index()), rule)
            && !device.raised.contains(&rule)
        {
            self.peers.note(id, &device.facts, rule, false);
        }
    }

    /// Opens the tickets of alarms that nothing suppresses any more, and goes on with ladders.
    pub(super) fn lift(&mut self, now: Timestamp, effects: &mut Effects) {
        self.suppression.inhibitors.expire(now);
        for alarm in std::mem::take(&mut self.suppression.held) {
            if let Some((id, index)) = self.find_alarm(&alarm) {
                self.lift_alarm(now, id, index, &alarm, effects);
            }
        }
        for id in std::mem::take(&mut self.suppression.hushed) {
            if let Some(ticket) = self.tickets.get(&id).cloned() {
                self.set_ladder_timer(&ticket);
            }
        }
    }

    fn lift_alarm(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        alarm: &AlarmId,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else {
            return;
        };
        let Some(episode) = record.episode.clone().filter(|_| record.state.is_raised()) else {
            return;
        };
        let spec = rule.spec.for_key(&alarm.key);
        match self.course(now, id, &spec, alarm, episode.raised_at) {
            Ok(collect) => self.release(now, id, index, alarm, collect, effects),
            Err(cause) => {
                let overdue = cause.held_by == HeldBy::Budget
                    && cause.until.is_some_and(|until| until <= now)
                    && self.suppression.overdue.insert(episode.fingerprint.clone());
                if overdue {
                    let id = alarm.clone();
                    effects.decisions.push(Decision::HeldTooLong { id, why: cause.why.clone() });
                }
                self.hold(now, alarm, &cause);
            }
        }
    }

    /// Opens, joins or reopens the ticket of an alarm that was held back.
    pub(super) fn release(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        alarm: &AlarmId,
        collect: Option<String>,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else {
            return;
        };
        let Some(episode) = record.episode.clone().filter(|_| record.state.is_raised()) else {
            return;
        };
        self.suppression.held.remove(alarm);
        let incident = Incident {
            collect,
            alarm,
            episode: episode.number,
            fingerprint: &episode.fingerprint,
            raised_at: episode.raised_at,
            known_at: now,
            values: self.values(id, &rule),
        };
        let (ticket, joined) = self.place(now, id, &rule, incident, effects);
        let held_by = joined.then_some(HeldBy::Group);
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            episode.ticket = Some(ticket);
            episode.held_by = held_by;
        }
        let what = format!("no longer suppressed: {ticket}");
        let event = AlarmEvent::Released { held_by };
        self.tell(now, id, index, now, event, &what, effects);
        self.write_alarm(id, index, effects);
    }

    /// True while everything that is raised in a ticket is suppressed: its ladder waits.
    pub(super) fn hush(&mut self, now: Timestamp, ticket: &TicketRecord) -> bool {
        let open = ticket.members.iter().filter(|member| !member.returned);
        let causes: Vec<Option<Cause>> = open
            .map(|member| {
                let (id, index) = self.find_alarm(&member.alarm)?;
                let (rule, _) = self.alarm_of(id, index)?;
                self.suppressed(now, id, &rule.spec.for_key(&member.alarm.key))
            })
            .collect();
        let hushed = !causes.is_empty() && causes.iter().all(Option::is_some);
        if hushed {
            let ends = causes.into_iter().flatten().filter_map(|cause| cause.until);
            self.timers.extend(ends.map(|at| (at, Timer::Lift)));
            self.suppression.hushed.insert(ticket.id);
        }
        hushed
    }

    /// Works out anew what is suppressed, after a restart or with other rules.
    pub(super) fn restore_suppression(&mut self, now: Timestamp) {
        self.suppression = Suppression::default();
        for id in self.device_ids() {
            let Some(device) = self.devices.get(id.index()) else {
                continue;
            };
            for alarm in device.alarms.iter().filter(|alarm| alarm.is_raised()) {
                let (Some(record), Some(rule)) = (&alarm.record, self.policy.rules.get(alarm.rule))
                else {
                    continue;
                };
                let spec = rule.spec.for_key(&record.id.key);
                let held_by = record.episode.as_ref().and_then(|episode| episode.held_by);
                if held_by.is_some_and(HeldBy::is_suppression) {
                    self.suppression.held.insert(record.id.clone());
                }
                if spec.mode == Mode::Live {
                    let device = &device.facts;
                    let facts = AlarmFacts { rule: &spec.id, severity: spec.severity, device };
                    let inhibits = &self.policy.inhibits;
                    self.suppression.inhibitors.raised(inhibits, &record.id, facts);
                }
            }
        }
        self.timers.insert((now, Timer::Lift));
    }
}
