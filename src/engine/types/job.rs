//! Verdict -> Job: one thing to be done in an upstream, and how it went.

use serde::{Deserialize, Serialize};

use super::alarm::Fingerprint;
use super::plot::Plot;
use super::severity::Severity;
use super::ticket::TicketId;
use super::time::{TimeSpan, Timestamp};

/// A job's place: the ticket and the number of the effect in it. Jobs of one ticket go in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The ticket.
    pub ticket: TicketId,
    /// Number of the effect, from 1.
    pub number: u32,
}

/// What to do in the upstream. Texts are finished: nothing is decided after this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Action {
    /// Open the ticket.
    Open(Box<Draft>),
    /// Add a comment.
    Comment {
        /// The text.
        text: String,
    },
    /// A step of the ladder, on the same ticket.
    Escalate {
        /// The new severity, which the upstream's own priority follows; `None` leaves it.
        severity: Option<Severity>,
        /// Whom to assign it to; `None` leaves it.
        assign: Option<String>,
        /// Comment that says why; empty for none.
        text: String,
    },
    /// The fault is over.
    Resolve {
        /// Comment that says how it ended.
        text: String,
    },
    /// The fault is back.
    Reopen {
        /// The new severity, which the upstream's own priority follows; `None` leaves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        severity: Option<Severity>,
        /// Comment with the new evidence.
        text: String,
    },
}

impl Action {
    /// The word in ledger rows, logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Action::Open(_) => "open",
            Action::Comment { .. } => "comment",
            Action::Escalate { .. } => "escalate",
            Action::Resolve { .. } => "resolve",
            Action::Reopen { .. } => "reopen",
        }
    }
}

/// A new ticket, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Subject line, one line.
    pub title: String,
    /// Body, plain text with line feeds.
    pub body: String,
    /// Our severity.
    pub severity: Severity,
    /// A safety fault.
    pub safety: bool,
    /// The upstream's queue or project; `None` for its default.
    pub queue: Option<String>,
    /// The device's id.
    pub device: String,
    /// The rule's id.
    pub rule: String,
    /// Site of the device.
    pub site: String,
    /// Event time of the fault.
    pub raised_at: Timestamp,
    /// The values before it, to be drawn; `None` where there are too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plot: Option<Plot>,
}

/// One job of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Place.
    pub key: JobKey,
    /// Name of the upstream.
    pub upstream: String,
    /// External key of the ticket: what a look-up searches for.
    pub fingerprint: Fingerprint,
    /// Sent as `Idempotency-Key` with every attempt: `<fingerprint>-<number>`.
    pub idempotency_key: String,
    /// Order among the jobs that are ready.
    pub severity: Severity,
    /// When it was decided (gateway time).
    pub created_at: Timestamp,
    /// What to do.
    pub action: Action,
    /// How it stands.
    pub state: JobState,
    /// What of the next attempt is paid for.
    #[serde(default)]
    pub funds: Funds,
}

impl JobRecord {
    /// Why it waits, or was given up; empty before the first attempt.
    pub fn reason(&self) -> &str {
        match &self.state {
            JobState::Waiting { reason, .. } | JobState::Dead { reason, .. } => reason,
        }
    }
}

/// What of the next attempt is set aside in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// Requests that it may make; 0 in records of versions that did not bound them.
    pub calls: u32,
    /// What is not set aside: the attempt waits until the budgets pay for it.
    #[serde(default, skip_serializing_if = "Owed::is_nothing")]
    pub owed: Owed,
}

/// What of an attempt is not paid for yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owed {
    /// All of it is set aside.
    #[default]
    Nothing,
    /// The requests.
    Calls,
    /// The requests, and what the action itself is billed as.
    Whole,
}

impl Owed {
    /// True where the attempt may go.
    pub fn is_nothing(&self) -> bool {
        *self == Owed::Nothing
    }
}

/// Requests that an attempt at an upstream may make at first, look-ups among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// To open a ticket.
    pub open: u32,
    /// To do anything on one that is there.
    pub follow: u32,
}

