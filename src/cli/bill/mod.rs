//! `faultgate bill`: what usage costs on a price plan, and what the ledger comes to.

mod invoice;
mod questions;
mod usage;

pub use invoice::Tongue;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value as Json, json};

use super::console::{cut, table};
use super::{Format, Globals, remote};
use crate::config::files;
use crate::engine::rating::{Bill, Usage, rate};
use crate::engine::types::question::Question;

/// `faultgate bill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// What a period comes to
    Invoice(invoice::Args),
    /// Close every period that is over, of a gateway that does not run
    Close(super::books::From),
    /// What was used in a period, beside what the upstreams say of it
    Usage(usage::Args),
    /// Where the current period will end
    Forecast(questions::ForecastArgs),
    /// Who pays which part of a period
    Chargeback(questions::ChargebackArgs),
    /// Hold a supplier's invoice against the ledger
    Reconcile(questions::ReconcileArgs),
    /// Put plans side by side: total cost of ownership by scenario
    Compare(questions::CompareArgs),
    /// What a change of plan within a period would come to
    Change(questions::ChangeArgs),
    /// How the budgets stand, and what is held for want of money
    Budgets {
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Pay for an alarm that the budget does not hold
    Approve {
        /// Its token, from `bill budgets`; it counts once
        token: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Rate a usage file on a plan
    Rate {
        /// Price plan
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
        /// One JSON object: quantities by meter, as decimal texts
        #[arg(long, value_name = "FILE")]
        usage: PathBuf,
        /// Show the arithmetic of each line
        #[arg(long)]
        explain: bool,
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// Does what was asked.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Rate { plan, usage, explain, format } => print_rate(plan, usage, *explain, *format),
        Verb::Invoice(args) => invoice::run(args, globals),
        Verb::Close(from) => invoice::close(from, globals),
        Verb::Usage(args) => usage::run(args, globals),
        Verb::Forecast(args) => questions::forecast(args, globals),
        Verb::Chargeback(args) => questions::chargeback(args, globals),
        Verb::Reconcile(args) => questions::reconcile(args, globals),
        Verb::Compare(args) => questions::compare(args, globals),
        Verb::Change(args) => questions::change(args, globals),
        Verb::Budgets { format } => budgets(*format, globals),
        Verb::Approve { token, reason } => {
            let path = format!("/api/v1/budgets/approve/{token}");
            remote::act(globals, &path, &remote::signed(reason))
                .context("the token is not known, or was used; see `faultgate bill budgets`")?;
            println!("approved");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn budgets(format: Format, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = remote::ask(globals, "/api/v1/budgets", &Question::Budgets)?;
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Json| value.as_str().unwrap_or("-").to_owned();
    let all = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    if answer["closed"] == Json::Bool(true) {
        println!("the ledger cannot be read: only safety and critical faults are paid for");
    }
    let rows: Vec<Vec<String>> = all("budgets")
        .iter()
        .map(|budget| {
            let cells = ["budget", "rung", "spent", "used", "amount"];
            let mut row: Vec<String> = cells.iter().map(|cell| text(&budget[*cell])).collect();
            row.push(text(&budget["period"]["id"]));
            row
        })
        .collect();
    print!("{}", table(&["budget", "rung", "spent", "set aside too", "amount", "period"], &rows));
    let cells = ["ticket", "action", "severity", "reason"];
    let row = |job: &Json| cells.map(|cell| cut(&text(&job[cell]), 60)).to_vec();
    let unpaid: Vec<Vec<String>> = all("unpaid").iter().map(row).collect();
    if !unpaid.is_empty() {
        print!("{}", table(&["waits for money", "action", "severity", "why"], &unpaid));
    }
    let held = all("held");
    if held.is_empty() {
        println!("nothing is held");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = held
        .iter()
        .map(|held| {
            let alarm = &held["alarm"];
            let name = format!("{}/{}", text(&alarm["rule"]), text(&alarm["device"]));
            vec![
                cut(&name, 40),
                text(&held["severity"]),
                text(&held["until"]),
                text(&held["token"]),
            ]
        })
        .collect();
    print!("{}", table(&["held", "severity", "told at", "token"], &rows));
    Ok(ExitCode::SUCCESS)
}

fn print_rate(
    plan: &Path,
    usage: &Path,
    explain: bool,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let plan = super::backtest::read_plan(plan)?;
    let text = files::read(usage)?;
    let usage = Usage::from_json(&text.text).with_context(|| text.file.clone())?;
    let bill = rate(&plan, &usage)?;
    match format {
        Format::Json if explain => {
            println!("{}", serde_json::to_string_pretty(&explained(&bill))?);
        }
        Format::Json => println!("{}", serde_json::to_string_pretty(&bill)?),
        Format::Text => {
            let mut rows: Vec<Vec<String>> = bill
                .lines
                .iter()
                .map(|line| {
                    let working = if explain { line.working.to_string() } else { String::new() };
                    vec![line.id.clone(), line.amount.to_string(), working]
                })
                .collect();
            rows.push(vec!["total".to_owned(), format!("{} {}", bill.total, bill.currency)]);
            let working = if explain { "because" } else { "" };
            print!("{}", table(&["line", "amount", working], &rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explained(bill: &Bill) -> Json {
    let lines = bill.lines.iter().map(|line| {
        json!({
            "id": line.id, "amount": line.amount.to_string(),
            "exact": line.working.exact.to_string(), "because": line.working.to_string(),
        })
    });
    json!({
        "plan": bill.plan, "currency": bill.currency,
        "lines": lines.collect::<Vec<_>>(), "total": bill.total.to_string(),
    })
}
