//! What every upstream must do, on the desk inside, a real Request Tracker and a real Redmine.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use faultgate::engine::types::alarm::Fingerprint;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::job::{Action, Call, Draft, JobKey, Outcome};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::TicketId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::{Upstream, UpstreamConfig};
use serde_json::Value as Json;

use crate::gateway::{HOT, Home, report};
use crate::mosquitto::free_port;
use crate::plots::{open_with_plot, size_of};
use crate::proxy::{Fate, Proxy};

pub fn connect(toml: &str) -> Upstream {
    let source = Source { file: "upstream.toml".into(), text: toml.into() };
    let report = Report::default();
    let config = read_document(Place { source: &source, report: &report }, UpstreamConfig::read);
    let config = config.unwrap_or_else(|| panic!("{:#?}", report.into_sorted()));
    Upstream::connect(&config, "127.0.0.1:1".parse().expect("an address")).expect("connected")
}

pub fn call(key: &str, number: u32, external: Option<&str>, action: Action) -> Call {
    Call {
        key: JobKey { ticket: TicketId(1), number },
        upstream: "u".into(),
        external: external.map(str::to_owned),
        fingerprint: Fingerprint(key.to_owned()),
        idempotency_key: format!("{key}-{number}"),
        attempt: 1,
        requests_max: u32::MAX,
        in_doubt: None,
        severity: Severity::Major,
        action,
    }
}

pub fn draft(title: &str, queue: Option<&str>) -> Action {
    Action::Open(Box::new(Draft {
        title: title.into(),
        body: "第一行 \"引号\"\nsecond <b>line</b>\n".into(),
        severity: Severity::Critical,
        safety: false,
        queue: queue.map(str::to_owned),
        device: "冷柜-3".into(),
        rule: "hot".into(),
        site: "上海-1".into(),
        raised_at: Timestamp::from_millis(1_767_225_600_000),
        plot: None,
    }))
}

pub async fn opened(upstream: &Upstream, call: &Call) -> (String, bool) {
    let outcome = upstream.perform(call).await.outcome;
    let Outcome::Done { external, found } = outcome else { panic!("{outcome:?}") };
    (external, found)
}

async fn is_done(upstream: &Upstream, call: &Call) {
    let outcome = upstream.perform(call).await.outcome;
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

/// The contract, at an upstream that is searched. Returns the effects of the first ticket that left
/// a comment, which must be there once each.
pub async fn holds(upstream: &Upstream, proxy: &Proxy, run: &str) -> Vec<u32> {
    let effects = holds_whether(true, upstream, proxy, run).await;
    effects.into_iter().map(|(number, _)| number).collect()
}

/// The contract. `upstream` goes through the proxy; keys are unique to the run. `found`: a create that
/// is made again finds the ticket; at other upstreams it is made again and opens nothing. Returns the
/// effects of the first ticket with what they did.
pub async fn holds_whether(
    found: bool,
    upstream: &Upstream,
    proxy: &Proxy,
    run: &str,
) -> Vec<(u32, &'static str)> {
    let key = padded(run, "a");
    // Opened once, however often it is asked for.
    let open = call(&key, 1, None, draft("冷柜过热 -5 °C", None));
    let (first, before) = opened(upstream, &open).await;
    assert!(!before);
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open.clone() };
    assert_eq!(opened(upstream, &again).await, (first.clone(), found));

    // A create that had committed when the connection broke is unknown, and then found.
    let open = call(&padded(run, "b"), 1, None, draft(&"长".repeat(300), None));
    proxy.plan(&[Fate::Lose]);
    let delivered = upstream.perform(&open).await;
    assert!(matches!(delivered.outcome, Outcome::Unknown { .. }), "{delivered:?}");
    assert_eq!(delivered.requests, 1, "a request that was lost is billable");
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open };
    let (second, again) = opened(upstream, &again).await;
    assert!(again == found && second != first);

    // The rest of a ticket's life: every action, broken at every step, in both ways.
    let (mut number, mut effects) = (1, Vec::new());
    let actions: [(&str, Told); 4] =
        [("comment", comment), ("escalate", escalate), ("resolve", resolve), ("reopen", reopen)];
    for (word, action) in actions {
        for fate in [Fate::Lose, Fate::Refuse] {
            for step in 0.. {
                number += 1;
                effects.push((number, word));
                let call = call(&key, number, Some(&first), action(format!("第 {number} 条\nok")));
                if !survives(upstream, proxy, &call, step, fate).await {
                    assert!(step > 0, "{call:?} changes nothing");
                    break;
                }
            }
        }
    }
    effects
}

