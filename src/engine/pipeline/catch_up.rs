//! An upstream answers again after a long time: what waits for it is brought down to what is still
//! worth saying, ticket by ticket.
//!
//! A fault that came and went meanwhile has no ticket, only a line in the digest, unless it was
//! critical or a safety fault. What is left says how late it is, and goes critical first, then by age.

use super::Engine;
use crate::engine::guard;
use crate::engine::ticket;
use crate::engine::types::digest::DigestLine;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::{Action, Draft, JobRecord, JobState, Owed};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::{TicketRecord, TicketStatus};
use crate::engine::types::time::Timestamp;

impl Engine {
    /// Compacts what waits for upstreams that have begun to answer.
    pub(super) fn catch_up(&mut self, now: Timestamp, effects: &mut Effects) {
        for (upstream, since) in self.outbox.take_back() {
            if now.since(since) < self.settings.catch_up_after {
                continue;
            }
            for (id, jobs) in self.outbox.waiting(&upstream) {
                let Some(ticket) = self.tickets.get(&id).cloned() else { continue };
                match jobs.split_first() {
                    Some((open, rest)) if matches!(open.action, Action::Open(_)) => {
                        self.catch_up_new(now, since, ticket, open, rest, effects);
                    }
                    Some(_) => self.catch_up_known(now, &ticket, &jobs, effects),
                    None => {}
                }
            }
        }
    }

    /// A ticket that the upstream does not have yet.
    fn catch_up_new(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        ticket: TicketRecord,
        open: &JobRecord,
        rest: &[JobRecord],
        effects: &mut Effects,
    ) {
        // One that may have been opened must be looked up, and goes its way.
        if matches!(open.state, JobState::Waiting { in_doubt_since: Some(_), .. }) {
            return;
        }
        let is_over = ticket.status == TicketStatus::Resolved && ticket.raised == 0;
        if is_over && !ticket.safety && ticket.severity != Severity::Critical {
            self.pass_over(now, ticket, open, rest, effects);
            return;
        }
        let Action::Open(draft) = &open.action else { return };
        let resolve = rest.iter().rev().find(|job| matches!(job.action, Action::Resolve { .. }));
        let resolve = resolve.filter(|_| is_over).map(|job| job.key);
        let mut notes =
            vec![ticket::late_note(self.speech(), since, now, now.since(open.created_at))];
        for job in rest.iter().filter(|job| Some(job.key) != resolve) {
            notes.extend(text_of(&job.action).map(str::to_owned));
            self.withdraw(now, &ticket, job, effects);
        }
        let assign = last_assignee(rest);
        let body = format!("{}\n{}", draft.body, notes.join("\n"));
        let draft = Draft { body, severity: ticket.severity, ..(**draft).clone() };
        let job = JobRecord {
            action: Action::Open(Box::new(draft)),
            severity: ticket.severity,
            ..open.clone()
        };
        effects.writes.push(Write::Job(Box::new(job.clone())));
        self.outbox.replace(job);
        if let Some(assign) = assign.filter(|_| !is_over) {
            let mut ticket = ticket;
            let action =
                Action::Escalate { severity: None, assign: Some(assign), text: String::new() };
            self.follow_up(now, &mut ticket, action, effects);
            self.put_ticket(ticket, effects);
        }
    }

    /// A fault came and went while nobody could be told: a line in the digest.
    fn pass_over(
        &mut self,
        now: Timestamp,
        mut ticket: TicketRecord,
        open: &JobRecord,
        rest: &[JobRecord],
        effects: &mut Effects,
    ) {
        for job in rest.iter().rev().chain([open]) {
            self.withdraw(now, &ticket, job, effects);
        }
        let line = DigestLine {
            at: now,
            ticket: ticket.id,
            title: ticket.title.clone(),
            severity: ticket.severity,
            raised_at: ticket.opened_at,
            returned_at: ticket.resolved_at,
        };
        effects.writes.push(Write::Digest(Box::new(line)));
        ticket.status = TicketStatus::Cancelled;
        ticket.reopen_until = None;
        let at = ticket.resolved_at.unwrap_or(now);
        self.close_members(now, &mut ticket, at, effects);
        self.put_ticket(ticket, effects);
    }