impl Allowance {
    /// One request does it.
    pub const ONE: Allowance = Allowance { open: 1, follow: 1 };

    /// For an action.
    pub fn of(self, action: &Action) -> u32 {
        match action {
            Action::Open(_) => self.open,
            Action::Comment { .. }
            | Action::Escalate { .. }
            | Action::Resolve { .. }
            | Action::Reopen { .. } => self.follow,
        }
    }
}

/// How a job stands. A job that is done leaves the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum JobState {
    /// To be sent, not before this time.
    Waiting {
        /// Attempts made so far.
        attempts: u32,
        /// Earliest time of the next attempt (gateway time).
        not_before: Timestamp,
        /// An attempt may have been carried out, then at the latest: look before sending it again.
        in_doubt_since: Option<Timestamp>,
        /// It was handed over to be sent, and no answer is known. Stored before it is sent, so that
        /// a restart knows which of the jobs may have been carried out.
        sent: bool,
        /// Why the last attempt failed; empty before the first.
        reason: String,
    },
    /// Given up; an operator may retry or drop it.
    Dead {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
        /// Attempts made: the numbers of the next ones go on from here.
        #[serde(default)]
        attempts: u32,
    },
}

/// One attempt that the shell is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The job.
    pub key: JobKey,
    /// Name of the upstream.
    pub upstream: String,
    /// The upstream's id of the ticket; `None` only for [`Action::Open`].
    pub external: Option<String>,
    /// External key of the ticket.
    pub fingerprint: Fingerprint,
    /// Header `Idempotency-Key`.
    pub idempotency_key: String,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Requests that it may make: so many are paid for.
    pub requests_max: u32,
    /// An earlier attempt may have been carried out, so long ago at least: look it up first.
    pub in_doubt: Option<TimeSpan>,
    /// Severity of the ticket: a part of what an upstream takes may be kept for critical ones.
    pub severity: Severity,
    /// What to do.
    pub action: Action,
}

/// What came of a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The job.
    pub key: JobKey,
    /// Number of the attempt.
    pub attempt: u32,
    /// HTTP requests that the attempt made, look-ups and failures included: each is billable.
    pub requests: u32,
    /// It ended since it would have taken more requests than it may make.
    pub is_short: bool,
    /// How it ended.
    pub outcome: Outcome,
}

/// The ends that a call can have: done, certainly not done (for good or for now, or with its ticket gone), unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out; `external` is the upstream's id of the ticket.
    Done {
        /// The upstream's id.
        external: String,
        /// It had been carried out by an earlier attempt: found, not done again.
        found: bool,
    },
    /// The upstream has no such ticket any more.
    Gone {
        /// What the upstream said.
        reason: String,
    },
    /// Refused for good: a retry would be refused again.
    Rejected {
        /// What the upstream said.
        reason: String,
    },
    /// Not carried out; worth another attempt.
    Later {
        /// What went wrong.
        reason: String,
        /// The upstream asks to wait this long (`Retry-After`).
        after: Option<TimeSpan>,
    },
    /// Not carried out, though the upstream is well: it must wait for something of its own.
    Held {
        /// For what.
        reason: String,
        /// For how long; `None` for as long as a failure would.
        after: Option<TimeSpan>,
    },
    /// It may or may not have been carried out (time-out, connection lost after sending).
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_stored_before_there_were_plots_is_read() {
        let stored = r#"{"do":"open","title":"t","body":"b","severity":"major","safety":false,"queue":null,
            "device":"d","rule":"r","site":"s","raised_at":"2026-01-31T08:00:00Z"}"#;
        let action: Action = serde_json::from_str(stored).expect("read");
        let Action::Open(draft) = &action else { panic!("{action:?}") };
        assert_eq!(draft.plot, None);
        let text = serde_json::to_string(&action).expect("written");
        assert!(!text.contains("plot"), "{text}");
        assert_eq!(serde_json::from_str::<Action>(&text).ok(), Some(action));
    }
}
