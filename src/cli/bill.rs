//! `faultgate bill`: what usage costs on a price plan.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value as Json, json};

use super::Format;
use super::console::table;
use crate::config::files;
use crate::engine::rating::{Bill, Usage, rate};

/// `faultgate bill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
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

/// Rates and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Verb::Rate { plan, usage, explain, format } = &args.verb;
    let plan = super::backtest::read_plan(plan)?;
    let text = files::read(usage)?;
    let usage = Usage::from_json(&text.text).with_context(|| text.file.clone())?;
    let bill = rate(&plan, &usage)?;
    match format {
        Format::Json if *explain => {
            println!("{}", serde_json::to_string_pretty(&explained(&bill))?);
        }
        Format::Json => println!("{}", serde_json::to_string_pretty(&bill)?),
        Format::Text => {
            let mut rows: Vec<Vec<String>> = bill
                .lines
                .iter()
                .map(|line| {
                    let working = if *explain { line.working.to_string() } else { String::new() };
                    vec![line.id.clone(), line.amount.to_string(), working]
                })
                .collect();
            rows.push(vec!["total".to_owned(), format!("{} {}", bill.total, bill.currency)]);
            let working = if *explain { "because" } else { "" };
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
