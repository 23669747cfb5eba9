//! A store that was put back from a backup: the upstreams know of more than it does.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// From when a restored store is.
///
/// What the gateway did between the backup and the restore is known to the upstreams alone: tickets
/// that it opened, and what it did to those that were open. Nothing tells how much that was, so that
/// the marker is kept for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the backup was made.
    pub backup_at: Timestamp,
    /// When it was restored.
    pub at: Timestamp,
}

impl Restored {
    /// The effects of a ticket that are decided after the restore are numbered from here: the
    /// seconds since 1970, which no count of effects reaches. A lower number may have been used for
    /// another effect, and its idempotency key with it.
    pub fn first_effect(&self) -> u32 {
        u32::try_from(self.at.micros() / 1_000_000).unwrap_or(u32::MAX / 2)
    }
}
