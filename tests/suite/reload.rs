//! Rules that change while the gateway runs.

use std::time::Duration;

use crate::gateway::{HOT, Home, report};

/// Two devices over the limit, each with its ticket.
async fn two_faults(home: &Home) -> crate::gateway::Gateway {
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1).await;
    gateway.publish(&[report("m-2", "{\"temp_c\": 99}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 2).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_still_holds_keeps_its_ticket_and_one_that_does_not_returns() {
    let home = Home::new(HOT, "");
    let gateway = two_faults(&home).await;
    home.write_rules(&HOT.replace("> 80", "> 95").replace("< 70", "< 95"));
    let (status, told) = gateway.post("/api/v1/rules/reload").await;
    assert_eq!((status, told["rules"].as_u64()), (200, Some(1)), "{told}");
    let tickets = gateway.desk_until(|tickets| tickets[0]["status"] == "resolved").await;
    assert_eq!(tickets.len(), 2);
    assert_eq!(tickets[1]["status"], "new", "the other one is still over the limit");
    gateway.publish(&[report("m-2", "{\"temp_c\": 98}"), report("m-3", "{\"temp_c\": 90}")]).await;
    gateway.publish(&[report("m-4", "{\"temp_c\": 96}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 3).await;
    assert_eq!(tickets[2]["device"], "m-4", "90 is nothing any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_with_an_error_is_refused_whole_and_the_former_one_goes_on() {
    let home = Home::new(HOT, "");
    let gateway = two_faults(&home).await;
    home.write_rules(&HOT.replace("> 80", "> 8 0"));
    let (status, told) = gateway.post("/api/v1/rules/reload").await;
    assert_eq!((status, told["accepted"].as_bool()), (422, Some(false)), "{told}");
    assert_eq!(told["errors"][0]["line"], 5, "{told}");
    assert!(gateway.metrics().await.contains("faultgate_rules_last_reload_success 0"));
    gateway.publish(&[report("m-3", "{\"temp_c\": 81}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 3).await;
    assert!(tickets.iter().all(|ticket| ticket["status"] == "new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_in_by_itself_and_a_timer_under_way_goes_on() {
    let home = Home::new(&HOT.replace("severity", "on_delay = \"4s\"\nseverity"), "");
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    // Another text, and a second rule: the delay of the first one is under way.
    let more =
        "\n[[rule]]\nid = \"cold\"\nmatch = { class = \"machine\" }\nwhen = \"temp_c < 0\"\n";
    let rules = HOT.replace("severity", "on_delay = \"4s\"\nseverity").replace("过热", "温度过高");
    home.write_rules(&(rules + more));
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["title"], "Hot: 90 · m-1");
    // The files are looked at every second, and taken in when they have been quiet for one.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while gateway.get("/readyz").await["rules"] != 2 {
        assert!(tokio::time::Instant::now() < deadline, "the new rules are not taken in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.publish(&[report("m-2", "{\"temp_c\": -5}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_rule_goes_on_with_its_tickets_and_a_removed_one_does_what_it_says() {
    let other = HOT.replace("\"hot\"", "\"hotter\"").replace("> 80", "> 85");
    let home = Home::new(&format!("{HOT}{other}on_remove = \"resolve\"\n"), "");
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 2).await;
    let renamed = HOT.replace("\"hot\"", "\"too-hot\"");
    home.write_rules(&format!("{renamed}renamed_from = \"hot\"\n"));
    let (status, told) = gateway.post("/api/v1/rules/reload").await;
    assert_eq!(status, 200, "{told}");
    let of = |tickets: &[serde_json::Value], rule: &str| {
        tickets.iter().find(|ticket| ticket["rule"] == rule).expect("a ticket").clone()
    };
    let is_resolved = |tickets: &[serde_json::Value]| of(tickets, "hotter")["status"] == "resolved";
    let tickets = gateway.desk_until(is_resolved).await;
    assert_eq!(of(&tickets, "hot")["status"], "new", "the fault goes on under another name");
    gateway.kill();
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 20}")]).await;
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 91}")]).await;
    let reopened = |tickets: &[serde_json::Value]| of(tickets, "hot")["status"] == "reopened";
    let tickets = gateway.desk_until(reopened).await;
    assert_eq!(tickets.len(), 2, "the same ticket, after a restart too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_a_device_that_the_rule_no_longer_means_returns() {
    let home = Home::new(HOT, "");
    let gateway = two_faults(&home).await;
    home.write_rules(&HOT.replace("class = \"machine\"", "class = \"machine\", device = \"m-*\""));
    let (status, told) = gateway.post("/api/v1/rules/reload").await;
    assert_eq!(status, 200, "{told}");
    let tickets = gateway.desk_until(|tickets| tickets[0]["status"] == "resolved").await;
    assert_eq!(
        (tickets[0]["device"].as_str(), &tickets[1]["status"]),
        (Some("冷柜-3"), &"new".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_in_quarantine_opens_tickets_once_it_is_registered_with_its_nameplate_in_them() {
    let home = Home::new(HOT, "[limits]\nunknown_devices = \"quarantine\"\n");
    let gateway = home.start();
    gateway.publish(&[report("压缩机-1", "{\"temp_c\": 90}")]).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while gateway.get("/api/v1/devices").await["devices"][0]["quarantined"] != true {
        assert!(tokio::time::Instant::now() < deadline, "the device is not listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let register = "[[device]]\nid = \"压缩机-1\"\nmodel = \"GA 30\"\nserial = \"AP-7\"\n\
                    warranty_until = 2020-01-31\n";
    std::fs::write(home.path().join("devices.toml"), register).expect("written");
    let (status, told) = gateway.post("/api/v1/rules/reload").await;
    assert_eq!(status, 200, "{told}");
    gateway
        .publish(&[report("压缩机-1", "{\"temp_c\": 91}"), report("x", "{\"temp_c\": 99}")])
        .await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["device"], "压缩机-1");
    let body = tickets[0]["body"].as_str().expect("a body");
    let lines =
        ["Model: GA 30", "Serial number: AP-7", "Warranty: out of warranty, until 2020-01-31"];
    assert!(lines.iter().all(|line| body.contains(line)), "{body}");
    gateway.kill();
    let gateway = home.start();
    let devices = gateway.get("/api/v1/devices").await;
    let device = devices["devices"].as_array().expect("devices").iter();
    let device = device.clone().find(|device| device["id"] == "压缩机-1").expect("it is there");
    assert_eq!((&device["class"], &device["rules"]), (&"machine".into(), &1.into()), "{device}");
}
