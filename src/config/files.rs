//! Reading the files that operators write.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::engine::types::diagnostic::Source;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads the files, and every `*.toml` below the folders, in the order of their paths.
///
/// # Errors
/// A path that is not there, cannot be read, is not UTF-8, or is too large.
pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    files.dedup();
    files.iter().map(|path| read(path)).collect()
}

/// What shows that a file is another one than it was: path, size, time of the last change, inode.
pub type Stamp = (PathBuf, u64, Option<SystemTime>, u64);

/// The stamps of all files that [`read_all`] would read; none where it would fail.
pub fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let mut files = Vec::new();
    for path in paths {
        if collect(path, &mut files).is_err() {
            return Vec::new();
        }
    }
    files.sort();
    let stamp = |path: PathBuf| {
        let found = std::fs::metadata(&path).ok()?;
        Some((path, found.len(), found.modified().ok(), found.ino()))
    };
    files.into_iter().filter_map(stamp).collect()
}

/// Reads one file.
///
/// # Errors
/// See [`read_all`].
pub fn read(path: &Path) -> anyhow::Result<Source> {
    let file = path.display().to_string();
    let size = std::fs::metadata(path).with_context(|| format!("{file}: cannot be read"))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{file}: larger than {FILE_BYTES_MAX} bytes");
    let bytes = std::fs::read(path).with_context(|| format!("{file}: cannot be read"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!("{file}: not UTF-8 at byte {}", error.utf8_error().valid_up_to())
    })?;
    Ok(Source { file, text })
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let kind = std::fs::metadata(path)
        .with_context(|| format!("{}: is not there, or cannot be read", path.display()))?;
    if !kind.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("{}", path.display()))?;
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}
