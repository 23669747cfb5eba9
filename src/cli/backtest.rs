//! `faultgate backtest`: what the rules would have done with a recording, and what it would cost.

use std::path::PathBuf;
use std::process::ExitCode;

use device_sim::recording::{self, Recorded as Line, Recording};
use indicatif::ProgressBar;

use super::console::table;
use super::recordings::{self, CsvArgs};
use super::{Format, Globals};
use crate::config::rules::{self, Refused, RuleSet};
use crate::config::{self, Config, files, report};
use crate::engine::policy::Policy;
use crate::engine::rating::{self, Plan};
use crate::engine::types::diagnostic::Report;
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::message::{Delivery, Message};
use crate::engine::types::time::Timestamp;
use crate::service::backtest::{Backtest, Outcome, Recorded};
use crate::service::difference::Difference;

/// What to play.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings (JSON Lines, captures, CSV; also gzip or zstd) or folders; several are merged by time
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Rule files or folders, in place of those of the configuration
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Rules to compare with: what the others would have done
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Price plans
    #[arg(long, num_args = 1.., value_name = "FILE")]
    plan: Vec<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Plays and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = config::require(globals.config.as_deref())?;
    let plans = args.plan.iter().map(|path| read_plan(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let rules =
        if args.rules.is_empty() { config.gateway.rules.clone() } else { args.rules.clone() };
    let (outcome, recording) = play(args, &config, &rules, &plans)?;
    let before = match &args.against {
        Some(against) => Some(play(args, &config, std::slice::from_ref(against), &plans)?.0),
        None => None,
    };
    match (args.format, before) {
        (Format::Json, None) => println!("{}", serde_json::to_string_pretty(&outcome)?),
        (Format::Json, Some(before)) => {
            let difference = Difference::between(&before, &outcome);
            let mut told = serde_json::to_value(&outcome)?;
            told["against"] = serde_json::to_value(&before)?;
            told["difference"] = serde_json::to_value(&difference)?;
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        (Format::Text, before) => print_text(&outcome, before.as_ref()),
    }
    let is_whole = recordings::tell_notes(&recording);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads a set of rules, or fails with every mistake rendered.
pub fn read_policy(config: &Config, paths: &[PathBuf]) -> anyhow::Result<Policy> {
    read_rules(config, paths).map(|set| set.policy)
}

/// As [`read_policy`], with the files.
pub fn read_rules(config: &Config, paths: &[PathBuf]) -> anyhow::Result<RuleSet> {
    rules::load(config, paths)?.map_err(|Refused { sources, diagnostics }| {
        let colour = super::console::colour_on_stderr();
        anyhow::anyhow!("the rules have errors\n{}", report::render(&diagnostics, &sources, colour))
    })
}

/// Reads a price plan, or fails with every mistake rendered.
pub fn read_plan(path: &std::path::Path) -> anyhow::Result<Plan> {
    let source = files::read(path)?;
    let report = Report::default();
    let plan = read_document(Place { source: &source, report: &report }, rating::read_plan);
    match plan.filter(|_| !report.has_errors()) {
        Some(plan) => Ok(plan),
        None => {
            let text = report::render(
                &report.into_sorted(),
                &[source],
                super::console::colour_on_stderr(),
            );
            anyhow::bail!("the price plan has errors\n{text}")
        }
    }
}

/// What has come of it, and the recording, read to its end.
fn play(
    args: &Args,
    config: &Config,
    rules: &[PathBuf],
    plans: &[Plan],
) -> anyhow::Result<(Outcome, Recording)> {
    let policy = read_policy(config, rules)?;
    let mut backtest = Backtest::new(config.settings()?, policy);
    let named = args.csv.source(config)?.map(|source| source.spec.name.as_str());
    let source = config.sources.iter().position(|source| Some(source.spec.name.as_str()) == named);
    let progress = ProgressBar::new_spinner();
    let mut played = 0_u64;
    let mut recording = recording::open(&args.input, &args.csv.mapping(config)?)?;
    for Line { at_us, topic, payload, retain, .. } in &mut recording {
        let source = source.unwrap_or_else(|| source_of(config, &topic));
        let message = Message { source, topic, payload, retain, delivery: Delivery::Once };
        backtest.play(Recorded { at: Timestamp::from_micros(at_us), message });
        played += 1;
        if played.is_multiple_of(10_000) {
            progress.set_message(format!("{played} messages"));
            progress.tick();
        }
    }
    progress.finish_and_clear();
    Ok((backtest.finish(plans)?, recording))
}

/// The first source whose pattern fits the topic, else the first one, which refuses it.
fn source_of(config: &Config, topic: &str) -> usize {
    config.sources.iter().position(|source| source.spec.fits(topic)).unwrap_or(0)
}

fn print_text(outcome: &Outcome, before: Option<&Outcome>) {
    let input = &outcome.input;
    let span = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    println!(
        "{} messages from {} to {}, {} undecodable",
        input.messages,
        span(input.from),
        span(input.to),
        input.undecodable
    );
    let figures = |outcome: &Outcome| {
        let cost: Vec<String> = outcome
            .cost
            .iter()
            .map(|bill| format!("{} {} {}", bill.plan, bill.total, bill.currency))
            .collect();
        (outcome.alarms.len(), outcome.tickets.len(), cost.join(", "))
    };
    let (alarms, tickets, cost) = figures(outcome);
    println!("{alarms} alarms raised, {tickets} tickets; {cost}");
    if let Some(before) = before {
        let (alarms, tickets, cost) = figures(before);
        println!("against: {alarms} alarms raised, {tickets} tickets; {cost}");
        let difference = Difference::between(before, outcome);
        difference.cost_lines().iter().for_each(|line| println!("{line}"));
        let head = ["rule", "raised", "tickets"];
        print!("{}", table(&head, &difference.rule_rows()));
    }
    let rows: Vec<Vec<String>> = outcome.ticket_rows();
    print!("{}", table(&["ticket", "opened", "resolved", "device", "rule", "alarms"], &rows));
}
