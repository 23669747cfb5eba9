//! `faultgate-simulation simulate`: runs many seeds, or one with its story.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

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
    let Command::Simulate { seeds, from, days, seed, failures, threads } =
        Arguments::parse().command;
    if let Some(seed) = seed {
        return tell(seed, days);
    }
    let threads =
        threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let found = hunt(from, seeds, days, threads, failures);
    let total = &found.total;
    println!(
        "{} seeds kept every promise: {} messages, {} tickets, {} requests, {} stops of the gateway",
        found.passed, total.messages, total.tickets, total.requests, total.crashes
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
