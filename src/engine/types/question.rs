//! What can be asked of a running gateway, by its API, its pages and the command line.

use super::alarm::{AlarmId, Signature};
use super::input::OperatorAction;
use super::listing::{AlarmFilter, DeviceFilter};
use super::time::{TimeSpan, Timestamp};

/// A question about the state, or an act of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Every alarm that is kept.
    Alarms,
    /// Every ticket that is kept.
    Tickets,
    /// Every device.
    Devices,
    /// A part of the list of alarms.
    AlarmList(AlarmFilter),
    /// Everything about one alarm.
    Alarm(AlarmId),
    /// A part of the list of devices.
    DeviceList(DeviceFilter),
    /// Everything about one device.
    Device(String),
    /// The jobs that were given up.
    DeadLetters {
        /// So many are left out.
        skip: usize,
        /// So many are told at most.
        most: usize,
    },
    /// How many tickets nobody needed, by rule.
    Invalid {
        /// Of those that were opened since so long.
        span: TimeSpan,
    },
    /// Everything about one alarm, ticket or episode.
    Explain(String),
    /// The first message of each kind that was refused.
    Rejected,
    /// How the budgets stand, and what is held for want of money.
    Budgets,
    /// Whether the gateway can do its work.
    Health,
    /// What was worth no ticket since then.
    Digest {
        /// Gateway time.
        since: Timestamp,
    },
    /// What people did since then.
    Audit {
        /// Gateway time.
        since: Timestamp,
    },
    /// Something to do, answered once it is on disk.
    Act {
        /// What.
        action: OperatorAction,
        /// Who and why.
        signer: Signer,
    },
}

impl Question {
    /// Every job that was given up.
    pub const ALL_DEAD_LETTERS: Question = Question::DeadLetters { skip: 0, most: usize::MAX };
}

/// Who does something, before it is known when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Person.
    pub by: String,
    /// `cli`, `api`, `console`.
    pub via: String,
    /// Why.
    pub reason: String,
}

impl Signer {
    /// The signature at a time.
    pub fn at(&self, at: Timestamp) -> Signature {
        Signature { by: self.by.clone(), at, via: self.via.clone(), reason: self.reason.clone() }
    }
}
