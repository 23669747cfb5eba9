//! One commit after another, on the thread that asks for it. Commits of async tasks go through one
//! thread: what waits there while a commit runs is the next commit.
//!
//! A commit goes into the log in front of sled. When an epoch of the log is full, all of it goes
//! into sled in one batch while the next epoch is written.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::fold::{Folder, Pending, Shared};
use super::log::Log;
use super::open::{self, free_bytes};
use super::wal::{self, Entries, Wal};
use super::{Batch, OpenNotes, StoreError, StoreOptions};

/// Bytes that may be written while a copy is made.
const COPY_BYTES_MAX: usize = 256 << 20;

/// Batches that share a commit at most.
const GROUP_MAX: usize = 512;

/// A batch and whom to tell.
pub(super) struct Commit {
    pub batch: Batch,
    pub answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// The writer, also after a panic of another thread: what it was about to write is not durable,
/// and nobody was told that it is.
pub(super) fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves `queue` until every sender is gone.
pub(super) fn serve(writer: &Mutex<Writer>, mut queue: mpsc::Receiver<Commit>) {
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = Vec::new();
        let mut merged = Entries::new();
        let mut next = Some(first);
        while let Some(commit) = next {
            merged.extend(commit.batch);
            waiting.push(commit.answer);
            next = if waiting.len() < GROUP_MAX { queue.try_recv().ok() } else { None };
        }
        let result = lock(writer).commit(merged);
        for answer in waiting {
            answer(result.clone());
        }
    }
}

/// Commits, one after another.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    log: Log<File, Folder>,
    /// What was committed since the copy began that is being made.
    since_copy: Option<Written>,
}

/// What was committed while a copy was made, the last of each key.
#[derive(Debug, Default)]
struct Written {
    entries: Entries,
    bytes: usize,
}

impl Written {
    fn add(&mut self, entries: Entries) {
        let bytes =
            entries.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        self.bytes = self.bytes.saturating_add(bytes.sum());
        if self.is_too_much() {
            self.entries = Entries::new();
        } else {
            self.entries.extend(entries);
        }
    }

    fn is_too_much(&self) -> bool {
        self.bytes > COPY_BYTES_MAX
    }
}

impl Writer {
    /// Opens sled in `dir`, and puts into it what the log holds.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Writer, OpenNotes), StoreError> {
        let (files, notes) = open::open(dir, options)?;
        let failed = |error| StoreError::io(dir, &error, free_bytes(dir));
        let sled = |error| StoreError::sled(dir, error, free_bytes(dir));
        let folded = files.folded().map_err(sled)?;
        let file = wal::open_file(dir).map_err(failed)?;
        let (wal, found) = Wal::open(file, wal::EPOCH_BYTES, folded).map_err(failed)?;
        let shared = Shared {
            dir: dir.to_path_buf(),
            options,
            has_chunks: AtomicBool::new(files.has_chunks().map_err(sled)?),
            files: RwLock::new(Some(files)),
            pending: RwLock::new(Pending::default()),
        };
        if !found.is_empty() {
            shared.fold(wal.epoch().saturating_sub(1), &found)?;
        }
        wal.fill().map_err(failed)?;
        open::sync_dir(dir).map_err(failed)?;
        let shared = Arc::new(shared);
        let folder = Folder::start(Arc::clone(&shared)).map_err(failed)?;
        Ok((Writer { shared, log: Log::new(wal, folder), since_copy: None }, notes))
    }

    /// What readers need.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Leaves nothing in the log.
    pub fn end(&mut self) {
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "The log of the store stays as it is; the next start reads it.");
        }
    }

    /// Returns when the entries would survive a power cut.
    pub fn commit(&mut self, merged: Entries) -> Result<(), StoreError> {
        let free = free_bytes(&self.shared.dir);
        if !merged.is_empty() && free < self.shared.options.min_free_bytes {
            return Err(StoreError::StorageFull {
                dir: self.shared.dir.clone(),
                free_bytes: free,
                needed_bytes: self.shared.options.min_free_bytes,
            });
        }
        let copied = self.since_copy.is_some().then(|| merged.clone());
        self.log.commit(merged)?;
        if let (Some(written), Some(copied)) = (&mut self.since_copy, copied) {
            written.add(copied);
        }
        Ok(())
    }

    /// From now on what is committed is kept for a copy as well.
    pub fn begin_copy(&mut self) -> Result<(), StoreError> {
        if self.since_copy.is_some() {
            return Err(StoreError::CopyRefused { cause: "another copy is being made".to_owned() });
        }
        self.since_copy = Some(Written::default());
        Ok(())
    }

    /// What was committed since the copy began.
    pub fn end_copy(&mut self) -> Result<Entries, StoreError> {
        let written = self.since_copy.take().unwrap_or_default();
        if written.is_too_much() {
            let cause = format!("more than {COPY_BYTES_MAX} bytes were written meanwhile");
            return Err(StoreError::CopyRefused { cause });
        }
        Ok(written.entries)
    }
}
