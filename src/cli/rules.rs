//! `faultgate rules`: the rule sets that were accepted, what has changed between two of them, and
//! the way back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use similar::TextDiff;

use super::console::table;
use super::{Format, Globals, remote};
use crate::config::{self, Config, files, report};
use crate::engine::policy;
use crate::engine::types::diagnostic::Report;
use crate::io::clock;
use crate::io::history::{AcceptedFile, AcceptedSet, History, accepted, hash_of, write_whole};

/// What to do with accepted rule sets.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the sets that were accepted, the newest last
    History {
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show what has changed: between the last two sets, or between these
    Diff {
        /// Number of the older set
        old: Option<u64>,
        /// Number of the newer set; `files` stands for what is in the rule folder now
        new: Option<String>,
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Put the files of an accepted set back, and have the running gateway take them in
    Rollback {
        /// Number of the set
        number: u64,
        /// Even where the rule folder holds changes that were never accepted
        #[arg(long)]
        force: bool,
    },
}

/// Lists, compares or goes back.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    let history = History::of(&config.gateway.data);
    let sets = history.sets().with_context(|| {
        format!("cannot read the rule sets below {}", config.gateway.data.display())
    })?;
    match &args.verb {
        Verb::History { format } => list(&sets, *format),
        Verb::Diff { old, new, format } => diff(&config, &sets, *old, new.as_deref(), *format),
        Verb::Rollback { number, force } => rollback(globals, &config, &sets, *number, *force),
    }
}

