//! What can be asked of a running gateway, by its API, its pages and the command line.

use super::alarm::Signature;
use super::input::OperatorAction;
use super::time::Timestamp;

/// A question about the state, or an act of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Every alarm that is kept.
    Alarms,
    /// Every ticket that is kept.
    Tickets,
    /// Every device.
    Devices,
    /// Every job that was given up.
    DeadLetters,
    /// Everything about one alarm, ticket or episode.
    Explain(String),
    /// The first message of each kind that was refused.
    Rejected,
    /// Whether the gateway can do its work.
    Health,
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
