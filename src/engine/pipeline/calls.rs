//! Jobs and their results: reserved before the call, settled after it; ladders of open tickets.

use super::Engine;
use crate::engine::escalate;
use crate::engine::guard::{self, Account};
use crate::engine::outbox::Fate;
use crate::engine::ticket;
use crate::engine::types::decision::{Decision, TicketEvent};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::{
    Action, Delivered, Funds, JobKey, JobRecord, JobState, Outcome, Owed,
};
use crate::engine::types::ledger::LedgerState;
use crate::engine::types::ticket::{TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

impl Engine {
    /// Adds one job to a ticket: the job, and what it may cost, in one step.
    pub(super) fn add_job(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        action: Action,
        effects: &mut Effects,
    ) {
        self.add_paid_job(now, ticket, action, true, effects);
    }

    /// As [`Engine::add_job`]; what nobody has asked the budgets for (`is_paid` false) asks before it goes.
    pub(super) fn add_paid_job(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        action: Action,
        is_paid: bool,
        effects: &mut Effects,
    ) {
        let is_open = matches!(action, Action::Open(_));
        if matches!(action, Action::Comment { .. } | Action::Escalate { .. }) {
            self.confirm_first(now, ticket, effects);
        }
        let number = self.next_effect(ticket, is_open);
        ticket.next_effect = number.saturating_add(1);
        let calls = self.allowance(&ticket.upstream).of(&action);
        let mut job = JobRecord {
            key: JobKey { ticket: ticket.id, number },
            upstream: ticket.upstream.clone(),
            fingerprint: ticket.fingerprint.clone(),
            idempotency_key: format!("{}-{number}", ticket.fingerprint),
            severity: ticket.severity,
            created_at: now,
            action,
            state: JobState::Waiting {
                attempts: 0,
                not_before: now,
                // A gateway whose state was restored may have opened it before.
                in_doubt_since: self.restored.filter(|_| is_open).map(|restored| restored.at),
                sent: false,
                reason: String::new(),
            },
            funds: Funds { calls, owed: Owed::Whole },
        };
        self.keep_closing(ticket);
        if is_paid {
            let account = self.account(ticket);
            let rows = guard::reserve(&mut self.ledger, now, &job, &account);
            job.funds.owed = Owed::Nothing;
            self.book(now, rows, effects);
        }
        store(&job, effects);
        self.outbox.add(job);
    }

    /// Has what is to be sent upstream now be sent, once the store knows that it may have been, and
    /// looks at how much waits.
    pub(super) fn take_calls(&mut self, now: Timestamp, effects: &mut Effects) {
        self.fund_due(now, effects);
        let tickets = &self.tickets;
        let external = |id| tickets.get(&id).and_then(|ticket| ticket.external.clone());
        let calls = self.outbox.take_ready(now, external);
        for job in calls.iter().filter_map(|call| self.outbox.job(call.key)) {
            // Only a job that was decided just now can be among the writes of this turn.
            let is_new = job.created_at == now;
            let mut writes = effects.writes.iter_mut().rev().filter(|_| is_new);
            match writes.find_map(|write| written_as(write, job.key)) {
                Some(written) => written.state = job.state.clone(),
                None => store(job, effects),
            }
        }
        effects.calls.extend(calls);
        self.backlog = self.backlog.with(self.outbox.depth(), self.settings.backlog_max);
    }

    pub(super) fn take_delivered(
        &mut self,
        now: Timestamp,
        delivered: &Delivered,
        effects: &mut Effects,
    ) {
        let Some(mut fate) = self.outbox.delivered(now, delivered) else {
            return;
        };
        let id = delivered.key.ticket;
        let Some(mut ticket) = self.tickets.get(&id).cloned() else {
            return;
        };
        if let Outcome::Done { external, .. } = &delivered.outcome {
            ticket.external = Some(external.clone());
        }
        let (Fate::Done(job) | Fate::Again(job, _) | Fate::Dead(job)) = &fate;
        let account = self.account(&ticket);
        let rows = guard::settle(&mut self.ledger, now, job, delivered, &account);
        for row in rows.iter().filter(|row| row.state == LedgerState::Committed) {
            *ticket.usage.entry(row.meter).or_default() += row.qty;
        }
        let action = job.action.word();
        self.book(now, rows, effects);
        if let Fate::Again(job, until) = &mut fate {
            *until = self.fund_next(now, &ticket, job, (*until, delivered), effects);
        }
        let event = match (&fate, &delivered.outcome) {
            (
                Fate::Again(job, until),
                Outcome::Later { .. } | Outcome::Held { .. } | Outcome::Unknown { .. },
            ) => TicketEvent::Delayed { action, reason: job.reason().to_owned(), until: *until },
            (_, Outcome::Rejected { reason } | Outcome::Gone { reason }) => {
                TicketEvent::DeadLettered { action, reason: reason.clone() }
            }
            (_, Outcome::Done { external, found }) => {
                TicketEvent::Delivered { action, external: external.clone(), found: *found }
            }
            (
                _,
                Outcome::Later { reason, .. }
                | Outcome::Held { reason, .. }
                | Outcome::Unknown { reason },
            ) => TicketEvent::Delayed { action, reason: reason.clone(), until: now },
        };
        effects.decisions.push(Decision::Ticket { id, event, at: now });
        match fate {
            Fate::Done(job) => {
                effects.writes.push(Write::JobGone(job.key));
                if let (Action::Open(_), Outcome::Done { found, .. }) =
                    (&job.action, &delivered.outcome)
                {
                    self.opened_after_restore(now, &mut ticket, *found, effects);
                }
                if matches!(job.action, Action::Resolve { .. }) {
                    let at = ticket.resolved_at.unwrap_or(now);
                    self.close_members(now, &mut ticket, at, effects);
                    ticket.is_reopened = false;
                }
                if matches!(job.action, Action::Reopen { .. }) {
                    ticket.is_reopened = true;
                    self.is_open_again(now, &mut ticket, effects);
                }
            }
            Fate::Again(job, _) | Fate::Dead(job) => {
                effects.writes.push(Write::Job(Box::new(job)));
            }
        }
        if matches!(delivered.outcome, Outcome::Gone { .. }) {
            self.is_gone(now, &mut ticket, effects);
        }
        self.put_ticket(ticket, effects);
    }

    /// What was decided before somebody ended a ticket has opened it again where it is: it is open
    /// here too, or ended at once when its fault is over, so that it does not stay open for ever.
    fn is_open_again(&mut self, now: Timestamp, ticket: &mut TicketRecord, effects: &mut Effects) {
        let is_resolved_later = || {
            self.outbox.of_ticket(ticket.id).any(|job| matches!(job.action, Action::Resolve { .. }))
        };
        if !ticket.status.is_over() || is_resolved_later() {
            return;
        }
        ticket.verify_at = None;
        match ticket.resolved_at {
            Some(at) => self.resolve(now, ticket, at, effects),
            None if ticket.ack.is_some() => ticket.status = TicketStatus::Accepted,
            None => ticket.status = TicketStatus::Reopened,
        }
    }

    pub(super) fn fire_ladder(&mut self, now: Timestamp, id: TicketId, effects: &mut Effects) {
        let Some(mut ticket) = self.tickets.get(&id).cloned() else {
            return;
        };
        if self.hush(now, &ticket) {
            return;
        }
        let Some(mut progress) = ticket.ladder.take() else {
            return;
        };
        let Some(ladder) = self.policy.ladders.get(&progress.ladder).cloned() else {
            return;
        };
        let due = escalate::due(&ladder, &progress).unwrap_or(now);
        let taken = escalate::take(&ladder, &mut progress, &ticket);
        let more = escalate::due(&ladder, &progress).is_some() && !ticket.status.is_over();
        let waited = due.since(progress.from);
        ticket.ladder = more.then_some(progress);
        if let Some((number, step, true)) = taken {
            let before = ticket.severity;
            if let Some(change) = step.priority {
                ticket.severity = change.apply(ticket.severity);
            }
            let severity = (ticket.severity != before).then_some(ticket.severity);
            let text = if step.comment {
                let is_taken = ticket.ack.is_some() || ticket.status.is_taken();
                let waited = (waited, is_taken);
                ticket::comment_escalated(self.speech(), number + 1, waited, ticket.severity)
            } else {
                String::new()
            };
            let event = TicketEvent::Escalated { step: number + 1 };
            effects.decisions.push(Decision::Ticket { id, event, at: due });
            let action = Action::Escalate { severity, assign: step.assign.clone(), text };
            self.follow_up(now, &mut ticket, action, effects);
        }
        self.set_ladder_timer(&ticket);
        self.put_ticket(ticket, effects);
    }

    /// On whom a movement of a ticket is booked.
    pub(super) fn account(&self, ticket: &TicketRecord) -> Account {
        let device = self.names.find(&ticket.device).and_then(|id| self.devices.get(id.index()));
        let facts = device.map(|device| &device.facts);
        let rule = self.policy.rule(&ticket.rule);
        let mut account = Account {
            upstream_ticket: ticket.external.clone(),
            device: ticket.device.clone(),
            rule: ticket.rule.clone(),
            site: ticket.site.clone(),
            customer: ticket.customer.clone(),
            region: facts.map(|facts| facts.region.clone()).unwrap_or_default(),
            device_class: facts.map(|facts| facts.class.clone()).unwrap_or_default(),
            revision: rule.map(|rule| rule.spec.revision.clone()).unwrap_or_default(),
            plan: self.guard.plan().to_owned(),
            rung: None,
            time: ticket.opened_at,
        };
        account.rung = self.guard.rung(account.spender());
        account
    }

    /// Reserves again what a dead letter may cost, and sends it again. What the ticket has gone
    /// past meanwhile is only told: it must not close a ticket that was reopened since, nor open
    /// one that is over.
    pub(super) fn retry_job(&mut self, now: Timestamp, key: JobKey, effects: &mut Effects) {
        let Some(ticket) = self.tickets.get(&key.ticket).cloned() else {
            return;
        };
        let is_over = ticket.status.is_over();
        let Some(mut job) = self.outbox.retry(now, key, |action| match action {
            Action::Resolve { text } if !is_over => Action::Comment { text },
            Action::Reopen { text, .. } if is_over => Action::Comment { text },
            action @ (Action::Open(_)
            | Action::Comment { .. }
            | Action::Escalate { .. }
            | Action::Resolve { .. }
            | Action::Reopen { .. }) => action,
        }) else {
            return;
        };
        // Where there is no money, it is asked for with the calls of this turn, and told then.
        job.funds.owed = Owed::Whole;
        self.fund(now, &ticket, &mut job, effects);
        self.outbox.replace(job.clone());
        effects.writes.push(Write::Job(Box::new(job)));
    }

    /// Gives a dead letter up; a ticket that can never be opened counts as cancelled.
    pub(super) fn drop_job(&mut self, now: Timestamp, key: JobKey, effects: &mut Effects) {
        for job in self.outbox.drop_dead(key) {
            if let Some(ticket) = self.tickets.get(&key.ticket) {
                let account = self.account(ticket);
                let rows = guard::release(&mut self.ledger, now, &job, &account);
                self.book(now, rows, effects);
            }
            effects.writes.push(Write::JobGone(job.key));
            if matches!(job.action, Action::Open(_) | Action::Resolve { .. })
                && let Some(mut ticket) = self.tickets.get(&key.ticket).cloned()
            {
                ticket.ladder = None;
                if matches!(job.action, Action::Open(_)) {
                    ticket.status = TicketStatus::Cancelled;
                    ticket.reopen_until = None;
                }
                self.close_members(now, &mut ticket, now, effects);
                self.set_ladder_timer(&ticket);
                self.put_ticket(ticket, effects);
            }
        }
    }
}

fn store(job: &JobRecord, effects: &mut Effects) {
    let is_kept = matches!(job.action, Action::Resolve { .. });
    if !(is_kept && seeded::has(Bug::ResolveInMemory)) {
        effects.writes.push(Write::Job(Box::new(job.clone())));
    }
}

fn written_as(write: &mut Write, key: JobKey) -> Option<&mut JobRecord> {
    if let Write::Job(job) = write { Some(&mut **job).filter(|job| job.key == key) } else { None }
}
