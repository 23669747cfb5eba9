//! `faultgate rules diff`: what differs between two sets, as text and rule by rule.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use similar::TextDiff;

use super::{Format, Globals};
use crate::config::Config;
use crate::config::rules::{self, RuleSet};
use crate::engine::rule_changes::{ChangeKind, RuleChange, rule_changes};
use crate::io::rule_history::{RuleHistory, RuleText};

/// Which sets.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older set; without it the newest accepted one
    from: Option<u64>,
    /// The newer set; without it the files as they lie in the folders now
    to: Option<u64>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One of the two.
struct Side {
    name: String,
    files: Vec<RuleText>,
}

/// Compares and reports. Sets that differ are nothing wrong.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = super::config(globals)?;
    let history = RuleHistory::of(&config.gateway.data);
    let old = match args.from {
        Some(number) => super::accepted(&history, number)?,
        None => super::newest(&history)?
            .context("no rule set was accepted yet; the gateway keeps one at its start")?,
    };
    let old = Side { name: old.number.to_string(), files: old.files };
    let new = match args.to {
        Some(number) => {
            let set = super::accepted(&history, number)?;
            Side { name: set.number.to_string(), files: set.files }
        }
        None => {
            let files = rules::named(&config.rule_paths(), &super::present(&config)?);
            Side { name: "folder".to_owned(), files }
        }
    };
    let texts = text_diffs(&old, &new);
    let changes = changes_between(&config, &old, &new);
    match args.format {
        Format::Json => {
            let files = texts.iter().map(|(file, diff)| json!({ "file": file, "diff": diff }));
            let (changes, unread) = match &changes {
                Ok(changes) => (Some(changes), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            let told = json!({
                "from": old.name, "to": new.name, "files": files.collect::<Vec<_>>(),
                "rules": changes, "error": unread,
            });
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        Format::Text => {
            texts.iter().for_each(|(_, diff)| print!("{diff}"));
            match changes {
                Ok(changes) => print_changes(&changes, texts.is_empty()),
                Err(error) => println!("what it means for the rules cannot be told: {error:#}"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A unified diff of each file that differs.
fn text_diffs(old: &Side, new: &Side) -> Vec<(String, String)> {
    let mut both: BTreeMap<&str, [&str; 2]> = BTreeMap::new();
    for (place, side) in [old, new].into_iter().enumerate() {
        for file in &side.files {
            both.entry(&file.name).or_default()[place] = &file.text;
        }
    }
    let differ = both.into_iter().filter(|(_, [old, new])| old != new);
    differ
        .map(|(name, [before, after])| {
            let heads = (format!("{}/{name}", old.name), format!("{}/{name}", new.name));
            let diff = TextDiff::from_lines(before, after);
            let text = diff.unified_diff().header(&heads.0, &heads.1).to_string();
            (name.to_owned(), text)
        })
        .collect()
}

fn changes_between(config: &Config, old: &Side, new: &Side) -> anyhow::Result<Vec<RuleChange>> {
    let compile = |side: &Side| -> anyhow::Result<RuleSet> {
        let sources = super::sources(config, &side.files)?;
        rules::compile(config, sources)
            .map_err(|refused| super::rendered(&refused).context(format!("set {}", side.name)))
    };
    Ok(rule_changes(&compile(old)?.policy.rules, &compile(new)?.policy.rules))
}

fn print_changes(changes: &[RuleChange], same_texts: bool) {
    if changes.is_empty() {
        println!("{}", if same_texts { "the same files" } else { "no rule changes what it does" });
        return;
    }
    for change in changes {
        let what = match change.change {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Firing => "fires otherwise: its alarms are looked at anew",
            ChangeKind::Texts => "same firing: timers and tickets go on",
        };
        println!("rule {}: {what}", change.rule);
        for field in &change.fields {
            println!("  {}: {} -> {}", field.field, field.old, field.new);
        }
    }
}
