//! `faultgate demo`: broker, store, desk and a fleet in a temporary folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use device_sim::publish::{Progress, Target};
use device_sim::recording::{self, CsvMapping, Messages, Recorded};
use device_sim::scenario::parse_duration;
use device_sim::{Fleet, Scenario};
use rust_decimal::Decimal;
use tokio::sync::{broadcast, watch};

use super::{Globals, LogFormat};
use crate::config::{self, Config};
use crate::engine::rating::{Plan, running_bill};
use crate::engine::types::decision::TicketEvent;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::ledger::Meter;
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::engine::{policy, rating};
use crate::io::mqtt::publish::Publisher;
use crate::io::{clock, telemetry};
use crate::service::observe::Story;
use crate::service::{self, Pace, Running};

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

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A recording in place of the fleet: a folder with devices/*.csv, or files
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    /// Class of the devices in CSV files; without it by the name of the folder
    #[arg(long, value_name = "CLASS")]
    csv_class: Option<String>,
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
    let config = configuration(globals, folder.path(), args.port)?;
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
fn configuration(globals: &Globals, folder: &Path, port: u16) -> anyhow::Result<Config> {
    let mut config = match &globals.config {
        Some(path) => config::require(Some(path))?,
        None => config::defaults()?,
    };
    let loopback = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
    config.gateway.data = globals.data.clone().unwrap_or_else(|| folder.to_owned());
    config.listen = SocketAddr::new(loopback, port);
    config.broker.listen = SocketAddr::new(loopback, 0);
    Ok(config)
}

async fn show(
    args: &Args,
    config: &Config,
    plan: Plan,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<()> {
    let policy = read_rules(config)?;
    let speed = args.speed.unwrap_or(if args.replay.is_some() { REPLAY_SPEED } else { 1.0 });
    anyhow::ensure!((0.001..=1e6).contains(&speed), "--speed is from 0.001 to 1000000");
    let origin = match &args.replay {
        Some(path) => first_time(args, path)?,
        None => clock::now(),
    };
    let pace = Pace::Fast { origin, speed };
    let mut running = service::start(config, policy, metrics, pace).await?;
    let mqtt = running.mqtt.context("the demo needs the embedded broker")?;
    println!("Desk      http://{}/desk", running.http);
    println!("API       http://{}/api/v1/tickets", running.http);
    println!("Broker    mqtt://{mqtt}");
    println!("Plan      {} ({})\n", plan.id, plan.currency);
    let teller = tokio::spawn(tell(running.stories.subscribe(), plan));
    let (stop, stopped) = watch::channel(false);
    let url = format!("mqtt://{mqtt}");
    let source = tokio::spawn(publish(
        args.replay.clone(),
        args.csv_class.clone(),
        args.seed,
        speed,
        url,
        origin,
        stopped,
    ));
    let end = wait(&mut running, source, args.limit).await;
    stop.send_replace(true);
    running.stop().await;
    drop(tokio::time::timeout(Duration::from_secs(2), teller).await);
    end
}

/// Waits for Ctrl-C, the time limit, or the end of the recording.
async fn wait(
    running: &mut Running,
    source: tokio::task::JoinHandle<anyhow::Result<()>>,
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
            // The last timers and calls of a recording that is over.
            tokio::time::sleep(Duration::from_secs(3)).await;
            ended.context("the messages could not be published")?
        }
    }
}

async fn publish(
    replay: Option<PathBuf>,
    csv_class: Option<String>,
    seed: u64,
    speed: f64,
    url: String,
    origin: Timestamp,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    match replay {
        Some(path) => {
            let (transport, _) = super::replay::transport(&url).context("no address")?;
            let publisher = Publisher::start(&transport, None)?;
            let messages = messages(&path, csv_class.as_deref())?;
            super::replay::publish(&publisher, messages, speed).await?;
            publisher.confirmed(Duration::from_secs(10)).await?;
            Ok(())
        }
        None => {
            let target = Target::parse(&url).context("no address")?;
            let fleet = Fleet::new(&Scenario::demo()?, seed, origin.micros());
            let progress = Arc::new(Progress::default());
            device_sim::publish::run(fleet, &target, speed, None, progress, stopped).await?;
            Ok(())
        }
    }
}

/// Tells the stories of tickets, and what they have cost so far.
async fn tell(mut stories: broadcast::Receiver<Story>, plan: Plan) {
    let mut used: Vec<(&str, Decimal)> =
        Meter::ALL.iter().map(|meter| (meter.name(), Decimal::ZERO)).collect();
    loop {
        match stories.recv().await {
            Ok(Story::Metered { meter, qty }) => {
                for (name, sum) in &mut used {
                    if *name == meter.name() {
                        *sum += qty;
                    }
                }
            }
            Ok(Story::Ticket { event, ticket, at }) => {
                let cost = running_bill(&plan, &used).map_or_else(
                    |error| error.to_string(),
                    |bill| format!("{} {}", bill.total, bill.currency),
                );
                if let Some(line) = line(&event, &ticket, at) {
                    println!("{line}  [{cost}]");
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => println!("... {missed} more"),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn line(event: &TicketEvent, ticket: &TicketRecord, at: Timestamp) -> Option<String> {
    let at = at.to_chrono().format("%Y-%m-%d %H:%M:%S");
    let (id, title, severity) = (ticket.id, &ticket.title, ticket.severity.word());
    Some(match event {
        TicketEvent::Opened => format!("{at}  {id:<6} opened     {severity:<8} {title}"),
        TicketEvent::Joined => format!("{at}  {id:<6} joined     {title}"),
        TicketEvent::Escalated { step } => format!("{at}  {id:<6} escalated  step {step}  {title}"),
        TicketEvent::Resolved => format!("{at}  {id:<6} resolved   {title}"),
        TicketEvent::Reopened => format!("{at}  {id:<6} reopened   {title}"),
        TicketEvent::Delayed { reason, .. } => format!("{at}  {id:<6} delayed    {reason}"),
        TicketEvent::DeadLettered { reason, .. } => format!("{at}  {id:<6} refused    {reason}"),
        TicketEvent::Delivered { .. } => return None,
    })
}

fn read_rules(config: &Config) -> anyhow::Result<policy::Policy> {
    let sources: Vec<Source> = RULES
        .iter()
        .map(|(file, text)| Source { file: (*file).to_owned(), text: (*text).to_owned() })
        .collect();
    let upstreams = config.upstream_names();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let report = Report::default();
    policy::compile(&sources, &names, &report)
        .with_context(|| config::report::render(&report.into_sorted(), &sources, false))
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

/// The class that was asked for, else the name of the folder.
fn mapping(path: &Path, class: Option<&str>) -> CsvMapping {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let class = class.map(str::to_owned).or(name).unwrap_or_default();
    CsvMapping { class, ..CsvMapping::default() }
}

/// The recording, its devices in the classes that the rules know.
fn messages(path: &Path, class: Option<&str>) -> anyhow::Result<Messages> {
    let messages = recording::open_all(&[path.to_owned()], &mapping(path, class))?;
    if class.is_some() {
        return Ok(messages);
    }
    Ok(Box::new(messages.map(|message| {
        message.map(|message| Recorded { topic: reclassed(&message.topic), ..message })
    })))
}

fn reclassed(topic: &str) -> String {
    let levels: Vec<&str> = topic.split('/').collect();
    if let ["plant", site, _, device, last] = levels.as_slice()
        && let Some((_, class)) = CLASSES.iter().find(|(head, _)| device.starts_with(head))
    {
        return format!("plant/{site}/{class}/{device}/{last}");
    }
    topic.to_owned()
}

fn first_time(args: &Args, path: &Path) -> anyhow::Result<Timestamp> {
    let mut messages = messages(path, args.csv_class.as_deref())?;
    let first = messages.next().context("the recording is empty")??;
    Ok(Timestamp::from_micros(first.at_us) - TimeSpan::from_secs(1))
}
