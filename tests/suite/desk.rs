//! The desk's API as it is documented: for whoever works with it instead of the gateway.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use faultgate::engine::types::job::{Action, Outcome};
use faultgate::io::store::{Store, StoreOptions};
use reqwest::{Method, RequestBuilder, Response};
use ring::hmac;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use crate::gateway::{Gateway, HOT, Home, report};
use crate::proxy::{Fate, Proxy};
use crate::upstream::{call, connect};

fn request(method: Method, address: &str, path: &str) -> RequestBuilder {
    let client = faultgate::io::upstream::plain_client().expect("a client");
    client.request(method, format!("http://{address}/desk/api/v1/{path}"))
}

async fn send(request: RequestBuilder) -> (StatusCode, Json) {
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.json().await.unwrap_or_default())
}

async fn open(gateway: &Gateway, key: &str) -> (StatusCode, Json) {
    let body = json!({ "external_key": key, "title": "冷柜过热" });
    send(request(Method::POST, &gateway.http, "tickets").json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_answered_in_short_however_long_the_history_is() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    open(&gateway, "k").await;
    let toml = format!("name = \"u\"\nkind = \"desk\"\nurl = \"http://{}/\"\n", gateway.http);
    let upstream = connect(&toml);
    for number in 2..6 {
        let text = "长".repeat(100_000);
        let comment = call("k", number, Some("1"), Action::Comment { text });
        let outcome = upstream.perform(&comment).await.outcome;
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }
    let (_, ticket) = send(request(Method::GET, &gateway.http, "tickets/1")).await;
    assert_eq!(ticket["history"].as_array().map(Vec::len), Some(4));
    let change = request(Method::PATCH, &gateway.http, "tickets/1").json(&json!({}));
    let (_, short) = send(change).await;
    assert!(short["id"] == "1" && short["history"].is_null(), "{short:#}");
}

/// A desk as version 1 of its layout kept it: the history inside the ticket.
#[tokio::test(flavor = "multi_thread")]
async fn a_desk_of_the_first_layout_goes_on_with_its_tickets_keys_and_counts() {
    let home = Home::new(HOT, "");
    let at = "2026-04-11T03:20:00Z";
    let entry = |text: &str| json!({ "at": at, "by": "王工", "what": "", "text": text });
    let file = json!({ "number": 1, "name": "曲线.png", "content_type": "image/png", "bytes": 3, "by": "王工", "at": at });
    let ticket = json!({
        "id": "7", "external_key": "k", "title": "冷柜过热", "body": "b", "severity": "major", "safety": false,
        "queue": "", "assignee": "", "status": "accepted", "device": "冷柜-1", "rule": "hot", "site": "",
        "raised_at": null, "created_at": at, "updated_at": at,
        "history": [entry("一"), entry("二")], "attachments": [file],
    });
    let put = |key: &str, value: String| (key.as_bytes().to_vec(), Some(value.into_bytes()));
    let (store, _) =
        Store::open(&home.path().join("data/desk"), StoreOptions::default()).expect("a store");
    let old = vec![
        put("t/00000000000000000007", ticket.to_string()),
        put("i/k-2", "7".to_owned()),
        put("u/calls", "41".to_owned()),
    ];
    store.commit(old).expect("stored");
    drop(store);
    let gateway = home.start();
    gateway.ready().await;
    let (_, found) = send(request(Method::GET, &gateway.http, "tickets?external_key=k")).await;
    let found = &found["tickets"][0];
    let texts = [&found["history"][0]["text"], &found["history"][1]["text"]];
    assert_eq!((&found["id"], texts), (&json!("7"), [&json!("一"), &json!("二")]));
    let again = request(Method::PATCH, &gateway.http, "tickets/7")
        .header("idempotency-key", "k-2")
        .json(&json!({ "status": "resolved" }));
    let (_, again) = send(again).await;
    assert_eq!((&again["replayed"], &again["status"]), (&json!(true), &json!("accepted")));
    let comment =
        request(Method::POST, &gateway.http, "tickets/7/comments").json(&json!({ "text": "三" }));
    assert_eq!(send(comment).await.0, StatusCode::OK);
    let opened = request(Method::POST, &gateway.http, "tickets")
        .json(&json!({ "external_key": "new", "title": "t" }))
        .send()
        .await
        .expect("an answer");
    let told = |name: &str| opened.headers()[name].to_str().expect("text").to_owned();
    let used = ["calls", "tickets-created", "bytes-attached"].map(|what| match what {
        "calls" => told("x-usage-api-calls"),
        other => told(&format!("x-usage-{other}")),
    });
    assert_eq!(used, ["45", "8", "3"]);
    gateway.kill();
    let gateway = home.start();
    gateway.ready().await;
    let (_, whole) = send(request(Method::GET, &gateway.http, "tickets/7")).await;
    let texts: Vec<&Json> =
        whole["history"].as_array().expect("a list").iter().map(|entry| &entry["text"]).collect();
    assert_eq!(texts, ["一", "二", "三"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_a_long_history_goes() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    open(&gateway, "k").await;
    for number in 0..46 {
        let text = format!("{number:02}{}", "长".repeat(33_000));
        let comment = request(Method::POST, &gateway.http, "tickets/1/comments");
        assert_eq!(send(comment.json(&json!({ "text": text }))).await.0, StatusCode::OK);
    }
    let (_, ticket) = send(request(Method::GET, &gateway.http, "tickets/1")).await;
    let history = ticket["history"].as_array().expect("a list");
    let first = history[0]["text"].as_str().expect("text");
    assert!(history.len() == 42 && first.starts_with("04"), "{} entries", history.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_ticket_under_a_chinese_name_has_taken_it() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    gateway.publish(&[report("冷柜-3", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1).await;
    let change = request(Method::PATCH, &gateway.http, "tickets/1")
        .header("x-actor", "王工".as_bytes())
        .json(&json!({ "status": "accepted" }));
    assert_eq!(send(change).await.0, StatusCode::OK);
    gateway.ticket_until(|ticket| ticket["ack"]["by"] == "王工").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_again_is_refused_and_what_is_used_is_told() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let (status, refusal) = open(&gateway, " ").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = refusal["message"].as_str().expect("a message");
    assert!(told.starts_with("`external_key` is empty"), "{told}");

    let used = |answer: &Response| {
        ["x-usage-call", "x-usage-api-calls", "x-usage-tickets-created"]
            .map(|name| answer.headers()[name].to_str().expect("text").to_owned())
    };
    let body = json!({ "external_key": "k", "title": "冷柜过热" });
    let opened = request(Method::POST, &gateway.http, "tickets").json(&body).send().await;
    let opened = used(&opened.expect("an answer"));
    assert_eq!(opened, ["api-calls=1, tickets-created=1, bytes-attached=0", "2", "1"]);
    let seen = request(Method::GET, &gateway.http, "tickets?external_key=k").send().await;
    let seen = used(&seen.expect("an answer"));
    assert_eq!(seen, ["api-calls=1, tickets-created=0, bytes-attached=0", "3", "1"]);

    let rebound = request(Method::GET, &gateway.http, "tickets").header("host", "evil.example");
    assert_eq!(send(rebound).await.0, StatusCode::MISDIRECTED_REQUEST);
    let foreign = request(Method::POST, &gateway.http, "tickets")
        .header("origin", "http://evil.example")
        .json(&body);
    assert_eq!(send(foreign).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_with_a_token_opens_to_its_own_gateway_and_to_who_has_it() {
    let home = Home::new(HOT, "[desk]\ntoken = { file = \"TOKEN\" }\n");
    let token = home.path().join("token");
    std::fs::write(&token, "令牌-1\n").expect("written");
    let config = home.path().join("faultgate.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let text = text.replace("TOKEN", &token.display().to_string());
    std::fs::write(&config, text).expect("written");
    let gateway = home.start();
    gateway.publish(&[report("m-1", "{\"temp_c\": 90}")]).await;
    let tickets = || request(Method::GET, &gateway.http, "tickets");
    assert_eq!(send(tickets()).await.0, StatusCode::UNAUTHORIZED);
    let wrong = tickets().header("authorization", "Bearer no");
    assert_eq!(send(wrong).await.0, StatusCode::UNAUTHORIZED);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let right = tickets().header("authorization", "Bearer 令牌-1".as_bytes());
        let (status, body) = send(right).await;
        assert_eq!(status, StatusCode::OK);
        if body["tickets"].as_array().is_some_and(|tickets| tickets.len() == 1) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the gateway opened no ticket");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_is_there_once_and_comes_back_as_it_was() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let proxy = Proxy::start(&gateway.http).await;
    open(&gateway, "k").await;
    let path = "tickets/1/attachments?name=%E6%9B%B2%E7%BA%BF.png";
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let attach = |address: &str| {
        request(Method::POST, address, path)
            .header("idempotency-key", "k-2")
            .header("content-type", "image/png")
            .body(content.clone())
    };
    proxy.plan(&[Fate::Lose]);
    attach(&proxy.address).send().await.expect_err("the answer is lost");
    assert_eq!(proxy.left(), 0);
    let (status, again) = send(attach(&proxy.address)).await;
    assert_eq!(
        (status, &again["replayed"], &again["number"]),
        (StatusCode::OK, &json!(true), &json!(1))
    );

    let (_, list) = send(request(Method::GET, &gateway.http, "tickets/1/attachments")).await;
    let names = list["attachments"].as_array().expect("a list").iter().map(|file| &file["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["曲线.png"]);
    let fetched = request(Method::GET, &gateway.http, "tickets/1/attachments/1").send().await;
    let fetched = fetched.expect("an answer");
    assert_eq!(fetched.headers()["content-type"], "image/png");
    assert_eq!(fetched.bytes().await.expect("a body"), content);

    let large = attach(&gateway.http).body(vec![0; (4 << 20) + 1]);
    assert_eq!(send(large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Listens for events; the first answers are refusals.
async fn listener(refusals: usize) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (told, events) = mpsc::unbounded_channel();
    let left = Arc::new(Mutex::new(refusals));
    let take = async move |headers: HeaderMap, body: Bytes| {
        let mut left = left.lock().expect("a count");
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        drop(told.send((headers, body)));
        StatusCode::NO_CONTENT
    };
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("an address").to_string();
    let router = axum::Router::new().route("/hook", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(socket, router).await });
    (format!("http://{address}/hook"), events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_every_event_in_order_signed_and_after_a_kill() {
    let secret = "一个很长的密钥-0123456789";
    let (url, mut events) = listener(1).await;
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let hook =
        json!({ "url": url, "secret": secret, "events": ["ticket.opened", "ticket.changed"] });
    let (status, shown) = send(request(Method::POST, &gateway.http, "webhooks").json(&hook)).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(!shown.to_string().contains(secret), "{shown}");
    open(&gateway, "k").await;
    let comment = json!({ "text": "看到了" });
    send(request(Method::POST, &gateway.http, "tickets/1/comments").json(&comment)).await;
    let change = json!({ "status": "accepted", "comment": "王工接单" });
    send(request(Method::PATCH, &gateway.http, "tickets/1").json(&change)).await;
    // The first event is refused once, so that both wait while the gateway dies.
    gateway.kill();
    let gateway = home.start();

    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut ids = Vec::new();
    for wanted in ["ticket.opened", "ticket.changed"] {
        let event = loop {
            let (headers, body) = events.recv().await.expect("an event");
            let text = |name| headers[name].to_str().expect("text").to_owned();
            let signed = [text("x-faultgate-timestamp").as_bytes(), b".", &body].concat();
            let signature: Vec<u8> =
                hex(text("x-faultgate-signature").trim_start_matches("sha256="));
            hmac::verify(&key, &signed, &signature).expect("signed by the desk");
            let event: Json = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(event["id"], text("x-faultgate-delivery"));
            // Told again after the kill, under the same id.
            if !ids.contains(&event["id"]) {
                break event;
            }
        };
        assert_eq!(event["event"], wanted, "{event:#}");
        assert_eq!(event["ticket"]["external_key"], "k");
        ids.push(event["id"].clone());
    }
    let remove = request(Method::DELETE, &gateway.http, "webhooks/1");
    assert_eq!(send(remove).await.0, StatusCode::NO_CONTENT);
    let (_, left) = send(request(Method::GET, &gateway.http, "webhooks")).await;
    assert_eq!(left, json!({ "webhooks": [] }));
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_path_of_the_api() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let document = gateway.get("/desk/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        let path = path.replace("{id}", "1").replace("{number}", "1");
        for method in methods.as_object().expect("methods").keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let path = path.trim_start_matches("/desk/api/v1/");
            let answer = request(method.clone(), &gateway.http, path).send().await;
            let status = answer.expect("an answer").status();
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    let named: Vec<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(
        named,
        [
            "/desk/api/v1/tickets",
            "/desk/api/v1/tickets/{id}",
            "/desk/api/v1/tickets/{id}/attachments",
            "/desk/api/v1/tickets/{id}/attachments/{number}",
            "/desk/api/v1/tickets/{id}/comments",
            "/desk/api/v1/webhooks",
            "/desk/api/v1/webhooks/{id}",
        ]
    );
}
