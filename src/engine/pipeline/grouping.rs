//! Transition -> Incident: whether a raised episode has a ticket of its own, waits for others of
//! its group, or joins the storm at its place; and what is told of the members of a ticket.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::evidence::{Entry, Incident};
use super::incidents::Group;
use super::suppression::Cause;
use super::{Engine, Timer};
use crate::engine::detect::Rule;
use crate::engine::merge::{self, Storms};
use crate::engine::ticket;
use crate::engine::types::alarm::{AlarmId, AlarmState, Episode, HeldBy};
use crate::engine::types::decision::AlarmEvent;
use crate::engine::types::effect::Effects;
use crate::engine::types::job::Action;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::{Mode, RuleSpec};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::{TicketId, TicketRecord, Untold, Withheld};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Most alarms that a comment lists by name.
pub(super) const NAMES_MAX: usize = 20;

/// Who waits, and where there is a storm.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    storms: Storms,
    /// Alarms whose groups have no ticket yet, by group.
    waiting: BTreeMap<String, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Timestamp,
    alarms: Vec<AlarmId>,
}

/// A raised alarm that waits, and where it is.
struct Waiter<'a> {
    alarm: &'a AlarmId,
    id: DeviceId,
    index: usize,
    rule: Arc<Rule>,
    episode: Episode,
}

/// What became of a raised episode.
#[derive(Debug)]
pub(super) enum Placed {
    /// A ticket of its own.
    Own(TicketId),
    /// A ticket that was open already.
    Joined(TicketId, HeldBy),
    /// It waits for others.
    Waits(Timestamp),
    /// It is held back: suppressed, or not paid for.
    Held(Cause),
}

impl Placed {
    /// Its ticket, and why it has none of its own.
    pub fn told(&self) -> (Option<TicketId>, Option<HeldBy>) {
        match self {
            Placed::Own(ticket) => (Some(*ticket), None),
            Placed::Joined(ticket, held_by) => (Some(*ticket), Some(*held_by)),
            Placed::Waits(_) => (None, Some(HeldBy::Group)),
            Placed::Held(cause) => (None, Some(cause.held_by)),
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placed::Own(ticket) => write!(out, ": {ticket}"),
            Placed::Joined(ticket, HeldBy::Storm) => write!(out, ", joins the storm {ticket}"),
            Placed::Joined(ticket, _) => write!(out, ", joins {ticket}"),
            Placed::Held(cause) => write!(out, ", {}", cause.why),
            Placed::Waits(until) => write!(out, ", waits for others of its group until {until}"),
        }
    }
}

