//! The one module that knows sled: bytes in, bytes out, durable when it says so.
//!
//! sled 0.34.7 is pinned and worked around: its flush does not survive a power cut (we sync the
//! log through our own handle), a torn snapshot stops it from opening (moved aside, the log has
//! everything), an error of the disk makes it refuse all that follows (opened anew), and long
//! values go to files that are never synced (cut into chunks). Its flush goes through its own
//! threads and makes the file longer, which costs three times what the disk needs: commits go into
//! a log in front of it, and from there into sled a thousand at a time.

mod copy;
mod error;
mod fold;
mod log;
mod open;
mod value;
mod wal;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use error::StoreError;
pub use fold::{Epoch, Pending};
pub use log::{Fold, Log};
pub use open::{OpenNotes, files_bytes, free_bytes};
pub use value::{CHUNK_BYTES, KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use wal::{Entries, LogFile, Wal};

use fold::Shared;
use value::Head;
use writer::{Commit, Writer};

/// Batches that wait for the writer at most; who comes later waits at the door.
const QUEUE_MAX: usize = 1024;
/// Records that a scan holds in memory at a time.
const SCAN_PAGE: usize = 256;

/// Puts (`Some`) and deletions (`None`) that are done together or not at all. The last one of a
/// key counts.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;
/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Records under their keys, durable when a commit returns.
pub trait Records {
    /// The value under `key`.
    ///
    /// # Errors
    /// What the disk says.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The records whose keys begin with `prefix`, in the order of their keys, from `from` on.
    fn scan(&self, prefix: &[u8], from: &[u8]) -> impl Iterator<Item = Result<Record, StoreError>>;

    /// The last record whose key begins with `prefix`, which must not be empty.
    ///
    /// # Errors
    /// What the disk says.
    fn last(&self, prefix: &[u8]) -> Result<Option<Record>, StoreError>;

    /// Stores `batch`, and returns when it would survive a power cut.
    ///
    /// # Errors
    /// What the disk says; the same batch may be committed again.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

impl Records for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Store::get(self, key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8]) -> impl Iterator<Item = Result<Record, StoreError>> {
        Store::scan(self, prefix, from)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Record>, StoreError> {
        Store::last(self, prefix)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        Store::commit(self, batch)
    }
}

/// Sizes of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// What sled aims at for its cache, in bytes; it takes more.
    pub cache_bytes: u64,
    /// Commits are refused when less than this is free: sled cannot open on a full disk.
    pub min_free_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { cache_bytes: 4 << 20, min_free_bytes: 64 << 20 }
    }
}

