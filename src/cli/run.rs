//! `faultgate run`: the gateway in the foreground.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Globals, LogFormat};
use crate::config;
use crate::io::{systemd, telemetry};
use crate::service::{self, Pace};

/// Nothing but the configuration decides how it runs.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until SIGTERM or SIGINT.
pub fn run(_: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let style = match globals.log {
        LogFormat::Text => telemetry::LogStyle::Text,
        LogFormat::Json => telemetry::LogStyle::Json,
    };
    telemetry::start_logs(style, "info,rumqttd=off,rumqttc=error,hyper=error");
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    let rules = super::backtest::read_rules(&config, &config.gateway.rules)?;
    if rules.policy.written == 0 {
        tracing::warn!("There are no rules: put some into the folder `rules`.");
    }
    let metrics = telemetry::start_metrics().context("cannot start the metrics")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut running = service::start(&config, rules, metrics, Pace::Real).await?;
        let mqtt = running.mqtt.map_or_else(|| "off".to_owned(), |at| at.to_string());
        tracing::info!(
            gateway = config.gateway.id,
            http = %running.http,
            mqtt,
            "Ready."
        );
        systemd::ready();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => running.reload().await,
                error = running.ended() => return Err(error),
            }
        }
        systemd::stopping();
        tracing::info!("Stopping.");
        running.stop().await;
        tracing::info!("Stopped.");
        Ok(ExitCode::SUCCESS)
    })
}
