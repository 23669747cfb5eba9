//! Commands as a user runs them: what they print, and their exit codes.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::gateway::{HOT, binary};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("it runs")
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Line, column, code and a part of the hint.
type Finding = (u64, u64, &'static str, &'static str);

/// Files, and what is wrong with each.
const BROKEN: [(&str, &[Finding]); 12] = [
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\non_dealy = \"5s\"\n",
        &[(4, 1, "unknown-key", "did you mean `on_delay`?")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\non_delay = \"30 sec\"\n",
        &[(4, 12, "wrong-value", "write a number and a unit")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"冷柜温度 > 1 && t.avrg(5m) > 2\"\n",
        &[(3, 21, "unknown-function", "did you mean `avg`?")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > params.hgih\"\nparams = { high = 1 }\n",
        &[(3, 13, "unknown-param", "did you mean `high`?")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nseverity = \"critcal\"\n",
        &[(4, 12, "wrong-value", "did you mean `critical`?")],
    ),
    (
        "[[rule]]\nid = \"Pump Hot\"\nwhen = \"t > 1\"\n",
        &[(2, 6, "wrong-value", "use a-z, 0-9 and -")],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = = 1\n", &[(3, 8, "syntax", "one `key = value` a line")]),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\n[rule.ticket]\nladder = \"feild\"\n[[ladder]]\nid = \"field\"\n[[ladder.step]]\nafter = \"1m\"\n",
        &[(5, 10, "unknown-reference", "did you mean `field`?")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\ntitle = \"{{ t | runde }}\"\n",
        &[(4, 9, "template", "for example")],
    ),
    (
        "[[inhibit]]\nsource = { rule = \"b\" }\n[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\ncode_table = \"acs550\"\nflapping = { low = 40 }\n",
        &[
            (1, 1, "missing-key", "`target` which are suppressed"),
            (6, 14, "unknown-reference", ""),
            (6, 14, "missing-key", "`key = [\"code\"]`"),
            (7, 12, "out-of-range", "`low` must be above 0 and below `high`"),
        ],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nlatch = \"yes\"\n[[rule]]\nid = \"a\"\nwhen = \"t + 1\"\n",
        &[
            (4, 9, "wrong-type", "write it without quotes"),
            (6, 6, "duplicate-id", "ids are unique"),
        ],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t = 3\"\nclear_when = \"t >\"\n",
        &[(3, 11, "syntax", "write `==` to compare"), (4, 18, "syntax", "")],
    ),
];

#[test]
fn every_error_of_a_broken_file_stands_at_its_line_and_column_with_a_hint() {
    for (text, expected) in BROKEN {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("规则.toml"), text).expect("written");
        let output = run(folder.path(), &["check", "规则.toml", "--format", "json"]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let found = json(&output);
        let found = found.as_array().expect("a list");
        for (line, column, code, hint) in expected {
            let there = found.iter().any(|d| {
                d["file"] == "规则.toml"
                    && d["line"] == *line
                    && d["column"] == *column
                    && d["code"] == *code
                    && d["hint"].as_str().is_some_and(|told| told.contains(hint))
            });
            assert!(there, "{line}:{column} {code} {hint} in\n{text}\n{found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        let shown = run(folder.path(), &["check", "规则.toml"]);
        let shown = String::from_utf8_lossy(&shown.stderr).into_owned();
        assert!(shown.contains("规则.toml:") && shown.contains('^'), "{shown}");
    }
}

#[test]
fn what_a_configuration_asks_for_and_is_not_built_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[broker]\nlisten = \"0.0.0.0:1883\"\n[broker.tls]\n[[broker.user]]\nname = \"a\"\n\
                  [[source]]\nname = \"s\"\nurl = \"embedded\"\ntopics = [\"a\"]\ntopic = \"{device}\"\ndecoder = \"modbus\"\n\
                  [[upstream]]\nname = \"u\"\nkind = \"otrs\"\n[telemetry]\n";
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    std::fs::write(folder.path().join("r.toml"), HOT).expect("written");
    let output = run(folder.path(), &["check", "r.toml", "--format", "json"]);
    let found = json(&output);
    let all: Vec<&str> =
        found.as_array().expect("a list").iter().filter_map(|d| d["message"].as_str()).collect();
    for word in
        ["`tls`", "`user`", "can be reached from outside", "`modbus`", "`otrs`", "`telemetry`"]
    {
        assert!(all.iter().any(|message| message.contains(word)), "{word} in {all:#?}");
    }
}

#[test]
fn a_source_of_every_decoder_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let with_topic = ["json", "value", "value-or-json", "raw", "senml", "opcua-json", "csv"];
    let by_itself = [
        "sparkplug-b",
        "thin-edge",
        "tasmota",
        "zigbee2mqtt",
        "shelly",
        "alink",
        "homie",
        "vda5050",
    ];
    let mut config = String::new();
    for (decoder, topic) in with_topic
        .map(|decoder| (decoder, "topic = \"a/{device}\""))
        .into_iter()
        .chain(by_itself.map(|decoder| (decoder, "")))
    {
        config.push_str(&format!(
            "[[source]]\nname = \"{decoder}\"\nurl = \"embedded\"\ndecoder = \"{decoder}\"\n{topic}\n"
        ));
    }
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let output = run(folder.path(), &["check", "--format", "json"]);
    assert_eq!(json(&output), serde_json::json!([]));
}

#[test]
fn an_upstream_of_every_kind_is_accepted_with_little_more_than_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = String::new();
    for kind in ["request-tracker", "redmine", "zammad", "jira", "servicenow", "pagerduty"] {
        config.push_str(&format!(
            "[[upstream]]\nname = \"{kind}\"\nkind = \"{kind}\"\nurl = \"https://x.example/\"\n\
             token = {{ env = \"TOKEN\" }}\npoll = \"10s\"\n"
        ));
    }
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let output = run(folder.path(), &["check", "--format", "json"]);
    assert_eq!((output.status.code(), json(&output)), (Some(0), serde_json::json!([])));
}

#[test]
fn rule_tests_pass_and_a_test_that_fails_says_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "{HOT}[[test]]\nname = \"right\"\ndevice = {{ class = \"machine\" }}\n\
         samples = [{{ at = \"0s\", temp_c = 20 }}, {{ at = \"5s\", temp_c = 90 }}]\n\
         expect = [{{ at = \"5s\", rule = \"hot\", event = \"raised\" }}]\n\
         [[test]]\nname = \"错误\"\ndevice = {{ class = \"machine\" }}\n\
         samples = [{{ at = \"0s\", temp_c = 90 }}]\nexpect = []\n"
    );
    std::fs::write(folder.path().join("r.toml"), text).expect("written");
    let output = run(folder.path(), &["test", "r.toml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = json(&output);
    assert_eq!((&told["passed"], &told["failed"]), (&Json::from(1), &Json::from(1)));
    assert_eq!(told["tests"][1]["name"], "错误");
    assert_eq!(told["tests"][1]["got"], serde_json::json!(["0s raised hot"]));
}

#[test]
fn a_backtest_tells_alarms_tickets_usage_and_cost_and_twice_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    std::fs::write(folder.path().join("rules/r.toml"), HOT).expect("written");
    let mut lines = String::new();
    for (second, temp) in [(0, 20), (10, 90), (20, 60), (30, 95), (40, 20)] {
        lines.push_str(&format!(
            "{{\"ts\":\"2026-04-11T03:20:{second:02}Z\",\"topic\":\"plant/sh-1/machine/m-1/telemetry\",\"payload\":\"{{\\\"temp_c\\\":{temp}}}\",\"retain\":false,\"qos\":1}}\n"
        ));
    }
    lines.push_str("{\"ts\":\"2026-04-11T03:21:00Z\",\"topic\":\"plant/sh-1/machine/m-1/telemetry\",\"payload_b64\":\"//8=\"}\n");
    std::fs::write(folder.path().join("day.ndjson"), lines).expect("written");
    let plan = root().join("tests/billing/plan-payg-ticket.toml");
    let arguments = [
        "backtest",
        "--input",
        "day.ndjson",
        "--rules",
        "rules",
        "--plan",
        plan.to_str().expect("a path"),
        "--format",
        "json",
    ];
    let output = run(folder.path(), &arguments);
    let told = json(&output);
    assert_eq!(told["input"]["messages"], 6);
    assert_eq!(told["input"]["undecodable"], 1);
    assert_eq!(told["alarms"].as_array().map(Vec::len), Some(2));
    assert_eq!(told["alarms"][0]["raised_at"], "2026-04-11T03:20:10Z");
    assert_eq!(told["alarms"][1]["returned_at"], "2026-04-11T03:20:40Z");
    assert_eq!(told["tickets"].as_array().map(Vec::len), Some(1), "the second reopened the first");
    assert_eq!(told["usage"]["ticket.created"], "1");
    assert_eq!(told["usage"]["api.call"], "4");
    assert_eq!(told["cost"][0]["total"], "1.20");
    assert_eq!(told["rules"][0]["raised"], 2);
    assert_eq!(run(folder.path(), &arguments).stdout, output.stdout);
    std::fs::write(folder.path().join("old.toml"), HOT.replace("> 80", "> 92")).expect("written");
    let compared =
        json(&run(folder.path(), &[&arguments[..], &["--against", "old.toml"]].concat()));
    assert_eq!(compared["alarms"], told["alarms"]);
    assert_eq!(compared["against"]["alarms"].as_array().map(Vec::len), Some(1));
    let difference = &compared["difference"];
    assert_eq!(difference["rules"][0]["raised"], serde_json::json!([1, 2]));
    assert_eq!(difference["rules"][0]["tickets"], serde_json::json!([1, 1]));
    assert_eq!(difference["cost"][0]["delta"], "0.00");
    let only_new = &difference["alarms"]["only_new"];
    assert_eq!(only_new[0]["raised_at"], "2026-04-11T03:20:10Z", "{difference:#}");
}

#[test]
fn a_backtest_against_another_set_tells_old_and_new_by_rule_by_plan_and_by_alarm() {
    let folder = tempfile::tempdir().expect("a folder");
    let gone = "[[rule]]\nid = \"gone\"\nwhen = \"temp_c < 25\"\n";
    std::fs::write(folder.path().join("old.toml"), format!("{HOT}{gone}")).expect("written");
    let later = HOT.replace("severity", "on_delay = \"5s\"\nseverity").replace("< 70", "< 50");
    std::fs::write(folder.path().join("new.toml"), later).expect("written");
    let mut lines = String::new();
    for (second, temp) in [(0, 20), (10, 90), (14, 60), (20, 95), (24, 99), (40, 20), (50, 91)] {
        lines.push_str(&format!(
            "{{\"ts\":\"2026-04-11T03:20:{second:02}Z\",\"topic\":\"plant/sh-1/machine/m-1/telemetry\",\"payload\":\"{{\\\"temp_c\\\":{temp}}}\"}}\n"
        ));
    }
    std::fs::write(folder.path().join("day.ndjson"), lines).expect("written");
    let plan = root().join("tests/billing/plan-payg-ticket.toml");
    let arguments = ["backtest", "--input", "day.ndjson", "--rules", "new.toml", "--against"];
    let plan = ["old.toml", "--plan", plan.to_str().expect("a path")];
    let arguments = [arguments.as_slice(), &plan].concat();
    let as_json = [arguments.as_slice(), &["--format", "json"]].concat();
    let output = run(folder.path(), &as_json);
    let told = json(&output);
    assert_eq!(
        told["rules"].as_array().map(Vec::len),
        Some(1),
        "the report is that of the new set"
    );
    assert_eq!(told["against"]["rules"].as_array().map(Vec::len), Some(2));
    let difference = &told["difference"];
    assert_eq!(
        difference["rules"],
        serde_json::json!([
            {"rule": "hot", "raised": [3, 1], "tickets": [1, 1]},
            {"rule": "gone", "raised": [2, 0], "tickets": [1, 0]},
        ])
    );
    let cost = &difference["cost"][0];
    assert_eq!(
        (&cost["old"], &cost["new"]),
        (&told["against"]["cost"][0]["total"], &told["cost"][0]["total"])
    );
    assert_eq!(cost["delta"], "-1.20");
    let at = |alarms: &Json| -> Vec<String> {
        let alarms = alarms.as_array().expect("alarms").iter();
        alarms.map(|a| format!("{} {}", a["rule"], a["raised_at"]).replace('"', "")).collect()
    };
    // The one of 03:20:20 is raised five seconds later and is the same; that of 03:20:50 had not
    // lasted long enough at the end of the recording.
    assert_eq!(
        at(&difference["alarms"]["only_old"]),
        [
            "gone 2026-04-11T03:20:00Z",
            "hot 2026-04-11T03:20:10Z",
            "gone 2026-04-11T03:20:40Z",
            "hot 2026-04-11T03:20:50Z",
        ]
    );
    assert_eq!(difference["alarms"]["only_new"], serde_json::json!([]));
    assert_eq!(run(folder.path(), &as_json).stdout, output.stdout);
    let shown = String::from_utf8_lossy(&run(folder.path(), &arguments).stdout).into_owned();
    assert!(shown.lines().any(|line| line == "hot   3 -> 1  1 -> 1"), "{shown}");
    assert!(shown.contains("(-1.20)") && shown.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_schema_is_printed_for_each_kind_of_file_in_either_language() {
    for (file, key, zh) in [
        ("rules", "rule", "故障规则"),
        ("config", "source", "消息来源与解析方式"),
        ("plan", "line", "收费项"),
    ] {
        let told = json(&run(root(), &["schema", file]));
        assert_eq!(told["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(told["properties"][key]["x-description-zh"], zh, "{file}");
        let told = json(&run(root(), &["schema", file, "--language", "zh-CN"]));
        assert_eq!(told["properties"][key]["description"], zh, "{file}");
    }
}

#[test]
fn bill_rate_matches_every_vector() {
    let folder = tempfile::tempdir().expect("a folder");
    let vectors =
        std::fs::read_to_string(root().join("tests/billing/vectors.json")).expect("there");
    let vectors: Vec<Json> = serde_json::from_str(&vectors).expect("JSON");
    for vector in &vectors {
        let usage = folder.path().join("usage.json");
        std::fs::write(&usage, vector["usage"].to_string()).expect("written");
        let name = vector["plan"].as_str().expect("a name");
        let plan = root().join(format!("tests/billing/plan-{name}.toml"));
        let (plan, usage) = (plan.to_str().expect("a path"), usage.to_str().expect("a path"));
        let arguments = ["bill", "rate", "--plan", plan, "--usage", usage, "--format", "json"];
        let told = json(&run(folder.path(), &arguments));
        assert_eq!(told["total"], vector["total"], "{name}");
        let lines = told["lines"].as_array().expect("lines").iter();
        let lines: Json = lines.map(|l| serde_json::json!([l["id"], l["amount"]])).collect();
        assert_eq!(lines, vector["lines"], "{name}");
    }
}
