//! `faultgate test`: the `[[test]]`s of rule files, on the real engine.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Format, Globals};
use crate::config::rules::{self, Refused, RuleSet};
use crate::config::{self, report};
use crate::engine::trial;

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or folders of them; without any, the rules of the configuration
    paths: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Outcome {
    passed: usize,
    failed: usize,
    tests: Vec<Tested>,
}

#[derive(Debug, Serialize)]
struct Tested {
    file: String,
    name: String,
    ok: bool,
    expected: Vec<String>,
    got: Vec<String>,
}

/// Runs the tests and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = config::require(globals.config.as_deref())?;
    let paths = if args.paths.is_empty() { &config.gateway.rules } else { &args.paths };
    let compile = || rules::load(&config, paths);
    let tests = match compile()? {
        Ok(set) => set.policy.tests,
        Err(Refused { sources, diagnostics }) => {
            let colour = super::console::colour_on_stderr();
            eprint!("{}", report::render(&diagnostics, &sources, colour));
            return Ok(ExitCode::from(2));
        }
    };
    let settings = config.settings()?;
    let mut outcome = Outcome { passed: 0, failed: 0, tests: Vec::new() };
    for test in &tests {
        let Ok(RuleSet { policy, .. }) = compile()? else { continue };
        let verdict = trial::run(test, &settings, policy);
        if verdict.ok {
            outcome.passed += 1;
        } else {
            outcome.failed += 1;
        }
        outcome.tests.push(Tested {
            file: test.file.clone(),
            name: test.name.clone(),
            ok: verdict.ok,
            expected: verdict.expected,
            got: verdict.got,
        });
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&outcome)?),
        Format::Text => print_text(&outcome),
    }
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print_text(outcome: &Outcome) {
    for test in &outcome.tests {
        println!("{} {}: {}", if test.ok { "ok  " } else { "FAIL" }, test.file, test.name);
        if !test.ok {
            println!("     expected: {}", list(&test.expected));
            println!("     got:      {}", list(&test.got));
        }
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
}

fn list(events: &[String]) -> String {
    if events.is_empty() { "nothing".to_owned() } else { events.join(", ") }
}
