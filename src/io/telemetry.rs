//! What the gateway says about itself: structured logs and Prometheus metrics.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStyle {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Buckets of latencies, in seconds.
const LATENCY_BUCKETS: [f64; 11] =
    [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// How often what was measured is put into its buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);

/// Starts logging to standard error. `RUST_LOG` refines what is told; a second call does nothing.
pub fn start_logs(style: LogStyle, default_filter: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match style {
        LogStyle::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogStyle::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("Logging had been started before.");
    }
}

/// Starts counting; the handle renders the Prometheus text.
///
/// # Errors
/// When a recorder was installed before, or the buckets are refused.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?.install_recorder()
}

/// Puts what was measured into its buckets now and then: where nobody reads the metrics, it would
/// pile up. Ends with `stop`.
pub async fn keep_small(metrics: PrometheusHandle, mut stop: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = beat.tick() => metrics.run_upkeep(),
        }
    }
}
