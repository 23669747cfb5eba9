//! `faultgate rules rollback`: the files of an accepted set, put back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::super::remote;
use super::{Format, Globals};
use crate::config::{Config, rules};
use crate::engine::types::diagnostic::Source;
use crate::io::durable;
use crate::io::rule_history::{self, RuleHistory, RuleText};

/// Which set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of the set, as `faultgate rules history` lists it
    number: u64,
    /// Go back even where the folders hold changes that were never accepted; they are kept beside
    #[arg(long)]
    force: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What was done to the files.
#[derive(Debug, Default)]
struct Done {
    written: Vec<String>,
    /// Copies, and files that the set does not have.
    aside: Vec<String>,
}

/// Goes back and has the gateway read the files.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = super::config(globals)?;
    let history = RuleHistory::of(&config.gateway.data);
    let set = super::accepted(&history, args.number)?;
    let present = super::present(&config)?;
    let unaccepted = unaccepted(&config, &history, &present)?;
    anyhow::ensure!(
        unaccepted.is_empty() || args.force,
        "the rule folders hold changes that were never accepted: {}; see them with `faultgate rules \
         diff`, have them accepted first, or give them up with --force",
        unaccepted.join(", ")
    );
    let wanted = super::sources(&config, &set.files)?;
    let checked = rules::compile(&config, wanted);
    let wanted = checked
        .map_err(|refused| super::rendered(&refused))
        .with_context(|| format!("set {} does not fit the present configuration", set.number))?
        .sources;
    let done = put_back(&wanted, &present, !unaccepted.is_empty())?;
    let path = format!("/api/v1/rules/reload?rollback={}", set.number);
    let answer = remote::try_post(&config, &path)?;
    let accepted = answer.as_ref().map(|answer| answer["accepted"] == true);
    match args.format {
        Format::Json => {
            let told = json!({
                "number": set.number, "written": done.written, "aside": done.aside,
                "reloaded": accepted, "errors": answer.as_ref().map(|answer| &answer["errors"]),
            });
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        Format::Text => print_text(set.number, &done, accepted),
    }
    Ok(if accepted == Some(false) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The files that are not as in the newest accepted set.
fn unaccepted(
    config: &Config,
    history: &RuleHistory,
    present: &[Source],
) -> anyhow::Result<Vec<String>> {
    let newest = super::newest(history)?.map(|set| set.files).unwrap_or_default();
    let present = rules::named(&config.rule_paths(), present);
    if rule_history::hash(&newest) == rule_history::hash(&present) {
        return Ok(Vec::new());
    }
    let missing = |file: &&RuleText, others: &[RuleText]| !others.contains(file);
    let changed = present.iter().filter(|file| missing(file, &newest));
    let gone = newest.iter().filter(|file| !present.iter().any(|other| other.name == file.name));
    let changed = changed.map(|file| file.name.clone());
    Ok(changed.chain(gone.map(|file| format!("{} (gone)", file.name))).collect())
}

/// Writes what differs and moves away what the set does not have.
fn put_back(wanted: &[Source], present: &[Source], keep_replaced: bool) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for Source { file, text } in wanted {
        let path = Path::new(file);
        let former = present.iter().find(|former| former.file == *file);
        if former.is_some_and(|former| former.text == *text) {
            continue;
        }
        if former.is_some() && keep_replaced {
            done.aside.push(shown(durable::copy_aside(path, ".replaced"), path)?);
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{}: cannot be made", folder.display()))?;
        }
        durable::write(path, text.as_bytes())
            .with_context(|| format!("{file}: cannot be written"))?;
        done.written.push(file.clone());
    }
    for Source { file, .. } in present {
        if !wanted.iter().any(|kept| kept.file == *file) {
            let path = Path::new(file);
            done.aside.push(shown(durable::set_aside(path, ".removed"), path)?);
        }
    }
    Ok(done)
}

fn shown(moved: std::io::Result<PathBuf>, path: &Path) -> anyhow::Result<String> {
    let moved = moved.with_context(|| format!("{}: cannot be moved aside", path.display()))?;
    Ok(moved.display().to_string())
}

fn print_text(number: u64, done: &Done, accepted: Option<bool>) {
    done.written.iter().for_each(|file| println!("written  {file}"));
    done.aside.iter().for_each(|file| println!("aside    {file}"));
    if done.written.is_empty() && done.aside.is_empty() {
        println!("the folders hold set {number} already");
    }
    println!(
        "{}",
        match accepted {
            Some(true) => format!("the gateway runs set {number}"),
            Some(false) => "the gateway refuses the files; see its log".to_owned(),
            None => format!("no gateway answers; set {number} is taken at its next start"),
        }
    );
}
