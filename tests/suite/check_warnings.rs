//! What `check` warns of: accepted, and surely not meant.

use std::process::Command;

use serde_json::Value as Json;

use crate::gateway::binary;

/// Line, column, code and a part of the message.
fn warnings(config: &str, rules: &str) -> Vec<(u64, u64, String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    std::fs::write(folder.path().join("rules/规则.toml"), rules).expect("written");
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let output = Command::new(binary())
        .args(["check", "--format", "json"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let found: Vec<Json> = serde_json::from_slice(&output.stdout).expect("JSON");
    let place = |found: &Json, key: &str| found[key].as_u64().expect("a number");
    let text = |found: &Json, key: &str| found[key].as_str().expect("a text").to_owned();
    found
        .iter()
        .inspect(|found| assert_eq!(found["severity"], "warning"))
        .map(|f| (place(f, "line"), place(f, "column"), text(f, "code"), text(f, "message")))
        .collect()
}

fn rule(lines: &str) -> String {
    format!("[[rule]]\nid = \"a\"\n{lines}\n")
}

#[test]
fn a_rule_that_can_never_fire_or_always_does_is_told() {
    for (when, code) in [
        ("t > 80 && t < 10", "never-fires"),
        ("t.avg(5m) >= 3 && x && t.avg(5m) < 3", "never-fires"),
        ("t > 80 && params.on", "never-fires"),
        ("t == 1 && 2 == t", "never-fires"),
        ("t > 1 || 1 < 2", "always-fires"),
    ] {
        let found = warnings("", &rule(&format!("when = \"{when}\"\nparams = {{ on = false }}")));
        let at = found.iter().find(|(_, _, found, _)| found == code);
        assert_eq!(at.map(|found| (found.0, found.1)), Some((3, 8)), "{when}: {found:?}");
    }
    for when in ["t > 10 && t < 80", "t > 80 && u < 10", "t >= 3 && t <= 3", "t > 5 || t < 3"] {
        assert_eq!(warnings("", &rule(&format!("when = \"{when}\""))), [], "{when}");
    }
}

#[test]
fn a_dead_band_of_the_wrong_sign_is_told_with_its_numbers() {
    let wrong = rule(
        "when = \"t > params.high\"\nclear_when = \"t < params.high + 2\"\nparams = { high = 80 }",
    );
    let found = warnings("", &wrong);
    assert_eq!((found[0].0, found[0].1, found[0].2.as_str()), (4, 14, "dead-band"));
    assert!(found[0].3.contains("> 80 and < 82"), "{found:?}");
    for (when, clear) in
        [("t > 80", "t < 80"), ("t < 5", "t >= 5"), ("80 < t", "t <= 78"), ("t > 80", "u < 90")]
    {
        let right = rule(&format!("when = \"{when}\"\nclear_when = \"{clear}\""));
        assert_eq!(warnings("", &right), [], "{when} / {clear}");
    }
}

#[test]
fn a_parameter_that_nothing_reads_and_a_metric_that_no_source_yields_are_told() {
    let rules = rule(
        "when = \"temp_c > params.high\"\nparams = { high = 80, hihg = 70, unit = \"°C\" }\ntitle = \"{{ params.unit }}\"",
    );
    let found = warnings("", &rules);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1, found[0].2.as_str()), (4, 30, "unused-param"));
    let source = "[[source]]\nname = \"s\"\nurl = \"embedded\"\ntopics = [\"a/+\"]\ntopic = \"a/{device}\"\n\
                  decoder = \"json\"\n[source.json]\nrest = false\nmetrics = { temp_c = \"/t\" }\n";
    let unheard = warnings(source, &rule("when = \"tmp_c > 80 && temp_c > 1\""));
    assert_eq!(unheard.len(), 1, "{unheard:?}");
    assert_eq!(unheard[0].2, "unheard-metric");
    let open = source.replace("rest = false", "rest = true");
    assert_eq!(warnings(&open, &rule("when = \"tmp_c > 80\"")), []);
}
