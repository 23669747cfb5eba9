//! Statements out of a real store: closed once whatever dies, printed, exported and verified.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use faultgate::engine::billing::Statement;
use faultgate::engine::rating::{ActivePlan, Usage, read_plan};
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::effect::Write;
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::TicketId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::journal::Journal;
use faultgate::io::store::{Store, StoreOptions};
use faultgate::service::billing::close_overdue;
use serde_json::Value as Json;

use crate::gateway::{HOT, Home, binary, report};

const DIR: &str = "FAULTGATE_TEST_CLOSING_DIR";
const PLAN: &str = include_str!("../billing/plan-tiered-standard.toml");

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions { min_free_bytes: 0, ..StoreOptions::default() }
}

fn active() -> ActivePlan {
    let source = Source { file: "plan.toml".into(), text: PLAN.into() };
    let report = Report::default();
    let plan = read_document(Place { source: &source, report: &report }, read_plan).unwrap();
    ActivePlan::new(plan, Usage::default())
}

/// Tickets at these times, chained from the row after `last`.
fn rows(last: (u64, String), times: &[(Timestamp, u32)]) -> Vec<LedgerRow> {
    let (mut sequence, mut hash) = last;
    let mut rows = Vec::new();
    for (time, count) in times {
        for n in 0..*count {
            sequence += 1;
            let time = *time + TimeSpan::from_secs(i64::from(n));
            let mut row = LedgerRow {
                sequence,
                meter: Meter::TicketCreated,
                qty: 1.into(),
                state: LedgerState::Committed,
                idem: format!("f{sequence}-1/ticket.created"),
                ticket: TicketId(sequence),
                upstream_ticket: Some(format!("UP-{sequence}")),
                external_ref: format!("f{sequence}"),
                action: "open".into(),
                device: "冷柜-1".into(),
                rule: "hot".into(),
                site: if n % 2 == 0 { "上海" } else { "北京" }.into(),
                customer: "acme".into(),
                region: String::new(),
                device_class: "freezer".into(),
                revision: "r1".into(),
                plan: "tiered-standard".into(),
                budget_rung: None,
                reverses: None,
                severity: Severity::Major,
                time,
                recorded: time,
                prev_hash: String::new(),
                hash: String::new(),
            };
            row.seal(&hash);
            hash.clone_from(&row.hash);
            rows.push(row);
        }
    }
    rows
}

fn write(journal: &Journal, rows: &[LedgerRow]) {
    let writes: Vec<Write> = rows.iter().map(|row| Write::Ledger(Box::new(row.clone()))).collect();
    writes.chunks(500).for_each(|batch| journal.commit(batch).unwrap());
}

/// A store with 1,200 tickets in January, 40 in February, 10 in March.
fn filled(folder: &Path) {
    let (journal, _) = Journal::open(folder, options()).unwrap();
    let months = ["2026-01-10T00:00:00Z", "2026-02-10T00:00:00Z", "2026-03-10T00:00:00Z"].map(at);
    let rows = rows((0, String::new()), &[(months[0], 1_200), (months[1], 40), (months[2], 10)]);
    write(&journal, &rows);
}

fn close(journal: &Journal, step: &mut dyn FnMut(String)) -> Vec<Statement> {
    let now = at("2026-04-02T00:00:00Z");
    close_overdue(journal, &active(), PLAN, chrono_tz::Tz::UTC, now, &mut |period, reached| {
        step(format!("{} {reached:?}", period.id));
    })
    .unwrap()
}

#[test]
fn a_late_row_is_a_correction_on_the_next_statement_and_never_changes_a_closed_one() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let (journal, _) = Journal::open(dir.path(), options()).unwrap();
    let first = close(&journal, &mut |_| {});
    let totals: Vec<String> = first.iter().map(|statement| statement.total.to_string()).collect();
    assert_eq!(totals, ["619.00", "499.00", "499.00"]);
    assert!(close(&journal, &mut |_| {}).is_empty());
    // Two tickets of January become known in April: 0.60 each.
    let last = first.last().unwrap();
    let mut late = rows((last.rows, last.rows_hash.clone()), &[(at("2026-01-20T00:00:00Z"), 2)]);
    for row in &mut late {
        row.recorded = at("2026-04-05T00:00:00Z");
    }
    write(&journal, &late);
    let now = at("2026-05-02T00:00:00Z");
    let made = close_overdue(&journal, &active(), PLAN, chrono_tz::Tz::UTC, now, &mut |_, _| {});
    let made = made.unwrap();
    let corrections: Vec<String> = made[0]
        .corrections
        .iter()
        .map(|correction| {
            format!("{} {} {}", correction.period, correction.line, correction.amount)
        })
        .collect();
    assert_eq!(corrections, ["2026-01-01 ticket.t1 -120.00", "2026-01-01 ticket.t1 121.20"]);
    assert_eq!(made[0].total.to_string(), "500.20");
    assert_eq!(journal.statements().unwrap()[..3], first[..]);
}

