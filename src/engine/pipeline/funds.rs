//! Stage 6, for the attempts at a call. The first one is paid for when its job is decided; every further
//! one, with the look-ups that it makes, asks before it is handed over, and waits while there is no
//! money. So a budget is not passed by retries either, safety excepted.

use super::Engine;
use super::follow_ups::LOOK_AGAIN;
use crate::engine::guard;
use crate::engine::types::decision::{Decision, TicketEvent};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::{Allowance, Delivered, JobRecord, JobState, Owed};
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::seeded::{self, Bug};

/// Requests of one attempt, however often one has ended for want of them.
const CALLS_MAX: u32 = 512;
/// Why an attempt waits.
const UNPAID: &str = "the budget does not pay for another attempt";

impl Engine {
    /// Requests that an attempt at an upstream may make at first.
    pub(super) fn allowance(&self, upstream: &str) -> Allowance {
        self.settings.allowances.get(upstream).copied().unwrap_or(Allowance::ONE)
    }

    /// Sets aside what a job owes, where the budgets hold it; true when it owes nothing more.
    pub(super) fn fund(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        job: &mut JobRecord,
        effects: &mut Effects,
    ) -> bool {
        if !self.pays(ticket, &guard::owed(job)) && !seeded::has(Bug::AttemptUnasked) {
            return false;
        }
        self.set_aside(now, ticket, job, effects);
        true
    }

    fn set_aside(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        job: &mut JobRecord,
        effects: &mut Effects,
    ) {
        let account = self.account(ticket);
        let rows = guard::reserve(&mut self.ledger, now, job, &account);
        job.funds.owed = Owed::Nothing;
        self.book(now, rows, effects);
    }

    /// Asks for the next attempt of a job; when it is tried again. One that has ended for want of requests
    /// may make twice as many. One that has made none leaves what was set aside for it to the next: what
    /// was admitted does not lose its money to others because its upstream could not be reached.
    pub(super) fn fund_next(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        job: &mut JobRecord,
        (until, delivered): (Timestamp, &Delivered),
        effects: &mut Effects,
    ) -> Timestamp {
        if delivered.is_short {
            job.funds.calls = job.funds.calls.max(1).saturating_mul(2).min(CALLS_MAX);
        }
        job.funds.owed = Owed::Calls;
        let is_kept = delivered.requests == 0 && !delivered.is_short;
        if is_kept {
            self.set_aside(now, ticket, job, effects);
        }
        let is_paid = is_kept || self.fund(now, ticket, job, effects);
        let until = if is_paid { until } else { until.max(now + LOOK_AGAIN) };
        if !is_paid {
            put_off(job, until);
        }
        self.outbox.replace(job.clone());
        until
    }

    /// Asks again for attempts that are due and were not paid for.
    pub(super) fn fund_due(&mut self, now: Timestamp, effects: &mut Effects) {
        for key in self.outbox.owing(now) {
            let Some(mut job) = self.outbox.job(key).cloned() else { continue };
            let Some(ticket) = self.tickets.get(&key.ticket).cloned() else {
                job.funds.owed = Owed::Nothing;
                self.outbox.replace(job);
                continue;
            };
            let is_told = job.reason().starts_with(UNPAID);
            let is_paid = self.fund(now, &ticket, &mut job, effects);
            if !is_paid {
                put_off(&mut job, now + LOOK_AGAIN);
            }
            if !is_paid && !is_told {
                let (action, until) = (job.action.word(), now + LOOK_AGAIN);
                let event = TicketEvent::Delayed { action, reason: job.reason().to_owned(), until };
                effects.decisions.push(Decision::Ticket { id: ticket.id, event, at: now });
            }
            if is_paid || !is_told {
                effects.writes.push(Write::Job(Box::new(job.clone())));
            }
            self.outbox.replace(job);
        }
    }

    /// Puts a job back after a restart. An attempt that was handed over has ended with the process: what
    /// it may have cost counts, and the next one, which looks first, asks for itself.
    pub(super) fn restore_job(
        &mut self,
        now: Timestamp,
        mut job: JobRecord,
        effects: &mut Effects,
    ) {
        if job.funds.calls == 0 {
            job.funds.calls = self.allowance(&job.upstream).of(&job.action);
        }
        let key = job.key;
        let was_sent = matches!(job.state, JobState::Waiting { sent: true, .. });
        let ticket = self.tickets.get(&key.ticket).filter(|_| was_sent).cloned();
        if let Some(ticket) = &ticket {
            let account = self.account(ticket);
            if !seeded::has(Bug::CutOffUnbooked) {
                let rows = guard::cut_off(&mut self.ledger, now, &job, &account);
                self.book(now, rows, effects);
            }
            job.funds.owed = Owed::Calls;
            if let JobState::Waiting { attempts, .. } = &mut job.state {
                *attempts = attempts.saturating_add(1);
            }
        }
        self.outbox.restore(now, job, self.restored.is_some());
        if let Some(job) = self.outbox.job(key).filter(|_| ticket.is_some()) {
            effects.writes.push(Write::Job(Box::new(job.clone())));
        }
    }
}

/// Has a job wait for money.
fn put_off(job: &mut JobRecord, until: Timestamp) {
    if let JobState::Waiting { not_before, reason, .. } = &mut job.state {
        let is_forgotten = seeded::has(Bug::UnpaidForgotten);
        *not_before = if is_forgotten { until + TimeSpan::from_secs(31 * 86_400) } else { until };
        if !reason.starts_with(UNPAID) {
            *reason = if reason.is_empty() {
                UNPAID.to_owned()
            } else {
                format!("{UNPAID}; before: {reason}")
            };
        }
    }
}

#[cfg(test)]
mod tests;
