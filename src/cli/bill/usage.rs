//! `faultgate bill usage`: what we counted in a period, beside what the upstreams say of it.

use std::process::ExitCode;

use serde_json::json;

use super::super::books::From;
use super::super::console::table;
use super::super::{Format, Globals};
use super::invoice::Tongue;
use crate::engine::billing::{beside, beside_text};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::service::billing::draft;

/// How long before a period a counter may have been heard last.
const HEARD_BEFORE: TimeSpan = TimeSpan::from_secs(400 * 86_400);

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    from: From,
    /// The period: a month or a day of it; without it the current one
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// Language of words; that of the configuration by default
    #[arg(long, value_enum)]
    language: Option<Tongue>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Prints the table.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let period = accounts.period(args.period.as_deref())?;
    let drafted = draft(&accounts.books, &accounts.active, &period, &[])?;
    let since = (period.start - HEARD_BEFORE).max(Timestamp::EPOCH);
    let rows = beside(&drafted.usage, &period, &accounts.books.reported(since)?);
    if args.format == Format::Json {
        let told = json!({ "period": period.id, "usage": rows });
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        let language = Tongue::or(args.language, accounts.config.gateway.language);
        print!("{}", beside_text(&rows, language, table));
    }
    Ok(ExitCode::SUCCESS)
}
