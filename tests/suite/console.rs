//! The console's pages as a browser without scripts uses them, and `show` on the command line.

use std::process::Command;
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value as Json;

use crate::fake::{Fake, said};
use crate::gateway::{Gateway, HOT, Home, binary, report};
use crate::mosquitto::free_port;

const HOSTILE: &str = "<b>冷柜&3";

fn client() -> reqwest::Client {
    faultgate::io::upstream::plain_client().expect("a client")
}

async fn text_of(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("text"))
}

/// A page in English.
async fn page(gateway: &Gateway, path: &str) -> String {
    let (status, page) = text_of(client().get(format!("http://{}{path}", gateway.http))).await;
    assert_eq!(status, StatusCode::OK, "{path}: {page}");
    page
}

/// Presses a button of a page of this origin.
async fn press(gateway: &Gateway, path: &str, origin: &str, form: &str) -> (StatusCode, String) {
    let request = client()
        .post(format!("http://{}{path}", gateway.http))
        .header("origin", format!("http://{origin}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    text_of(request).await
}

/// A gateway with one raised alarm on this device, whose ticket is at the desk.
async fn with_alarm(home: &Home, device: &str) -> Gateway {
    let gateway = home.start();
    gateway.publish(&[report(device, "{\"temp_c\": 90}")]).await;
    gateway.ticket_until(|ticket| ticket["external"].is_string()).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_the_alarm_with_its_ticket_and_what_a_device_says_is_no_markup() {
    let home = Home::new(HOT, "");
    let gateway = with_alarm(&home, HOSTILE).await;
    let list = page(&gateway, "/").await;
    for there in ["&lt;b&gt;冷柜&amp;3", "unacknowledged", "critical", "上海-1", "temp_c = 90"]
    {
        assert!(list.contains(there), "{there} in {list}");
    }
    assert!(list.contains("href=\"&#x2f;desk&#x2f;tickets&#x2f;1\"") && !list.contains("<b>冷柜"));
    let chinese = client().get(format!("http://{}/", gateway.http));
    let (_, chinese) = text_of(chinese.header("accept-language", "zh-CN,zh;q=0.9")).await;
    assert!(chinese.contains("未确认") && chinese.contains("紧急"), "{chinese}");
    for (filter, is_there) in [
        ("state=acknowledged", false),
        ("state=unacknowledged&severity=critical&site=%E4%B8%8A%E6%B5%B7-1&rule=hot", true),
        ("severity=minor", false),
        ("site=elsewhere", false),
        ("state=all&rule=other", false),
    ] {
        let found = page(&gateway, &format!("/?{filter}")).await.contains("冷柜");
        assert_eq!(found, is_there, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_do_what_the_api_does_and_it_is_kept_who_pressed_them() {
    let home = Home::new(HOT, "");
    let gateway = with_alarm(&home, "m-1").await;
    let own = gateway.http.clone();
    let form = |act: &str| format!("rule=hot&device=m-1&by=%E7%8E%8B%E5%B7%A5&act={act}");
    let (status, _) = press(&gateway, "/alarm", "evil.example", &form("ack")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, told) = press(&gateway, "/alarm", &own, "rule=hot&device=m-1&act=ack").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && told.contains("say who you are"));
    let (status, told) = press(&gateway, "/alarm", &own, &form("shelve&for=2h")).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && told.contains("say why"), "{told}");
    let (status, _) = press(&gateway, "/alarm", &own, &form("ack")).await;
    assert!(status.is_redirection() || status == StatusCode::OK, "{status}");
    let (status, told) = press(&gateway, "/alarm", &own, &form("ack")).await;
    assert!(status == StatusCode::CONFLICT && told.contains("was taken by 王工"), "{told}");
    press(&gateway, "/alarm", &own, &form("shelve&for=2h&reason=door")).await;
    let shown = page(&gateway, "/alarm?rule=hot&device=m-1").await;
    for there in ["shelved until", "王工: door", "Unshelve", "temp_c &gt; 80", "raised still"] {
        assert!(shown.contains(there), "{there} in {shown}");
    }
    assert!(page(&gateway, "/?state=suppressed").await.contains("m-1"));
    press(&gateway, "/alarm", &own, &form("unshelve")).await;
    let audit = gateway.get("/api/v1/audit").await;
    let acts = audit["audit"].as_array().expect("a list").iter();
    let acts: Vec<(&str, &str, &str)> = acts
        .map(|act| ["act", "by", "via"].map(|part| act[part].as_str().unwrap_or("")))
        .map(|[act, by, via]| (act, by, via))
        .filter(|(_, _, via)| *via == "console")
        .collect();
    let by = |act| (act, "王工", "console");
    assert_eq!(acts, [by("acknowledge"), by("shelve"), by("unshelve")]);
}

/// A ticket system that refuses every ticket for good.
async fn refusing() -> (Fake, String) {
    let fake = Fake::start(|_| said(422, "{\"error\":\"no such queue\"}")).await;
    let address = &fake.address;
    let upstream =
        format!("[[upstream]]\nname = \"crm\"\nkind = \"desk\"\nurl = \"http://{address}/\"\n");
    (fake, upstream)
}

async fn dead_letters(gateway: &Gateway, count: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gateway.get("/api/v1/dead-letters").await;
        if answer["found"] == count {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {answer:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_good_is_sent_again_or_given_up() {
    let (fake, upstream) = refusing().await;
    let home = Home::new(HOT, &upstream);
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    dead_letters(&gateway, 1).await;
    let shown = page(&gateway, "/dead-letters").await;
    assert!(shown.contains("tk-1/1") && shown.contains("no such queue"), "{shown}");
    let before = fake.count("POST");
    let own = gateway.http.clone();
    let form = |act: &str| format!("ticket=tk-1&number=1&by=li&act={act}");
    let (status, _) = press(&gateway, "/dead-letters", "evil.example", &form("drop")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    press(&gateway, "/dead-letters", &own, &form("retry")).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while fake.count("POST") == before {
        assert!(tokio::time::Instant::now() < deadline, "it is not sent again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    dead_letters(&gateway, 1).await;
    press(&gateway, "/dead-letters", &own, &form("drop")).await;
    dead_letters(&gateway, 0).await;
    let (status, told) = press(&gateway, "/dead-letters", &own, &form("drop")).await;
    assert!(status == StatusCode::CONFLICT && told.contains("is not a dead letter"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_and_figures_have_pages_and_figures_are_metrics() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    assert!(page(&gateway, "/figures").await.contains("Unknown"), "nothing is known yet");
    gateway.publish(&[report(HOSTILE, "{\"temp_c\": 90}")]).await;
    gateway.ticket_until(|ticket| ticket["external"].is_string()).await;
    let devices = page(&gateway, "/devices?like=%E5%86%B7").await;
    let id = "%3Cb%3E%E5%86%B7%E6%9F%9C%263";
    assert!(devices.contains("/device?id=") || devices.contains("&#x2f;device?id="), "{devices}");
    assert!(!page(&gateway, "/devices?like=nobody").await.contains("冷柜"));
    let device = page(&gateway, &format!("/device?id={id}")).await;
    for there in ["machine", "temp_c", "90", "hot", "unacknowledged"] {
        assert!(device.contains(there), "{there} in {device}");
    }
    let figures = page(&gateway, "/figures?days=7").await;
    for there in ["&lt; 1 %", "100.0 %", "上海-1", "no roster"] {
        assert!(figures.contains(there), "{there} in {figures}");
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let metrics = loop {
        let metrics = gateway.metrics().await;
        if metrics.contains("faultgate_alarm_worst_10_min 1") {
            break metrics;
        }
        assert!(tokio::time::Instant::now() < deadline, "{metrics}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for line in [
        "faultgate_site_alarm_worst_10_min{site=\"上海-1\"} 1",
        "faultgate_alarm_priority_ratio{priority=\"critical\"} 1",
        "faultgate_alarm_top_10_ratio 1",
        "faultgate_alarm_stale 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

/// The command asks the gateway where the configuration says that it listens.
fn listening(extra: &str) -> Home {
    let home = Home::new(HOT, extra);
    let path = home.path().join("faultgate.toml");
    let text = std::fs::read_to_string(&path).expect("there");
    let here = format!("127.0.0.1:{}", free_port());
    std::fs::write(path, text.replacen("127.0.0.1:0", &here, 1)).expect("written");
    home
}

fn command(home: &Home, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).args(arguments).current_dir(home.path()).output();
    let output = output.expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alarm_device_or_dead_letter_is_shown_in_full_running_or_stopped() {
    let (_fake, upstream) = refusing().await;
    let home = listening(&upstream);
    let gateway = home.start();
    gateway.publish(&[report("冷柜 3", "{\"temp_c\": 90}")]).await;
    dead_letters(&gateway, 1).await;
    let shows = |is_running: bool| {
        for (arguments, key, value, words) in [
            (["alarms", "show", "hot/冷柜 3"], "state", "unacknowledged", "when temp_c > 80"),
            (["tickets", "show", "tk-1"], "device", "冷柜 3", "tk-1"),
            (["devices", "show", "冷柜 3"], "site", "上海-1", "hot"),
            (["dead-letters", "show", "tk-1/1"], "upstream", "crm", "no such queue"),
        ] {
            let (ok, text) = command(&home, &arguments);
            assert!(ok && text.contains(words), "running: {is_running}, {arguments:?}: {text}");
            let (_, told) = command(&home, &[&arguments[..], &["--format", "json"]].concat());
            let told: Json = serde_json::from_str(&told).expect("JSON");
            assert_eq!(told[key], value, "{told:#}");
        }
        for absent in [["alarms", "show", "hot/x"], ["devices", "show", "x"]] {
            let (ok, told) = command(&home, &absent);
            assert!(!ok && told.contains("there is no"), "{told}");
        }
    };
    shows(true);
    gateway.terminate();
    shows(false);
}
