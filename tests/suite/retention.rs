//! What is over for long goes, and nothing else: the real binary with a short retention, and with
//! more in its store than it may have.

use std::time::Duration;

use faultgate::engine::types::alarm::Signature;
use faultgate::engine::types::audit::AuditRecord;
use faultgate::engine::types::effect::Write;
use faultgate::engine::types::ticket::TicketRecord;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::clock;
use faultgate::io::journal::Journal;
use faultgate::io::store::StoreOptions;
use serde_json::{Value as Json, json};

use crate::gateway::{Gateway, HOT, Home, report};

const DAY: i64 = 86_400;

/// Waits until something of the gateway's API is as wanted; what it is still if it never is.
async fn until(gateway: &Gateway, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gateway.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        let short: String = answer.to_string().chars().take(2_000).collect();
        assert!(tokio::time::Instant::now() < deadline, "{path} is still {short}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn numbers(answer: &Json) -> Vec<&str> {
    let tickets = answer["tickets"].as_array().map(Vec::as_slice).unwrap_or_default();
    tickets.iter().filter_map(|ticket| ticket["id"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_stays_gone_and_a_new_fault_has_a_new_ticket() {
    let rules = format!("{HOT}[rule.ticket]\nreopen_within = \"0s\"\n");
    let home = Home::new(&rules, "[store]\nretention = { closed_episodes = \"2s\" }\n");
    let old = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time");
    let signature =
        Signature { by: "王芳".into(), at: old, via: "cli".into(), reason: "x".into() };
    let act = AuditRecord { act: "shelve".into(), subject: "hot/m-1".into(), signature };
    journal(&home).commit(&[Write::Audit(Box::new(act))]).expect("written");

    let gateway = home.start();
    gateway.ready().await;
    let mut first_key = Json::Null;
    for (device, returns) in [("m-1", true), ("m-2", true), ("m-3", false)] {
        gateway.publish(&[report(device, r#"{"temp_c": 90}"#)]).await;
        let is_its = |ticket: &Json| ticket["device"] == device;
        let desk = gateway.desk_until(|desk| desk.iter().any(is_its)).await;
        if device == "m-1" {
            first_key = desk[0]["external_key"].clone();
        }
        if returns {
            gateway.publish(&[report(device, r#"{"temp_c": 60}"#)]).await;
        }
    }
    until(&gateway, "/api/v1/tickets", |answer| numbers(answer) == ["tk-3"]).await;
    let gone = gateway.get("/api/v1/explain/tk-1").await;
    assert_eq!(gone["error"], "nothing has this id");
    let alarms = until(&gateway, "/api/v1/alarms", |answer| {
        let all = answer["alarms"].as_array().expect("a list");
        all.iter().filter(|alarm| alarm["history"] == json!([])).count() == 2
    });
    for alarm in alarms.await["alarms"].as_array().expect("a list") {
        assert_eq!(alarm["episode"]["number"], 1, "the number stays: {alarm}");
    }
    until(&gateway, "/api/v1/audit?since=1970-01-01T00:00:00Z", |answer| {
        answer["audit"] == json!([])
    })
    .await;
    let metrics = gateway.metrics().await;
    for line in [
        "faultgate_store_pruned_total{kind=\"ticket\"} 2",
        "faultgate_store_pruned_total{kind=\"act\"} 1",
        "faultgate_store_bytes{store=\"gateway\"}",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    gateway.kill();

    let gateway = home.start();
    gateway.ready().await;
    assert_eq!(numbers(&gateway.get("/api/v1/tickets").await), ["tk-3"]);
    gateway.publish(&[report("m-1", r#"{"temp_c": 91}"#)]).await;
    let ids = |desk: &[Json]| desk.iter().map(|ticket| ticket["id"].clone()).collect::<Vec<_>>();
    let desk = gateway.desk_until(|desk| ids(desk) == ["3", "4"]).await;
    assert_eq!((&desk[0]["status"], &desk[1]["status"]), (&json!("new"), &json!("new")));
    assert_ne!(desk[1]["external_key"], first_key, "a key of its own");
    let tickets = gateway.get("/api/v1/tickets").await;
    assert_eq!(numbers(&tickets), ["tk-3", "tk-4"], "no number is given twice");
}

fn journal(home: &Home) -> Journal {
    let folder = home.path().join("data/gateway");
    Journal::open(&folder, StoreOptions::default()).expect("opened").0
}

/// A ticket of some length that was resolved then.
fn resolved(number: u64, at: Timestamp) -> Write {
    // Nothing that could be packed.
    let title: String =
        (0..20_u64).map(|part| format!("{:064x}", (number * 20 + part).pow(2))).collect();
    let record = json!({
        "id": format!("tk-{number}"), "upstream": "desk", "external": format!("{number}"),
        "fingerprint": format!("{number:032}"), "group": format!("desk/alarm/hot/m-{number}"),
        "device": format!("m-{number}"), "rule": "hot", "site": "上海-1", "customer": "",
        "title": title, "severity": "minor", "safety": false, "status": "resolved",
        "opened_at": at, "resolved_at": at, "reopen_until": null, "ack": null, "alarms": 1,
        "ladder": null, "next_effect": 3,
    });
    Write::Ticket(Box::new(serde_json::from_value::<TicketRecord>(record).expect("a ticket")))
}

/// A store with so many old tickets, and so many of today after them.
fn fill(home: &Home, old: u64, new: u64) {
    let (now, journal) = (clock::now(), journal(home));
    let old_at = |number: u64| {
        now - TimeSpan::from_secs(30 * DAY) + TimeSpan::from_secs(number.try_into().expect("few"))
    };
    let at = |number| if number <= old { old_at(number) } else { now };
    let all: Vec<Write> = (1..=old + new).map(|number| resolved(number, at(number))).collect();
    for some in all.chunks(500) {
        journal.commit(some).expect("written");
    }
}

const SMALL: &str = "[store]\nmax_disk = \"16MiB\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn past_max_disk_the_oldest_go_until_what_is_left_is_half_of_it_and_no_further() {
    let home = Home::new(HOT, SMALL);
    fill(&home, 8_000, 1_000);
    let gateway = home.start();
    gateway.ready().await;
    let count = |answer: &Json| numbers(answer).len();
    until(&gateway, "/api/v1/tickets", |answer| count(answer) < 5_000).await;
    // Ten times as long as a batch takes: it has come to its end.
    let mut last = 0;
    while last != count(&gateway.get("/api/v1/tickets").await) {
        last = count(&gateway.get("/api/v1/tickets").await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = gateway.get("/api/v1/tickets").await;
    let left = numbers(&answer);
    assert!(left.len() > 3_500, "not more than it takes: {} are left", left.len());
    let first = 9_001 - left.len();
    assert_eq!(left[0], format!("tk-{first}"), "the oldest have gone, and no others");
    let (log, ended_well) = gateway.terminate();
    assert!(ended_well);
    let told = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!(told("larger than `max_disk`"), 1, "{log:#?}");
    assert_eq!(told("cannot be kept within"), 0, "{log:#?}");

    // The files are as large as before: that alone lets nothing go.
    let gateway = home.start();
    gateway.ready().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let again = gateway.get("/api/v1/tickets").await;
    // The log and the files of the desk count, and these have grown a little.
    let few = left.len() - count(&again);
    assert!(few < 300, "{few} more have gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_seven_days_stay_and_it_is_told_that_max_disk_cannot_be_kept() {
    let home = Home::new(HOT, SMALL);
    fill(&home, 10, 9_000);
    let gateway = home.start();
    gateway.ready().await;
    until(&gateway, "/api/v1/tickets", |answer| numbers(answer).len() == 9_000).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(numbers(&gateway.get("/api/v1/tickets").await).len(), 9_000);
    let (log, _) = gateway.terminate();
    let stuck: Vec<&String> =
        log.iter().filter(|line| line.contains("cannot be kept within `max_disk`")).collect();
    assert_eq!(stuck.len(), 1, "{log:#?}");
    assert!(stuck[0].contains("tickets 1"), "what holds the space: {}", stuck[0]);
}