/// An open store. Readers see a batch as soon as it is applied, which may be before its commit
/// has returned.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Writer>>,
    queue: Option<mpsc::Sender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store in `dir`, made if absent, and tells what had to be repaired.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Damaged`] when the repair
    /// did not help, [`StoreError::StorageFull`] and [`StoreError::Io`] from the system.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Store, OpenNotes), StoreError> {
        let (writer, notes) = Writer::open(dir, options)?;
        let shared = writer.shared();
        let (queue, commits) = mpsc::channel(QUEUE_MAX);
        let writer = Arc::new(Mutex::new(writer));
        let serving = Arc::clone(&writer);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::serve(&serving, commits))
            .map_err(|error| StoreError::io(dir, &error, 0))?;
        let store = Store { shared, writer, queue: Some(queue), thread: Some(thread) };
        Ok((store, notes))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Bytes that are free on the disk of the store.
    pub fn free_bytes(&self) -> u64 {
        open::free_bytes(&self.shared.dir)
    }

    /// Stores `batch` on this thread, and returns when it would survive a power cut. Blocks: not
    /// for async tasks that share their thread with others.
    ///
    /// # Errors
    /// The batch may be stored in part or not at all; the same batch may be committed again.
    /// [`StoreError::StorageFull`] ends by itself when there is space again.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        writer::lock(&self.writer).commit(checked(batch)?.into_iter().collect())
    }

    /// As [`Store::commit`], for async tasks: batches that wait share a commit.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub async fn commit_async(&self, batch: Batch) -> Result<(), StoreError> {
        let answer = self.submit(batch).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Hands `batch` to the writer; the receiver hears when it is durable. Batches are written in
    /// the order of their submission.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] and [`StoreError::Closed`]; the others come through the receiver.
    pub async fn submit(
        &self,
        batch: Batch,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (told, tell) = oneshot::channel();
        let commit = Commit {
            batch: checked(batch)?,
            answer: Box::new(move |result| drop(told.send(result))),
        };
        let sent = self.queue()?.send(commit).await;
        sent.map_err(|_| StoreError::Closed)?;
        Ok(tell)
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.shared.pending().get(key) {
            return Ok(value.clone());
        }
        self.read(|db| match db.get(key)? {
            Some(record) => Ok(assemble(db, key, &record)?),
            None => Ok(None),
        })
    }

    /// The records whose keys begin with `prefix`, in the order of their keys, from `from` on.
    /// Holds a page of them at a time; later writes show.
    pub fn scan(&self, prefix: &[u8], from: &[u8]) -> Scan<'_> {
        Scan {
            store: self,
            prefix: prefix.to_vec(),
            next: Some(from.max(prefix).to_vec()),
            page: Vec::new().into_iter(),
        }
    }

    /// The last record whose key begins with `prefix`, which must not be empty.
    ///
    /// # Errors
    /// What the disk says.
    pub fn last(&self, prefix: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut end = prefix.to_vec();
        if let Some(byte) = end.last_mut() {
            *byte = byte.saturating_add(1);
        }
        let pending = self.shared.pending();
        let newer = pending.range(prefix, Some(&end));
        let put =
            newer.iter().rev().find_map(|(key, value)| Some((key.to_vec(), (*value)?.to_vec())));
        let older = self.read(|db| {
            for found in db.range(prefix.to_vec()..end).rev() {
                let (key, record) = found?;
                if !newer.contains_key(key.as_ref()) {
                    return Ok(assemble(db, &key, &record)?.map(|value| (key.to_vec(), value)));
                }
            }
            Ok(None)
        })?;
        Ok(put.max(older))
    }

    fn queue(&self) -> Result<&mpsc::Sender<Commit>, StoreError> {
        self.queue.as_ref().ok_or(StoreError::Closed)
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&sled::Db) -> Result<T, sled::Error>,
    ) -> Result<T, StoreError> {
        let dir = &self.shared.dir;
        let files = self.shared.files.read();
        let files = files.unwrap_or_else(PoisonError::into_inner);
        let Some(files) = files.as_ref() else {
            let cause = "it is being opened again after an error".to_owned();
            return Err(StoreError::Io { dir: dir.clone(), cause });
        };
        read(&files.db).map_err(|error| StoreError::sled(dir, error, open::free_bytes(dir)))
    }

    /// The records from `from` on, and where to go on; `None` after the last.
    fn page(
        &self,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<(Vec<Record>, Option<Vec<u8>>), StoreError> {
        let pending = self.shared.pending();
        let mut page: Vec<Record> = Vec::with_capacity(SCAN_PAGE);
        let mut last = None;
        self.read(|db| {
            for found in db.range(from.to_vec()..) {
                let (key, record) = found?;
                if !key.starts_with(prefix) || key.first() == Some(&value::CHUNK_SPACE) {
                    break;
                }
                if let Some(value) = assemble(db, &key, &record)? {
                    page.push((key.to_vec(), value));
                }
                if page.len() == SCAN_PAGE {
                    last = Some(key.to_vec());
                    break;
                }
            }
            Ok(())
        })?;
        let next = last.map(|last| [last.as_slice(), &[0]].concat());
        let newer = pending.range(from, next.as_deref());
        if newer.is_empty() {
            return Ok((page, next));
        }
        let mut page: BTreeMap<_, _> = page.into_iter().collect();
        for (key, value) in newer.into_iter().take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => page.insert(key.to_vec(), value.to_vec()),
                None => page.remove(key),
            };
        }
        Ok((page.into_iter().collect(), next))
    }
}

/// Ends the writer after what it has taken on.
impl Drop for Store {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The store's writer ended with a panic.");
        }
        writer::lock(&self.writer).end();
    }
}

/// See [`Store::scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    store: &'a Store,
    prefix: Vec<u8>,
    next: Option<Vec<u8>>,
    page: std::vec::IntoIter<Record>,
}

impl Iterator for Scan<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.page.next() {
                return Some(Ok(record));
            }
            let from = self.next.take()?;
            match self.store.page(&self.prefix, &from) {
                Ok((page, next)) => {
                    self.next = next;
                    self.page = page.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn checked(batch: Batch) -> Result<Batch, StoreError> {
    for (key, value) in &batch {
        let too_large = |bytes, max| Err(StoreError::TooLarge { bytes, max });
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes > VALUE_BYTES_MAX {
            return too_large(bytes, VALUE_BYTES_MAX);
        }
        if key.len() > KEY_BYTES_MAX || key.first() == Some(&value::CHUNK_SPACE) {
            return too_large(key.len(), KEY_BYTES_MAX);
        }
    }
    Ok(batch)
}

fn assemble(db: &sled::Db, key: &[u8], record: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
    let unreadable = || {
        let key = String::from_utf8_lossy(key).into_owned();
        sled::Error::ReportableBug(format!("the record `{key}` is incomplete"))
    };
    match value::head(record) {
        Some(Head::Whole(value)) => Ok(Some(value.to_vec())),
        Some(Head::Chunked(count)) => {
            let mut whole = Vec::new();
            for index in 0..count {
                let chunk = db.get(value::chunk_key(key, index))?;
                whole.extend_from_slice(&chunk.ok_or_else(unreadable)?);
            }
            Ok(Some(whole))
        }
        None => Err(unreadable()),
    }
}
