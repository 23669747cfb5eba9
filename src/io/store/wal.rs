//! The log in front of sled: a commit is one write and one `fdatasync` of a file that has its size
//! already, so that no other block of the disk changes with it.
//!
//! ```text
//! frame: bytes of the body u32 | epoch u64 | number u64 | checksum u64 | body
//! body:  (bytes of the key u32 | bytes of the value u32, or DELETED | key | value) ...
//! ```
//! Frames follow each other from the start of the file. When it is full, everything in it goes
//! into sled together with the epoch, and the next epoch begins at the start of the file: frames
//! of an epoch that sled has, or out of their order, are what was there before.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Size of the file, and of what is not in sled yet.
pub(super) const WAL_BYTES: usize = 2 << 20;
const FILE: &str = "wal";
const HEADER_BYTES: usize = 28;
const DELETED: u32 = u32::MAX;

/// Values by key, `None` for those that are deleted.
pub(super) type Entries = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The open log, and where the next frame goes.
#[derive(Debug)]
pub(super) struct Wal {
    file: File,
    epoch: u64,
    number: u64,
    end: usize,
}

impl Wal {
    /// Opens the log in `dir`, made if absent, and tells what it holds that sled does not: sled has
    /// everything up to epoch `folded`.
    pub fn open(dir: &Path, folded: u64) -> io::Result<(Wal, Entries)> {
        let path = dir.join(FILE);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        let bytes = std::fs::read(&path)?;
        let epoch = folded.saturating_add(1);
        let mut entries = Entries::new();
        let (mut number, mut end) = (0, 0);
        while let Some(body) = frame_at(&bytes, end, epoch, number) {
            read_entries(body, &mut entries);
            end += HEADER_BYTES + body.len();
            number += 1;
        }
        let wal = Wal { file, epoch, number, end };
        if bytes.len() != WAL_BYTES && entries.is_empty() {
            wal.fill()?;
        }
        Ok((wal, entries))
    }

    /// The epoch of the frames that are written now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True when `frame` can be written without beginning a new epoch.
    pub fn has_room(&self, frame: &Frame) -> bool {
        self.end + frame.bytes.len() <= WAL_BYTES
    }

    /// Writes a frame; returns when it would survive a power cut. After a failure it may be written
    /// again, or another one in its place.
    pub fn append(&mut self, mut frame: Frame) -> io::Result<()> {
        frame.seal(self.epoch, self.number);
        self.file.write_all_at(&frame.bytes, self.end as u64)?;
        self.file.sync_data()?;
        self.end += frame.bytes.len();
        self.number += 1;
        Ok(())
    }

    /// Everything is in sled, durable, with this epoch: begins the next one.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        self.epoch = self.epoch.saturating_add(1);
        self.number = 0;
        self.end = 0;
        if self.file.metadata()?.len() == WAL_BYTES as u64 { Ok(()) } else { self.fill() }
    }

    fn fill(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).write_all(&vec![0; WAL_BYTES])?;
        self.file.sync_all()
    }
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
    (checksum(body, epoch, number) == sum).then_some(body)
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

    fn append(wal: &mut Wal, pairs: &[(&str, Option<&str>)]) {
        wal.append(Frame::new(&entries(pairs))).unwrap();
    }

    #[test]
    fn what_was_appended_is_read_again_the_last_of_a_key_and_deletions_too() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, found) = Wal::open(dir.path(), 0).unwrap();
        assert!(found.is_empty());
        append(&mut wal, &[("a", Some("1")), ("冷柜", Some(""))]);
        append(&mut wal, &[("a", Some("2")), ("b", None)]);
        let (_, found) = Wal::open(dir.path(), 0).unwrap();
        assert_eq!(found, entries(&[("a", Some("2")), ("冷柜", Some("")), ("b", None)]));
    }

    #[test]
    fn frames_of_an_epoch_that_sled_has_are_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, _) = Wal::open(dir.path(), 0).unwrap();
        append(&mut wal, &[("a", Some("old"))]);
        append(&mut wal, &[("b", Some("old"))]);
        wal.begin_anew().unwrap();
        assert!(Wal::open(dir.path(), 1).unwrap().1.is_empty());
        append(&mut wal, &[("a", Some("new"))]);
        assert_eq!(Wal::open(dir.path(), 1).unwrap().1, entries(&[("a", Some("new"))]));
        assert!(Wal::open(dir.path(), 0).unwrap().1.is_empty());
    }

    #[test]
    fn a_frame_that_was_torn_ends_the_log_wherever_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wal, _) = Wal::open(dir.path(), 0).unwrap();
        append(&mut wal, &[("a", Some("1"))]);
        let whole = wal.end;
        append(&mut wal, &[("a", Some("2")), ("b", Some("22"))]);
        let path = dir.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        for torn in whole..wal.end {
            let mut bytes = bytes.clone();
            bytes[torn] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let found = Wal::open(dir.path(), 0).unwrap().1;
            assert_eq!(found, entries(&[("a", Some("1"))]), "byte {torn}");
        }
        std::fs::write(&path, &bytes[..whole + 30]).unwrap();
        assert_eq!(Wal::open(dir.path(), 0).unwrap().1, entries(&[("a", Some("1"))]));
    }
}
