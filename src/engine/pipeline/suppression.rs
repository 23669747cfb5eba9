//! Transition -> Incident, held back: suppression by design at a raise, and what happens when it
//! ends.

use std::collections::BTreeSet;

use super::evidence::{Entry, Incident};
use super::grouping::Placed;
use super::{Engine, Timer};
use crate::engine::suppress::{AlarmFacts, Inhibitors};
use crate::engine::types::alarm::{AlarmId, Fingerprint, HeldBy, Shelf, ShelfKind};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::Effects;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::{Mode, RuleSpec};
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

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
    /// Alarms that an operator keeps from people, raised or not.
    shelved: BTreeSet<AlarmId>,
    /// Alarms that have got worse meanwhile, and are to be told.
    worse: BTreeSet<AlarmId>,
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
        index: usize,
        rule: &RuleSpec,
    ) -> Option<Cause> {
        if let Some(cause) = self.on_shelf(id, index) {
            return Some(cause);
        }
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

    fn on_shelf(&self, id: DeviceId, index: usize) -> Option<Cause> {
        let record = self.devices.get(id.index())?.alarms.get(index)?.record.as_ref()?;
        let Shelf { kind, signature } = record.shelf.as_ref()?;
        let (by, reason) = (&signature.by, &signature.reason);
        Some(match kind {
            ShelfKind::Shelved { until, .. } => Cause {
                held_by: HeldBy::Shelved,
                why: format!("shelved by {by} until {until}: {reason}"),
                until: Some(*until),
            },
            ShelfKind::OutOfService => Cause {
                held_by: HeldBy::OutOfService,
                why: format!("taken out of service by {by}: {reason}"),
                until: None,
            },
        })
    }

    /// Remembers an alarm that is on a shelf.
    pub(super) fn note_shelved(&mut self, alarm: AlarmId) {
        self.suppression.shelved.insert(alarm);
    }

    /// The alarms that are on a shelf, forgotten.
    pub(super) fn shelved(&mut self) -> BTreeSet<AlarmId> {
        std::mem::take(&mut self.suppression.shelved)
    }

    /// Keeps an alarm whose ticket waits.
    pub(super) fn hold(&mut self, now: Timestamp, alarm: &AlarmId, cause: &Cause) {
        self.suppression.held.insert(alarm.clone());
        if let Some(until) = cause.until.filter(|until| *until > now) {
            self.timers.insert((until, Timer::Lift));
        }
    }

    /// Keeps an alarm that has got worse, and has its ticket or waits for one.
    pub(super) fn hold_worse(&mut self, now: Timestamp, alarm: AlarmId, cause: &Cause) {
        self.suppression.worse.insert(alarm);
        let ends_at = cause.until.filter(|until| *until > now);
        self.timers.extend(ends_at.map(|until| (until, Timer::Lift)));
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
        self.stop_waiting(alarm);
        let inhibits = &self.policy.inhibits;
        let free_at = self.suppression.inhibitors.returned(inhibits, alarm, now);
        self.timers.extend(free_at.into_iter().map(|at| (at, Timer::Lift)));
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
        self.expire_shelves(now, effects);
        for alarm in std::mem::take(&mut self.suppression.held) {
            if let Some((id, index)) = self.find_alarm(&alarm) {
                self.lift_alarm(now, id, index, &alarm, effects);
            }
        }
        for alarm in std::mem::take(&mut self.suppression.worse) {
            if let Some(found) = self.find_alarm(&alarm) {
                self.note_severity(now, found, effects);
            }
        }
        for id in std::mem::take(&mut self.suppression.hushed) {
            if let Some(ticket) = self.tickets.get(&id).cloned() {
                self.set_ladder_timer(&ticket);
                self.set_verification_timer(&ticket);
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
        let Some(episode) = record.episode.as_ref().filter(|_| record.state.is_raised()) else {
            return;
        };
        let was = episode.held_by;
        let spec = rule.spec.for_key(&alarm.key);
        if let Some(cause) = self.suppressed(now, id, index, &spec) {
            self.hold(now, alarm, &cause);
            return;
        }
        let entry = if was == Some(HeldBy::Budget) { Entry::Again } else { Entry::New };
        self.enter_held(now, (id, index), alarm, entry, effects);
    }

    /// Has an alarm that was held back find its ticket.
    pub(super) fn enter_held(
        &mut self,
        now: Timestamp,
        (id, index): (DeviceId, usize),
        alarm: &AlarmId,
        entry: Entry,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else {
            return;
        };
        let Some(episode) = record.episode.clone().filter(|_| record.state.is_raised()) else {
            return;
        };
        self.suppression.held.remove(alarm);
        if let Some(ticket) = episode.ticket {
            self.come_back(now, (id, index), &rule, (ticket, now), effects);
            let held_by = self.held_by_ticket(&episode.fingerprint, ticket);
            return self.release(
                now,
                id,
                index,
                (ticket, held_by),
                "no longer suppressed",
                effects,
            );
        }
        let incident = Incident {
            entry,
            alarm,
            episode: episode.number,
            fingerprint: &episode.fingerprint,
            raised_at: episode.raised_at,
            known_at: now,
            values: self.values(id, &rule),
        };
        let placed = self.admit(now, (id, index), &rule, incident, effects);
        if let Placed::Held(cause) = &placed {
            self.tell_overdue(now, alarm, &episode.fingerprint, cause, effects);
        }
        match placed.told() {
            (Some(ticket), held_by) => {
                let why = if entry == Entry::New { "no longer suppressed" } else { "paid for" };
                self.release(now, id, index, (ticket, held_by), why, effects);
            }
            (None, held_by) => {
                if let Some(record) = self.record_mut(id, index)
                    && let Some(episode) = &mut record.episode
                    && episode.held_by != held_by
                {
                    episode.held_by = held_by;
                    self.write_alarm(id, index, effects);
                }
            }
        }
    }

    /// Tells a human once of an alarm that is held for want of money for too long.
    fn tell_overdue(
        &mut self,
        now: Timestamp,
        alarm: &AlarmId,
        fingerprint: &Fingerprint,
        cause: &Cause,
        effects: &mut Effects,
    ) {
        let overdue = cause.held_by == HeldBy::Budget
            && cause.until.is_some_and(|until| until <= now)
            && self.suppression.overdue.insert(fingerprint.clone());
        if overdue {
            let id = alarm.clone();
            effects.decisions.push(Decision::HeldTooLong { id, why: cause.why.clone() });
        }
    }

    /// True while everything that is raised in a ticket is suppressed: its ladder waits.
    pub(super) fn hush(&mut self, now: Timestamp, ticket: &TicketRecord) -> bool {
        let mut until = Vec::new();
        for alarm in self.members.raised(ticket.id) {
            let cause = self.find_alarm(alarm).and_then(|(id, index)| {
                let (rule, _) = self.alarm_of(id, index)?;
                self.suppressed(now, id, index, &rule.spec.for_key(&alarm.key))
            });
            match cause {
                Some(cause) => until.push(cause.until),
                None => return false,
            }
        }
        let hushed = !until.is_empty();
        if hushed {
            self.hush_until(ticket.id, until);
        }
        hushed
    }

    /// Lets a ticket wait for the end of what suppresses its alarms, where that is known.
    pub(super) fn hush_until(&mut self, id: TicketId, until: Vec<Option<Timestamp>>) {
        self.timers.extend(until.into_iter().flatten().map(|at| (at, Timer::Lift)));
        self.suppression.hushed.insert(id);
    }

    /// Works out anew what is suppressed, after a restart or with other rules.
    pub(super) fn restore_suppression(&mut self, now: Timestamp) {
        self.suppression = Suppression::default();
        for id in self.device_ids() {
            let Some(device) = self.devices.get(id.index()) else {
                continue;
            };
            let shelved = device.alarms.iter().filter_map(|alarm| alarm.record.as_deref());
            let shelved = shelved.filter(|record| record.shelf.is_some());
            if !seeded::has(Bug::ShelfEndForgotten) {
                self.suppression.shelved.extend(shelved.map(|record| record.id.clone()));
            }
            for alarm in &device.alarms {
                let (Some(record), Some(rule)) = (&alarm.record, self.policy.rules.get(alarm.rule))
                else {
                    continue;
                };
                let spec = rule.spec.for_key(&record.id.key);
                let episode = record.episode.as_ref();
                let held_by = episode.and_then(|episode| episode.held_by);
                if alarm.is_raised() && held_by.is_some_and(HeldBy::is_suppression) {
                    self.suppression.held.insert(record.id.clone());
                }
                if spec.mode != Mode::Live || seeded::has(Bug::InhibitForgotten) {
                    continue;
                }
                let device = &device.facts;
                let facts = AlarmFacts { rule: &spec.id, severity: spec.severity, device };
                let (inhibits, active) = (&self.policy.inhibits, &mut self.suppression.inhibitors);
                if alarm.is_raised() {
                    active.raised(inhibits, &record.id, facts);
                } else if let Some(at) = episode.and_then(|episode| episode.returned_at) {
                    // What it suppressed comes back one after the other, also over a restart.
                    active.raised(inhibits, &record.id, facts);
                    let free_at = active.returned(inhibits, &record.id, at);
                    let ahead = free_at.into_iter().filter(|at| *at > now);
                    self.timers.extend(ahead.map(|at| (at, Timer::Lift)));
                }
            }
        }
        self.suppression.inhibitors.expire(now);
        self.timers.insert((now, Timer::Lift));
    }
}
