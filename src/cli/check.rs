//! `faultgate check`: every error of every file at once.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::console::table;
use super::{Format, Globals};
use crate::config::{self, files, report};
use crate::engine::policy::{self, Policy};
use crate::engine::rating::{self, Plan};
use crate::engine::types::diagnostic::{Diagnostic, Level, Report, Source, did_you_mean};
use crate::engine::types::document::{Place, read_document};

/// Rules whose memory is listed.
const RULES_SHOWN_MAX: usize = 40;

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
    let Checked { diagnostics, sources, policy } = check(args, globals)?;
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
            print!("{}", policy.as_ref().map(memory_of).unwrap_or_default());
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn files_of(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// What was checked, and what was found.
struct Checked {
    diagnostics: Vec<Diagnostic>,
    sources: Vec<Source>,
    /// `None` where the rules have errors.
    policy: Option<Policy>,
}

fn check(args: &Args, globals: &Globals) -> anyhow::Result<Checked> {
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
            let place = Place { source: &source, report: &report };
            let plan = read_document(place, rating::read_plan);
            warn_unbounded(plan.as_ref(), place);
            sources.push(source);
        } else {
            rules.push(source);
        }
    }
    let upstreams = loaded.config.as_ref().map(config::Config::upstream_names).unwrap_or_default();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let policy = policy::compile(&rules, &names, &report);
    if let (Some(policy), Some(config)) = (&policy, &loaded.config) {
        warn_unheard(policy, config, &rules, &report);
    }
    sources.extend(rules);
    Ok(Checked { diagnostics: report.into_sorted(), sources, policy })
}

/// Metrics that no message can have, where every source lists its own.
fn warn_unheard(policy: &Policy, config: &config::Config, files: &[Source], report: &Report) {
    let listed: Option<Vec<Vec<&str>>> =
        config.sources.iter().map(|source| source.spec.metrics()).collect();
    let Some(heard) = listed.map(|listed| listed.concat()) else {
        return;
    };
    for rule in &policy.rules {
        let Some(file) = files.get(rule.origin.source) else {
            continue;
        };
        for metric in rule.when.metrics().iter().map(|id| policy.metrics.text(*id)) {
            if !heard.contains(&metric) {
                let message = format!("rule `{}`: no source yields `{metric}`", rule.spec.id);
                let hint = match did_you_mean(metric, &heard) {
                    guess if guess.is_empty() => "map it under `[source.json.metrics]`".to_owned(),
                    guess => guess,
                };
                report.warning(file, rule.origin.when.clone(), "unheard-metric", message, hint);
            }
        }
    }
}

/// What is charged by use can come to any sum.
fn warn_unbounded(plan: Option<&Plan>, place: Place<'_>) {
    if plan.is_some_and(Plan::charges_by_use) {
        let message = "nothing bounds what this plan can come to: it charges by use";
        let hint = "this version has no budgets; agree on a cap with the supplier";
        let head = place.source.text.find("[plan]").unwrap_or(0);
        place.warning(head..head + "[plan]".len(), "unbounded-price", message, hint);
    }
}

/// The bytes that each rule keeps for a device at the most, the dearest first.
fn memory_of(policy: &Policy) -> String {
    let mut rules: Vec<(usize, &str)> =
        policy.rules.iter().map(|rule| (rule.bytes_per_device(), rule.spec.id.as_str())).collect();
    if rules.is_empty() {
        return String::new();
    }
    rules.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let rows: Vec<Vec<String>> = rules
        .iter()
        .take(RULES_SHOWN_MAX)
        .map(|(bytes, id)| vec![(*id).to_owned(), bytes.to_string()])
        .collect();
    let more = rules.len().saturating_sub(RULES_SHOWN_MAX);
    let rest = if more > 0 { format!("and {more} rules that keep less\n") } else { String::new() };
    let head = "Most bytes kept for each device; rules that read the same metric share it:";
    format!("\n{head}\n{}{rest}", table(&["rule", "bytes"], &rows))
}

/// A price plan has a `[plan]` table; rule files have none.
fn is_plan(source: &Source) -> bool {
    source.text.lines().any(|line| line.trim() == "[plan]")
}
