//! kill -9 in the middle of faults: each fault has one ticket, none doubled, none lost.

use std::time::Duration;

use serde_json::Value as Json;

use crate::gateway::{Gateway, HOT, Home, publish, report};
use crate::mosquitto::Mosquitto;

const FAULTS: usize = 200;
/// Rounds; `FAULTGATE_KILLS` asks for more.
const ROUNDS: usize = 5;

/// The broker outlives the gateway, as a real one does: what was not acknowledged comes again.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_one_ticket_whenever_the_gateway_is_killed() {
    let Some(broker) = Mosquitto::start() else {
        eprintln!("skipped: mosquitto is not installed");
        return;
    };
    let rounds =
        std::env::var("FAULTGATE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let extra = format!(
        "[[source]]\nname = \"plant\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"plant/+/+/+/telemetry\"]\n\
         topic = \"plant/{{site}}/{{class}}/{{device}}/telemetry\"\n",
        broker.port
    );
    let home = Home::new(HOT, &extra);
    let mut gateway = home.start();
    // What is published before the broker knows us is kept by nobody.
    gateway.ready().await;
    for round in 0..rounds {
        let faults: Vec<_> =
            (0..FAULTS).map(|n| report(&format!("m-{round}-{n}"), "{\"temp_c\": 90}")).collect();
        let address = format!("127.0.0.1:{}", broker.port);
        let publishing = tokio::spawn(async move { publish(&address, &faults).await });
        // A different moment in every round: while messages arrive, commit, or go to the desk.
        tokio::time::sleep(Duration::from_millis(5 + 23 * (round as u64 % 7))).await;
        gateway.kill();
        publishing.await.expect("published");
        gateway = home.start();
        let expected = FAULTS * (round + 1);
        let tickets = all_delivered(&gateway, expected).await;
        let mut devices: Vec<&str> = tickets.iter().filter_map(|t| t["device"].as_str()).collect();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), expected, "one ticket for each fault in round {round}");
        // The desk numbers its tickets: as many as there were faults, none of them twice.
        let newest = gateway.desk().await.pop().expect("a ticket");
        assert_eq!(newest["id"], expected.to_string(), "doubled in round {round}");
    }
}

/// The gateway's tickets, once there are so many and all of them are at the desk.
pub async fn all_delivered(gateway: &Gateway, count: usize) -> Vec<Json> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gateway.get("/api/v1/tickets").await;
        let tickets = answer["tickets"].as_array().cloned().unwrap_or_default();
        let delivered = tickets.iter().filter(|ticket| ticket["external"].is_string()).count();
        if delivered >= count {
            return tickets;
        }
        if tokio::time::Instant::now() >= deadline {
            let known = tickets.len();
            let late = tickets.iter().find(|ticket| ticket["external"].is_null());
            let late = late.and_then(|ticket| ticket["id"].as_str()).unwrap_or("tk-1");
            let story = gateway.get(&format!("/api/v1/explain/{late}")).await;
            panic!("{delivered} of {count} delivered, {known} known; one of them: {story:#}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_was_under_way_outlives_a_kill() {
    let rules = HOT.replace("severity", "on_delay = \"3s\"\nseverity");
    let home = Home::new(&rules, "");
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    let pending = async {
        loop {
            let alarms = gateway.get("/api/v1/alarms").await;
            if alarms["alarms"][0]["state"] == "pending" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), pending).await.expect("pending");
    gateway.kill();
    let gateway = home.start();
    // The device says nothing more: the timer alone raises.
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["device"], "m-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_queue_while_the_upstream_is_down_and_arrive_in_order() {
    let desk = Home::new(HOT, "");
    let upstream = desk.start();
    let http = upstream.http.clone();
    let port = http.rsplit_once(':').expect("a port").1.to_owned();
    upstream.kill();
    let extra =
        format!("[[upstream]]\nname = \"other\"\nkind = \"desk\"\nurl = \"http://{http}/\"\n");
    let home = Home::new(HOT, &extra);
    let gateway = home.start();
    for n in 0..20 {
        gateway.publish(&[report(&format!("m-{n:02}"), "{\"temp_c\": 90}")]).await;
    }
    gateway.publish(&[report("m-00", "{\"temp_c\": 20}")]).await;
    let config = desk.path().join("faultgate.toml");
    let text = std::fs::read_to_string(&config).expect("there");
    let text = text.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    std::fs::write(&config, text).expect("written");
    let upstream = desk.start();
    let tickets = upstream.desk_until(|tickets| tickets.len() == 20).await;
    let mut devices: Vec<&str> = tickets.iter().filter_map(|t| t["device"].as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    assert_eq!(devices.len(), 20, "one ticket for each fault");
    let first = upstream
        .desk_until(|tickets| {
            tickets.iter().any(|t| t["device"] == "m-00" && t["status"] == "resolved")
        })
        .await;
    assert_eq!(first.len(), 20, "the resolve came after the open, on the same ticket");
}
