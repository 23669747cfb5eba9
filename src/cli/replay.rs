//! `faultgate replay`: a recording over MQTT, at a speed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use device_sim::recording::{self, Recorded};
use indicatif::ProgressBar;

use super::Globals;
use super::recordings::{self, CsvArgs};
use crate::config;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::mqtt::config::{BrokerUrl, Transport};
use crate::io::mqtt::publish::Publisher;

/// How long the end waits for the broker.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// What to publish and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings, captures, CSV files, or folders of them; several are merged by time
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Broker: mqtt://[user:password@]host[:port]
    #[arg(long, value_name = "URL")]
    to: String,
    /// How many times faster than it was recorded; 0 for as fast as possible
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    #[command(flatten)]
    csv: CsvArgs,
}

/// Publishes and waits until the broker has confirmed everything.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let usual = (0.001..=1e6).contains(&args.speed);
    anyhow::ensure!(args.speed == 0.0 || usual, "--speed is 0, or from 0.001 to 1000000");
    let config = match &args.csv.csv_source {
        Some(_) => config::require(globals.config.as_deref())?,
        None => config::defaults()?,
    };
    let mapping = args.csv.mapping(&config)?;
    let extent = recordings::measure(&args.input, &mapping)?;
    let mut recording = recording::open(&args.input, &mapping)?;
    let (transport, password) = transport(&args.to)
        .with_context(|| format!("`{}` is no address; write mqtt://host:1883", args.to))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let bar = recordings::bar(extent.messages);
    let sent = runtime.block_on(async {
        let publisher = Publisher::start(&transport, password.as_deref())?;
        let sent = publish(&publisher, &mut recording, args.speed, &bar).await?;
        publisher.confirmed(CONFIRM_WITHIN).await.with_context(|| {
            publisher.trouble().unwrap_or_else(|| "the broker does not confirm".to_owned())
        })?;
        anyhow::Ok(sent)
    })?;
    bar.finish_and_clear();
    println!("{sent} messages published and confirmed");
    let is_whole = recordings::tell_notes(&recording);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Publishes messages at the distances at which they were recorded; one that is older than the
/// first, or than the one before, at once.
pub async fn publish(
    publisher: &Publisher,
    messages: impl Iterator<Item = Recorded>,
    speed: f64,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let began = tokio::time::Instant::now();
    let mut first = None;
    let mut sent = 0;
    for message in messages {
        let offset = message.at_us.saturating_sub(*first.get_or_insert(message.at_us));
        if speed > 0.0 {
            let due = began + TimeSpan::from_micros(offset).to_std().div_f64(speed);
            tokio::time::sleep_until(due).await;
        }
        publisher.publish(&message.topic, message.payload, message.retain).await?;
        sent += 1;
        bar.set_position(sent);
        bar.set_message(Timestamp::from_micros(message.at_us).to_string());
    }
    Ok(sent)
}

/// `mqtt://[user:password@]host[:port]` as settings of a publisher.
pub fn transport(url: &str) -> Option<(Transport, Option<String>)> {
    let target = device_sim::publish::Target::parse(url)?;
    let (user, password) = target.user.unzip();
    let transport = Transport {
        url: BrokerUrl::External { host: target.host, port: target.port, tls: false },
        user,
        ca: None,
        client_certificate: None,
        topics: Vec::new(),
        qos: 1,
        shared_group: String::new(),
        client_id: format!("faultgate-replay-{}", std::process::id()),
    };
    Some((transport, password))
}
