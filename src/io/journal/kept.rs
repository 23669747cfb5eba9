//! What the store holds, and what of it goes by its age.

use std::collections::{BTreeMap, BTreeSet};

use super::{Journal, read, text};
use crate::engine::types::alarm::Fingerprint;
use crate::engine::types::spell::Spell;
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Records, StoreError};

/// Records that lie in the order of their time and that nothing refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// Acts of people.
    Act,
    /// Lines of the digest.
    Digest,
    /// What upstreams said of use.
    Reported,
    /// Episodes of alarms, for figures.
    Spell,
}

impl Dated {
    /// Every kind.
    pub const ALL: [Dated; 4] = [Dated::Act, Dated::Digest, Dated::Reported, Dated::Spell];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Dated::Act => "act",
            Dated::Digest => "digest",
            Dated::Reported => "reported",
            Dated::Spell => "spell",
        }
    }

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Dated::Act => "u/",
            Dated::Digest => "n/",
            Dated::Reported => "x/",
            Dated::Spell => "e/",
        }
    }
}

/// So many records, and the bytes of their keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Size {
    /// Counts a record.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }
}

impl<S: Records> Journal<S> {
    /// What is in the store, by kind; the files are larger. Reads all of it, while `goes_on` says so;
    /// `None` when it was stopped. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sizes(
        &self,
        goes_on: impl Fn() -> bool,
    ) -> Result<Option<BTreeMap<&'static str, Size>>, StoreError> {
        let mut sizes: BTreeMap<&'static str, Size> = BTreeMap::new();
        for found in self.store.scan(b"", b"") {
            if !goes_on() {
                return Ok(None);
            }
            let (key, value) = found?;
            sizes.entry(kind(&key)).or_default().add(&key, &value);
        }
        Ok(Some(sizes))
    }

    /// Hands every episode of an alarm that is kept to `take`, in the order of their raises; one that
    /// cannot be read is left out. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn each_spell(&self, mut take: impl FnMut(Spell)) -> Result<(), StoreError> {
        for found in self.store.scan(Dated::Spell.prefix().as_bytes(), b"") {
            let (key, value) = found?;
            if let Ok(spell) = read(&text(&key), &value) {
                take(spell);
            }
        }
        Ok(())
    }

    /// These episodes, as far as they are kept, in the order of their raises. Reads the keys of all, and
    /// the records of no others. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn spells_of(&self, wanted: &BTreeSet<Fingerprint>) -> Result<Vec<Spell>, StoreError> {
        let mut spells = Vec::new();
        for found in self.store.scan(Dated::Spell.prefix().as_bytes(), b"") {
            let (key, value) = found?;
            let key = text(&key);
            let is_wanted = |(_, fingerprint): (&str, &str)| {
                wanted.contains(&Fingerprint(fingerprint.to_owned()))
            };
            if key.rsplit_once('/').is_some_and(is_wanted) {
                spells.extend(read::<Spell>(&key, &value).ok());
            }
        }
        Ok(spells)
    }

    /// The external keys of the tickets that are kept: what is done to them needs them where they are.
    /// Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn external_keys(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut keys = BTreeSet::new();
        for found in self.store.scan(b"t/", b"") {
            let (key, value) = found?;
            let ticket: TicketRecord = read(&text(&key), &value)?;
            keys.insert(ticket.fingerprint.to_string());
        }
        Ok(keys)
    }

    /// Deletes records from before a time, the oldest first and at most `most`. Blocks.
    ///
    /// # Errors
    /// Those of [`Records::commit`], and what the disk says.
    pub fn forget(&self, what: Dated, before: Timestamp, most: usize) -> Result<Size, StoreError> {
        let prefix = what.prefix();
        let end = format!("{prefix}{:020}", before.micros().max(0)).into_bytes();
        let mut batch = Batch::new();
        let mut gone = Size::default();
        for found in self.store.scan(prefix.as_bytes(), b"").take(most) {
            let (key, value) = found?;
            if key >= end {
                break;
            }
            gone.add(&key, &value);
            batch.push((key, None));
        }
        if !batch.is_empty() {
            self.store.commit(batch)?;
        }
        Ok(gone)
    }
}

fn kind(key: &[u8]) -> &'static str {
    match key.first() {
        Some(b'a') => "alarms",
        Some(b't') => "tickets",
        Some(b'j') => "jobs",
        Some(b'd') => "devices",
        Some(b'l') => "ledger",
        Some(b'p') => "statements",
        Some(b'u') => "acts",
        Some(b'n') => "digest",
        Some(b'e') => "spells",
        Some(b'x') => "reported",
        Some(b'q') => "quarantine",
        _ => "other",
    }
}
