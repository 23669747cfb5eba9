//! The log in front of sled: a commit is one write and one `fdatasync` of a file that has its size
//! already, so that no other block of the disk changes with it.
//!
//! ```text
//! frame: bytes of the body u32 | epoch u64 | number u64 | checksum u64 | body
//! body:  (bytes of the key u32 | bytes of the value u32, or DELETED | key | value) ...
//! ```
//! The file has two halves, and an epoch is in one of them: its frames follow each other from the
//! start of the half. When the half is full, the next epoch begins in the other one, and everything
//! of the full one goes into sled together with its epoch. Frames of an epoch that sled has, or out
//! of their order, are what was there before.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fail;
use crate::seeded::{self, Bug};

/// Size of a half.
pub(super) const EPOCH_BYTES: usize = 2 << 20;
const FILE: &str = "wal";
const HEADER_BYTES: usize = 28;
const DELETED: u32 = u32::MAX;

/// Values by key, `None` for those that are deleted.
pub type Entries = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The file of the log, as far as the log needs one.
pub trait LogFile {
    /// Everything in it.
    ///
    /// # Errors
    /// What the disk says.
    fn bytes(&self) -> io::Result<Vec<u8>>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn length(&self) -> io::Result<u64>;

    /// Writes `bytes` at a place that is there already.
    ///
    /// # Errors
    /// What the disk says; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Returns when what was written would survive a power cut.
    ///
    /// # Errors
    /// What the disk says.
    fn sync(&self) -> io::Result<()>;

    /// Makes it so many zeros; returns when that would survive a power cut.
    ///
    /// # Errors
    /// What the disk says.
    fn clear(&self, bytes: usize) -> io::Result<()>;
}

impl LogFile for File {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length()?).unwrap_or(usize::MAX)];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|file| file.len())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn clear(&self, bytes: usize) -> io::Result<()> {
        self.set_len(0)?;
        (&*self).write_all(&vec![0; bytes])?;
        self.sync_all()
    }
}

/// The file of the log in `dir`, made if absent.
pub(super) fn open_file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(dir.join(FILE))
}

/// The open log, and where the next frame goes.
#[derive(Debug)]
pub struct Wal<F> {
    file: F,
    epoch_bytes: usize,
    epoch: u64,
    number: u64,
    end: usize,
}

impl<F: LogFile> Wal<F> {
    /// Opens a log whose halves have `epoch_bytes`, and tells what it holds that sled does not:
    /// sled has everything up to epoch `folded`. What it holds must go into sled, with the epoch
    /// before that of the log, before anything is written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(file: F, epoch_bytes: usize, folded: u64) -> io::Result<(Wal<F>, Entries)> {
        let bytes = file.bytes()?;
        let mut entries = Entries::new();
        let mut epoch = folded.saturating_add(1);
        for _ in 0..2 {
            if read_epoch(&bytes, half(epoch, epoch_bytes), epoch, &mut entries) {
                epoch = epoch.saturating_add(1);
            }
        }
        let wal = Wal { file, epoch_bytes, epoch, number: 0, end: 0 };
        if entries.is_empty() {
            wal.fill()?;
        }
        Ok((wal, entries))
    }

    /// The epoch of the frames that are written now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True when `frame` can be written without beginning a new epoch.
    pub(super) fn has_room(&self, frame: &Frame) -> bool {
        self.end + frame.bytes.len() <= self.epoch_bytes
    }

    /// Writes a frame; returns when it would survive a power cut. After a failure it may be written
    /// again, or another one in its place.
    pub(super) fn append(&mut self, mut frame: Frame) -> io::Result<()> {
        frame.seal(self.epoch, self.number);
        let at = half(self.epoch, self.epoch_bytes) + self.end;
        fail::point("log-write");
        self.file.write_at(&frame.bytes, at as u64)?;
        fail::point("log-sync");
        self.file.sync()?;
        fail::point("log-synced");
        self.end += frame.bytes.len();
        self.number += 1;
        Ok(())
    }

    /// Begins the next epoch; sled must have the one before this one.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.number = 0;
        self.end = 0;
    }

    /// Gives the file its size, unless it has it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn fill(&self) -> io::Result<()> {
        let bytes = 2 * self.epoch_bytes;
        if self.file.length()? == bytes as u64 {
            return Ok(());
        }
        self.file.clear(bytes)
    }
}

/// Where the half of an epoch begins.
fn half(epoch: u64, epoch_bytes: usize) -> usize {
    if epoch.is_multiple_of(2) { 0 } else { epoch_bytes }
}

/// Reads the frames of an epoch, the first of them at `at`; false when there are none.
fn read_epoch(bytes: &[u8], mut at: usize, epoch: u64, entries: &mut Entries) -> bool {
    let mut number = 0;
    while let Some(body) = frame_at(bytes, at, epoch, number) {
        read_entries(body, entries);
        at += HEADER_BYTES + body.len();
        number += 1;
    }
    number > 0
}

