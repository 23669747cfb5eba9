//! The rows of the ledger: what is set aside, what came of it.

use rust_decimal::Decimal;

use crate::engine::types::job::{Action, Delivered, JobRecord, JobState, Outcome};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter, Rung};
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

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
    /// Region of the device.
    pub region: String,
    /// Class of the device.
    pub device_class: String,
    /// Revision of the rule.
    pub revision: String,
    /// Id of the price plan that is active; empty for none.
    pub plan: String,
    /// How much of the budgets is used up; `None` without a budget.
    pub rung: Option<Rung>,
    /// Event time of the fault that opened the ticket.
    pub time: Timestamp,
}

/// The rows that set aside what the next attempt of `job` may cost.
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
    book.add(Meter::ApiCall, Decimal::ONE, LedgerState::Reserved, Some(next_attempt(job)));
    book.rows
}

/// The rows that give back what was set aside for a job that is never sent.
pub fn release(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
) -> Vec<LedgerRow> {
    if matches!(job.state, JobState::Dead { .. }) {
        return Vec::new();
    }
    let mut book = Book { end, now, job, on, rows: Vec::new() };
    if let Some(meter) = billed_action(&job.action) {
        book.add(meter, Decimal::ONE, LedgerState::Released, None);
    }
    book.add(Meter::ApiCall, Decimal::ONE, LedgerState::Released, Some(next_attempt(job)));
    book.rows
}

fn next_attempt(job: &JobRecord) -> u32 {
    match &job.state {
        JobState::Waiting { attempts, .. } | JobState::Dead { attempts, .. } => {
            attempts.saturating_add(1)
        }
    }
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
        Outcome::Unknown { .. } if seeded::has(Bug::BookedBeforeDone) => {
            Some(LedgerState::Committed)
        }
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

/// The meter that an action moves besides the requests that it takes.
pub(super) fn billed_action(action: &Action) -> Option<Meter> {
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
    // An opening belongs to the time of its fault; whatever is done on the ticket later, weeks
    // later perhaps, to the time at which it was decided.
    fn time(&self) -> Timestamp {
        match &self.job.action {
            Action::Open(_) => self.on.time,
            Action::Comment { .. }
            | Action::Escalate { .. }
            | Action::Resolve { .. }
            | Action::Reopen { .. } => self.job.created_at,
        }
    }

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
            region: self.on.region.clone(),
            device_class: self.on.device_class.clone(),
            revision: self.on.revision.clone(),
            plan: self.on.plan.clone(),
            budget_rung: self.on.rung,
            reverses: None,
            severity: self.job.severity,
            time: self.time(),
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
