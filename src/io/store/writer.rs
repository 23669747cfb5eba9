//! The one thread that writes: what waits while a flush runs is the next flush.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::open::{self, Files, free_bytes, panic_text};
use super::value::{self, Head};
use super::{Batch, StoreError, StoreOptions};

/// Batches that share a flush at most.
const GROUP_MAX: usize = 512;

/// A batch and whom to tell.
pub(super) struct Commit {
    pub batch: Batch,
    pub answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// What the writer and the readers share. `None` while sled could not be opened again after an
/// error; the next commit tries.
#[derive(Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    pub options: StoreOptions,
    pub files: RwLock<Option<Files>>,
    pub has_chunks: AtomicBool,
}

/// Serves `queue` until every sender is gone.
pub(super) fn run(shared: &Arc<Shared>, mut queue: mpsc::Receiver<Commit>) {
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = Vec::new();
        let mut merged = BTreeMap::new();
        let mut next = Some(first);
        while let Some(commit) = next {
            merged.extend(commit.batch);
            waiting.push(commit.answer);
            next = if waiting.len() < GROUP_MAX { queue.try_recv().ok() } else { None };
        }
        let result = shared.commit(merged);
        for answer in waiting {
            answer(result.clone());
        }
    }
}

impl Shared {
    fn commit(&self, merged: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), StoreError> {
        let free = free_bytes(&self.dir);
        if free < self.options.min_free_bytes {
            return Err(StoreError::StorageFull {
                dir: self.dir.clone(),
                free_bytes: free,
                needed_bytes: self.options.min_free_bytes,
            });
        }
        self.open_again()?;
        // sled panics in places where it should fail; the thread must outlive that.
        let written = catch_unwind(AssertUnwindSafe(|| self.write(merged)));
        let error = match written {
            Ok(Ok(())) => return Ok(()),
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

    fn write(&self, merged: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), sled::Error> {
        {
            // Held while the batch goes in, so that no reader sees half of a chunked value.
            let files = self.files.write().unwrap_or_else(PoisonError::into_inner);
            let Some(files) = files.as_ref() else {
                return Err(closed());
            };
            let mut batch = sled::Batch::default();
            for (key, value) in merged {
                self.put(&files.db, &mut batch, key, value.as_deref())?;
            }
            files.db.apply_batch(batch)?;
        }
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.as_ref().map_or_else(|| Err(closed()), Files::flush)
    }

    fn put(
        &self,
        db: &sled::Db,
        batch: &mut sled::Batch,
        key: Vec<u8>,
        value: Option<&[u8]>,
    ) -> Result<(), sled::Error> {
        let mut old = 0;
        if self.has_chunks.load(Ordering::Relaxed)
            && let Some(record) = db.get(&key)?
            && let Some(Head::Chunked(count)) = value::head(&record)
        {
            old = count;
        }
        let kept = match value {
            Some(value) => value::records(key.clone(), value, |key, record| {
                batch.insert(key, record);
            }),
            None => {
                batch.remove(key.as_slice());
                0
            }
        };
        if kept > 0 {
            self.has_chunks.store(true, Ordering::Relaxed);
        }
        for index in kept..old {
            batch.remove(value::chunk_key(&key, index));
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
