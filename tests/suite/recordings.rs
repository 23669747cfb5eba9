//! Recordings in every form, through the commands that take them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use device_sim::recording::{Recorded, Recorder};
use serde_json::Value as Json;

use crate::gateway::{HOT, binary};
use crate::mosquitto::{Mosquitto, program};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("it runs")
}

fn backtest(folder: &Path, arguments: &[&str]) -> (Json, String) {
    std::fs::write(folder.join("r.toml"), HOT).expect("written");
    let all = [&["backtest", "--rules", "r.toml", "--format", "json"], arguments].concat();
    let output = run(folder, &all);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    (json, told)
}

fn message(at_us: i64, payload: &[u8]) -> Recorded {
    let topic = "plant/上海-1/machine/冷柜-1/telemetry".to_owned();
    Recorded { at_us, topic, payload: payload.to_vec(), retain: false, qos: 1 }
}

#[test]
fn a_backtest_reads_plain_gzip_and_zstd_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let payloads: [&[u8]; 3] = [b"{\"temp_c\": 90}", b"\xff\xfe", b"{\"temp_c\": 20}"];
    let mut outcomes = Vec::new();
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        let mut recorder = Recorder::create(&folder.path().join(name)).expect(name);
        for (second, payload) in payloads.iter().enumerate() {
            recorder.write(&message(second as i64 * 1_000_000, payload)).expect(name);
        }
        recorder.finish().expect(name);
        outcomes.push(backtest(folder.path(), &["--input", name]));
    }
    let (first, _) = outcomes[0].clone();
    assert_eq!(first["input"]["messages"], 3);
    assert_eq!(first["input"]["undecodable"], 1, "the binary payload came through");
    assert_eq!(first["tickets"][0]["device"], "冷柜-1");
    assert!(outcomes.iter().all(|(outcome, told)| *outcome == first && told.is_empty()));
}

#[test]
fn messages_that_are_not_used_and_those_used_at_their_receipt_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[source]]\nname = \"plant\"\nurl = \"embedded\"\ntopics = [\"plant/#\"]\n\
                  topic = \"plant/{site}/{class}/{device}/telemetry\"\n\
                  [source.json]\ntimestamp = { path = \"/t\", unit = \"s\" }\nrest = true\n";
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let payloads: [&[u8]; 4] = [
        b"{\"t\": 4, \"temp_c\": 90}",
        b"{\"t\": 99999999, \"temp_c\": 91}",
        b"{\"t\": \"x\", \"temp_c\": 92}",
        b"{\"t\": 5",
    ];
    let mut recorder = Recorder::create(&folder.path().join("a.jsonl")).expect("a file");
    for (second, payload) in (4..).zip(payloads) {
        recorder.write(&message(second * 1_000_000, payload)).expect("written");
    }
    recorder.finish().expect("written");
    let (told, _) = backtest(folder.path(), &["--input", "a.jsonl"]);
    let input = &told["input"];
    assert_eq!((&input["undecodable"], &input["by_receipt_time"]), (&1.into(), &2.into()));
    assert_eq!(told["alarms"].as_array().map(Vec::len), Some(1));
    let text = run(folder.path(), &["backtest", "--rules", "r.toml", "--input", "a.jsonl"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("1 undecodable\n2 were taken at their receipt"), "{text}");
}

/// The device was cut off while a delay ran: what it kept tells after its end that the fault was over
/// before, and it says nothing more.
#[test]
fn a_return_that_is_told_after_a_delay_has_ended_counts_from_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[source]]\nname = \"plant\"\nurl = \"embedded\"\ntopics = [\"plant/#\"]\n\
                  topic = \"plant/{site}/{class}/{device}/telemetry\"\n";
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let rule = "[[rule]]\nid = \"warm\"\nwhen = \"temp_c > 60.0\"\non_delay = \"5m\"\noff_delay = \"2m\"\n";
    std::fs::write(folder.path().join("warm.toml"), rule).expect("written");
    let mut recorder = Recorder::create(&folder.path().join("a.jsonl")).expect("a file");
    const BEGAN: i64 = 1_775_877_600;
    for (received, measured, what) in
        [(0, 0, "\"temp_c\": 69"), (360, 120, "\"temp_c\": 48"), (900, 900, "\"rpm\": 1")]
    {
        let payload = format!("{{\"ts\": {}, {what}}}", BEGAN + measured);
        let received = (BEGAN + received) * 1_000_000;
        recorder.write(&message(received, payload.as_bytes())).expect("written");
    }
    recorder.finish().expect("finished");
    let arguments = ["--input", "a.jsonl", "--rules", "warm.toml", "--format", "json"];
    let output = run(folder.path(), &[&["backtest"], &arguments[..]].concat());
    let told: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let alarm = &told["alarms"][0];
    let times = ["raised_at", "returned_at"].map(|time| alarm[time].as_str().unwrap_or_default());
    assert_eq!(times, ["2026-04-11T03:25:00Z", "2026-04-11T03:27:00Z"], "{told:#}");
}

