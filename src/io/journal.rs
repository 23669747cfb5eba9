//! The records of the engine in the store: which key, which bytes.
//!
//! Keys are text, a letter for the kind first, with numbers padded so that they sort; values are
//! JSON, those of `r/` excepted, which are written with every commit: the name after its length,
//! and eight bytes a message. Nothing is read back from a key: the records say who they are.
//!
//! | key | value |
//! | --- | --- |
//! | `a/RULE␟DEVICE␟KEY...` | an alarm |
//! | `t/NUMBER` | a ticket |
//! | `j/TICKET/NUMBER` | a job of the outbox |
//! | `d/DEVICE` | a device |
//! | `l/SEQUENCE` | a ledger row |
//! | `p/START` | the statement of a closed period |
//! | `u/MICROSECOND/SUBJECT` | an act of a person |
//! | `n/MICROSECOND/TICKET` | a line of the digest |
//! | `m/schema` | the version of keys and values (`schema.rs`) |
//! | `r/SOURCE` | what was received lately from a source and may come again |
//! | `m/restored` | from when the store is, where it was put back from a backup |
//! | `e/MICROSECOND/FINGERPRINT` | an episode of an alarm, for figures |
//! | `x/MICROSECOND/UPSTREAM␟HEADER` | what an upstream said of use on a day |
//! | `m/metering` | what is measured and has no row of the ledger yet |
//! | `m/reminded` | which end of a plan's term was told of last |
//! | `m/alive` | when the gateway was last known to run |
//! | `q/KEY` | what could not be read under KEY, as it was |

mod books;
mod kept;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema;
use super::store::{
    Batch, KEY_BYTES_MAX, OpenNotes, Record, Records, Scan, Store, StoreError, StoreOptions,
};
use crate::engine::types::alarm::{AlarmId, AlarmRecord};
use crate::engine::types::audit::AuditRecord;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::digest::DigestLine;
use crate::engine::types::effect::Write;
use crate::engine::types::job::{JobKey, JobRecord};
use crate::engine::types::ledger::LedgerRow;
use crate::engine::types::metering::Metering;
use crate::engine::types::restored::Restored;
use crate::engine::types::spell::Spell;
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::Timestamp;

pub use kept::{Dated, Size};

const METERING_KEY: &[u8] = b"m/metering";
const ALIVE_KEY: &[u8] = b"m/alive";
const RESTORED_KEY: &[u8] = b"m/restored";
const QUARANTINE: &str = "q/";
/// Records that are moved to quarantine in one commit.
const QUARANTINE_BATCH: usize = 256;

/// The engine's records on disk.
#[derive(Debug)]
pub struct Journal<S = Store> {
    store: S,
}

