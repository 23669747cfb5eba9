//! A backup of a gateway that runs, and what becomes of tickets after it was restored (I8).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use faultgate::io::store::{Store, StoreError, StoreOptions};
use serde_json::Value as Json;

use crate::gateway::{Gateway, HOT, Home, binary, report};

fn run(home: &Home, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(home.path()).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Commands find the gateway where it listens now.
fn name_port(home: &Home, gateway: &Gateway) {
    let config = home.path().join("faultgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("127.0.0.1:0", &gateway.http, 1)).unwrap();
}

fn told(devices: std::ops::Range<u32>, temp: u32) -> Vec<(String, Vec<u8>)> {
    devices.map(|n| report(&format!("冷柜-{n:02}"), &format!("{{\"temp_c\": {temp}}}"))).collect()
}

fn resolved(tickets: &[Json]) -> BTreeSet<&str> {
    let over = tickets.iter().filter(|ticket| ticket["status"] == "resolved");
    over.filter_map(|ticket| ticket["device"].as_str()).collect()
}

/// The desk of another gateway as a ticket system.
fn desk_of(upstream: &Gateway) -> String {
    let url = format!("http://{}/", upstream.http);
    format!("[[upstream]]\nname = \"other\"\nkind = \"desk\"\nurl = \"{url}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_no_ticket_is_doubled_and_none_is_left_open() {
    let upstream_home = Home::new(HOT, "");
    let upstream = upstream_home.start();
    let home = Home::new(HOT, &desk_of(&upstream));
    let gateway = home.start();
    name_port(&home, &gateway);
    gateway.publish(&told(0..10, 90)).await;
    gateway.all_delivered(10).await;
    let made = run(&home, &["backup", "--output", "backup", "--format", "json"]);
    assert!(made.status.success(), "{}", errors(&made));

    // What the backup does not know: faults that are raised still, faults that are over, and the
    // end of some that it knows as raised.
    let later = [told(10..30, 90), told(0..5, 20), told(10..15, 20)].concat();
    gateway.publish(&later).await;
    let is_over = |tickets: &[Json]| tickets.len() == 30 && resolved(tickets).len() == 10;
    upstream.desk_until(is_over).await;
    gateway.kill();
    std::fs::remove_dir_all(home.path().join("data")).unwrap();
    let restored = run(&home, &["restore", "backup"]);
    assert!(restored.status.success(), "{}", errors(&restored));

    let gateway = home.start();
    gateway.publish(&later).await;
    gateway.all_delivered(30).await;
    let tickets = upstream.desk_until(is_over).await;
    let devices: BTreeSet<_> = tickets.iter().filter_map(|t| t["device"].as_str()).collect();
    assert_eq!(devices.len(), 30, "no fault has two tickets");

    // A second crash, before which the backup is as old as can be.
    gateway.kill();
    let gateway = home.start();
    gateway.publish(&told(0..30, 20)).await;
    let tickets = upstream.desk_until(|tickets| resolved(tickets).len() == 30).await;
    assert_eq!(tickets.len(), 30);
    let verified = run(&home, &["ledger", "verify"]);
    assert!(verified.status.success(), "{}", errors(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_is_raised_after_a_restore_is_not_left_on_a_ticket_that_was_resolved_before() {
    let upstream_home = Home::new(HOT, "");
    let upstream = upstream_home.start();
    let home = Home::new(HOT, &desk_of(&upstream));
    let gateway = home.start();
    name_port(&home, &gateway);
    gateway.publish(&told(0..1, 90)).await;
    gateway.all_delivered(1).await;
    assert!(run(&home, &["backup", "--output", "backup"]).status.success());
    gateway.publish(&[told(1..2, 90), told(0..2, 20)].concat()).await;
    upstream.desk_until(|tickets| resolved(tickets).len() == 2).await;
    gateway.kill();
    let refused = run(&home, &["restore", "backup"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("`--replace`"), "{}", errors(&refused));
    let restored = run(&home, &["restore", "backup", "--replace"]);
    assert!(restored.status.success(), "{}", errors(&restored));

    // Both faults are new ones, and their numbers were given before.
    let gateway = home.start();
    gateway.publish(&told(0..2, 95)).await;
    let tickets = upstream
        .desk_until(|tickets| tickets.iter().all(|ticket| ticket["status"] == "reopened"))
        .await;
    assert_eq!(tickets.len(), 2);
    gateway.publish(&told(0..2, 20)).await;
    upstream.desk_until(|tickets| resolved(tickets).len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_not_as_it_was_written_is_refused_and_changes_nothing() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    name_port(&home, &gateway);
    gateway.publish(&told(0..3, 90)).await;
    gateway.all_delivered(3).await;
    assert!(run(&home, &["backup", "--output", "backup"]).status.success());
    let in_use = run(&home, &["restore", "backup", "--replace"]);
    assert_eq!(in_use.status.code(), Some(2));
    assert!(errors(&in_use).contains("in use"), "{}", errors(&in_use));
    gateway.kill();

    let stopped = run(&home, &["backup", "--output", "."]);
    assert!(stopped.status.success(), "{}", errors(&stopped));
    let bytes = std::fs::read(home.path().join("backup")).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(home.path().join("broken"), bytes).unwrap();
        let output = run(&home, &["restore", "broken", "--data", "new"]);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(!Path::new(&home.path().join("new")).exists(), "{}", errors(&output));
        errors(&output)
    };
    assert!(refused(&bytes[..bytes.len() / 2]).contains("cut off"));
    assert!(refused(&bytes[..bytes.len() - 1]).contains("cut off"));
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    refused(&changed);
    let whole = run(&home, &["restore", "backup", "--data", "new"]);
    assert!(whole.status.success(), "{}", errors(&whole));
}

#[test]
fn a_copy_is_the_store_as_it_was_at_one_moment_however_much_is_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let (store, _) = Store::open(&folder.path().join("store"), options).unwrap();
    // Each commit writes the first and the last record, which are many pages apart, alike.
    let both = |n: u32| {
        let value = n.to_string().into_bytes();
        let gone = (format!("g/{}", n.saturating_sub(1)).into_bytes(), None);
        vec![
            (b"a".to_vec(), Some(value.clone())),
            (b"z".to_vec(), Some(value.clone())),
            (format!("g/{n}").into_bytes(), Some(value)),
            gone,
        ]
    };
    let filler = |n: u32| (format!("k/{n:06}").into_bytes(), Some(vec![0; 5_000]));
    store.commit((0..2_000).map(filler).collect()).unwrap();
    store.commit(both(1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 2.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                store.commit(both(n)).unwrap();
            }
        });
        for _ in 0..3 {
            let mut copy = std::collections::BTreeMap::new();
            let taken: Result<(), StoreError> = store.copy(|key, value| {
                match value {
                    Some(value) => copy.insert(key, value),
                    None => copy.remove(&key),
                };
                Ok(())
            });
            taken.unwrap();
            assert_eq!(copy.get(&b"a"[..]), copy.get(&b"z"[..]));
            let left: Vec<_> = copy.iter().filter(|(key, _)| key.starts_with(b"g/")).collect();
            assert_eq!(left.len(), 1, "what was deleted is deleted");
            assert_eq!(Some(left[0].1), copy.get(&b"a"[..]));
            assert_eq!(copy.keys().filter(|key| key.starts_with(b"k/")).count(), 2_000);
        }
        done.store(true, Ordering::Relaxed);
    });
}
