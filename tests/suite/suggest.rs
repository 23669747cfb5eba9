//! Proposed dead-bands and delays, held against a backtest of what they propose.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::gateway::{Home, binary};

const RULES: &str = r#"# 冷库
[[rule]]
id = "too-warm"
when = "temp_c > params.high" # 限值
params = { high = 8.0 }

[[rule]]
id = "door"
when = "door == 1"
"#;

fn json(folder: &Path, arguments: &[&str]) -> Json {
    let output = Command::new(binary()).args(arguments).current_dir(folder).output();
    let output = output.expect("it runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A sample every ten seconds for two hours. The temperature wavers at the limit for the first
/// half, and is far over it for ten minutes of the second; the door opens every five minutes for
/// twenty seconds.
fn record(folder: &Path) {
    let waver = [0.1, -0.2, 0.15, -0.05, 0.2, -0.15, 0.05, -0.1];
    let mut lines = String::new();
    for n in 0..720_usize {
        let course = match n {
            0..360 => 8.0,
            500..560 => 12.0,
            _ => 4.0,
        };
        let temp = course + waver[n % 8] * if n % 3 == 0 { 1.0 } else { 0.5 };
        let door = u8::from(n % 30 < 2);
        let (minute, second) = (n / 6, n % 6 * 10);
        writeln!(
            lines,
            "{{\"ts\":\"2026-04-11T{:02}:{:02}:{second:02}Z\",\"topic\":\"plant/s/cold/库-1/telemetry\",\
             \"payload\":\"{{\\\"temp_c\\\":{temp},\\\"door\\\":{door}}}\"}}",
            minute / 60,
            minute % 60
        )
        .expect("written");
    }
    std::fs::write(folder.join("day.jsonl"), lines).expect("written");
    std::fs::write(folder.join("r.toml"), RULES).expect("written");
}

fn suggest(folder: &Path, lasting: &str) -> Json {
    let arguments = ["rules", "suggest", "--input", "day.jsonl", "--rules", "r.toml"];
    json(folder, &[arguments.as_slice(), &["--lasting", lasting, "--format", "json"]].concat())
}

fn raised(folder: &Path, rules: &str, rule: &str) -> Json {
    std::fs::write(folder.join("new.toml"), rules).expect("written");
    let arguments = ["backtest", "--input", "day.jsonl", "--rules", "new.toml"];
    let told = json(folder, &[arguments.as_slice(), &["--format", "json"]].concat());
    let rules = told["rules"].as_array().expect("rules").iter();
    rules.filter(|line| line["rule"] == rule).map(|line| line["raised"].clone()).collect()
}

#[test]
fn a_metric_that_wavers_at_its_limit_gets_a_dead_band_and_its_long_fault_is_still_raised() {
    let folder = tempfile::tempdir().expect("a folder");
    record(folder.path());
    let told = suggest(folder.path(), "5m");
    let found = &told["suggestions"][0];
    assert_eq!((&found["rule"], &found["key"]), (&"too-warm".into(), &"clear_when".into()));
    let clear = found["new"].as_str().expect("a condition");
    assert!(clear.starts_with("temp_c < params.high - 0."), "{clear}");
    let diff = found["diff"].as_str().expect("a diff");
    let added = format!(" when = \"temp_c > params.high\" # 限值\n+clear_when = \"{clear}\"\n");
    assert!(diff.contains(&added), "{diff}");
    // The whole wavering is one fault that lasted; the other one is over the limit for good.
    assert_eq!(
        found["lasting"],
        serde_json::json!({"faults": 2, "kept": 2, "lost": 0, "latest": "0s"})
    );
    let (before, after) = (&found["raised"][0], &found["raised"][1]);
    assert!(before.as_u64() > Some(100) && after.as_u64() < Some(5), "{before} {after}");
    let amended = RULES.replace("# 限值\n", &format!("# 限值\nclear_when = \"{clear}\"\n"));
    assert_eq!(raised(folder.path(), &amended, "too-warm"), serde_json::json!([after]));
    assert_eq!(std::fs::read_to_string(folder.path().join("r.toml")).expect("there"), RULES);
}

#[test]
fn short_episodes_get_a_delay_unless_they_are_said_to_be_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    record(folder.path());
    let told = suggest(folder.path(), "2m");
    let door = told["suggestions"].as_array().expect("a list").iter().find(|s| s["rule"] == "door");
    let door = door.expect("a proposal for the door");
    assert_eq!((&door["key"], &door["new"]), (&"on_delay".into(), &"30s".into()), "{door:#}");
    assert_eq!(door["raised"], serde_json::json!([24, 0]));
    let told = suggest(folder.path(), "20s");
    let left = told["left"].as_array().expect("a list");
    assert!(left.iter().any(|left| left["rule"] == "door"), "{told:#}");
}

#[tokio::test]
async fn the_most_frequent_alarms_of_a_report_come_with_a_change_of_their_rule_as_a_diff() {
    let home = Home::new(RULES, "");
    let gateway = home.start();
    gateway.ready().await;
    let say =
        |payload: &str| ("plant/s/cold/库-1/telemetry".to_owned(), payload.as_bytes().to_vec());
    gateway.publish(&[say("{\"door\": 1}"), say("{\"door\": 0}")]).await;
    gateway.ticket_until(|ticket| ticket["status"] == "resolved").await;
    let config = format!("[http]\nlisten = \"{}\"\n", gateway.http);
    std::fs::write(home.path().join("here.toml"), config).expect("written");
    record(home.path());
    let asked = ["-c", "here.toml", "report", "alarms"];
    let recorded = ["--input", "day.jsonl", "--lasting", "2m"];
    let as_json = ["--format", "json"];
    let told = json(home.path(), &[&asked[..], &recorded, &as_json].concat());
    let top = &told["all"]["top_10"][0];
    assert_eq!(top["alarm"]["rule"], "door", "{told:#}");
    assert_eq!(top["proposal"]["raised"], serde_json::json!([24, 0]));
    let added = " when = \"door == 1\"\n+on_delay = \"30s\"\n";
    assert!(top["proposal"]["diff"].as_str().is_some_and(|diff| diff.contains(added)), "{top:#}");
    // Without a recording it is not known what would help.
    let told = json(home.path(), &[&asked[..], &as_json].concat());
    assert_eq!(told["all"]["top_10"][0]["proposal"], Json::Null);
    let mut command = Command::new(binary());
    command.current_dir(home.path()).args(asked).args(recorded).args(["--language", "zh"]);
    let text = String::from_utf8(command.output().expect("it runs").stdout).expect("text");
    assert!(text.contains("door：24 → 0 次告警") && text.contains(added), "{text}");
}
