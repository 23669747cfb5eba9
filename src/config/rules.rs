//! The rule files of a configuration, compiled as one set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Config, files};
use crate::engine::detect::Rule;
use crate::engine::policy::{self, Policy};
use crate::engine::types::diagnostic::{Diagnostic, Report, Source};
use crate::io::clock;
use crate::io::history::{AcceptedRule, History};

/// A set that has errors, and is refused whole.
#[derive(Debug)]
pub struct Refused {
    /// The files.
    pub sources: Vec<Source>,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
}

/// A set that was accepted.
#[derive(Debug)]
pub struct RuleSet {
    /// The files.
    pub sources: Vec<Source>,
    /// What they say.
    pub policy: Policy,
}

impl RuleSet {
    /// What of each rule tells whether it was edited.
    pub fn marks(&self) -> Vec<AcceptedRule> {
        let mark = |rule: &Arc<Rule>| {
            let whole = blake3::hash(format!("{:?}", rule.spec).as_bytes()).to_hex();
            AcceptedRule {
                id: rule.spec.id.clone(),
                revision: rule.spec.revision.clone(),
                whole: whole.chars().take(16).collect(),
            }
        };
        self.policy.rules.iter().map(mark).collect()
    }
}

/// Keeps a set that was accepted in the history of a data folder. A failure is logged: the rules
/// run all the same.
pub fn keep(data: &Path, origin: &str, sources: &[Source], marks: Vec<AcceptedRule>) {
    if let Err(error) = History::of(data).keep(clock::now(), origin, sources, marks) {
        tracing::warn!(%error, "The accepted rule set could not be kept for `faultgate rules`.");
    }
}

/// Compiles every rule file below `paths`, with the register of devices.
///
/// # Errors
/// A file that cannot be read; the inner one where the files have errors.
pub fn load(config: &Config, paths: &[PathBuf]) -> anyhow::Result<Result<RuleSet, Refused>> {
    let sources = files::read_all(&config.with_register(paths))?;
    let upstreams = config.upstream_names();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let report = Report::default();
    Ok(match policy::compile(&sources, &names, &report) {
        Some(policy) => Ok(RuleSet { sources, policy }),
        None => Err(Refused { sources, diagnostics: report.into_sorted() }),
    })
}
