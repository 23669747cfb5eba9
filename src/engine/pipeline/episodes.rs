//! Transition: what a raise, a return and a close do to the alarm, and what they ask of tickets.

use std::sync::Arc;

use super::Engine;
use super::evidence::{Entry, Incident};
use super::incidents::re_alarm;
use crate::engine::detect::Rule;
use crate::engine::lifecycle::Event;
use crate::engine::ticket;
use crate::engine::types::alarm::{AlarmRecord, Episode, Fingerprint, HeldBy};
use crate::engine::types::decision::{AlarmEvent, Decision, TicketEvent};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::Action;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::Mode;
use crate::engine::types::spell::Spell;
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::Timestamp;

impl Engine {
    /// Carries out what the life cycle says of one alarm, in order.
    pub(super) fn take_events(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        events: &[Event],
        effects: &mut Effects,
    ) {
        for event in events {
            match *event {
                Event::Raised(at) => self.raise(now, id, index, at, effects),
                Event::RaisedAgain(at) => self.raise_again(now, id, index, at, effects),
                Event::Returned(at) => self.return_alarm(now, id, index, at, effects),
                Event::Acknowledged(at) => {
                    self.tell(
                        now,
                        id,
                        index,
                        at,
                        AlarmEvent::Acknowledged,
                        "acknowledged",
                        effects,
                    );
                }
                Event::Closed(at) => self.close(now, id, index, at, effects),
                Event::Unsteady(at) => self.begin_flapping(now, id, index, at, effects),
                Event::Steady { at, since, changes } => {
                    let lasted = at.since(since);
                    self.end_flapping(now, id, index, at, (changes, lasted), effects);
                }
            }
        }
    }

