//! `[[upstream]]`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::http_api::{self, Api, Op};
use crate::engine::types::diagnostic::{Report, Source, did_you_mean};
use crate::engine::types::document::{Located, Place, Table, read_document};
use crate::engine::types::job::Allowance;
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
    /// Requests a second, and how many may come at once.
    pub rate: Rate,
    /// Calls that may be under way at a time.
    pub max_in_flight: usize,
    /// How often to look what people did there; `None` where the system tells by itself.
    pub poll: Option<TimeSpan>,
    /// New tickets get a plot of the last values.
    pub plots: bool,
}

/// Which system.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A desk of ours.
    Desk,
    /// Any HTTP API; the systems that are known by name are profiles of it.
    Http(Arc<Api>),
}

/// The systems that are known by name: files as an operator writes them.
const PROFILES: [(&str, &str); 6] = [
    ("request-tracker", include_str!("../../../docs/upstreams/request-tracker.toml")),
    ("redmine", include_str!("../../../docs/upstreams/redmine.toml")),
    ("zammad", include_str!("../../../docs/upstreams/zammad.toml")),
    ("jira", include_str!("../../../docs/upstreams/jira.toml")),
    ("servicenow", include_str!("../../../docs/upstreams/servicenow.toml")),
    ("pagerduty", include_str!("../../../docs/upstreams/pagerduty.toml")),
];

/// How fast an upstream may be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

/// How often an upstream is asked what people did there.
const POLL_DEFAULT: TimeSpan = TimeSpan::from_secs(30);
/// The least of it.
const POLL_MIN: TimeSpan = TimeSpan::from_secs(1);

/// The kinds by name.
pub const KINDS: [&str; 8] =
    ["desk", "http", "request-tracker", "redmine", "zammad", "jira", "servicenow", "pagerduty"];

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
            rate: Rate { per_second: 20_000.0, burst: 20_000.0 },
            max_in_flight: MAX_IN_FLIGHT,
            poll: None,
            plots: true,
        }
    }

    /// True for this gateway's own desk.
    pub fn is_own_desk(&self) -> bool {
        matches!(self.kind, Kind::Desk) && self.url.is_none()
    }

    /// Requests that an attempt may make at first.
    pub fn allowance(&self) -> Allowance {
        match &self.kind {
            Kind::Desk => Allowance::ONE,
            Kind::Http(api) => api.allowance(),
        }
    }

    /// Reads one `[[upstream]]`.
    pub fn read(table: &Table<'_>) -> Option<UpstreamConfig> {
        let name = table.required::<String>("name");
        let kind = read_kind(table);
        let url = table.optional::<Located<String>>("url").and_then(|url| read_url(table, url));
        let is_http = matches!(kind, Some(Kind::Http(_)));
        if is_http && !table.has("url") {
            let hint = "add `url = \"https://desk.example/\"`";
            table.place().error(table.span(), "missing-key", "`url` is missing", hint);
        }
        let token = read_token(table);
        let rate = table.table("rate", |entry| {
            let per_second = entry.or("per_second", 5.0);
            Some(Rate {
                per_second: f64::max(per_second, 0.01),
                burst: entry.or("burst", 10.0).max(1.0),
            })
        });
        let default = match kind {
            Some(Kind::Desk) => UpstreamConfig::own_desk().rate,
            Some(Kind::Http(_)) | None => Rate { per_second: 5.0, burst: 10.0 },
        };
        let in_flight = table.or::<u32>("max_in_flight", MAX_IN_FLIGHT as u32).clamp(1, 1_024);
        let poll = read_poll(table, kind.as_ref());
        let config = UpstreamConfig {
            poll,
            plots: table.or("plots", true),
            rate: rate.unwrap_or(default),
            max_in_flight: in_flight as usize,
            name: name?,
            kind: kind?,
            url,
            token,
        };
        if let Kind::Http(api) = &config.kind {
            http_api::check(api, &config, table.place(), table.span());
        }
        Some(config)
    }
}

/// Where the own desk listens.
pub(super) fn own_url(own: SocketAddr) -> String {
    format!("http://{own}/")
}

