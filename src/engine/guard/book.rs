//! The rows of the ledger: what is set aside, what came of it.

use rust_decimal::Decimal;

use crate::engine::types::job::{Action, Delivered, JobRecord, JobState, Outcome, Owed};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter, Rung};
use crate::engine::types::severity::Severity;
use crate::engine::types::tariff::Quantities;
use crate::engine::types::ticket::{TicketId, TicketRecord};
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

/// The rows that set aside what of the next attempt of `job` is owed.
pub fn reserve(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
) -> Vec<LedgerRow> {
    let (calls, action) = match job.funds.owed {
        Owed::Nothing => (false, false),
        Owed::Calls => (true, false),
        Owed::Whole => (true, true),
    };
    attempt(end, now, job, on, (LedgerState::Reserved, calls, action))
}

/// The rows that set aside what is set aside for the next attempt of a job that waits.
pub fn set_aside(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
) -> Vec<LedgerRow> {
    waiting(end, now, job, on, LedgerState::Reserved)
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
    waiting(end, now, job, on, LedgerState::Released)
}

/// The row of an attempt that ended with the process: it may have made every request that it might.
pub fn cut_off(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
) -> Vec<LedgerRow> {
    attempt(end, now, job, on, (LedgerState::Ambiguous, true, false))
}

fn waiting(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
    state: LedgerState,
) -> Vec<LedgerRow> {
    let (calls, action) = match job.funds.owed {
        Owed::Nothing => (true, true),
        Owed::Calls => (false, true),
        Owed::Whole => (false, false),
    };
    attempt(end, now, job, on, (state, calls, action))
}

/// Rows of the requests of the next attempt, and of what the action is billed as.
fn attempt(
    end: &mut LedgerEnd,
    now: Timestamp,
    job: &JobRecord,
    on: &Account,
    (state, calls, action): (LedgerState, bool, bool),
) -> Vec<LedgerRow> {
    let mut book = Book { end, now, job, on, rows: Vec::new() };
    if let Some(meter) = billed_action(&job.action).filter(|_| action) {
        book.add(meter, Decimal::ONE, state, None);
    }
    if calls {
        book.add(Meter::ApiCall, calls_of(job), state, Some(next_attempt(job)));
    }
    book.rows
}

fn calls_of(job: &JobRecord) -> Decimal {
    Decimal::from(job.funds.calls.max(1))
}

/// What is owed for the next attempt of a job.
pub fn owed(job: &JobRecord) -> Quantities {
    let calls = Quantities::ZERO.with(Meter::ApiCall, calls_of(job));
    match (job.funds.owed, billed_action(&job.action)) {
        (Owed::Nothing, _) => Quantities::ZERO,
        (Owed::Whole, Some(meter)) => calls.with(meter, Decimal::ONE),
        (Owed::Calls, _) | (Owed::Whole, None) => calls,
    }
}

fn next_attempt(job: &JobRecord) -> u32 {
    match &job.state {
        JobState::Waiting { attempts, .. } | JobState::Dead { attempts, .. } => {
            attempts.saturating_add(1)
        }
    }
}

/// The rows that say what came of an attempt: the requests that were made, and what became of the
/// action itself.
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
        (LedgerState::Released, calls_of(job))
    } else {
        (LedgerState::Committed, requests)
    };
    book.add(Meter::ApiCall, qty, state, Some(delivered.attempt));
    let action = match &delivered.outcome {
        Outcome::Done { .. } => Some(LedgerState::Committed),
        Outcome::Rejected { .. } | Outcome::Gone { .. } => Some(LedgerState::Released),
        Outcome::Unknown { .. } if seeded::has(Bug::BookedBeforeDone) => {
            Some(LedgerState::Committed)
        }
        Outcome::Unknown { .. } => Some(LedgerState::Ambiguous),
        Outcome::Later { .. } | Outcome::Held { .. } => None,
    };
    if let (Some(meter), Some(state)) = (billed_action(&job.action), action) {
        book.add(meter, Decimal::ONE, state, None);
    }
    book.rows
}

