//! The writer that the crash tests kill: this test binary itself, started again.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use faultgate::io::store::{Store, StoreOptions};

const DIR: &str = "FAULTGATE_TEST_WRITER_DIR";

/// A process that commits keys `n/00..` without end and prints each after its commit returned.
pub struct Writer {
    pub process: Child,
    acknowledged: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    pub fn start(dir: &Path) -> Writer {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child::write_until_killed", "--exact", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged = BufReader::new(process.stdout.take().unwrap()).lines();
        Writer { process, acknowledged }
    }

    /// Reads until `count` more commits were acknowledged; the last key's number.
    pub fn wait_for(&mut self, count: usize) -> Option<u64> {
        (&mut self.acknowledged).filter_map(|line| number(&line.ok()?)).take(count).last()
    }

    /// Kills with SIGKILL; the highest number that was acknowledged, also unread.
    pub fn kill(mut self) -> Option<u64> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.acknowledged.map_while(Result::ok).filter_map(|line| number(&line)).last()
    }
}

fn number(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

pub fn key(number: u64) -> Vec<u8> {
    format!("n/{number:012}").into_bytes()
}

/// The value of a key: every 50th is long enough to be cut into chunks.
pub fn value(number: u64) -> Vec<u8> {
    let times = if number.is_multiple_of(50) { 3_000 } else { 10 };
    format!("值{number},").repeat(times).into_bytes()
}

/// Numbers from 0 to `last` that are absent or wrong.
pub fn missing(store: &Store, last: u64) -> Vec<u64> {
    (0..=last).filter(|number| store.get(&key(*number)).unwrap() != Some(value(*number))).collect()
}

#[test]
fn write_until_killed() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let (store, _) = Store::open(Path::new(&dir), StoreOptions::default()).unwrap();
    let mut next = match store.last(b"n/").unwrap() {
        Some((key, _)) => String::from_utf8_lossy(&key[2..]).parse::<u64>().unwrap() + 1,
        None => 0,
    };
    loop {
        store.commit(vec![(key(next), Some(value(next)))]).unwrap();
        println!("acknowledged {next}");
        std::io::stdout().flush().unwrap();
        next += 1;
    }
}
