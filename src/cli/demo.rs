//! `faultgate demo`: broker, store, desk and a fleet in a temporary folder.

mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use device_sim::publish::{Progress, Target};
use device_sim::recording::{self, CsvMapping, Recorded};
use device_sim::scenario::parse_duration;
use device_sim::{Fleet, Scenario};
use indicatif::ProgressBar;
use rust_decimal::Decimal;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::recordings::{self, CsvArgs, Extent};
use super::{Globals, LogFormat};
use crate::config::rules::{self, Refused, RuleSet};
use crate::config::{self, Config};
use crate::engine::rating::{self, Plan, running_bill};
use crate::engine::types::decision::TicketEvent;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::ledger::Meter;
use crate::engine::types::text::Language;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::mqtt::publish::Publisher;
use crate::io::{clock, telemetry};
use crate::service::observe::Story;
use crate::service::{self, Pace, Running};
use words::{Counts, Speech};

/// The rules of the demo are the ones that come with the project.
const RULES: [(&str, &str); 7] = [
    ("cold-chain.toml", include_str!("../../rules/cold-chain.toml")),
    ("pump.toml", include_str!("../../rules/pump.toml")),
    ("server-room.toml", include_str!("../../rules/server-room.toml")),
    ("pump-bench.toml", include_str!("../../rules/pump-bench.toml")),
    ("furnace.toml", include_str!("../../rules/furnace.toml")),
    ("room.toml", include_str!("../../rules/room.toml")),
    ("air-handler.toml", include_str!("../../rules/air-handler.toml")),
];
const PLAN: &str = include_str!("../../docs/examples/plans/plan-payg-ticket.toml");
/// Speed of a recording where none is asked for.
const REPLAY_SPEED: f64 = 60.0;
/// How long a recording that is over waits for the last timers and calls.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings in place of the fleet: files, or a folder with devices/*.csv
    #[arg(long, num_args = 1.., value_name = "PATH")]
    replay: Vec<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    /// How many times faster than real time; 1 for the fleet, 60 for a recording
    #[arg(long)]
    speed: Option<f64>,
    /// Stop after this much real time
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    limit: Option<Duration>,
    /// Price plan of the running cost; without it 1.20 a ticket
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Port of the desk and the API; 0 for any
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Seed of the fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Language of the demo and its tickets; without it that of the configuration or the locale
    #[arg(long, value_enum)]
    language: Option<Spoken>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Spoken {
    /// 简体中文
    #[value(name = "zh-CN", alias = "zh")]
    Chinese,
    /// English
    #[value(name = "en")]
    English,
}

impl From<Spoken> for Language {
    fn from(spoken: Spoken) -> Language {
        match spoken {
            Spoken::Chinese => Language::Chinese,
            Spoken::English => Language::English,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is not a duration; write 30s or 5m"))
}

/// Shows until Ctrl-C, the end of the recording, or `--for`.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let style = match globals.log {
        LogFormat::Text => telemetry::LogStyle::Text,
        LogFormat::Json => telemetry::LogStyle::Json,
    };
    telemetry::start_logs(style, "error,rumqttd=off");
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let config = configuration(args, globals, folder.path())?;
    let plan = match &args.plan {
        Some(path) => super::backtest::read_plan(path)?,
        None => read_default_plan()?,
    };
    let metrics = telemetry::start_metrics().context("cannot start the metrics")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(show(args, &config, plan, metrics))?;
    Ok(ExitCode::SUCCESS)
}

/// The defaults, on free ports and in a folder of its own.
fn configuration(args: &Args, globals: &Globals, folder: &Path) -> anyhow::Result<Config> {
    let mut config = match &globals.config {
        Some(path) => config::require(Some(path))?,
        None => config::defaults()?,
    };
    let of_file = globals.config.as_ref().map(|_| config.gateway.language);
    let spoken = args.language.map(Language::from).or(of_file);
    config.gateway.language = spoken.unwrap_or_else(words::of_environment);
    let loopback = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
    config.gateway.data = globals.data.clone().unwrap_or_else(|| folder.to_owned());
    config.listen = SocketAddr::new(loopback, args.port);
    config.broker.listen = SocketAddr::new(loopback, 0);
    Ok(config)
}

/// Where the messages come from.
#[derive(Clone, Debug)]
enum Origin {
    Fleet { seed: u64 },
    Recording { paths: Vec<PathBuf>, csv: CsvMapping, extent: Extent },
}

