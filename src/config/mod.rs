//! `faultgate.toml`: one field per component, every mistake told at its place.
//!
//! Every key has a default that is right for one box; an empty file, or none, runs.

mod csv;
pub mod files;
mod limits;
mod parts;
pub mod report;
pub mod rules;
pub mod schema;
mod store;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono_tz::Tz;
use device_sim::recording::CsvMapping;

use crate::engine::decode::{self, Payload, Presence, SourceSpec, TopicPattern};
use crate::engine::merge::StormPolicy;
use crate::engine::pipeline::Settings;
use crate::engine::types::calendar::read_zone;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Located, OneOf, Place, Table, read_document};
use crate::engine::types::text::Language;
use crate::engine::types::time::TimeSpan;
use crate::io::mqtt::config::{self as mqtt, BrokerConfig, BrokerUrl, Transport};
use crate::io::secret::Secret;
use crate::io::upstream::UpstreamConfig;

pub use limits::Limits;
pub use parts::Parts;
pub use store::StoreConfig;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "faultgate.toml";
/// The register of devices that is read when none is named.
const DEFAULT_REGISTER: &str = "devices.toml";
/// The budgets that are read when none are named.
const DEFAULT_BUDGETS: &str = "budgets.toml";
/// Topic of devices, where no source is configured.
const DEFAULT_TOPIC: &str = "plant/{site}/{class}/{device}/telemetry";
/// Topic of last wills and births, where no source is configured.
const DEFAULT_PRESENCE: &str = "plant/{site}/{class}/{device}/status";

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this gateway is and where its files are.
    pub gateway: GatewayConfig,
    /// The embedded broker, and bounds that hold for every broker.
    pub broker: BrokerConfig,
    /// Where messages come from and how they are read; the same index in both.
    pub sources: Vec<SourceConfig>,
    /// Where the console, the API and the desk listen.
    pub listen: SocketAddr,
    /// Names besides loopback under which a proxy in front reaches it.
    pub hosts: Vec<String>,
    /// Address of the console as people reach it, ending with `/`.
    pub address: Option<String>,
    /// What the desk's API asks for.
    pub desk_token: Option<Secret>,
    /// The ticket systems, the default one first.
    pub upstreams: Vec<UpstreamConfig>,
    /// Bounds.
    pub limits: Limits,
    /// When there is a storm.
    pub storm: StormPolicy,
    /// How long things are kept, and how much.
    pub store: StoreConfig,
}

/// `[gateway]`.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Name in the ledger and in messages.
    pub id: String,
    /// Zone of the times in tickets.
    pub zone: Tz,
    /// Language of tickets and messages.
    pub language: Language,
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// The register of devices; it need not be there.
    pub devices: PathBuf,
    /// The price plan that is in force.
    pub plan: Option<PathBuf>,
    /// The budgets; the file need not be there.
    pub budgets: PathBuf,
    /// The configuration names no rules: the folder need not be there.
    pub rules_by_default: bool,
    /// Data folder.
    pub data: PathBuf,
    /// How long nothing is sent after a restart.
    pub settle: TimeSpan,
    /// An upstream that was away for less than this gets everything as it was decided.
    pub catch_up_after: TimeSpan,
    /// Samples that are older than the newest by no more than this are placed by their time.
    pub lateness: TimeSpan,
    /// How long after a start, or after a lost path is back, nobody counts as silent.
    pub restart_grace: TimeSpan,
}

/// `[[source]]`.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// How messages are read.
    pub spec: SourceSpec,
    /// Where they come from.
    pub transport: Transport,
    /// Password of the broker's user.
    pub password: Option<Secret>,
    /// How rows of recorded CSV files become its messages.
    pub csv: CsvMapping,
}

/// A configuration, and the file that it was read from.
#[derive(Debug)]
pub struct Loaded {
    /// `None` when the file has errors.
    pub config: Option<Config>,
    /// What can be told of it whatever errors it has.
    pub parts: Parts,
    /// `None` for built-in defaults, and for a file that is no text.
    pub source: Option<Source>,
}

