//! The command line: one file a command.
//!
//! Exit codes: 0 fine, 1 found something wrong in what was checked, 2 wrong use or could not run.

mod backtest;
mod backup;
mod bill;
mod books;
mod bundle;
mod check;
mod console;
mod demo;
mod doctor;
mod explain;
mod generate;
mod ledger;
mod lists;
mod record;
mod recordings;
mod remote;
mod replay;
mod report;
mod rules;
mod run;
mod schema;
mod show;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Turns device telemetry into repair tickets: one ticket per fault, to the right person, at a
/// known cost. 把设备遥测变成报修工单。
#[derive(Debug, Parser)]
#[command(name = "faultgate", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Globals {
    /// Configuration file; without it faultgate.toml if it is there, else built-in defaults
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder, in place of the one in the configuration
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Log format
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// How a command reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// JSON with stable fields
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    Run(run::Args),
    /// Run everything on embedded defaults with a simulated fleet or a recording
    Demo(demo::Args),
    /// Check configuration, rules, ladders and plans: all errors at once
    Check(check::Args),
    /// Run the tests of rule files
    Test(test::Args),
    /// Replay recorded messages on a virtual clock: what would have been raised, opened and paid
    Backtest(backtest::Args),
    /// Capture live messages from the configured sources
    Record(record::Args),
    /// Publish a recording over MQTT
    Replay(replay::Args),
    /// Tell why an alarm, a ticket or an episode is as it is
    Explain(explain::Args),
    /// List and handle alarms
    Alarms(lists::AlarmArgs),
    /// List and handle tickets
    Tickets(lists::TicketArgs),
    /// List devices
    Devices(lists::DeviceArgs),
    /// List and handle what could not be delivered
    DeadLetters(lists::DeadLetterArgs),
    /// Tell what people did: who, when, from where and why
    Audit(lists::SinceArgs),
    /// Tell which faults came and went while nobody could be told
    Digest(lists::SinceArgs),
    /// Accepted rule sets: list, compare, go back
    Rules(rules::Args),
    /// What use costs: rate, invoice, forecast, compare, reconcile, share
    Bill(bill::Args),
    /// Verify or export the ledger
    Ledger(ledger::Args),
    /// Write a consistent copy of everything that the gateway keeps, also while it runs
    Backup(backup::BackupArgs),
    /// Put a backup into a data folder, on this machine or another
    Restore(backup::RestoreArgs),
    /// Write everything that is yours in open formats
    Export(bundle::ExportArgs),
    /// Read a bundle, and hold it against its own hashes
    Import(bundle::ImportArgs),
    /// Figures of the service
    Report(report::Args),
    /// Tell what is wrong with this installation, and what to do about it
    Doctor(doctor::Args),
    /// Print the JSON Schema of a kind of file, so that editors complete and check it
    Schema(schema::Args),
    /// Print shell completions or the man page
    Generate(generate::Args),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    end_with_the_reader();
    let cli = Cli::parse();
    let globals = &cli.globals;
    let ended = match &cli.command {
        Command::Run(args) => run::run(args, globals),
        Command::Demo(args) => demo::run(args, globals),
        Command::Check(args) => check::run(args, globals),
        Command::Test(args) => test::run(args, globals),
        Command::Backtest(args) => backtest::run(args, globals),
        Command::Record(args) => record::run(args, globals),
        Command::Replay(args) => replay::run(args, globals),
        Command::Explain(args) => explain::run(args, globals),
        Command::Alarms(args) => lists::alarms(args, globals),
        Command::Tickets(args) => lists::tickets(args, globals),
        Command::Devices(args) => lists::devices(args, globals),
        Command::DeadLetters(args) => lists::dead_letters(args, globals),
        Command::Audit(args) => lists::audit(args, globals),
        Command::Digest(args) => lists::digest(args, globals),
        Command::Rules(args) => rules::run(args, globals),
        Command::Bill(args) => bill::run(args, globals),
        Command::Ledger(args) => ledger::run(args, globals),
        Command::Backup(args) => backup::backup(args, globals),
        Command::Restore(args) => backup::restore(args, globals),
        Command::Export(args) => bundle::export(args, globals),
        Command::Import(args) => bundle::import(args),
        Command::Report(args) => report::run(args, globals),
        Command::Doctor(args) => doctor::run(args, globals),
        Command::Schema(args) => schema::run(args),
        Command::Generate(args) => generate::run(args),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("faultgate: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whoever reads what is printed may have seen enough (`| head`): that is no failure of ours.
fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let reason = panic.payload().downcast_ref::<String>();
        if reason.is_some_and(|reason| reason.contains("Broken pipe")) {
            std::process::exit(0);
        }
        told(panic);
    }));
}
