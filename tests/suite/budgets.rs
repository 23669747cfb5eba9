//! A budget holds: what it does not pay for is folded or held, and comes when the money is there.

use std::path::Path;
use std::process::Output;

use faultgate::config;
use faultgate::engine::policy;
use faultgate::engine::rehearsal::Rehearsal;
use faultgate::engine::types::alarm::Signature;
use faultgate::engine::types::decision::{Decision, TicketEvent};
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::input::{Input, OperatorAction};
use faultgate::engine::types::ledger::Meter;
use faultgate::engine::types::message::{Reading, Value};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use rust_decimal::Decimal;
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
    play_scoped(severity, safety, amount, "")
}

fn play_scoped(severity: &str, safety: bool, amount: &str, scope: &str) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "faultgate.toml",
        "[gateway]\nid = \"sh-01\"\nrules = [\"rule.toml\"]\nplan = \"plan.toml\"\n",
    );
    write("rule.toml", &RULE.replace("SEVERITY", severity).replace("SAFETY", &safety.to_string()));
    write("plan.toml", PLAN);
    let budget =
        format!("[[budget]]\nid = \"all\"\namount = \"{amount}\"\nscope = {{ {scope} }}\n");
    write("budgets.toml", &budget);
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
fn a_budget_of_a_fleet_bounds_the_gateways_that_it_names_and_no_other() {
    let outcome = play_scoped("major", false, "2.40", "gateway = \"sh-*\"");
    assert_eq!(held(&outcome), ["-", "-", "budget", "budget", "budget"]);
    let outcome = play_scoped("major", false, "2.40", "gateway = \"bj-*\"");
    assert_eq!(held(&outcome), ["-", "-", "-", "-", "-"]);
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
fn check_says_what_a_budget_pays_for() {
    let folder = tempfile::tempdir().unwrap();
    let plan = include_str!("../billing/plan-tiered-standard.toml");
    std::fs::write(folder.path().join("plan.toml"), plan).unwrap();
    let budgets = "[[budget]]\nid = \"all\"\namount = \"1000.00\"\n";
    std::fs::write(folder.path().join("budgets.toml"), budgets).unwrap();
    let output = run(folder.path(), &["check", "budgets.toml", "plan.toml"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted =
        "budget `all`: 1000.00 CNY pay for 1835 tickets a period on plan `tiered-standard`";
    assert!(told.contains(wanted), "{told}{}", String::from_utf8_lossy(&output.stderr));
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

/// Two sets of rules on 750 faults: the old one opens nothing, the new one a ticket each.
fn dearer(month: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("plan.toml", include_str!("../billing/plan-tiered-standard.toml"));
    write("old.toml", "[[rule]]\nid = \"hot\"\nwhen = \"t > 99\"\n");
    write("new.toml", "[[rule]]\nid = \"hot\"\nwhen = \"t > 8\"\n");
    write("month.json", &format!("{{\"ticket.created\": \"{month}\"}}"));
    let mut recording = String::new();
    for device in 0..750 {
        // One every ten minutes: no storm.
        let ts = at("2026-03-02T08:00:00Z") + TimeSpan::from_secs(device * 600);
        recording.push_str(&format!(
            "{{\"ts\":\"{ts}\",\"topic\":\"plant/a/freezer/fz-{device}/telemetry\",\"payload\":\"{{\\\"t\\\":9}}\"}}\n"
        ));
    }
    write("in.jsonl", &recording);
    let fixed = [
        "backtest",
        "--input",
        "in.jsonl",
        "--rules",
        "new.toml",
        "--against",
        "old.toml",
        "--plan",
        "plan.toml",
        "--month",
        "month.json",
        "--format",
        "json",
    ];
    run(folder.path(), &[&fixed[..], more].concat())
}

#[test]
fn the_same_tickets_cost_what_the_month_makes_of_them() {
    for (month, wanted) in [("1000", "450.00"), ("4800", "263.25"), ("80000", "0.00")] {
        let output = dearer(month, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["difference"]["cost"][0]["month"]["delta"], wanted, "{month}");
    }
    let refused = dearer("1000", &["--max-monthly-cost-delta", "100"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("dearer by 450.00"), "{told}");
    assert!(dearer("1000", &["--max-monthly-cost-delta", "450"]).status.success());
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// An engine with one rule, prices and a budget.
fn rehearsal(rule: &str, plan: &str, amount: &str) -> Rehearsal {
    let budgets = format!("[[budget]]\nid = \"all\"\namount = \"{amount}\"\n");
    let texts = [("rule.toml", rule), ("plan.toml", plan), ("budgets.toml", &budgets)];
    let sources = texts.map(|(file, text)| Source { file: file.into(), text: text.to_owned() });
    let report = Report::default();
    let policy = policy::compile(&sources, &["desk"], &report);
    let policy = policy.unwrap_or_else(|| panic!("{:?}", report.into_sorted()));
    let settings = config::defaults().unwrap().settings().unwrap();
    Rehearsal::new(settings, policy, at("2026-03-02T08:00:00Z"))
}

/// A rule on a budget, and some freezers that get too warm, a second apart.
fn rehearse(severity: &str, amount: &str, devices: u32) -> Rehearsal {
    let rule = RULE.replace("SEVERITY", severity).replace("SAFETY", "false");
    let mut rehearsal = rehearsal(&rule, PLAN, amount);
    let start = at("2026-03-02T08:00:00Z");
    for device in 0..devices {
        let facts = DeviceFacts {
            id: format!("冷柜-{device}"),
            class: "freezer".into(),
            site: "上海".into(),
            ..DeviceFacts::default()
        };
        let reading = Reading::Good(Value::Float(9.0));
        let now = start + TimeSpan::from_secs(i64::from(device));
        let readings = vec![("t".to_owned(), reading)];
        rehearsal.receive(now, Input::Readings { facts, at: now, readings });
    }
    rehearsal
}

#[test]
fn a_critical_fault_beyond_the_budget_is_opened_with_its_token_once() {
    let mut rehearsal = rehearse("critical", "1.20", 2);
    assert_eq!(rehearsal.engine().tickets().count(), 1);
    let held = rehearsal.engine().held_for_money();
    assert_eq!(held.len(), 1);
    let token = held[0].token.clone().expect("a critical one can be approved");
    drop(held);
    for given in ["000000000000", token.as_str(), token.as_str()] {
        let now = at("2026-03-02T09:00:00Z");
        let (by, via, reason) = ("李工".to_owned(), "cli".to_owned(), String::new());
        let signature = Signature { by, at: now, via, reason };
        let action = OperatorAction::Approve(given.to_owned());
        rehearsal.receive(now, Input::Operator { action, signature });
    }
    assert_eq!(rehearsal.engine().tickets().count(), 2);
    assert!(rehearsal.engine().held_for_money().is_empty());
    let overspent = |decision: &&Decision| matches!(decision, Decision::Overspent { .. });
    assert_eq!(rehearsal.decisions.iter().filter(overspent).count(), 1);
}

#[test]
fn what_is_held_is_told_in_time_and_opened_when_a_period_begins() {
    let mut rehearsal = rehearse("major", "1.20", 2);
    let told = |rehearsal: &Rehearsal| {
        let late = |decision: &&Decision| matches!(decision, Decision::HeldTooLong { .. });
        rehearsal.decisions.iter().filter(late).count()
    };
    rehearsal.advance(at("2026-03-02T11:59:00Z"));
    assert_eq!((told(&rehearsal), rehearsal.engine().tickets().count()), (0, 1));
    rehearsal.advance(at("2026-03-03T00:00:00Z"));
    assert_eq!((told(&rehearsal), rehearsal.engine().tickets().count()), (1, 1));
    rehearsal.advance(at("2026-04-01T12:00:00Z"));
    assert_eq!((told(&rehearsal), rehearsal.engine().tickets().count()), (1, 2));
    assert!(rehearsal.engine().held_for_money().is_empty());
}

#[test]
fn alarms_that_are_folded_for_money_are_written_on_their_ticket_once_a_minute() {
    let mut rehearsal = rehearse("minor", "4.80", 40);
    rehearsal.advance(at("2026-03-02T08:05:00Z"));
    // Three tickets of their own; the digest is the fourth, and the rest is told only.
    assert_eq!(rehearsal.engine().tickets().count(), 4);
    let mut rehearsal = rehearse("minor", "6.80", 7);
    rehearsal.advance(at("2026-03-02T08:05:00Z"));
    let opened = |decision: &&Decision| {
        matches!(decision, Decision::Ticket { event: TicketEvent::Opened, .. })
    };
    assert_eq!(rehearsal.decisions.iter().filter(opened).count(), 5);
    let digest = rehearsal.engine().tickets().last().expect("a digest");
    // Opened, and the one comment that counts what joined it: no call for each alarm.
    assert_eq!((digest.alarms, digest.next_effect), (3, 3));
}

/// Prices of everything that is done on a ticket.
const EVERY_CALL: &str = "[plan]\nid = \"calls\"\ncurrency = \"CNY\"\n\
    [[line]]\nid = \"t\"\nkind = \"per_unit\"\nmeter = \"ticket.created\"\nunit = \"1.20\"\n\
    [[line]]\nid = \"e\"\nkind = \"per_unit\"\nmeter = \"ticket.escalated\"\nunit = \"0.50\"\n\
    [[line]]\nid = \"a\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"0.01\"\n";

/// Twelve freezers of a site, one after the other, too warm, a minute apart; then all well again.
/// What was spent at the greatest, and what is open in the end.
fn crowd(severity: &str, safety: bool, amount: &str) -> (Rehearsal, Decimal) {
    let rule = RULE.replace("SEVERITY", severity).replace("SAFETY", &safety.to_string());
    let rule = format!(
        "{rule}[rule.ticket]\nper = \"site\"\ngroup_wait = \"0s\"\ngroup_interval = \"30s\"\nladder = \"up\"\n\
         [[ladder]]\nid = \"up\"\n[[ladder.step]]\nafter = \"3m\"\nticket = {{ priority = \"raise\" }}\n"
    );
    let mut rehearsal = rehearsal(&rule, EVERY_CALL, amount);
    let start = at("2026-03-02T08:00:00Z");
    let mut most = Decimal::ZERO;
    for turn in 0..24 {
        let (device, value) = (turn % 12, if turn < 12 { 9.0 } else { 3.0 });
        let facts = DeviceFacts {
            id: format!("冷柜-{device}"),
            class: "freezer".into(),
            site: "上海".into(),
            ..DeviceFacts::default()
        };
        let now = start + TimeSpan::from_secs(60 * turn);
        let readings = vec![("t".to_owned(), Reading::Good(Value::Float(value)))];
        rehearsal.receive(now, Input::Readings { facts, at: now, readings });
        most = most.max(rehearsal.engine().standings()[0].spent.expect("prices"));
    }
    (rehearsal, most)
}

fn used(rehearsal: &Rehearsal, meter: Meter) -> u32 {
    rehearsal.usage.get(&meter).map_or(0, |quantity| (*quantity).try_into().unwrap())
}

#[test]
fn comments_and_escalations_of_a_ticket_stay_within_the_budget_and_it_is_closed_all_the_same() {
    for cents in [122, 123, 125, 130, 173, 174, 180] {
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let (rehearsal, most) = crowd("major", false, &amount);
        assert!(most <= amount.parse().unwrap(), "{most} of {amount}");
        let ticket = rehearsal.engine().tickets().next().expect("a ticket");
        assert!(ticket.status.is_over(), "{amount}: {ticket:?}");
        // Opened, closed, and as many in between as there is money for.
        let calls = used(&rehearsal, Meter::ApiCall);
        let steps = used(&rehearsal, Meter::TicketEscalated);
        assert!(calls >= 2 + steps && 120 + calls + 50 * steps <= cents, "{calls}, {steps}");
    }
}

#[test]
fn what_a_budget_folds_is_told_on_the_call_that_closes_the_ticket() {
    let (rehearsal, most) = crowd("major", false, "1.22");
    assert_eq!(most.to_string(), "1.22");
    let late = |decision: &&Decision| {
        matches!(decision, Decision::Ticket { event: TicketEvent::Delayed { .. }, .. })
    };
    assert_eq!(rehearsal.decisions.iter().filter(late).count(), 1);
}

#[test]
fn a_safety_fault_is_followed_up_whatever_the_budget_says() {
    let (rehearsal, most) = crowd("critical", true, "1.22");
    assert!(most > Decimal::ONE + Decimal::ONE / Decimal::TWO, "{most}");
    // Nobody takes it: after three minutes, and again three after a fault that joined since, which
    // came at the fourth minute and at the eighth.
    let tickets = rehearsal.engine().tickets().count();
    assert_eq!((tickets, used(&rehearsal, Meter::TicketEscalated)), (1, 3));
}
