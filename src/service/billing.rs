//! Statements out of the ledger: drafted when asked, closed once when their period is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono_tz::Tz;
use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::config::Config;
use crate::config::rules;
use crate::engine::billing::{Correction, Drafted, Statement, Tally, correct, overdue};
use crate::engine::policy;
use crate::engine::rating::{ActivePlan, Usage, notice_due, rate, read_plan};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::ledger::{Aggregation, LedgerRow, Meter};
use crate::engine::types::period::Period;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::clock;
use crate::io::journal::Journal;

/// How often overdue periods are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How much later than it is written a row may say that it happened.
const AHEAD_MAX: TimeSpan = TimeSpan::from_secs(86_400);

/// Where rows and statements are read.
pub trait Books {
    /// Hands over every row from `sequence` on.
    ///
    /// # Errors
    /// A ledger that cannot be read.
    fn rows_from(&self, sequence: u64, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()>;

    /// Hands over every row that was written at `at` or later.
    ///
    /// # Errors
    /// A ledger that cannot be read.
    fn rows_since(&self, at: Timestamp, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()>;

    /// Every statement that was closed, in order.
    ///
    /// # Errors
    /// One that cannot be read.
    fn statements(&self) -> anyhow::Result<Vec<Statement>>;
}

impl Books for Journal {
    fn rows_from(&self, sequence: u64, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()> {
        for row in self.ledger(sequence) {
            take(row.context("run `faultgate ledger verify`")?);
        }
        Ok(())
    }

    fn rows_since(&self, at: Timestamp, take: &mut dyn FnMut(LedgerRow)) -> anyhow::Result<()> {
        for row in self.ledger_since(at)? {
            take(row.context("run `faultgate ledger verify`")?);
        }
        Ok(())
    }

    fn statements(&self) -> anyhow::Result<Vec<Statement>> {
        Ok(Journal::statements(self)?)
    }
}

/// Works a period out, with what came too late for the periods that are closed.
///
/// # Errors
/// A ledger that cannot be read, or a plan that cannot rate it.
pub fn draft(
    books: &dyn Books,
    active: &ActivePlan,
    period: &Period,
    closed: &[Statement],
) -> anyhow::Result<Drafted> {
    let before: Vec<&Statement> =
        closed.iter().filter(|statement| statement.period.start < period.start).collect();
    let corrections = corrections(books, &before)?;
    let tally = tally(books, active, period, u64::MAX)?;
    Ok(Statement::draft(active, &tally, corrections)?)
}

/// What of the rows up to `last` was used in a period.
fn tally(
    books: &dyn Books,
    active: &ActivePlan,
    period: &Period,
    last: u64,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(period.clone(), active);
    let mut take = |row: LedgerRow| {
        if row.sequence <= last {
            tally.take(&row);
        }
    };
    // A level holds from whenever it was reached.
    let holds =
        |aggregation| matches!(aggregation, Aggregation::TimeWeighted | Aggregation::Latest);
    if active.plan().meters.iter().any(|meter| holds(meter.aggregation)) {
        books.rows_from(1, &mut take)?;
    } else {
        books.rows_since(period.start - AHEAD_MAX, &mut take)?;
    }
    Ok(tally)
}

/// The difference that rows make which were written after the last statement, and belong to closed
/// periods.
fn corrections(books: &dyn Books, closed: &[&Statement]) -> anyhow::Result<Vec<Correction>> {
    let Some(last) = closed.last() else { return Ok(Vec::new()) };
    let mut late: BTreeSet<usize> = BTreeSet::new();
    books.rows_from(last.rows + 1, &mut |row| {
        if !row.committed().is_zero() {
            late.extend(closed.iter().position(|statement| statement.period.contains(row.time)));
        }
    })?;
    let mut corrections = Vec::new();
    for statement in late.into_iter().filter_map(|index| closed.get(index)) {
        let active = plan_of(statement)?;
        let bill = |last| {
            let tally = tally(books, &active, &statement.period, last)?;
            let bill = rate(active.plan(), &tally.usage(&active));
            bill.with_context(|| format!("the statement of {}", statement.period.id))
        };
        corrections.extend(correct(&statement.period.id, &bill(last.rows)?, &bill(u64::MAX)?));
    }
    Ok(corrections)
}

/// The plan that a statement was made with.
///
/// # Errors
/// A text that is no plan any more.
pub fn plan_of(statement: &Statement) -> anyhow::Result<ActivePlan> {
    let file = format!("plan of the statement of {}", statement.period.id);
    let source = Source { file: file.clone(), text: statement.plan_text.clone() };
    let report = Report::default();
    let plan = read_document(Place { source: &source, report: &report }, read_plan);
    let plan =
        plan.filter(|_| !report.has_errors()).with_context(|| format!("{file}: unreadable"))?;
    let mut told = Usage::default();
    let metered = |name: &str| Meter::ALL.iter().any(|meter| meter.name() == name);
    for (name, quantity) in statement.usage.iter().filter(|(name, _)| !metered(name)) {
        told.set(name, *quantity);
    }
    Ok(ActivePlan::new(plan, told))
}

/// How far the close of a period has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseStep {
    /// Nothing is done yet.
    Due,
    /// It is worked out, and not on disk.
    Rated,
    /// It is on disk.
    Stored,
}

/// Closes every period that is over, one after the other, and tells each step. A statement is one
/// record in one commit: whenever the process dies, the period is closed once or not at all, and
/// the next start closes it.
///
/// # Errors
/// A ledger that cannot be read, a plan that cannot rate it, a disk that refuses.
pub fn close_overdue(
    journal: &Journal,
    active: &ActivePlan,
    plan_text: &str,
    zone: Tz,
    now: Timestamp,
    step: &mut dyn FnMut(&Period, CloseStep),
) -> anyhow::Result<Vec<Statement>> {
    let mut closed = Journal::statements(journal)?;
    let known = closed.len();
    let Some(first) = journal.ledger(1).next().transpose()? else { return Ok(Vec::new()) };
    let first = first.time.min(first.recorded);
    loop {
        let last = closed.last();
        let next = overdue(active.plan(), zone, last.map(|last| &last.period), first, now);
        let Some(period) = next else { break };
        step(&period, CloseStep::Due);
        let mut statement = draft(journal, active, &period, &closed)?.statement;
        let prev_hash = last.map_or("", |last| last.hash.as_str());
        statement.seal(plan_text, now, prev_hash);
        step(&period, CloseStep::Rated);
        journal.put_statement(&statement)?;
        step(&period, CloseStep::Stored);
        closed.push(statement);
    }
    Ok(closed.split_off(known))
}

/// Closes overdue periods at the start, and looks for them now and then.
pub(super) async fn run(config: Config, journal: Arc<Journal>, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = block_in_place(|| close_by_config(&config, &journal)) {
            tracing::error!("No statement is made: {error:#}");
        }
        if let Err(error) = block_in_place(|| remind(&config, &journal, clock::now())) {
            tracing::error!("The term of the plan cannot be looked at: {error:#}");
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells in the log that the term of the plan in force ends soon, once; true when it was told.
///
/// # Errors
/// Files that cannot be read, a disk that refuses.
pub fn remind(config: &Config, journal: &Journal, now: Timestamp) -> anyhow::Result<bool> {
    if config.gateway.plan.is_none() {
        return Ok(false);
    }
    // What is wrong with the files is told where they are taken in.
    let Ok(set) = rules::load(config, &config.gateway.rules)? else { return Ok(false) };
    let plan = set.policy.plan.as_ref().map(|active| active.plan());
    let due = plan.and_then(|plan| notice_due(plan, config.gateway.zone, now));
    let Some(due) = due else { return Ok(false) };
    if journal.reminded()?.as_deref() == Some(due.key().as_str()) {
        return Ok(false);
    }
    let (plan, by, ends) = (&due.plan, due.by.to_string(), due.ends.to_string());
    let language = config.gateway.language;
    let (text, remedy) = (due.text(language), due.remedy(language));
    tracing::warn!(plan, by, ends, "The term of the plan ends: {text}. {remedy}.");
    journal.put_reminded(&due.key())?;
    Ok(true)
}

/// Closes what is overdue on the plan that the files put in force; nothing without a plan.
///
/// # Errors
/// Those of [`close_overdue`], and files that cannot be read.
pub fn close_by_config(config: &Config, journal: &Journal) -> anyhow::Result<Vec<Statement>> {
    if config.gateway.plan.is_none() {
        return Ok(Vec::new());
    }
    let Ok(set) = rules::load(config, &config.gateway.rules)? else {
        anyhow::bail!("the files have errors; see `faultgate check`");
    };
    let source = set.sources.iter().find(|source| policy::is_plan(source));
    let (Some(active), Some(source)) = (&set.policy.plan, source) else { return Ok(Vec::new()) };
    let zone = config.gateway.zone;
    close_overdue(journal, active, &source.text, zone, clock::now(), &mut |period, step| {
        if step == CloseStep::Stored {
            tracing::info!(period = period.id, "A period is closed; see `faultgate bill invoice`.");
        }
    })
}
