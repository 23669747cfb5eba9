//! `faultgate export bundle` and `faultgate import --verify`: leaving costs nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::books::Opened;
use super::{Globals, ledger, remote};
use crate::config::{self, files, rules};
use crate::engine::billing::{Statement, row_of_event};
use crate::engine::types::effect::Write as Record;
use crate::engine::types::question::Question;
use crate::engine::types::time::Timestamp;
use crate::io::clock;
use crate::io::journal::Journal;
use crate::io::store::StoreOptions;
use crate::service::billing::{Books, draft, plan_of};

const MANIFEST: &str = "manifest.json";
const LEDGER: &str = "ledger.jsonl";
const STATEMENTS: &str = "statements.jsonl";
const TICKETS: &str = "tickets.jsonl";
const ALARMS: &str = "alarms.jsonl";
/// Records of an import that go to disk together.
const BATCH: usize = 1_000;

/// `faultgate export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Rules, plan, budgets, ledger, statements, tickets and the history of alarms
    Bundle {
        /// A folder that is not there yet
        folder: PathBuf,
    },
}

/// `faultgate import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A folder that `export bundle` has written
    folder: PathBuf,
    /// Only hold it against its own hashes, and work its statements out again
    #[arg(long, conflicts_with = "into", required_unless_present = "into")]
    verify: bool,
    /// Verify it, and write ledger, statements, tickets and alarms to this new data folder
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// What a bundle consists of.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    gateway: String,
    made_at: Timestamp,
    files: BTreeMap<String, Fingerprint>,
}

/// A file as it was written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    bytes: u64,
    blake3: String,
}

fn fingerprint(path: &Path) -> anyhow::Result<Fingerprint> {
    let name = path.display();
    let mut file = std::fs::File::open(path).with_context(|| format!("{name}: cannot be read"))?;
    let mut hasher = blake3::Hasher::new();
    let bytes = std::io::copy(&mut file, &mut hasher);
    let bytes = bytes.with_context(|| format!("{name}: cannot be read"))?;
    Ok(Fingerprint { bytes, blake3: hasher.finalize().to_hex().to_string() })
}

/// Writes a bundle.
pub fn export(args: &ExportArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let What::Bundle { folder } = &args.what;
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    std::fs::create_dir(folder)
        .with_context(|| format!("{}: cannot be made; name a new folder", folder.display()))?;
    let mut written: Vec<String> = Vec::new();
    // The store of a stopped gateway is opened by one at a time.
    for (question, path, key, name) in [
        (Question::Tickets, "/api/v1/tickets", "tickets", TICKETS),
        (Question::Alarms, "/api/v1/alarms", "alarms", ALARMS),
    ] {
        let answer = remote::ask(globals, path, &question)?;
        let records = answer[key].as_array().cloned().unwrap_or_default();
        write_lines(&folder.join(name), records.iter().map(Json::to_string))?;
        written.push(name.to_owned());
    }
    let books = Opened::open(&config, None)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(folder.join(LEDGER))?);
    let rows = ledger::export(&books, &config, &mut out)?;
    let statements = books.statements()?;
    let lines: Vec<String> =
        statements.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    write_lines(&folder.join(STATEMENTS), lines.into_iter())?;
    written.extend([LEDGER.to_owned(), STATEMENTS.to_owned()]);
    let paths: Vec<PathBuf> =
        config.rule_paths().into_iter().filter(|path| path.exists()).collect();
    for rule in rules::named(&config.rule_paths(), &files::read_all(&paths)?) {
        let name = format!("files/{}", rule.name.trim_start_matches('/'));
        let path = folder.join(&name);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        std::fs::write(&path, rule.text)?;
        written.push(name);
    }
    let files =
        written.into_iter().map(|name| Ok((name.clone(), fingerprint(&folder.join(&name))?)));
    let files = files.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let manifest = Manifest { format: 1, gateway: config.gateway.id, made_at: clock::now(), files };
    std::fs::write(folder.join(MANIFEST), serde_json::to_string_pretty(&manifest)? + "\n")?;
    println!("{}: {} files, {rows} rows of the ledger", folder.display(), manifest.files.len());
    Ok(ExitCode::SUCCESS)
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