impl Origin {
    fn new(args: &Args, config: &Config) -> anyhow::Result<Origin> {
        if args.replay.is_empty() {
            return Ok(Origin::Fleet { seed: args.seed });
        }
        let (paths, csv) = (args.replay.clone(), args.csv.mapping(config)?);
        let extent = recordings::measure(&paths, &csv)?;
        Ok(Origin::Recording { paths, csv, extent })
    }

    fn begins(&self) -> Timestamp {
        match self {
            Origin::Fleet { .. } => clock::now(),
            Origin::Recording { extent, .. } => extent.first - TimeSpan::from_secs(1),
        }
    }

    fn speed(&self) -> f64 {
        match self {
            Origin::Fleet { .. } => 1.0,
            Origin::Recording { .. } => REPLAY_SPEED,
        }
    }

    /// A bar where the end is known.
    fn bar(&self) -> ProgressBar {
        match self {
            Origin::Fleet { .. } => ProgressBar::hidden(),
            Origin::Recording { extent, .. } => recordings::bar(extent.messages),
        }
    }
}

async fn show(
    args: &Args,
    config: &Config,
    plan: Plan,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<()> {
    let rules = read_rules(config)?;
    let origin = Origin::new(args, config)?;
    let speed = args.speed.unwrap_or(origin.speed());
    anyhow::ensure!((0.001..=1e6).contains(&speed), "--speed is from 0.001 to 1000000");
    let begins = origin.begins();
    let pace = Pace::Fast { origin: begins, speed };
    let mut running = service::start(config, rules, metrics, pace).await?;
    let mqtt = running.mqtt.context("the demo needs the embedded broker")?;
    let speech = Speech {
        language: config.gateway.language,
        zone: config.gateway.zone,
        with_date: !args.replay.is_empty(),
    };
    print_head(speech, &running, &origin, &plan, speed);
    let bar = origin.bar();
    let teller = Teller::new(speech, plan, bar.clone());
    let teller = tokio::spawn(teller.tell(running.stories.subscribe()));
    let url = format!("mqtt://{mqtt}");
    let mut source = tokio::spawn(publish(origin, speed, url, begins, bar.clone()));
    let end = wait(&mut running, &mut source, args.limit).await;
    bar.finish_and_clear();
    // The gateway first: devices that go would be faults to it.
    running.stop().await;
    source.abort();
    drop(tokio::time::timeout(Duration::from_secs(2), teller).await);
    end
}

fn print_head(speech: Speech, running: &Running, origin: &Origin, plan: &Plan, speed: f64) {
    let entry = |zh: &str, en: &str, value: String| println!("{}", speech.entry(zh, en, &value));
    entry("告警台", "Console", format!("http://{}/", running.http));
    entry("工单台", "Desk", format!("http://{}/desk", running.http));
    entry("接口", "API", format!("http://{}/api/v1/tickets", running.http));
    if let Some(mqtt) = running.mqtt {
        entry("MQTT", "Broker", format!("mqtt://{mqtt}"));
    }
    entry("价目", "Plan", format!("{} ({})", plan.id, plan.currency));
    let times = speech.say("倍速", "times as fast");
    match origin {
        Origin::Fleet { seed } => {
            let devices = Scenario::demo().map(|scenario| scenario.devices()).unwrap_or_default();
            let of = speech.say("台模拟设备，种子", "simulated devices, seed");
            entry("设备", "Devices", format!("{devices} {of} {seed}, {speed} {times}"));
        }
        Origin::Recording { extent, .. } => {
            let (from, to) = (speech.time(extent.first), speech.time(extent.last));
            let of = speech.say("条消息", "messages");
            let value = format!("{} {of}, {from} – {to}, {speed} {times}", extent.messages);
            entry("录制", "Recording", value);
        }
    }
    let hint = speech.say("按 Ctrl-C 结束", "Ctrl-C ends it");
    println!("\n{hint}\n");
}

/// Waits for Ctrl-C, the time limit, or the end of the recording.
async fn wait(
    running: &mut Running,
    source: &mut JoinHandle<anyhow::Result<()>>,
    limit: Option<Duration>,
) -> anyhow::Result<()> {
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = limit => Ok(()),
        error = running.ended() => Err(error),
        ended = source => {
            tokio::time::sleep(LAST_CALLS).await;
            ended.context("the messages could not be published")?
        }
    }
}

