//! Tickets of the desk that are over, and that nothing needs any more.

use std::collections::{BTreeMap, BTreeSet};

use super::Desk;
use super::book::{Book, BookError, Done};
use super::layout::{Kept, content_key, external_key, request_key, ticket_key};
use crate::engine::types::time::Timestamp;
use crate::io::journal::Size;
use crate::io::store::{Batch, StoreError};

impl Desk {
    /// What is in the store of the desk, and how many of its records are tickets. Reads all of it,
    /// while `goes_on` says so; `None` when it was stopped. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn size(&self, goes_on: impl Fn() -> bool) -> Result<Option<(Size, u64)>, StoreError> {
        let (mut size, mut tickets) = (Size::default(), 0);
        for found in self.book.store.scan(b"", b"") {
            if !goes_on() {
                return Ok(None);
            }
            let (key, value) = found?;
            size.add(&key, &value);
            tickets += u64::from(key.starts_with(b"t/"));
        }
        Ok(Some((size, tickets)))
    }

    /// True when there are tickets that were over and last changed before a time.
    pub async fn has_over_before(&self, before: Timestamp) -> bool {
        self.book.has_over_before(before).await
    }

    /// Deletes tickets that were over and last changed before a time and whose external key is not
    /// `held`, with their history and what is attached: the oldest first, at most `most`, until so
    /// many bytes are free.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn forget(
        &self,
        before: Timestamp,
        held: &BTreeSet<String>,
        most: usize,
        bytes_max: u64,
    ) -> Result<Size, BookError> {
        let old = self.book.over_before(before).await;
        let mut going = BTreeMap::new();
        let mut bytes = 0;
        for id in old {
            if going.len() >= most || bytes >= bytes_max {
                break;
            }
            let Some(kept) = self.book.kept(id)? else { continue };
            if !held.contains(&kept.ticket.external_key) {
                let records = self.book.records_of(id, &kept)?;
                bytes += records.bytes;
                going.insert(id, records);
            }
        }
        if going.is_empty() {
            return Ok(Size::default());
        }
        self.book.add_requests(&mut going)?;
        self.book.delete(before, going).await
    }
}

/// The keys of a ticket that goes, and what they hold.
#[derive(Debug, Default)]
struct Records {
    keys: Vec<Vec<u8>>,
    bytes: u64,
}

impl Records {
    fn add(&mut self, key: Vec<u8>, value_bytes: u64) {
        self.bytes += key.len() as u64 + value_bytes;
        self.keys.push(key);
    }
}

impl Book {
    fn records_of(&self, id: u64, kept: &Kept) -> Result<Records, BookError> {
        let mut records = Records::default();
        let ticket = &kept.ticket;
        let own = ticket_key(id).into_bytes();
        let bytes = self.store.get(&own)?.map_or(0, |value| value.len() as u64);
        records.add(own, bytes);
        records.add(external_key(&ticket.external_key), ticket.id.len() as u64);
        for file in &ticket.attachments {
            records.add(content_key(id, file.number), file.bytes);
        }
        for record in kept.history.records(&self.store, id) {
            let (key, value) = record?;
            records.add(key, value.len() as u64);
        }
        Ok(records)
    }

    /// The requests that were about these tickets: who repeats one after that opens a new ticket.
    fn add_requests(&self, going: &mut BTreeMap<u64, Records>) -> Result<(), BookError> {
        let prefix = request_key("");
        for record in self.store.scan(&prefix, b"") {
            let (key, value) = record?;
            let done = std::str::from_utf8(&value).ok().and_then(Done::parse);
            if let Some(records) = done.and_then(|done| going.get_mut(&done.ticket)) {
                records.add(key, value.len() as u64);
            }
        }
        Ok(())
    }

    /// Deletes what has not been changed meanwhile.
    async fn delete(
        &self,
        before: Timestamp,
        mut going: BTreeMap<u64, Records>,
    ) -> Result<Size, BookError> {
        let mut shelf = self.shelf.lock().await;
        going.retain(|id, _| shelf.is_over_before(*id, before));
        let bytes = going.values().map(|records| records.bytes).sum();
        let size = Size { records: going.len() as u64, bytes };
        let ids: Vec<u64> = going.keys().copied().collect();
        let keys = going.into_values().flat_map(|records| records.keys);
        let batch: Batch = keys.map(|key| (key, None)).collect();
        if !batch.is_empty() {
            self.store.commit_async(batch).await?;
        }
        for id in ids {
            shelf.forget(id);
        }
        Ok(size)
    }
}
