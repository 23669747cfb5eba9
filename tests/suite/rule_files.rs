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

#[test]
fn the_alarm_of_another_key_returns_while_the_condition_is_unknown_and_that_of_this_one_stays() {
    let rules = "[[rule]]\nid = \"a\"\nwhen = \"code != 0 && temp_c > 1\"\nkey = [\"code\"]\n\
                 stale_after = \"1m\"\n";
    let drive = "sh-1/drive/d-1/telemetry";
    let lines = [
        (0, drive, json!({ "code": 1, "temp_c": 5 })),
        (100, drive, json!({ "code": 2 })),
        (110, drive, json!({ "temp_c": 5 })),
        (200, drive, json!({ "code": 2 })),
        (300, drive, json!({ "temp_c": 0 })),
    ];
    let told = backtest(rules, "", &lines);
    assert_eq!(
        alarms(&told, &["key", "raised_at", "returned_at"]),
        json!([
            [["1"], "2026-04-11T03:00:00Z", "2026-04-11T03:01:40Z"],
            [["2"], "2026-04-11T03:01:50Z", "2026-04-11T03:05:00Z"],
        ])
    );
}

#[test]
fn the_age_of_a_stale_metric_is_known_and_the_metric_is_not() {
    let rules = "[defaults]\nstale_after = \"5m\"\n\
                 [[rule]]\nid = \"old\"\nwhen = \"temp_c.age() > 600\"\n\
                 [[rule]]\nid = \"never\"\nwhen = \"temp_c.age() > 600 && temp_c > 1\"\n";
    let drive = "sh-1/drive/d-1/telemetry";
    let lines = [
        (0, drive, json!({ "temp_c": 5 })),
        (1_200, drive, json!({ "temp_c": 5 })),
        (1_210, drive, json!({ "temp_c": 5 })),
    ];
    let told = backtest(rules, "", &lines);
    assert_eq!(
        alarms(&told, &["rule", "raised_at", "returned_at"]),
        json!([["old", "2026-04-11T03:10:01Z", "2026-04-11T03:20:00Z"]])
    );
}

const POWER: &str = r#"
[[rule]]
id = "site-power-lost"
match = { class = "ups" }
when = "on_battery"
severity = "critical"
[[rule]]
id = "freezer-too-warm"
match = { class = "freezer" }
when = "temp_c > -12"
severity = "major"
[[rule]]
id = "gas-leak"
match = { class = "freezer" }
when = "gas_ppm > 100"
severity = "major"
safety = true
[[inhibit]]
source = { rule = "site-power-lost" }
target = { class = "*", severity = ["major", "minor", "warning"] }
equal = ["site"]
"#;

#[test]
fn an_inhibited_alarm_opens_its_ticket_only_if_it_outlives_its_source() {
    let warm = json!({ "temp_c": -5 });
    let cold = json!({ "temp_c": -20 });
    let lines = [
        (0, "sh-1/ups/u-1/telemetry", json!({ "on_battery": true })),
        (10, "sh-1/freezer/冷柜-1/telemetry", warm.clone()),
        (11, "sh-1/freezer/冷柜-2/telemetry", warm.clone()),
        (12, "sh-2/freezer/fz-3/telemetry", warm.clone()),
        (13, "sh-1/freezer/冷柜-2/telemetry", json!({ "gas_ppm": 900 })),
        (60, "sh-1/freezer/冷柜-1/telemetry", cold),
        (100, "sh-1/ups/u-1/telemetry", json!({ "on_battery": false })),
        (200, "sh-1/ups/u-1/telemetry", json!({ "on_battery": false })),
    ];
    let told = backtest(POWER, "", &lines);
    assert_eq!(
        alarms(&told, &["rule", "device", "held_by", "ticket"]),
        json!([
            ["site-power-lost", "u-1", null, "tk-1"],
            ["freezer-too-warm", "冷柜-1", "inhibit", null],
            ["freezer-too-warm", "冷柜-2", null, "tk-4"],
            ["freezer-too-warm", "fz-3", null, "tk-2"],
            ["gas-leak", "冷柜-2", null, "tk-3"],
        ]),
        "another site has its own power, and gas is never held back"
    );
    let late = &told["tickets"][3];
    assert_eq!(late["opened_at"], "2026-04-11T03:01:55Z", "15 s after the source has returned");
}