async fn publish(
    origin: Origin,
    speed: f64,
    url: String,
    begins: Timestamp,
    bar: ProgressBar,
) -> anyhow::Result<()> {
    match origin {
        Origin::Recording { paths, csv, .. } => {
            let (transport, _) = super::replay::transport(&url).context("no address")?;
            let publisher = Publisher::start(&transport, None)?;
            let mut recording = recording::open(&paths, &csv)?;
            let is_classed = csv.class.is_some();
            let messages = (&mut recording).map(|message| match is_classed {
                true => message,
                false => Recorded { topic: reclassed(&message.topic), ..message },
            });
            super::replay::publish(&publisher, messages, speed, &bar).await?;
            publisher.confirmed(Duration::from_secs(10)).await?;
            bar.suspend(|| recordings::tell_notes(&recording));
            Ok(())
        }
        Origin::Fleet { seed } => {
            let target = Target::parse(&url).context("no address")?;
            let fleet = Fleet::new(&Scenario::demo()?, seed, begins.micros());
            let progress = Arc::new(Progress::default());
            // Never told to stop: the end of the demo ends it where it stands.
            let (_running, stopped) = watch::channel(false);
            device_sim::publish::run(fleet, &target, speed, None, progress, stopped).await?;
            Ok(())
        }
    }
}

/// Tells the stories of tickets, and what they have cost so far.
struct Teller {
    speech: Speech,
    plan: Plan,
    /// Lines go above it.
    bar: ProgressBar,
    used: Vec<(&'static str, Decimal)>,
    counts: Counts,
}

impl Teller {
    fn new(speech: Speech, plan: Plan, bar: ProgressBar) -> Teller {
        let used = Meter::OF_CALLS.iter().map(|meter| (meter.name(), Decimal::ZERO)).collect();
        Teller { speech, plan, bar, used, counts: Counts::default() }
    }

    async fn tell(mut self, mut stories: broadcast::Receiver<Story>) {
        loop {
            match stories.recv().await {
                Ok(story) => self.hear(story),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.print(&format!("... {missed}"));
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        let end = self.speech.end(self.counts, &self.cost(), &self.plan.id);
        println!("\n{end}");
    }

    fn hear(&mut self, story: Story) {
        match story {
            Story::Metered { meter, qty } => {
                let same = self.used.iter_mut().filter(|(name, _)| *name == meter.name());
                same.for_each(|(_, sum)| *sum += qty);
            }
            Story::Ticket { event, ticket, at } => {
                self.count(&event);
                if let Some(line) = self.speech.line(&event, &ticket, at) {
                    self.print(&format!("{line}  [{}]", self.cost()));
                }
            }
        }
    }

    fn count(&mut self, event: &TicketEvent) {
        match event {
            TicketEvent::Opened => self.counts.opened += 1,
            TicketEvent::Escalated { .. } => self.counts.escalated += 1,
            TicketEvent::Resolved => self.counts.resolved += 1,
            TicketEvent::Joined
            | TicketEvent::Reopened
            | TicketEvent::StillRaised
            | TicketEvent::Gone
            | TicketEvent::Delivered { .. }
            | TicketEvent::Delayed { .. }
            | TicketEvent::DeadLettered { .. } => {}
        }
    }

    fn cost(&self) -> String {
        running_bill(&self.plan, &self.used).map_or_else(
            |error| error.to_string(),
            |bill| format!("{} {}", bill.total, bill.currency),
        )
    }

    fn print(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }
}

fn read_rules(config: &Config) -> anyhow::Result<RuleSet> {
    let sources: Vec<Source> = RULES
        .iter()
        .map(|(file, text)| Source { file: (*file).to_owned(), text: (*text).to_owned() })
        .collect();
    rules::compile(config, sources).map_err(|Refused { sources, diagnostics }| {
        anyhow::anyhow!("{}", config::report::render(&diagnostics, &sources, false))
    })
}

fn read_default_plan() -> anyhow::Result<Plan> {
    let source = Source { file: "plan-payg-ticket.toml".to_owned(), text: PLAN.to_owned() };
    let place = Place { source: &source, report: &Report::default() };
    read_document(place, rating::read_plan).context("the plan of the demo cannot be read")
}

/// Classes of recorded devices that the rules in `rules/` know, by how their ids begin.
const CLASSES: [(&str, &str); 4] = [
    ("valve", "pump-bench"),
    ("machine-temp", "furnace"),
    ("office-temp", "room"),
    ("sz", "air-handler"),
];

/// A topic with its device in the class that the rules know.
fn reclassed(topic: &str) -> String {
    let levels: Vec<&str> = topic.split('/').collect();
    if let ["plant", site, _, device, last] = levels.as_slice()
        && let Some((_, class)) = CLASSES.iter().find(|(head, _)| device.starts_with(head))
    {
        return format!("plant/{site}/{class}/{device}/{last}");
    }
    topic.to_owned()
}
