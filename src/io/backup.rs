//! A backup: one file with everything that a data folder holds, as it was at one moment.
//!
//! A line of magic, a line of JSON ([`Head`]), then records one after another, each a byte for its
//! kind, the lengths of key and value (little-endian `u32`; `u32::MAX` for a key that is deleted),
//! key and value. The last one of a key counts. The record of kind 0 ends it: its value is the
//! BLAKE3 hash of everything before it, so that a file that was cut off or changed is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::desk::Desk;
use super::journal::Journal;
use super::rule_history;
use super::store::{Batch, KEY_BYTES_MAX, Store, StoreError, StoreOptions, VALUE_BYTES_MAX};
use crate::engine::types::chain::{Break, Chain};
use crate::engine::types::restored::Restored;
use crate::engine::types::time::Timestamp;

const MAGIC: &[u8] = b"faultgate-backup 1\n";
const HEAD_BYTES_MAX: u64 = 64 << 10;
const DELETED: u32 = u32::MAX;
/// Bytes of records that are put into a store in one commit.
const BATCH_BYTES: usize = 1 << 20;
/// The folder in which a restore builds what it then puts into place.
const BUILT: &str = "restore.new";

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    End,
    Gateway,
    Desk,
    /// A file of the rule history, its name as key.
    File,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::End, Kind::Gateway, Kind::Desk, Kind::File]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of which gateway it is (`[gateway] id`).
    pub gateway: String,
    /// When it was begun.
    pub at: Timestamp,
    /// The version that made it.
    pub version: String,
}

/// What went into a backup, or came out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records of the gateway's store.
    pub gateway: u64,
    /// Records of the desk's store.
    pub desk: u64,
    /// Files.
    pub files: u64,
    /// Length of the backup.
    pub bytes: u64,
}

/// Why there is no backup, or nothing is restored from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is none, or not as it was written.
    #[error("{}: {cause}; take another backup", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The ledger in it is not what was written.
    #[error(
        "the ledger in the backup is broken: {0}; take another backup, or restore it as it is with `--broken-ledger`"
    )]
    Ledger(#[from] Break),
    /// There is something already.
    #[error("{}: there is a store already; name a new data folder, or set that one aside with `--replace`", .0.display())]
    Occupied(PathBuf),
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Where the bytes go cannot take them.
    #[error("the backup cannot be written: {0}")]
    Out(#[from] io::Error),
    /// A store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    |error| BackupError::Io { path: path.to_owned(), cause: error.to_string() }
}

/// What goes into a backup.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The gateway's store.
    pub journal: &'a Journal,
    /// The desk's; none where there never was one.
    pub desk: Option<&'a Desk>,
    /// The data folder.
    pub data: &'a Path,
}

/// Writes a backup. The desk comes after the gateway: it may know of tickets that the gateway does
/// not know of yet, never the other way round. Blocks.
///
/// # Errors
/// What the stores and `out` say.
pub fn write(sources: Sources<'_>, head: &Head, out: impl Write) -> Result<Tally, BackupError> {
    let mut out = Hashed { out, hash: blake3::Hasher::new(), bytes: 0 };
    let mut tally = Tally::default();
    out.write_all(MAGIC)?;
    out.write_all(&serde_json::to_vec(head).map_err(io::Error::other)?)?;
    out.write_all(b"\n")?;
    sources.journal.store().copy(|key, value| {
        tally.gateway += 1;
        put(&mut out, Kind::Gateway, &key, value.as_deref())
    })?;
    if let Some(desk) = sources.desk {
        desk.copy(|key, value| {
            tally.desk += 1;
            put(&mut out, Kind::Desk, &key, value.as_deref())
        })?;
    }
    for (path, content) in rule_history::files(sources.data)? {
        tally.files += 1;
        put(&mut out, Kind::File, path.as_bytes(), Some(&content))?;
    }
    let hash = out.hash.finalize();
    put(&mut out, Kind::End, b"", Some(hash.as_bytes()))?;
    out.flush()?;
    tally.bytes = out.bytes;
    Ok(tally)
}

