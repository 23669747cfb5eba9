//! `faultgate rules history`: the accepted rule sets, the newest first.

use std::process::ExitCode;

use serde_json::json;

use super::super::console::table;
use super::{Format, Globals};
use crate::io::rule_history::{AcceptedSet, Origin, RuleHistory};

/// How to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Lists.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let history = RuleHistory::of(&super::config(globals)?.gateway.data);
    let mut sets = Vec::new();
    for number in history.numbers()?.into_iter().rev() {
        sets.push(history.read(number)?);
    }
    match args.format {
        Format::Json => {
            let sets: Vec<_> = sets.iter().map(as_json).collect();
            println!("{}", serde_json::to_string_pretty(&json!({ "sets": sets }))?);
        }
        Format::Text if sets.is_empty() => {
            println!("no rule set was accepted yet; the gateway keeps one at its start");
        }
        Format::Text => print!("{}", as_table(&sets)),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(set: &AcceptedSet) -> serde_json::Value {
    let names: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
    let mut told = json!({
        "number": set.number, "at": set.at, "origin": word(set.origin), "files": names,
        "rules": set.rules, "hash": set.hash,
    });
    if let Origin::Rollback { to } = set.origin {
        told["to"] = to.into();
    }
    told
}

fn as_table(sets: &[AcceptedSet]) -> String {
    let row = |set: &AcceptedSet| {
        let origin = match set.origin {
            Origin::Rollback { to } => format!("rollback to {to}"),
            Origin::Start | Origin::Signal | Origin::Api | Origin::Watch => {
                word(set.origin).to_owned()
            }
        };
        let (files, rules) = (set.files.len().to_string(), set.rules.to_string());
        let at = set.at.to_chrono().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        vec![set.number.to_string(), at, origin, files, rules, set.hash.clone()]
    };
    let rows: Vec<Vec<String>> = sets.iter().map(row).collect();
    table(&["number", "accepted", "origin", "files", "rules", "hash"], &rows)
}

fn word(origin: Origin) -> &'static str {
    match origin {
        Origin::Start => "start",
        Origin::Signal => "signal",
        Origin::Api => "api",
        Origin::Watch => "watch",
        Origin::Rollback { .. } => "rollback",
    }
}