impl Engine {
    /// Decides where a raised episode goes: suppression, groups and storms, and what the budgets
    /// pay for, in this order.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        (id, index): (DeviceId, usize),
        rule: &Arc<Rule>,
        incident: Incident<'_>,
        effects: &mut Effects,
    ) -> Placed {
        let Some(device) = self.devices.get(id.index()) else {
            return Placed::Waits(now);
        };
        let (alarm, entry) = (incident.alarm, incident.entry);
        let spec = rule.spec.for_key(&alarm.key);
        if let Some(cause) = self.suppressed(now, id, index, &spec) {
            self.hold(now, alarm, &cause);
            return Placed::Held(cause);
        }
        let policy = &self.settings.storm;
        let pool = policy.by.pool(&device.facts);
        let storms = &mut self.grouping.storms;
        let storm = match entry {
            Entry::New => storms.note(policy, pool, now, alarm.to_string()),
            Entry::Again | Entry::Approved => storms.at(policy, pool, now),
        };
        let upstream = self.upstream_of(&spec);
        let own = merge::group(&spec.ticket, alarm, &device.facts.site, upstream);
        let mut group = Group::of_one(own, spec.severity);
        match storm.filter(|_| !self.is_open(&group.key)) {
            Some(_) if spec.safety => {
                group.key = merge::safety_group(&spec, &alarm.device, upstream);
            }
            Some(storm) => {
                group.key = merge::storm_group(&storm.pool, upstream);
                group.storm = Some(storm);
            }
            None => {
                let until = self.waits_until(now, &spec);
                if until > now && !self.is_open(&group.key) && entry == Entry::New {
                    return Placed::Waits(self.wait_for_group(group.key, alarm.clone(), until));
                }
            }
        }
        if entry != Entry::Approved {
            match self.course(id, &spec, incident.raised_at, &group.key) {
                Ok(None) => {}
                Ok(Some(folded)) => (group.key, group.storm) = (folded, None),
                Err(cause) => {
                    self.hold(now, alarm, &cause);
                    return Placed::Held(cause);
                }
            }
        }
        let is_storm = group.storm.is_some();
        let (ticket, joined) = self.place(now, id, rule, incident, group, effects);
        match (is_storm, joined) {
            (true, _) => Placed::Joined(ticket, HeldBy::Storm),
            (false, true) => Placed::Joined(ticket, HeldBy::Group),
            (false, false) => Placed::Own(ticket),
        }
    }

    /// Until when a raised alarm waits for others of its group, or for what is not known yet after
    /// a restart.
    fn waits_until(&self, raised_at: Timestamp, spec: &RuleSpec) -> Timestamp {
        let until = raised_at + merge::group_wait(spec);
        if spec.safety { until } else { until.max(self.settles_until) }
    }

    fn wait_for_group(&mut self, group: String, alarm: AlarmId, until: Timestamp) -> Timestamp {
        let waiting = self.grouping.waiting.entry(group);
        let waiting = waiting.or_insert_with(|| Waiting { until, alarms: Vec::new() });
        waiting.alarms.retain(|known| *known != alarm);
        waiting.alarms.push(alarm);
        self.timers.insert((waiting.until, Timer::Groups));
        waiting.until
    }

    /// An alarm returned: it opens nothing if it has not yet.
    pub(super) fn stop_waiting(&mut self, alarm: &AlarmId) {
        self.grouping.waiting.retain(|_, waiting| {
            waiting.alarms.retain(|known| known != alarm);
            !waiting.alarms.is_empty()
        });
    }

    /// Opens the tickets of the groups that have waited long enough.
    pub(super) fn release_groups(&mut self, now: Timestamp, effects: &mut Effects) {
        let waiting = &self.grouping.waiting;
        let due: Vec<String> =
            waiting.iter().filter(|(_, w)| w.until <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some(waiting) = self.grouping.waiting.remove(&key) {
                self.open_group(now, &key, &waiting.alarms, effects);
            }
        }
    }

    /// Opens the ticket of a group with everything that waited for it.
    fn open_group(&mut self, now: Timestamp, key: &str, alarms: &[AlarmId], effects: &mut Effects) {
        let mut raised = Vec::new();
        for alarm in alarms {
            let Some(waiter) = self.find_waiting(alarm) else { continue };
            let spec = waiter.rule.spec.for_key(&alarm.key);
            match self.suppressed(now, waiter.id, waiter.index, &spec) {
                Some(cause) => self.hold_group(now, vec![waiter], &cause, effects),
                None => raised.push(waiter),
            }
        }
        let Some(Waiter { id: first, rule, .. }) = raised.first() else { return };
        let storm = self.devices.get(first.index()).and_then(|device| {
            let policy = &self.settings.storm;
            self.grouping.storms.at(policy, policy.by.pool(&device.facts), now)
        });
        let key = match &storm {
            Some(storm) => merge::storm_group(&storm.pool, self.upstream_of(&rule.spec)),
            None => key.to_owned(),
        };
        let key = match self.course(*first, &rule.spec, now, &key) {
            Ok(None) => key,
            Ok(Some(folded)) => folded,
            Err(cause) => return self.hold_group(now, raised, &cause, effects),
        };
        let worst = raised.iter().map(|waiter| waiter.episode.severity).min();
        let worst = worst.unwrap_or(Severity::Info);
        let names = alarms.iter().skip(1).map(AlarmId::to_string);
        let mut others: Vec<String> = names.take(NAMES_MAX).collect();
        if let Some(rest) = alarms.len().checked_sub(NAMES_MAX + 1).filter(|rest| *rest > 0) {
            others.push(ticket::and_more(self.speech(), rest));
        }
        let mut is_told = false;
        for Waiter { alarm, id, index, rule, episode } in raised {
            let values = self.values(id, &rule);
            let incident = Incident {
                entry: Entry::New,
                alarm,
                episode: episode.number,
                fingerprint: &episode.fingerprint,
                raised_at: episode.raised_at,
                known_at: episode.raised_at,
                values,
            };
            let others = std::mem::take(&mut others);
            let group = Group { key: key.clone(), storm: storm.clone(), others, worst, is_told };
            let (ticket, joined) = self.place(now, id, &rule, incident, group, effects);
            is_told |= !joined;
            let held_by = if storm.is_some() { HeldBy::Storm } else { HeldBy::Group };
            let held_by = (joined || storm.is_some()).then_some(held_by);
            self.release(now, id, index, (ticket, held_by), "its group has waited", effects);
        }
    }

    /// Nothing pays for the ticket of a group: its alarms are held, each for itself.
    fn hold_group(
        &mut self,
        now: Timestamp,
        raised: Vec<Waiter<'_>>,
        cause: &Cause,
        effects: &mut Effects,
    ) {
        for Waiter { alarm, id, index, .. } in raised {
            let Some(record) = self.record_mut(id, index) else { continue };
            if let Some(episode) = &mut record.episode {
                episode.held_by = Some(cause.held_by);
            }
            record.remember(now, now, cause.why.clone());
            self.hold(now, alarm, cause);
            self.write_alarm(id, index, effects);
        }
    }

    /// An alarm that waited has its ticket.
    pub(super) fn release(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        (ticket, held_by): (TicketId, Option<HeldBy>),
        why: &str,
        effects: &mut Effects,
    ) {
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            (episode.ticket, episode.held_by) = (Some(ticket), held_by);
        }
        let event = AlarmEvent::Released { held_by };
        self.tell(now, id, index, now, event, &format!("{why}: {ticket}"), effects);
        self.write_alarm(id, index, effects);
    }

    fn find_waiting<'a>(&self, alarm: &'a AlarmId) -> Option<Waiter<'a>> {
        let (id, index) = self.find_alarm(alarm)?;
        let (rule, record) = self.alarm_of(id, index)?;
        let episode = record.episode.clone().filter(|episode| episode.ticket.is_none())?;
        (record.state.is_raised() && rule.spec.mode == Mode::Live).then_some(Waiter {
            alarm,
            id,
            index,
            rule,
            episode,
        })
    }

    /// Another alarm has joined: told at once, or with others later.
    pub(super) fn tell_joined(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        (alarm, raised_at): (&AlarmId, Timestamp),
        interval: TimeSpan,
        text: String,
        effects: &mut Effects,
    ) {
        if self.tell_at_once(now, ticket, interval, text, effects) {
            return;
        }
        let untold = self.untold(now, ticket, raised_at, interval);
        untold.joined += 1;
        untold.first_at = untold.first_at.min(raised_at);
        if untold.names.len() < NAMES_MAX {
            untold.names.push(alarm.to_string());
        }
    }

    /// One of several alarms has returned: told at once, or with others later.
    pub(super) fn tell_returned(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        alarm: &AlarmId,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let (_, interval) = self.ticket_times(&alarm.rule);
        let speech = self.speech();
        let open = usize::try_from(ticket.raised).unwrap_or(usize::MAX);
        let text = ticket::comment_left(speech, &alarm.rule, &alarm.device, at, open);
        if !self.tell_at_once(now, ticket, interval, text, effects) {
            self.untold(now, ticket, at, interval).returned += 1;
        }
    }

    fn tell_at_once(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        interval: TimeSpan,
        text: String,
        effects: &mut Effects,
    ) -> bool {
        let may = ticket.told_at.is_none_or(|told| now.since(told) >= interval);
        let action = Action::Comment { text };
        let at_once = may && ticket.untold.is_none() && self.holds_back(ticket, &action).is_none();
        if at_once {
            ticket.told_at = Some(now);
            self.add_job(now, ticket, action, effects);
        }
        at_once
    }

    fn untold<'t>(
        &mut self,
        now: Timestamp,
        ticket: &'t mut TicketRecord,
        first_at: Timestamp,
        interval: TimeSpan,
    ) -> &'t mut Untold {
        let due = ticket.told_at.map_or(now, |told| told + interval);
        let id = ticket.id;
        let untold = ticket.untold.get_or_insert_with(|| Untold {
            joined: 0,
            first_at,
            names: Vec::new(),
            returned: 0,
            due,
            withheld: Withheld::default(),
        });
        self.timers.insert((untold.due, Timer::Untold(id)));
        untold
    }

    /// Works out after a restart who waits, where there is a storm, and what is to be told.
    pub(super) fn restore_grouping(&mut self, now: Timestamp) {
        let mut recent = Vec::new();
        let mut waiting = Vec::new();
        for device in &self.devices {
            for alarm in &device.alarms {
                let (Some(record), Some(rule)) = (&alarm.record, self.policy.rules.get(alarm.rule))
                else {
                    continue;
                };
                let Some(episode) = record.episode.as_ref() else { continue };
                let is_admitted = match episode.held_by {
                    Some(HeldBy::Shadow) => false,
                    Some(held_by) => !held_by.is_suppression(),
                    None => true,
                };
                if !is_admitted {
                    continue;
                }
                if now.since(episode.raised_at) < self.settings.storm.window {
                    let pool = self.settings.storm.by.pool(&device.facts).to_owned();
                    recent.push((episode.raised_at, pool, record.id.to_string()));
                }
                if episode.ticket.is_none() && record.state.is_raised() {
                    let spec = rule.spec.for_key(&record.id.key);
                    let upstream = self.upstream_of(&spec);
                    let site = &device.facts.site;
                    let group = merge::group(&spec.ticket, &record.id, site, upstream);
                    let until = self.waits_until(episode.raised_at, &spec);
                    waiting.push((group, record.id.clone(), until));
                }
            }
        }
        recent.sort();
        for (at, pool, alarm) in recent {
            self.grouping.storms.note(&self.settings.storm, &pool, at, alarm);
        }
        for (group, alarm, until) in waiting {
            self.wait_for_group(group, alarm, until);
        }
        for ticket in self.tickets.values().filter(|ticket| !ticket.status.is_over()) {
            if let Some(storm) = &ticket.storm {
                self.grouping.storms.restore(storm);
            }
            if let Some(untold) = &ticket.untold {
                self.timers.insert((untold.due, Timer::Untold(ticket.id)));
            }
        }
    }

    /// Enters every episode into its ticket again, as the alarms say.
    pub(super) fn restore_members(&mut self) {
        for ticket in self.tickets.values_mut() {
            ticket.raised = 0;
        }
        let live = self.devices.iter().flat_map(|device| device.alarms.iter());
        let live = live.filter_map(|alarm| alarm.record.as_deref());
        for record in live.chain(self.departed.values()) {
            let Some(episode) = record.episode.as_ref().filter(|e| e.closed_at.is_none()) else {
                continue;
            };
            if let Some(ticket) = episode.ticket.and_then(|id| self.tickets.get_mut(&id)) {
                // A latched one leaves its ticket only when it is reset.
                let stays =
                    record.state.is_raised() || matches!(record.state, AlarmState::Latched { .. });
                let returned = episode.returned_at.is_some() && !stays;
                self.members.restore(ticket, &record.id, episode.number, returned);
            }
        }
    }
}