/// Everything that the engine starts from.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Every alarm, in the order of rule, device and key.
    pub alarms: Vec<AlarmRecord>,
    /// Every ticket, in the order of their numbers.
    pub tickets: Vec<TicketRecord>,
    /// The outbox, in the order of ticket and number.
    pub jobs: Vec<JobRecord>,
    /// Every device that was seen.
    pub devices: Vec<DeviceFacts>,
    /// The newest row of the ledger.
    pub last_ledger_row: Option<LedgerRow>,
    /// The highest ticket number that was ever given, 0 for none.
    pub last_ticket: u64,
    /// What was received lately and may come again, by source.
    pub received: Vec<(String, Vec<u64>)>,
    /// When the gateway was last known to run; `None` before the first time.
    pub alive_at: Option<Timestamp>,
    /// What is measured and has no row of the ledger yet.
    pub metering: Metering,
    /// From when the store is, where it was put back from a backup.
    pub restored: Option<Restored>,
    /// Records that could not be read; they were moved to quarantine, and the rest goes on.
    pub quarantined: Vec<Quarantined>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stood.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Journal {
    /// Opens the journal in `dir`, made if absent.
    ///
    /// # Errors
    /// Those of [`Store::open`], and [`StoreError::Newer`].
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Journal, OpenNotes), StoreError> {
        let (store, notes) = Store::open(dir, options)?;
        Ok((Journal::over(store, dir)?, notes))
    }

    /// As [`Journal::commit`], for async tasks.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub async fn commit_async(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.store.commit_async(batch(writes)?).await
    }

    /// The ledger from row `sequence` on, in order. A row that cannot be read is an error in its
    /// place, and the next call goes on after it.
    pub fn ledger(&self, sequence: u64) -> Rows<'_> {
        Rows { scan: self.store.scan(b"l/", &ledger_key(sequence)) }
    }

    /// The ledger from the first row on that was written at `at` or later. Rows are written in the
    /// order of time, so that the place is found by halves.
    ///
    /// # Errors
    /// What the disk says, and a row that cannot be read.
    pub fn ledger_since(&self, at: Timestamp) -> Result<Rows<'_>, StoreError> {
        let Some((key, value)) = self.store.last(b"l/")? else { return Ok(self.ledger(1)) };
        let (mut low, mut high) = (1, read::<LedgerRow>(&text(&key), &value)?.sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let key = ledger_key(middle);
            let found = self.store.get(&key)?;
            let row = found.map(|value| read::<LedgerRow>(&text(&key), &value)).transpose()?;
            // A row in quarantine leaves a gap; what is before it is read as well.
            if row.is_some_and(|row| row.recorded < at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(self.ledger(low))
    }

    /// The bytes of the ledger from row `sequence` on, in order.
    pub fn ledger_bytes(&self, sequence: u64) -> Scan<'_> {
        self.store.scan(b"l/", &ledger_key(sequence))
    }

    /// What people did since a time, in order; at most `most` of it. Blocks.
    ///
    /// # Errors
    /// What the disk says; an act that cannot be read is left out.
    pub fn audit(&self, since: Timestamp, most: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.since(Dated::Act.prefix(), since, most)
    }

    /// The digest since a time, in order; at most `most` lines. Blocks.
    ///
    /// # Errors
    /// What the disk says; a line that cannot be read is left out.
    pub fn digest(&self, since: Timestamp, most: usize) -> Result<Vec<DigestLine>, StoreError> {
        self.since(Dated::Digest.prefix(), since, most)
    }

    /// The episodes that were raised since a time, in order; at most `most` of them. Blocks.
    ///
    /// # Errors
    /// What the disk says; one that cannot be read is left out.
    pub fn spells(&self, since: Timestamp, most: usize) -> Result<Vec<Spell>, StoreError> {
        self.since(Dated::Spell.prefix(), since, most)
    }

    fn since<T: DeserializeOwned>(
        &self,
        kind: &str,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<T>, StoreError> {
        let from = format!("{kind}{:020}", since.micros().max(0));
        let mut records = Vec::new();
        for found in self.store.scan(kind.as_bytes(), from.as_bytes()) {
            let (key, value) = found?;
            records.extend(read::<T>(&text(&key), &value).ok());
            if records.len() >= most {
                break;
            }
        }
        Ok(records)
    }
}

impl<S: Records> Journal<S> {
    /// The journal in an open store, which is in `dir`.
    ///
    /// # Errors
    /// Those of [`schema::bring_up`].
    pub fn over(store: S, dir: &Path) -> Result<Journal<S>, StoreError> {
        schema::bring_up(&store, dir)?;
        Ok(Journal { store })
    }