/// Breaks one step of a call, and makes it again until it is done. False when the call has not so
/// many steps: then it is done already.
async fn survives(
    upstream: &Upstream,
    proxy: &Proxy,
    call: &Call,
    step: usize,
    fate: Fate,
) -> bool {
    let mut plan = vec![Fate::Pass; step];
    plan.push(fate);
    proxy.plan(&plan);
    let outcome = upstream.perform(call).await.outcome;
    if proxy.left() > 0 {
        proxy.plan(&[]);
        assert!(matches!(outcome, Outcome::Done { .. }), "{call:?}: {outcome:?}");
        return false;
    }
    let uncertain = matches!(outcome, Outcome::Unknown { .. });
    let certain = fate == Fate::Refuse && step == 0;
    assert_eq!(uncertain, !certain, "{fate:?} at step {step} of {call:?}: {outcome:?}");
    let in_doubt = uncertain.then_some(TimeSpan::ZERO);
    is_done(upstream, &Call { in_doubt, attempt: 2, ..call.clone() }).await;
    true
}

pub fn padded(run: &str, name: &str) -> String {
    format!("{run}{name}{:0>width$}", "", width = 30 - run.len() - name.len())
}

/// What is done with a text.
type Told = fn(String) -> Action;

fn comment(text: String) -> Action {
    Action::Comment { text }
}

fn escalate(text: String) -> Action {
    Action::Escalate { severity: Some(Severity::Critical), assign: None, text }
}

fn resolve(text: String) -> Action {
    Action::Resolve { text }
}

fn reopen(text: String) -> Action {
    Action::Reopen { severity: None, text }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_inside_keeps_the_contract() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let proxy = Proxy::start(&gateway.http).await;
    let toml = format!("name = \"u\"\nkind = \"desk\"\nurl = \"http://{}/\"\n", proxy.address);
    let numbers = holds(&connect(&toml), &proxy, "d").await;
    let tickets = gateway.desk().await;
    assert_eq!(tickets.len(), 2);
    let history = tickets[0]["history"].as_array().expect("a history");
    let texts: Vec<&str> = history.iter().filter_map(|entry| entry["text"].as_str()).collect();
    let once: Vec<String> = numbers.iter().map(|number| format!("第 {number} 条\nok")).collect();
    assert_eq!(texts, once, "every effect is there once");
    assert_eq!(tickets[0]["status"], "reopened");

    let outcome = connect(&format!(
        "name = \"u\"\nkind = \"desk\"\nurl = \"http://127.0.0.1:{}/\"\n",
        free_port()
    ))
    .perform(&call("k", 1, None, draft("x", None)))
    .await
    .outcome;
    assert!(matches!(outcome, Outcome::Later { .. }), "nobody listens: {outcome:?}");
}

/// A ticket system of the test's own; ended with it.
pub struct System {
    name: &'static str,
    scripts: PathBuf,
    data: tempfile::TempDir,
    port: u16,
    settings: Vec<(String, String)>,
}

impl System {
    /// `None`, and a word about it, where it cannot be had.
    pub fn start(name: &'static str) -> Option<System> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let desks = std::env::var_os("FAULTGATE_DESKS").map(PathBuf::from);
        let scripts = desks.unwrap_or_else(|| root.join("../shared/desks")).join(name);
        let start = scripts.join(format!("start-{name}.sh"));
        if !start.exists() {
            eprintln!("skipped: no {name}: set FAULTGATE_DESKS to the folder of its start script");
            return None;
        }
        let data = tempfile::tempdir().expect("a folder");
        let mut system = System { name, scripts, data, port: free_port(), settings: Vec::new() };
        match system.run() {
            Ok(settings) => system.settings = settings,
            Err(told) => {
                eprintln!("skipped: {name} does not start: {told}");
                return None;
            }
        }
        Some(system)
    }