fn read_kind(table: &Table<'_>) -> Option<Kind> {
    let kind = table.required::<Located<String>>("kind");
    let word = kind.as_ref().map_or("http", |kind| kind.value.as_str());
    let profile = PROFILES.iter().find(|(name, _)| *name == word);
    match (word, profile) {
        ("desk", _) => Some(Kind::Desk),
        ("http", _) => {
            let api = http_api::read(table, Api::default());
            kind.map(|_| Kind::Http(Arc::new(api)))
        }
        (_, Some((name, text))) => {
            Some(Kind::Http(Arc::new(http_api::read(table, profile_of(name, text)))))
        }
        (other, None) => {
            // Read all the same, so that its other keys are not called unknown.
            http_api::read(table, Api::default());
            let hint = format!("{}; `http` drives any HTTP API", did_you_mean(other, &KINDS));
            let message = format!("there is no kind `{other}`");
            table.place().error(kind?.span, "wrong-value", message, hint);
            None
        }
    }
}

/// The API of a file that is built in; a test reads each without a finding.
fn profile_of(name: &str, text: &str) -> Api {
    let source = Source { file: format!("built-in {name}"), text: text.to_owned() };
    let report = Report::default();
    let read = |file: &Table<'_>| {
        file.tables("upstream", |table| Some(http_api::read(table, Api::default()))).pop()
    };
    read_document(Place { source: &source, report: &report }, read).unwrap_or_default()
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
            "for example \"https://desk.example/\"",
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

fn read_poll(table: &Table<'_>, kind: Option<&Kind>) -> Option<TimeSpan> {
    let given = table.optional::<Located<TimeSpan>>("poll");
    let error = |given: Located<TimeSpan>, code, message, hint| {
        table.place().error(given.span, code, message, hint);
        None
    };
    match (kind, given) {
        (Some(Kind::Http(api)), given) if !api.operations.contains_key(&Op::Changes) => {
            let hint = "add [upstream.changes], which says how";
            given.and_then(|given| error(given, "wrong-value", "`poll` needs `changes`", hint))
        }
        (Some(Kind::Http(_)), None) => Some(POLL_DEFAULT),
        (Some(Kind::Http(_)), Some(given)) if given.value >= POLL_MIN => Some(given.value),
        (Some(Kind::Http(_)), Some(given)) => {
            error(given, "wrong-value", "`poll` is at least 1 s", "for example \"30s\"")
        }
        (Some(Kind::Desk), Some(given)) => {
            let message = "`poll`: a desk is not polled in this version";
            error(given, "not-supported", message, "leave it out; the desk inside tells by itself")
        }
        (Some(Kind::Desk) | None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_a_file_without_a_finding() {
        for (name, text) in PROFILES {
            let source = Source { file: format!("{name}.toml"), text: text.to_owned() };
            let report = Report::default();
            let read = |file: &Table<'_>| file.tables("upstream", UpstreamConfig::read).pop();
            let config = read_document(Place { source: &source, report: &report }, read);
            assert_eq!(report.into_sorted(), [], "{name}");
            let config = config.expect("read");
            assert_eq!(config.poll, Some(POLL_DEFAULT));
            let Kind::Http(api) = &config.kind else { panic!("{name} is no HTTP API") };
            assert!(api.is_exactly_once());
        }
    }

    #[test]
    fn every_example_of_the_page_on_connectors_is_read_without_an_error() {
        let page = include_str!("../../../docs/connectors.md");
        let blocks = page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
        let mut count = 0;
        for block in blocks {
            let source = Source { file: "connectors.md".to_owned(), text: block.to_owned() };
            let report = Report::default();
            let read = |file: &Table<'_>| file.tables("upstream", UpstreamConfig::read).pop();
            let config = read_document(Place { source: &source, report: &report }, read);
            assert!(!report.has_errors(), "{:#?}\n{block}", report.into_sorted());
            count += usize::from(config.is_some());
        }
        assert!(count >= 7, "{count}");
    }
}