/// Verifies a bundle, and reads it into a new data folder where one is named.
pub fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    let manifest = files::read(&folder.join(MANIFEST)).context("this is no bundle")?;
    let manifest: Manifest = serde_json::from_str(&manifest.text)
        .with_context(|| format!("{MANIFEST}: it is no manifest of a bundle"))?;
    ensure!(
        manifest.format == 1,
        "{MANIFEST}: format {} is newer than this version",
        manifest.format
    );
    let wrong = faults(folder, &manifest)?;
    for fault in &wrong {
        println!("{fault}");
    }
    if !wrong.is_empty() {
        return Ok(ExitCode::from(1));
    }
    println!("{}: {} files are as they were written", folder.display(), manifest.files.len());
    if let Some(into) = &args.into {
        let records = read_into(folder, into)?;
        println!("{}: {records} records", into.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is not as it was.
fn faults(folder: &Path, manifest: &Manifest) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, told) in &manifest.files {
        match fingerprint(&folder.join(name)) {
            Ok(found) if found == *told => {}
            Ok(_) => wrong.push(format!("{name}: it was changed after the export")),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    if !wrong.is_empty() {
        return Ok(wrong);
    }
    let books = Opened::File(folder.join(LEDGER));
    if let Err(broken) = ledger::verify(&books)? {
        wrong.push(format!("{LEDGER}: {broken}"));
    }
    let statements = lines::<Statement>(&folder.join(STATEMENTS))?;
    let mut before = String::new();
    for (index, statement) in statements.iter().enumerate() {
        let name = format!("{STATEMENTS}: {}", statement.period.id);
        if !statement.is_intact() || statement.prev_hash != before {
            wrong.push(format!("{name}: it is not what was closed"));
        }
        before.clone_from(&statement.hash);
        let known = statements.get(..index).unwrap_or_default();
        let again = draft(
            &UpTo { books: &books, last: statement.rows },
            &plan_of(statement)?,
            &statement.period,
            known,
        )?;
        if again.statement.lines != statement.lines || again.statement.total != statement.total {
            wrong.push(format!("{name}: the ledger comes to {} now", again.statement.total));
        }
    }
    Ok(wrong)
}

/// The books as they were when row `last` was the newest.
struct UpTo<'a> {
    books: &'a Opened,
    last: u64,
}

impl Books for UpTo<'_> {
    fn rows_from(
        &self,
        sequence: u64,
        take: &mut dyn FnMut(crate::engine::types::ledger::LedgerRow),
    ) -> anyhow::Result<()> {
        self.books.rows_from(sequence, &mut |row| {
            if row.sequence <= self.last {
                take(row);
            }
        })
    }

    fn rows_since(
        &self,
        at: Timestamp,
        take: &mut dyn FnMut(crate::engine::types::ledger::LedgerRow),
    ) -> anyhow::Result<()> {
        self.books.rows_since(at, &mut |row| {
            if row.sequence <= self.last {
                take(row);
            }
        })
    }

    fn statements(&self) -> anyhow::Result<Vec<Statement>> {
        self.books.statements()
    }
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name}: cannot be read"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{name}:{}: unreadable", index + 1))
    };
    lines.map(read).collect()
}

fn read_into(folder: &Path, into: &Path) -> anyhow::Result<usize> {
    let store = into.join("gateway");
    if store.exists() {
        bail!("{}: there is a store already; name a new data folder", into.display());
    }
    std::fs::create_dir_all(into)?;
    let (journal, _) =
        Journal::open(&store, StoreOptions { min_free_bytes: 0, ..StoreOptions::default() })?;
    let mut records: Vec<Record> = Vec::new();
    let text = std::fs::read_to_string(folder.join(LEDGER))?;
    for line in text.lines() {
        records.push(Record::Ledger(Box::new(row_of_event(line)?)));
    }
    records.extend(
        lines(&folder.join(TICKETS))?.into_iter().map(|ticket| Record::Ticket(Box::new(ticket))),
    );
    records.extend(
        lines(&folder.join(ALARMS))?.into_iter().map(|alarm| Record::Alarm(Box::new(alarm))),
    );
    for batch in records.chunks(BATCH) {
        journal.commit(batch)?;
    }
    for statement in lines::<Statement>(&folder.join(STATEMENTS))? {
        journal.put_statement(&statement)?;
    }
    Ok(records.len())
}
