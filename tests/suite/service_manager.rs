//! What systemd gets: a hardened unit, and words from a gateway that is ready, alive, stopping.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::gateway::{HOT, Home};

/// Waits for a word on the socket of the service manager.
fn wait_for(socket: &UnixDatagram, word: &str) {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {word} in time"));
        let told = String::from_utf8_lossy(&buffer[..length]);
        if told.lines().any(|line| line == word) {
            return;
        }
    }
}

#[test]
fn the_service_manager_is_told_of_ready_alive_and_stopping() {
    let home = Home::new(HOT, "");
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let gateway = home.try_start(&env).unwrap();
    wait_for(&socket, "READY=1");
    wait_for(&socket, "WATCHDOG=1");
    let (_, ended_well) = gateway.terminate();
    assert!(ended_well);
    wait_for(&socket, "STOPPING=1");
}

#[test]
fn the_service_unit_is_hardened() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/faultgate.service");
    let output =
        Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(&unit).output();
    let Ok(output) = output else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        told.lines().rev().find(|line| line.contains("Overall exposure")).expect("a verdict");
    let words = line.split_whitespace();
    let level = words.filter_map(|word| word.parse::<f64>().ok()).next().expect("a level");
    assert!(level <= 1.2, "{line}");
}
