//! Transition -> Incident: the ticket that collects a raised episode is opened, joined or reopened,
//! and resolved when nothing in it is raised any more.

use std::collections::BTreeMap;
use std::iter::successors;
use std::sync::Arc;

use super::evidence::{Earlier, Incident};
use super::follow_ups::entering;
use super::grouping::NAMES_MAX;
use super::{Engine, Timer};
use crate::engine::detect::Rule;
use crate::engine::escalate;
use crate::engine::merge::{self, Placement};
use crate::engine::ticket::{self, Evidence, Speech};
use crate::engine::types::alarm::{AlarmId, Episode};
use crate::engine::types::decision::{Decision, TicketEvent};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::{Action, Draft};
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::{RuleSpec, TicketPolicy};
use crate::engine::types::severity::Severity;
use crate::engine::types::text::Language;
use crate::engine::types::ticket::{LadderProgress, Storm, TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Most alarms that the last comment of a ticket lists.
const LIST_MAX: usize = 1_000;
/// Earlier tickets that a new one names.
const EARLIER_MAX: usize = 5;

/// The tickets among which an episode finds its own.
pub(super) struct Group {
    /// Equal keys share a ticket.
    pub key: String,
    /// The storm that its ticket is the parent of.
    pub storm: Option<Storm>,
    /// Alarms that waited with this one, in words.
    pub others: Vec<String>,
    /// The worst of them all.
    pub worst: Severity,
    /// The ticket names the alarm already: nothing is told when it joins.
    pub is_told: bool,
}

impl Group {
    /// The group of one alarm.
    pub fn of_one(key: String, severity: Severity) -> Group {
        Group { key, storm: None, others: Vec::new(), worst: severity, is_told: false }
    }
}

/// What a raised episode does to a ticket, its text written.
enum Step {
    Open(Box<Draft>),
    Join(TicketRecord, String),
    Reopen(TicketRecord, String),
}

impl Engine {
    /// Has the ticket of a raised episode opened, joined or reopened. True when it joined.
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        rule: &Arc<Rule>,
        incident: Incident<'_>,
        group: Group,
        effects: &mut Effects,
    ) -> (TicketId, bool) {
        let Incident { alarm, episode, raised_at, known_at, .. } = incident;
        let spec = rule.spec.for_key(&alarm.key);
        let Some(device) = self.devices.get(id.index()) else {
            return (TicketId(0), false);
        };
        let last = self.last_of(&group.key).cloned();
        let speech = self.speech();
        let placement = merge::place(last.as_ref(), raised_at);
        let before = last.as_ref().filter(|_| matches!(placement, Placement::Open));
        let repeats = before.filter(|ticket| is_repeat(ticket, alarm, &spec, raised_at));
        let (before, repeats) = (before.map(|last| last.id), repeats.map(|last| last.id));
        let earlier = self.earlier(before, repeats);
        let evidence = self.evidence(now, device, rule, &spec, incident, earlier);
        let evidence = Evidence { others: group.others.clone(), ..evidence };
        let moves = entering(placement, self.allowance(self.upstream_of(&spec)));
        let entry = match (placement, last) {
            (Placement::Join(_), Some(ticket)) => {
                Step::Join(ticket, ticket::comment_joined(speech, &evidence))
            }
            (Placement::Reopen(_), Some(ticket)) => {
                Step::Reopen(ticket, ticket::comment_reopened(speech, &evidence))
            }
            (Placement::Open | Placement::Join(_) | Placement::Reopen(_), _) => {
                let draft = match &group.storm {
                    Some(storm) => ticket::compose_storm(speech, &evidence, storm),
                    None => ticket::compose(speech, &evidence),
                };
                let plot = self.plot(device, rule, raised_at);
                Step::Open(Box::new(Draft { severity: group.worst, plot, ..draft }))
            }
        };
        let (mut ticket, action, event) = match entry {
            Step::Join(ticket, text) => {
                let (joined, is_told) = ((alarm, episode, raised_at, known_at), group.is_told);
                let text = (!is_told).then_some(text);
                return (self.join(now, ticket, joined, rule, &spec, text, effects), true);
            }
            Step::Reopen(mut ticket, text) => {
                let severity = begin_again(&mut ticket, group.worst);
                (ticket, Action::Reopen { severity, text }, TicketEvent::Reopened)
            }
            Step::Open(draft) => {
                self.ticket_last += 1;
                let upstream = self.upstream_of(&spec).to_owned();
                let ticket = TicketRecord {
                    id: TicketId(self.ticket_last),
                    title: draft.title.clone(),
                    severity: group.worst,
                    told_at: (group.storm.is_some() || merge::is_wide(rule.spec.ticket.per))
                        .then_some(now),
                    storm: group.storm,
                    earlier: before,
                    repeats,
                    ..new_ticket(upstream, &group.key, &evidence)
                };
                (ticket, Action::Open(draft), TicketEvent::Opened)
            }
        };
        self.members.enter(&mut ticket, alarm, episode);
        ticket.safety |= spec.safety;
        ticket.ladder = first_step(rule, known_at);
        let ticket_id = ticket.id;
        self.groups.insert(group.key, ticket_id);
        effects.decisions.push(Decision::Ticket { id: ticket_id, event, at: known_at });
        self.tell_overspent(&ticket, &moves, effects);
        self.add_job(now, &mut ticket, action, effects);
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
        (ticket_id, false)
    }

    /// The tickets of a group from its last one back.
    fn earlier(&self, last: Option<TicketId>, repeats: Option<TicketId>) -> Earlier {
        let tickets = successors(last.and_then(|id| self.tickets.get(&id)), |ticket| {
            self.tickets.get(&ticket.earlier?)
        });
        let speech = self.speech();
        let tickets = tickets.take(EARLIER_MAX).map(|ticket| describe(ticket, speech));
        let repeats = repeats.and_then(|id| self.tickets.get(&id));
        let repeats = repeats.and_then(|ticket| Some((name_of(ticket), ticket.resolved_at?)));
        Earlier { tickets: tickets.collect(), repeats }
    }

    /// An episode joins a ticket that is open. One that is worse than what the ticket was about is
    /// told at once, and somebody must take the ticket again.
    #[allow(clippy::too_many_arguments, reason = "each is one fact of the episode")]
    fn join(
        &mut self,
        now: Timestamp,
        mut ticket: TicketRecord,
        (alarm, episode, raised_at, known_at): (&AlarmId, u32, Timestamp, Timestamp),
        rule: &Arc<Rule>,
        spec: &RuleSpec,
        text: Option<String>,
        effects: &mut Effects,
    ) -> TicketId {
        self.members.enter(&mut ticket, alarm, episode);
        ticket.safety |= spec.safety;
        let event = TicketEvent::Joined;
        effects.decisions.push(Decision::Ticket { id: ticket.id, event, at: known_at });
        if spec.severity < ticket.severity {
            ticket.severity = spec.severity;
            let (severity, text) = (Some(spec.severity), text.unwrap_or_default());
            let action = Action::Escalate { severity, assign: None, text };
            self.follow_up(now, &mut ticket, action, effects);
            re_alarm(&mut ticket, rule, known_at);
        } else {
            let is_untaken = ticket.ack.is_none() && ticket.ladder.is_none();
            if is_untaken && spec.severity == Severity::Critical {
                ticket.ladder = first_step(rule, known_at);
            }
            if let Some(text) = text {
                let interval = spec.ticket.group_interval;
                self.tell_joined(now, &mut ticket, (alarm, raised_at), interval, text, effects);
            }
        }
        let id = ticket.id;
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
        id
    }

    /// An alarm of a ticket has got worse: told at once, and somebody must take it again.
    pub(super) fn worsen(
        &mut self,
        now: Timestamp,
        id: TicketId,
        rule: &Arc<Rule>,
        (severity, text): (Severity, String),
        effects: &mut Effects,
    ) {
        let ticket = self.tickets.get(&id).filter(|ticket| severity < ticket.severity);
        let Some(mut ticket) = ticket.cloned() else { return };
        ticket.severity = severity;
        let action = Action::Escalate { severity: Some(severity), assign: None, text };
        self.follow_up(now, &mut ticket, action, effects);
        self.put_ticket(ticket, effects);
        self.take_again(now, id, rule, effects);
    }

    /// Whoever had taken a ticket, somebody must take it again.
    pub(super) fn take_again(
        &mut self,
        now: Timestamp,
        id: TicketId,
        rule: &Arc<Rule>,
        effects: &mut Effects,
    ) {
        let ticket = self.tickets.get(&id).filter(|ticket| !ticket.status.is_over());
        let Some(mut ticket) = ticket.cloned() else { return };
        re_alarm(&mut ticket, rule, now);
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
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
        let Some(open) = self.members.leave(&mut ticket, alarm, episode.number) else {
            return;
        };
        if open > 0 {
            self.tell_returned(now, &mut ticket, alarm, at, effects);
        } else {
            let (reopen_within, _) = self.ticket_times(&alarm.rule);
            ticket.resolved_at = Some(at);
            // What comes back before it is sure that the fault was mended is the same fault.
            let verified_at = ticket.verify_at.take();
            let reopen_until = (reopen_within.micros() > 0).then(|| at + reopen_within);
            ticket.reopen_until = reopen_until.max(verified_at);
            ticket.ladder = None;
            // That somebody has ended it may be older news than that it was opened again.
            if ticket.status.is_over() && !ticket.is_reopened {
                self.close_members(now, &mut ticket, at, effects);
            } else {
                self.resolve(now, &mut ticket, at, effects);
            }
        }
        self.put_ticket(ticket, effects);
    }

    pub(super) fn resolve(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let speech = self.speech();
        ticket.status = TicketStatus::Resolved;
        let mut text = ticket::comment_resolved(speech, at, at.since(ticket.opened_at));
        if let Some(untold) = ticket.untold.take() {
            self.timers.remove(&(untold.due, Timer::Untold(ticket.id)));
            text = format!("{}\n{text}", ticket::comment_members(speech, &untold, 0));
        }
        // The body names the first of many only: in the end they are all there.
        let mut names: Vec<String> = self.members.all(ticket.id).map(AlarmId::to_string).collect();
        if names.len() > NAMES_MAX {
            let rest = names.len().saturating_sub(LIST_MAX);
            names.truncate(LIST_MAX);
            text = format!("{text}\n{}", ticket::comment_all(speech, &names, rest));
        }
        let event = TicketEvent::Resolved;
        effects.decisions.push(Decision::Ticket { id: ticket.id, event, at });
        self.add_job(now, ticket, Action::Resolve { text }, effects);
    }

    pub(super) fn put_ticket(&mut self, ticket: TicketRecord, effects: &mut Effects) {
        self.keep_closing(&ticket);
        effects.writes.push(Write::Ticket(Box::new(ticket.clone())));
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

    /// Where the tickets of a rule go.
    pub(super) fn upstream_of<'a>(&'a self, rule: &'a RuleSpec) -> &'a str {
        rule.ticket.upstream.as_ref().unwrap_or(&self.settings.upstream)
    }

    /// The last ticket of a group.
    pub(super) fn last_of(&self, group: &str) -> Option<&TicketRecord> {
        self.groups.get(group).and_then(|id| self.tickets.get(id))
    }

    /// True while a group has a ticket that it can join.
    pub(super) fn is_open(&self, group: &str) -> bool {
        self.last_of(group).is_some_and(|ticket| !ticket.status.is_over())
    }

    /// How long a rule's tickets may be reopened, and how often their members are told.
    pub(super) fn ticket_times(&self, rule: &str) -> (TimeSpan, TimeSpan) {
        match self.policy.rule(rule).map(|rule| &rule.spec.ticket) {
            Some(policy) => (policy.reopen_within, policy.group_interval),
            None => (TimeSpan::ZERO, TicketPolicy::default().group_interval),
        }
    }
}

/// A ticket that was over begins again, at this severity; the severity, where it is another.
fn begin_again(ticket: &mut TicketRecord, worst: Severity) -> Option<Severity> {
    let before = std::mem::replace(&mut ticket.severity, worst);
    ticket.status = TicketStatus::Reopened;
    (ticket.resolved_at, ticket.verify_at, ticket.ack) = (None, None, None);
    (before != worst).then_some(worst)
}

/// Somebody must take the ticket again: its ladder starts anew. Whoever is on the way or there
/// stays.
pub(super) fn re_alarm(ticket: &mut TicketRecord, rule: &Rule, at: Timestamp) {
    ticket.ack = None;
    if ticket.status == TicketStatus::Accepted {
        ticket.status = TicketStatus::New;
    }
    ticket.ladder = first_step(rule, at).or(ticket.ladder.take());
}

fn first_step(rule: &Rule, from: Timestamp) -> Option<LadderProgress> {
    let ladder = rule.spec.ticket.ladder.clone()?;
    Some(LadderProgress { ladder, from, step: 0, repeats: 0 })
}

fn new_ticket(upstream: String, group: &str, evidence: &Evidence<'_>) -> TicketRecord {
    TicketRecord {
        id: TicketId(0),
        upstream,
        external: None,
        fingerprint: evidence.fingerprint.clone(),
        group: group.to_owned(),
        device: evidence.device.id.clone(),
        rule: evidence.rule.id.clone(),
        site: evidence.device.site.clone(),
        customer: evidence.device.customer.clone(),
        title: String::new(),
        severity: evidence.rule.severity,
        safety: evidence.rule.safety,
        status: TicketStatus::New,
        opened_at: evidence.raised_at,
        resolved_at: None,
        reopen_until: None,
        verify_at: None,
        ack: None,
        raised: 0,
        alarms: 0,
        told_at: None,
        untold: None,
        storm: None,
        earlier: None,
        repeats: None,
        ladder: None,
        is_reopened: false,
        next_effect: 1,
        usage: BTreeMap::new(),
    }
}

fn describe(ticket: &TicketRecord, speech: Speech) -> String {
    let status = match speech.language {
        Language::Chinese => ticket.status.chinese(),
        Language::English => ticket.status.word(),
    };
    format!("{} ({status})", name_of(ticket))
}

/// What people call a ticket: its number upstream, ours before it has one.
fn name_of(ticket: &TicketRecord) -> String {
    ticket.external.clone().unwrap_or_else(|| ticket.id.to_string())
}

/// True where somebody was there not long ago, for the same fault of the same device.
fn is_repeat(last: &TicketRecord, alarm: &AlarmId, spec: &RuleSpec, raised_at: Timestamp) -> bool {
    let is_same = last.rule == alarm.rule && last.device == alarm.device && last.storm.is_none();
    let is_recent = |ended| raised_at.since(ended) <= spec.ticket.recall_within;
    is_same && last.status.is_mended() && last.resolved_at.is_some_and(is_recent)
}
