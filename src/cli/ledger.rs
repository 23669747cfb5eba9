//! `faultgate ledger`: the chain held against itself, and the rows in an open format.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::books::Opened;
use super::{Format, Globals, remote};
use crate::config::{self, Config};
use crate::engine::billing::event;
use crate::engine::types::chain::Chain;
use crate::engine::types::ledger::LedgerRow;
use crate::service::billing::Books;
use crate::service::verify::{self, Verified};

/// `faultgate ledger`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Recompute the chain of hashes; 1 where it is broken
    Verify {
        /// An exported ledger (JSON Lines), in place of the gateway's
        #[arg(long, value_name = "FILE")]
        ledger: Option<PathBuf>,
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Take back a committed row that should not be there: a row with the opposite quantity
    Correct {
        /// Number of the row
        row: u64,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Write every row as a CloudEvent, one JSON object a line
    Export {
        /// Where to; standard output without it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Does what was asked.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    match &args.verb {
        Verb::Verify { ledger, format } => {
            let books = Opened::open(&config, ledger.as_deref())?;
            tell(verify(&books)?, *format)
        }
        Verb::Correct { row, reason } => {
            let path = format!("/api/v1/ledger/{row}/take-back");
            remote::act(globals, &path, &remote::signed(reason))?;
            println!("row {row} is taken back");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Export { output } => {
            let books = Opened::open(&config, None)?;
            let written = match output {
                Some(path) => {
                    let file = File::create(path);
                    let file =
                        file.with_context(|| format!("{}: cannot be made", path.display()))?;
                    export(&books, &config, &mut BufWriter::new(file))?
                }
                None => export(&books, &config, &mut std::io::stdout().lock())?,
            };
            eprintln!("{written} rows");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Rows and hash of the end, or where it is broken.
pub fn verify(books: &Opened) -> anyhow::Result<Verified> {
    if let Opened::Stopped(journal) = books {
        return Ok(verify::verify(journal)?);
    }
    let mut chain = Chain::default();
    let mut broken = None;
    books.bytes(&mut |row| {
        if broken.is_none() {
            broken = chain.take(row).err();
        }
        Ok(())
    })?;
    Ok(match broken {
        Some(broken) => Err(broken),
        None => chain.finish(),
    })
}

fn tell(verified: Verified, format: Format) -> anyhow::Result<ExitCode> {
    let told = match &verified {
        Ok((rows, hash)) => serde_json::json!({ "intact": true, "rows": rows, "hash": hash }),
        Err(broken) => serde_json::json!({ "intact": false, "error": broken.to_string() }),
    };
    match (&verified, format) {
        (_, Format::Json) => println!("{}", serde_json::to_string_pretty(&told)?),
        (Ok((rows, hash)), Format::Text) => {
            println!("{rows} rows are intact; the last hash is {hash}")
        }
        (Err(broken), Format::Text) => {
            println!("the ledger is broken: {broken}; compare it with the last export or backup");
        }
    }
    Ok(if verified.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Writes every row; how many there are.
pub fn export(books: &Opened, config: &Config, out: &mut dyn Write) -> anyhow::Result<u64> {
    let (mut written, mut failed) = (0, None);
    books.rows_from(1, &mut |row: LedgerRow| {
        if failed.is_none() {
            failed = writeln!(out, "{}", event(&config.gateway.id, &row)).err();
            written += 1;
        }
    })?;
    match failed {
        Some(error) => Err(error).context("the rows cannot be written"),
        None => out.flush().map(|()| written).context("the rows cannot be written"),
    }
}
