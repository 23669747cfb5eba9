//! `faultgate doctor`: what is wrong with this installation, and what to do about it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value as Json;

use super::books::Opened;
use super::{Format, Globals, ledger, remote};
use crate::config::{self, Config, rules};
use crate::engine::rating::{ActivePlan, notice_due};
use crate::engine::types::diagnostic::{Diagnostic, Level, Report};
use crate::engine::types::question::Question;
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::journal::Journal;
use crate::io::secret::{Secret, SecretError};
use crate::io::store::{OpenNotes, Store, StoreError, StoreOptions, files_bytes, free_bytes};

/// Free space that is told before it becomes too little, in multiples of what must stay free.
const FREE_WARNING_TIMES: u64 = 4;
/// Files of the data folder whose owner is looked at.
const FILES_MAX: usize = 10_000;
/// Records in quarantine that are counted.
const QUARANTINED_MAX: usize = 1_000;
/// How far the clock may stand before the time at which the gateway ran already.
const CLOCK_BACK_MAX: TimeSpan = TimeSpan::from_secs(60);

/// How to look.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Ok,
    Warning,
    Error,
}

/// What was found of one part.
#[derive(Debug, Serialize)]
struct Finding {
    part: &'static str,
    level: Standing,
    message: String,
    /// What to do; empty where nothing is.
    fix: String,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, part: &'static str, message: impl Into<String>) {
        self.add(part, Standing::Ok, message, "");
    }

    fn warning(&mut self, part: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(part, Standing::Warning, message, fix);
    }

    fn error(&mut self, part: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(part, Standing::Error, message, fix);
    }

    fn add(
        &mut self,
        part: &'static str,
        level: Standing,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(Finding { part, level, message: message.into(), fix: fix.into() });
    }

    fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Standing::Error)
    }
}

