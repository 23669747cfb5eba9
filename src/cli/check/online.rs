//! `check --online`: every upstream is called, and with `--probe` gets a ticket that resolves.

use anyhow::Context;

use crate::config::Config;
use crate::engine::types::diagnostic::{Diagnostic, Level, Source, position};
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
                wrong.push(finding(source, name, &error.to_string()));
                continue;
            }
        };
        for found in runtime.block_on(connected.probe(probe)) {
            match found.came {
                Ok(came) if tell => println!("upstream `{name}`: {}: {came}", found.tried),
                Ok(_) => {}
                Err(why) => {
                    wrong.push(finding(source, name, &format!("{}: {why}", found.tried)));
                }
            }
        }
    }
    Ok(wrong)
}

/// A finding where the configuration names the upstream.
fn finding(source: Option<&Source>, name: &str, why: &str) -> Diagnostic {
    let text = source.map_or("", |source| source.text.as_str());
    let quoted = format!("\"{name}\"");
    let at = text.find("[[upstream]]").and_then(|head| {
        let found = text.get(head..)?.find(&quoted)?;
        Some(head + found)
    });
    let span = at.map_or(0..0, |at| at..at + quoted.len());
    let (line, column) = position(text, span.start);
    Diagnostic {
        file: source.map(|source| source.file.clone()).unwrap_or_default(),
        line,
        column,
        code: "online",
        severity: Level::Error,
        message: format!("upstream `{name}`: {why}"),
        hint: "docs/connectors.md tells how an upstream is described".to_owned(),
        span,
    }
}
