//! The plot of a new ticket: there once, wherever the ticket system takes files.

use faultgate::engine::types::job::{Action, Call, Outcome};
use faultgate::engine::types::plot::{Level, Plot, Point};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::plain_client;
use serde_json::{Value as Json, json};

use crate::fake::{Fake, said};
use crate::gateway::{Gateway, HOT, Home, report};
use crate::proxy::{Fate, Proxy};
use crate::upstream::{call, connect, draft, opened};

/// A ticket with a plot, to be opened.
pub fn open_with_plot(key: &str) -> Call {
    let level = |number: f64| Level::of(number).expect("a number");
    let at = |second: i64| 1_767_225_600_000_000 + second * 1_000_000;
    let plot = Plot {
        metric: "temp_c".into(),
        points: (0..24).map(|n| Point(at(n * 30), level(60.0 + n as f64))).collect(),
        thresholds: vec![level(80.0)],
        clear: vec![level(70.0)],
        raised_at: Timestamp::from_micros(at(620)),
        utc_offset: 28_800,
    };
    let mut open = draft("冷柜 \"3\" 过热", None);
    if let Action::Open(draft) = &mut open {
        draft.plot = Some(plot);
    }
    call(key, 1, None, open)
}

/// Size of a picture; it is decoded as a whole.
pub fn size_of(file: &[u8]) -> (u32, u32) {
    let decoder = png::Decoder::new(std::io::Cursor::new(file));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    (frame.width, frame.height)
}

async fn fetch(address: &str, path: &str) -> reqwest::Response {
    let client = plain_client().expect("a client");
    let request = client.get(format!("http://{address}/desk/{path}"));
    request.send().await.expect("an answer")
}

/// The one attachment of the first ticket: a picture, and all that is attached at the desk.
async fn the_picture(gateway: &Gateway, ticket: &Json) {
    let files = ticket["attachments"].as_array().expect("a list");
    assert_eq!(files.len(), 1, "{files:#?}");
    assert_eq!(
        (&files[0]["name"], &files[0]["content_type"]),
        (&"plot.png".into(), &"image/png".into())
    );
    let answer = fetch(&gateway.http, "api/v1/tickets/1/attachments/1").await;
    let used = answer.headers()["x-usage-bytes-attached"].to_str().expect("text").to_owned();
    let content = answer.bytes().await.expect("a file");
    assert_eq!(size_of(&content), (640, 240));
    assert_eq!((&files[0]["bytes"], used), (&json!(content.len()), content.len().to_string()));
    let page = fetch(&gateway.http, "tickets/1").await.text().await.expect("a page");
    assert!(page.contains("<img src=\"/desk/tickets/1/attachments/1\""), "{page}");
    let shown = fetch(&gateway.http, "tickets/1/attachments/1").await;
    assert_eq!(shown.bytes().await.expect("a file"), content);
}

