//! The rule sets that were accepted, newest last: `DATA/rules/NUMBER.json`, one file each.
//!
//! Plain files and not the store: a second process can read them while the gateway runs, and an
//! operator without any tool.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable;
use crate::engine::types::time::Timestamp;

/// Sets that are kept.
pub const SETS_MAX: usize = 20;

/// What had a set read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "lowercase")]
pub enum Origin {
    /// The start of the gateway.
    Start,
    /// SIGHUP.
    Signal,
    /// A request to the API.
    Api,
    /// The files had changed.
    Watch,
    /// `faultgate rules rollback`.
    Rollback {
        /// The set that was gone back to.
        to: u64,
    },
}

/// One rule file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// Its path below the configured folders, which stand for themselves by their last part.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A set that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSet {
    /// From 1, never given twice.
    pub number: u64,
    /// When (wall clock).
    pub at: Timestamp,
    /// Why.
    #[serde(flatten)]
    pub origin: Origin,
    /// How many rules it has.
    pub rules: usize,
    /// See [`hash`].
    pub hash: String,
    /// Its files, by name.
    pub files: Vec<RuleText>,
}

/// Tells sets of files apart: BLAKE3 over names and texts, 16 hex digits.
pub fn hash(files: &[RuleText]) -> String {
    let mut hasher = blake3::Hasher::new();
    for RuleText { name, text } in files {
        for part in [name, text] {
            // With its length, so that no text can pose as the next name.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().chars().take(16).collect()
}

/// The files of the history in a data folder, by name, as they are.
///
/// # Errors
/// What the disk says.
pub fn files(data: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let history = RuleHistory::of(data);
    let mut files = Vec::new();
    for number in history.numbers()? {
        let path = history.path(number);
        match fs::read(&path) {
            Ok(content) => files.push((file_name(number), content)),
            // A newer set has taken its place meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// True for the name of a file of the history.
pub fn is_file_name(name: &str) -> bool {
    let number = name.strip_suffix(".json").and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|number| file_name(number) == name)
}

fn file_name(number: u64) -> String {
    format!("{number:010}.json")
}

/// The folder with the sets.
#[derive(Clone, Debug)]
pub struct RuleHistory {
    folder: PathBuf,
}

impl RuleHistory {
    /// The history in a data folder; nothing is made yet.
    pub fn of(data: &Path) -> RuleHistory {
        RuleHistory { folder: data.join("rules") }
    }

    /// Keeps a set, and drops those past [`SETS_MAX`]. `None` when its files are those of the
    /// newest set.
    ///
    /// # Errors
    /// What the disk says; the sets that are kept stay as they are.
    pub fn keep(
        &self,
        at: Timestamp,
        origin: Origin,
        rules: usize,
        files: Vec<RuleText>,
    ) -> io::Result<Option<u64>> {
        fs::create_dir_all(&self.folder)?;
        let hash = hash(&files);
        let numbers = self.numbers()?;
        let newest = numbers.last().copied();
        // A set that cannot be read any more is told apart from every other one.
        let known = newest.and_then(|number| self.read(number).ok());
        if known.is_some_and(|known| known.hash == hash) {
            return Ok(None);
        }
        let number = newest.unwrap_or(0) + 1;
        let set = AcceptedSet { number, at, origin, rules, hash, files };
        durable::write(&self.path(number), &serde_json::to_vec_pretty(&set)?)?;
        let old = (numbers.len() + 1).saturating_sub(SETS_MAX);
        for number in numbers.into_iter().take(old) {
            fs::remove_file(self.path(number))?;
        }
        Ok(Some(number))
    }

    /// The numbers of the sets that are kept, oldest first.
    ///
    /// # Errors
    /// What the disk says; a folder that is not there holds none.
    pub fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// One set.
    ///
    /// # Errors
    /// A set that is not kept, or whose file was damaged, with the path of the file.
    pub fn read(&self, number: u64) -> io::Result<AcceptedSet> {
        let path = self.path(number);
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = fs::read(&path).map_err(told)?;
        serde_json::from_slice(&text).map_err(io::Error::from).map_err(told)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(file_name(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Vec<RuleText> {
        vec![RuleText { name: "rules/冷链.toml".into(), text: text.into() }]
    }

    #[test]
    fn the_last_twenty_sets_are_kept_and_the_same_files_are_not_kept_twice() {
        let data = tempfile::tempdir().expect("a folder");
        let history = RuleHistory::of(data.path());
        let keep = |text: &str| {
            history.keep(Timestamp::EPOCH, Origin::Watch, 1, files(text)).expect("kept")
        };
        for number in 1..=25 {
            assert_eq!(keep(&format!("{number}")), Some(number));
            assert_eq!(keep(&format!("{number}")), None);
        }
        let numbers = history.numbers().expect("numbers");
        assert_eq!((numbers.len(), numbers.first(), numbers.last()), (20, Some(&6), Some(&25)));
        assert_eq!(history.read(7).expect("there").files, files("7"));
    }

    #[test]
    fn a_set_that_was_cut_short_costs_no_other_one() {
        let data = tempfile::tempdir().expect("a folder");
        let history = RuleHistory::of(data.path());
        for text in ["a", "b"] {
            history.keep(Timestamp::EPOCH, Origin::Start, 1, files(text)).expect("kept");
        }
        fs::write(history.path(2), "{").expect("cut");
        // What a crash leaves behind before the rename is no set.
        fs::write(history.folder.join("0000000009.json.new"), "{").expect("left");
        let told = history.read(2).expect_err("damaged").to_string();
        assert!(told.contains("0000000002.json"), "{told}");
        let kept = history.keep(Timestamp::EPOCH, Origin::Rollback { to: 1 }, 1, files("a"));
        assert_eq!(kept.expect("kept"), Some(3));
        assert_eq!(history.read(3).expect("there").origin, Origin::Rollback { to: 1 });
    }

    #[test]
    fn moving_text_from_one_file_to_another_makes_another_set() {
        let two = |a: &str, b: &str| {
            let file = |name: &str, text: &str| RuleText { name: name.into(), text: text.into() };
            hash(&[file("a", a), file("b", b)])
        };
        assert_ne!(two("xb", ""), two("x", "b"));
    }
}