    /// Marks the store as put back from a backup. Blocks.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub fn put_restored(&self, restored: Restored) -> Result<(), StoreError> {
        self.store.commit(vec![(RESTORED_KEY.to_vec(), json(RESTORED_KEY, &restored)?)])
    }

    /// The store below, for its free space and its directory.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Stores all of `writes` or nothing; returns when they would survive a power cut. Blocks.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.store.commit(batch(writes)?)
    }

    /// Reads what the engine starts from. Blocks.
    ///
    /// # Errors
    /// What the disk says; a record that cannot be read is no error.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        let mut lost = Vec::new();
        let mut snapshot = Snapshot {
            alarms: self.all("a/", &mut lost, read)?,
            tickets: self.all("t/", &mut lost, read)?,
            jobs: self.all("j/", &mut lost, read)?,
            devices: self.all("d/", &mut lost, read)?,
            received: self.all("r/", &mut lost, read_received)?,
            ..Snapshot::default()
        };
        while let Some((key, value)) = self.store.last(b"l/")? {
            match read::<LedgerRow>(&text(&key), &value) {
                Ok(row) => {
                    snapshot.last_ledger_row = Some(row);
                    break;
                }
                Err(error) => self.quarantine(&mut lost, vec![(key, value, error)])?,
            }
        }
        snapshot.last_ticket = self.last_ticket()?;
        snapshot.alive_at = self.alive_at()?;
        // One that cannot be read costs the rows of what was under way.
        let metering = self.store.get(METERING_KEY)?;
        let metering = metering.and_then(|value| read("m/metering", &value).ok());
        snapshot.metering = metering.unwrap_or_default();
        // One that cannot be read must not be taken for none: tickets would be opened twice.
        let restored = self.store.get(RESTORED_KEY)?;
        snapshot.restored = restored.map(|value| read("m/restored", &value)).transpose()?;
        snapshot.quarantined = lost;
        Ok(snapshot)
    }

    /// When the gateway was last known to run. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn alive_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let alive = self.store.get(ALIVE_KEY)?;
        Ok(alive.and_then(|value| read("m/alive", &value).ok()))
    }

    /// Where the records stood that are in quarantine, at most `most` of them. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn quarantined(&self, most: usize) -> Result<Vec<String>, StoreError> {
        let aside = self.store.scan(QUARANTINE.as_bytes(), b"").take(most);
        let stood = |key: Vec<u8>| text(key.get(QUARANTINE.len()..).unwrap_or_default());
        aside.map(|found| found.map(|(key, _)| stood(key))).collect()
    }

    fn all<T>(
        &self,
        prefix: &str,
        lost: &mut Vec<Quarantined>,
        read: impl Fn(&str, &[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut records = Vec::new();
        let mut broken = Vec::new();
        for found in self.store.scan(prefix.as_bytes(), b"") {
            let (key, value) = found?;
            match read(&text(&key), &value) {
                Ok(record) => records.push(record),
                Err(error) => broken.push((key, value, error)),
            }
            if broken.len() == QUARANTINE_BATCH {
                self.quarantine(lost, std::mem::take(&mut broken))?;
            }
        }
        self.quarantine(lost, broken)?;
        Ok(records)
    }

    fn quarantine(
        &self,
        lost: &mut Vec<Quarantined>,
        broken: Vec<(Vec<u8>, Vec<u8>, StoreError)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (key, value, error) in broken {
            let mut aside = QUARANTINE.as_bytes().to_vec();
            aside.extend_from_slice(&key);
            let (key_text, cause) = (text(&key), error.to_string());
            tracing::error!(key = %key_text, %cause, "A record was moved to quarantine.");
            lost.push(Quarantined { key: key_text, cause });
            batch.push((aside, Some(value)));
            batch.push((key, None));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.commit(batch)
    }

    // From the keys, so that a ticket in quarantine keeps its number.
    fn last_ticket(&self) -> Result<u64, StoreError> {
        let mut highest = 0;
        for prefix in ["t/", "q/t/"] {
            if let Some((key, _)) = self.store.last(prefix.as_bytes())? {
                let number = text(&key).strip_prefix(prefix).map(str::parse::<u64>);
                highest = number.and_then(Result::ok).unwrap_or(0).max(highest);
            }
        }
        Ok(highest)
    }
}

/// See [`Journal::ledger`].
#[derive(Debug)]
pub struct Rows<'a> {
    scan: Scan<'a>,
}

impl Iterator for Rows<'_> {
    type Item = Result<LedgerRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = |(key, value): Record| read(&text(&key), &value);
        self.scan.next().map(|found| found.and_then(row))
    }
}

/// Of a record that is written several times only the last one is made into bytes.
fn batch(writes: &[Write]) -> Result<Batch, StoreError> {
    let last: BTreeMap<Vec<u8>, &Write> = writes.iter().map(|write| (key(write), write)).collect();
    last.into_iter().map(|(key, write)| value(&key, write).map(|value| (key, value))).collect()
}

