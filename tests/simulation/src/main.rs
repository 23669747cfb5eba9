//! `faultgate-simulation simulate`: runs many seeds, or one with its story.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

#[cfg(feature = "seeded-bugs")]
use anyhow::Context;
use clap::{Parser, Subcommand};
use faultgate_simulation::hunt::{hunt, run, shrink};
use faultgate_simulation::plan::Plan;
use faultgate_simulation::story::Story;

/// Runs the gateway in a simulated world, and holds every promise against what happens.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs seeds, and tells those that fail.
    Simulate {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first of them.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Days of each run.
        #[arg(long, default_value_t = 1)]
        days: i64,
        /// Runs this one only, and tells its story.
        #[arg(long)]
        seed: Option<u64>,
        /// Stops after so many that fail.
        #[arg(long, default_value_t = 10)]
        failures: usize,
        /// Threads; all cores without it.
        #[arg(long)]
        threads: Option<usize>,
        /// Plants this bug, or each of them one after another with `all`, and tells the first seed
        /// that finds it.
        #[arg(long)]
        bug: Option<String>,
    },
}

fn main() -> ExitCode {
    match simulate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn simulate() -> anyhow::Result<()> {
    let Command::Simulate { seeds, from, days, seed, failures, threads, bug } =
        Arguments::parse().command;
    if let Some(bug) = bug {
        return unmask(&bug, seeds, days);
    }
    if let Some(seed) = seed {
        return tell(seed, days);
    }
    let threads =
        threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let found = hunt(from, seeds, days, threads, failures);
    let total = &found.total;
    println!(
        "{} seeds kept every promise: {} messages, {} tickets, {} requests, {} stops of the gateway, {} attempts that waited for money",
        found.passed, total.messages, total.tickets, total.requests, total.crashes, total.unpaid
    );
    for (seed, why) in &found.failed {
        println!("seed {seed}: {why}");
    }
    anyhow::ensure!(
        found.failed.is_empty(),
        "{} seeds failed; the story of one: simulate --seed N --days {days}",
        found.failed.len()
    );
    Ok(())
}

#[cfg(feature = "seeded-bugs")]
fn unmask(name: &str, seeds: u64, days: i64) -> anyhow::Result<()> {
    use faultgate::seeded::Bug;
    let wanted: Vec<_> =
        Bug::ALL.into_iter().filter(|(known, _)| name == "all" || *known == name).collect();
    let names: Vec<&str> = Bug::ALL.iter().map(|(name, _)| *name).collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no bug `{name}`; there are {names:?}");
    for (name, bug) in wanted {
        let found = faultgate_simulation::hunt::unmask(bug, seeds, days);
        let (seed, why) = found.with_context(|| format!("{name}: not found in {seeds} seeds"))?;
        println!("{name}: found by seed {seed}, after {} seeds: {why}", seed + 1);
    }
    Ok(())
}

#[cfg(not(feature = "seeded-bugs"))]
fn unmask(name: &str, _: u64, _: i64) -> anyhow::Result<()> {
    anyhow::bail!("`{name}` is not there; build with `--features seeded-bugs`")
}

/// Tells the story of one seed; of one that fails, the shortest that fails.
fn tell(seed: u64, days: i64) -> anyhow::Result<()> {
    let plan = Plan::of(seed, days);
    let story = Story::kept();
    let why = match run(plan.clone(), story.clone()) {
        Ok(summary) => {
            print!("{}", story.text());
            println!("seed {seed} kept every promise: {summary:?}");
            return Ok(());
        }
        Err(why) => why,
    };
    let kept = shrink(&plan, &why);
    let story = Story::kept();
    let ended = run(plan.with(&kept), story.clone());
    print!("{}", story.text());
    println!("Of {} faults these are needed:", plan.faults.len());
    for fault in &kept {
        println!("  {} {:?}", fault.at, fault.what);
    }
    anyhow::bail!("seed {seed}: {}", ended.err().unwrap_or_default())
}
