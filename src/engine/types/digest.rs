//! What happened and is worth no ticket: a line of the daily digest.

use serde::{Deserialize, Serialize};

use super::severity::Severity;
use super::ticket::TicketId;
use super::time::Timestamp;

/// A fault that came and went while nobody could be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestLine {
    /// When it was decided (gateway time).
    pub at: Timestamp,
    /// The ticket that was not opened.
    pub ticket: TicketId,
    /// What its subject would have been.
    pub title: String,
    /// How bad it was.
    pub severity: Severity,
    /// Event time of the raise.
    pub raised_at: Timestamp,
    /// Event time of the return.
    pub returned_at: Option<Timestamp>,
}
