//! What was in the log goes into sled, on a thread of its own: commits go on meanwhile.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::log::Fold;
use super::open::{self, Files, free_bytes, panic_text};
use super::value::{self, FOLDED_KEY, Head};
use super::wal::Entries;
use super::{StoreError, StoreOptions};
use crate::fail;

/// Records that go into sled at a time: what a batch of it replaces is given back only after it.
const PIECE_RECORDS: usize = 32;

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    pub options: StoreOptions,
    /// `None` while sled could not be opened again after an error; the next fold tries.
    pub files: RwLock<Option<Files>>,
    /// Locked before `files`.
    pub pending: RwLock<Pending>,
    pub has_chunks: AtomicBool,
}

/// What is durable in the log and not in sled yet.
#[derive(Debug, Default)]
pub struct Pending {
    /// Of the epoch that is written now.
    pub newest: Entries,
    /// Of the epoch before it, which is on its way.
    pub folding: Arc<Entries>,
}

impl Pending {
    /// The value of a key, or that it is deleted; `None` when sled is to be asked.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.newest.get(key).or_else(|| self.folding.get(key))
    }

    /// Everything from `from` to `to`, that one not included; without it, to the end.
    pub fn range(&self, from: &[u8], to: Option<&[u8]>) -> BTreeMap<&[u8], Option<&[u8]>> {
        let mut found = BTreeMap::new();
        for entries in [&*self.folding, &self.newest] {
            let later = entries.range(from.to_vec()..);
            let inside = later.take_while(|(key, _)| to.is_none_or(|to| key.as_slice() < to));
            found.extend(inside.map(|(key, value)| (key.as_slice(), value.as_deref())));
        }
        found
    }
}

impl Shared {
    pub fn pending(&self) -> RwLockReadGuard<'_, Pending> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pending_mut(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn io(&self, error: &std::io::Error) -> StoreError {
        StoreError::io(&self.dir, error, free_bytes(&self.dir))
    }

    /// Puts the entries into sled, durable, with the epoch up to which it has everything then.
    pub fn fold(&self, epoch: u64, entries: &Entries) -> Result<(), StoreError> {
        self.open_again()?;
        // sled panics in places where it should fail; the thread must outlive that.
        let written = catch_unwind(AssertUnwindSafe(|| self.write(epoch, entries)));
        let error = match written {
            Ok(Ok(())) => {
                fail::point("fold-done");
                return Ok(());
            }
            Ok(Err(error)) => StoreError::sled(&self.dir, error, free_bytes(&self.dir)),
            Err(panic) => {
                StoreError::Damaged { dir: self.dir.clone(), cause: panic_text(panic.as_ref()) }
            }
        };
        // sled refuses everything after an error of the disk, and holds a half-written batch in
        // memory: both end when it is opened anew.
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = None;
        Err(error)
    }

    /// Piece by piece, the epoch last: until that is there, the next start puts all of it in again.
    fn write(&self, epoch: u64, entries: &Entries) -> Result<(), sled::Error> {
        let mut entries = entries.iter().peekable();
        while entries.peek().is_some() {
            fail::point("fold-apply");
            self.change(|db, batch| {
                for (key, value) in entries.by_ref().take(PIECE_RECORDS) {
                    self.put(db, batch, key, value.as_deref())?;
                }
                Ok(())
            })?;
        }
        self.change(|_, batch| {
            batch.insert(FOLDED_KEY, &epoch.to_be_bytes());
            Ok(())
        })?;
        fail::point("fold-flush");
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.as_ref().map_or_else(|| Err(closed()), Files::flush)
    }

    /// Applies one batch. No reader sees half of it: a chunked value is whole.
    fn change(
        &self,
        fill: impl FnOnce(&sled::Db, &mut sled::Batch) -> Result<(), sled::Error>,
    ) -> Result<(), sled::Error> {
        let files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = files.as_ref() else {
            return Err(closed());
        };
        let mut batch = sled::Batch::default();
        fill(&files.db, &mut batch)?;
        files.db.apply_batch(batch)
    }

    fn put(
        &self,
        db: &sled::Db,
        batch: &mut sled::Batch,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), sled::Error> {
        let mut old = 0;
        if self.has_chunks.load(Ordering::Relaxed)
            && let Some(record) = db.get(key)?
            && let Some(Head::Chunked(count)) = value::head(&record)
        {
            old = count;
        }
        let kept = match value {
            Some(value) => value::records(key.to_vec(), value, |key, record| {
                batch.insert(key, record);
            }),
            None => {
                batch.remove(key);
                0
            }
        };
        if kept > 0 {
            self.has_chunks.store(true, Ordering::Relaxed);
        }
        for index in kept..old {
            batch.remove(value::chunk_key(key, index));
        }
        Ok(())
    }

    fn open_again(&self) -> Result<(), StoreError> {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.is_none() {
            let (opened, notes) = open::open(&self.dir, self.options)?;
            tracing::warn!(?notes, "The store was opened again after an error.");
            *files = Some(opened);
        }
        Ok(())
    }
}

