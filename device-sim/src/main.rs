//! The `device-sim` binary: a simulated fleet on a broker, or in a recording.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use clap::{Parser, Subcommand};
use device_sim::publish::{self, Progress, Target};
use device_sim::recording::{Recorded, Recorder};
use device_sim::scenario::parse_duration;
use device_sim::{Action, Fleet, Scenario};
use indicatif::{ProgressBar, ProgressStyle};

/// Simulated devices with faults.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish a fleet over MQTT
    Run {
        /// Scenario; without it the one of the demo
        scenario: Option<PathBuf>,
        /// Broker: mqtt://[user:password@]host[:port]
        #[arg(long, value_name = "URL")]
        to: String,
        /// The same seed makes the same messages
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many times faster than real time; 0 for as fast as possible
        #[arg(long, default_value_t = 1.0, value_parser = speed)]
        speed: f64,
        /// How long, in the fleet's time
        #[arg(long = "for", value_parser = duration, value_name = "TIME")]
        limit: Option<Duration>,
    },
    /// Write a fleet's messages into a recording
    Record {
        /// Scenario; without it the one of the demo
        scenario: Option<PathBuf>,
        /// File; .gz and .zst are compressed
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// The same seed makes the same messages
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long, in the fleet's time
        #[arg(long = "for", value_parser = duration, value_name = "TIME", default_value = "10m")]
        limit: Duration,
        /// When the fleet's time begins, RFC 3339
        #[arg(long, default_value = "2026-01-01T00:00:00Z", value_name = "TIME")]
        start: String,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is not a duration; write 30s or 5m"))
}

/// 0, or a factor that a clock can be multiplied with.
fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed == 0.0 || (0.001..=1e6).contains(&speed) => Ok(speed),
        _ => Err(format!("`{text}` is no speed; write 0, or from 0.001 to 1000000")),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("device-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { scenario, to, seed, speed, limit } => {
            let scenario = read(scenario)?;
            let target =
                Target::parse(&to).with_context(|| format!("`{to}` is no mqtt:// address"))?;
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(publish_fleet(&scenario, &target, seed, speed, limit))
        }
        Command::Record { scenario, output, seed, limit, start } => {
            let start = DateTime::parse_from_rfc3339(&start)
                .with_context(|| format!("`{start}` is no RFC 3339 time"))?;
            record(&read(scenario)?, &output, seed, limit, start.timestamp_micros())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(path: Option<PathBuf>) -> anyhow::Result<Scenario> {
    Ok(match path {
        Some(path) => Scenario::read(&path)?,
        None => Scenario::demo()?,
    })
}

async fn publish_fleet(
    scenario: &Scenario,
    target: &Target,
    seed: u64,
    speed: f64,
    limit: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let fleet = Fleet::new(scenario, seed, chrono::DateTime::timestamp_micros(&now()));
    let progress = Arc::new(Progress::default());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let bar = bar(None);
    let shown = tokio::spawn(show(bar.clone(), Arc::clone(&progress)));
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // Kept until the signal, so that nobody takes the end of this task for a stop.
        std::future::pending::<()>().await;
    });
    let summary = publish::run(fleet, target, speed, limit, Arc::clone(&progress), stopped).await?;
    shown.abort();
    bar.finish_and_clear();
    println!(
        "{} devices, {} messages sent, {} acknowledged, {} connections came back",
        scenario.devices(),
        summary.sent,
        summary.confirmed,
        summary.reconnected
    );
    let lost = summary.sent.saturating_sub(summary.confirmed);
    if lost > 0 {
        let why = progress.trouble().unwrap_or_else(|| "the broker is too slow".to_owned());
        eprintln!("device-sim: {lost} messages were not acknowledged: {why}");
    }
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[allow(clippy::disallowed_methods, reason = "a simulated fleet lives in the present")]
fn now() -> DateTime<chrono::Utc> {
    chrono::Utc::now()
}

async fn show(bar: ProgressBar, progress: Arc<Progress>) {
    loop {
        bar.set_position(progress.sent.load(Ordering::Relaxed));
        let trouble = progress.trouble().map(|why| format!("no connection: {why}"));
        bar.set_message(trouble.unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = match length {
        Some(_) => "{bar:40} {percent}% {msg}",
        None => "{spinner} {pos} messages, {per_sec} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

fn record(
    scenario: &Scenario,
    output: &std::path::Path,
    seed: u64,
    limit: Duration,
    start_us: i64,
) -> anyhow::Result<()> {
    let mut recorder = Recorder::create(output)?;
    let bar = bar(Some(limit.as_secs()));
    let mut count = 0_u64;
    let fleet = Fleet::new(scenario, seed, start_us);
    let presence: Vec<String> = fleet.devices().map(|device| device.presence.clone()).collect();
    for planned in fleet {
        if planned.at >= limit {
            break;
        }
        let presence = presence.get(planned.device).filter(|topic| !topic.is_empty()).cloned();
        let (topic, payload, retain) = match (planned.action, presence) {
            (Action::Publish { topic, payload }, _) => (topic, payload, false),
            (Action::Connect, Some(topic)) => (topic, publish::ONLINE.into(), true),
            // What the broker publishes: the last will.
            (Action::Drop, Some(topic)) => (topic, publish::OFFLINE.into(), true),
            (Action::Connect | Action::Drop, None) => continue,
        };
        let at_us = start_us.saturating_add(i64::try_from(planned.at.as_micros())?);
        recorder.write(&Recorded { at_us, topic, payload, retain, qos: 1 })?;
        count += 1;
        bar.set_position(planned.at.as_secs());
    }
    recorder.finish()?;
    bar.finish_and_clear();
    println!("{count} messages in {}", output.display());
    Ok(())
}
