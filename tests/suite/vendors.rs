//! Zammad, Jira, ServiceNow and PagerDuty from their files alone: the contract of every upstream and
//! what each of them does that one would not expect, against servers of the test's own that do what
//! their makers' documentation says. No real one was asked.

mod jira;
mod pagerduty;
mod servicenow;
mod zammad;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use faultgate::engine::types::job::{Action, Call, Outcome};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::TicketStatus;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::{Change, Upstream, Watch};
use serde_json::Value as Json;

use crate::fake::{Asked, Fake, Said, said};
use crate::plots::open_with_plot;
use crate::proxy::Proxy;
use crate::upstream::{call, connect, draft, holds_whether, opened, padded};

/// What opens every door here.
const TOKEN: &str = "secret-token-1";
/// Who works there.
const PERSON: &str = "li";

/// A ticket as its system has it.
#[derive(Clone, Debug, Default)]
struct Seen {
    title: String,
    body: String,
    status: String,
    priority: String,
    notes: Vec<String>,
    files: Vec<String>,
    /// How often it was opened, where a fault that is back opens another.
    opened: usize,
}

/// What a person does to the first ticket.
#[derive(Clone, Copy, Debug)]
enum Act {
    Take,
    Finish,
    /// For good: nothing can be changed any more.
    Close,
}

/// A ticket system.
trait System: Send {
    fn answer(&mut self, asked: &Asked) -> Said;
    fn tickets(&self) -> Vec<Seen>;
    fn act(&mut self, act: Act);
    /// What the file needs is not set up, or not any more.
    fn break_setup(&mut self) {}
}

/// What the four have in common, and where they differ.
struct Vendor {
    kind: &'static str,
    system: fn() -> Box<dyn System>,
    /// Keys beside name, kind, address and token; from the address and a file with the token.
    toml: fn(&str, &str) -> String,
    /// A create that is made again is looked up; else the system swallows it.
    is_searched: bool,
    title_chars_max: usize,
    /// Priority of a critical ticket, status of one that is back, and how often it was opened.
    ends_as: (&'static str, &'static str, usize),
    /// Length of a body that is cut, and whether the rest and the plot are attached.
    body: (usize, bool),
    /// What is said where something is not set up.
    unready: &'static str,
    /// What is said when something cannot be changed any more; none where it is done all the same.
    refused: Option<&'static str>,
}

const VENDORS: [Vendor; 5] = [
    Vendor {
        kind: "zammad",
        system: || Box::new(zammad::Zammad::default()),
        toml: |_, _| "vars = { customer = \"plant@example.com\" }\n".into(),
        is_searched: true,
        title_chars_max: 250,
        ends_as: ("3 high", "open", 1),
        body: (262_143, true),
        unready: "add the attribute `faultgate_key`",
        refused: None,
    },
    Vendor {
        kind: "jira",
        system: || Box::new(jira::Jira::new(true)),
        toml: |_, _| "vars = { user = \"bot@example.com\" }\n".into(),
        is_searched: true,
        title_chars_max: 255,
        ends_as: ("Highest", "To Do", 1),
        body: (32_700, true),
        unready: "no project `FAULT`",
        refused: Some("no transition to `To Do` from `Closed`"),
    },
    Vendor {
        kind: "jira",
        system: || Box::new(jira::Jira::new(false)),
        toml: |_, _| "vars = { cloud = false }\n".into(),
        is_searched: true,
        title_chars_max: 255,
        ends_as: ("Highest", "To Do", 1),
        body: (32_700, true),
        unready: "no project `FAULT`",
        refused: Some("no transition to `To Do` from `Closed`"),
    },
    Vendor {
        kind: "servicenow",
        system: || Box::new(servicenow::ServiceNow::default()),
        toml: |_, _| "vars = { user = \"faultgate\" }\n".into(),
        is_searched: true,
        title_chars_max: 160,
        ends_as: ("1", "2", 1),
        body: (4_000, true),
        unready: "held, since it could be sent twice",
        refused: Some("one that is closed or cancelled stays so"),
    },
    Vendor {
        kind: "pagerduty",
        system: || Box::new(pagerduty::PagerDuty::default()),
        toml: |address, token| {
            format!(
                "vars = {{ events = \"http://{address}/\", from = \"bot@example.com\" }}\n\
                 secrets = {{ routing_key = {token} }}\n"
            )
        },
        is_searched: false,
        title_chars_max: 1_024,
        ends_as: ("high", "triggered", 2),
        body: (199_998, false),
        unready: "`secrets.routing_key` is not the key",
        refused: None,
    },
];

