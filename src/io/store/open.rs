//! Opening sled 0.34.7 in spite of what an unlucky stop leaves behind.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{CHUNK_SPACE, FOLDED_KEY};
use super::{StoreError, StoreOptions};

const OWNER_FILE: &str = "owner";
const ASIDE_DIR: &str = "aside";
const LOCK_WITHIN: Duration = Duration::from_secs(1);
const LOCK_ATTEMPTS: u32 = 20;

/// What had to be done to open the store; empty after an orderly stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenNotes {
    /// Unfinished snapshots that were removed; they hold nothing that the log does not hold.
    pub removed: Vec<PathBuf>,
    /// Damaged snapshots that were moved away; everything was read from the log again.
    pub moved_aside: Vec<PathBuf>,
    /// What sled said before the snapshots were moved.
    pub damage: Option<String>,
}

/// An open database, and the handle through which it is made durable.
#[derive(Debug)]
pub(super) struct Files {
    pub db: sled::Db,
    log: File,
}

impl Files {
    /// The epoch of the log up to which everything is here.
    pub fn folded(&self) -> Result<u64, sled::Error> {
        let found = self.db.get(FOLDED_KEY)?;
        let bytes = found.and_then(|value| <[u8; 8]>::try_from(value.as_ref()).ok());
        Ok(bytes.map_or(0, u64::from_be_bytes))
    }

    /// True when some value is in chunks.
    pub fn has_chunks(&self) -> Result<bool, sled::Error> {
        for found in self.db.scan_prefix([CHUNK_SPACE]) {
            if found?.0 != FOLDED_KEY {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes everything written so far survive a power cut. sled's own flush does not: it asks
    /// Linux to start writing the pages (`sync_file_range`) and never syncs the file.
    pub fn flush(&self) -> Result<(), sled::Error> {
        self.db.flush()?;
        self.log.sync_data()?;
        Ok(())
    }
}

/// Opens the database in `dir`, made if absent.
pub(super) fn open(dir: &Path, options: StoreOptions) -> Result<(Files, OpenNotes), StoreError> {
    let failed = |error: std::io::Error| StoreError::io(dir, &error, free_bytes(dir));
    fs::create_dir_all(dir).map_err(failed)?;
    let mut notes = OpenNotes::default();
    let db = match open_unlocked(dir, options, &mut notes) {
        Err(StoreError::Damaged { cause, .. }) => {
            move_snapshots_aside(dir, &mut notes).map_err(failed)?;
            notes.damage = Some(cause);
            open_once(dir, options, &mut notes)?
        }
        other => other?,
    };
    let log = File::open(dir.join("db")).map_err(failed)?;
    log.sync_all().map_err(failed)?;
    sync_dir(dir).map_err(failed)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent).map_err(failed)?;
    }
    // Only a help for the message of a second process: its absence must not stop this one.
    if let Err(error) = fs::write(dir.join(OWNER_FILE), std::process::id().to_string()) {
        tracing::warn!(%error, "The owner's process id could not be noted.");
    }
    Ok((Files { db, log }, notes))
}

/// Bytes that an unprivileged process can still write to the disk of `dir`.
pub fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes of the files in `dir` and below; what cannot be read counts as nothing.
pub fn files_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.fold(0, |sum, entry| {
        let bytes = match entry.metadata() {
            Ok(found) if found.is_dir() => files_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        };
        sum.saturating_add(bytes)
    })
}

/// A process that is just ending, or one that it is just starting, may hold the lock a moment
/// longer: only one that holds it for [`LOCK_WITHIN`] is another gateway.
#[allow(clippy::disallowed_methods, reason = "sled cannot wait for its lock")]
fn open_unlocked(
    dir: &Path,
    options: StoreOptions,
    notes: &mut OpenNotes,
) -> Result<sled::Db, StoreError> {
    for _ in 1..LOCK_ATTEMPTS {
        match open_once(dir, options, notes) {
            Err(StoreError::InUse { .. }) => std::thread::sleep(LOCK_WITHIN / LOCK_ATTEMPTS),
            other => return other,
        }
    }
    open_once(dir, options, notes)
}

fn open_once(
    dir: &Path,
    options: StoreOptions,
    notes: &mut OpenNotes,
) -> Result<sled::Db, StoreError> {
    let failed = |error: std::io::Error| StoreError::io(dir, &error, free_bytes(dir));
    let path = dir.to_path_buf();
    remove_unfinished_snapshots(dir, notes).map_err(failed)?;
    let opened = catch_unwind(move || {
        sled::Config::new()
            .path(path)
            .flush_every_ms(None)
            .cache_capacity(options.cache_bytes)
            .open()
    });
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
            Err(StoreError::InUse { dir: dir.to_path_buf(), owner: owner(dir) })
        }
        Ok(Err(error)) => Err(StoreError::sled(dir, error, free_bytes(dir))),
        Err(panic) => {
            Err(StoreError::Damaged { dir: dir.to_path_buf(), cause: panic_text(panic.as_ref()) })
        }
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("sled stopped without a reason").to_owned()
}

fn owner(dir: &Path) -> String {
    match fs::read_to_string(dir.join(OWNER_FILE)) {
        Ok(pid) => format!("the process {pid}"),
        Err(_) => "another process".to_owned(),
    }
}

fn snapshots(dir: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

// Another process that is just writing a snapshot must keep it: without the lock nothing is removed.
fn remove_unfinished_snapshots(dir: &Path, notes: &mut OpenNotes) -> Result<(), std::io::Error> {
    let unfinished: Vec<PathBuf> = snapshots(dir)?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".generating"))
        .collect();
    if unfinished.is_empty() || !is_unlocked(dir)? {
        return Ok(());
    }
    for path in unfinished {
        fs::remove_file(&path)?;
        notes.removed.push(path);
    }
    Ok(())
}

fn is_unlocked(dir: &Path) -> Result<bool, std::io::Error> {
    match File::open(dir.join("db")) {
        Ok(log) => Ok(log.try_lock().is_ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn move_snapshots_aside(dir: &Path, notes: &mut OpenNotes) -> Result<(), std::io::Error> {
    let aside = dir.join(ASIDE_DIR);
    fs::create_dir_all(&aside)?;
    for path in snapshots(dir)? {
        if let Some(name) = path.file_name() {
            let target = aside.join(name);
            fs::rename(&path, &target)?;
            notes.moved_aside.push(target);
        }
    }
    Ok(())
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), std::io::Error> {
    File::open(dir)?.sync_all()
}
