//! `faultgate backtest`: what the rules would have done with a recording, and what it would cost.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use device_sim::recording::{self, Recorded as Line, Recording};
use indicatif::ProgressBar;
use rust_decimal::Decimal;
use serde::Serialize;

use super::console::{cut, table};
use super::recordings::{self, Input};
use super::{Format, Globals};
use crate::config::rules::{self, Refused, RuleSet};
use crate::config::{self, Config, files, report};
use crate::engine::policy::Policy;
use crate::engine::rating::{self, Plan, Usage};
use crate::engine::types::diagnostic::Report;
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::message::{Delivery, Message};
use crate::engine::types::time::Timestamp;
use crate::service::backtest::{
    AlarmDifference, Backtest, CostDifference, Difference, MonthDifference, Outcome, Recorded,
    RuleDifference,
};

/// Widest name in a table, so that it fits 100 columns.
const RULE_WIDTH_MAX: usize = 60;

/// What to play.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// Rule files or folders, in place of those of the configuration
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Rules to compare with: what the others would have done
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Price plans; the one in force by default
    #[arg(long, num_args = 1.., value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// A month of use that the difference to `--against` is priced on: one JSON object as for
    /// `bill rate`; without it the month of the recording alone
    #[arg(long, value_name = "FILE", requires = "against")]
    month: Option<PathBuf>,
    /// Exit with 1 where the month gets dearer by more than this; the least of the budgets by default
    #[arg(long, value_name = "AMOUNT", requires = "against")]
    max_monthly_cost_delta: Option<Decimal>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The report of `--against`: that of the new set, and what the old one did.
#[derive(Debug, Serialize)]
struct Both<'a> {
    #[serde(flatten)]
    new: &'a Outcome,
    against: &'a Outcome,
    difference: Difference<'a>,
}

/// Plays and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = config::require(globals.config.as_deref())?;
    let mut plans =
        args.plan.iter().map(|path| read_plan(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let rules =
        if args.rules.is_empty() { config.gateway.rules.clone() } else { args.rules.clone() };
    let money = read_policy(&config, &rules)?;
    if plans.is_empty() {
        plans.extend(money.plan.as_ref().map(|active| active.plan().clone()));
    }
    let play_rules =
        |paths: &[PathBuf]| play(&args.input, &config, read_policy(&config, paths)?, &plans);
    let (outcome, recording) = play_rules(&rules)?;
    let before = match &args.against {
        Some(against) => Some(play_rules(std::slice::from_ref(against))?.0),
        None => None,
    };
    let dearest = match &before {
        Some(before) => dearest(args, &plans, before, &outcome)?,
        None => None,
    };
    match (args.format, before) {
        (Format::Json, None) => println!("{}", serde_json::to_string_pretty(&outcome)?),
        (Format::Json, Some(before)) => {
            let difference = difference(args, &plans, &before, &outcome)?;
            let both = Both { new: &outcome, against: &before, difference };
            println!("{}", serde_json::to_string_pretty(&both)?);
        }
        (Format::Text, Some(before)) => {
            print_text(&outcome, Some(&before));
            print_difference(&difference(args, &plans, &before, &outcome)?);
        }
        (Format::Text, None) => print_text(&outcome, None),
    }
    let is_whole = recordings::tell_notes(&recording);
    let ours = money.budgets.iter().filter(|budget| budget.scope.is_on(&config.gateway.id));
    let budgets = ours.filter_map(|budget| budget.max_monthly_cost_delta).min();
    let too_dear = dearest.zip(args.max_monthly_cost_delta.or(budgets));
    let too_dear = too_dear.filter(|(delta, most)| delta > most);
    if let Some((delta, most)) = too_dear {
        eprintln!("the month gets dearer by {delta}, and `max_monthly_cost_delta` is {most}");
    }
    let good = is_whole && too_dear.is_none();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Old against new, with the month that the change is priced on.
fn difference<'a>(
    args: &Args,
    plans: &[Plan],
    before: &'a Outcome,
    after: &'a Outcome,
) -> anyhow::Result<Difference<'a>> {
    let mut difference = Difference::between(before, after);
    if args.month.is_some() {
        for (cost, month) in difference.cost.iter_mut().zip(months(args, plans, before, after)?) {
            cost.month = Some(month);
        }
    }
    Ok(difference)
}

