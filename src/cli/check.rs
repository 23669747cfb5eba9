//! `faultgate check`: every error of every file at once.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{Format, Globals};
use crate::config::{self, files, report};
use crate::engine::policy;
use crate::engine::rating;
use crate::engine::types::diagnostic::{Diagnostic, Level, Report, Source};
use crate::engine::types::document::{Place, read_document};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, folders of them, or price plans; without any, the configuration and its rules
    paths: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Checks and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let (diagnostics, sources) = check(args, globals)?;
    let errors = diagnostics.iter().filter(|found| found.severity == Level::Error).count();
    match args.format {
        Format::Json => println!("{}", report::to_json(&diagnostics)),
        Format::Text => {
            eprint!(
                "{}",
                report::render(&diagnostics, &sources, super::console::colour_on_stderr())
            );
            let warnings = diagnostics.len() - errors;
            println!("{} checked: {errors} errors, {warnings} warnings", files_of(sources.len()));
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn files_of(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn check(args: &Args, globals: &Globals) -> anyhow::Result<(Vec<Diagnostic>, Vec<Source>)> {
    let report = Report::default();
    let loaded = config::load(globals.config.as_deref(), &report)?;
    let mut sources: Vec<Source> = Vec::new();
    let paths = if args.paths.is_empty() {
        sources.extend(loaded.source);
        let config = loaded.config.as_ref();
        config.map(|config| config.with_register(&config.gateway.rules)).unwrap_or_default()
    } else {
        args.paths.clone()
    };
    let mut rules = Vec::new();
    for source in files::read_all(&paths).context("cannot read what is to be checked")? {
        if is_plan(&source) {
            read_document(Place { source: &source, report: &report }, rating::read_plan);
            sources.push(source);
        } else {
            rules.push(source);
        }
    }
    let upstreams = loaded.config.as_ref().map(config::Config::upstream_names).unwrap_or_default();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    policy::compile(&rules, &names, &report);
    sources.extend(rules);
    Ok((report.into_sorted(), sources))
}

/// A price plan has a `[plan]` table; rule files have none.
fn is_plan(source: &Source) -> bool {
    source.text.lines().any(|line| line.trim() == "[plan]")
}
