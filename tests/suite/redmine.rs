//! A real Redmine, driven by the file in `docs/upstreams` alone: the contract of every upstream, and
//! what Redmine does that one would not expect.

use faultgate::engine::types::job::{Action, Call, Outcome};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::time::TimeSpan;
use serde_json::{Value as Json, json};

use crate::gateway::{HOT, Home, report};
use crate::plots::{open_with_plot, size_of};
use crate::proxy::{Fate, Proxy};
use crate::upstream::{System, call, connect, draft, holds, opened, padded};

struct Redmine(System);

impl Redmine {
    fn start() -> Option<Redmine> {
        System::start("redmine").map(Redmine)
    }

    fn server(&self) -> &str {
        self.0.setting("REDMINE_BASE_URL").trim_start_matches("http://")
    }

    fn toml(&self, proxy: &Proxy) -> String {
        let token = self.0.secret("token", self.0.setting("REDMINE_TOKEN"));
        format!(
            "name = \"u\"\nkind = \"redmine\"\nurl = \"http://{}/\"\ntoken = {token}\nqueue = \"faults\"\n\
             key_field = {}\nrate = {{ per_second = 200, burst = 200 }}\n",
            proxy.address,
            self.0.setting("REDMINE_CF_EXTERNALKEY"),
        )
    }

    async fn ask(&self, path: &str) -> Json {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let url = format!("{}/{path}", self.0.setting("REDMINE_BASE_URL"));
        let request = client.get(url).header("X-Redmine-API-Key", self.0.setting("REDMINE_TOKEN"));
        request.send().await.expect("an answer").json().await.unwrap_or_default()
    }

    async fn issues(&self) -> Vec<Json> {
        let all = self.ask("issues.json?status_id=*&sort=id&limit=100").await;
        all["issues"].as_array().cloned().unwrap_or_default()
    }

