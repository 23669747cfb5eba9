//! The rule sets that were accepted, kept as files beside the store: they can be read while the
//! gateway runs, and by hand.
//!
//! One JSON file a set, `rule-sets/000012.json`, written aside and renamed, so that a crash leaves
//! a whole one or none. The newest [`SETS_MAX`] are kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::types::diagnostic::Source;
use crate::engine::types::time::Timestamp;

/// How many sets are kept.
pub const SETS_MAX: usize = 20;

/// One accepted set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSet {
    /// Its number, from 1.
    pub number: u64,
    /// When it was accepted.
    pub at: Timestamp,
    /// Where it came from: `start`, `request` (a signal, the API) or `files` (they had changed).
    pub origin: String,
    /// BLAKE3 over names and texts, 16 hex digits.
    pub hash: String,
    /// The files.
    pub files: Vec<AcceptedFile>,
    /// Its rules, by id.
    pub rules: Vec<AcceptedRule>,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedFile {
    /// Path, as the configuration leads to it.
    pub file: String,
    /// The whole text.
    pub text: String,
}

/// What of a rule tells whether it was edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedRule {
    /// Its id.
    pub id: String,
    /// Hash of what decides when it fires.
    pub revision: String,
    /// Hash of everything.
    pub whole: String,
}

/// The sets of one data folder.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
}

impl History {
    /// That of a gateway's data folder.
    pub fn of(data: &Path) -> History {
        History { folder: data.join("rule-sets") }
    }

    /// Every set that is kept, the oldest first. A file that cannot be read is left out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sets(&self) -> io::Result<Vec<AcceptedSet>> {
        let mut sets = Vec::new();
        for path in self.paths()? {
            let read = fs::read(&path).map(|bytes| serde_json::from_slice::<AcceptedSet>(&bytes));
            match read {
                Ok(Ok(set)) => sets.push(set),
                Ok(Err(error)) => {
                    let file = path.display();
                    tracing::warn!(%file, %error, "A kept rule set cannot be read.");
                }
                // Another process keeps the newest ones only, as this one does.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        sets.sort_by_key(|set| set.number);
        Ok(sets)
    }

    /// Keeps an accepted set, unless its files are those of the newest one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(
        &self,
        at: Timestamp,
        origin: &str,
        sources: &[Source],
        rules: Vec<AcceptedRule>,
    ) -> io::Result<()> {
        let files = accepted(sources);
        let hash = hash_of(&files);
        let newest = self.sets()?.pop();
        if newest.as_ref().is_some_and(|newest| newest.hash == hash) {
            return Ok(());
        }
        let number = newest.map_or(1, |newest| newest.number + 1);
        let origin = origin.to_owned();
        let set = AcceptedSet { number, at, origin, hash, files, rules };
        fs::create_dir_all(&self.folder)?;
        write_whole(&self.folder.join(format!("{number:06}.json")), &serde_json::to_vec(&set)?)?;
        let mut paths = self.paths()?;
        paths.sort();
        for old in paths.iter().rev().skip(SETS_MAX) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths: io::Result<Vec<PathBuf>> = paths.collect();
        let is_set = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "json");
        Ok(paths?.into_iter().filter(is_set).collect())
    }
}

impl AcceptedSet {
    /// The files, as the compiler reads them.
    pub fn sources(&self) -> Vec<Source> {
        let source =
            |file: &AcceptedFile| Source { file: file.file.clone(), text: file.text.clone() };
        self.files.iter().map(source).collect()
    }
}

/// Files as a set keeps them: by paths that mean the same wherever a command is called.
pub fn accepted(sources: &[Source]) -> Vec<AcceptedFile> {
    let accept = |source: &Source| {
        let path = std::path::absolute(&source.file).unwrap_or_else(|_| (&source.file).into());
        AcceptedFile { file: path.display().to_string(), text: source.text.clone() }
    };
    sources.iter().map(accept).collect()
}

/// What tells two sets of files apart.
pub fn hash_of(files: &[AcceptedFile]) -> String {
    let mut hash = blake3::Hasher::new();
    for AcceptedFile { file, text } in files {
        for part in [file, text] {
            hash.update(&part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().to_hex().chars().take(16).collect()
}

/// Puts a file in place of what is there, whole or not at all.
///
/// # Errors
/// What the disk says.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // A name that no reader of rules takes for one of its own.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = folder.join(format!(".{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}