fn told(temperatures: &[i64]) -> Vec<(String, Vec<u8>)> {
    temperatures.iter().map(|temp| report("冷柜-3", &format!("{{\"temp_c\": {temp}}}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_has_its_plot_at_the_desk_once_whatever_is_killed() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    gateway.publish(&told(&[20, 40, 60, 90])).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    the_picture(&gateway, &tickets[0]).await;
    gateway.kill();
    let gateway = home.start();
    gateway.ready().await;
    gateway.publish(&told(&[91, 95])).await;
    gateway.publish(&[report("冷柜-4", "{\"temp_c\": 90}")]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 2).await;
    let of = |device: &str| tickets.iter().find(|ticket| ticket["device"] == device).cloned();
    the_picture(&gateway, &of("冷柜-3").expect("a ticket")).await;
    let single = of("冷柜-4").expect("a ticket");
    assert_eq!(single["attachments"], json!([]), "one value is no curve");
}

#[tokio::test(flavor = "multi_thread")]
async fn plots_are_left_out_where_the_operator_says_so() {
    let home = Home::new(HOT, "[[upstream]]\nname = \"desk\"\nkind = \"desk\"\nplots = false\n");
    let gateway = home.start();
    gateway.publish(&told(&[20, 40, 60, 90])).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["attachments"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_sent_again_attaches_nothing_again() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let proxy = Proxy::start(&gateway.http).await;
    let toml = format!("name = \"u\"\nkind = \"desk\"\nurl = \"http://{}/\"\n", proxy.address);
    let upstream = connect(&toml);
    let open = open_with_plot("k");
    proxy.plan(&[Fate::Lose]);
    let lost = upstream.perform(&open).await;
    assert!(matches!(lost.outcome, Outcome::Unknown { .. }), "{lost:?}");
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open };
    assert_eq!(opened(&upstream, &again).await, ("1".into(), true));
    the_picture(&gateway, &gateway.desk().await[0]).await;

    let file = |name: &str, content: &str| json!([{ "name": name, "content": content }]);
    let post = async |key: &str, files: Json| {
        let url = format!("http://{}/desk/api/v1/tickets", gateway.http);
        let body = json!({ "external_key": key, "title": "t", "attachments": files });
        let request = plain_client().expect("a client").post(url).json(&body);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(post("a", file("../x", "QQ==")).await, 422);
    assert_eq!(post("b", file("x", "")).await, 422);
    assert_eq!(post("c", file("x", "no base64")).await, 422);
    assert_eq!(post("d", json!(vec![file("x", "QQ==")[0].clone(); 51])).await, 422);
    assert_eq!(gateway.desk().await.len(), 1, "what is refused opens nothing");
    assert_eq!(post("e", file("x", "QQ==")).await, 201);
}

const NOTHING_ELSE: &str = "comment = \"none\"\nescalate = \"none\"\nresolve = \"none\"\n\
                            reopen = \"none\"\nonce = { by = \"header\" }\n";
const INLINE: &str = "[create]\nrequest = { path = \"tickets\" }\nid = \"/id\"\nbody = '''\n\
                      { \"title\": {{ title }}, \"file\": {{ plot.base64 if plot else none }},\n\
                      \"size\": {% if plot %}{{ plot.size }}{% else %}null{% endif %} }'''\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_create_may_carry_the_plot_in_its_body() {
    let fake = Fake::start(|_| said(201, "{\"id\": 7}")).await;
    let upstream = connect(&format!("{}{NOTHING_ELSE}{INLINE}", fake.head()));
    opened(&upstream, &open_with_plot("k")).await;
    let body = fake.last().json();
    let file = body["file"].as_str().expect("a text");
    assert!(file.starts_with("iVBORw0KGgo"), "{file}");
    assert_eq!(body["size"].as_u64().map(|size| size.div_ceil(3) * 4), Some(file.len() as u64));
    opened(&upstream, &call("l", 1, None, draft("x", None))).await;
    assert_eq!(fake.last().json(), json!({ "title": "x" }));
    let without = connect(&format!("{}{NOTHING_ELSE}plots = false\n{INLINE}", fake.head()));
    opened(&without, &open_with_plot("m")).await;
    assert!(fake.last().json()["file"].is_null());
}

/// Uploads first, if there is something, then opens.
const UPLOADED: &str = "[create]\nid = \"/id\"\n\
    [[create.step]]\nwhen = \"plot\"\noptional = true\nrequest = { path = \"files/{{ plot.name }}\" }\nfile = true\n\
    capture = { token = \"/token\" }\n\
    [[create.step]]\nrequest = { path = \"tickets\" }\nbody = '{ \"title\": {{ title }}, \"file\": {{ got.token }} }'\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_stops_no_ticket_and_is_counted() {
    let mut answers =
        vec![said(200, "{}"), said(422, "no"), said(503, "down"), said(200, "{\"token\": \"t1\"}")];
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        "POST /api/files/plot.png" => answers.pop().expect("an answer"),
        _ => said(201, "{\"id\": 7}"),
    })
    .await;
    let upstream = connect(&format!("{}{NOTHING_ELSE}{UPLOADED}", fake.head()));
    for wanted in [json!("t1"), Json::Null, Json::Null, Json::Null] {
        let delivered = upstream.perform(&open_with_plot("k")).await;
        assert!(matches!(delivered.outcome, Outcome::Done { .. }), "{delivered:?}");
        assert_eq!(delivered.requests, 2, "an upload is a request, whatever comes of it");
        let [upload, create] = &fake.asked()[fake.asked().len() - 2..] else { panic!("two") };
        assert!(upload.body.contains("PNG"), "{}", upload.body);
        assert_eq!(upload.header("content-type"), "application/octet-stream");
        assert_eq!(
            (upload.header("idempotency-key"), create.header("idempotency-key")),
            ("", "k-1")
        );
        assert_eq!(create.json()["file"], wanted);
    }
    let without = upstream.perform(&call("l", 1, None, draft("x", None))).await;
    assert_eq!(without.requests, 1, "there is nothing to upload");
}
