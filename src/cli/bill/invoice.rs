//! `faultgate bill invoice` and `bill close`: what a period comes to.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::super::Globals;
use super::super::books::{Accounts, From, Opened};
use super::super::console::table;
use crate::engine::billing::{self, Statement};
use crate::engine::types::text::Language;
use crate::service::billing::{Books, CloseStep, close_overdue, draft};

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    from: From,
    /// The period: a month or a day of it; without it the current one
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// Work it out anew, even where it is closed
    #[arg(long)]
    draft: bool,
    /// Language of words; that of the configuration by default
    #[arg(long, value_enum)]
    language: Option<Tongue>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Print,
}

/// Language of words.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Tongue {
    /// English
    En,
    /// 中文
    #[value(name = "zh-CN", alias = "zh")]
    Zh,
}

impl Tongue {
    /// The language, that of the configuration where none is asked for.
    pub fn or(asked: Option<Tongue>, default: Language) -> Language {
        match asked {
            Some(Tongue::En) => Language::English,
            Some(Tongue::Zh) => Language::Chinese,
            None => default,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Print {
    /// For people
    Text,
    /// JSON with stable fields
    Json,
    /// For spreadsheets (RFC 4180)
    Csv,
    /// For print or PDF
    Html,
}

/// Prints a statement: the closed one where there is one, else a draft.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let statement = statement(&accounts, args)?;
    let language = Tongue::or(args.language, accounts.config.gateway.language);
    match args.format {
        Print::Text => print!("{}", billing::text(&statement, language, table)),
        Print::Json => println!("{}", serde_json::to_string_pretty(&statement)?),
        Print::Csv => print!("{}", billing::csv(&statement, language)),
        Print::Html => print!("{}", billing::html(&statement, language)),
    }
    Ok(ExitCode::SUCCESS)
}

fn statement(accounts: &Accounts, args: &Args) -> anyhow::Result<Statement> {
    let period = accounts.period(args.period.as_deref())?;
    let closed = accounts.books.statements()?;
    match closed.iter().find(|statement| statement.period.id == period.id) {
        Some(statement) if !args.draft => {
            if !statement.is_intact() {
                bail!("the statement of {} is not what was closed: its hash differs", period.id);
            }
            Ok(statement.clone())
        }
        _ => Ok(draft(&accounts.books, &accounts.active, &period, &closed)?.statement),
    }
}

/// Closes every overdue period of a gateway that does not run; one that runs does it itself.
pub fn close(from: &From, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = from.open(globals)?;
    let journal = match &accounts.books {
        Opened::Stopped(journal) => journal,
        Opened::Running(_) => bail!("the gateway runs, and closes periods itself"),
        Opened::File(_) | Opened::Empty => bail!("there is no store; run the gateway first"),
    };
    let (text, zone) = (&accounts.plan_source.text, accounts.config.gateway.zone);
    let tell = &mut |period: &crate::engine::types::period::Period, step| match step {
        CloseStep::Due => println!("{}: due", period.id),
        CloseStep::Rated => println!("{}: rated", period.id),
        CloseStep::Stored => println!("{}: closed", period.id),
    };
    let closed = close_overdue(journal, &accounts.active, text, zone, accounts.now, tell)
        .context("periods that are not closed are closed by the next run")?;
    println!("{} periods closed", closed.len());
    Ok(ExitCode::SUCCESS)
}