/// The greatest rise of a month over all plans.
fn dearest(
    args: &Args,
    plans: &[Plan],
    before: &Outcome,
    after: &Outcome,
) -> anyhow::Result<Option<Decimal>> {
    let months = months(args, plans, before, after)?;
    Ok(months.into_iter().map(|month| month.delta).max())
}

fn months(
    args: &Args,
    plans: &[Plan],
    before: &Outcome,
    after: &Outcome,
) -> anyhow::Result<Vec<MonthDifference>> {
    let mut month = match &args.month {
        Some(file) => {
            let text = files::read(file)?;
            Usage::from_json(&text.text).with_context(|| text.file.clone())?
        }
        None => {
            let mut month = Usage::default();
            before.usage.iter().for_each(|(meter, quantity)| month.set(meter, *quantity));
            month
        }
    };
    if month.days_in_period().is_none() {
        month.set("days_in_period", Decimal::from(30));
    }
    let of = |plan| Ok(MonthDifference::of(plan, &month, before, after)?);
    plans.iter().map(of).collect()
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
pub fn play(
    input: &Input,
    config: &Config,
    policy: Policy,
    plans: &[Plan],
) -> anyhow::Result<(Outcome, Recording)> {
    let mut backtest = Backtest::new(config.settings()?, policy);
    let recording = read_through(input, config, |recorded| backtest.play(recorded))?;
    Ok((backtest.finish(plans)?, recording))
}

/// Hands every message of the recordings to `take`.
pub fn read_through(
    input: &Input,
    config: &Config,
    mut take: impl FnMut(Recorded),
) -> anyhow::Result<Recording> {
    let named = input.csv.source(config)?.map(|source| source.spec.name.as_str());
    let source = config.sources.iter().position(|source| Some(source.spec.name.as_str()) == named);
    let progress = ProgressBar::new_spinner();
    let mut played = 0_u64;
    let mut recording = recording::open(&input.input, &input.csv.mapping(config)?)?;
    for Line { at_us, topic, payload, retain, .. } in &mut recording {
        let source = source.unwrap_or_else(|| source_of(config, &topic));
        let message = Message { source, topic, payload, retain, delivery: Delivery::Once };
        take(Recorded { at: Timestamp::from_micros(at_us), message });
        played += 1;
        if played.is_multiple_of(10_000) {
            progress.set_message(format!("{played} messages"));
            progress.tick();
        }
    }
    progress.finish_and_clear();
    Ok(recording)
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
    if input.by_receipt_time > 0 {
        let count = input.by_receipt_time;
        println!("{count} were taken at their receipt: their own time was not believed");
    }
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
        return;
    }
    let rows: Vec<Vec<String>> = outcome.ticket_rows();
    print!("{}", table(&["ticket", "opened", "resolved", "device", "rule", "alarms"], &rows));
}

/// Old against new, a row a rule that differs, then the money.
pub fn print_difference(difference: &Difference<'_>) {
    let rules = &difference.rules;
    let row = |rule: &RuleDifference| {
        let [raised, tickets] =
            [rule.raised, rule.tickets].map(|[old, new]| format!("{old} -> {new}"));
        vec![cut(&rule.rule, RULE_WIDTH_MAX), raised, tickets]
    };
    let changed: Vec<&RuleDifference> = rules.iter().filter(|rule| !rule.is_none()).collect();
    if !changed.is_empty() {
        let rows: Vec<Vec<String>> = changed.iter().map(|rule| row(rule)).collect();
        print!("{}", table(&["rule", "raised", "tickets"], &rows));
    }
    println!("{} of {} rules do the same", rules.len() - changed.len(), rules.len());
    for CostDifference { plan, currency, old, new, delta, month } in &difference.cost {
        let sign = if delta.is_sign_positive() { "+" } else { "" };
        println!("{}: {old} -> {new} {currency} ({sign}{delta})", cut(plan, RULE_WIDTH_MAX));
        if let Some(MonthDifference { old, new, delta }) = month {
            let sign = if delta.is_sign_positive() { "+" } else { "" };
            println!("  the month: {old} -> {new} {currency} ({sign}{delta})");
        }
    }
    let AlarmDifference { only_old, only_new } = &difference.alarms;
    println!("{} alarms only in the old set, {} only in the new", only_old.len(), only_new.len());
}
