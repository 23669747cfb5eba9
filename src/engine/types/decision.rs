//! What the engine decided, for logs, metrics and `demo`: one value per thing that happened.

use rust_decimal::Decimal;
use serde::Serialize;

use super::alarm::{AlarmId, HeldBy};
use super::ledger::Rung;
use super::names::{DeviceId, RuleId};
use super::severity::Severity;
use super::ticket::TicketId;
use super::time::Timestamp;

/// Why a message made no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// The topic fits no pattern of the source.
    Topic,
    /// The payload is larger than the source takes.
    Oversized,
    /// The payload is not what the decoder reads.
    Undecodable,
    /// The payload is not UTF-8.
    InvalidUtf8,
    /// JSON nested too deeply.
    TooDeep,
    /// The device id is missing, too long, or has control characters.
    DeviceId,
    /// A device that is not registered, where those are refused, or past `max_devices`.
    UnknownDevice,
    /// The device's time cannot be read, or is outside `max_skew`; the sample counts as of receipt.
    Time,
    /// Infinity, NaN or a number out of range; the metric counts as bad quality.
    Number,
    /// More metrics than one message may carry.
    TooManyMetrics,
    /// Data of a node or device whose birth is not known (Sparkplug).
    NoBirth,
    /// An alias that no birth has given (Sparkplug).
    UnknownAlias,
    /// A metric whose name the birth does not have, or has otherwise (Sparkplug).
    Name,
    /// A sequence number is missing, old or wrong (Sparkplug).
    Sequence,
    /// A death certificate of another session than the one that is born (Sparkplug).
    Death,
    /// A value that is no number, truth or text, or whose type nobody told.
    Datatype,
}

impl Rejection {
    /// The word in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Rejection::Topic => "topic",
            Rejection::Oversized => "oversized",
            Rejection::Undecodable => "undecodable",
            Rejection::InvalidUtf8 => "invalid-utf8",
            Rejection::TooDeep => "too-deep",
            Rejection::DeviceId => "device-id",
            Rejection::UnknownDevice => "unknown-device",
            Rejection::Time => "time",
            Rejection::Number => "number",
            Rejection::TooManyMetrics => "too-many-metrics",
            Rejection::NoBirth => "no-birth",
            Rejection::UnknownAlias => "unknown-alias",
            Rejection::Name => "name",
            Rejection::Sequence => "sequence",
            Rejection::Death => "death",
            Rejection::Datatype => "datatype",
        }
    }
}

/// One thing that the engine decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A message, or a part of it, was refused.
    Rejected {
        /// Index of the source.
        source: usize,
        /// Why.
        reason: Rejection,
        /// The particulars, cut to a line.
        detail: String,
    },
    /// A message that was taken in before came again, and changed nothing.
    Repeated {
        /// Index of the source.
        source: usize,
    },
    /// A condition could not be evaluated (wrong type, division by zero).
    RuleError {
        /// The rule.
        rule: RuleId,
        /// The device.
        device: DeviceId,
        /// What went wrong.
        detail: String,
    },
    /// An alarm changed its state.
    Alarm {
        /// The alarm.
        id: AlarmId,
        /// Number of the episode.
        episode: u32,
        /// What happened.
        event: AlarmEvent,
        /// Event time.
        at: Timestamp,
        /// Severity of the alarm.
        severity: Severity,
        /// The ticket that covers it.
        ticket: Option<TicketId>,
    },
    /// A budget has entered a rung.
    Budget(Notice),
    /// A ticket was opened that no budget holds.
    Overspent {
        /// Our id.
        ticket: TicketId,
        /// A safety fault, which is never held.
        safety: bool,
    },
    /// An alarm has been held for want of money as long as the budget allows.
    HeldTooLong {
        /// The alarm.
        id: AlarmId,
        /// Why it is held.
        why: String,
    },
    /// A ticket changed.
    Ticket {
        /// Our id.
        id: TicketId,
        /// What happened.
        event: TicketEvent,
        /// Event time.
        at: Timestamp,
    },
}

/// What can happen to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmEvent {
    /// A or pending -> B.
    Raised {
        /// Why it opens no ticket of its own.
        held_by: Option<HeldBy>,
    },
    /// What suppressed it is over and it is raised still: its ticket opens now.
    Released {
        /// Why it opens no ticket of its own.
        held_by: Option<HeldBy>,
    },
    /// B -> C or D -> A.
    Acknowledged,
    /// B -> D, C -> A, or -> latched.
    Returned,
    /// The episode is over.
    Closed,
    /// It changes too often, and counts as raised.
    Unsteady,
    /// It no longer changes too often.
    Steady,
}

/// What can happen to a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketEvent {
    /// Decided to open it.
    Opened,
    /// Another alarm joined it.
    Joined,
    /// A step of the ladder was taken.
    Escalated {
        /// The step, from 1.
        step: usize,
    },
    /// The fault is over.
    Resolved,
    /// The fault is back.
    Reopened,
    /// Somebody has resolved it upstream, and the fault stands: it is opened again.
    StillRaised,
    /// The upstream has no such ticket any more: nothing more is done on it.
    Gone,
    /// The upstream has carried out the job with this number.
    Delivered {
        /// Word of the action.
        action: &'static str,
        /// The upstream's id.
        external: String,
        /// Found by a look-up, not done again.
        found: bool,
    },
    /// A job was put off.
    Delayed {
        /// Word of the action.
        action: &'static str,
        /// Why.
        reason: String,
        /// When it is tried again.
        until: Timestamp,
    },
    /// A job was given up.
    DeadLettered {
        /// Word of the action.
        action: &'static str,
        /// Why.
        reason: String,
    },
}

/// A rung that was entered, told once a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Id of the budget.
    pub budget: String,
    /// The rung.
    pub rung: Rung,
    /// First day of the period.
    pub period: String,
    /// Spent and set aside, at most.
    pub used: Decimal,
    /// Money of the period.
    pub amount: Decimal,
}
