//! What rule files promise, shown on recorded messages through the binary.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::gateway::binary;

/// A recorded message: second of the hour, topic below `plant/`, payload.
type Line = (u32, &'static str, Json);

/// Replays the messages of 2026-04-11, 03:00 to 04:00 UTC, with these rules and this register.
fn backtest(rules: &str, devices: &str, lines: &[Line]) -> Json {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    write("rules/规则.toml", rules);
    if !devices.is_empty() {
        write("devices.toml", devices);
    }
    write("faultgate.toml", "[gateway]\nlanguage = \"zh-CN\"\n");
    let mut recording = String::new();
    for (second, topic, payload) in lines {
        let (minute, second) = (second / 60, second % 60);
        let line = json!({
            "ts": format!("2026-04-11T03:{minute:02}:{second:02}Z"),
            "topic": format!("plant/{topic}"),
            "payload": payload.to_string(),
        });
        recording.push_str(&format!("{line}\n"));
    }
    write("day.ndjson", &recording);
    let output = Command::new(binary())
        .args(["backtest", "--input", "day.ndjson", "--format", "json"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Some fields of every alarm, in the order of the raises.
fn alarms(told: &Json, fields: &[&str]) -> Json {
    let alarms = told["alarms"].as_array().expect("alarms").iter();
    alarms.map(|alarm| fields.iter().map(|field| alarm[*field].clone()).collect::<Json>()).collect()
}

const CODES: &str = r#"
[[codes]]
table = "变频器-acs"
source = "手册 p. 259"
entries = [
  { code = 1, class = "elec.overcurrent", severity = "critical", reset = "manual", title = { zh = "过电流", en = "Overcurrent" } },
  { code = 2, class = "elec.overvoltage", severity = "minor", title = "Overvoltage" },
]
[[rule]]
id = "drive-fault"
when = "code != 0"
key = ["code"]
code_table = "变频器-acs"
severity = "major"
title = "Drive fault {{ code }}"
"#;

#[test]
fn a_fault_code_brings_its_severity_and_an_unknown_one_that_of_the_rule() {
    let drive = "sh-1/drive/d-1/telemetry";
    let code = |code: i64| json!({ "code": code });
    let lines = [
        (0, drive, code(0)),
        (10, drive, code(1)),
        (20, drive, code(2)),
        (30, drive, code(77)),
        (40, drive, code(0)),
    ];
    let told = backtest(CODES, "", &lines);
    assert_eq!(
        alarms(&told, &["key", "severity", "raised_at", "returned_at", "ticket"]),
        json!([
            [["1"], "critical", "2026-04-11T03:00:10Z", "2026-04-11T03:00:20Z", "tk-1"],
            [["2"], "minor", "2026-04-11T03:00:20Z", "2026-04-11T03:00:30Z", "tk-2"],
            [["77"], "major", "2026-04-11T03:00:30Z", "2026-04-11T03:00:40Z", "tk-3"],
        ])
    );
}
