//! What the store does with large records and little space.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultgate::io::store::{Batch, Store, StoreError, StoreOptions, VALUE_BYTES_MAX};

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).unwrap().0
}

fn put(key: &str, value: Vec<u8>) -> Batch {
    vec![(key.as_bytes().to_vec(), Some(value))]
}

#[test]
fn long_values_come_back_whole_and_leave_nothing_behind_when_they_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..300_000_u32).map(|byte| byte as u8).collect();
    {
        let store = open(dir.path());
        for number in 0..40 {
            store.commit(put(&format!("k/{number:02}"), long.clone())).unwrap();
        }
        store.commit(put("k/07", b"short".to_vec())).unwrap();
        store.commit(vec![(b"k/08".to_vec(), None)]).unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.get(b"k/06").unwrap(), Some(long.clone()));
    assert_eq!(store.get(b"k/07").unwrap().as_deref(), Some(&b"short"[..]));
    assert_eq!(store.get(b"k/08").unwrap(), None);
    assert_eq!(store.scan(b"k/", b"k/05").count(), 34);
    assert_eq!(store.last(b"k/").unwrap(), Some((b"k/39".to_vec(), long)));
    let never_synced = dir.path().join("blobs");
    assert_eq!(never_synced.read_dir().unwrap().count(), 0);
    let too_large = store.commit(put("k", vec![0; VALUE_BYTES_MAX + 1]));
    assert!(matches!(too_large, Err(StoreError::TooLarge { .. })));
}

#[test]
fn a_scan_walks_over_many_pages_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let batch = (0..1_000).map(|number| (format!("s/{number:04}").into_bytes(), Some(vec![1])));
    store.commit(batch.collect()).unwrap();
    store.commit(put("t/1", vec![2])).unwrap();
    let keys: Vec<Vec<u8>> = store.scan(b"s/", b"s/0300").map(|found| found.unwrap().0).collect();
    let expected: Vec<Vec<u8>> = (300..1_000).map(|n| format!("s/{n:04}").into_bytes()).collect();
    assert_eq!(keys, expected);
}

#[test]
fn commits_are_refused_before_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { min_free_bytes: u64::MAX, ..StoreOptions::default() };
    let (store, _) = Store::open(dir.path(), options).unwrap();
    let refused = store.commit(put("k", vec![1])).unwrap_err();
    assert!(matches!(refused, StoreError::StorageFull { .. }), "{refused}");
    assert_eq!(store.get(b"k").unwrap(), None);
}

#[test]
fn a_full_disk_refuses_commits_and_takes_them_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = SmallDisk::mount(dir.path(), "24m") else { return };
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let state = dir.path().join("state");
    let (store, _) = Store::open(&state, options).unwrap();
    let key = |number: u32| format!("k/{number:06}");
    let value = |number: u32| format!("{number} ").repeat(300).into_bytes();
    let mut stored = 0;
    let refused = loop {
        match store.commit(put(&key(stored), value(stored))) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100_000, "the disk never became full");
    };
    assert!(matches!(refused, StoreError::StorageFull { .. }), "{refused}");
    assert!(store.commit(put(&key(stored), value(stored))).is_err());
    std::fs::remove_file(&ballast).unwrap();
    store.commit(put(&key(stored), value(stored))).unwrap();
    drop(store);
    let (store, _) = Store::open(&state, options).unwrap();
    for number in 0..=stored {
        let found = store.get(key(number).as_bytes()).unwrap();
        assert_eq!(found, Some(value(number)), "{number} of {stored}");
    }
}

/// A small disk of its own, gone with the test.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `None`, and a word about it, where nothing can be mounted.
    pub fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: no tmpfs can be mounted here (needs root)");
            return None;
        }
        Some(SmallDisk { at: at.to_owned() })
    }

    /// Leaves not a byte free.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.at.join("ballast")).unwrap();
        while ballast.write_all(&[1; 64 << 10]).is_ok() {}
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn empty(&self) {
        std::fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("--lazy").arg(&self.at).status();
        assert!(ended.is_ok());
    }
}

#[tokio::test]
async fn many_waiters_share_a_flush_and_each_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut answers = Vec::new();
    for number in 0..2_000_u32 {
        answers.push(store.submit(put(&format!("w/{number:05}"), vec![7])).await.unwrap());
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(()));
    }
    assert_eq!(store.scan(b"w/", b"").count(), 2_000);
}