#[test]
fn close_step_by_step_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let (journal, _) = Journal::open(Path::new(&dir), options()).unwrap();
    let mut lines = std::io::stdin().lines();
    close(&journal, &mut |step| {
        println!("step {step}");
        std::io::stdout().flush().unwrap();
        lines.next();
    });
}

#[test]
fn a_kill_at_any_step_of_a_close_leaves_each_period_closed_once() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path());
    let wanted = close(&Journal::open(whole.path(), options()).unwrap().0, &mut |_| {});
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    // Three periods with three steps each; a kill at the first, then at the second step, and so on.
    for kill_at in [1, 2, 3, 1, 2, 3, 1, 2] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bill::close_step_by_step_until_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut go_on = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut steps = lines.map_while(Result::ok).filter(|line| line.starts_with("step "));
        for step in 1..=kill_at {
            steps.next().unwrap();
            if step < kill_at {
                writeln!(go_on).unwrap();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (journal, _) = Journal::open(dir.path(), options()).unwrap();
        let closed = journal.statements().unwrap();
        assert_eq!(closed[..], wanted[..closed.len()]);
    }
    let (journal, _) = Journal::open(dir.path(), options()).unwrap();
    close(&journal, &mut |_| {});
    assert_eq!(journal.statements().unwrap(), wanted);
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().unwrap()
}

fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(output)))
}

/// A folder with a configuration, a plan in force and a filled store.
fn installation() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = "[gateway]\nid = \"sh-01\"\ntimezone = \"UTC\"\nplan = \"plan.toml\"\n[http]\nlisten = \"127.0.0.1:1\"\n";
    std::fs::write(dir.path().join("faultgate.toml"), config).unwrap();
    std::fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    filled(&dir.path().join("data/gateway"));
    dir
}

#[test]
fn a_stopped_gateway_is_billed_from_its_store() {
    let dir = installation();
    let at = ["--at", "2026-04-02T00:00:00Z"];
    let closed = run(dir.path(), &["bill", "close", at[0], at[1]]);
    assert!(told(&closed).contains("3 periods closed"), "{}", told(&closed));
    let invoice = |format: &str, more: &[&str]| {
        let mut arguments = vec!["bill", "invoice", "--period", "2026-01", "--format", format];
        arguments.extend(more);
        run(dir.path(), &arguments)
    };
    assert_eq!(json(&invoice("json", &[]))["total"], "619.00");
    for (format, language) in [("text", "en"), ("html", "zh"), ("html", "en"), ("text", "zh")] {
        let shown = told(&invoice(format, &["--language", language]));
        assert!(shown.contains("619.00"), "{shown}");
    }
    assert!(told(&invoice("csv", &[])).contains(",120.00,CNY"));
    let shares = run(
        dir.path(),
        &["bill", "chargeback", "--by", "site", "--period", "2026-01", "--format", "json"],
    );
    assert_eq!(json(&shares)["total"], "619.00");
    let forecast = run(
        dir.path(),
        &[
            "bill",
            "forecast",
            "--at",
            "2026-03-20T00:00:00Z",
            "--budget",
            "600",
            "--format",
            "json",
        ],
    );
    assert_eq!(json(&forecast)["spent"], "499.00", "{}", told(&forecast));
    let compared = run(
        dir.path(),
        &["bill", "compare", "--plans", "plan.toml", "--scenario", "zero", "--format", "json"],
    );
    assert_eq!(
        json(&compared)["scenarios"][0]["plans"][0]["run"],
        "5988.00",
        "{}",
        told(&compared)
    );
    let changed = run(dir.path(), &["bill", "change", "--to", "plan.toml", "--on", "2026-02-15"]);
    assert!(told(&changed).contains("14 days on tiered-standard"), "{}", told(&changed));
    let report = run(dir.path(), &["report", "service"]);
    assert!(told(&report).contains("all  0"), "{}", told(&report));
}

