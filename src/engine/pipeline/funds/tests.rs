//! No attempt is made that no budget pays for, safety excepted; and none is forgotten.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::config;
use crate::engine::guard::LedgerEnd;
use crate::engine::pipeline::{Engine, Snapshot};
use crate::engine::policy::{self, Policy};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, Signature};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::{Input, OperatorAction};
use crate::engine::types::job::{Allowance, Call, Delivered, JobKey, JobRecord, JobState, Outcome};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// A ticket costs nothing, a request 1.00.
const PLAN: &str = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[plan.period]\ntimezone = \"UTC\"\n\
                    [[line]]\nid = \"a\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"1.00\"\n";

fn policy(safety: bool, amount: &str) -> Policy {
    let rule = format!(
        "[[rule]]\nid = \"hot\"\nwhen = \"t > 8\"\nseverity = \"major\"\nsafety = {safety}\n"
    );
    let budget = format!(
        "[[budget]]\nid = \"all\"\namount = \"{amount}\"\nthresholds = {{ amber = 100, red = 100 }}\n"
    );
    let files = [("plan.toml", PLAN.to_owned()), ("rule.toml", rule), ("budgets.toml", budget)];
    let files = files.map(|(file, text)| Source { file: file.into(), text });
    let report = Report::default();
    let policy = policy::compile(&files, &["desk"], &report);
    policy.unwrap_or_else(|| panic!("{:#?}", report.into_sorted()))
}

/// An engine and its store; an upstream that does what it is told to.
struct Plant {
    engine: Engine,
    safety: bool,
    amount: &'static str,
    now: Timestamp,
    rows: Vec<LedgerRow>,
    jobs: BTreeMap<JobKey, JobRecord>,
    tickets: BTreeMap<TicketId, TicketRecord>,
    alarms: BTreeMap<AlarmId, AlarmRecord>,
    devices: BTreeMap<String, DeviceFacts>,
    calls: Vec<Call>,
}

fn engine(
    safety: bool,
    amount: &str,
    stored: Snapshot,
    now: Timestamp,
    effects: &mut Effects,
) -> Engine {
    let loaded = config::load(None, &Report::default()).expect("reads");
    let mut settings = loaded.config.expect("defaults").settings().expect("settings");
    settings.settle = TimeSpan::ZERO;
    settings.allowances.insert("desk".to_owned(), Allowance { open: 2, follow: 1 });
    let mut engine = Engine::restore(settings, policy(safety, amount), stored, now, effects);
    engine.rebook(now, std::iter::empty());
    engine
}

impl Plant {
    fn new(safety: bool, amount: &'static str) -> Plant {
        let now = Timestamp::parse_rfc3339("2026-03-02T08:00:00Z").expect("a time");
        let engine = engine(safety, amount, Snapshot::default(), now, &mut Effects::default());
        let (rows, calls) = (Vec::new(), Vec::new());
        let (jobs, tickets) = (BTreeMap::new(), BTreeMap::new());
        let (alarms, devices) = (BTreeMap::new(), BTreeMap::new());
        Plant { engine, safety, amount, now, rows, jobs, tickets, alarms, devices, calls }
    }

    /// With a freezer that is too warm.
    fn with_a_fault(safety: bool, amount: &'static str) -> Plant {
        let mut plant = Plant::new(safety, amount);
        plant.says("fz-1", 9.0);
        plant
    }

    fn says(&mut self, device: &str, value: f64) {
        let facts = DeviceFacts { id: device.to_owned(), ..DeviceFacts::default() };
        let readings = vec![("t".to_owned(), Reading::Good(Value::Float(value)))];
        self.step(Input::Readings { facts, at: self.now, readings });
    }

    fn step(&mut self, input: Input) {
        let mut effects = Effects::default();
        self.engine.step(self.now, input, &mut effects);
        self.store(effects);
    }

    fn store(&mut self, effects: Effects) {
        for write in effects.writes {
            if let Write::Ledger(row) = write {
                self.rows.push(*row);
            } else if let Write::Job(job) = write {
                self.jobs.insert(job.key, *job);
            } else if let Write::JobGone(key) = write {
                self.jobs.remove(&key);
            } else if let Write::Ticket(ticket) = write {
                self.tickets.insert(ticket.id, *ticket);
            } else if let Write::Alarm(alarm) = write {
                self.alarms.insert(alarm.id.clone(), *alarm);
            } else if let Write::Device(device) = write {
                self.devices.insert(device.id.clone(), *device);
            }
        }
        self.calls.extend(effects.calls);
    }