#[test]
fn the_mapping_of_a_source_makes_messages_of_csv_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[source]]\nname = \"厂\"\nurl = \"embedded\"\ntopics = [\"w/#\"]\n\
                  topic = \"w/{class}/{device}/data\"\n\
                  [source.csv]\ntimestamp = \"时间\"\ndevice = \"设备\"\nmetrics = [\"temp_c\"]\n\
                  [[source]]\nname = \"one\"\nurl = \"embedded\"\ntopics = [\"x\"]\ntopic = \"x/{class}/{device}\"\n\
                  [source.csv]\ntimestamp = \"时间\"\ndevice_id = \"m-9\"\n";
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let rows = "时间,设备,temp_c,备注\n2026-04-11T03:20:00Z,泵-1,90,\"two\nlines\"\n\
                2026-04-11T03:20:01Z,泵-2,91,\nnever,泵-2,1,\n2026-04-11T03:20:00Z,泵-1,20,\n";
    std::fs::write(folder.path().join("day.csv"), rows).expect("written");
    let of_source = |name: &str| {
        let csv = ["--input", "day.csv", "--csv-source", name, "--csv-class", "machine"];
        let (outcome, told) = backtest(folder.path(), &csv);
        let tickets = outcome["tickets"].as_array().expect("a list").iter();
        let devices: Vec<String> =
            tickets.map(|t| t["device"].as_str().unwrap_or_default().to_owned()).collect();
        (devices, told)
    };
    let (devices, told) = of_source("厂");
    assert_eq!(devices, ["泵-1", "泵-2"]);
    let expected = "note: lines skipped, being no message: 1; the first: day.csv:5: \"never\" is not \
                    a time; write 2026-04-11T03:20:15Z\n\
                    note: messages older than the one before, played where they stand: 1\n";
    assert_eq!(told, expected);
    assert_eq!(of_source("one").0, ["m-9"]);
    let output = run(folder.path(), &["backtest", "--input", "day.csv", "--csv-source", "x"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("there is no source `x`; there is 厂, one"), "{told}");
}

#[test]
fn a_replay_publishes_captures_as_they_were_received() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "{\"rx_ms\": 1795474393294, \"topic\": \"spBv1.0/b/NBIRTH/gw\", \"qos\": 0, \
                 \"retain\": false, \"len\": 2, \"b64\": \"/wA=\"}\nno line\n\
                 {\"rx_ms\": 1795474393000, \"topic\": \"spBv1.0/b/NDEATH/gw\", \"b64\": \"5Lit\"}\n";
    std::fs::write(folder.path().join("x.ndjson"), lines).expect("written");
    while std::net::TcpStream::connect(("127.0.0.1", broker.port)).is_err() {
        std::thread::yield_now();
    }
    let port = broker.port.to_string();
    let mut heard = program("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-q",
            "1",
            "-t",
            "#",
            "-F",
            "%t %x",
            "-C",
            "3",
            "-W",
            "30",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub is there");
    let mut lines = BufReader::new(heard.stdout.take().expect("piped")).lines();
    // Retained, so that it is heard whenever the subscriber is there.
    let ready = ["-h", "127.0.0.1", "-p", &port, "-r", "-q", "1", "-t", "ready", "-m", "1"];
    assert!(program("mosquitto_pub").args(ready).status().expect("it runs").success());
    assert_eq!(lines.next().expect("a line").expect("text"), "ready 31");
    let to = format!("mqtt://127.0.0.1:{port}");
    let output = run(folder.path(), &["replay", "--input", "x.ndjson", "--to", &to]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 messages published and confirmed\n");
    assert!(told.contains("x.ndjson:2: ") && told.contains("where they stand: 1"), "{told}");
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(rest, ["spBv1.0/b/NBIRTH/gw ff00", "spBv1.0/b/NDEATH/gw e4b8ad"]);
    heard.wait().expect("ended");
}
