//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Puts `text` in place of the file at `path`, or makes it: written beside it, synced, renamed.
///
/// # Errors
/// What the disk says; the former file is then untouched.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = beside(path, ".new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    if let Ok(former) = fs::metadata(path) {
        file.set_permissions(former.permissions())?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Renames the file at `path` to one with `ending` after its name; the new path.
///
/// # Errors
/// What the disk says.
pub fn set_aside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let aside = beside(path, ending);
    fs::rename(path, &aside)?;
    sync_folder(path)?;
    Ok(aside)
}

/// Copies the file at `path` to one with `ending` after its name; the new path.
///
/// # Errors
/// What the disk says.
pub fn copy_aside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let aside = beside(path, ending);
    write(&aside, &fs::read(path)?)?;
    Ok(aside)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A rename is on disk once the folder is: that of `path`.
///
/// # Errors
/// What the disk says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}
