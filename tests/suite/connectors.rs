//! Systems of every shape, driven by a file alone.

use faultgate::engine::types::job::{Action, Call, Outcome};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::time::TimeSpan;
use faultgate::io::upstream::Upstream;
use serde_json::json;

use crate::fake::{Asked, Fake, said};
use crate::gateway::{HOT, Home, report};
use crate::upstream::{call, connect, draft, opened};

const NOTHING_ELSE: &str =
    "escalate = \"none\"\nresolve = \"none\"\nreopen = \"none\"\nonce = { by = \"header\" }\n";
const CREATE: &str = "[create]\nrequest = { path = \"tickets\" }\nid = \"/id\"\n\
                      body = '{ \"title\": {{ title }}, \"key\": {{ key }} }'\n";
const COMMENT: &str = "[comment]\nrequest = { path = \"tickets/{{ ticket }}/comments\" }\n\
                       body = '{ \"text\": {{ text }} }'\n";

async fn outcome(upstream: &Upstream, call: &Call) -> Outcome {
    upstream.perform(call).await.outcome
}

fn open(key: &str) -> Call {
    call(key, 1, None, draft("冷柜 \"3\" 过热", None))
}

fn comment(ticket: &str) -> Call {
    call("k", 2, Some(ticket), Action::Comment { text: "第一行\n\"二\"".into() })
}

