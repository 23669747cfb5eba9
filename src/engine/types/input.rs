//! Everything that can happen to the engine. Recordable, so that a run can be replayed.

use super::alarm::{AlarmId, Signature};
use super::device::DeviceFacts;
use super::job::{Delivered, JobKey};
use super::ledger::LedgerRow;
use super::message::{Message, Reading};
use super::ticket::{TicketId, TicketStatus};
use super::time::{TimeSpan, Timestamp};

/// One thing that happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message arrived.
    Message(Message),
    /// A device has measured something: a message that is decoded already.
    Readings {
        /// Who.
        facts: DeviceFacts,
        /// Event time.
        at: Timestamp,
        /// Metric and reading, each metric once.
        readings: Vec<(String, Reading)>,
    },
    /// Time has passed: due timers fire.
    Tick,
    /// A call to an upstream has ended.
    Delivered(Delivered),
    /// An operator did something.
    Operator {
        /// What.
        action: OperatorAction,
        /// Who, when, from where, why.
        signature: Signature,
    },
    /// A ticket changed in the upstream.
    Ticket {
        /// Our id.
        id: TicketId,
        /// Its state now.
        status: TicketStatus,
        /// Who is named in the upstream, and which one.
        signature: Signature,
    },
    /// The shell has measured what it knows the size of.
    Measured {
        /// Bytes that are kept for tickets: see `docs/billing.md`.
        kept_bytes: u64,
    },
    /// The path to the devices of a source was lost or is back.
    Path {
        /// Index of the source.
        source: usize,
        /// True when messages can arrive.
        up: bool,
    },
}

/// What an operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Take an alarm.
    Acknowledge(AlarmId),
    /// Take every alarm of a ticket.
    AcknowledgeTicket(TicketId),
    /// Let a latched alarm go.
    Reset(AlarmId),
    /// Keep an alarm from people for some time.
    Shelve {
        /// The alarm.
        alarm: AlarmId,
        /// For how long at the most.
        span: TimeSpan,
        /// Until it returns, if that is sooner.
        one_shot: bool,
    },
    /// End that.
    Unshelve(AlarmId),
    /// Keep an alarm from people until it is put back.
    TakeOutOfService(AlarmId),
    /// Put it back.
    PutIntoService(AlarmId),
    /// Send a dead letter again.
    Retry(JobKey),
    /// Give a dead letter up for good.
    Drop(JobKey),
    /// Pay for an alarm that the budget does not hold, by its token.
    Approve(String),
    /// Take back a row of the ledger that was committed and should not have been.
    TakeBack(Box<LedgerRow>),
}

impl OperatorAction {
    /// The word in the audit trail.
    pub fn word(&self) -> &'static str {
        match self {
            OperatorAction::Acknowledge(_) | OperatorAction::AcknowledgeTicket(_) => "acknowledge",
            OperatorAction::Reset(_) => "reset",
            OperatorAction::Shelve { .. } => "shelve",
            OperatorAction::Unshelve(_) => "unshelve",
            OperatorAction::TakeOutOfService(_) => "take-out-of-service",
            OperatorAction::PutIntoService(_) => "put-into-service",
            OperatorAction::Retry(_) => "retry",
            OperatorAction::Drop(_) => "drop",
            OperatorAction::Approve(_) => "approve",
            OperatorAction::TakeBack(_) => "take-back",
        }
    }

    /// What it is done to, as people write it.
    pub fn subject(&self) -> String {
        match self {
            OperatorAction::Acknowledge(alarm)
            | OperatorAction::Reset(alarm)
            | OperatorAction::Shelve { alarm, .. }
            | OperatorAction::Unshelve(alarm)
            | OperatorAction::TakeOutOfService(alarm)
            | OperatorAction::PutIntoService(alarm) => alarm.to_string(),
            OperatorAction::AcknowledgeTicket(ticket) => ticket.to_string(),
            OperatorAction::Retry(job) | OperatorAction::Drop(job) => {
                format!("{}/{}", job.ticket, job.number)
            }
            OperatorAction::Approve(token) => token.clone(),
            OperatorAction::TakeBack(row) => format!("ledger row {}", row.sequence),
        }
    }
}