    /// A ticket that the upstream has: one comment with all that happened, and how it ended.
    fn catch_up_known(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        jobs: &[JobRecord],
        effects: &mut Effects,
    ) {
        let may_have_gone = |job: &JobRecord| {
            matches!(job.state, JobState::Waiting { in_doubt_since: Some(_), .. })
        };
        let kept: Vec<&JobRecord> = jobs.iter().filter(|job| !may_have_gone(job)).collect();
        let [earlier @ .., last] = kept.as_slice() else { return };
        if earlier.is_empty() {
            return;
        }
        let texts: Vec<&str> = kept.iter().filter_map(|job| text_of(&job.action)).collect();
        let text = texts.join("\n");
        let first_turn = kept.iter().find_map(|job| turn(&job.action));
        let last_turn = kept.iter().rev().find_map(|job| turn(&job.action));
        let assign = last_assignee(kept.iter().copied());
        let rises =
            kept.iter().any(|job| matches!(job.action, Action::Escalate { severity: Some(_), .. }));
        let action = match (first_turn, last_turn) {
            (_, Some(Turn::Resolve)) => Action::Resolve { text },
            // It was over before, and is not any more.
            (Some(Turn::Reopen), Some(Turn::Reopen)) => {
                Action::Reopen { severity: Some(ticket.severity), text }
            }
            _ if rises || assign.is_some() => {
                Action::Escalate { severity: rises.then_some(ticket.severity), assign, text }
            }
            _ => Action::Comment { text },
        };
        for job in earlier {
            self.withdraw(now, ticket, job, effects);
        }
        let mut job = JobRecord { action, severity: ticket.severity, ..(*last).clone() };
        let escalates = |action: &Action| matches!(action, Action::Escalate { .. });
        if escalates(&job.action) != escalates(&last.action) {
            // It is billed otherwise than what was set aside: that is given back, and asked for anew.
            let account = self.account(ticket);
            let rows = guard::release(&mut self.ledger, now, last, &account);
            self.book(now, rows, effects);
            job.funds.owed = Owed::Whole;
            self.fund(now, ticket, &mut job, effects);
        }
        effects.writes.push(Write::Job(Box::new(job.clone())));
        self.outbox.replace(job);
    }

    /// Takes out a job that nobody needs any more, and gives back what was set aside for it.
    fn withdraw(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        job: &JobRecord,
        effects: &mut Effects,
    ) {
        if self.outbox.withdraw(job.key).is_some() {
            let account = self.account(ticket);
            let rows = guard::release(&mut self.ledger, now, job, &account);
            self.book(now, rows, effects);
            effects.writes.push(Write::JobGone(job.key));
        }
    }
}

/// What changes whether a ticket is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Resolve,
    Reopen,
}

fn turn(action: &Action) -> Option<Turn> {
    match action {
        Action::Resolve { .. } => Some(Turn::Resolve),
        Action::Reopen { .. } => Some(Turn::Reopen),
        Action::Open(_) | Action::Comment { .. } | Action::Escalate { .. } => None,
    }
}

fn text_of(action: &Action) -> Option<&str> {
    match action {
        Action::Comment { text }
        | Action::Escalate { text, .. }
        | Action::Resolve { text }
        | Action::Reopen { text, .. } => Some(text.as_str()).filter(|text| !text.is_empty()),
        Action::Open(_) => None,
    }
}

/// Whom the last of the jobs that says so assigns the ticket to.
fn last_assignee<'a>(
    jobs: impl IntoIterator<Item = &'a JobRecord, IntoIter: DoubleEndedIterator>,
) -> Option<String> {
    jobs.into_iter().rev().find_map(|job| match &job.action {
        Action::Escalate { assign, .. } => assign.clone(),
        Action::Open(_)
        | Action::Comment { .. }
        | Action::Resolve { .. }
        | Action::Reopen { .. } => None,
    })
}
