//! Transition -> Incident: what a raise and a return do to tickets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evidence::Incident;
use super::{Engine, Timer};
use crate::engine::detect::Rule;
use crate::engine::escalate;
use crate::engine::lifecycle::Event;
use crate::engine::merge::{self, Placement};
use crate::engine::ticket::{self, Evidence, Speech};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, Episode, Fingerprint, HeldBy};
use crate::engine::types::decision::{AlarmEvent, Decision, TicketEvent};
use crate::engine::types::effect::Effects;
use crate::engine::types::job::Action;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::Mode;
use crate::engine::types::ticket::{LadderProgress, TicketId, TicketRecord, TicketStatus};
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
            values: values.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
        };
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.raised.push(rule.id);
        }
        let what = match (rule.spec.mode, self.course(now, id, &spec, &alarm, at)) {
            (Mode::Live, Err(cause)) => {
                episode.held_by = Some(cause.held_by);
                self.hold(now, &alarm, &cause);
                format!("raised, {}", cause.why)
            }
            (Mode::Live, Ok(collect)) => {
                let incident = Incident {
                    collect,
                    alarm: &alarm,
                    episode: number,
                    fingerprint: &fingerprint,
                    raised_at: at,
                    known_at: at,
                    values,
                };
                let (ticket, joined) = self.place(now, id, &rule, incident, effects);
                episode.ticket = Some(ticket);
                episode.held_by = joined.then_some(HeldBy::Group);
                if joined { format!("raised, joins {ticket}") } else { format!("raised: {ticket}") }
            }
            (Mode::Shadow | Mode::Off, _) => {
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

    /// Finds the ticket of a raised episode and has it opened, joined or reopened.
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rule: &Arc<Rule>,
        incident: Incident<'_>,
        effects: &mut Effects,
    ) -> (TicketId, bool) {
        let Incident { alarm, episode, raised_at, known_at, .. } = incident;
        let spec = rule.spec.for_key(&alarm.key);
        let policy = &rule.spec.ticket;
        let upstream = policy.upstream.clone().unwrap_or_else(|| self.settings.upstream.clone());
        let Some(device) = self.devices.get(id.index()) else {
            return (TicketId(0), false);
        };
        let folded = incident.collect.is_some();
        let group = incident
            .collect
            .clone()
            .unwrap_or_else(|| merge::group(policy, alarm, &device.facts.site, &upstream));
        let last = self.groups.get(&group).and_then(|id| self.tickets.get(id)).cloned();
        let speech = self.speech();
        let earlier = last.as_ref().map(|ticket| describe(ticket, speech));
        let evidence = self.evidence(now, device, rule, &spec, incident, earlier);
        let (mut ticket, action, event, joined) =
            match (merge::place(last.as_ref(), raised_at), last) {
                (Placement::Join(_), Some(ticket)) => {
                    let text = ticket::comment_joined(speech, &evidence);
                    (ticket, Action::Comment { text }, TicketEvent::Joined, true)
                }
                (Placement::Reopen(_), Some(mut ticket)) => {
                    ticket.status = TicketStatus::Reopened;
                    ticket.resolved_at = None;
                    ticket.ack = None;
                    ticket.severity = spec.severity;
                    let text = ticket::comment_reopened(speech, &evidence);
                    (ticket, Action::Reopen { text }, TicketEvent::Reopened, false)
                }
                (Placement::Open | Placement::Join(_) | Placement::Reopen(_), _) => {
                    let draft = ticket::compose(speech, &evidence);
                    let title = draft.title.clone();
                    self.ticket_last += 1;
                    let id = TicketId(self.ticket_last);
                    let ticket = new_ticket(id, upstream, &group, &evidence, title);
                    (ticket, Action::Open(Box::new(draft)), TicketEvent::Opened, false)
                }
            };
        merge::enter(&mut ticket, alarm, episode);
        ticket.severity = ticket.severity.min(spec.severity);
        ticket.safety |= spec.safety;
        if !joined {
            ticket.ladder = policy.ladder.as_ref().map(|ladder| LadderProgress {
                ladder: ladder.clone(),
                from: known_at,
                step: 0,
                repeats: 0,
            });
        }
        let ticket_id = ticket.id;
        self.groups.insert(group, ticket_id);
        effects.decisions.push(Decision::Ticket { id: ticket_id, event, at: known_at });
        if !joined {
            self.tell_overspent(&ticket, effects);
        }
        if joined && folded {
            self.tally(now, ticket_id);
        } else {
            self.add_job(now, &mut ticket, action, effects);
        }
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
        (ticket_id, joined)
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
        let alarm = record.id.clone();
        let episode = record.episode.clone();
        let spec = rule.spec.for_key(&alarm.key);
        let values = self.values(id, &rule);
        if let Some(device) = self.devices.get_mut(id.index()) {
            device.raised.push(rule.id);
        }
        self.note_raised(id, &alarm, &spec);
        let ticket = episode.as_ref().and_then(|episode| self.tickets.get(&episode.ticket?));
        if let (Some(mut ticket), Some(episode), Some(device)) =
            (ticket.cloned(), episode, self.devices.get(id.index()))
        {
            let incident = Incident {
                collect: None,
                alarm: &alarm,
                episode: episode.number,
                fingerprint: &episode.fingerprint,
                raised_at: at,
                known_at: at,
                values,
            };
            let evidence = self.evidence(now, device, &rule, &spec, incident, None);
            let text = ticket::comment_reopened(self.speech(), &evidence);
            self.add_job(now, &mut ticket, Action::Comment { text }, effects);
            self.put_ticket(ticket, effects);
        }
        let event = AlarmEvent::Raised { held_by: None };
        self.tell(now, id, index, at, event, "raised again before a reset", effects);
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

    /// An episode is over: its ticket is resolved when nothing else in it is still raised.
    pub(super) fn leave_ticket(
        &mut self,
        now: Timestamp,
        alarm: &AlarmId,
        episode: &Episode,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let ticket = episode.ticket.and_then(|id| self.tickets.get(&id)).cloned();
        let Some(mut ticket) = ticket else { return };
        let Some(open) = merge::leave(&mut ticket, alarm, episode.number) else {
            return;
        };
        let speech = self.speech();
        if open > 0 {
            let text = ticket::comment_left(speech, &alarm.rule, &alarm.device, at, open);
            self.add_job(now, &mut ticket, Action::Comment { text }, effects);
        } else {
            let reopen_within = self.reopen_within(&alarm.rule);
            ticket.resolved_at = Some(at);
            ticket.reopen_until = (reopen_within.micros() > 0).then(|| at + reopen_within);
            ticket.ladder = None;
            if ticket.status.is_over() {
                self.close_members(now, &mut ticket, at, effects);
            } else {
                ticket.status = TicketStatus::Resolved;
                let text = ticket::comment_resolved(speech, at, at.since(ticket.opened_at));
                let event = TicketEvent::Resolved;
                effects.decisions.push(Decision::Ticket { id: ticket.id, event, at });
                self.add_job(now, &mut ticket, Action::Resolve { text }, effects);
            }
        }
        self.put_ticket(ticket, effects);
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
        let Some(record) = self.record_mut(id, index) else {
            return;
        };
        record.remember(at, now, what.to_owned());
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

    pub(super) fn put_ticket(&mut self, ticket: TicketRecord, effects: &mut Effects) {
        effects.writes.push(crate::engine::types::effect::Write::Ticket(Box::new(ticket.clone())));
        self.tickets.insert(ticket.id, ticket);
    }

    pub(super) fn set_ladder_timer(&mut self, ticket: &TicketRecord) {
        let timer = Timer::Ladder(ticket.id);
        if let Some(set) = self.ladder_timers.remove(&ticket.id) {
            self.timers.remove(&(set, timer));
        }
        let progress = ticket.ladder.as_ref();
        let due = progress.and_then(|progress| {
            escalate::due(self.policy.ladders.get(&progress.ladder)?, progress)
        });
        if let Some(at) = due {
            self.timers.insert((at, timer));
            self.ladder_timers.insert(ticket.id, at);
        }
    }

    pub(super) fn speech(&self) -> Speech {
        Speech { language: self.settings.language, zone: self.settings.zone }
    }

    fn reopen_within(&self, rule: &str) -> crate::engine::types::time::TimeSpan {
        let rule = self.policy.rules.iter().find(|known| known.spec.id == rule);
        rule.map_or_else(Default::default, |rule| rule.spec.ticket.reopen_within)
    }

    pub(super) fn alarm_of(&self, id: DeviceId, index: usize) -> Option<(Arc<Rule>, &AlarmRecord)> {
        let alarm = self.devices.get(id.index())?.alarms.get(index)?;
        Some((self.rule_of(id, alarm.rule)?, alarm.record.as_deref()?))
    }

    pub(super) fn record_mut(&mut self, id: DeviceId, index: usize) -> Option<&mut AlarmRecord> {
        self.alarm_mut(id, index)?.record.as_deref_mut()
    }
}

fn new_ticket(
    id: TicketId,
    upstream: String,
    group: &str,
    evidence: &Evidence<'_>,
    title: String,
) -> TicketRecord {
    TicketRecord {
        id,
        upstream,
        external: None,
        fingerprint: evidence.fingerprint.clone(),
        group: group.to_owned(),
        device: evidence.device.id.clone(),
        rule: evidence.rule.id.clone(),
        site: evidence.device.site.clone(),
        customer: evidence.device.customer.clone(),
        title,
        severity: evidence.rule.severity,
        safety: evidence.rule.safety,
        status: TicketStatus::New,
        opened_at: evidence.raised_at,
        resolved_at: None,
        reopen_until: None,
        ack: None,
        members: Vec::new(),
        alarms: 0,
        ladder: None,
        next_effect: 1,
        usage: BTreeMap::new(),
    }
}

/// A ULID (48 bits of milliseconds, 80 bits of the fingerprint), so that a replay makes the same.
fn episode_id(at: Timestamp, fingerprint: &Fingerprint) -> String {
    let millis = u64::try_from(at.micros() / 1_000).unwrap_or(0);
    let random = blake3::hash(fingerprint.0.as_bytes());
    let random = random.as_bytes().iter().take(10).fold(0_u128, |sum, b| sum << 8 | u128::from(*b));
    ulid::Ulid::from_parts(millis, random).to_string()
}

fn describe(ticket: &TicketRecord, speech: Speech) -> String {
    let status = match speech.language {
        crate::engine::types::text::Language::Chinese => ticket.status.chinese(),
        crate::engine::types::text::Language::English => ticket.status.word(),
    };
    let id = ticket.external.clone().unwrap_or_else(|| ticket.id.to_string());
    format!("{id} ({status})")
}
