//! The one thread that writes: what waits while a commit runs is the next commit.
//!
//! A commit goes into the log in front of sled; when that is full, everything in it goes into sled
//! in one batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::mpsc;

use super::open::{self, Files, free_bytes, panic_text};
use super::value::{self, FOLDED_KEY, Head};
use super::wal::{Entries, Frame, Wal};
use super::{Batch, OpenNotes, StoreError, StoreOptions};

/// Batches that share a commit at most.
const GROUP_MAX: usize = 512;

/// A batch and whom to tell.
pub(super) struct Commit {
    pub batch: Batch,
    pub answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    pub options: StoreOptions,
    /// `None` while sled could not be opened again after an error; the next commit tries.
    pub files: RwLock<Option<Files>>,
    /// What is durable in the log and not in sled yet. Locked before `files`.
    pub pending: RwLock<Entries>,
    pub has_chunks: AtomicBool,
}

/// Commits, one after another.
pub(super) struct Writer {
    shared: Arc<Shared>,
    wal: Wal,
    /// Whether sled has this epoch is not known: nothing may be added to it.
    must_fold: bool,
}

impl Writer {
    /// Opens what is in `dir`: sled, and what the log holds that sled does not.
    pub fn open(
        shared_dir: PathBuf,
        options: StoreOptions,
    ) -> Result<(Writer, OpenNotes), StoreError> {
        let (files, notes) = open::open(&shared_dir, options)?;
        let failed = |error| StoreError::io(&shared_dir, &error, free_bytes(&shared_dir));
        let sled = |error| StoreError::sled(&shared_dir, error, free_bytes(&shared_dir));
        let folded = files.folded().map_err(sled)?;
        let (wal, pending) = Wal::open(&shared_dir, folded).map_err(failed)?;
        let must_fold = !pending.is_empty();
        let shared = Shared {
            options,
            has_chunks: AtomicBool::new(files.has_chunks().map_err(sled)?),
            files: RwLock::new(Some(files)),
            pending: RwLock::new(pending),
            dir: shared_dir,
        };
        let mut writer = Writer { shared: Arc::new(shared), wal, must_fold };
        if must_fold {
            writer.fold()?;
        }
        open::sync_dir(&writer.shared.dir)
            .map_err(|error| StoreError::io(&writer.shared.dir, &error, 0))?;
        Ok((writer, notes))
    }

    /// What readers need.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Serves `queue` until every sender is gone, and leaves nothing in the log.
    pub fn run(mut self, mut queue: mpsc::Receiver<Commit>) {
        while let Some(first) = queue.blocking_recv() {
            let mut waiting = Vec::new();
            let mut merged = Entries::new();
            let mut next = Some(first);
            while let Some(commit) = next {
                merged.extend(commit.batch);
                waiting.push(commit.answer);
                next = if waiting.len() < GROUP_MAX { queue.try_recv().ok() } else { None };
            }
            let result = self.commit(merged);
            for answer in waiting {
                answer(result.clone());
            }
        }
        if !self.shared.pending().is_empty()
            && let Err(error) = self.fold()
        {
            tracing::warn!(%error, "The log of the store stays as it is; the next start reads it.");
        }
    }

    fn commit(&mut self, merged: Entries) -> Result<(), StoreError> {
        if merged.is_empty() {
            return Ok(());
        }
        let free = free_bytes(&self.shared.dir);
        if free < self.shared.options.min_free_bytes {
            return Err(StoreError::StorageFull {
                dir: self.shared.dir.clone(),
                free_bytes: free,
                needed_bytes: self.shared.options.min_free_bytes,
            });
        }
        self.shared.open_again()?;
        let frame = Frame::new(&merged);
        if self.must_fold || !self.wal.has_room(&frame) {
            self.fold()?;
        }
        if !self.wal.has_room(&frame) {
            self.shared.add_pending(merged);
            return self.fold();
        }
        let written = self.wal.append(frame);
        written.map_err(|error| self.shared.io(&error))?;
        self.shared.add_pending(merged);
        Ok(())
    }

    /// Puts what is in the log into sled, durable, and begins the log anew.
    fn fold(&mut self) -> Result<(), StoreError> {
        self.must_fold = true;
        // sled panics in places where it should fail; the thread must outlive that.
        let epoch = self.wal.epoch();
        let written = catch_unwind(AssertUnwindSafe(|| self.shared.write(epoch)));
        let error = match written {
            Ok(Ok(())) => {
                self.shared.forget_pending();
                self.wal.begin_anew().map_err(|error| self.shared.io(&error))?;
                self.must_fold = false;
                return Ok(());
            }
            Ok(Err(error)) => {
                StoreError::sled(&self.shared.dir, error, free_bytes(&self.shared.dir))
            }
            Err(panic) => StoreError::Damaged {
                dir: self.shared.dir.clone(),
                cause: panic_text(panic.as_ref()),
            },
        };
        // sled refuses everything after an error of the disk, and holds a half-written batch in
        // memory: both end when it is opened anew.
        *self.shared.files.write().unwrap_or_else(PoisonError::into_inner) = None;
        Err(error)
    }
}

impl Shared {
    /// What is durable in the log and not in sled yet.
    pub fn pending(&self) -> RwLockReadGuard<'_, Entries> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_pending(&self, entries: Entries) {
        self.pending.write().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn forget_pending(&self) {
        self.pending.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn io(&self, error: &std::io::Error) -> StoreError {
        StoreError::io(&self.dir, error, free_bytes(&self.dir))
    }

    fn write(&self, epoch: u64) -> Result<(), sled::Error> {
        {
            let pending = self.pending();
            // Held while the batch goes in, so that no reader sees half of a chunked value.
            let files = self.files.write().unwrap_or_else(PoisonError::into_inner);
            let Some(files) = files.as_ref() else {
                return Err(closed());
            };
            let mut batch = sled::Batch::default();
            for (key, value) in pending.iter() {
                self.put(&files.db, &mut batch, key, value.as_deref())?;
            }
            batch.insert(FOLDED_KEY, &epoch.to_be_bytes());
            files.db.apply_batch(batch)?;
        }
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.as_ref().map_or_else(|| Err(closed()), Files::flush)
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