    /// Starts it where it was; what it says of itself.
    fn run(&self) -> Result<Vec<(String, String)>, String> {
        let output = Command::new("bash")
            .arg(self.scripts.join(format!("start-{}.sh", self.name)))
            .arg(self.port.to_string())
            .arg(self.data.path())
            .output()
            .expect("bash runs");
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(told.lines().last().unwrap_or("").to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn stop(&self) {
        let stop = self.scripts.join(format!("stop-{}.sh", self.name));
        drop(Command::new("bash").arg(stop).arg(self.data.path()).status());
    }

    pub fn setting(&self, name: &str) -> &str {
        let found = self.settings.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// A file with a secret.
    pub fn secret(&self, name: &str, value: &str) -> String {
        let file = self.data.path().join(name);
        std::fs::write(&file, value).expect("written");
        format!("{{ file = \"{}\" }}", file.display())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A Request Tracker.
pub struct Tracker(System);

impl Tracker {
    pub fn start() -> Option<Tracker> {
        System::start("rt5").map(Tracker)
    }

    pub fn stop(&self) {
        self.0.stop();
    }

    /// Starts it with all that it has.
    pub fn start_again(&self) {
        self.0.run().expect("it starts again");
    }

    fn setting(&self, name: &str) -> &str {
        self.0.setting(name)
    }

    pub fn server(&self) -> &str {
        self.setting("RT5_BASE_URL").trim_start_matches("http://")
    }

    /// Its configuration, reached at an address.
    pub fn toml(&self, address: &str) -> String {
        let token = self.0.secret("token", self.setting("RT5_TOKEN"));
        format!(
            "name = \"u\"\nkind = \"request-tracker\"\nurl = \"http://{address}/\"\n\
             token = {token}\nqueue = \"Faults\"\nrate = {{ per_second = 100, burst = 100 }}\n"
        )
    }

    /// How many tickets there are.
    pub async fn total(&self) -> u64 {
        self.ask("tickets?query=id>0").await["total"].as_u64().expect("a number")
    }

    /// How many tickets carry a key.
    pub async fn carrying(&self, key: &str) -> u64 {
        let path = format!("tickets?query=CF.%7BExternalKey%7D%3D'{key}'");
        self.ask(&path).await["total"].as_u64().expect("a number")
    }

    /// How many tickets are in a state.
    pub async fn in_state(&self, state: &str) -> u64 {
        let path = format!("tickets?query=Status%3D'{state}'");
        self.ask(&path).await["total"].as_u64().expect("a number")
    }

    /// Changes its first ticket as one of its people.
    async fn change_as(&self, user: &str, change: &Json) {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let url = format!("{}/ticket/1", self.setting("RT5_API"));
        let password = format!("pw-{user}-1234");
        let request = client.put(url).basic_auth(user, Some(password)).json(change);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Waits until its first ticket has a status.
    async fn status_until(&self, wanted: &str) {
        for _ in 0..300 {
            if self.ask("ticket/1").await["Status"] == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("never {wanted}");
    }

    async fn ask(&self, path: &str) -> Json {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let url = format!("{}/{path}", self.setting("RT5_API"));
        let token = format!("token {}", self.setting("RT5_TOKEN"));
        let response = client.get(url).header("authorization", token).send().await;
        response.expect("an answer").json().await.unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_request_tracker_keeps_the_contract() {
    let Some(tracker) = Tracker::start() else { return };
    let proxy = Proxy::start(tracker.server()).await;
    let toml = tracker.toml(&proxy.address);
    let upstream = connect(&toml);
    let numbers = holds(&upstream, &proxy, "r").await;
    let all = tracker.ask("tickets?query=id>0&fields=Subject,Status,Priority").await;
    assert_eq!(all["total"], 2, "{all:#}");
    let first = &all["items"][0];
    assert_eq!(first["Subject"], "冷柜过热 -5 °C");
    assert_eq!(first["Status"], "open");
    let attachments = tracker.ask("ticket/1/attachments?fields=Subject&per_page=100").await;
    let items = attachments["items"].as_array().into_iter().flatten();
    let mut subjects: Vec<&str> = items.filter_map(|item| item["Subject"].as_str()).collect();
    let key = padded("r", "a");
    let mut once: Vec<String> = numbers.iter().map(|n| format!("[faultgate {key}-{n}]")).collect();
    once.push("冷柜过热 -5 °C".to_owned());
    subjects.sort_unstable();
    once.sort_unstable();
    assert_eq!(subjects, once, "the body and every comment are there once");

    let unknown = call("q", 1, None, draft("x", Some("Nowhere")));
    let outcome = upstream.perform(&unknown).await.outcome;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");

    // The gateway itself, through the same server.
    let extra = format!("[[upstream]]\n{toml}").replace("name = \"u\"", "name = \"rt\"");
    let home = Home::new(HOT, &extra);
    let gateway = home.start();
    gateway.publish(&[report("泵-1", "{\"temp_c\": 99}")]).await;
    let ticket = gateway.ticket_until(|ticket| ticket["external"].is_string()).await;
    let key = ticket["fingerprint"].as_str().expect("a key");
    assert_eq!(tracker.carrying(key).await, 1, "one ticket carries the fingerprint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plot_is_attached_to_a_real_request_tracker_once() {
    let Some(tracker) = Tracker::start() else { return };
    let proxy = Proxy::start(tracker.server()).await;
    let upstream = connect(&tracker.toml(&proxy.address));
    let open = open_with_plot(&padded("p", "a"));
    upstream.check().await.expect("all is well");
    proxy.plan(&[Fate::Lose]);
    let lost = upstream.perform(&open).await.outcome;
    assert!(matches!(lost, Outcome::Unknown { .. }), "{lost:?}");
    let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..open };
    assert_eq!(opened(&upstream, &again).await, ("1".into(), true));
    assert_eq!(tracker.total().await, 1);
    let all = tracker.ask("ticket/1/attachments?fields=Filename,ContentType,ContentLength").await;
    let items = all["items"].as_array().into_iter().flatten();
    let files: Vec<&Json> = items.filter(|item| item["Filename"] == "plot.png").collect();
    assert_eq!(files.len(), 1, "{all:#}");
    assert_eq!(files[0]["ContentType"], "image/png");
    let id = files[0]["id"].as_str().expect("an id");
    let content = tracker.ask(&format!("attachment/{id}")).await;
    let content = content["Content"].as_str().expect("base64").replace(['\n', '\r'], "");
    let file = base64::engine::general_purpose::STANDARD.decode(content).expect("base64");
    assert_eq!(size_of(&file), (640, 240));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_ticket_at_a_real_request_tracker_stops_its_ladder() {
    let Some(tracker) = Tracker::start() else { return };
    let proxy = Proxy::start(tracker.server()).await;
    let extra = format!("[[upstream]]\n{}poll = \"1s\"\n", tracker.toml(&proxy.address));
    let home = Home::new(HOT, &extra);
    let gateway = home.start();
    let hot = |temp: u32| report("泵-1", &format!("{{\"temp_c\": {temp}}}"));
    gateway.publish(&[hot(99)]).await;
    gateway.ticket_until(|ticket| ticket["external"] == "1").await;

    // What the gateway does itself takes nothing: a reopened ticket is open in Request Tracker.
    gateway.publish(&[hot(60)]).await;
    tracker.status_until("resolved").await;
    gateway.publish(&[hot(99)]).await;
    tracker.status_until("open").await;
    tracker.change_as("alice", &serde_json::json!({ "Priority": 1 })).await;

    tracker.change_as("bob", &serde_json::json!({ "Owner": "bob" })).await;
    let ticket = gateway.ticket_until(|ticket| !ticket["ack"].is_null()).await;
    assert_eq!(
        (&ticket["ack"]["by"], &ticket["ack"]["via"]),
        (&"bob".into(), &"upstream:u".into())
    );
    tracker.change_as("bob", &serde_json::json!({ "Status": "resolved" })).await;
    gateway.ticket_until(|ticket| ticket["status"] == "resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_at_a_request_tracker_that_does_not_keep_the_key() {
    let Some(tracker) = Tracker::start() else { return };
    let proxy = Proxy::start(tracker.server()).await;
    let toml = tracker.toml(&proxy.address);

    // A field that is not there.
    let wrong = connect(&format!("{toml}key_field = \"ExternalKye\"\n"));
    let told = wrong.check().await.expect_err("the field is not there");
    assert!(told.contains("`ExternalKye`") && told.contains("`key_field`"), "{told}");
    is_held(&wrong, &call(&padded("k", "a"), 1, None, draft("held", None))).await;
    assert_eq!(tracker.total().await, 0);

    // A field whose value is dropped: the first ticket is known, the second waits for its key.
    let upstream = connect(&toml);
    upstream.check().await.expect("all is well");
    let (first, second) = (padded("k", "b"), call(&padded("k", "c"), 1, None, draft("c", None)));
    proxy.plan(&[Fate::DropKey, Fate::DropKey]);
    opened(&upstream, &call(&first, 1, None, draft("b", None))).await;
    is_held(&upstream, &second).await;
    assert_eq!((tracker.total().await, tracker.carrying(&first).await), (1, 0));
    opened(&upstream, &second).await;
    assert_eq!((tracker.total().await, tracker.carrying(&first).await), (2, 1));

    // The value and the answer are lost: it is not opened a second time.
    let upstream = connect(&toml);
    proxy.plan(&[Fate::DropKeyAndLose]);
    let open = call(&padded("k", "d"), 1, None, draft("泵 'd' \\", None));
    let outcome = upstream.perform(&open).await.outcome;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    let later = Call { in_doubt: Some(TimeSpan::from_secs(2)), attempt: 2, ..open };
    is_held(&upstream, &later).await;
    assert_eq!(tracker.total().await, 3);
}

async fn is_held(upstream: &Upstream, call: &Call) {
    let outcome = upstream.perform(call).await.outcome;
    let held = matches!(&outcome, Outcome::Held { reason, .. } if reason.starts_with("held"));
    assert!(held, "{outcome:?}");
}