/// Reads the configuration: the named file, else [`DEFAULT_FILE`] if it is there, else defaults.
///
/// # Errors
/// A named file that is not there. Mistakes in the file go to `report`.
pub fn load(path: Option<&Path>, report: &Report) -> anyhow::Result<Loaded> {
    let default = Path::new(DEFAULT_FILE);
    let path = path.or_else(|| default.exists().then_some(default));
    if let Some(path) = path {
        let named = || format!("cannot read the configuration {}", path.display());
        std::fs::metadata(path).with_context(named)?;
    }
    let read_file = path.map(|path| files::read_or_tell(path, report)).transpose();
    let is_text = read_file.is_ok();
    let source = read_file.unwrap_or_else(Some);
    let text =
        source.clone().unwrap_or_else(|| Source { file: String::new(), text: String::new() });
    let mut config =
        if is_text { read_document(Place { source: &text, report }, read) } else { None };
    if report.has_errors() {
        config = None;
    }
    let mut parts = match &config {
        Some(config) => {
            Parts { gateway: config.gateway.clone(), upstreams: config.upstream_names() }
        }
        None => parts::read(&text),
    };
    parts.gateway.settle_in(path.and_then(Path::parent));
    if let Some(config) = &mut config {
        config.gateway = parts.gateway.clone();
    }
    Ok(Loaded { config, parts, source })
}

/// True for a file that says how a gateway is set up, and not which rules it has.
pub fn is_config(source: &Source) -> bool {
    let is_named = Path::new(&source.file).file_name().is_some_and(|name| name == DEFAULT_FILE);
    let has = |table: &toml::Table, keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
    is_named
        || source.text.parse::<toml::Table>().is_ok_and(|table| {
            has(&table, &["gateway", "broker", "source", "store", "http", "upstream", "storm"])
                && !has(&table, &["rule", "codes", "ladder", "plan", "budget"])
        })
}

/// Tells the mistakes of a configuration that is not to be used.
pub fn inspect(source: &Source, report: &Report) {
    read_document(Place { source, report }, read);
}

/// Reads the configuration, or fails with all of its mistakes rendered.
///
/// # Errors
/// A file that cannot be read or has mistakes.
pub fn require(path: Option<&Path>) -> anyhow::Result<Config> {
    let report = Report::default();
    let loaded = load(path, &report)?;
    match loaded.config {
        Some(config) => Ok(config),
        None => {
            let sources: Vec<Source> = loaded.source.into_iter().collect();
            let text = report::render(&report.into_sorted(), &sources, false);
            anyhow::bail!("the configuration has errors\n{text}")
        }
    }
}

/// The built-in defaults, whatever files there are.
///
/// # Errors
/// Never: a test reads them.
pub fn defaults() -> anyhow::Result<Config> {
    let source = Source { file: String::new(), text: String::new() };
    let place = Place { source: &source, report: &Report::default() };
    read_document(place, read).context("the built-in defaults are broken")
}

impl Config {
    /// Names that rules may send tickets to, the default one first.
    pub fn upstream_names(&self) -> Vec<String> {
        self.upstreams.iter().map(|upstream| upstream.name.clone()).collect()
    }

    /// The metrics that all sources together can yield; `None` when one of them takes any name.
    pub fn yields(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for source in &self.sources {
            all.extend(source.spec.metrics()?.into_iter().map(str::to_owned));
        }
        Some(all)
    }

    /// These rule files and folders, and the register of devices where there is one: what is
    /// compiled as one set.
    pub fn with_register(&self, rules: &[PathBuf]) -> Vec<PathBuf> {
        self.gateway.with_register(rules)
    }

    /// Where the files of a rule set lie: the rule files and folders, a folder `ladders` beside
    /// them, and the register of devices.
    pub fn rule_paths(&self) -> Vec<PathBuf> {
        let gateway = &self.gateway;
        let beside = [&gateway.devices, &gateway.budgets];
        let named = gateway.rules.iter().chain(beside).chain(&gateway.plan);
        named.cloned().chain(ladders_beside(&gateway.rules)).collect()
    }

    /// What the engine needs of it.
    ///
    /// # Errors
    /// A configuration without any upstream.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let upstream = self.upstreams.first().context("no upstream is configured")?;
        Ok(Settings {
            gateway: self.gateway.id.clone(),
            language: self.gateway.language,
            zone: self.gateway.zone,
            console: self.console(),
            upstream: upstream.name.clone(),
            storm: self.storm,
            shelve_max: self.limits.shelve_max,
            allowances: self
                .upstreams
                .iter()
                .map(|upstream| (upstream.name.clone(), upstream.allowance()))
                .collect(),
            in_flight_max: self
                .upstreams
                .iter()
                .map(|upstream| (upstream.name.clone(), upstream.max_in_flight))
                .collect(),
            lateness: self.gateway.lateness,
            restart_grace: self.gateway.restart_grace,
            settle: self.gateway.settle,
            catch_up_after: self.gateway.catch_up_after,
            resume_max: TimeSpan::from_secs(3_600),
            closed_max: self.store.closed_max,
            unknown_devices: self.limits.unknown_devices,
            devices_max: self.limits.devices_max,
            backlog_max: self.limits.backlog_max,
            sources: self.sources.iter().map(|source| source.spec.clone()).collect(),
        })
    }
}

