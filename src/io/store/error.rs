//! What can go wrong with the disk: object, cause, remedy.

use std::path::{Path, PathBuf};

/// Why the store cannot do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory.
    #[error("the state directory {} is in use by {owner}; stop that one, or give this one another `data_dir`", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it, as far as is known.
        owner: String,
    },
    /// The disk is full, or would be so full that the store could not be opened again.
    #[error("too little space for the state directory {}: {free_bytes} bytes free, {needed_bytes} needed; nothing is acknowledged until there is space again", dir.display())]
    StorageFull {
        /// The directory.
        dir: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What must stay free.
        needed_bytes: u64,
    },
    /// The files are not what was written, and the repair did not help.
    #[error("the state directory {} is damaged: {cause}; restore a backup, or move the directory away to begin anew", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What sled says.
        cause: String,
    },
    /// The operating system refused.
    #[error("the state directory {} cannot be used: {cause}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// A key or value that would not be stored durably.
    #[error("a record of {bytes} bytes is larger than the {max} bytes that the store takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit that it breaks.
        max: usize,
    },
    /// Written by a newer version.
    #[error("the state directory {} has schema {found}, and this version knows up to {known}; install the newer version again", dir.display())]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// The schema on disk.
        found: u32,
        /// The newest schema that is known here.
        known: u32,
    },
    /// A record that is not what this version writes.
    #[error("the record `{key}` cannot be read: {cause}")]
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        cause: String,
    },
    /// No copy can be made now.
    #[error("no copy of the store can be made now: {cause}; try again later")]
    CopyRefused {
        /// Why.
        cause: String,
    },
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn io(dir: &Path, error: &std::io::Error, free_bytes: u64) -> StoreError {
        let dir = dir.to_path_buf();
        if error.kind() == std::io::ErrorKind::StorageFull {
            return StoreError::StorageFull {
                dir,
                free_bytes,
                needed_bytes: free_bytes.saturating_add(1),
            };
        }
        let cause = error.to_string();
        StoreError::Io { dir, cause }
    }

    pub(super) fn sled(dir: &Path, error: sled::Error, free_bytes: u64) -> StoreError {
        match error {
            sled::Error::Io(error) => StoreError::io(dir, &error, free_bytes),
            error @ (sled::Error::Corruption { .. }
            | sled::Error::ReportableBug(_)
            | sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)) => {
                StoreError::Damaged { dir: dir.to_path_buf(), cause: error.to_string() }
            }
        }
    }
}
