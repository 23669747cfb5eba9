//! `faultgate replay`: a recording over MQTT, at a speed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use device_sim::recording::{self, CsvMapping, Messages};
use indicatif::ProgressBar;

use crate::engine::types::time::TimeSpan;
use crate::io::mqtt::config::{BrokerUrl, Transport};
use crate::io::mqtt::publish::Publisher;

/// How long the end waits for the broker.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// What to publish and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings, CSV files, or folders of them; several are merged by time
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Broker: mqtt://[user:password@]host[:port]
    #[arg(long, value_name = "URL")]
    to: String,
    /// How many times faster than it was recorded; 0 for as fast as possible
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Class of the devices in CSV files
    #[arg(long, value_name = "CLASS", default_value = "device")]
    csv_class: String,
}

/// Publishes and waits until the broker has confirmed everything.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let usual = (0.001..=1e6).contains(&args.speed);
    anyhow::ensure!(args.speed == 0.0 || usual, "--speed is 0, or from 0.001 to 1000000");
    let mapping = CsvMapping { class: args.csv_class.clone(), ..CsvMapping::default() };
    let messages = recording::open_all(&args.input, &mapping)?;
    let (transport, password) = transport(&args.to)
        .with_context(|| format!("`{}` is no address; write mqtt://host:1883", args.to))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let sent = runtime.block_on(async {
        let publisher = Publisher::start(&transport, password.as_deref())?;
        let sent = publish(&publisher, messages, args.speed).await?;
        publisher.confirmed(CONFIRM_WITHIN).await.with_context(|| {
            publisher.trouble().unwrap_or_else(|| "the broker does not confirm".to_owned())
        })?;
        anyhow::Ok(sent)
    })?;
    println!("{sent} messages published and confirmed");
    Ok(ExitCode::SUCCESS)
}

/// Publishes messages at the distances at which they were recorded.
pub async fn publish(publisher: &Publisher, messages: Messages, speed: f64) -> anyhow::Result<u64> {
    let progress = ProgressBar::no_length();
    let began = tokio::time::Instant::now();
    let mut first = None;
    let mut sent = 0;
    for message in messages {
        let message = message?;
        let offset = message.at_us - *first.get_or_insert(message.at_us);
        if speed > 0.0 {
            let due = began + TimeSpan::from_micros(offset).to_std().div_f64(speed);
            tokio::time::sleep_until(due).await;
        }
        publisher.publish(&message.topic, message.payload, message.retain).await?;
        sent += 1;
        progress.set_position(sent);
    }
    progress.finish_and_clear();
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
