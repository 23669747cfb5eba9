//! One ticket per fault: from a message to the desk, and back when the fault is over.

use faultgate::io::clock;

use crate::gateway::{HOT, Home, report};

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_opens_one_ticket_which_is_resolved_and_reopened() {
    let home = Home::new(HOT, "[gateway]\nlanguage = \"zh-CN\"\n");
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["title"], "过热 90 · 冷柜-3");
    assert!(tickets[0]["body"].as_str().is_some_and(|body| body.contains("站点: 上海-1")));

    let more: Vec<_> =
        (0..1_000).map(|n| report("冷柜-3", &format!("{{\"temp_c\": {}}}", 81 + n % 9))).collect();
    gateway.publish(&more).await;
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 60}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets[0]["status"] == "resolved").await;
    assert_eq!(tickets.len(), 1);

    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 95}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets[0]["status"] == "reopened").await;
    assert_eq!(tickets.len(), 1);
    let usage = gateway.get("/api/v1/tickets").await;
    assert_eq!(usage["tickets"][0]["alarms"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_telemetry_twice_opens_nothing_new() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let at = |second: i64, temp: f64| {
        let ts = clock::now().micros() / 60_000_000 * 60_000 - 120_000 + second * 1_000;
        report("m-1", &format!("{{\"ts\": {ts}, \"temp_c\": {temp}}}"))
    };
    let told: Vec<_> =
        [(0, 20.0), (10, 90.0), (20, 60.0), (30, 20.0)].map(|(s, t)| at(s, t)).into();
    gateway.publish(&told).await;
    gateway.desk_until(|tickets| tickets.len() == 1 && tickets[0]["status"] == "resolved").await;
    gateway.publish(&told).await;
    gateway.publish(&[report("m-2", "{\"temp_c\": 90}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 2).await;
    assert_eq!(tickets[0]["status"], "resolved", "the replay changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_ticket_and_it_is_escalated_until_somebody_does() {
    let rules = format!(
        "{HOT}[rule.ticket]\nladder = \"field\"\n[[ladder]]\nid = \"field\"\n[[ladder.step]]\nafter = \"1s\"\n\
         ticket = {{ comment = true, assign = \"lead\" }}\n[[ladder.step]]\nafter = \"3s\"\nticket = {{ comment = true, assign = \"boss\" }}\n"
    );
    let home = Home::new(&rules, "");
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1 && tickets[0]["assignee"] == "lead").await;
    let accepted = reqwest_form(&gateway.http, "1", "accepted").await;
    assert_eq!(accepted, 303);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let tickets = gateway.desk().await;
    assert_eq!(tickets[0]["assignee"], "lead", "somebody had taken it before the second step");
    let alarms = gateway.get("/api/v1/alarms").await;
    assert_eq!(alarms["alarms"][0]["state"], "acknowledged");
}

/// A dispatcher gives it to somebody, in words or by name alone: it is his, and stays his.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_assigned_in_the_ticket_system_is_taken() {
    let rules = format!(
        "{HOT}[rule.ticket]\nladder = \"field\"\n[[ladder]]\nid = \"field\"\n[[ladder.step]]\nafter = \"4s\"\n\
         ticket = {{ comment = true, assign = \"boss\" }}\n"
    );
    let home = Home::new(&rules, "");
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}"), report("m-2", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 2).await;
    let client = faultgate::io::upstream::plain_client().expect("a client");
    for (id, body) in [
        ("1", serde_json::json!({ "assignee": "李工" })),
        ("2", serde_json::json!({ "status": "assigned", "assignee": "李工" })),
    ] {
        let url = format!("http://{}/desk/api/v1/tickets/{id}", gateway.http);
        let answer = client.patch(url).header("x-actor", "boss").json(&body).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let tickets = gateway.desk().await;
    assert!(tickets.iter().all(|ticket| ticket["assignee"] == "李工"), "{tickets:?}");
    let alarms = gateway.get("/api/v1/alarms").await;
    let alarms = alarms["alarms"].as_array().expect("a list");
    assert!(alarms.iter().all(|alarm| alarm["state"] == "acknowledged"), "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_say_the_moment_the_gateway_is_ready_is_not_lost() {
    let home = Home::new(HOT, "");
    for round in 1..=3 {
        let gateway = home.start();
        let faults: Vec<_> =
            (0..100).map(|n| report(&format!("m-{round}-{n}"), "{\"temp_c\": 90}")).collect();
        gateway.publish(&faults).await;
        let tickets = gateway.desk_until(|tickets| tickets.len() >= 100 * round).await;
        assert_eq!(tickets.len(), 100 * round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_taken_once_and_what_cannot_be_taken_is_told() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1).await;
    let client = faultgate::io::upstream::plain_client().expect("a client");
    let take = async |device: &str| {
        let body = serde_json::json!({ "by": "李工", "rule": "hot", "device": device });
        let url = format!("http://{}/api/v1/alarms/ack", gateway.http);
        client.post(url).json(&body).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(take("冷柜-3").await, 200);
    assert_eq!(take("冷柜-3").await, 409, "it is taken already");
    assert_eq!(take("nobody").await, 409);
    let alarms = gateway.get("/api/v1/alarms").await;
    assert_eq!(alarms["alarms"][0]["ack"]["by"], "李工");
}

/// Presses a button of the desk's page.
async fn reqwest_form(http: &str, id: &str, status: &str) -> u16 {
    let client = faultgate::io::upstream::plain_client().expect("a client");
    let response = client
        .post(format!("http://{http}/desk/tickets/{id}"))
        .header("origin", format!("http://{http}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("status={status}&by=li"))
        .send()
        .await;
    response.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_is_counted_and_stops_nothing() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let deep = "[".repeat(20_000);
    let long = "设".repeat(2_000);
    let messages = vec![
        report("m-1", "{\"temp_c\": "),
        report("m-1", "{\"temp_c\": NaN}"),
        report("m-1", "{\"temp_c\": \"NaN\"}"),
        report("m-1", &deep),
        report("m-1", ""),
        report("m-1", &"x".repeat(300_000)),
        (report("m-1", "").0, vec![0xff, 0xfe, 0x00]),
        report(&long, "{\"temp_c\": 90}"),
        report("a\u{7}b", "{\"temp_c\": 90}"),
        ("plant/x/y".to_owned(), b"{}".to_vec()),
        report("m-1", "{\"ts\": 0, \"temp_c\": 20}"),
        report("m-1", "{\"ts\": 4102444800, \"temp_c\": 20}"),
        report("冷柜-3", "{\"temp_c\": 90}"),
    ];
    gateway.publish(&messages).await;
    let tickets = gateway.desk_until(|tickets| !tickets.is_empty()).await;
    assert_eq!(tickets.len(), 1);
    assert_eq!(tickets[0]["device"], "冷柜-3");
    let metrics = gateway.metrics().await;
    for reason in
        ["undecodable", "number", "too-deep", "oversized", "invalid-utf8", "device-id", "time"]
    {
        let counted = metrics.lines().any(|line| {
            line.starts_with("faultgate_messages_rejected_total")
                && line.contains(&format!("\"{reason}\""))
        });
        assert!(counted, "{reason} in\n{metrics}");
    }
    let (log, ended_well) = gateway.terminate();
    assert!(ended_well);
    let told = log.iter().filter(|line| line.contains("A message was refused.")).count();
    assert!(told <= 9, "each kind is told once: {log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_explained_with_its_calls_and_what_they_cost() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1).await;
    let (_, ended_well) = gateway.terminate();
    assert!(ended_well);
    let plan = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/billing");
    let told = std::process::Command::new(crate::gateway::binary())
        .args(["explain", "tk-1", "--config"])
        .arg(home.path().join("faultgate.toml"))
        .arg("--plan")
        .arg(plan.join("plan-payg-ticket.toml"))
        .output()
        .expect("explained");
    let told = String::from_utf8(told.stdout).expect("text");
    for line in [
        "alarm hot/冷柜-3: unacknowledged",
        "temp_c = 90",
        "used: 1 api.call, 1 ticket.created",
        "cost: 1.20 CNY on payg-ticket",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_code_of_a_device_is_a_fault_of_its_own() {
    let rules = "[[rule]]\nid = \"code\"\nkey = [\"code\"]\nwhen = \"code != 0\"\n\
                 title = { zh = \"故障码 {{ code }}\", en = \"Code {{ code }}\" }\n";
    let home = Home::new(rules, "");
    let gateway = home.start();
    let code = |number: i32| [report("变频器-1", &format!("{{\"code\": {number}}}"))];
    let states = |tickets: &[serde_json::Value]| {
        let word =
            |ticket: &serde_json::Value, key: &str| ticket[key].as_str().unwrap_or("").to_owned();
        tickets
            .iter()
            .map(|t| format!("{} {}", word(t, "title"), word(t, "status")))
            .collect::<Vec<_>>()
    };
    for (number, wanted) in [
        (14, vec!["Code 14 · 变频器-1 new"]),
        (15, vec!["Code 14 · 变频器-1 resolved", "Code 15 · 变频器-1 new"]),
        (0, vec!["Code 14 · 变频器-1 resolved", "Code 15 · 变频器-1 resolved"]),
        (14, vec!["Code 14 · 变频器-1 reopened", "Code 15 · 变频器-1 resolved"]),
    ] {
        gateway.publish(&code(number)).await;
        gateway.desk_until(|tickets| states(tickets) == wanted).await;
    }
    gateway.kill();
    // After a restart the alarms are those that they were.
    let gateway = home.start();
    gateway.publish(&code(0)).await;
    let wanted = ["Code 14 · 变频器-1 resolved", "Code 15 · 变频器-1 resolved"];
    gateway.desk_until(|tickets| states(tickets) == wanted).await;
}