#[test]
fn a_maintenance_window_holds_tickets_until_it_ends() {
    // 11:00 to 11:05 in Shanghai is 03:00 to 03:05 UTC; 2026-04-11 is a Saturday.
    let rules = r#"
[[rule]]
id = "hot"
when = "temp_c > 80"
[[maintenance]]
match = { site = "sh-*" }
schedule = { cron = "0 11 * * SAT", duration = "5m", timezone = "Asia/Shanghai" }
reason = { zh = "每周保养", en = "weekly service" }
"#;
    let hot = json!({ "temp_c": 95 });
    let lines = [
        (10, "sh-1/machine/m-1/telemetry", hot.clone()),
        (20, "sh-1/machine/m-2/telemetry", hot.clone()),
        (30, "bj-1/machine/m-3/telemetry", hot.clone()),
        (40, "sh-1/machine/m-1/telemetry", json!({ "temp_c": 20 })),
        (299, "sh-1/machine/m-4/telemetry", hot.clone()),
        (301, "sh-1/machine/m-5/telemetry", hot.clone()),
        (400, "sh-1/machine/m-5/telemetry", hot),
    ];
    let told = backtest(rules, "", &lines);
    assert_eq!(
        alarms(&told, &["device", "held_by", "ticket"]),
        json!([
            ["m-1", "maintenance", null],
            ["m-2", null, "tk-2"],
            ["m-3", null, "tk-1"],
            ["m-4", null, "tk-3"],
            ["m-5", null, "tk-4"],
        ])
    );
    assert_eq!(told["tickets"][1]["opened_at"], "2026-04-11T03:05:00Z");
}

#[test]
fn a_rule_counts_the_devices_of_a_site_that_have_another_one_raised() {
    let rules = r#"
[[rule]]
id = "hot"
match = { class = "machine" }
when = "temp_c > 80"
mode = "shadow"
[[rule]]
id = "site-hot"
match = { class = "hall" }
when = 'count_raised("hot", "site") >= 3'
severity = "critical"
"#;
    let hot = |device| (device, json!({ "temp_c": 95 }));
    let mut lines = vec![(0, "sh-1/hall/h-1/telemetry", json!({ "door": 0 }))];
    let devices = [
        hot("sh-1/machine/m-1/telemetry"),
        hot("sh-1/machine/m-2/telemetry"),
        hot("sh-1/machine/m-2/telemetry"),
        hot("sh-2/machine/m-3/telemetry"),
        hot("sh-1/machine/m-4/telemetry"),
        ("sh-1/machine/m-1/telemetry", json!({ "temp_c": 20 })),
    ];
    lines.extend((10..).step_by(10).zip(devices).map(|(at, (topic, said))| (at, topic, said)));
    let told = backtest(rules, "", &lines);
    let site: Vec<&Json> = told["alarms"]
        .as_array()
        .expect("alarms")
        .iter()
        .filter(|alarm| alarm["rule"] == "site-hot")
        .collect();
    assert_eq!(site.len(), 1, "{told:#}");
    assert_eq!(site[0]["raised_at"], "2026-04-11T03:00:50Z", "the third of the site");
    assert_eq!(site[0]["returned_at"], "2026-04-11T03:01:00Z", "two are left");
}

#[test]
fn the_register_says_where_a_device_stands_and_gives_it_thresholds_of_its_own() {
    let rules = r#"
[[rule]]
id = "too-warm"
match = { class = "freezer", site = "sh-*" }
when = "temp_c > params.high"
params = { high = -12.0 }
[[rule]]
id = "far-too-warm"
match = { class = "freezer" }
when = "temp_c > params.high"
params = { high = 0 }
"#;
    let devices = r#"
unknown_devices = "reject"
[[device]]
id = "fz-1"
site = "sh-1"
model = "海尔 BC-93"
[[device]]
id = "fz-2"
site = "sh-1"
params = { high = -2, far-too-warm = { high = 10.0 } }
[[device]]
id = "ice-1"
class = "freezer"
site = "sh-1"
[[class]]
id = "freezer"
params = { too-warm = { high = -15.0 } }
"#;
    let said = json!({ "temp_c": -14 });
    let thaw = json!({ "temp_c": 5 });
    let lines = [
        (0, "xx/freezer/fz-1/telemetry", said.clone()),
        (10, "xx/freezer/fz-2/telemetry", said.clone()),
        (20, "xx/cabinet/ice-1/telemetry", said.clone()),
        (30, "sh-1/freezer/stranger/telemetry", thaw.clone()),
        (40, "xx/freezer/fz-2/telemetry", thaw),
    ];
    let told = backtest(rules, devices, &lines);
    assert_eq!(
        alarms(&told, &["rule", "device", "raised_at"]),
        json!([
            ["too-warm", "fz-1", "2026-04-11T03:00:00Z"],
            ["too-warm", "ice-1", "2026-04-11T03:00:20Z"],
            ["too-warm", "fz-2", "2026-04-11T03:00:40Z"],
        ]),
        "the class has -15, fz-2 has -2 and, for one rule, 10"
    );
    assert_eq!(told["input"]["undecodable"], 1, "the stranger is refused");
}