impl Config {
    /// Where the console is: at the address that people are told, else at its own, if that is fixed.
    fn console(&self) -> Option<String> {
        let own = (self.listen.port() != 0).then(|| format!("http://{}/", self.listen));
        self.address.clone().or(own)
    }
}

impl GatewayConfig {
    /// See [`Config::with_register`].
    pub fn with_register(&self, rules: &[PathBuf]) -> Vec<PathBuf> {
        let beside = [&self.devices, &self.budgets].into_iter().filter(|file| file.exists());
        let named = rules.iter().chain(beside).chain(&self.plan);
        named.cloned().chain(ladders_beside(rules)).collect()
    }

    /// Paths in a file are relative to the folder that it lies in.
    fn settle_in(&mut self, folder: Option<&Path>) {
        if let Some(folder) = folder {
            for rules in &mut self.rules {
                *rules = folder.join(&*rules);
            }
            self.devices = folder.join(&self.devices);
            self.budgets = folder.join(&self.budgets);
            self.plan = self.plan.take().map(|plan| folder.join(plan));
            self.data = folder.join(&self.data);
        }
        if self.rules_by_default {
            self.rules.retain(|rules| rules.exists());
        }
    }
}

fn read(table: &Table<'_>) -> Option<Config> {
    for (key, instead) in [
        ("budget", "budgets stand in budgets.toml beside this file, or in a rule file"),
        ("telemetry", "logs go to standard error, metrics to /metrics"),
    ] {
        table.not_built(key, instead);
    }
    let gateway = table.table("gateway", |entry| Some(read_gateway(entry)));
    let gateway = gateway.unwrap_or_else(default_gateway);
    let broker = table.table("broker", mqtt::broker).unwrap_or_default();
    let mut sources = table.tables("source", |entry| {
        let spec = decode::read_source(entry, broker.max_payload);
        let csv = spec.as_ref().map(|spec| csv::read(entry, spec)).unwrap_or_default();
        let name = spec.as_ref().map_or("", |spec| spec.name.as_str());
        // A mistake in the decoder is told once, and not as missing topics too.
        let any = ["#".to_owned()];
        let filters = spec.as_ref().map_or(&any[..], |spec| spec.filters.as_slice());
        let transport = mqtt::transport(entry, name, filters);
        if let (Some(spec), Some(transport)) = (&spec, &transport)
            && spec.host_id().is_some()
            && !transport.shared_group.is_empty()
        {
            let message = "`shared_group`: a Sparkplug host must hear every message of a node";
            let hint = "leave `shared_group` out of sources with `decoder = \"sparkplug-b\"`";
            entry.place().error(entry.span(), "wrong-value", message, hint);
        }
        let password = entry.table("password", Secret::read);
        Some(SourceConfig { spec: spec?, transport: transport?, password, csv })
    });
    if !table.has("source") {
        sources = vec![default_source(broker.max_payload)?];
    }
    let http = table.table("http", |entry| {
        Some((read_listen(entry), entry.or("hosts", vec![]), read_address(entry)))
    });
    let (listen, hosts, address) = http.unwrap_or_default();
    let desk_token = table.table("desk", |entry| entry.table("token", Secret::read));
    let mut upstreams = table.tables("upstream", UpstreamConfig::read);
    if !table.has("upstream") {
        upstreams = vec![UpstreamConfig::own_desk()];
    }
    for upstream in upstreams.iter_mut().filter(|upstream| upstream.is_own_desk()) {
        upstream.token = upstream.token.take().or_else(|| desk_token.clone());
    }
    Some(Config {
        gateway,
        broker,
        sources,
        listen: listen.unwrap_or(DEFAULT_LISTEN),
        hosts,
        address,
        desk_token,
        upstreams,
        limits: table.table("limits", |entry| Some(limits::read(entry))).unwrap_or_default(),
        storm: table.table("storm", |entry| Some(limits::read_storm(entry))).unwrap_or_default(),
        store: table.table("store", |entry| Some(store::read(entry))).unwrap_or_default(),
    })
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The folders `ladders` beside rule files and folders.
pub fn ladders_beside(rules: &[PathBuf]) -> BTreeSet<PathBuf> {
    let beside = rules.iter().map(|rules| rules.with_file_name("ladders"));
    beside.filter(|folder| folder.is_dir()).collect()
}

fn default_gateway() -> GatewayConfig {
    GatewayConfig {
        id: host_name(),
        zone: system_zone(),
        language: Language::English,
        rules: vec!["rules".into()],
        devices: DEFAULT_REGISTER.into(),
        plan: None,
        budgets: DEFAULT_BUDGETS.into(),
        rules_by_default: true,
        data: "data".into(),
        settle: TimeSpan::from_secs(15),
        catch_up_after: TimeSpan::from_secs(600),
        lateness: TimeSpan::from_secs(10),
        restart_grace: TimeSpan::from_secs(600),
    }
}

fn read_gateway(table: &Table<'_>) -> GatewayConfig {
    let default = default_gateway();
    let zone = read_zone(table, "timezone");
    let rules = table.optional::<Vec<String>>("rules");
    GatewayConfig {
        id: table.or("id", default.id),
        zone: zone.unwrap_or(default.zone),
        language: table.optional("language").map_or(default.language, |OneOf(language)| language),
        rules_by_default: rules.is_none(),
        devices: table.optional::<String>("devices").map_or(default.devices, PathBuf::from),
        plan: table.optional::<String>("plan").map(PathBuf::from),
        budgets: table.optional::<String>("budgets").map_or(default.budgets, PathBuf::from),
        rules: rules.map_or(default.rules, |rules| rules.into_iter().map(PathBuf::from).collect()),
        data: table.optional::<String>("data").map_or(default.data, PathBuf::from),
        settle: table.or("settle", default.settle),
        catch_up_after: table.or("catch_up_after", default.catch_up_after),
        lateness: table.or("lateness", default.lateness),
        restart_grace: table.or("restart_grace", default.restart_grace),
    }
}

fn read_listen(table: &Table<'_>) -> Option<SocketAddr> {
    let text = table.optional::<Located<String>>("listen")?;
    let parsed = text.value.parse::<SocketAddr>().ok();
    if parsed.is_none() {
        let message = format!("`listen`: \"{}\" is not an address with a port", text.value);
        table.place().error(
            text.span.clone(),
            "wrong-value",
            message,
            "for example \"127.0.0.1:8080\"",
        );
    }
    if parsed.is_some_and(|address| !address.ip().is_loopback()) {
        let message = "`listen`: this version has no sign-in, so that it takes loopback only";
        let hint = "put a proxy with a sign-in in front of 127.0.0.1";
        table.place().error(text.span, "not-supported", message, hint);
    }
    parsed
}

fn read_address(table: &Table<'_>) -> Option<String> {
    let url = table.optional::<Located<String>>("url")?;
    let is_whole = ["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme));
    if !is_whole || url.value.contains(['?', '#', ' ']) {
        let message = format!("`url`: \"{}\" is not the address of a page", url.value);
        let hint = "for example \"https://gateway.example/\"";
        table.place().error(url.span, "wrong-value", message, hint);
        return None;
    }
    Some(if url.value.ends_with('/') { url.value } else { format!("{}/", url.value) })
}

/// What fits a box without a configuration: JSON on `plant/{site}/{class}/{device}/telemetry`.
fn default_source(payload_bytes_max: usize) -> Option<SourceConfig> {
    let topic = TopicPattern::parse(DEFAULT_TOPIC).ok()?;
    let presence = TopicPattern::parse(DEFAULT_PRESENCE).ok()?;
    let filters = vec![topic.filter(), presence.filter()];
    let spec = SourceSpec {
        name: "plant".to_owned(),
        topics: vec![topic],
        filters: filters.clone(),
        payload: Payload::Json(Box::default()),
        presence: vec![Presence {
            topic: presence,
            path: None,
            online: vec!["online".to_owned()],
            offline: vec!["offline".to_owned()],
        }],
        payload_bytes_max,
        skew_back_max: TimeSpan::from_secs(86_400),
        skew_ahead_max: TimeSpan::from_secs(300),
    };
    let transport = Transport {
        url: BrokerUrl::Embedded,
        user: None,
        ca: None,
        client_certificate: None,
        topics: filters,
        qos: 1,
        shared_group: String::new(),
        client_id: "faultgate-plant".to_owned(),
    };
    Some(SourceConfig { spec, transport, password: None, csv: CsvMapping::default() })
}

fn host_name() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "gateway".to_owned())
}

/// The zone of the system: `TZ`, else what `/etc/localtime` points to, else UTC.
fn system_zone() -> Tz {
    let from_env = std::env::var("TZ").ok();
    let from_link = std::fs::read_link("/etc/localtime")
        .ok()
        .and_then(|link| link.to_str()?.split_once("zoneinfo/").map(|(_, name)| name.to_owned()));
    let zone = from_env.or(from_link).and_then(|name| name.trim_start_matches(':').parse().ok());
    zone.unwrap_or(Tz::UTC)
}
