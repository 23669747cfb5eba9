//! `faultgate doctor`: each thing that is wrong is named, with what to do about it.

use std::path::Path;
use std::process::{Command, Output};

use faultgate::engine::types::effect::Write;
use faultgate::engine::types::time::Timestamp;
use faultgate::io::journal::Journal;
use faultgate::io::store::{Store, StoreOptions};
use serde_json::Value as Json;

use crate::gateway::{HOT, Home, binary};
use crate::mosquitto::free_port;

fn doctor(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("doctor").args(arguments).arg("--config").arg(home.path().join("faultgate.toml"));
    command.output().expect("it runs")
}

/// Level and message of each finding of `part`, and whether the command found nothing wrong.
fn found(home: &Home, part: &str) -> (Vec<(String, String)>, bool) {
    let output = doctor(home, &["--format", "json"]);
    let told: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Json, key: &str| finding[key].as_str().expect("text").to_owned();
    let all = told.as_array().expect("a list");
    for finding in all {
        let is_ok = finding["level"] == "ok";
        assert_eq!(is_ok, finding["fix"] == "", "every trouble has its fix: {finding}");
    }
    let of_part = all.iter().filter(|finding| finding["part"] == part);
    let of_part = of_part.map(|finding| (text(finding, "level"), text(finding, "message")));
    (of_part.collect(), output.status.success())
}

/// The one finding of `part`: its level, and that its message contains `words`.
#[track_caller]
fn check(home: &Home, part: &str, level: &str, words: &str) {
    let (found, is_well) = found(home, part);
    let there = found.iter().any(|(is, message)| is == level && message.contains(words));
    assert!(there, "{level} {words} in {found:?}");
    assert!(level != "error" || !is_well, "an error is told by the exit code");
}

fn data(home: &Home) -> std::path::PathBuf {
    home.path().join("data/gateway")
}

fn add_to_config(home: &Home, text: &str) {
    let path = home.path().join("faultgate.toml");
    let before = std::fs::read_to_string(&path).expect("there");
    std::fs::write(path, format!("{before}{text}")).expect("written");
}

/// The command asks the gateway where the configuration says that it listens.
fn listen_where_it_is_known(home: &Home) {
    let path = home.path().join("faultgate.toml");
    let text = std::fs::read_to_string(&path).expect("there");
    let text = text.replacen("127.0.0.1:0", &format!("127.0.0.1:{}", free_port()), 1);
    std::fs::write(path, text).expect("written");
}

fn journal(folder: &Path) -> Journal {
    Journal::open(folder, StoreOptions::default()).expect("opened").0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_well_has_nothing_to_fix_before_while_and_after_it_runs() {
    let home = Home::new(HOT, "");
    check(&home, "gateway", "ok", "has not run");
    assert!(doctor(&home, &[]).status.success(), "nothing is wrong with what is only new");
    listen_where_it_is_known(&home);
    let gateway = home.start();
    gateway.ready().await;
    check(&home, "gateway", "ok", "it runs");
    gateway.terminate();
    let output = doctor(&home, &[]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    assert!(shown.lines().all(|line| line.starts_with("ok")), "{shown}");
    for part in ["config", "rules", "data", "disk", "store", "clock", "ledger", "outbox"] {
        assert!(shown.contains(&format!("ok       {part}")), "{part} in {shown}");
    }
}

#[test]
fn what_stops_the_gateway_from_starting_is_named() {
    let home = Home::new(HOT, "");
    home.write_rules(&HOT.replace("> 80", ">> 80"));
    check(&home, "rules", "error", "1 errors, the first at");
    home.write_rules("");
    check(&home, "rules", "warning", "nothing becomes a fault");

    std::fs::create_dir_all(data(&home)).expect("made");
    let held = Store::open(&data(&home), StoreOptions::default()).expect("opened");
    check(&home, "store", "error", "is in use by the process");
    drop(held);

    let secret = home.path().join("token");
    let upstream = format!(
        "[[upstream]]\nname = \"报修\"\nkind = \"desk\"\nurl = \"http://127.0.0.1:9/\"\n\
         token = {{ file = \"{}\" }}\n",
        secret.display()
    );
    add_to_config(&home, &upstream);
    check(&home, "secrets", "error", "token of upstream `报修`");
    std::fs::write(&secret, "\n").expect("written");
    check(&home, "secrets", "error", "is empty");
    std::fs::write(&secret, "x\n").expect("written");
    check(&home, "secrets", "ok", "token of upstream `报修` is there");

    add_to_config(&home, "[gateway]\nzone = 1\n");
    check(&home, "config", "error", "errors, the first at");
}

#[test]
fn what_is_wrong_in_the_data_folder_is_named() {
    let home = Home::new(HOT, "");
    let later = Timestamp::parse_rfc3339("2100-01-01T00:00:00Z").expect("a time");
    journal(&data(&home)).commit(&[Write::Alive(later)]).expect("written");
    check(&home, "clock", "error", "the gateway ran at 2100-01-01");

    {
        let (store, _) = Store::open(&data(&home), StoreOptions::default()).expect("opened");
        store.commit(vec![(b"a/bad".to_vec(), Some(b"{".to_vec()))]).expect("written");
    }
    assert_eq!(journal(&data(&home)).load().expect("read").quarantined.len(), 1);
    check(&home, "store", "warning", "1 records are in quarantine, the first stood under `a/bad`");

    {
        let (store, _) = Store::open(&data(&home), StoreOptions::default()).expect("opened");
        let row = b"l/00000000000000000001".to_vec();
        store.commit(vec![(row, Some(b"{}".to_vec()))]).expect("written");
    }
    check(&home, "ledger", "error", "the chain is broken");

    let theirs = data(&home).join("theirs");
    std::fs::write(&theirs, "").expect("written");
    if std::os::unix::fs::chown(&theirs, Some(12_345), None).is_err() {
        println!("skipped: only root can give a file to another user");
        return;
    }
    check(&home, "data", "error", "theirs: belongs to another user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_reached_is_named_while_the_gateway_runs() {
    let source = format!(
        "[[source]]\nname = \"厂区\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"a/+\"]\n\
         topic = \"a/{{device}}\"\n",
        free_port()
    );
    let home = Home::new(HOT, &source);
    listen_where_it_is_known(&home);
    let _gateway = home.start();
    check(&home, "source", "error", "`厂区` is not connected");
}

#[test]
fn stores_that_are_larger_than_they_may_be_are_named() {
    let home = Home::new(HOT, "[store]\nmax_disk = \"16MiB\"\n");
    check(&home, "size", "ok", "gateway 0 MiB and desk 0 MiB of 16 MiB");
    std::fs::create_dir_all(data(&home)).expect("made");
    let large = std::fs::File::create(data(&home).join("large")).expect("made");
    large.set_len(20 << 20).expect("long");
    check(&home, "size", "warning", "gateway 20 MiB and desk 0 MiB of 16 MiB");
}