fn key(write: &Write) -> Vec<u8> {
    match write {
        Write::Alarm(alarm) => alarm_key(&alarm.id),
        Write::AlarmGone(alarm) => alarm_key(alarm),
        Write::Ticket(ticket) => ticket_key(ticket.id),
        Write::TicketGone(ticket) => ticket_key(*ticket),
        Write::Job(job) => job_key(job.key),
        Write::JobGone(key) => job_key(*key),
        Write::Digest(line) => format!("n/{:020}/{}", line.at.micros(), line.ticket).into_bytes(),
        Write::Audit(act) => {
            bounded(format!("u/{:020}/{}", act.signature.at.micros(), act.subject))
        }
        Write::Spell(spell) => spell_key(spell),
        Write::Ledger(row) => ledger_key(row.sequence),
        Write::Alive(_) => ALIVE_KEY.to_vec(),
        Write::Metering(_) => METERING_KEY.to_vec(),
        Write::Received { source, .. } => bounded(format!("r/{source}")),
        Write::Device(device) => bounded(format!("d/{}", device.id)),
    }
}

fn value(key: &[u8], write: &Write) -> Result<Option<Vec<u8>>, StoreError> {
    match write {
        Write::Alarm(alarm) => json(key, alarm),
        Write::Ticket(ticket) => json(key, ticket),
        Write::Job(job) => json(key, job),
        Write::Digest(line) => json(key, line),
        Write::Audit(act) => json(key, act),
        Write::Spell(spell) => json(key, spell),
        Write::Ledger(row) => json(key, row),
        Write::Alive(at) => json(key, at),
        Write::Metering(metering) => json(key, metering),
        Write::Received { source, newest } => Ok(Some(received_bytes(source, newest))),
        Write::Device(device) => json(key, device),
        Write::AlarmGone(_) | Write::TicketGone(_) | Write::JobGone(_) => Ok(None),
    }
}

fn json(key: &[u8], record: &impl Serialize) -> Result<Option<Vec<u8>>, StoreError> {
    serde_json::to_vec(record).map(Some).map_err(|error| unreadable(&text(key), &error))
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| unreadable(key, &error))
}

fn received_bytes(source: &str, newest: &[u64]) -> Vec<u8> {
    let mut bytes = (source.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(source.as_bytes());
    bytes.extend(newest.iter().flat_map(|hash| hash.to_le_bytes()));
    bytes
}

fn read_received(key: &str, value: &[u8]) -> Result<(String, Vec<u64>), StoreError> {
    let cause = "it is no name with its length and eight bytes a message".to_owned();
    let broken = || StoreError::Unreadable { key: key.to_owned(), cause };
    let parts = value.split_first_chunk().and_then(|(length, rest)| {
        let (name, hashes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (hashes, rest) = hashes.as_chunks();
        rest.is_empty().then_some((name, hashes))
    });
    let (name, hashes) = parts.ok_or_else(broken)?;
    let newest = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
    Ok((String::from_utf8_lossy(name).into_owned(), newest))
}

fn unreadable(key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable { key: key.to_owned(), cause: error.to_string() }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn alarm_key(id: &AlarmId) -> Vec<u8> {
    let mut key = format!("a/{}\u{1f}{}", id.rule, id.device);
    for value in &id.key {
        key.push('\u{1f}');
        key.push_str(value);
    }
    bounded(key)
}

fn ticket_key(id: TicketId) -> Vec<u8> {
    format!("t/{:020}", id.0).into_bytes()
}

fn job_key(key: JobKey) -> Vec<u8> {
    format!("j/{:020}/{:010}", key.ticket.0, key.number).into_bytes()
}

fn spell_key(spell: &Spell) -> Vec<u8> {
    format!("e/{:020}/{}", spell.raised_at.micros().max(0), spell.fingerprint).into_bytes()
}

fn ledger_key(sequence: u64) -> Vec<u8> {
    format!("l/{sequence:020}").into_bytes()
}

// Room is left for the prefix of the quarantine. A key that is too long keeps its beginning, for
// the reader, and a hash of the whole, so that no two names share a key.
fn bounded(key: String) -> Vec<u8> {
    const HASH_CHARS: usize = 64;
    let max = KEY_BYTES_MAX - QUARANTINE.len();
    if key.len() <= max {
        return key.into_bytes();
    }
    let hash = blake3::hash(key.as_bytes()).to_hex();
    let mut short = key.into_bytes();
    short.truncate(max - HASH_CHARS - 1);
    short.push(0x1f);
    short.extend_from_slice(hash.as_bytes());
    short
}