fn secret(value: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), value).expect("written");
    let toml = format!("{{ file = \"{}\" }}", file.path().display());
    (file, toml)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_for_all_and_once_more_when_it_is_refused() {
    let mut tokens = 0;
    let fake = Fake::start(move |asked| {
        if asked.line.starts_with("POST /oauth/token") {
            tokens += 1;
            return said(
                200,
                &format!("{{\"access_token\": \"secret-token-{tokens}\", \"expires_in\": 3600}}"),
            );
        }
        match asked.header("authorization") {
            "Bearer secret-token-2" => said(201, r#"{"id": 7}"#),
            other => said(401, &format!("{{\"message\": \"not good: {other}\"}}")),
        }
    })
    .await;
    let (_file, client) = secret("client-secret-1");
    let auth = format!(
        "[auth]\nkind = \"oauth2\"\ntoken_url = \"/oauth/token\"\nclient_id = \"gw\"\n\
         client_secret = {client}\nfields = {{ scope = \"tickets\" }}\n"
    );
    let toml = format!("{}{NOTHING_ELSE}{auth}{CREATE}{COMMENT}", fake.head());
    let upstream = std::sync::Arc::new(connect(&toml));
    let mut together = tokio::task::JoinSet::new();
    for call in (0..6).map(|number| open(&format!("k{number}"))) {
        let upstream = std::sync::Arc::clone(&upstream);
        together.spawn(async move { opened(&upstream, &call).await });
    }
    while let Some(made) = together.join_next().await {
        assert_eq!(made.expect("made").0, "7");
    }
    assert_eq!(fake.count("POST /oauth/token"), 2, "one at a time");
    let form = fake.asked().into_iter().find(|asked| asked.line.contains("oauth"));
    let form = form.expect("a request").body;
    assert!(form.contains("grant_type=client_credentials") && form.contains("scope=tickets"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_begun_again_and_a_wrong_password_shows_no_secret() {
    let mut logins = 0;
    let fake = Fake::start(move |asked| {
        if asked.line.starts_with("POST /api/login") {
            if asked.json()["password"] != "pass-word-1" {
                return said(200, r#"{"code": 4, "msg": "wrong: pass-word-2"}"#);
            }
            logins += 1;
            return said(200, &format!("{{\"data\": {{\"sid\": \"sid-{logins}\"}}}}"));
        }
        match asked.header("cookie") {
            "SID=sid-2" => said(200, r#"{"code": 0, "id": "A-1"}"#),
            _ => said(200, r#"{"code": 40100, "msg": "会话过期"}"#),
        }
    })
    .await;
    let toml = |secret: &str| {
        format!(
            "{}{NOTHING_ELSE}secrets = {{ password = {secret} }}\n[auth]\nkind = \"login\"\ncarrier = \"cookie\"\nname = \"SID\"\n\
             token = \"/data/sid\"\nstale_if = \"/code == 40100\"\n[auth.login]\nrequest = {{ path = \"login\" }}\n\
             body = '{{ \"user\": \"gw\", \"password\": {{{{ secrets.password }}}} }}'\n{CREATE}[errors]\nfail_if = \"/code != 0\"\nmessage = \"/msg\"\n",
            fake.head()
        )
    };
    let (_right, right) = secret("pass-word-1");
    assert_eq!(opened(&connect(&toml(&right)), &open("k")).await, ("A-1".into(), false));
    let (_wrong, wrong) = secret("pass-word-2");
    let told = outcome(&connect(&toml(&wrong)), &open("k")).await;
    let Outcome::Later { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("***") && !reason.contains("pass-word-2"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_change_is_read_again_and_not_overwritten() {
    let mut version = 1;
    let fake = Fake::start(move |asked| {
        if asked.line.starts_with("GET ") {
            return said(200, r#"{"id": "7"}"#).with("etag", &format!("\"{version}\""));
        }
        version += 1;
        match asked.header("if-match") {
            "\"2\"" => said(204, ""),
            _ => said(412, "{}"),
        }
    })
    .await;
    let upstream = connect(&format!(
        "{}{NOTHING_ELSE}{CREATE}{COMMENT}lock = {{ version = {{ header = \"etag\" }} }}\n[get]\nrequest = {{ path = \"tickets/{{{{ ticket }}}}\" }}\n",
        fake.head()
    ));
    let told = outcome(&upstream, &comment("7")).await;
    assert!(matches!(told, Outcome::Done { .. }), "{told:?}");
    assert_eq!((fake.count("GET "), fake.count("POST ")), (2, 2));
    assert_eq!(fake.last().json(), json!({ "text": "第一行\n\"二\"" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_adopted_and_a_part_of_a_word_is_not() {
    let fake = Fake::start(|asked| match asked.line.as_str() {
        "POST /api/tickets" => said(409, r#"{"message": "exists", "existing": {"id": 9}}"#),
        _ => {
            said(200, r#"{"hits": [{"id": 4, "subject": "x k123"}, {"id": 5, "subject": "kkk"}]}"#)
        }
    })
    .await;
    let errors = "[[errors.rule]]\nstatus = [409]\nclass = \"duplicate\"\n";
    let unique = "once = { by = \"unique\", duplicate_id = \"/existing/id\" }\n";
    let nothing = NOTHING_ELSE.replace("once = { by = \"header\" }\n", unique);
    let upstream = connect(&format!("{}{nothing}{CREATE}{COMMENT}{errors}", fake.head()));
    assert_eq!(opened(&upstream, &open("k12")).await, ("9".into(), true));

    // A search by parts of words finds other tickets; the canary hears of it before any create.
    let search = NOTHING_ELSE.replace("once = { by = \"header\" }\n", "");
    let find =
        "[find]\nrequest = { path = \"find?q={{ key }}\" }\nitems = \"/hits\"\nid = \"/id\"\n";
    let upstream = connect(&format!("{}{search}{CREATE}{COMMENT}{find}", fake.head()));
    let told = outcome(&upstream, &open("k12")).await;
    let held = matches!(&told, Outcome::Held { reason, .. } if reason.starts_with("held"));
    assert!(held, "{told:?}");
    assert_eq!(fake.count("POST "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_far_behind_is_waited_for_and_newest_tickets_are_looked_through() {
    let fake = Fake::start(|asked| {
        let page = |number: &str| asked.line.contains(&format!("page={number}"));
        match asked.line.split(['?', ' ']).nth(1) {
            Some("/api/recent") if page("1") => {
                said(200, r#"[{"id": 1, "key": "x"}, {"id": 2, "key": "y"}]"#)
            }
            Some("/api/recent") if page("2") => said(200, r#"[{"id": 3, "key": "k3"}]"#),
            Some("/api/find") => said(200, "[]"),
            _ => said(201, r#"{"id": 9}"#),
        }
    })
    .await;
    let plain = NOTHING_ELSE.replace("once = { by = \"header\" }\n", "");
    let scan = "[once]\nby = \"scan\"\n[find]\nrequest = { path = \"recent?page={{ page.number }}\" }\nitems = \"/\"\nid = \"/id\"\n\
                key = \"/key\"\npaging = { style = \"number\", size = 2 }\n";
    let upstream = connect(&format!("{}{plain}{CREATE}{COMMENT}{scan}", fake.head()));
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open("k3") };
    assert_eq!(opened(&upstream, &again).await, ("3".into(), true));

    let late = "[once]\nsearch_lag = \"10m\"\n[find]\nrequest = { path = \"find\" }\nitems = \"/\"\nid = \"/id\"\nkey = \"/key\"\n";
    let upstream = connect(&format!("{}{plain}{CREATE}{COMMENT}{late}", fake.head()));
    let told = outcome(&upstream, &again).await;
    assert!(matches!(told, Outcome::Held { after: Some(_), .. }), "{told:?}");
    assert_eq!(fake.count("POST "), 0, "it may be there and not be found yet");
    let later = Call { in_doubt: Some(TimeSpan::from_secs(600)), ..again };
    assert_eq!(opened(&upstream, &later).await, ("9".into(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_makes_no_more_requests_than_are_paid_for_and_the_next_one_goes_further() {
    let fake = Fake::start(|asked| match asked.line.ends_with("page=1") {
        true => said(200, r#"[{"id": 1, "key": "x"}, {"id": 2, "key": "y"}]"#),
        false => said(200, r#"[{"id": 3, "key": "k3"}]"#),
    })
    .await;
    let plain = NOTHING_ELSE.replace("once = { by = \"header\" }\n", "");
    let scan = "[once]\nby = \"scan\"\n[find]\nrequest = { path = \"recent?page={{ page.number }}\" }\nitems = \"/\"\nid = \"/id\"\n\
                key = \"/key\"\npaging = { style = \"number\", size = 2 }\n";
    let upstream = connect(&format!("{}{plain}{CREATE}{COMMENT}{scan}", fake.head()));
    let looked_up = Call { in_doubt: Some(TimeSpan::from_secs(600)), attempt: 2, ..open("k3") };
    let first = upstream.perform(&Call { requests_max: 1, ..looked_up.clone() }).await;
    assert!(matches!(first.outcome, Outcome::Held { .. }), "the upstream is well: {first:?}");
    assert_eq!((first.requests, first.is_short, fake.count("POST ")), (1, true, 0));
    let second = upstream.perform(&Call { requests_max: 2, ..looked_up }).await;
    assert!(matches!(second.outcome, Outcome::Done { found: true, .. }), "{second:?}");
    assert_eq!((second.requests, second.is_short), (2, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_after_the_work_was_done_opens_nothing_twice() {
    let mut done = false;
    let fake = Fake::start(move |asked| match asked.line.starts_with("POST ") {
        true => {
            done = true;
            said(500, "<html>")
        }
        false if done && asked.line.ends_with("key=k5") => said(200, r#"[{"id": 3, "key": "k5"}]"#),
        false => said(200, "[]"),
    })
    .await;
    let plain = NOTHING_ELSE.replace("once = { by = \"header\" }\n", "");
    let find = "[find]\nrequest = { path = \"find?key={{ key }}\" }\nitems = \"/\"\nid = \"/id\"\nkey = \"/key\"\n";
    let upstream = connect(&format!("{}{plain}{CREATE}{COMMENT}{find}", fake.head()));
    let told = outcome(&upstream, &open("k5")).await;
    assert!(matches!(told, Outcome::Unknown { .. }), "{told:?}");
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open("k5") };
    assert_eq!(opened(&upstream, &again).await, ("3".into(), true));
    assert_eq!(fake.count("POST "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_asks_to_wait_is_left_alone() {
    let fake = Fake::start(|_| said(429, "{}").with("x-ratelimit-reset", "120")).await;
    let upstream = connect(&format!("{}{NOTHING_ELSE}{CREATE}{COMMENT}", fake.head()));
    for _ in 0..3 {
        let told = outcome(&upstream, &open("k")).await;
        let asked = matches!(&told, Outcome::Later { after: Some(after), .. } | Outcome::Held { after: Some(after), .. } if after.as_secs_f64() > 100.0);
        assert!(asked, "{told:?}");
    }
    assert_eq!(fake.count("POST "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_is_signed_anew_for_each_message_and_its_errors_stand_in_the_body() {
    let fake = Fake::start(|asked| {
        let text = asked.json()["text"]["content"].as_str().unwrap_or_default().to_owned();
        let code = if text.contains("过热") { 0 } else { 310_000 };
        said(200, &format!("{{\"errcode\": {code}, \"errmsg\": \"关键词不匹配\"}}"))
    })
    .await;
    let (_file, key) = secret("SEC-0123456789");
    let upstream = connect(&format!(
        "{}escalate = \"none\"\nresolve = \"none\"\nreopen = \"none\"\nonce = {{ by = \"local\" }}\nsecrets = {{ sign = {key} }}\n\
         [sign]\nalgorithm = \"hmac-sha256\"\nencoding = \"base64\"\nkey = \"{{{{ secrets.sign }}}}\"\nover = \"{{{{ timestamp_ms }}}}\\n{{{{ secrets.sign }}}}\"\n\
         query = {{ timestamp = \"{{{{ timestamp_ms }}}}\", sign = \"{{{{ sign }}}}\" }}\n\
         [create]\nrequest = {{ path = \"robot/send?access_token=t\" }}\nbody = '{{ \"msgtype\": \"text\", \"text\": {{ \"content\": \"{{{{ title }}}}\\n{{{{ body | bytes(18) }}}}\" }} }}'\nid = \"own\"\n\
         [comment]\nrequest = {{ path = \"robot/send?access_token=t\" }}\nbody = '{{ \"msgtype\": \"text\", \"text\": {{ \"content\": {{{{ text }}}} }} }}'\n\
         [errors]\nfail_if = \"/errcode != 0\"\nmessage = \"/errmsg\"\n",
        fake.head()
    ));
    assert_eq!(opened(&upstream, &open("k7")).await, ("k7".into(), false));
    let told = outcome(&upstream, &comment("k7")).await;
    assert_eq!(told, Outcome::Rejected { reason: "200: 关键词不匹配".into() });
    let asked = fake.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.line.contains("&sign=") && asked.line.contains("timestamp="))
    );
    assert_eq!(asked[0].json()["text"]["content"], "冷柜 \"3\" 过热\n第一行 \"引号\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_opened_in_two_steps_with_a_long_text_uploaded_in_parts() {
    let fake = Fake::start(|asked| match asked.line.as_str() {
        "POST /api/drafts" => said(200, r#"{"draft": {"token": "d/1"}}"#),
        "POST /api/drafts/d%2F1/submit" => {
            said(201, "").with("location", "http://x.example/api/tickets/88?new=1")
        }
        "POST /api/files" => said(200, r#"{"file": "f9"}"#),
        "PUT /api/tickets/88/files/f9" => said(204, ""),
        other => said(404, other),
    })
    .await;
    let upstream = connect(&format!(
        "{}{NOTHING_ELSE}comment = \"none\"\nlimits = {{ body = {{ chars = 3 }} }}\n\
         [create]\nid = \"location\"\n\
         [[create.step]]\nrequest = {{ path = \"drafts\" }}\nform = {{ subject = \"{{{{ title }}}}\", text = \"{{{{ body }}}}\" }}\ncapture = {{ draft = \"/draft/token\" }}\n\
         [[create.step]]\nrequest = {{ path = \"drafts/{{{{ got.draft }}}}/submit\" }}\n\
         [attach]\n[[attach.step]]\nrequest = {{ path = \"files\" }}\nmultipart = [{{ name = \"file\", filename = \"{{{{ file.name }}}}\", type = \"{{{{ file.type }}}}\", value = \"{{{{ file.content }}}}\" }}]\ncapture = {{ file = \"/file\" }}\n\
         [[attach.step]]\nrequest = {{ method = \"PUT\", path = \"tickets/{{{{ ticket }}}}/files/{{{{ got.file }}}}\" }}\n",
        fake.head()
    ));
    assert_eq!(opened(&upstream, &open("k")).await, ("88".into(), false));
    let asked = fake.asked();
    assert!(asked[0].body.ends_with("&text=%E7%AC%AC%E4%B8%80%E8%A1%8C"), "{}", asked[0].body);
    assert!(asked[2].body.contains("second <b>line</b>"), "the whole text is attached");
    assert_eq!(fake.count("PUT "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graphql_error_in_a_good_answer_is_a_failure() {
    let fake = Fake::start(|asked| match asked.json()["variables"]["title"].as_str() {
        Some("冷柜 \"3\" 过热") => said(200, r#"{"data": {"open": {"id": "G1"}}}"#),
        _ => said(200, r#"{"data": null, "errors": [{"message": "no such project"}]}"#),
    })
    .await;
    let upstream = connect(&format!(
        "{}{NOTHING_ELSE}comment = \"none\"\n[create]\nrequest = {{ path = \"graphql\" }}\ngraphql = \"mutation($title: String!) {{ open(title: $title) {{ id }} }}\"\n\
         variables = '{{ \"title\": {{{{ title }}}} }}'\nid = \"/data/open/id\"\n[errors]\nfail_if = \"/errors\"\nmessage = \"/errors/*/message\"\n",
        fake.head()
    ));
    assert_eq!(opened(&upstream, &open("k")).await, ("G1".into(), false));
    let told = outcome(&upstream, &call("k", 1, None, draft("x", None))).await;
    assert_eq!(told, Outcome::Rejected { reason: "200: no such project".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_cannot_do_is_said_as_a_comment() {
    let fake = Fake::start(|_| said(200, "{}")).await;
    let upstream = connect(&format!("{}{NOTHING_ELSE}{CREATE}{COMMENT}", fake.head()));
    for action in [
        Action::Escalate {
            severity: Some(Severity::Critical), assign: None, text: "升级".into()
        },
        Action::Resolve { text: "恢复".into() },
        Action::Reopen { severity: None, text: "又坏了".into() },
    ] {
        let told = outcome(&upstream, &call("k", 2, Some("7"), action)).await;
        assert!(matches!(told, Outcome::Done { .. }), "{told:?}");
    }
    let texts: Vec<_> = fake.asked().iter().map(|asked| asked.json()["text"].clone()).collect();
    assert_eq!(texts, ["升级", "恢复", "又坏了"]);
}

fn gateway_with(fake: &Fake, more: &str) -> Home {
    let find = "[upstream.find]\nrequest = { path = \"find?key={{ key }}\" }\nitems = \"/\"\nid = \"/id\"\nkey = \"/key\"\n";
    let create = CREATE.replace("[create]", "[upstream.create]");
    let head = format!(
        "[[upstream]]\n{}comment = \"none\"\nescalate = \"none\"\nresolve = \"none\"\nreopen = \"none\"\n",
        fake.head()
    );
    Home::new(HOT, &format!("{head}{more}{create}{find}"))
}

fn book() -> impl FnMut(&Asked) -> crate::fake::Said + Send + 'static {
    let mut keys: Vec<String> = Vec::new();
    move |asked| {
        if let Some((_, key)) = asked.line.split_once("find?key=") {
            let hits = keys.iter().enumerate().filter(|(_, known)| known.as_str() == key);
            let hits: Vec<_> = hits.map(|(id, key)| json!({ "id": id + 1, "key": key })).collect();
            return said(200, &json!(hits).to_string());
        }
        if asked.line.starts_with("GET /api/tickets/") {
            return said(200, r#"{"id": 1, "state": "taken"}"#);
        }
        keys.push(asked.json()["key"].as_str().unwrap_or_default().to_owned());
        let answer = said(201, &json!({ "id": keys.len() }).to_string());
        // The first create is carried out and never answered.
        if keys.len() == 1 { answer.never() } else { answer }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_between_create_and_record_finds_its_ticket() {
    let fake = Fake::start(book()).await;
    let home = gateway_with(&fake, "");
    let gateway = home.start();
    gateway.publish(&[report("泵-1", "{\"temp_c\": 99}")]).await;
    for _ in 0..600 {
        if fake.count("POST ") > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    gateway.kill();
    let gateway = home.start();
    let ticket = gateway.ticket_until(|ticket| ticket["external"].is_string()).await;
    assert_eq!(ticket["external"], "1");
    assert_eq!(fake.count("POST "), 1, "it is there once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_believed_when_it_is_signed_and_new_and_a_secret_path_only_hints() {
    use ring::hmac;
    let mut answer = book();
    let fake = Fake::start(move |asked| {
        let said = answer(asked);
        // Nothing hangs here.
        if asked.line.starts_with("POST") { crate::fake::said(201, r#"{"id": 1}"#) } else { said }
    })
    .await;
    let (_file, key) = secret("hook-secret-1");
    let (_path, path) = secret("path-secret-1");
    let signed = format!(
        "webhook = {{ secret = {key}, header = \"X-Sign\", prefix = \"sha256=\", delivery = \"X-Id\", ticket = \"/issue/id\", status = \"/issue/state\", by = \"/who\" }}\nstatus = {{ taken = \"accepted\" }}\n"
    );
    let home = gateway_with(&fake, &signed);
    let gateway = home.start();
    gateway.publish(&[report("泵-1", "{\"temp_c\": 99}")]).await;
    gateway.ticket_until(|ticket| ticket["external"] == "1").await;
    let body = r#"{"issue": {"id": 1, "state": "taken"}, "who": "李工"}"#;
    let signature = |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}")
    };
    assert_eq!(post(&gateway.http, "/hooks/u", &signature("wrong"), body).await, 403);
    let ticket = gateway.get("/api/v1/tickets").await["tickets"][0].take();
    assert!(ticket["ack"].is_null());
    assert_eq!(post(&gateway.http, "/hooks/u", &signature("hook-secret-1"), body).await, 204);
    let ticket = gateway.ticket_until(|ticket| !ticket["ack"].is_null()).await;
    assert_eq!(ticket["ack"]["by"], "李工");
    assert_eq!(
        post(&gateway.http, "/hooks/u", &signature("hook-secret-1"), body).await,
        403,
        "again"
    );
    assert_eq!(post(&gateway.http, "/hooks/nobody", "", body).await, 404);
    drop(gateway);

    // Without a signature the ticket is read: what the body says is not believed.
    let hint = format!(
        "webhook = {{ secret_path = {path}, ticket = \"/issue/id\", status = \"/state\" }}\nstatus = {{ taken = \"accepted\" }}\n\
         get.request = {{ path = \"tickets/{{{{ ticket }}}}\" }}\n"
    );
    let home = gateway_with(&fake, &hint);
    let gateway = home.start();
    gateway.publish(&[report("泵-2", "{\"temp_c\": 99}")]).await;
    gateway.ticket_until(|ticket| ticket["external"] == "1").await;
    let lie = r#"{"issue": {"id": 1}, "state": "closed"}"#;
    assert_eq!(post(&gateway.http, "/hooks/u/path-secret-2", "", lie).await, 403);
    assert_eq!(post(&gateway.http, "/hooks/u/path-secret-1", "", lie).await, 204);
    let ticket = gateway.ticket_until(|ticket| !ticket["ack"].is_null()).await;
    assert_eq!(ticket["status"], "accepted");
}

async fn post(http: &str, path: &str, signature: &str, body: &str) -> u16 {
    let client = faultgate::io::upstream::plain_client().expect("a client");
    let request = client.post(format!("http://{http}{path}")).header("X-Sign", signature);
    let request = request.header("X-Id", "1").body(body.to_owned());
    request.send().await.expect("an answer").status().as_u16()
}
