//! What belongs to the books beside the rows that the engine writes: statements, what upstreams say of
//! use, what was told of the plan; and the ledger in parts.

use super::{Dated, Journal, bounded, json, ledger_key, read, text};
use crate::engine::billing::Statement;
use crate::engine::types::reported::Reported;
use crate::engine::types::time::Timestamp;
use crate::io::store::{Record, StoreError};

const REMINDED_KEY: &[u8] = b"m/reminded";
/// Days of counters that are read at a time.
const REPORTED_MAX: usize = 100_000;

impl Journal {
    /// Every statement that was closed, in the order of their periods.
    ///
    /// # Errors
    /// What the disk says, and one that cannot be read: none is left out.
    pub fn statements(&self) -> Result<Vec<Statement>, StoreError> {
        let found = self.store.scan(b"p/", b"");
        found.map(|found| found.and_then(|(key, value)| read(&text(&key), &value))).collect()
    }

    /// Keeps a closed statement; one that is there already is never written over. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where its period is closed already, and those of [`Store::commit`].
    pub fn put_statement(&self, statement: &Statement) -> Result<(), StoreError> {
        let key = statement_key(statement);
        if self.store.get(&key)?.is_some() {
            let cause = "its period is closed already".to_owned();
            return Err(StoreError::Unreadable { key: text(&key), cause });
        }
        let value = json(&key, statement)?;
        self.store.commit(vec![(key, value)])
    }

    /// Keeps what upstreams said of use, in place of what they said earlier on the same day. Blocks.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub fn put_reported(&self, reported: &[Reported]) -> Result<(), StoreError> {
        let records = reported.iter().map(|day| {
            let key = reported_key(day);
            json(&key, day).map(|value| (key, value))
        });
        self.store.commit(records.collect::<Result<_, _>>()?)
    }

    /// What upstreams said of use, from a day on, in order; one that cannot be read is left out. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn reported(&self, since: Timestamp) -> Result<Vec<Reported>, StoreError> {
        self.since(Dated::Reported.prefix(), since, REPORTED_MAX)
    }

    /// Which end of a plan's term was told of last. Blocks.
    ///
    /// # Errors
    /// What the disk says; a record that cannot be read is none.
    pub fn reminded(&self) -> Result<Option<String>, StoreError> {
        let found = self.store.get(REMINDED_KEY)?;
        Ok(found.and_then(|value| read("m/reminded", &value).ok()))
    }

    /// An end of a plan's term was told of. Blocks.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub fn put_reminded(&self, key: &str) -> Result<(), StoreError> {
        self.store.commit(vec![(REMINDED_KEY.to_vec(), json(REMINDED_KEY, &key)?)])
    }

    /// The bytes of the rows from `from` to before `end`, in order.
    pub fn ledger_bytes_within(
        &self,
        from: u64,
        end: u64,
    ) -> impl Iterator<Item = Result<Record, StoreError>> {
        let end = ledger_key(end);
        let inside = move |found: &Result<Record, StoreError>| {
            found.as_ref().map_or(true, |(key, _)| *key < end)
        };
        self.ledger_bytes(from).take_while(inside)
    }

    /// Number of the last row of the ledger; 0 before the first. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn ledger_last(&self) -> Result<u64, StoreError> {
        let last = self.store.last(b"l/")?;
        let number = last.and_then(|(key, _)| text(&key).strip_prefix("l/")?.parse().ok());
        Ok(number.unwrap_or(0))
    }
}

fn reported_key(day: &Reported) -> Vec<u8> {
    bounded(format!("x/{:020}/{}\u{1f}{}", day.day.micros().max(0), day.upstream, day.header))
}

fn statement_key(statement: &Statement) -> Vec<u8> {
    format!("p/{:020}", statement.period.start.micros().max(0)).into_bytes()
}