#[test]
fn what_was_spent_before_a_restart_counts_and_a_ledger_that_cannot_be_read_closes_the_budgets() {
    let dir = installation();
    let payg = include_str!("../billing/plan-payg-ticket.toml");
    std::fs::write(dir.path().join("plan.toml"), payg).unwrap();
    let budgets = "[[budget]]\nid = \"all\"\namount = \"15.00\"\n[[budget]]\nid = \"上海\"\namount = \"15.00\"\nscope = { site = \"上海\" }\n";
    std::fs::write(dir.path().join("budgets.toml"), budgets).unwrap();
    let store = dir.path().join("data/gateway");
    let end = {
        let (journal, _) = Journal::open(&store, options()).unwrap();
        let last = journal.load().unwrap().last_ledger_row.unwrap();
        let today = rows((last.sequence, last.hash), &[(faultgate::io::clock::now(), 10)]);
        write(&journal, &today);
        today.last().unwrap().sequence
    };
    let stand = || json(&run(dir.path(), &["bill", "budgets", "--format", "json"]));
    let budgets = stand();
    assert_eq!(budgets["closed"], false);
    assert_eq!(budgets["budgets"][0]["spent"], "12.00");
    // 80 percent are spent; late in a month the forecast is red.
    assert_ne!(budgets["budgets"][0]["rung"], "green");
    assert_eq!(budgets["budgets"][1]["spent"], "6.00");
    let (broken, _) = Store::open(&store, options()).unwrap();
    let key = format!("l/{:020}", end - 1).into_bytes();
    broken.commit(vec![(key, Some(b"no row".to_vec()))]).unwrap();
    drop(broken);
    assert_eq!(stand()["closed"], true);
    let verified = run(dir.path(), &["ledger", "verify"]);
    assert_eq!(verified.status.code(), Some(1), "{}", told(&verified));
}

#[test]
fn an_invoice_that_differs_is_told_with_exit_code_1() {
    let dir = installation();
    let lines: Vec<String> = (1..=40).map(|n| format!("UP-{},0.00", 1_200 + n)).collect();
    let invoice = format!("upstream_ticket,amount\n{}\nUP-1201,0.00\n", lines.join("\n"));
    std::fs::write(dir.path().join("invoice.csv"), &invoice).unwrap();
    let differs = run(
        dir.path(),
        &["bill", "reconcile", "invoice.csv", "--period", "2026-02", "--format", "json"],
    );
    assert_eq!(differs.status.code(), Some(1), "{}", told(&differs));
    let found = json(&differs);
    assert_eq!(found["classes"]["matched"]["rows"], 40);
    assert_eq!(found["classes"]["billed_twice"]["rows"], 1);
    // The base is not on the invoice.
    assert_eq!(found["difference"], "-499.00");
}