fn closed() -> sled::Error {
    sled::Error::Io(std::io::Error::other("the store is being opened again"))
}

/// An epoch and what it wrote.
pub type Epoch = (u64, Arc<Entries>);

/// The thread that folds, one epoch at a time.
#[derive(Debug)]
pub(super) struct Folder {
    epochs: Option<Sender<Epoch>>,
    results: Receiver<Result<(), StoreError>>,
    stage: Stage,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    UnderWay(Epoch),
    /// To be begun again.
    Failed(Epoch),
}

impl Folder {
    /// Starts the thread; it takes what is folded out of what is pending.
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Folder> {
        let (epochs, queue) = channel::<Epoch>();
        let (told, results) = channel();
        let worker = Arc::clone(&shared);
        let run = move || {
            for (epoch, entries) in queue {
                let result = worker.fold(epoch, &entries);
                if result.is_ok() {
                    worker.pending_mut().folding = Arc::default();
                }
                if told.send(result).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-folder".to_owned()).spawn(run)?;
        let (epochs, thread) = (Some(epochs), Some(thread));
        Ok(Folder { epochs, results, stage: Stage::Idle, shared, thread })
    }

    fn begin_again(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Failed(epoch) => self.begin(epoch),
            other @ (Stage::Idle | Stage::UnderWay(_)) => self.stage = other,
        }
    }

    fn take(&mut self, result: &Result<(), StoreError>) {
        self.stage = match (result, std::mem::replace(&mut self.stage, Stage::Idle)) {
            (Err(_), Stage::UnderWay(epoch) | Stage::Failed(epoch)) => Stage::Failed(epoch),
            (Ok(()), _) | (Err(_), Stage::Idle) => Stage::Idle,
        };
    }
}

impl Fold for Folder {
    fn pending(&self) -> RwLockWriteGuard<'_, Pending> {
        self.shared.pending_mut()
    }

    fn failed(&self, error: &std::io::Error) -> StoreError {
        self.shared.io(error)
    }

    fn begin(&mut self, epoch: Epoch) {
        self.stage = match self.epochs.as_ref().map(|epochs| epochs.send(epoch.clone())) {
            Some(Ok(())) => Stage::UnderWay(epoch),
            Some(Err(_)) | None => Stage::Failed(epoch),
        };
    }

    /// Tells when what was under way has failed, and begins it again.
    fn look(&mut self) {
        if let Ok(result) = self.results.try_recv() {
            self.take(&result);
            if let Err(error) = result {
                tracing::warn!(%error, "The log of the store cannot be put into its place yet.");
            }
        }
        self.begin_again();
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        self.begin_again();
        match self.stage {
            Stage::Idle => Ok(()),
            Stage::UnderWay(_) | Stage::Failed(_) => {
                let result = self.results.recv().unwrap_or(Err(StoreError::Closed));
                self.take(&result);
                result
            }
        }
    }
}

/// Ends the thread after what it has.
impl Drop for Folder {
    fn drop(&mut self) {
        self.epochs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The store's folder ended with a panic.");
        }
    }
}
