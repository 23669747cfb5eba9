//! `faultgate rules`: the rule sets that were accepted, and what to change.

mod diff;
mod history;
mod rollback;
pub mod suggest;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{Format, Globals};
use crate::config::rules::{self, Refused};
use crate::config::{self, Config, files, report};
use crate::engine::types::diagnostic::Source;
use crate::io::rule_history::{AcceptedSet, RuleHistory, RuleText};

/// `faultgate rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the accepted rule sets, the newest first
    History(history::Args),
    /// Show what differs between two sets, in their texts and in what their rules do
    Diff(diff::Args),
    /// Put the files of an accepted set back and have the gateway read them
    Rollback(rollback::Args),
    /// Propose dead-bands and delays for the rules that raise most in a recording
    Suggest(suggest::Args),
}

/// Does it.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::History(args) => history::run(args, globals),
        Verb::Diff(args) => diff::run(args, globals),
        Verb::Rollback(args) => rollback::run(args, globals),
        Verb::Suggest(args) => suggest::run(args, globals),
    }
}

fn rendered(Refused { sources, diagnostics }: &Refused) -> anyhow::Error {
    let colour = super::console::colour_on_stderr();
    anyhow::anyhow!("the rules have errors\n{}", report::render(diagnostics, sources, colour))
}

/// The configuration, with the data folder of the command line.
fn config(globals: &Globals) -> anyhow::Result<Config> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    Ok(config)
}

/// The rule files as they lie in the folders now. A path that is not there holds none.
fn present(config: &Config) -> anyhow::Result<Vec<Source>> {
    let there: Vec<PathBuf> =
        config.rule_paths().into_iter().filter(|path| path.exists()).collect();
    files::read_all(&there)
}

/// One set of the history.
fn accepted(history: &RuleHistory, number: u64) -> anyhow::Result<AcceptedSet> {
    let numbers = history.numbers().context("the history of rule sets cannot be read")?;
    if !numbers.contains(&number) {
        let known = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        anyhow::bail!("there is no rule set {number}; kept: {known}");
    }
    Ok(history.read(number)?)
}

/// The newest set of the history.
fn newest(history: &RuleHistory) -> anyhow::Result<Option<AcceptedSet>> {
    let numbers = history.numbers().context("the history of rule sets cannot be read")?;
    Ok(numbers.last().map(|number| history.read(*number)).transpose()?)
}

/// The files of a set where they belong.
fn sources(config: &Config, files: &[RuleText]) -> anyhow::Result<Vec<Source>> {
    let source = |file: &RuleText| {
        let path = rules::path_of(&config.rule_paths(), &file.name).with_context(|| {
            let name = &file.name;
            format!("`{name}` lies below none of the `[gateway] rules`; put its folder back there")
        })?;
        Ok(Source { file: path.display().to_string(), text: file.text.clone() })
    };
    files.iter().map(source).collect()
}
