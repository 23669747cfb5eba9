//! What has happened to a ticket: a record for each entry, so that a change writes what is new and
//! not all that was before, and nothing of it lies in memory.

use serde::{Deserialize, Serialize};

use super::layout::{put, read};
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Record, Store, StoreError};

/// Entries of a ticket's history that are kept.
const ENTRIES_MAX: u64 = 1_000;
/// Text in a ticket's history that is kept, in bytes.
const BYTES_MAX: u64 = 4 << 20;

/// One thing that happened to a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What was changed, in one line; empty for a comment alone.
    pub what: String,
    /// Comment.
    pub text: String,
}

/// Which entries of a ticket are kept, and how much text is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    first: u64,
    next: u64,
    bytes: u64,
}

impl Span {
    /// Adds an entry to the batch; the oldest go where there are too many.
    pub fn add(
        &mut self,
        store: &Store,
        ticket: u64,
        entry: &Entry,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        batch.push(put(key(ticket, self.next), entry)?);
        self.next += 1;
        self.bytes += entry.text.len() as u64;
        let kept = |span: &Span| span.next - span.first;
        while kept(self) > ENTRIES_MAX || (self.bytes > BYTES_MAX && kept(self) > 1) {
            let oldest = key(ticket, self.first).into_bytes();
            if let Some(value) = store.get(&oldest)? {
                let gone: Entry = read(&oldest, &value)?;
                self.bytes = self.bytes.saturating_sub(gone.text.len() as u64);
            }
            batch.push((oldest, None));
            self.first += 1;
        }
        Ok(())
    }

    /// The entries, oldest first.
    pub fn read(self, store: &Store, ticket: u64) -> Result<Vec<Entry>, StoreError> {
        let read_record = |record: Result<Record, StoreError>| {
            let (key, value) = record?;
            read(&key, &value)
        };
        self.records(store, ticket).map(read_record).collect()
    }

    /// The records of the entries, oldest first.
    pub fn records(
        self,
        store: &Store,
        ticket: u64,
    ) -> impl Iterator<Item = Result<Record, StoreError>> {
        let prefix = format!("h/{ticket:020}/").into_bytes();
        store.scan(&prefix, key(ticket, self.first).as_bytes())
    }
}

fn key(ticket: u64, number: u64) -> String {
    format!("h/{ticket:020}/{number:020}")
}