#[test]
fn a_bundle_is_verified_row_by_row_and_comes_back_as_a_store() {
    let dir = installation();
    assert!(run(dir.path(), &["bill", "close", "--at", "2026-04-02T00:00:00Z"]).status.success());
    let exported = run(dir.path(), &["export", "bundle", "out"]);
    assert!(exported.status.success(), "{}", told(&exported));
    let verified = run(dir.path(), &["import", "out", "--verify"]);
    assert!(verified.status.success(), "{}", told(&verified));
    let read = run(dir.path(), &["import", "out", "--into", "other"]);
    assert!(read.status.success(), "{}", told(&read));
    let intact = run(dir.path(), &["--data", "other", "ledger", "verify", "--format", "json"]);
    assert_eq!(json(&intact)["rows"], 1_250);
    let from_file = run(dir.path(), &["ledger", "verify", "--ledger", "out/ledger.jsonl"]);
    assert!(told(&from_file).starts_with("1250 rows are intact"), "{}", told(&from_file));
    let ledger = dir.path().join("out/ledger.jsonl");
    let text = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, text.replacen("\"qty\":\"1\"", "\"qty\":\"2\"", 1)).unwrap();
    let changed = run(dir.path(), &["import", "out", "--verify"]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(told(&changed).contains("ledger.jsonl: it was changed after the export"));
    let broken = run(dir.path(), &["ledger", "verify", "--ledger", "out/ledger.jsonl"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(told(&broken).contains("row 1 is not what was written"), "{}", told(&broken));
}

#[tokio::test]
async fn a_running_gateway_answers_out_of_its_own_ledger() {
    let home = Home::new(HOT, "[gateway]\nsettle = \"0s\"\nplan = \"plan.toml\"\n");
    let put = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    put("plan.toml", include_str!("../billing/plan-payg-ticket.toml"));
    put("budgets.toml", "[[budget]]\nid = \"all\"\namount = \"100.00\"\n");
    let gateway = home.start();
    gateway.ready().await;
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    gateway.ticket_until(|ticket| ticket["usage"]["ticket.created"] == "1").await;
    let config = format!(
        "[gateway]\nid = \"sh-01\"\nplan = \"plan.toml\"\n[http]\nlisten = \"{}\"\n",
        gateway.http
    );
    put("here.toml", &config);
    let ask = |arguments: &[&str]| run(home.path(), &[&["-c", "here.toml"], arguments].concat());
    let budgets = json(&ask(&["bill", "budgets", "--format", "json"]));
    assert_eq!(
        (&budgets["closed"], &budgets["budgets"][0]["spent"]),
        (&Json::Bool(false), &"1.20".into())
    );
    assert_eq!(budgets["unpaid"], serde_json::json!([]), "no attempt waits for money");
    assert_eq!(json(&ask(&["bill", "invoice", "--format", "json"]))["total"], "1.20");
    let verified = json(&ask(&["ledger", "verify", "--format", "json"]));
    assert_eq!(verified["intact"], true, "{verified}");
    let exported = told(&ask(&["ledger", "export"]));
    let first: Json = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!(first["source"], "urn:faultgate:gw:sh-01");
    assert_eq!(first["data"]["rule"], "hot");
    let rows = exported.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut rows = rows.map(|event| event["data"].clone());
    let opened =
        rows.find(|row| row["meter"] == "ticket.created" && row["state"] == "committed").unwrap();
    let number = opened["sequence"].to_string();
    let correct = || ask(&["ledger", "correct", &number, "--reason", "cancelled in time"]);
    let first = correct();
    assert!(first.status.success(), "{}", told(&first));
    assert!(told(&correct()).contains("was taken back before"));
    assert_eq!(json(&ask(&["bill", "invoice", "--format", "json"]))["total"], "0.00");
    assert_eq!(json(&ask(&["ledger", "verify", "--format", "json"]))["intact"], true);
    let refused = ask(&["bill", "approve", "000000000000"]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("bill budgets"), "{}", told(&refused));
}

#[tokio::test]
async fn figures_and_what_the_upstream_counts_are_told_while_the_gateway_runs_and_when_it_stopped()
{
    let home = Home::new(HOT, "[gateway]\nsettle = \"0s\"\nplan = \"plan.toml\"\n");
    let put = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    put("plan.toml", include_str!("../billing/plan-payg-ticket.toml"));
    let gateway = home.start();
    gateway.ready().await;
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    gateway.ticket_until(|ticket| ticket["usage"]["ticket.created"] == "1").await;
    gateway.publish(&[report("m-1", "{\"temp_c\": 20}")]).await;
    gateway.ticket_until(|ticket| ticket["usage"]["api.call"] == "2").await;
    let config =
        format!("[gateway]\nplan = \"plan.toml\"\n[http]\nlisten = \"{}\"\n", gateway.http);
    put("here.toml", &config);
    let ask = |arguments: &[&str]| run(home.path(), &[&["-c", "here.toml"], arguments].concat());
    let figures = || json(&ask(&["report", "alarms", "--format", "json"]));
    let running = figures();
    assert_eq!(running["all"]["raised"], 1, "{running}");
    assert_eq!(running["sites"]["上海-1"]["top_10"][0]["alarm"]["rule"], "hot");
    assert_eq!(running["invalid"]["hot"]["recovered_by_itself"], 1);
    assert_eq!((&running["operators"], &running["all"]["fleeting"]), (&Json::Null, &1.into()));
    gateway.terminate();
    let stopped = figures();
    assert_eq!(stopped["all"]["raised"], 1, "{stopped}");
    let told_in = |language| told(&ask(&["report", "alarms", "--language", language]));
    assert!(told_in("zh").contains("最频繁的告警"), "{}", told_in("zh"));
    assert!(told_in("en").contains("by operator: unknown"), "{}", told_in("en"));
    let usage = json(&ask(&["bill", "usage", "--format", "json"]));
    let rows = usage["usage"].as_array().unwrap();
    let of = |meter: &str| rows.iter().find(|row| row["meter"] == meter).unwrap();
    assert_eq!((&of("api.call")["ours"], &of("message.sent")["ours"]), (&"2".into(), &Json::Null));
    // The desk counts both calls; how much of its counter belongs to this month nobody heard.
    let counter = &of("api.call")["counters"][0];
    assert_eq!((&counter["header"], &counter["value"]), (&"x-usage-api-calls".into(), &"2".into()));
    assert_eq!(of("api.call")["theirs"], Json::Null);
    assert!(told(&ask(&["bill", "usage", "--language", "zh"])).contains("未知"));
}
