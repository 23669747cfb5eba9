//! `faultgate record`: live messages of the configured sources into a recording.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use device_sim::recording::{Recorded, Recorder};
use tokio::signal::unix::{SignalKind, signal};

use super::Globals;
use crate::config::{self, Config};
use crate::io::clock;
use crate::io::mqtt::config::BrokerUrl;
use crate::io::mqtt::external::Subscriber;
use crate::io::mqtt::{self, Arrival, MqttEvent};
use crate::io::secret::Secret;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File; .gz and .zst are compressed
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Records until Ctrl-C or SIGTERM. The session of the running gateway is left alone: it has another name.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = config::require(globals.config.as_deref())?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let count = runtime.block_on(record(&config, args))?;
    println!("{count} messages in {}", args.output.display());
    Ok(ExitCode::SUCCESS)
}

async fn record(config: &Config, args: &Args) -> anyhow::Result<u64> {
    let (inbox, mut arrivals) = mqtt::inbox();
    let mut subscribers = Vec::new();
    for (index, source) in config.sources.iter().enumerate() {
        let mut transport = source.transport.clone();
        if transport.url == BrokerUrl::Embedded {
            // The broker inside the running gateway, from outside.
            let listen = config.broker.listen;
            let (host, port) = (listen.ip().to_string(), listen.port());
            transport.url = BrokerUrl::External { host, port, tls: false };
        }
        transport.client_id = format!("{}-record-{}", transport.client_id, std::process::id());
        let password = source.password.as_ref().map(Secret::resolve).transpose()?;
        let max = config.broker.max_payload;
        let inbox = inbox.clone();
        let subscriber = Subscriber::start(index, &transport, password.as_deref(), max, inbox);
        subscribers.push(subscriber.with_context(|| format!("source `{}`", source.spec.name))?);
    }
    let mut recorder = Recorder::create(&args.output)?;
    let mut count = 0;
    // A compressed file that is not ended cannot be read to its end.
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let arrival = tokio::select! {
            arrival = arrivals.recv() => arrival,
            _ = tokio::signal::ctrl_c() => break,
            _ = terminated.recv() => break,
        };
        match arrival {
            Some(Arrival::Message(incoming)) => {
                let message = incoming.message;
                recorder.write(&Recorded {
                    at_us: clock::now().micros(),
                    topic: message.topic,
                    payload: message.payload,
                    retain: message.retain,
                    qos: 1,
                })?;
                incoming.ack.ack();
                count += 1;
            }
            Some(Arrival::Event { event, .. }) => eprintln!("{}", told(&event)),
            None => break,
        }
    }
    recorder.finish()?;
    Ok(count)
}

fn told(event: &MqttEvent) -> String {
    match event {
        MqttEvent::Connected => "connected to the broker".to_owned(),
        MqttEvent::Disconnected { reason } => {
            format!("the broker cannot be reached ({reason}); it is tried again")
        }
        MqttEvent::SessionLost => "the broker had forgotten the session".to_owned(),
        MqttEvent::SubscribeRefused { topic } => {
            format!("the broker refuses the subscription to {topic}")
        }
        MqttEvent::Overtaken { count } => format!("{count} messages were lost in the broker"),
        MqttEvent::CanaryLost => "the broker carries no messages any more".to_owned(),
    }
}
