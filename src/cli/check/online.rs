//! `check --online`: every upstream is called, and with `--probe` gets a ticket that resolves.

use anyhow::Context;

use crate::config::Config;
use crate::engine::types::diagnostic::{Diagnostic, Level, Source};
use crate::io::upstream::Upstream;

/// Calls the upstreams; what is wrong becomes a finding, what is right is told on standard output
/// where `tell` says so.
pub(super) fn check(
    config: &Config,
    source: Option<&Source>,
    probe: bool,
    tell: bool,
) -> anyhow::Result<Vec<Diagnostic>> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let mut wrong = Vec::new();
    for upstream in config.upstreams.iter().filter(|upstream| !upstream.is_own_desk()) {
        let name = &upstream.name;
        let connected = match Upstream::connect(upstream, config.listen) {
            Ok(connected) => connected,
            Err(error) => {
                wrong.push(finding(source, format!("upstream `{name}`: {error}")));
                continue;
            }
        };
        for found in runtime.block_on(connected.probe(probe)) {
            match found.came {
                Ok(came) if tell => println!("upstream `{name}`: {}: {came}", found.tried),
                Ok(_) => {}
                Err(why) => {
                    let message = format!("upstream `{name}`: {}: {why}", found.tried);
                    wrong.push(finding(source, message));
                }
            }
        }
    }
    Ok(wrong)
}

fn finding(source: Option<&Source>, message: String) -> Diagnostic {
    Diagnostic {
        file: source.map(|source| source.file.clone()).unwrap_or_default(),
        line: 1,
        column: 1,
        code: "online",
        severity: Level::Error,
        message,
        hint: "docs/connectors.md tells how an upstream is described".to_owned(),
        span: 0..0,
    }
}