/// The meter that an action moves besides the requests that it takes.
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
        let movement = Movement {
            meter,
            qty,
            state,
            idem,
            ticket: self.job.key.ticket,
            external_ref: &self.job.fingerprint.0,
            action: self.job.action.word(),
            severity: self.job.severity,
            time: self.time(),
        };
        self.rows.push(append(self.end, self.now, movement, self.on));
    }
}

/// What a row says besides whom it is booked on.
struct Movement<'a> {
    meter: Meter,
    qty: Decimal,
    state: LedgerState,
    idem: String,
    ticket: TicketId,
    external_ref: &'a str,
    action: &'static str,
    severity: Severity,
    time: Timestamp,
}

fn append(end: &mut LedgerEnd, now: Timestamp, movement: Movement<'_>, on: &Account) -> LedgerRow {
    let mut row = LedgerRow {
        sequence: end.sequence + 1,
        meter: movement.meter,
        qty: movement.qty,
        state: movement.state,
        idem: movement.idem,
        ticket: movement.ticket,
        upstream_ticket: on.upstream_ticket.clone(),
        external_ref: movement.external_ref.to_owned(),
        action: movement.action.to_owned(),
        device: on.device.clone(),
        rule: on.rule.clone(),
        site: on.site.clone(),
        customer: on.customer.clone(),
        region: on.region.clone(),
        device_class: on.device_class.clone(),
        revision: on.revision.clone(),
        plan: on.plan.clone(),
        budget_rung: on.rung,
        reverses: None,
        severity: movement.severity,
        time: movement.time,
        recorded: now,
        prev_hash: String::new(),
        hash: String::new(),
    };
    row.seal(&end.hash);
    end.sequence = row.sequence;
    end.hash = row.hash.clone();
    row
}

/// The row of a visit: an engineer came to the ticket's site. Each arrival is one.
pub fn visit(
    end: &mut LedgerEnd,
    now: Timestamp,
    ticket: &TicketRecord,
    on: &Account,
) -> LedgerRow {
    let (meter, fingerprint) = (Meter::ServiceVisit, &ticket.fingerprint);
    let movement = Movement {
        meter,
        qty: Decimal::ONE,
        state: LedgerState::Committed,
        idem: format!("{fingerprint}-visit-{}/{}", now.micros(), meter.name()),
        ticket: ticket.id,
        external_ref: &fingerprint.0,
        action: "visit",
        severity: ticket.severity,
        time: now,
    };
    append(end, now, movement, on)
}

/// What was measured over a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// What.
    pub meter: Meter,
    /// How much.
    pub quantity: Decimal,
    /// When the stretch began.
    pub start: Timestamp,
    /// Id of the gateway.
    pub gateway: &'a str,
    /// Id of the price plan that is active; empty for none.
    pub plan: &'a str,
    /// How much of the budgets is used up; `None` without a budget.
    pub rung: Option<Rung>,
}

/// The row of what was measured: of no ticket and of nobody's device.
pub fn measured(end: &mut LedgerEnd, now: Timestamp, what: &Measured<'_>) -> LedgerRow {
    let on = Account {
        upstream_ticket: None,
        device: String::new(),
        rule: String::new(),
        site: String::new(),
        customer: String::new(),
        region: String::new(),
        device_class: String::new(),
        revision: String::new(),
        plan: what.plan.to_owned(),
        rung: what.rung,
        time: what.start,
    };
    let movement = Movement {
        meter: what.meter,
        qty: what.quantity,
        state: LedgerState::Committed,
        idem: format!("{}/{}/{}", what.gateway, what.start, what.meter.name()),
        ticket: TicketId(0),
        external_ref: "",
        action: "measure",
        severity: Severity::Info,
        time: what.start,
    };
    append(end, now, movement, &on)
}

/// The row that takes another one back: the same movement with the opposite quantity, at its time,
/// so that it counts in its period.
pub fn take_back(end: &mut LedgerEnd, now: Timestamp, taken: &LedgerRow) -> LedgerRow {
    let mut row = LedgerRow {
        sequence: end.sequence + 1,
        qty: -taken.qty,
        idem: format!("{}#taken-back", taken.idem),
        reverses: Some(taken.sequence),
        recorded: now,
        ..taken.clone()
    };
    row.seal(&end.hash);
    end.sequence = row.sequence;
    end.hash = row.hash.clone();
    row
}
