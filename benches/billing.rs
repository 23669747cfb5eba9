//! What money takes: rating a month, and a ledger of a million rows verified and billed.
//!
//! `cargo bench --bench billing`. CPU time of this thread, as other work on the machine slows wall
//! time down, but for what all cores do together. Nothing is asserted: machines differ.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]

use faultgate::engine::billing::Statement;
use faultgate::engine::rating::{ActivePlan, Plan, Usage, rate, read_plan};
use faultgate::engine::types::chain::Chain;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::effect::Write;
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use faultgate::engine::types::period::Calendar;
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::TicketId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::journal::Journal;
use faultgate::io::store::StoreOptions;
use faultgate::service::billing::draft;
use faultgate::service::verify::verify;
use rust_decimal::Decimal;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u32 = 100_000;
const ROWS: u64 = 1_000_000;

fn main() {
    let combo = plan(include_str!("../tests/billing/plan-combo.toml"));
    let usage = r#"{"seats": "14", "sites": "6", "ticket.created": "4321", "api.call": "345678",
        "storage.gb_month": "52.375", "device.peak": "275"}"#;
    let usage = Usage::from_json(usage).unwrap();
    let began = cpu();
    for _ in 0..ROUNDS {
        std::hint::black_box(rate(std::hint::black_box(&combo), &usage).unwrap());
    }
    println!("rate the combo plan: {:.2} us", (cpu() - began) * 1e6 / f64::from(ROUNDS));

    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    let period = Calendar::months(chrono_tz::Tz::UTC).named("2026-03").unwrap();
    fill(&journal, period.start);

    let began = cpu();
    let mut chain = Chain::default();
    for record in journal.ledger_bytes(1) {
        chain.take(&record.unwrap().1).unwrap();
    }
    let (rows, _) = chain.finish().unwrap();
    let took = cpu() - began;
    println!("verify {rows} rows on one core: {took:.2} s, {:.0} rows/s", rows as f64 / took);

    let began = wall();
    let (rows, _) = verify(&journal).unwrap().unwrap();
    let took = wall() - began;
    println!("verify {rows} rows on all: {took:.2} s (wall), {:.0} rows/s", rows as f64 / took);

    let active = ActivePlan::new(
        plan(include_str!("../tests/billing/plan-tiered-standard.toml")),
        Usage::default(),
    );
    let began = cpu();
    let Statement { total, rows, .. } = draft(&journal, &active, &period, &[]).unwrap().statement;
    println!("bill a month of {rows} rows: {:.2} s, {total}", cpu() - began);
}

fn plan(text: &str) -> Plan {
    let source = Source { file: String::new(), text: text.to_owned() };
    read_document(Place { source: &source, report: &Report::default() }, read_plan).unwrap()
}

fn fill(journal: &Journal, start: Timestamp) {
    let mut hash = String::new();
    let mut batch = Vec::new();
    for sequence in 1..=ROWS {
        let time = start + TimeSpan::from_millis(i64::try_from(sequence).unwrap() * 2_000);
        let mut row = LedgerRow {
            sequence,
            meter: if sequence % 2 == 0 { Meter::TicketCreated } else { Meter::ApiCall },
            qty: Decimal::ONE,
            state: LedgerState::Committed,
            idem: format!("0123456789abcdef{sequence:016x}-1/x"),
            ticket: TicketId(sequence),
            upstream_ticket: Some(format!("UP-{sequence}")),
            external_ref: format!("0123456789abcdef{sequence:016x}"),
            action: "open".into(),
            device: format!("fz-{}", sequence % 1_000),
            rule: "freezer-warm".into(),
            site: format!("site-{}", sequence % 40),
            customer: "acme".into(),
            region: "east".into(),
            device_class: "freezer".into(),
            revision: "0123456789ab".into(),
            plan: "tiered-standard".into(),
            budget_rung: None,
            reverses: None,
            severity: Severity::Major,
            time,
            recorded: time,
            prev_hash: String::new(),
            hash: String::new(),
        };
        row.seal(&hash);
        hash.clone_from(&row.hash);
        batch.push(Write::Ledger(Box::new(row)));
        if batch.len() == 2_000 {
            journal.commit(&batch).unwrap();
            batch.clear();
        }
    }
    journal.commit(&batch).unwrap();
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// Seconds on the wall, for what several threads do.
fn wall() -> f64 {
    seconds(ClockId::Monotonic)
}

fn seconds(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