    /// Lets time pass; every call ends as `ends` says of it: requests, whether it fell short, outcome.
    fn pass(&mut self, span: TimeSpan, ends: impl Fn(&Call) -> (u32, bool, Outcome)) {
        let end = self.now + span;
        loop {
            for call in std::mem::take(&mut self.calls) {
                let (requests, is_short, outcome) = ends(&call);
                assert!(requests <= call.requests_max, "{call:?}");
                let Call { key, attempt, .. } = call;
                self.step(Input::Delivered(Delivered {
                    key,
                    attempt,
                    requests,
                    is_short,
                    outcome,
                }));
            }
            match self.engine.next_wakeup().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.step(Input::Tick);
        }
        self.now = end;
    }

    /// An operator has every dead letter sent again.
    fn retry_all(&mut self) {
        let dead = self.jobs.values().filter(|job| matches!(job.state, JobState::Dead { .. }));
        let dead: Vec<JobKey> = dead.map(|job| job.key).collect();
        for key in dead {
            let (via, reason) = ("cli".to_owned(), String::new());
            let signature = Signature { by: "li".to_owned(), at: self.now, via, reason };
            let action = OperatorAction::Retry(key);
            self.step(Input::Operator { action, signature });
        }
    }

    /// Lets time pass in which no call ends.
    fn pass_quietly(&mut self, span: TimeSpan) {
        let end = self.now + span;
        while let Some(at) = self.engine.next_wakeup().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    /// The process is killed, and started again later.
    fn restart(&mut self, after: TimeSpan) {
        self.now = self.now + after;
        self.calls.clear();
        let end = |last: &LedgerRow| LedgerEnd { sequence: last.sequence, hash: last.hash.clone() };
        let ledger = self.rows.last().map(end).unwrap_or_default();
        let stored = Snapshot {
            jobs: self.jobs.values().cloned().collect(),
            tickets: self.tickets.values().cloned().collect(),
            alarms: self.alarms.values().cloned().collect(),
            devices: self.devices.values().cloned().collect(),
            alive_at: Some(self.now),
            ledger,
            ..Snapshot::default()
        };
        let mut effects = Effects::default();
        self.engine = engine(self.safety, self.amount, stored, self.now, &mut effects);
        let rows = self.rows.clone();
        self.engine.rebook(self.now, rows.into_iter());
        self.store(effects);
        self.step(Input::Tick);
    }

    fn spent(&self) -> Decimal {
        let spent = self.rows.iter().filter(|row| row.meter == Meter::ApiCall);
        spent.map(LedgerRow::committed).sum()
    }

    fn reasons(&self) -> Vec<&str> {
        self.jobs.values().map(JobRecord::reason).collect()
    }
}

const HOUR: TimeSpan = TimeSpan::from_secs(3_600);

fn unavailable(_: &Call) -> (u32, bool, Outcome) {
    (1, false, Outcome::Later { reason: "503".to_owned(), after: None })
}

fn done(_: &Call) -> (u32, bool, Outcome) {
    (1, false, Outcome::Done { external: "1".to_owned(), found: false })
}

#[test]
fn retries_end_where_the_money_does_say_so_and_go_on_with_the_next_period() {
    let mut plant = Plant::with_a_fault(false, "6.00");
    plant.pass(TimeSpan::from_secs(36_000), unavailable);
    // One is kept back for closing, and an attempt may take two.
    assert_eq!(plant.spent(), Decimal::from(4));
    assert_eq!(plant.reasons(), ["the budget does not pay for another attempt; before: 503"]);
    // April.
    plant.pass(TimeSpan::from_secs(30 * 86_400), done);
    assert_eq!(plant.jobs.len(), 0);
    assert_eq!(plant.spent(), Decimal::from(5));
}

#[test]
fn a_job_of_a_store_that_bounded_no_requests_may_make_what_is_ordinary() {
    let mut plant = Plant::with_a_fault(false, "6.00");
    for job in plant.jobs.values_mut() {
        let mut old = serde_json::to_value(&*job).expect("JSON");
        old.as_object_mut().expect("an object").remove("funds");
        *job = serde_json::from_value(old).expect("an older record is read");
    }
    plant.restart(TimeSpan::from_secs(5));
    assert_eq!(plant.calls.iter().map(|call| call.requests_max).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_safety_fault_is_tried_again_whatever_the_budget_says() {
    let mut plant = Plant::with_a_fault(true, "6.00");
    plant.pass(HOUR, unavailable);
    assert!(plant.spent() > Decimal::from(12), "{}", plant.spent());
}

#[test]
fn an_attempt_that_fell_short_of_requests_may_make_twice_as_many_where_they_are_paid_for() {
    let mut plant = Plant::with_a_fault(false, "9.00");
    let short = |call: &Call| match call.requests_max {
        2 => (2, true, Outcome::Held { reason: "short".to_owned(), after: None }),
        most => (most, false, Outcome::Done { external: "1".to_owned(), found: false }),
    };
    plant.pass(HOUR, short);
    assert_eq!((plant.spent(), plant.jobs.len()), (Decimal::from(6), 0));
    let mut poor = Plant::with_a_fault(false, "5.00");
    poor.pass(HOUR, short);
    assert_eq!((poor.spent(), poor.jobs.len()), (Decimal::from(2), 1));
}

#[test]
fn what_was_under_way_when_the_process_was_killed_counts_and_is_looked_up_when_there_is_money() {
    let mut plant = Plant::with_a_fault(false, "5.00");
    assert_eq!(plant.calls.len(), 1);
    plant.restart(TimeSpan::from_secs(5));
    let lost: Vec<_> =
        plant.rows.iter().filter(|row| row.state == LedgerState::Ambiguous).collect();
    assert!(
        matches!(lost.as_slice(), [row] if row.qty == Decimal::TWO && row.meter == Meter::ApiCall)
    );
    // Two may have been made, one closes the ticket: two are left for the look-up.
    assert_eq!(plant.calls.iter().map(|call| call.in_doubt.is_some()).collect::<Vec<_>>(), [true]);
    plant.restart(TimeSpan::from_secs(5));
    plant.pass(HOUR, done);
    assert_eq!(plant.spent(), Decimal::ZERO, "nothing is left for a third attempt");
    assert_eq!(plant.reasons(), ["the budget does not pay for another attempt"]);
    let found = |call: &Call| {
        assert!(call.in_doubt.is_some(), "it is looked up, not sent again");
        (1, false, Outcome::Done { external: "1".to_owned(), found: true })
    };
    plant.pass(TimeSpan::from_secs(31 * 86_400), found);
    assert_eq!(plant.jobs.len(), 0);
}

/// By how much what a history really cost at 1.00 a request, kills and all, passed what it was not to
/// pass at some time. Without `is_bound` the budget is far away.
fn overshoot(is_bound: bool, random: &mut dyn FnMut(u32) -> u32) -> u64 {
    const AMOUNTS: [(&str, u64); 4] = [("6.00", 6), ("15.00", 15), ("25.00", 25), ("40.00", 40)];
    let (amount, cap) = AMOUNTS[random(4) as usize];
    let mut plant = Plant::new(false, if is_bound { amount } else { "100000.00" });
    let (mut real, mut warm) = (0, [false; 5]);
    for _ in 0..80 {
        match random(12) {
            0..4 => {
                let device = random(5) as usize;
                warm[device] = !warm[device];
                plant.says(&format!("fz-{device}"), if warm[device] { 9.0 } else { 1.0 });
            }
            4 => {
                // Killed: what was under way may have been made.
                let made = plant.calls.iter().map(|call| u64::from(random(call.requests_max + 1)));
                real += made.sum::<u64>();
                plant.restart(TimeSpan::from_secs(i64::from(random(600))));
            }
            7 => plant.retry_all(),
            5 | 6 => plant.pass_quietly(TimeSpan::from_secs(i64::from(random(900)))),
            _ if plant.calls.is_empty() => {}
            _ => {
                let call = plant.calls.remove(random(plant.calls.len() as u32) as usize);
                let requests = random(call.requests_max + 1);
                let (is_short, reason) = (random(4) == 0, "x".to_owned());
                let outcome = match random(6) {
                    0 => Outcome::Later { reason, after: None },
                    1 => Outcome::Unknown { reason },
                    2 => Outcome::Rejected { reason },
                    3 => Outcome::Held { reason, after: None },
                    _ => Outcome::Done { external: call.key.ticket.to_string(), found: false },
                };
                real += u64::from(requests);
                let Call { key, attempt, .. } = call;
                plant.step(Input::Delivered(Delivered {
                    key,
                    attempt,
                    requests,
                    is_short,
                    outcome,
                }));
            }
        }
    }
    real.saturating_sub(cap)
}

#[test]
fn no_history_of_faults_failures_retries_and_kills_passes_the_amount_by_its_requests() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        ((seed >> 33) as u32) % below.max(1)
    };
    let bound = (0..150).map(|_| overshoot(true, &mut random)).max();
    assert_eq!(bound, Some(0));
    // The same kind of histories pass it where no budget holds them.
    let free = (0..50).filter(|_| overshoot(false, &mut random) > 0).count();
    assert!(free > 25, "{free} of 50");
}
