//! The chain of the ledger, held against the bytes that are kept: a row is not read for it.

use std::borrow::Cow;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::ledger::LedgerState;

/// Hexadecimal digits of a hash.
const HASH_CHARS: usize = 64;
/// What ends the bytes of a row, without the hash in it.
const TAIL: usize = HASH_CHARS + 2;

/// What of a row the chain looks at.
#[derive(Debug, Deserialize)]
struct Link<'a> {
    sequence: u64,
    #[serde(borrow)]
    idem: Cow<'a, str>,
    state: LedgerState,
    reverses: Option<u64>,
    prev_hash: &'a str,
    hash: &'a str,
}

/// Where the ledger is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Bytes that are no row.
    #[error("row {after} is followed by something that is no row: {cause}")]
    NoRow {
        /// The row before.
        after: u64,
        /// What is wrong.
        cause: String,
    },
    /// Rows are missing, or there twice.
    #[error("row {after} is followed by row {found}")]
    Gap {
        /// The row before.
        after: u64,
        /// What follows.
        found: u64,
    },
    /// A row was changed.
    #[error("row {sequence} is not what was written: its hash differs")]
    Changed {
        /// The row.
        sequence: u64,
    },
    /// A row does not build on the one before.
    #[error("row {sequence} was not written after the one before it: the chain is broken")]
    Unlinked {
        /// The row.
        sequence: u64,
    },
    /// A movement that was spent twice.
    #[error("{count} movements are committed twice")]
    Twice {
        /// How many.
        count: usize,
    },
}

/// A ledger that is being verified, row by row in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    sequence: u64,
    hash: String,
    committed: Vec<u128>,
}

impl Chain {
    /// Holds the next row against the one before.
    ///
    /// # Errors
    /// See [`Break`].
    pub fn take(&mut self, row: &[u8]) -> Result<(), Break> {
        let after = self.sequence;
        let link: Link<'_> = serde_json::from_slice(row)
            .map_err(|error| Break::NoRow { after, cause: error.to_string() })?;
        let sequence = link.sequence;
        if sequence != after + 1 {
            return Err(Break::Gap { after, found: sequence });
        }
        if !is_sealed(row, link.hash) {
            return Err(Break::Changed { sequence });
        }
        if link.prev_hash != self.hash {
            return Err(Break::Unlinked { sequence });
        }
        if link.state == LedgerState::Committed && link.reverses.is_none() {
            self.committed.push(xxh3_128(link.idem.as_bytes()));
        }
        self.sequence = sequence;
        self.hash.clear();
        self.hash.push_str(link.hash);
        Ok(())
    }

    /// Rows so far, and the hash of the last one.
    pub fn end(&self) -> (u64, &str) {
        (self.sequence, &self.hash)
    }

    /// No movement was committed twice.
    ///
    /// # Errors
    /// [`Break::Twice`].
    pub fn finish(mut self) -> Result<(u64, String), Break> {
        self.committed.sort_unstable();
        let twice = self.committed.windows(2).filter(|pair| pair.first() == pair.last()).count();
        if twice > 0 { Err(Break::Twice { count: twice }) } else { Ok((self.sequence, self.hash)) }
    }
}

/// The hash of a row: BLAKE3 of its bytes with an empty `hash`, hex.
pub fn digest(bare: &[u8]) -> String {
    blake3::hash(bare).to_hex().to_string()
}

/// True when the hash at the end of a row is what the rest of it says.
pub fn is_intact(row: &[u8]) -> bool {
    let link: Result<Link<'_>, _> = serde_json::from_slice(row);
    link.is_ok_and(|link| is_sealed(row, link.hash))
}

// The hash is the last field: before it stands what was hashed, but for the closing `"}`.
fn is_sealed(row: &[u8], hash: &str) -> bool {
    let Some((body, tail)) = row.len().checked_sub(TAIL).and_then(|at| row.split_at_checked(at))
    else {
        return false;
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(body).update(b"\"}");
    tail.strip_suffix(b"\"}").is_some_and(|told| {
        told == hash.as_bytes() && hasher.finalize().to_hex().as_bytes() == told
    })
}