/// What one commit writes.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    pub fn new(entries: &Entries) -> Frame {
        let mut bytes = vec![0; HEADER_BYTES];
        for (key, value) in entries {
            let length = value.as_ref().map_or(DELETED, |value| value.len() as u32);
            bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        Frame { bytes }
    }

    fn seal(&mut self, epoch: u64, number: u64) {
        let (header, body) = self.bytes.split_at_mut(HEADER_BYTES);
        let parts = [
            &(body.len() as u32).to_le_bytes()[..],
            &epoch.to_le_bytes(),
            &number.to_le_bytes(),
            &checksum(body, epoch, number).to_le_bytes(),
        ];
        header.copy_from_slice(&parts.concat());
    }
}

fn checksum(body: &[u8], epoch: u64, number: u64) -> u64 {
    xxh3_64_with_seed(body, epoch.rotate_left(32) ^ number)
}

/// The body of the frame at `at`, if it is the one that is wanted and whole.
fn frame_at(bytes: &[u8], at: usize, epoch: u64, number: u64) -> Option<&[u8]> {
    let mut rest = bytes.get(at..)?;
    let length = take_u32(&mut rest)? as usize;
    if take_u64(&mut rest)? != epoch || take_u64(&mut rest)? != number {
        return None;
    }
    let sum = take_u64(&mut rest)?;
    let body = rest.get(..length)?;
    (checksum(body, epoch, number) == sum || seeded::has(Bug::TornFrameRead)).then_some(body)
}

fn read_entries(mut body: &[u8], entries: &mut Entries) {
    while let Some((key, value)) = take_entry(&mut body) {
        entries.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }
}

fn take_entry<'a>(body: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key = take_u32(body)? as usize;
    let value = take_u32(body)?;
    let key = take(body, key)?;
    if value == DELETED {
        return Some((key, None));
    }
    Some((key, Some(take(body, value as usize)?)))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, Option<&str>)]) -> Entries {
        let bytes = |text: &str| text.as_bytes().to_vec();
        pairs.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect()
    }

    fn open(dir: &Path, folded: u64) -> (Wal<File>, Entries) {
        Wal::open(open_file(dir).unwrap(), EPOCH_BYTES, folded).unwrap()
    }

    fn append(wal: &mut Wal<File>, pairs: &[(&str, Option<&str>)]) {
        wal.append(Frame::new(&entries(pairs))).unwrap();
    }

    #[test]
    fn what_was_appended_is_read_again_the_last_of_a_key_and_deletions_too() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, found) = open(dir.path(), 0);
        assert!(found.is_empty());
        append(&mut wal, &[("a", Some("1")), ("冷柜", Some(""))]);
        append(&mut wal, &[("a", Some("2")), ("b", None)]);
        let (_, found) = open(dir.path(), 0);
        assert_eq!(found, entries(&[("a", Some("2")), ("冷柜", Some("")), ("b", None)]));
    }

    #[test]
    fn epochs_that_sled_has_are_not_read_again_and_the_two_that_it_lacks_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let found = |folded| open(dir.path(), folded).1;
        let (mut wal, _) = open(dir.path(), 0);
        append(&mut wal, &[("a", Some("1")), ("b", Some("1"))]);
        append(&mut wal, &[("c", Some("1"))]);
        wal.begin_epoch();
        assert_eq!(found(1), entries(&[]));
        append(&mut wal, &[("a", Some("2"))]);
        assert_eq!(found(1), entries(&[("a", Some("2"))]));
        let both = [("a", Some("2")), ("b", Some("1")), ("c", Some("1"))];
        assert_eq!(found(0), entries(&both));
        wal.begin_epoch();
        append(&mut wal, &[("a", Some("3"))]);
        assert_eq!(found(1), entries(&[("a", Some("3"))]));
        assert_eq!(found(2), entries(&[("a", Some("3"))]));
        assert_eq!(found(3), entries(&[]));
    }

    #[test]
    fn a_frame_that_was_torn_ends_the_log_wherever_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, _) = open(dir.path(), 0);
        append(&mut wal, &[("a", Some("1"))]);
        let whole = half(1, EPOCH_BYTES) + wal.end;
        append(&mut wal, &[("a", Some("2")), ("b", Some("22"))]);
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        for torn in whole..half(1, EPOCH_BYTES) + wal.end {
            bytes[torn] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let found = open(dir.path(), 0).1;
            assert_eq!(found, entries(&[("a", Some("1"))]), "byte {torn}");
            bytes[torn] ^= 0x55;
        }
        std::fs::write(&path, &bytes[..whole + 30]).unwrap();
        assert_eq!(open(dir.path(), 0).1, entries(&[("a", Some("1"))]));
    }
}