/// A system that is served, behind a proxy.
struct Served {
    vendor: &'static Vendor,
    fake: Fake,
    proxy: Proxy,
    system: Arc<Mutex<Box<dyn System>>>,
    /// The next request is told to come again later.
    busy: Arc<Mutex<Option<&'static str>>>,
    token: tempfile::NamedTempFile,
}

impl Served {
    async fn start(vendor: &'static Vendor) -> Served {
        eprintln!("{}", vendor.kind);
        let (system, busy) = (Arc::new(Mutex::new((vendor.system)())), Arc::default());
        let (theirs, theirs_busy) = (Arc::clone(&system), Arc::<Mutex<Option<&str>>>::clone(&busy));
        let fake = Fake::start(move |asked| {
            if let Some(seconds) = theirs_busy.lock().expect("a word").take() {
                return said(429, "{}").with("retry-after", seconds);
            }
            theirs.lock().expect("a system").answer(asked)
        })
        .await;
        let proxy = Proxy::start(&fake.address).await;
        let token = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), TOKEN).expect("written");
        Served { vendor, fake, proxy, system, busy, token }
    }

    fn toml(&self) -> String {
        let address = &self.proxy.address;
        let token = format!("{{ file = \"{}\" }}", self.token.path().display());
        let Vendor { kind, toml, .. } = self.vendor;
        format!(
            "name = \"u\"\nkind = \"{kind}\"\nurl = \"http://{address}/\"\ntoken = {token}\n\
             rate = {{ per_second = 1000, burst = 1000 }}\n{}",
            toml(address, &token)
        )
    }

    fn upstream(&self) -> Upstream {
        connect(&self.toml())
    }

    fn system(&self) -> MutexGuard<'_, Box<dyn System>> {
        self.system.lock().expect("a system")
    }

    fn tickets(&self) -> Vec<Seen> {
        self.system().tickets()
    }
}

/// What was asked for, in parts.
struct Parts {
    method: String,
    path: Vec<String>,
    query: BTreeMap<String, String>,
}

impl Parts {
    fn of(asked: &Asked) -> Parts {
        let (method, address) = asked.line.split_once(' ').expect("a method");
        let url = reqwest::Url::parse("http://x.example/").expect("an address");
        let url = url.join(address).expect("a path");
        let path = url.path_segments().expect("a path").map(str::to_owned).collect();
        let query = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        Parts { method: method.to_owned(), path, query }
    }