fn put(
    out: &mut impl Write,
    kind: Kind,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), BackupError> {
    let length = value.map_or(DELETED, |value| value.len() as u32);
    out.write_all(&[kind as u8])?;
    out.write_all(&(key.len() as u32).to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(key)?;
    Ok(out.write_all(value.unwrap_or_default())?)
}

/// Hashes what is written.
struct Hashed<W> {
    out: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A backup that is read; its records are to be believed once [`verify`] has gone through it.
struct Reading<'a> {
    path: &'a Path,
    file: BufReader<File>,
    hash: blake3::Hasher,
}

type Found = (Kind, Vec<u8>, Option<Vec<u8>>);

impl Reading<'_> {
    fn open(path: &Path) -> Result<(Head, Reading<'_>), BackupError> {
        let file = BufReader::new(File::open(path).map_err(at(path))?);
        let mut reading = Reading { path, file, hash: blake3::Hasher::new() };
        let mut magic = vec![0; MAGIC.len()];
        if reading.fill(&mut magic).is_err() || magic != MAGIC {
            return Err(reading.unusable("it is no backup of this version"));
        }
        let mut line = Vec::new();
        let head = (&mut reading.file).take(HEAD_BYTES_MAX).read_until(b'\n', &mut line);
        head.map_err(at(path))?;
        reading.hash.update(&line);
        let head = serde_json::from_slice(&line);
        let head = head.map_err(|error| reading.unusable(&format!("its head: {error}")))?;
        Ok((head, reading))
    }

    fn unusable(&self, cause: &str) -> BackupError {
        BackupError::Unusable { path: self.path.to_owned(), cause: cause.to_owned() }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.file.read_exact(bytes).map_err(|error| {
            let cut = error.kind() == io::ErrorKind::UnexpectedEof;
            if cut { self.unusable("it was cut off") } else { at(self.path)(error) }
        })?;
        self.hash.update(bytes);
        Ok(())
    }

    fn length(&mut self, most: usize) -> Result<Option<usize>, BackupError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        match u32::from_le_bytes(bytes) {
            DELETED => Ok(None),
            length if length as usize <= most => Ok(Some(length as usize)),
            _ => Err(self.unusable("it was changed after it was written")),
        }
    }

    /// The next record; `None` at the end, which holds the hash of all before it.
    fn next(&mut self) -> Result<Option<Found>, BackupError> {
        let told = self.hash.finalize();
        let mut kind = [0];
        self.fill(&mut kind)?;
        let changed = || self.unusable("it was changed after it was written");
        let kind = Kind::of(kind[0]).ok_or_else(changed)?;
        let length = self.length(KEY_BYTES_MAX)?.unwrap_or(0);
        let value = self.length(VALUE_BYTES_MAX)?;
        let mut key = vec![0; length];
        self.fill(&mut key)?;
        let value = match value {
            Some(length) => {
                let mut value = vec![0; length];
                self.fill(&mut value)?;
                Some(value)
            }
            None => None,
        };
        if kind != Kind::End {
            return Ok(Some((kind, key, value)));
        }
        let is_whole = value.as_deref() == Some(told.as_bytes());
        if is_whole { Ok(None) } else { Err(self.unusable("it was changed after it was written")) }
    }
}

/// Reads a backup to its end, and holds it against its hash. Blocks.
///
/// # Errors
/// What is wrong with it.
pub fn verify(path: &Path) -> Result<(Head, Tally), BackupError> {
    let (head, mut reading) = Reading::open(path)?;
    let mut tally = Tally::default();
    while let Some((kind, _, _)) = reading.next()? {
        match kind {
            Kind::Gateway => tally.gateway += 1,
            Kind::Desk => tally.desk += 1,
            Kind::File => tally.files += 1,
            Kind::End => {}
        }
    }
    tally.bytes = std::fs::metadata(path).map_err(at(path))?.len();
    Ok((head, tally))
}

/// What a restore does where there is something in its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct RestoreOptions {
    /// Sets the stores that are there aside.
    pub replace: bool,
    /// Takes a ledger whose chain is broken.
    pub broken_ledger: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoredData {
    /// What the backup says of itself.
    #[serde(flatten)]
    pub head: Head,
    /// What was in it.
    pub records: Tally,
    /// Rows of the ledger whose chain was verified.
    pub ledger_rows: u64,
    /// Where the stores are now that were there before.
    pub set_aside: Vec<PathBuf>,
}

