//! Reading the files that operators write.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::engine::types::diagnostic::{Report, Source, position};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads the files, and every `*.toml` below the folders, in the order of their paths.
///
/// # Errors
/// A path that is not there, cannot be read, is not UTF-8, or is too large.
pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    collect(paths)?.iter().map(|path| read(path)).collect()
}

/// What [`read_each`] found.
#[derive(Debug, Default)]
pub struct Read {
    /// The files that were read.
    pub sources: Vec<Source>,
    /// Files that are no text, as far as they are: to show where.
    pub broken: Vec<Source>,
}

/// Reads what [`read_all`] reads. A file that cannot be read, or is no text, is noted, and the
/// others are read still.
///
/// # Errors
/// A path that is not there.
pub fn read_each(paths: &[PathBuf], report: &Report) -> anyhow::Result<Read> {
    let mut found = Read::default();
    for path in collect(paths)? {
        match read_or_tell(&path, report) {
            Ok(source) => found.sources.push(source),
            Err(broken) => found.broken.push(broken),
        }
    }
    Ok(found)
}

/// Reads one file, or notes why it cannot be read; then what there is of it is the error.
///
/// # Errors
/// A file that cannot be read, is not UTF-8, or is too large.
pub fn read_or_tell(path: &Path, report: &Report) -> Result<Source, Source> {
    let file = path.display().to_string();
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let nothing = Source { file, text: String::new() };
            let hint = "make it readable, or move it out of the folder";
            report.error(&nothing, 0..0, "unreadable", error.to_string(), hint);
            return Err(nothing);
        }
    };
    String::from_utf8(bytes).map(|text| Source { file: file.clone(), text }).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bad = error.as_bytes().get(at).copied().unwrap_or_default();
        // The same text up to the first bad byte, which becomes a replacement character.
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let broken = Source { file, text };
        let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
        let message = format!("the file is not UTF-8: byte {bad:#04x} cannot stand here");
        report.error(&broken, span, "not-utf-8", message, "save it as UTF-8");
        broken
    })
}

/// What shows that a file is another one than it was: path, size, time of the last change, inode.
pub type Stamp = (PathBuf, u64, Option<SystemTime>, u64);

/// The stamps of all files that [`read_all`] would read; none where it would fail.
pub fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: PathBuf| {
        let found = std::fs::metadata(&path).ok()?;
        Some((path, found.len(), found.modified().ok(), found.ino()))
    };
    collect(paths).unwrap_or_default().into_iter().filter_map(stamp).collect()
}

/// Reads one file.
///
/// # Errors
/// See [`read_all`].
pub fn read(path: &Path) -> anyhow::Result<Source> {
    let file = path.display().to_string();
    let text = String::from_utf8(bytes_of(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (line, column) = position(&String::from_utf8_lossy(error.as_bytes()), at);
        anyhow::anyhow!("{file}:{line}:{column}: the file is not UTF-8; save it as UTF-8")
    })?;
    Ok(Source { file, text })
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{file}: cannot be read"))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{file}: larger than {FILE_BYTES_MAX} bytes");
    std::fs::read(path).with_context(|| format!("{file}: cannot be read"))
}

/// The files that are named, and every `*.toml` below the folders, in the order of their paths.
///
/// A folder is gone through once, under its own name where it has one here: a symbolic link that
/// leads back up has no end.
fn collect(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let (mut folders, mut links) = (Vec::new(), Vec::new());
    for path in paths {
        let kind = std::fs::metadata(path)
            .with_context(|| format!("{}: is not there, or cannot be read", path.display()))?;
        if kind.is_dir() {
            folders.push(path.clone());
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop().or_else(|| links.pop()) {
        let name = || format!("{}: cannot be read", folder.display());
        if !seen.insert(std::fs::canonicalize(&folder).with_context(name)?) {
            continue;
        }
        let entries = std::fs::read_dir(&folder).with_context(name)?;
        let entries: Result<Vec<PathBuf>, _> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut entries = entries.with_context(name)?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        for path in entries {
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                if path.is_symlink() { &mut links } else { &mut folders }.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}
