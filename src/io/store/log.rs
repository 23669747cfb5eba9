//! A commit goes into the log in front of sled. When an epoch of the log is full, all of it goes
//! into sled in one batch while the next epoch is written.

use std::io;
use std::sync::{Arc, RwLockWriteGuard};

use super::StoreError;
use super::fold::{Epoch, Pending};
use super::wal::{Entries, Frame, LogFile, Wal};

/// Puts epochs of the log into their place, one at a time, while commits go on.
pub trait Fold {
    /// What is durable in the log and not in its place yet.
    fn pending(&self) -> RwLockWriteGuard<'_, Pending>;

    /// Takes the next epoch; nothing may be under way.
    fn begin(&mut self, epoch: Epoch);

    /// Begins again what has failed; does not wait.
    fn look(&mut self);

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// Why the epoch is not in its place; it is begun again.
    fn wait(&mut self) -> Result<(), StoreError>;

    /// What an error of the log's file means.
    fn failed(&self, error: &io::Error) -> StoreError;
}

/// The log, and what puts it into its place.
#[derive(Debug)]
pub struct Log<F, P> {
    wal: Wal<F>,
    folder: P,
}

impl<F: LogFile, P: Fold> Log<F, P> {
    /// A log that holds nothing which is not in its place.
    pub fn new(wal: Wal<F>, folder: P) -> Log<F, P> {
        Log { wal, folder }
    }

    /// What puts it into its place.
    pub fn folder(&self) -> &P {
        &self.folder
    }

    /// Stores all of `merged` or nothing; returns when it would survive a power cut.
    ///
    /// # Errors
    /// What the disk says; the same entries may be committed again.
    pub fn commit(&mut self, merged: Entries) -> Result<(), StoreError> {
        if merged.is_empty() {
            return Ok(());
        }
        self.folder.look();
        let frame = Frame::new(&merged);
        if !self.wal.has_room(&frame) {
            self.begin_epoch()?;
        }
        if !self.wal.has_room(&frame) {
            // Larger than the log: straight into sled.
            self.folder.pending().newest.extend(merged);
            self.begin_epoch()?;
            return self.folder.wait();
        }
        self.wal.append(frame).map_err(|error| self.folder.failed(&error))?;
        self.folder.pending().newest.extend(merged);
        Ok(())
    }

    /// Leaves nothing in the log.
    ///
    /// # Errors
    /// What the disk says; the next start reads the log.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.begin_epoch()?;
        self.folder.wait()
    }

    /// Has what is pending put into its place, and begins the next epoch of the log.
    fn begin_epoch(&mut self) -> Result<(), StoreError> {
        self.folder.wait()?;
        let mut pending = self.folder.pending();
        if pending.newest.is_empty() {
            return Ok(());
        }
        let entries = Arc::new(std::mem::take(&mut pending.newest));
        pending.folding = Arc::clone(&entries);
        drop(pending);
        self.folder.begin((self.wal.epoch(), entries));
        self.wal.begin_epoch();
        Ok(())
    }
}
