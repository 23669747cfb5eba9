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
use crate::engine::types::diagnostic::Source;
use crate::io::clock;
use crate::io::rule_history::{Origin, RuleHistory};
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
            Some(Waiting { origin, told }) = asked.recv() => {
                loaded = stamp();
                let answer = load(&config, origin, &policies).await;
                // Whoever asked may have gone.
                drop(told.send(answer));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                let now = stamp();
                // A file that is still being written is left until it has been quiet for one look.
                if now == seen && now != loaded {
                    loaded.clone_from(&now);
                    load(&config, Origin::Watch, &policies).await;
                }
                seen = now;
            }
        }
    }
}

async fn load(config: &Config, origin: Origin, policies: &mpsc::Sender<Policy>) -> Json {
    match block_in_place(|| rules::load(config, &config.gateway.rules)) {
        Ok(Ok(RuleSet { policy, sources })) => {
            let count = policy.written;
            if policies.send(policy).await.is_err() {
                return refused(&["the gateway is stopping".to_owned()]);
            }
            block_in_place(|| remember(config, origin, count, &sources));
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

/// Keeps an accepted set for `faultgate rules`. The rules run whether it can be kept or not.
pub(super) fn remember(config: &Config, origin: Origin, rules: usize, sources: &[Source]) {
    let history = RuleHistory::of(&config.gateway.data);
    let files = rules::named(&config.rule_paths(), sources);
    match history.keep(clock::now(), origin, rules, files) {
        Ok(Some(number)) => tracing::info!(number, "The accepted rules are kept."),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "The accepted rules cannot be kept for a rollback."),
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
