//! The rule files of a configuration, compiled as one set.

use std::path::PathBuf;

use super::{Config, files};
use crate::engine::policy::{self, Policy};
use crate::engine::types::diagnostic::{Diagnostic, Report, Source};

/// A set that has errors, and is refused whole.
#[derive(Debug)]
pub struct Refused {
    /// The files.
    pub sources: Vec<Source>,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles every rule file below `paths`, with the register of devices.
///
/// # Errors
/// A file that cannot be read; the inner one where the files have errors.
pub fn load(config: &Config, paths: &[PathBuf]) -> anyhow::Result<Result<Policy, Refused>> {
    let sources = files::read_all(&config.with_register(paths))?;
    let upstreams = config.upstream_names();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let report = Report::default();
    Ok(policy::compile(&sources, &names, &report)
        .ok_or_else(|| Refused { sources, diagnostics: report.into_sorted() }))
}
