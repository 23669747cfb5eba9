//! `faultgate bill`: what usage costs on a price plan.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::Format;
use super::console::table;
use crate::config::files;
use crate::engine::rating::{Usage, rate};

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
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// Rates and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Verb::Rate { plan, usage, format } = &args.verb;
    let plan = super::backtest::read_plan(plan)?;
    let text = files::read(usage)?;
    let usage = Usage::from_json(&text.text).with_context(|| text.file.clone())?;
    let bill = rate(&plan, &usage)?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&bill)?),
        Format::Text => {
            let mut rows: Vec<Vec<String>> = bill
                .lines
                .iter()
                .map(|line| vec![line.id.clone(), line.amount.to_string()])
                .collect();
            rows.push(vec!["total".to_owned(), format!("{} {}", bill.total, bill.currency)]);
            print!("{}", table(&["line", "amount"], &rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}
