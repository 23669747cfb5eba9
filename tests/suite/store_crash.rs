//! A crash at any moment loses nothing that was acknowledged.

use std::fs;
use std::path::Path;
use std::process::Command;

use faultgate::io::store::{Store, StoreError, StoreOptions};

use super::child::{self, Writer};

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).unwrap().0
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = None;
    for round in 0..20 {
        let mut writer = Writer::start(dir.path());
        let read = writer.wait_for(1 + round * 7);
        acknowledged = writer.kill().or(read).or(acknowledged);
        let lost = child::missing(&open(dir.path()), acknowledged.unwrap());
        assert_eq!(lost, Vec::<u64>::new(), "round {round}");
    }
    assert!(acknowledged > Some(100));
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(dir.path());
    writer.wait_for(1).unwrap();
    fs::write(dir.path().join("snap.00.generating"), "its own").unwrap();
    let refused = Store::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    let message = refused.to_string();
    assert!(message.contains(&writer.process.id().to_string()), "{message}");
    assert!(message.contains(dir.path().to_str().unwrap()), "{message}");
    assert!(dir.path().join("snap.00.generating").exists());
    writer.kill();
}

#[test]
fn snapshots_that_were_torn_or_left_unfinished_do_not_stop_the_start() {
    for (name, bytes) in [
        ("snap.0000000000000001.generating", &b"half"[..]),
        ("snap.0000000000100000", b""),
        ("snap.0000000000100000", b"torn in the middle of writing it"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::start(dir.path());
        let read = writer.wait_for(60);
        let last = writer.kill().or(read).unwrap();
        fs::write(dir.path().join(name), bytes).unwrap();
        let (store, notes) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        assert_eq!(child::missing(&store, last), Vec::<u64>::new(), "{name}");
        let repaired = notes.removed.len() + notes.moved_aside.len();
        assert!(repaired >= 1, "{name}: {notes:?}");
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    let (disk, copy) = (dir.path().join("mounted"), dir.path().join("copy"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&copy).unwrap();
    fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let made = run("mkfs.ext4", &["-q", "-F", path(&image)]);
    let Some(mounted) = made.and_then(|()| Mounted::new(&image, &disk)) else {
        println!("skipped: no ext4 loop device can be mounted here (needs root)");
        return;
    };
    for commits in [5, 400] {
        let state = disk.join("state");
        let mut writer = Writer::start(&state);
        writer.wait_for(commits).unwrap();
        run("kill", &["-STOP", &writer.process.id().to_string()]).unwrap();
        // Everything that the page cache still holds is absent from the copy, as after a cut.
        let cut = dir.path().join("cut");
        run("dd", &["bs=4M", "iflag=direct", &arg("if", &mounted.device), &arg("of", path(&cut))])
            .unwrap();
        let last = writer.kill().unwrap_or(0).max(commits as u64 - 1);
        let after = Mounted::new(&cut, &copy).unwrap();
        let store = open(&copy.join("state"));
        assert_eq!(child::missing(&store, last), Vec::<u64>::new(), "{commits}");
        drop(store);
        drop(after);
    }
}

/// A mounted image; unmounted and detached at the end.
struct Mounted {
    device: String,
    at: String,
}

impl Mounted {
    fn new(image: &Path, at: &Path) -> Option<Mounted> {
        let output =
            Command::new("losetup").args(["--find", "--show", path(image)]).output().ok()?;
        let device = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        if device.is_empty() {
            return None;
        }
        let mounted = Mounted { device, at: path(at).to_owned() };
        run("mount", &[&mounted.device, &mounted.at]).map(|()| mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[&self.at]);
        run("losetup", &["--detach", &self.device]);
    }
}

fn run(program: &str, args: &[&str]) -> Option<()> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then_some(())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn arg(name: &str, value: &str) -> String {
    format!("{name}={value}")
}
