//! What happens to a ticket after it was opened; what an upstream cannot do has a fallback.

use minijinja::Value;

use super::HttpApi;
use super::call::{About, Failure, scalar_value};
use super::create::cut;
use super::spec::Op;
use super::template::Names;
use crate::engine::types::job::{Action, Call, Outcome};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::io::upstream::http::Attempt;
use crate::io::upstream::known_ticket;

/// Tickets whose last status of ours is remembered.
const TOLD_MAX: usize = 10_000;

impl HttpApi {
    /// Makes one attempt at a call.
    pub async fn perform(&self, call: &Call, attempt: &mut Attempt) -> Result<Outcome, Outcome> {
        let (op, text) = match &call.action {
            Action::Open(draft) => return self.open(call, draft, attempt).await,
            Action::Comment { text } => (Op::Comment, text),
            Action::Escalate { text, .. } => (Op::Escalate, text),
            Action::Resolve { text } => (Op::Resolve, text),
            Action::Reopen { text, .. } => (Op::Reopen, text),
        };
        let ticket = known_ticket(call)?;
        let op = if self.api.operations.contains_key(&op) { op } else { Op::Comment };
        let done = Outcome::Done { external: ticket.to_owned(), found: false };
        if !self.api.operations.contains_key(&op) || (op == Op::Comment && text.is_empty()) {
            return Ok(done);
        }
        let mut names = self.names_of_call(call, ticket);
        let (text, _) = cut(text, self.api.limits.comment);
        names.insert("text".to_owned(), Value::from(text));
        let status = match &call.action {
            Action::Resolve { .. } => Some(TicketStatus::Resolved),
            Action::Reopen { .. } => Some(TicketStatus::Reopened),
            Action::Open(_) | Action::Comment { .. } | Action::Escalate { .. } => None,
        };
        if let Some(status) = status {
            names.insert("status".to_owned(), self.status_to(status));
            // Where an answer is looked at, `status` is its code.
            names.insert("wanted".to_owned(), self.status_to(status));
        }
        match &call.action {
            Action::Escalate { severity, assign, .. } => {
                self.add_escalation(&mut names, *severity, assign.as_deref());
            }
            Action::Reopen { severity, .. } => self.add_escalation(&mut names, *severity, None),
            Action::Open(_) | Action::Comment { .. } | Action::Resolve { .. } => {}
        }
        let about = About {
            critical: call.severity == Severity::Critical,
            key: Some(call.idempotency_key.as_str()),
            ..About::default()
        };
        match self.run(op, &mut names, about, call.in_doubt.is_some(), attempt).await {
            // It is there already: an earlier attempt has done it.
            Ok(_) | Err(Failure::Duplicate { .. }) => {}
            Err(failure) => return Err(failure.outcome()),
        }
        if let Some(status) = status {
            self.remember(ticket, status).await;
        }
        Ok(done)
    }

    fn add_escalation(&self, names: &mut Names, severity: Option<Severity>, assign: Option<&str>) {
        let nothing = || Value::from(());
        let severity_word = severity.map_or_else(nothing, |severity| Value::from(severity.word()));
        let priority = severity.map_or_else(nothing, |severity| self.priority(severity));
        let person = assign.map_or_else(nothing, |assign| {
            self.api.people.get(assign).map_or_else(|| Value::from(assign), scalar_value)
        });
        names.insert("severity".to_owned(), severity_word);
        names.insert("priority".to_owned(), priority);
        names.insert("assign".to_owned(), person);
    }

    /// What is written to set a status of ours: what the file says, else the one status that means
    /// it, else our own word.
    pub(super) fn status_to(&self, status: TicketStatus) -> Value {
        if let Some(scalar) = self.api.set_status.get(&status) {
            return scalar_value(scalar);
        }
        let mut theirs = self.api.status.iter().filter(|(_, ours)| **ours == status);
        theirs
            .next()
            .map_or_else(|| Value::from(status.word()), |(theirs, _)| Value::from(theirs.as_str()))
    }

    /// What we have set ourselves is not told as somebody's doing.
    async fn remember(&self, ticket: &str, status: TicketStatus) {
        let written = self.status_to(status).to_string();
        let seen = self.api.status.get(&written).copied().unwrap_or(status);
        let mut told = self.told.lock().await;
        if told.len() >= TOLD_MAX {
            told.pop_first();
        }
        told.insert(ticket.to_owned(), seen);
    }
}
