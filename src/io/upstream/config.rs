//! `[[upstream]]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, Table, Word};
use crate::engine::types::severity::Severity;
use crate::engine::types::time::TimeSpan;
use crate::io::secret::Secret;

/// One `[[upstream]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Name that rules use.
    pub name: String,
    /// Which system.
    pub kind: Kind,
    /// Its address; `None` for this gateway's own desk.
    pub url: Option<String>,
    /// Its token.
    pub token: Option<Secret>,
    /// Queue of rules that name none.
    pub queue: String,
    /// Custom field that holds the external key.
    pub key_field: String,
    /// Our severity in the upstream's numbers.
    pub priority: BTreeMap<Severity, i64>,
    /// Requests a second, and how many may come at once.
    pub rate: Rate,
    /// Calls that may be under way at a time.
    pub max_in_flight: usize,
    /// How often to look what people did there; `None` where the system tells by itself.
    pub poll: Option<TimeSpan>,
}

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A desk of ours.
    Desk,
    /// Request Tracker 5, REST 2.
    RequestTracker,
}

/// How fast an upstream may be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

/// How often Request Tracker is asked what people did there.
const POLL_DEFAULT: TimeSpan = TimeSpan::from_secs(30);
/// The least of it.
const POLL_MIN: TimeSpan = TimeSpan::from_secs(1);

const KINDS_NOT_BUILT: [&str; 6] = ["zammad", "jira", "servicenow", "redmine", "pagerduty", "http"];

/// Calls at a time where nothing is configured.
const MAX_IN_FLIGHT: usize = 8;

impl UpstreamConfig {
    /// This gateway's own desk, where nothing is configured.
    pub fn own_desk() -> UpstreamConfig {
        UpstreamConfig {
            name: "desk".to_owned(),
            kind: Kind::Desk,
            url: None,
            token: None,
            queue: String::new(),
            key_field: String::new(),
            priority: BTreeMap::new(),
            rate: Rate { per_second: 20_000.0, burst: 20_000.0 },
            max_in_flight: MAX_IN_FLIGHT,
            poll: None,
        }
    }

    /// True for this gateway's own desk.
    pub fn is_own_desk(&self) -> bool {
        self.kind == Kind::Desk && self.url.is_none()
    }

    /// Reads one `[[upstream]]`.
    pub fn read(table: &Table<'_>) -> Option<UpstreamConfig> {
        for (key, instead) in [
            ("status", "the states of Request Tracker are known: new, open, stalled, resolved ..."),
            ("timezone", "times are sent with their offset"),
            ("create", "use kind = \"request-tracker\" or \"desk\""),
            ("sign", "use `token`"),
        ] {
            table.not_built(key, instead);
        }
        let name = table.required::<String>("name");
        let kind = read_kind(table);
        let url = table.optional::<Located<String>>("url").and_then(|url| read_url(table, url));
        if kind == Some(Kind::RequestTracker) && !table.has("url") {
            let hint = "add `url = \"https://rt.example/\"`";
            table.place().error(table.span(), "missing-key", "`url` is missing", hint);
        }
        let token = read_token(table);
        let mut priority = default_priority();
        priority.extend(
            table.table("severity", |entry| Some(read_priority(entry))).unwrap_or_default(),
        );
        let rate = table.table("rate", |entry| {
            let per_second = entry.or("per_second", 5.0);
            Some(Rate {
                per_second: f64::max(per_second, 0.01),
                burst: entry.or("burst", 10.0).max(1.0),
            })
        });
        let default = if kind == Some(Kind::Desk) {
            UpstreamConfig::own_desk().rate
        } else {
            Rate { per_second: 5.0, burst: 10.0 }
        };
        let poll = read_poll(table, kind);
        Some(UpstreamConfig {
            poll,
            queue: table.or("queue", "General".to_owned()),
            key_field: table.or("key_field", "ExternalKey".to_owned()),
            rate: rate.unwrap_or(default),
            max_in_flight: table.or::<u32>("max_in_flight", MAX_IN_FLIGHT as u32).clamp(1, 1_024)
                as usize,
            name: name?,
            kind: kind?,
            url,
            token,
            priority,
        })
    }
}

/// Where the own desk listens.
pub(super) fn own_url(own: SocketAddr) -> String {
    format!("http://{own}/")
}

fn read_kind(table: &Table<'_>) -> Option<Kind> {
    let kind = table.required::<Located<String>>("kind")?;
    match kind.value.as_str() {
        "desk" => Some(Kind::Desk),
        "request-tracker" => Some(Kind::RequestTracker),
        other => {
            let known = ["desk", "request-tracker"];
            let (code, message) = if KINDS_NOT_BUILT.contains(&other) {
                ("not-supported", format!("kind `{other}` is not supported in this version"))
            } else {
                ("wrong-value", format!("there is no kind `{other}`"))
            };
            table.place().error(kind.span, code, message, did_you_mean(other, &known));
            None
        }
    }
}

fn read_url(table: &Table<'_>, url: Located<String>) -> Option<String> {
    let right = reqwest::Url::parse(&url.value)
        .is_ok_and(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.has_host());
    if !right {
        let message = format!("`url`: \"{}\" is not the address of a server", url.value);
        table.place().error(
            url.span,
            "wrong-value",
            message,
            "for example \"https://rt.example/\"",
        );
        return None;
    }
    Some(if url.value.ends_with('/') { url.value } else { format!("{}/", url.value) })
}

fn read_token(table: &Table<'_>) -> Option<Secret> {
    if table.has("token") && table.is_text("token") {
        let message = "a token never stands in this file";
        let hint =
            "write token = { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
        table.place().error(table.span(), "secret", message, hint);
        return None;
    }
    table.table("token", Secret::read)
}

fn read_poll(table: &Table<'_>, kind: Option<Kind>) -> Option<TimeSpan> {
    let given = table.optional::<Located<TimeSpan>>("poll");
    match (kind, given) {
        (Some(Kind::RequestTracker), None) => Some(POLL_DEFAULT),
        (Some(Kind::RequestTracker), Some(given)) if given.value >= POLL_MIN => Some(given.value),
        (Some(Kind::RequestTracker), Some(given)) => {
            let message = "`poll` is at least 1 s";
            table.place().error(given.span, "wrong-value", message, "for example \"30s\"");
            None
        }
        (Some(Kind::Desk), Some(given)) => {
            let message = "`poll`: a desk is not polled in this version";
            let hint = "leave it out; the desk inside tells by itself";
            table.place().error(given.span, "not-supported", message, hint);
            None
        }
        (Some(Kind::Desk) | None, _) => None,
    }
}

/// Request Tracker counts priorities from 0 to 100.
fn default_priority() -> BTreeMap<Severity, i64> {
    let numbers = [100, 75, 50, 25, 0];
    Severity::ALL.into_iter().zip(numbers).collect()
}

fn read_priority(table: &Table<'_>) -> BTreeMap<Severity, i64> {
    let mut priority = BTreeMap::new();
    for (name, entry) in table.entries() {
        match Severity::parse_word(&name.value) {
            Some(severity) => priority.extend(entry.read().map(|number| (severity, number))),
            None => {
                let known = Severity::ALL.map(Severity::word);
                let message = format!("there is no severity `{}`", name.value);
                let hint = did_you_mean(&name.value, &known);
                table.place().error(name.span, "unknown-key", message, hint);
            }
        }
    }
    priority
}
