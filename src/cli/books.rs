//! The ledger and the statements, wherever they are: a running gateway, the store of one that is
//! stopped, or a file that was exported.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono_tz::Tz;

use super::{Globals, remote};
use crate::config::{self, Config};
use crate::engine::billing::{Statement, calendar, row_of_event};
use crate::engine::policy;
use crate::engine::rating::ActivePlan;
use crate::engine::types::diagnostic::Source;
use crate::engine::types::ledger::LedgerRow;
use crate::engine::types::period::Period;
use crate::engine::types::reported::Reported;
use crate::engine::types::spell::Spell;
use crate::engine::types::time::Timestamp;
use crate::io::clock;
use crate::io::journal::Journal;
use crate::io::store::StoreOptions;
use crate::service::billing::Books;

/// What every question about money takes.
#[derive(Debug, clap::Args)]
pub struct From {
    /// Price plan, in place of the one of the configuration
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// An exported ledger (JSON Lines), in place of the gateway's
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// As it was at this time, in place of now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Plan, time and books, ready for questions.
#[derive(Debug)]
pub struct Accounts {
    /// Rows and statements.
    pub books: Opened,
    /// The plan, and the quantities that nobody meters.
    pub active: ActivePlan,
    /// The file of the plan.
    pub plan_source: Source,
    /// The configuration.
    pub config: Config,
    /// What counts as now.
    pub now: Timestamp,
}

impl From {
    /// Opens what the options and the configuration name.
    pub fn open(&self, globals: &Globals) -> anyhow::Result<Accounts> {
        let config = self.config(globals)?;
        let set = super::backtest::read_rules(&config, &config.gateway.rules)?;
        let in_force = set.sources.into_iter().find(policy::is_plan);
        let (active, plan_source) = match (&self.plan, set.policy.plan, in_force) {
            (Some(path), active, _) => {
                let plan = super::backtest::read_plan(path)?;
                let told = active.map(|active| active.told().clone()).unwrap_or_default();
                (ActivePlan::new(plan, told), config::files::read(path)?)
            }
            (None, Some(active), Some(source)) => (active, source),
            (None, _, _) => bail!(
                "no price plan: name one with `--plan FILE`, or put one in force with `[gateway] plan`"
            ),
        };
        let books = Opened::open(&config, self.ledger.as_deref())?;
        Ok(Accounts { books, active, plan_source, now: self.now()?, config })
    }

    fn config(&self, globals: &Globals) -> anyhow::Result<Config> {
        let mut config = config::require(globals.config.as_deref())?;
        if let Some(data) = &globals.data {
            config.gateway.data.clone_from(data);
        }
        Ok(config)
    }

    fn now(&self) -> anyhow::Result<Timestamp> {
        match &self.at {
            None => Ok(clock::now()),
            Some(text) => Timestamp::parse_rfc3339(text)
                .with_context(|| format!("`--at {text}`: write 2026-04-11T03:20:15+08:00")),
        }
    }
}

impl Accounts {
    /// The zone in which periods begin.
    pub fn zone(&self) -> Tz {
        self.active.plan().period.map_or(self.config.gateway.zone, |calendar| calendar.zone)
    }

    /// The period of this name, a day or a month; the one of now where none is named.
    pub fn period(&self, name: Option<&str>) -> anyhow::Result<Period> {
        let calendar = calendar(self.active.plan(), self.config.gateway.zone);
        match name {
            None => Ok(calendar.period(self.now)),
            Some(name) => calendar.named(name).with_context(|| {
                format!("`--period {name}`: write a month or a day, 2026-03 or 2026-03-15")
            }),
        }
    }

    /// The rows that were written from a day before `at` on.
    pub fn rows(&self, at: Timestamp) -> anyhow::Result<Vec<LedgerRow>> {
        let mut rows = Vec::new();
        let day = crate::engine::types::time::TimeSpan::from_secs(86_400);
        self.books.rows_since(at - day, &mut |row| rows.push(row))?;
        Ok(rows)
    }
}

/// Books that were opened.
#[derive(Debug)]
pub enum Opened {
    /// Of a running gateway.
    Running(Box<Config>),
    /// Of one that is stopped.
    Stopped(Box<Journal>),
    /// Of a file.
    File(PathBuf),
    /// There is nothing yet.
    Empty,
}

impl Opened {
    /// Opens the file, else what the configuration names.
    pub fn open(config: &Config, file: Option<&Path>) -> anyhow::Result<Opened> {
        if let Some(file) = file {
            return Ok(Opened::File(file.to_owned()));
        }
        if remote::is_running(config)? {
            return Ok(Opened::Running(Box::new(config.clone())));
        }
        let folder = config.gateway.data.join("gateway");
        if !folder.exists() {
            return Ok(Opened::Empty);
        }
        let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
        Ok(Opened::Stopped(Box::new(Journal::open(&folder, options)?.0)))
    }

