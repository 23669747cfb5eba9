//! A budget holds: what it does not pay for is folded or held, and comes when the money is there.

use std::path::Path;
use std::process::Output;

use serde_json::Value as Json;

const RULE: &str =
    "[[rule]]\nid = \"hot\"\nwhen = \"t > 8\"\nseverity = \"SEVERITY\"\nsafety = SAFETY\n";
const PLAN: &str = "[plan]\nid = \"payg\"\ncurrency = \"CNY\"\n[[line]]\nid = \"ticket\"\nkind = \"per_unit\"\n\
                    meter = \"ticket.created\"\nunit = \"1.20\"\n";

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_faultgate"));
    command.current_dir(folder).args(args).output().unwrap()
}

/// Five freezers of a site get too warm, one a minute, on a budget of so much.
fn play(severity: &str, safety: bool, amount: &str) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("faultgate.toml", "[gateway]\nrules = [\"rule.toml\"]\nplan = \"plan.toml\"\n");
    write("rule.toml", &RULE.replace("SEVERITY", severity).replace("SAFETY", &safety.to_string()));
    write("plan.toml", PLAN);
    write("budgets.toml", &format!("[[budget]]\nid = \"all\"\namount = \"{amount}\"\n"));
    let mut recording = String::new();
    for device in 1..=5 {
        recording.push_str(&format!(
            "{{\"ts\":\"2026-03-02T08:0{device}:00Z\",\"topic\":\"plant/上海/freezer/fz-{device}/telemetry\",\"payload\":\"{{\\\"t\\\":9}}\"}}\n"
        ));
    }
    write("in.jsonl", &recording);
    let output = run(
        folder.path(),
        &["backtest", "--input", "in.jsonl", "--plan", "plan.toml", "--format", "json"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn held(outcome: &Json) -> Vec<String> {
    let alarms = outcome["alarms"].as_array().unwrap();
    alarms.iter().map(|alarm| alarm["held_by"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn a_budget_opens_what_it_pays_for_and_holds_the_rest() {
    let outcome = play("major", false, "2.40");
    // The first week is not forecast: two are paid for, and nothing is left for a third one.
    assert_eq!(held(&outcome), ["-", "-", "budget", "budget", "budget"]);
    assert_eq!(outcome["cost"][0]["total"], "2.40");
}

#[test]
fn minor_faults_share_a_digest_while_the_budget_is_amber() {
    let outcome = play("minor", false, "4.80");
    // Three of four tickets are 75 percent: from there on one digest takes the rest.
    assert_eq!(outcome["tickets"].as_array().unwrap().len(), 4);
    assert_eq!(held(&outcome), ["-", "-", "-", "-", "budget"]);
    assert_eq!(outcome["cost"][0]["total"], "4.80");
}

#[test]
fn a_safety_fault_is_opened_whatever_the_budget_says() {
    let outcome = play("critical", true, "2.40");
    assert_eq!(held(&outcome), ["-", "-", "-", "-", "-"]);
    assert_eq!(outcome["cost"][0]["total"], "6.00");
}

#[test]
fn check_wants_prices_for_a_budget_and_thresholds_that_go_up() {
    let folder = tempfile::tempdir().unwrap();
    let budgets = "[[budget]]\nid = \"all\"\namount = \"3000.00\"\nthresholds = { amber = 95 }\n[[budget]]\nid = \"all\"\namount = 3000.0\n";
    std::fs::write(folder.path().join("budgets.toml"), budgets).unwrap();
    let output = run(folder.path(), &["check", "budgets.toml", "--format", "json"]);
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap().iter();
    let found: Vec<String> =
        found.map(|d| format!("{}:{} {}", d["line"], d["column"], d["code"])).collect();
    assert_eq!(found, ["2:6 \"missing-key\"", "4:14 \"wrong-value\"", "7:10 \"wrong-type\""]);
}
