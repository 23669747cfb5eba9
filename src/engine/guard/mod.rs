//! Stage 5, Incident -> Verdict: the price of a call is set aside before the call is made.
//!
//! Every movement is one row of an append-only ledger, chained by hashes. A reservation is written
//! in the same transaction as the job that it pays for (I3); what came of the call is written in
//! the same transaction as the job's next state (I9).

use rust_decimal::Decimal;

use crate::engine::types::job::{Action, Delivered, JobRecord, Outcome};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use crate::engine::types::time::Timestamp;

/// The end of the chain: what the next row builds on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerEnd {
    /// Sequence number of the last row; 0 before the first.
    pub sequence: u64,
    /// Its hash; empty before the first.
    pub hash: String,
}

/// Who and what a movement is booked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The upstream's id of the ticket, once it is known.
    pub upstream_ticket: Option<String>,
    /// Device that caused it.
    pub device: String,
    /// Rule that caused it.
    pub rule: String,
    /// Site of the device.
    pub site: String,
    /// Customer of the device.
    pub customer: String,
    /// Event time of the fault.
    pub time: Timestamp,
}

/// The rows that set aside what the first attempt of `job` may cost.
pub fn reserve(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
) -> Vec<LedgerRow> {
    let mut book = Book { end, now, job, on, rows: Vec::new() };
    if let Some(meter) = billed_action(&job.action) {
        book.add(meter, Decimal::ONE, LedgerState::Reserved, None);
    }
    book.add(Meter::ApiCall, Decimal::ONE, LedgerState::Reserved, Some(1));
    book.rows
}

/// The rows that say what came of an attempt: the requests that were made, what became of the
/// action itself, and the reservation of the next attempt where there is one.
pub fn settle(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    delivered: &Delivered,
    on: &Account,
) -> Vec<LedgerRow> {
    let mut book = Book { end, now, job, on, rows: Vec::new() };
    let requests = Decimal::from(delivered.requests);
    let (state, qty) = if delivered.requests == 0 {
        (LedgerState::Released, Decimal::ONE)
    } else {
        (LedgerState::Committed, requests)
    };
    book.add(Meter::ApiCall, qty, state, Some(delivered.attempt));
    let action = match &delivered.outcome {
        Outcome::Done { .. } => Some(LedgerState::Committed),
        Outcome::Rejected { .. } => Some(LedgerState::Released),
        Outcome::Unknown { .. } => Some(LedgerState::Ambiguous),
        Outcome::Later { .. } => None,
    };
    if let (Some(meter), Some(state)) = (billed_action(&job.action), action) {
        book.add(meter, Decimal::ONE, state, None);
    }
    match &delivered.outcome {
        Outcome::Later { .. } | Outcome::Unknown { .. } => {
            let next = Some(delivered.attempt.saturating_add(1));
            book.add(Meter::ApiCall, Decimal::ONE, LedgerState::Reserved, next);
        }
        Outcome::Done { .. } | Outcome::Rejected { .. } => {}
    }
    book.rows
}

fn billed_action(action: &Action) -> Option<Meter> {
    match action {
        Action::Open(_) => Some(Meter::TicketCreated),
        Action::Escalate { .. } => Some(Meter::TicketEscalated),
        Action::Comment { .. } | Action::Resolve { .. } | Action::Reopen { .. } => None,
    }
}

struct Book<'a> {
    end: &'a mut LedgerEnd,
    now: Timestamp,
    job: &'a JobRecord,
    on: &'a Account,
    rows: Vec<LedgerRow>,
}

impl Book<'_> {
    fn add(&mut self, meter: Meter, qty: Decimal, state: LedgerState, attempt: Option<u32>) {
        let mut idem = format!("{}/{}", self.job.idempotency_key, meter.name());
        if let Some(attempt) = attempt {
            idem.push_str(&format!("#{attempt}"));
        }
        let mut row = LedgerRow {
            sequence: self.end.sequence + 1,
            meter,
            qty,
            state,
            idem,
            ticket: self.job.key.ticket,
            upstream_ticket: self.on.upstream_ticket.clone(),
            external_ref: self.job.fingerprint.0.clone(),
            action: self.job.action.word().to_owned(),
            device: self.on.device.clone(),
            rule: self.on.rule.clone(),
            site: self.on.site.clone(),
            customer: self.on.customer.clone(),
            severity: self.job.severity,
            time: self.on.time,
            recorded: self.now,
            prev_hash: String::new(),
            hash: String::new(),
        };
        row.seal(&self.end.hash);
        self.end.sequence = row.sequence;
        self.end.hash = row.hash.clone();
        self.rows.push(row);
    }
}