fn list(sets: &[AcceptedSet], format: Format) -> anyhow::Result<ExitCode> {
    if format == Format::Json {
        let short = |set: &AcceptedSet| {
            serde_json::json!({
                "number": set.number, "at": set.at, "origin": set.origin, "hash": set.hash,
                "files": set.files.len(), "rules": set.rules.len(),
            })
        };
        let all: Vec<_> = sets.iter().map(short).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |set: &AcceptedSet| {
        vec![
            set.number.to_string(),
            set.at.to_string(),
            set.origin.clone(),
            set.files.len().to_string(),
            set.rules.len().to_string(),
            set.hash.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = sets.iter().map(row).collect();
    print!("{}", table(&["set", "accepted", "from", "files", "rules", "hash"], &rows));
    Ok(ExitCode::SUCCESS)
}

/// What has become of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Edit {
    Added,
    Removed,
    /// It fires otherwise: its alarms are looked at again.
    Firing,
    /// Texts, routes or severity: timers and tickets go on.
    Texts,
}

fn diff(
    config: &Config,
    sets: &[AcceptedSet],
    old: Option<u64>,
    new: Option<&str>,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let last = sets.last().context("no rule set was accepted yet; start the gateway first")?;
    let new = match new {
        None => last.clone(),
        Some("files") => of_files(config)?,
        Some(number) => {
            find(sets, number.parse().context("`new` is a number, or `files`")?)?.clone()
        }
    };
    let old = match old {
        Some(number) => find(sets, number)?.clone(),
        None => {
            let before = sets.iter().rev().find(|set| set.number < last.number);
            before.cloned().unwrap_or_else(|| last.clone())
        }
    };
    let edits = edits(&old, &new);
    let texts = text_diff(&old, &new);
    if format == Format::Json {
        let rules: Vec<_> = edits
            .iter()
            .map(|(id, edit)| serde_json::json!({ "rule": id, "change": edit }))
            .collect();
        let told = serde_json::json!({
            "old": old.number, "new": new.number, "rules": rules, "diff": texts,
        });
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(ExitCode::SUCCESS);
    }
    print!("{texts}");
    let meaning = |edit: Edit| match edit {
        Edit::Added => "is new",
        Edit::Removed => "is gone",
        Edit::Firing => "fires otherwise: its alarms are looked at again",
        Edit::Texts => "says other texts or goes elsewhere: timers and tickets go on",
    };
    edits.iter().for_each(|(id, edit)| println!("rule {id} {}", meaning(*edit)));
    if edits.is_empty() {
        println!("no rule has changed");
    }
    Ok(ExitCode::SUCCESS)
}

fn find(sets: &[AcceptedSet], number: u64) -> anyhow::Result<&AcceptedSet> {
    sets.iter().find(|set| set.number == number).with_context(|| {
        format!("there is no rule set {number}; `faultgate rules history` lists them")
    })
}

/// What is in the rule folder now, as a set without a number.
fn of_files(config: &Config) -> anyhow::Result<AcceptedSet> {
    let set = config::rules::load(config, &config.gateway.rules)?;
    let set = set.map_err(|refused| {
        let text = report::render(&refused.diagnostics, &refused.sources, false);
        anyhow::anyhow!("the rules have errors\n{text}")
    })?;
    let files = accepted(&set.sources);
    Ok(AcceptedSet {
        number: 0,
        at: clock::now(),
        origin: "files".to_owned(),
        hash: hash_of(&files),
        rules: set.marks(),
        files,
    })
}

fn edits(old: &AcceptedSet, new: &AcceptedSet) -> BTreeMap<String, Edit> {
    let by_id = |set: &AcceptedSet| -> BTreeMap<String, (String, String)> {
        let rules = set.rules.iter();
        rules.map(|rule| (rule.id.clone(), (rule.revision.clone(), rule.whole.clone()))).collect()
    };
    let (before, now) = (by_id(old), by_id(new));
    let mut edits = BTreeMap::new();
    for (id, (revision, whole)) in &now {
        let edit = match before.get(id) {
            None => Edit::Added,
            Some((known, _)) if known != revision => Edit::Firing,
            Some((_, known)) if known != whole => Edit::Texts,
            Some(_) => continue,
        };
        edits.insert(id.clone(), edit);
    }
    let gone = before.keys().filter(|id| !now.contains_key(*id));
    edits.extend(gone.map(|id| (id.clone(), Edit::Removed)));
    edits
}

/// A unified diff of every file that differs.
fn text_diff(old: &AcceptedSet, new: &AcceptedSet) -> String {
    let texts = |set: &AcceptedSet| -> BTreeMap<String, String> {
        set.files.iter().map(|file| (file.file.clone(), file.text.clone())).collect()
    };
    let (before, now) = (texts(old), texts(new));
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let mut told = String::new();
    for name in names {
        let text = |texts: &BTreeMap<String, String>| texts.get(name).cloned().unwrap_or_default();
        let (a, b) = (text(&before), text(&now));
        if a != b {
            let diff = TextDiff::from_lines(&a, &b);
            told.push_str(&diff.unified_diff().header(name, name).to_string());
        }
    }
    told
}

fn rollback(
    globals: &Globals,
    config: &Config,
    sets: &[AcceptedSet],
    number: u64,
    force: bool,
) -> anyhow::Result<ExitCode> {
    let target = find(sets, number)?;
    let paths = config.with_register(&config.gateway.rules);
    let now = accepted(&files::read_all(&paths)?);
    let hash = hash_of(&now);
    let is_accepted = sets.iter().any(|set| set.hash == hash);
    ensure!(
        is_accepted || force,
        "the rule folder holds changes that were never accepted; `faultgate rules diff {number} files` \
         shows them, `--force` overwrites them"
    );
    check(config, target)?;
    let aside = config.gateway.data.join("rule-sets/replaced").join(&hash);
    for AcceptedFile { file, text } in &now {
        let path = Path::new(file);
        let kept = target.files.iter().any(|target| target.file == *file);
        if !is_accepted {
            let name = path.file_name().unwrap_or_default();
            write_whole(&aside.join(name), text.as_bytes())?;
        }
        if !kept {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for file in &target.files {
        let path = PathBuf::from(&file.file);
        write_whole(&path, file.text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("The files of set {number} are in place.");
    match remote::act(globals, "/api/v1/rules/reload", &serde_json::json!({})) {
        Ok(_) => println!("The gateway has taken them in."),
        Err(error) => println!("The gateway takes them in when it starts ({error:#})."),
    }
    Ok(ExitCode::SUCCESS)
}

/// An old set may name an upstream that is no longer there.
fn check(config: &Config, set: &AcceptedSet) -> anyhow::Result<()> {
    let sources = set.sources();
    let upstreams = config.upstream_names();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let report = Report::default();
    if policy::compile(&sources, &names, &report).is_none() {
        let text = report::render(&report.into_sorted(), &sources, false);
        bail!("set {} does not fit the configuration of today\n{text}", set.number);
    }
    Ok(())
}