/// Restores a backup into a data folder. Everything is built beside the place where it goes, and
/// verified, before anything that is there is touched. Blocks.
///
/// # Errors
/// A backup that is not as it was written, a data folder that is in use or not empty.
pub fn restore(
    path: &Path,
    data: &Path,
    now: Timestamp,
    options: RestoreOptions,
) -> Result<RestoredData, BackupError> {
    let (head, records) = verify(path)?;
    std::fs::create_dir_all(data).map_err(at(data))?;
    let in_the_way = occupied(data, options)?;
    let built = data.join(BUILT);
    if built.exists() {
        std::fs::remove_dir_all(&built).map_err(at(&built))?;
    }
    let restored = Restored { backup_at: head.at, at: now.max(head.at) };
    let ledger_rows = match build(path, &built, restored) {
        Ok((_, Err(broken))) if !options.broken_ledger => {
            std::fs::remove_dir_all(&built).map_err(at(&built))?;
            return Err(broken.into());
        }
        Ok((rows, _)) => rows,
        Err(error) => {
            // The first error says more.
            drop(std::fs::remove_dir_all(&built));
            return Err(error);
        }
    };
    let ending = format!(".before-{}", now.micros());
    let mut set_aside = Vec::new();
    for folder in in_the_way {
        set_aside.push(super::durable::set_aside(&folder, &ending).map_err(at(&folder))?);
    }
    // The gateway's store last: without it there is nothing to start from.
    for name in ["rules", "desk", "gateway"] {
        let (from, to) = (built.join(name), data.join(name));
        // A history of rules that is there already goes on.
        if from.exists() && !to.exists() {
            std::fs::rename(&from, &to).map_err(at(&to))?;
        }
    }
    super::durable::sync_folder(&built).map_err(at(data))?;
    std::fs::remove_dir_all(&built).map_err(at(&built))?;
    Ok(RestoredData { head, records, ledger_rows, set_aside })
}

/// What a restore would write over: nobody may be using it.
fn occupied(data: &Path, options: RestoreOptions) -> Result<Vec<PathBuf>, BackupError> {
    let names = ["gateway", "desk"];
    let there: Vec<PathBuf> =
        names.iter().map(|name| data.join(name)).filter(|path| path.exists()).collect();
    for folder in &there {
        let small = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
        // A damaged one is why one restores.
        if let Err(error @ StoreError::InUse { .. }) = Store::open(folder, small) {
            return Err(error.into());
        }
        if !options.replace {
            return Err(BackupError::Occupied(folder.clone()));
        }
    }
    Ok(there)
}

/// Builds the data folder of a backup; how many rows the ledger has, and whether they are a chain.
fn build(
    path: &Path,
    built: &Path,
    restored: Restored,
) -> Result<(u64, Result<(), Break>), BackupError> {
    std::fs::create_dir_all(built).map_err(at(built))?;
    let small = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let open = |name: &str| Store::open(&built.join(name), small).map(|(store, _)| store);
    let gateway = open("gateway")?;
    let mut desk = None;
    let (_, mut reading) = Reading::open(path)?;
    let (mut batch, mut batch_kind, mut bytes) = (Batch::new(), Kind::Gateway, 0);
    while let Some((kind, key, value)) = reading.next()? {
        if kind == Kind::File {
            put_file(built, &key, value.as_deref().unwrap_or_default())?;
            continue;
        }
        if kind == Kind::Desk && desk.is_none() {
            desk = Some(open("desk")?);
        }
        if kind != batch_kind || bytes > BATCH_BYTES {
            let store = if batch_kind == Kind::Desk { desk.as_ref() } else { Some(&gateway) };
            store.map_or(Ok(()), |store| store.commit(std::mem::take(&mut batch)))?;
            (batch_kind, bytes) = (kind, 0);
        }
        bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        batch.push((key, value));
    }
    let store = if batch_kind == Kind::Desk { desk.as_ref() } else { Some(&gateway) };
    store.map_or(Ok(()), |store| store.commit(batch))?;
    let journal = Journal::over(gateway, &built.join("gateway"))?;
    journal.put_restored(restored)?;
    let mut chain = Chain::default();
    for row in journal.ledger_bytes(1) {
        if let Err(broken) = chain.take(&row?.1) {
            return Ok((chain.end().0, Err(broken)));
        }
    }
    let rows = chain.end().0;
    Ok((rows, chain.finish().map(|_| ())))
}

/// Puts a file of the rule history where it was.
fn put_file(built: &Path, key: &[u8], content: &[u8]) -> Result<(), BackupError> {
    let name = std::str::from_utf8(key).ok().filter(|name| rule_history::is_file_name(name));
    let Some(name) = name else {
        let cause = "it names a file that no data folder has".to_owned();
        return Err(BackupError::Unusable { path: built.to_owned(), cause });
    };
    let path = built.join("rules").join(name);
    std::fs::create_dir_all(built.join("rules")).map_err(at(&path))?;
    super::durable::write(&path, content).map_err(at(&path))
}
