//! New rules while the gateway runs: on SIGHUP, on request, and when the files have changed.
//!
//! A set with any error is refused whole, and the running one stays. The files are looked at every
//! second, not watched: what an editor, an atomic rename or a symbolic link does to a folder is
//! then all the same.

use std::time::Duration;

use metrics::gauge;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;

use crate::config::rules::{self, Refused, RuleSet};
use crate::config::{Config, files};
use crate::engine::policy::Policy;
use crate::io::web::Waiting;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Errors of one set that are logged; the rest is only counted.
const ERRORS_LOGGED_MAX: usize = 20;

/// Reads the files again and again until `stop`; sets that are accepted go to `policies`.
pub(super) async fn run(
    config: Config,
    mut asked: mpsc::Receiver<Waiting>,
    policies: mpsc::Sender<Policy>,
    mut stop: watch::Receiver<bool>,
) {
    let stamp = || block_in_place(|| files::stamps(&config.with_register(&config.gateway.rules)));
    tell_success(true);
    let mut loaded = stamp();
    let mut seen = loaded.clone();
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            Some(waiting) = asked.recv() => {
                loaded = stamp();
                let told = load(&config, "request", &policies).await;
                // Whoever asked may have gone.
                drop(waiting.send(told));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                let now = stamp();
                // A file that is still being written is left until it has been quiet for one look.
                if now == seen && now != loaded {
                    loaded.clone_from(&now);
                    load(&config, "files", &policies).await;
                }
                seen = now;
            }
        }
    }
}

async fn load(config: &Config, origin: &str, policies: &mpsc::Sender<Policy>) -> Json {
    match block_in_place(|| rules::load(config, &config.gateway.rules)) {
        Ok(Ok(set)) => {
            let (count, marks) = (set.policy.rules.len(), set.marks());
            let RuleSet { sources, policy } = set;
            if policies.send(policy).await.is_err() {
                return refused(&["the gateway is stopping".to_owned()]);
            }
            block_in_place(|| rules::keep(&config.gateway.data, origin, &sources, marks));
            tell_success(true);
            tracing::info!(rules = count, "New rules are taken in.");
            json!({ "accepted": true, "rules": count })
        }
        Ok(Err(Refused { diagnostics, .. })) => {
            for found in diagnostics.iter().take(ERRORS_LOGGED_MAX) {
                let (file, line, column) = (&found.file, found.line, found.column);
                tracing::error!(file, line, column, hint = found.hint, "{}", found.message);
            }
            refused(&diagnostics)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            refused(&[format!("{error:#}")])
        }
    }
}

fn refused(errors: &[impl serde::Serialize]) -> Json {
    tell_success(false);
    tracing::error!(errors = errors.len(), "The rules are refused; the former ones stay.");
    json!({ "accepted": false, "errors": errors })
}

fn tell_success(success: bool) {
    gauge!("faultgate_rules_last_reload_success").set(if success { 1.0 } else { 0.0 });
}
