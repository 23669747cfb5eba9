//! Ticket -> Transition: a ticket that somebody has resolved upstream while its fault stands. After
//! a while it is looked whether it still does; then the same ticket is opened again.

use super::incidents::re_alarm;
use super::{Engine, Timer};
use crate::engine::lifecycle;
use crate::engine::ticket;
use crate::engine::types::alarm::{AlarmId, Fingerprint, HeldBy};
use crate::engine::types::decision::{Decision, TicketEvent};
use crate::engine::types::effect::Effects;
use crate::engine::types::job::Action;
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::TicketPolicy;
use crate::engine::types::ticket::{TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::{TimeSpan, Timestamp};

impl Engine {
    /// Somebody says upstream that the fault is mended. It has some time to return, and whatever of
    /// its group is raised meanwhile opens this ticket again.
    pub(super) fn begin_verification(&mut self, now: Timestamp, ticket: &mut TicketRecord) {
        let usual = TicketPolicy::default();
        let rule = self.policy.rule(&ticket.rule);
        let policy = rule.map_or(&usual, |rule| &rule.spec.ticket);
        let (verify, reopen) =
            (policy.verify_within, policy.reopen_within.max(policy.verify_within));
        ticket.reopen_until = (reopen > TimeSpan::ZERO).then(|| now + reopen);
        ticket.verify_at = (verify > TimeSpan::ZERO).then(|| now + verify);
        self.set_verification_timer(ticket);
    }

    pub(super) fn set_verification_timer(&mut self, ticket: &TicketRecord) {
        self.timers.extend(ticket.verify_at.map(|at| (at, Timer::Verify(ticket.id))));
    }

    /// Opens a ticket again whose fault stands although somebody has resolved it; later, while all
    /// that is raised of it is suppressed.
    pub(super) fn verify(&mut self, now: Timestamp, id: TicketId, effects: &mut Effects) {
        let Some(mut ticket) = self.tickets.get(&id).cloned() else { return };
        if ticket.verify_at.is_none_or(|at| at > now) || !ticket.status.is_over() {
            return;
        }
        let mut kept = Vec::new();
        let mut told = None;
        for (alarm, (id, index)) in self.raised_in(id) {
            let Some((rule, record)) = self.alarm_of(id, index) else { continue };
            let raised_at = record.episode.as_ref().map_or(now, |episode| episode.raised_at);
            match self.suppressed(now, id, index, &rule.spec.for_key(&alarm.key)) {
                Some(cause) => kept.push(cause.until),
                None => {
                    let say = ticket::comment_still_raised;
                    told =
                        told.or_else(|| self.told_again((raised_at, raised_at), (id, index), say));
                }
            }
        }
        if told.is_none() && !kept.is_empty() {
            return self.hush_until(id, kept);
        }
        ticket.verify_at = None;
        if let Some(text) = told {
            self.reopen(now, &mut ticket, (TicketEvent::StillRaised, text), effects);
            self.untake(now, &mut ticket, effects);
        }
        self.put_ticket(ticket, effects);
    }

    /// Opens a ticket again for a fault that it covers already.
    pub(super) fn reopen(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        (event, text): (TicketEvent, String),
        effects: &mut Effects,
    ) {
        ticket.status = TicketStatus::Reopened;
        ticket.verify_at = None;
        effects.decisions.push(Decision::Ticket { id: ticket.id, event, at: now });
        self.add_reopening(now, ticket, text, effects);
    }

    /// Has a ticket opened where it is. Nobody has asked the budgets for that: it asks before it goes.
    pub(super) fn add_reopening(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        text: String,
        effects: &mut Effects,
    ) {
        let is_paid = !self.guard.is_on();
        self.add_paid_job(now, ticket, Action::Reopen { severity: None, text }, is_paid, effects);
    }

    /// Whoever had taken a ticket and what is raised in it, somebody must take them again.
    pub(super) fn untake(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        effects: &mut Effects,
    ) {
        ticket.ack = None;
        if let Some(rule) = self.policy.rule(&ticket.rule).cloned() {
            re_alarm(ticket, &rule, now);
        }
        self.set_ladder_timer(ticket);
        for (_, (id, index)) in self.raised_in(ticket.id) {
            let why = format!("{} is to be taken again", ticket.id);
            self.change(now, id, index, &why, effects, |state, _| lifecycle::re_alarm(state));
        }
    }

    /// The alarms of a ticket whose fault is there now, and where they are.
    fn raised_in(&self, ticket: TicketId) -> Vec<(AlarmId, (DeviceId, usize))> {
        let found = self.members.raised(ticket).filter_map(|alarm| {
            let (id, index) = self.find_alarm(alarm)?;
            let (_, record) = self.alarm_of(id, index)?;
            let of_ticket = record.episode.as_ref()?.ticket == Some(ticket);
            (of_ticket && record.state.is_raised()).then(|| (alarm.clone(), (id, index)))
        });
        found.collect()
    }

    /// Why an episode that has a ticket has none of its own.
    pub(super) fn held_by_ticket(&self, episode: &Fingerprint, id: TicketId) -> Option<HeldBy> {
        let ticket = self.tickets.get(&id)?;
        match (&ticket.storm, ticket.fingerprint == *episode) {
            (Some(_), _) => Some(HeldBy::Storm),
            (None, false) => Some(HeldBy::Group),
            (None, true) => None,
        }
    }

    /// The upstream has no such ticket any more: nothing is done on it, and what is raised next has
    /// another. What it covers keeps it, so that it is not opened over and over.
    pub(super) fn is_gone(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        effects: &mut Effects,
    ) {
        ticket.status = TicketStatus::Cancelled;
        (ticket.ladder, ticket.verify_at, ticket.reopen_until) = (None, None, None);
        ticket.is_reopened = false;
        let (id, event) = (ticket.id, TicketEvent::Gone);
        effects.decisions.push(Decision::Ticket { id, event, at: now });
        self.set_ladder_timer(ticket);
        self.close_members(now, ticket, now, effects);
    }
}