    fn pages(
        &self,
        config: &Config,
        mut path: String,
        take: &mut dyn FnMut(&[u8]) -> anyhow::Result<u64>,
    ) -> anyhow::Result<()> {
        loop {
            let page = remote::get_bytes(config, &path)?;
            let mut last = None;
            for line in page.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                last = Some(take(line)?);
            }
            let Some(last) = last else { return Ok(()) };
            path = format!("/api/v1/ledger?from={}", last + 1);
        }
    }

    fn file(path: &Path, mut take: impl FnMut(LedgerRow)) -> anyhow::Result<()> {
        let name = path.display();
        let file = std::fs::File::open(path).with_context(|| format!("{name}: cannot be read"))?;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("{name}: cannot be read"))?;
            if !line.trim().is_empty() {
                let row = row_of_event(&line);
                take(row.with_context(|| format!("{name}:{}: no event of a ledger", index + 1))?);
            }
        }
        Ok(())
    }

    /// What the upstreams said of use, from a day on; a file says nothing of it.
    pub fn reported(&self, since: Timestamp) -> anyhow::Result<Vec<Reported>> {
        match self {
            Opened::Empty | Opened::File(_) => Ok(Vec::new()),
            Opened::Stopped(journal) => Ok(journal.reported(since)?),
            Opened::Running(config) => remote::get_list(
                config,
                &format!("/api/v1/usage/reported?since={since}"),
                "reported",
            ),
        }
    }

    /// The episodes of alarms that are kept, in the order of their raise.
    pub fn spells(&self) -> anyhow::Result<Vec<Spell>> {
        let mut all: Vec<Spell> = Vec::new();
        match self {
            Opened::Empty | Opened::File(_) => {}
            Opened::Stopped(journal) => all = journal.spells(Timestamp::EPOCH, usize::MAX)?,
            Opened::Running(config) => loop {
                let place = |spell: &Spell| (spell.raised_at, spell.fingerprint.0.clone());
                let last = all.last().map(place);
                let since = last.as_ref().map_or(Timestamp::EPOCH, |(at, _)| *at);
                let path = format!("/api/v1/alarms/spells?since={since}");
                let mut page: Vec<Spell> = remote::get_list(config, &path, "spells")?;
                // A page begins with what was raised in the instant in which the last one ended.
                page.retain(|spell| last.as_ref().is_none_or(|last| place(spell) > *last));
                if page.is_empty() {
                    break;
                }
                all.append(&mut page);
            },
        }
        Ok(all)
    }

    /// The bytes of every row, in order.
    pub fn bytes(&self, take: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Opened::Empty => Ok(()),
            Opened::Stopped(journal) => {
                for record in journal.ledger_bytes(1) {
                    take(&record?.1)?;
                }
                Ok(())
            }
            Opened::Running(config) => {
                self.pages(config, "/api/v1/ledger".to_owned(), &mut |line| {
                    take(line)?;
                    let row: LedgerRow = serde_json::from_slice(line)?;
                    Ok(row.sequence)
                })
            }
            Opened::File(path) => {
                let failed = RefCell::new(Ok(()));
                Opened::file(path, |row| {
                    let mut failed = failed.borrow_mut();
                    if failed.is_ok() {
                        *failed = take(&row.to_bytes());
                    }
                })?;
                failed.into_inner()
            }
        }
    }
}

impl Books for Opened {
    fn rows_from(&self, sequence: u64, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()> {
        match self {
            Opened::Empty => Ok(()),
            Opened::Stopped(journal) => journal.rows_from(sequence, take),
            Opened::Running(config) => {
                let path = format!("/api/v1/ledger?from={sequence}");
                self.pages(config, path, &mut |line| take_line(line, take))
            }
            Opened::File(path) => Opened::file(path, |row| {
                if row.sequence >= sequence {
                    take(row);
                }
            }),
        }
    }

    fn rows_since(&self, at: Timestamp, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()> {
        match self {
            Opened::Empty => Ok(()),
            Opened::Stopped(journal) => journal.rows_since(at, take),
            Opened::Running(config) => {
                let path = format!("/api/v1/ledger?since={at}");
                self.pages(config, path, &mut |line| take_line(line, take))
            }
            Opened::File(path) => Opened::file(path, |row| {
                if row.recorded >= at {
                    take(row);
                }
            }),
        }
    }

    fn statements(&self) -> anyhow::Result<Vec<Statement>> {
        match self {
            Opened::Empty | Opened::File(_) => Ok(Vec::new()),
            Opened::Stopped(journal) => Ok(Journal::statements(journal)?),
            Opened::Running(config) => remote::get_list(config, "/api/v1/statements", "statements"),
        }
    }
}

fn take_line(line: &[u8], take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<u64> {
    let row: LedgerRow = serde_json::from_slice(line)?;
    let sequence = row.sequence;
    take(row);
    Ok(sequence)
}