    async fn change_as(&self, user: &str, issue: u64, change: &Json) {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let url = format!("{}/issues/{issue}.json", self.0.setting("REDMINE_BASE_URL"));
        let request = client.put(url).basic_auth(user, Some(format!("pw-{user}-1234")));
        let answer = request.json(&json!({ "issue": change })).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

async fn outcome(upstream: &faultgate::io::upstream::Upstream, call: &Call) -> Outcome {
    upstream.perform(call).await.outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_redmine_keeps_the_contract_from_a_file_alone() {
    let Some(redmine) = Redmine::start() else { return };
    let proxy = Proxy::start(redmine.server()).await;
    let upstream = connect(&redmine.toml(&proxy));
    let numbers = holds(&upstream, &proxy, "m").await;
    let issues = redmine.issues().await;
    assert_eq!(issues.len(), 2, "{issues:#?}");
    assert_eq!(issues[0]["subject"], "冷柜过热 -5 °C");
    assert_eq!(issues[1]["subject"].as_str().map(|text| text.chars().count()), Some(255));
    assert_eq!(issues[0]["status"]["id"], 1, "reopened");
    let issue = redmine.ask("issues/1.json?include=journals").await;
    let journals = issue["issue"]["journals"].as_array().into_iter().flatten();
    let notes: Vec<&str> = journals.filter_map(|entry| entry["notes"].as_str()).collect();
    let key = padded("m", "a");
    for number in &numbers {
        let mark = format!("[faultgate {key}-{number}]");
        let found = notes.iter().filter(|note| note.contains(&mark)).count();
        assert_eq!(found, 1, "{mark}: {notes:#?}");
    }

    // A long body: cut, with the whole of it attached.
    let mut long = draft("长", None);
    if let Action::Open(draft) = &mut long {
        draft.body = "冷".repeat(30_000);
    }
    let (ticket, _) = opened(&upstream, &call(&padded("m", "l"), 1, None, long)).await;
    let issue = redmine.ask(&format!("issues/{ticket}.json?include=attachments")).await;
    let issue = &issue["issue"];
    assert_eq!(issue["description"].as_str().map(str::len), Some(60_000));
    assert_eq!(issue["attachments"][0]["filesize"], 90_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plot_is_attached_to_a_real_redmine_and_a_refused_upload_stops_no_issue() {
    let Some(redmine) = Redmine::start() else { return };
    let proxy = Proxy::start(redmine.server()).await;
    let upstream = connect(&redmine.toml(&proxy));
    let (first, _) = opened(&upstream, &open_with_plot(&padded("p", "a"))).await;
    let issue = redmine.ask(&format!("issues/{first}.json?include=attachments")).await;
    let files = issue["issue"]["attachments"].as_array().cloned().unwrap_or_default();
    assert_eq!(files.len(), 1, "{issue:#}");
    assert_eq!(
        (&files[0]["filename"], &files[0]["content_type"]),
        (&"plot.png".into(), &"image/png".into())
    );
    let client = faultgate::io::upstream::plain_client().expect("a client");
    let url = files[0]["content_url"].as_str().expect("an address");
    let path = url.split_once("/attachments/").expect("a path").1;
    let url = format!("{}/attachments/{path}", redmine.0.setting("REDMINE_BASE_URL"));
    let request = client.get(url).header("X-Redmine-API-Key", redmine.0.setting("REDMINE_TOKEN"));
    let file = request.send().await.expect("an answer").bytes().await.expect("a file");
    assert_eq!(size_of(&file), (640, 240));

    // The upload is lost on the way: the issue is there, without it.
    proxy.plan(&[Fate::Lose]);
    let (second, _) = opened(&upstream, &open_with_plot(&padded("p", "b"))).await;
    assert_eq!(proxy.left(), 0);
    let issue = redmine.ask(&format!("issues/{second}.json?include=attachments")).await;
    assert_eq!(issue["issue"]["attachments"], json!([]), "{issue:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redmine_ignores_silently_is_found_out_and_nothing_is_opened_twice() {
    let Some(redmine) = Redmine::start() else { return };
    let proxy = Proxy::start(redmine.server()).await;
    let toml = redmine.toml(&proxy);
    let upstream = connect(&toml);
    let (first, _) = opened(&upstream, &call(&padded("s", "a"), 1, None, draft("a", None))).await;

    // A status that is not there is answered with 204; nothing was done.
    let strange = connect(&format!("{toml}set_status = {{ resolved = 99 }}\n"));
    let resolve = Action::Resolve { text: "好".into() };
    let told = outcome(&strange, &call(&padded("s", "a"), 2, Some(&first), resolve)).await;
    let Outcome::Rejected { reason } = told else { panic!("{told:?}") };
    assert!(reason.contains("/issue/status/id") && reason.contains("99"), "{reason}");

    // A filter that is not there returns everything: no ticket is adopted, none is opened.
    let extra = "[find]\nrequest = { path = \"issues.json?cf_99={{ key }}\", query = { status_id = \"*\" } }\n\
                 items = \"/issues\"\nid = \"/id\"\n[create]\nrequest = { path = \"issues.json\" }\nid = \"/issue/id\"\n\
                 body = '{ \"issue\": { \"project_id\": {{ queue }}, \"subject\": {{ title }} } }'\n";
    let blind = connect(&format!("{toml}ready = \"none\"\n{extra}"));
    let told = outcome(&blind, &call(&padded("s", "b"), 1, None, draft("b", None))).await;
    let Outcome::Held { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.starts_with("held") && reason.contains("`find`"), "{reason}");
    assert_eq!(redmine.issues().await.len(), 1);

    opens_nothing_twice(&redmine, &proxy, &toml).await;
}

/// A wrong key, a lost answer and a priority that is ignored.
async fn opens_nothing_twice(redmine: &Redmine, proxy: &Proxy, toml: &str) {
    let before = redmine.issues().await.len();
    let secret = redmine.0.secret("wrong", "nonsense-key-1234");
    let right = redmine.0.secret("token", redmine.0.setting("REDMINE_TOKEN"));
    let wrong = connect(&toml.replace(&right, &secret));
    let open = call(&padded("w", "a"), 1, None, draft("a", None));
    let told = outcome(&wrong, &open).await;
    let Outcome::Later { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("401") && !reason.contains("nonsense"), "{reason}");

    // 503 of a proxy: certainly not done. A broken connection: looked up.
    let upstream = connect(toml);
    proxy.plan(&[Fate::Refuse]);
    assert!(matches!(outcome(&upstream, &open).await, Outcome::Later { .. }));
    proxy.plan(&[Fate::Lose]);
    assert!(matches!(outcome(&upstream, &open).await, Outcome::Unknown { .. }));
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 3, ..open };
    let (ticket, found) = opened(&upstream, &again).await;
    assert!(found);
    assert_eq!(redmine.issues().await.len(), before + 1);

    // A priority that Redmine ignores is found out as well.
    let none = connect(&format!("{toml}severity = {{ critical = 77 }}\n"));
    let action =
        Action::Escalate {
            severity: Some(Severity::Critical), assign: None, text: "升级".into()
        };
    let told = outcome(&none, &call(&padded("w", "a"), 2, Some(&ticket), action)).await;
    assert!(matches!(told, Outcome::Rejected { .. }), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_an_issue_at_a_real_redmine_stops_its_ladder() {
    let Some(redmine) = Redmine::start() else { return };
    let proxy = Proxy::start(redmine.server()).await;
    let extra = format!("[[upstream]]\n{}poll = \"1s\"\n", redmine.toml(&proxy));
    let home = Home::new(HOT, &extra);
    let gateway = home.start();
    let hot = |temp: u32| report("泵-1", &format!("{{\"temp_c\": {temp}}}"));
    gateway.publish(&[hot(99)]).await;
    gateway.ticket_until(|ticket| ticket["external"] == "1").await;
    let ticket = gateway.get("/api/v1/tickets").await["tickets"][0].take();
    assert!(ticket["ack"].is_null(), "what the gateway does itself takes nothing");
    redmine.change_as("bob", 1, &json!({ "status_id": 2 })).await;
    let ticket = gateway.ticket_until(|ticket| !ticket["ack"].is_null()).await;
    assert_eq!(ticket["ack"]["via"], "upstream:u");
    assert_eq!(ticket["ack"]["by"], "bob Test");
    redmine.change_as("bob", 1, &json!({ "status_id": 3 })).await;
    gateway.ticket_until(|ticket| ticket["status"] == "resolved").await;
}