    /// `POST api v1 tickets`.
    fn line(&self) -> Vec<&str> {
        std::iter::once(self.method.as_str()).chain(self.path.iter().map(String::as_str)).collect()
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

fn basic(user: &str) -> String {
    let both = format!("{user}:{TOKEN}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// Seconds after the beginning, as every answer has them.
fn time(second: usize) -> String {
    format!("2026-06-01T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

fn beginning() -> Timestamp {
    Timestamp::parse_rfc3339("2026-06-01T00:00:00Z").expect("a time")
}

async fn outcome(upstream: &Upstream, call: &Call) -> Outcome {
    upstream.perform(call).await.outcome
}

fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Done { .. } => "",
        Outcome::Rejected { reason }
        | Outcome::Gone { reason }
        | Outcome::Later { reason, .. }
        | Outcome::Held { reason, .. }
        | Outcome::Unknown { reason } => reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vendor_keeps_the_contract() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        upstream.check().await.expect("all is well");
        let effects = holds_whether(vendor.is_searched, &upstream, &served.proxy, "v").await;
        let tickets = served.tickets();
        assert_eq!(tickets.len(), 2, "{tickets:#?}");
        let [first, second] = &tickets[..] else { panic!("two") };
        let (priority, status, opened) = vendor.ends_as;
        assert_eq!(first.title, "冷柜过热 -5 °C");
        assert!(first.body.contains("第一行 \"引号\"\nsecond <b>line</b>"), "{}", first.body);
        assert_eq!((first.priority.as_str(), first.status.as_str()), (priority, status));
        assert_eq!(second.title.chars().count(), vendor.title_chars_max.min(300));
        assert_eq!((first.opened, second.opened), (opened, 1), "nothing is doubled");
        for (number, word) in effects {
            let told = format!("第 {number} 条\nok");
            let found = first.notes.iter().filter(|note| note.contains(&told)).count();
            // An alert that is open takes a further trigger without a word.
            let wanted = usize::from(vendor.kind != "pagerduty" || word != "reopen");
            assert!(found == wanted || (wanted == 0 && found < 2), "{word} {number}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plot_and_the_rest_of_a_long_text_are_attached_where_files_are_taken() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        opened(&upstream, &open_with_plot(&padded("p", "a"))).await;
        let mut long = draft("长", None);
        if let Action::Open(draft) = &mut long {
            draft.body = "冷".repeat(100_000);
        }
        let long = call(&padded("p", "b"), 1, None, long);
        let (ticket, _) = opened(&upstream, &long).await;
        // The answer was lost: found, and nothing is attached twice.
        let again = Call { in_doubt: Some(TimeSpan::ZERO), attempt: 2, ..long };
        assert_eq!(opened(&upstream, &again).await, (ticket, vendor.is_searched));
        let tickets = served.tickets();
        let (bytes, attaches) = vendor.body;
        let (plot, rest) = ("plot.png".to_owned(), format!("faultgate-{}.txt", padded("p", "b")));
        let files: Vec<Vec<String>> = tickets.iter().map(|ticket| ticket.files.clone()).collect();
        let wanted = if attaches { vec![vec![plot], vec![rest]] } else { vec![vec![], vec![]] };
        assert_eq!(files, wanted);
        let frozen = tickets[1].body.chars().filter(|c| *c == '冷').count();
        let unit = if bytes > 100_000 { 3 } else { 1 };
        assert_eq!(frozen, (bytes / unit).min(100_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_asks_to_wait_is_left_alone_for_so_long() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        opened(&upstream, &call(&padded("w", "a"), 1, None, draft("一", None))).await;
        *served.busy.lock().expect("a word") = Some("120");
        let open = call(&padded("w", "b"), 1, None, draft("二", None));
        let told = outcome(&upstream, &open).await;
        let Outcome::Later { after: Some(after), .. } = told else { panic!("{told:?}") };
        assert_eq!(after, TimeSpan::from_secs(120));
        let asked = served.fake.asked().len();
        let told = outcome(&upstream, &open).await;
        let Outcome::Held { after: Some(after), .. } = told else { panic!("{told:?}") };
        assert!(after > TimeSpan::from_secs(100), "{after}");
        assert_eq!((served.fake.asked().len(), served.tickets().len()), (asked, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_there_is_told_once_and_what_the_gateway_does_is_not() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        let mut watch = Watch::since(beginning());
        let key = padded("c", "a");
        let (ticket, _) = opened(&upstream, &call(&key, 1, None, draft("泵 \"7\"", None))).await;
        let change = |status| Change { ticket: ticket.clone(), status, by: PERSON.to_owned() };
        assert_eq!(upstream.changes(&mut watch).await, Ok(vec![]), "it is ours");
        served.system().act(Act::Take);
        let taken = upstream.changes(&mut watch).await;
        assert_eq!(taken, Ok(vec![change(TicketStatus::Accepted)]));
        assert_eq!(upstream.changes(&mut watch).await, Ok(vec![]), "told once");
        for (number, action) in [
            (2, Action::Resolve { text: "恢复".into() }),
            (3, Action::Reopen { severity: None, text: "又坏了".into() }),
        ] {
            let told = outcome(&upstream, &call(&key, number, Some(&ticket), action)).await;
            assert!(matches!(told, Outcome::Done { .. }), "{told:?}");
            assert_eq!(upstream.changes(&mut watch).await, Ok(vec![]), "{number}");
        }
        served.system().act(Act::Finish);
        let finished = upstream.changes(&mut watch).await;
        assert_eq!(finished, Ok(vec![change(TicketStatus::Resolved)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_is_read_to_its_end_at_both_editions_of_jira() {
    for vendor in VENDORS.iter().filter(|vendor| vendor.kind == "jira") {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        for number in 0..45 {
            let open = call(&padded("l", &number.to_string()), 1, None, draft("一", None));
            opened(&upstream, &open).await;
        }
        served.system().act(Act::Take);
        let searches = || served.fake.count("POST /rest/api/2/search");
        let before = searches();
        let changes = upstream.changes(&mut Watch::since(beginning())).await.expect("changes");
        assert_eq!((changes.len(), searches() - before), (1, 3), "twenty issues a page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_where_it_is_not_set_up_and_the_reason_says_what_to_do() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        opened(&served.upstream(), &call(&padded("s", "a"), 1, None, draft("一", None))).await;
        let open = call(&padded("s", "b"), 1, None, draft("二", None));

        // A wrong token: nothing is lost, and it is shown to nobody. The key in the body is another.
        let wrong = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(wrong.path(), "nonsense-1234").expect("written");
        let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
        let toml = served.toml().replace(&path(&served.token), &path(&wrong));
        let told = outcome(&connect(&toml), &open).await;
        assert!(matches!(told, Outcome::Later { .. }), "{told:?}");
        let reason = why(&told);
        let code = reason.contains("401") || reason.contains("400");
        assert!(code && !reason.contains("nonsense"), "{reason}");

        served.system().break_setup();
        let told = outcome(&served.upstream(), &open).await;
        assert!(why(&told).contains(vendor.unready), "{told:?}");
        assert_eq!(served.tickets().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_not_made_is_refused_and_one_that_was_made_already_is_not() {
    for vendor in &VENDORS {
        let served = Served::start(vendor).await;
        let upstream = served.upstream();
        let key = padded("r", "a");
        let (ticket, _) = opened(&upstream, &call(&key, 1, None, draft("一", None))).await;
        served.system().act(Act::Finish);
        let resolve = Action::Resolve { text: "恢复".into() };
        let told = outcome(&upstream, &call(&key, 2, Some(&ticket), resolve)).await;
        assert!(matches!(told, Outcome::Done { .. }), "somebody was faster: {told:?}");
        let worse = Action::Escalate {
            severity: Some(Severity::Critical),
            assign: Some("P-李".into()),
            text: String::new(),
        };
        let told = outcome(&upstream, &call(&key, 3, Some(&ticket), worse)).await;
        assert!(matches!(told, Outcome::Done { .. }), "it is over: {told:?}");
        served.system().act(Act::Close);
        let reopen = Action::Reopen { severity: None, text: "又坏了".into() };
        let told = outcome(&upstream, &call(&key, 4, Some(&ticket), reopen)).await;
        match vendor.refused {
            Some(words) => {
                assert!(matches!(told, Outcome::Rejected { .. }), "{told:?}");
                assert!(why(&told).contains(words), "{told:?}");
            }
            None => assert!(matches!(told, Outcome::Done { .. }), "{told:?}"),
        }
    }
}
