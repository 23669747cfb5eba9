//! kill -9 while a delay runs, and an upstream that is away; `kills.rs` kills at random moments.

use std::time::Duration;

use crate::gateway::{HOT, Home, report};

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