/// Looks at everything and reports; 1 where something must be done.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut told = Findings::default();
    if let Some(config) = look_at_config(globals, &mut told) {
        let plan = look_at_rules(&config, &mut told);
        look_at_plan(&config, plan.as_ref(), &mut told);
        look_at_secrets(&config, &mut told);
        let data = &config.gateway.data;
        look_at_folder(data, &mut told);
        look_at_disk(data, config.store.disk_free_min, &mut told);
        look_at_size(data, config.store.disk_max, &mut told);
        match remote::readiness(&config) {
            Ok(Some(health)) => look_at_running(&config, &health, &mut told),
            Ok(None) => look_at_stopped(data, &mut told),
            Err(error) => {
                let fix = format!("see what listens on {} (`[http] listen`)", config.listen);
                told.error("gateway", format!("{error:#}"), fix);
            }
        }
        if !told.has_errors() && data.join("gateway").exists() {
            look_at_dead_letters(globals, &mut told);
        }
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&told.0)?),
        Format::Text => print(&told.0),
    }
    Ok(if told.has_errors() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn print(findings: &[Finding]) {
    for Finding { part, level, message, fix } in findings {
        let word = match level {
            Standing::Ok => "ok",
            Standing::Warning => "warning",
            Standing::Error => "ERROR",
        };
        println!("{word:<8} {part:<12} {message}");
        if !fix.is_empty() {
            println!("{:<21} -> {fix}", "");
        }
    }
}

fn look_at_config(globals: &Globals, told: &mut Findings) -> Option<Config> {
    let report = Report::default();
    let loaded = match config::load(globals.config.as_deref(), &report) {
        Ok(loaded) => loaded,
        Err(error) => {
            told.error("config", format!("{error:#}"), "name the file with `--config FILE`");
            return None;
        }
    };
    let found = report.into_sorted();
    let mut config = loaded.config;
    match &config {
        Some(_) => {
            let file = loaded.source.map_or("built-in defaults".to_owned(), |source| source.file);
            told.ok("config", file);
        }
        None => {
            told.error("config", errors_of(&found), "`faultgate check` shows each at its place")
        }
    }
    if let (Some(config), Some(data)) = (&mut config, &globals.data) {
        config.gateway.data.clone_from(data);
    }
    config
}

/// How many errors, and the first of them.
fn errors_of(found: &[Diagnostic]) -> String {
    let errors: Vec<_> = found.iter().filter(|found| found.severity == Level::Error).collect();
    errors.first().map_or_else(String::new, |first| {
        let Diagnostic { file, line, column, message, .. } = first;
        format!("{} errors, the first at {file}:{line}:{column}: {message}", errors.len())
    })
}

fn look_at_rules(config: &Config, told: &mut Findings) -> Option<ActivePlan> {
    match rules::load(config, &config.gateway.rules) {
        Err(error) => told.error(
            "rules",
            format!("{error:#}"),
            "`[gateway] rules` names the files and folders; the gateway must be able to read them",
        ),
        Ok(Err(refused)) => {
            let fix = "`faultgate check` shows each at its place; a gateway that runs keeps the rules it has, one that starts does not come up";
            told.error("rules", errors_of(&refused.diagnostics), fix);
        }
        Ok(Ok(set)) if set.policy.written == 0 => {
            told.warning(
                "rules",
                "there are none: nothing becomes a fault",
                "put rule files into the folder `rules`, or name others with `[gateway] rules`",
            );
            return set.policy.plan;
        }
        Ok(Ok(set)) => {
            told.ok("rules", format!("{} rules", set.policy.written));
            return set.policy.plan;
        }
    }
    None
}

/// Notice of the plan in force that must be given soon.
fn look_at_plan(config: &Config, plan: Option<&ActivePlan>, told: &mut Findings) {
    let (zone, language) = (config.gateway.zone, config.gateway.language);
    let due = plan.and_then(|active| notice_due(active.plan(), zone, clock::now()));
    if let Some(due) = due {
        told.warning("plan", due.text(language), due.remedy(language));
    }
}

fn look_at_secrets(config: &Config, told: &mut Findings) {
    let upstreams = config.upstreams.iter().map(|upstream| {
        let own = upstream.is_own_desk();
        let secret = upstream.token.as_ref().filter(|_| !own);
        (format!("token of upstream `{}`", upstream.name), secret)
    });
    let sources = config.sources.iter().map(|source| {
        (format!("password of source `{}`", source.spec.name), source.password.as_ref())
    });
    let desk = [("`[desk] token`".to_owned(), config.desk_token.as_ref())];
    for (name, secret) in upstreams.chain(sources).chain(desk) {
        match secret.map(Secret::resolve) {
            None => {}
            Some(Ok(secret)) if secret.is_empty() => {
                told.error("secrets", format!("{name} is empty"), "put the secret there");
            }
            Some(Ok(_)) => told.ok("secrets", format!("{name} is there")),
            Some(Err(error @ SecretError::File { .. })) => told.error(
                "secrets",
                format!("{name}: {error}"),
                "make the file, readable for the user of the gateway only",
            ),
            Some(Err(error @ (SecretError::Env(_) | SecretError::Credential(_)))) => told.warning(
                "secrets",
                format!("{name}: {error}"),
                "the gateway needs it where it starts; what only its service has cannot be seen from here",
            ),
        }
    }
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|folder| folder.exists());
    match there {
        Some(found) if !found.as_os_str().is_empty() => found.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn look_at_folder(data: &Path, told: &mut Findings) {
    let name = data.display();
    let there = existing(data);
    let is_writable = tempfile_in(&there);
    if let Err(error) = is_writable {
        let fix =
            format!("give it to the user of the gateway: `chown -R USER {}`", there.display());
        told.error("data", format!("{}: cannot be written: {error}", there.display()), fix);
        return;
    }
    if there != data {
        told.ok("data", format!("{name} is not there yet; the first start makes it"));
        return;
    }
    let Ok(folder) = std::fs::metadata(data) else { return };
    if folder.permissions().mode() & 0o002 != 0 {
        let fix = format!("`chmod o-w {name}`");
        told.warning("data", format!("{name}: everybody on this machine may write to it"), fix);
    }
    let mut left = FILES_MAX;
    match foreign(data, folder.uid(), &mut left) {
        Some(file) => {
            let message = format!("{}: belongs to another user than {name}", file.display());
            let fix =
                format!("`chown -R --reference={name} {name}`, and run commands as that user");
            told.error("data", message, fix);
        }
        None => told.ok("data", name.to_string()),
    }
}

/// What the system says when a file is made there.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        return Err(std::io::Error::other("it is no folder"));
    }
    let probe = folder.join(format!(".faultgate-doctor-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}

/// The first file below that belongs to somebody else.
fn foreign(folder: &Path, owner: u32, left: &mut usize) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        *left = left.checked_sub(1)?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.uid() != owner {
            return Some(entry.path());
        }
        if metadata.is_dir()
            && let Some(found) = foreign(&entry.path(), owner, left)
        {
            return Some(found);
        }
    }
    None
}

fn look_at_disk(data: &Path, needed: u64, told: &mut Findings) {
    let free = free_bytes(&existing(data));
    let mib = |bytes: u64| bytes >> 20;
    let message = format!("{} MiB free, {} MiB must stay free", mib(free), mib(needed));
    let fix = "make space on the disk of the data folder; below that nothing is taken in";
    if free < needed {
        told.error("disk", message, fix);
    } else if free < needed.saturating_mul(FREE_WARNING_TIMES) {
        told.warning("disk", message, fix);
    } else {
        told.ok("disk", message);
    }
}

fn look_at_size(data: &Path, max: u64, told: &mut Findings) {
    let bytes = ["gateway", "desk"].map(|store| files_bytes(&data.join(store)));
    let [gateway, desk] = bytes.map(|bytes| bytes >> 20);
    let message = format!(
        "gateway {gateway} MiB and desk {desk} MiB of {} MiB (`[store] max_disk`)",
        max >> 20
    );
    if bytes.iter().sum::<u64>() <= max {
        told.ok("size", message);
    } else {
        told.warning(
            "size",
            message,
            "what is over goes before its time (docs/storage.md): raise `max_disk`, or write the files anew without gaps with `faultgate backup` and `faultgate restore --replace`",
        );
    }
}

fn look_at_running(config: &Config, health: &Json, told: &mut Findings) {
    told.ok("gateway", format!("it runs and answers on {}", config.listen));
    if health["store"] == false {
        let why = health["error"].as_str().unwrap_or("the store refuses to write");
        told.error("store", why, "make space; it goes on by itself, the brokers keep what comes");
        return;
    }
    if health["broker"] == false {
        let fix = "restart the gateway; the log says why";
        told.error("broker", "the embedded broker carries no messages", fix);
    }
    if health["intake"] == false {
        let waiting = &health["outbox"];
        let fix = "see that the upstreams answer; messages are taken in again when a tenth is done";
        told.error("outbox", format!("{waiting} jobs wait, no message is taken in"), fix);
    }
    let sources = health["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    for source in sources.iter().filter(|source| source["up"] == false) {
        let name = source["name"].as_str().unwrap_or_default();
        let fix = "see that its broker runs and takes the user, the password and the certificates of this source; the log says what it answered";
        told.error("source", format!("`{name}` is not connected"), fix);
    }
    let quarantined = health["quarantined"].as_u64().unwrap_or(0);
    tell_quarantine(usize::try_from(quarantined).unwrap_or(usize::MAX), &[], told);
    look_at_ledger(&Opened::Running(Box::new(config.clone())), told);
}

fn look_at_stopped(data: &Path, told: &mut Findings) {
    let folder = data.join("gateway");
    if !folder.exists() {
        told.ok("gateway", "it does not run, and has not run with this data folder yet");
        return;
    }
    told.ok("gateway", "it does not run");
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    match Journal::open(&folder, options) {
        Ok((journal, notes)) => {
            tell_notes(&notes, told);
            look_at_journal(&journal, told);
            look_at_ledger(&Opened::Stopped(Box::new(journal)), told);
        }
        Err(error) => told.error("store", error.to_string(), remedy(&error)),
    }
    let desk = data.join("desk");
    if desk.exists() {
        match Store::open(&desk, options) {
            Ok((_, notes)) => tell_notes(&notes, told),
            Err(error) => told.error("desk", error.to_string(), remedy(&error)),
        }
    }
}

fn look_at_journal(journal: &Journal, told: &mut Findings) {
    match journal.quarantined(QUARANTINED_MAX) {
        Ok(keys) => tell_quarantine(keys.len(), &keys, told),
        Err(error) => told.error("store", error.to_string(), remedy(&error)),
    }
    let now = clock::now();
    match journal.alive_at() {
        Ok(Some(alive)) if alive.since(now) > CLOCK_BACK_MAX => told.error(
            "clock",
            format!("it stands at {now}, and the gateway ran at {alive} already"),
            "set the clock, and have it set by itself: `timedatectl set-ntp true`",
        ),
        Ok(_) => told.ok("clock", now.to_string()),
        Err(error) => told.error("store", error.to_string(), remedy(&error)),
    }
}

fn tell_quarantine(count: usize, keys: &[String], told: &mut Findings) {
    if count == 0 {
        told.ok("store", "no record is in quarantine");
        return;
    }
    let first = keys.first().map(|key| format!(", the first stood under `{key}`"));
    told.warning(
        "store",
        format!("{count} records are in quarantine{}", first.unwrap_or_default()),
        "what they said is not known to the gateway; look for a failing disk, and compare open tickets with the ticket system",
    );
}

fn tell_notes(notes: &OpenNotes, told: &mut Findings) {
    if let Some(damage) = &notes.damage {
        let fix = "nothing is lost, as the log had all of it; look for a failing disk";
        told.warning("store", format!("damaged snapshots were moved aside: {damage}"), fix);
    }
}

fn look_at_ledger(books: &Opened, told: &mut Findings) {
    let fix = "compare it with the last export (`faultgate ledger verify --ledger FILE`)";
    match ledger::verify(books) {
        Ok(Ok((rows, _))) => told.ok("ledger", format!("{rows} rows are intact")),
        Ok(Err(broken)) => told.error("ledger", format!("the chain is broken: {broken}"), fix),
        Err(error) => told.error("ledger", format!("{error:#}"), fix),
    }
}

fn look_at_dead_letters(globals: &Globals, told: &mut Findings) {
    match remote::ask(globals, "/api/v1/dead-letters", &Question::ALL_DEAD_LETTERS) {
        Ok(answer) => match answer["dead_letters"].as_array().map_or(0, Vec::len) {
            0 => told.ok("outbox", "nothing was refused for good"),
            count => told.warning(
                "outbox",
                format!("{count} calls were refused for good"),
                "`faultgate dead-letters list` has the reasons; mend them, then `retry` or `drop`",
            ),
        },
        Err(error) => told.error("outbox", format!("{error:#}"), "see the log of the gateway"),
    }
}

fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::InUse { .. } => {
            "stop the other process, or give this gateway another data folder"
        }
        StoreError::StorageFull { .. } => "make space on the disk of the data folder",
        StoreError::Damaged { .. } => {
            "look for a failing disk; put a copy back, or move the folder away to begin anew"
        }
        StoreError::Newer { .. } => "install the version again that wrote it, or a newer one",
        StoreError::CopyRefused { .. } => "wait until the copy that is being made has ended",
        StoreError::Io { .. }
        | StoreError::TooLarge { .. }
        | StoreError::Unreadable { .. }
        | StoreError::Closed => {
            "see that the disk works and the user of the gateway owns its files"
        }
    }
}