    fn raise(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else {
            return;
        };
        let number = record.episode.as_ref().map_or(1, |episode| episode.number.saturating_add(1));
        let alarm = record.id.clone();
        let fingerprint = alarm.fingerprint(number);
        let spec = rule.spec.for_key(&alarm.key);
        let values = self.values(id, &rule);
        let mut episode = Episode {
            number,
            id: episode_id(at, &fingerprint),
            fingerprint: fingerprint.clone(),
            class: spec.code.as_ref().map(|code| code.class.clone()),
            severity: spec.severity,
            raised_at: at,
            returned_at: None,
            closed_at: None,
            ticket: None,
            held_by: None,
            is_taken: false,
            values: values.iter().map(|one| (one.name.clone(), one.value.to_string())).collect(),
        };
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.raised.push(rule.id);
        }
        let what = match rule.spec.mode {
            Mode::Live => {
                let incident = Incident {
                    entry: Entry::New,
                    alarm: &alarm,
                    episode: number,
                    fingerprint: &fingerprint,
                    raised_at: at,
                    known_at: at,
                    values,
                };
                let placed = self.admit(now, (id, index), &rule, incident, effects);
                (episode.ticket, episode.held_by) = placed.told();
                format!("raised{placed}")
            }
            Mode::Shadow | Mode::Off => {
                episode.held_by = Some(HeldBy::Shadow);
                "raised in shadow mode: no ticket".to_owned()
            }
        };
        let held_by = episode.held_by;
        self.note_raised(id, &alarm, &spec);
        if let Some(record) = self.record_mut(id, index) {
            record.episode = Some(episode);
        }
        self.tell(now, id, index, at, AlarmEvent::Raised { held_by }, &what, effects);
    }

    fn raise_again(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else {
            return;
        };
        let Some(episode) = record.episode.clone() else { return };
        let alarm = record.id.clone();
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            episode.returned_at = None;
        }
        let spec = rule.spec.for_key(&alarm.key);
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.raised.push(rule.id);
        }
        self.note_raised(id, &alarm, &spec);
        let placed = match (episode.ticket, self.suppressed(now, id, index, &spec)) {
            _ if rule.spec.mode != Mode::Live => (episode.ticket, episode.held_by),
            (Some(ticket), None) => {
                self.come_back(now, (id, index), &rule, (ticket, at), effects);
                (Some(ticket), self.held_by_ticket(&episode.fingerprint, ticket))
            }
            (Some(ticket), Some(cause)) => {
                self.hold(now, &alarm, &cause);
                (Some(ticket), Some(cause.held_by))
            }
            // It was over before what kept its ticket back was.
            (None, _) => {
                let incident = Incident {
                    entry: Entry::New,
                    alarm: &alarm,
                    episode: episode.number,
                    fingerprint: &episode.fingerprint,
                    raised_at: at,
                    known_at: at,
                    values: self.values(id, &rule),
                };
                self.admit(now, (id, index), &rule, incident, effects).told()
            }
        };
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            (episode.ticket, episode.held_by) = placed;
        }
        let event = AlarmEvent::Raised { held_by: placed.1 };
        self.tell(now, id, index, at, event, "raised again before a reset", effects);
    }

    /// The fault of a latched alarm is back since `raised_at`: its ticket says so, is opened
    /// again where somebody has ended it, and somebody must take it again. One that is gone stays
    /// gone.
    pub(super) fn come_back(
        &mut self,
        now: Timestamp,
        (id, index): (DeviceId, usize),
        rule: &Arc<Rule>,
        (ticket, raised_at): (TicketId, Timestamp),
        effects: &mut Effects,
    ) {
        let Some(mut ticket) = self.tickets.get(&ticket).cloned() else { return };
        let is_over = ticket.status.is_over();
        let say = if is_over { ticket::comment_reopened } else { ticket::comment_back };
        let Some(text) = self.told_again((raised_at, now), (id, index), say) else { return };
        if !is_over {
            self.follow_up(now, &mut ticket, Action::Comment { text }, effects);
            re_alarm(&mut ticket, rule, raised_at);
        } else if ticket.status.is_mended() {
            self.reopen(now, &mut ticket, (TicketEvent::Reopened, text), effects);
            re_alarm(&mut ticket, rule, raised_at);
        }
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
    }

    fn return_alarm(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let Some((rule, _)) = self.alarm_of(id, index) else {
            return;
        };
        if let Some(device) = self.devices.get_mut(id.index()) {
            // One of them: alarms with other key values may be raised still.
            if let Some(at) = device.raised.iter().position(|raised| *raised == rule.id) {
                device.raised.swap_remove(at);
            }
        }
        let latched = rule.spec.latch;
        let alarm = self.alarm_of(id, index).map(|(_, record)| record.id.clone());
        if let Some(alarm) = &alarm {
            self.note_returned(now, id, alarm);
        }
        let mut over = None;
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
        {
            episode.returned_at = Some(at);
            over = Some((record.id.clone(), episode.clone()));
        }
        self.end_one_shot(now, id, index);
        let what = if latched { "returned, waits for a reset" } else { "returned" };
        self.tell(now, id, index, at, AlarmEvent::Returned, what, effects);
        match over {
            Some((alarm, episode)) if !latched => {
                self.leave_ticket(now, &alarm, &episode, at, effects);
                if episode.ticket.is_none() {
                    self.settle_returned(now, id, index, at, effects);
                }
            }
            _ => {}
        }
    }

    fn close(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let mut over = None;
        if let Some(record) = self.record_mut(id, index)
            && let Some(episode) = &mut record.episode
            && episode.closed_at.is_none()
        {
            episode.closed_at = Some(at);
            over = Some((record.id.clone(), episode.clone()));
        }
        if let Some((alarm, episode)) = over {
            self.tell(now, id, index, at, AlarmEvent::Closed, "closed", effects);
            // A latched episode leaves its ticket only now, when it has been reset.
            self.leave_ticket(now, &alarm, &episode, at, effects);
        }
    }

    /// Notes what happened to an alarm: for `explain`, for logs and for figures.
    #[allow(clippy::too_many_arguments, reason = "each is one fact of the event")]
    pub(super) fn tell(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        event: AlarmEvent,
        what: &str,
        effects: &mut Effects,
    ) {
        let site = self.devices.get(id.index()).map(|device| device.facts.site.clone());
        let Some(record) = self.record_mut(id, index) else {
            return;
        };
        record.remember(at, now, what.to_owned());
        if let Some(episode) = &mut record.episode
            && moves_figures(event)
        {
            episode.is_taken |= event == AlarmEvent::Acknowledged;
            let spell = Spell::of(&record.id, episode, &site.unwrap_or_default());
            effects.writes.push(Write::Spell(Box::new(spell)));
        }
        let episode = record.episode.as_ref();
        effects.decisions.push(Decision::Alarm {
            id: record.id.clone(),
            episode: episode.map_or(0, |episode| episode.number),
            event,
            at,
            severity: episode
                .map_or(crate::engine::types::severity::Severity::Info, |e| e.severity),
            ticket: episode.and_then(|episode| episode.ticket),
        });
    }

    pub(super) fn alarm_of(&self, id: DeviceId, index: usize) -> Option<(Arc<Rule>, &AlarmRecord)> {
        let alarm = self.devices.get(id.index())?.alarms.get(index)?;
        Some((self.rule_of(id, alarm.rule)?, alarm.record.as_deref()?))
    }

    pub(super) fn record_mut(&mut self, id: DeviceId, index: usize) -> Option<&mut AlarmRecord> {
        self.alarm_mut(id, index)?.record.as_deref_mut()
    }
}

/// True for what figures count.
fn moves_figures(event: AlarmEvent) -> bool {
    match event {
        AlarmEvent::Raised { .. } | AlarmEvent::Acknowledged | AlarmEvent::Returned => true,
        AlarmEvent::Released { .. }
        | AlarmEvent::Closed
        | AlarmEvent::Unsteady
        | AlarmEvent::Steady => false,
    }
}

/// A ULID (48 bits of milliseconds, 80 bits of the fingerprint), so that a replay makes the same.
fn episode_id(at: Timestamp, fingerprint: &Fingerprint) -> String {
    let millis = u64::try_from(at.micros() / 1_000).unwrap_or(0);
    let random = blake3::hash(fingerprint.0.as_bytes());
    let random = random.as_bytes().iter().take(10).fold(0_u128, |sum, b| sum << 8 | u128::from(*b));
    ulid::Ulid::from_parts(millis, random).to_string()
}
