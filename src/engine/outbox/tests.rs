//! Which call goes when.

use super::*;
use crate::engine::types::alarm::Fingerprint;
use crate::engine::types::job::{Funds, Owed};

fn job(ticket: u64, number: u32, severity: Severity) -> JobRecord {
    let created_at = Timestamp::from_millis(i64::try_from(ticket).unwrap_or(0));
    JobRecord {
        key: JobKey { ticket: TicketId(ticket), number },
        upstream: "desk".into(),
        fingerprint: Fingerprint("f".into()),
        idempotency_key: format!("f{ticket}-{number}"),
        severity,
        created_at,
        action: Action::Comment { text: String::new() },
        state: JobState::Waiting {
            attempts: 0,
            not_before: created_at,
            in_doubt_since: None,
            sent: false,
            reason: String::new(),
        },
        funds: Funds { calls: 1, owed: Owed::Nothing },
    }
}

fn taken(outbox: &mut Outbox, now: Timestamp) -> Vec<(u64, u32)> {
    let calls = outbox.take_ready(now, |_| Some("1".into()));
    calls.iter().map(|call| (call.key.ticket.0, call.key.number)).collect()
}

fn end(outbox: &mut Outbox, now: Timestamp, ticket: u64, number: u32, outcome: Outcome) -> Fate {
    let key = JobKey { ticket: TicketId(ticket), number };
    let delivered = Delivered { key, attempt: 1, requests: 1, is_short: false, outcome };
    outbox.delivered(now, &delivered).expect("the job was under way")
}

fn done() -> Outcome {
    Outcome::Done { external: "1".into(), found: false }
}

#[test]
fn one_ticket_goes_in_order_and_tickets_do_not_wait_for_each_other() {
    let now = Timestamp::from_millis(1_000);
    let mut outbox = Outbox::default();
    for (ticket, number) in [(1, 1), (1, 2), (2, 1)] {
        outbox.add(job(ticket, number, Severity::Major));
    }
    assert_eq!(taken(&mut outbox, now), [(1, 1), (2, 1)]);
    assert_eq!(taken(&mut outbox, now), []);
    end(&mut outbox, now, 1, 1, done());
    assert_eq!(taken(&mut outbox, now), [(1, 2)]);
}

#[test]
fn the_most_severe_goes_first_then_the_oldest_and_never_more_than_the_upstream_takes() {
    let now = Timestamp::from_millis(1_000);
    let mut outbox = Outbox::default();
    for ticket in 1..=10 {
        outbox.add(job(ticket, 1, Severity::Minor));
    }
    outbox.add(job(11, 1, Severity::Critical));
    let first: Vec<u64> = taken(&mut outbox, now).iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(first, [11, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_job_that_is_put_off_holds_back_its_own_ticket_only() {
    let now = Timestamp::from_millis(1_000);
    let mut outbox = Outbox::default();
    outbox.add(job(1, 1, Severity::Major));
    outbox.add(job(1, 2, Severity::Major));
    assert_eq!(taken(&mut outbox, now), [(1, 1)]);
    let fate = end(&mut outbox, now, 1, 1, Outcome::Unknown { reason: "time-out".into() });
    let Fate::Again(record, at) = fate else { panic!("{fate:?}") };
    assert!(matches!(record.state, JobState::Waiting { in_doubt_since: Some(_), .. }));
    assert_eq!(taken(&mut outbox, now), []);
    assert_eq!(outbox.next_wakeup(), Some(at));
    let calls = outbox.take_ready(at, |_| None);
    assert_eq!(calls.iter().map(|call| call.in_doubt).collect::<Vec<_>>(), [Some(at.since(now))]);
}

#[test]
fn a_refused_comment_is_kept_for_the_operator_and_blocks_nothing() {
    let now = Timestamp::from_millis(1_000);
    let mut outbox = Outbox::default();
    outbox.add(job(1, 1, Severity::Major));
    outbox.add(job(1, 2, Severity::Major));
    assert_eq!(taken(&mut outbox, now), [(1, 1)]);
    end(&mut outbox, now, 1, 1, Outcome::Rejected { reason: "no such queue".into() });
    assert_eq!(taken(&mut outbox, now), [(1, 2)]);
    let key = JobKey { ticket: TicketId(1), number: 1 };
    let told = |_| Action::Comment { text: "late".into() };
    let again = outbox.retry(now, key, told).map(|job| job.action);
    assert_eq!(again, Some(Action::Comment { text: "late".into() }), "as what it is by now");
}
#[test]
fn after_a_restart_what_was_handed_over_is_looked_up_and_what_waited_is_not() {
    let now = Timestamp::from_millis(1_000);
    let mut outbox = Outbox::new([("desk".to_owned(), 1)].into());
    outbox.add(job(1, 1, Severity::Major));
    outbox.add(job(2, 1, Severity::Major));
    assert_eq!(taken(&mut outbox, now), [(1, 1)]);
    let stored: Vec<JobRecord> = outbox.jobs().cloned().collect();
    for is_from_backup in [false, true] {
        let mut outbox = Outbox::default();
        for job in stored.clone() {
            outbox.restore(now, job, is_from_backup);
        }
        let calls = outbox.take_ready(now, |_| None);
        let looked_up: Vec<bool> = calls.iter().map(|call| call.in_doubt.is_some()).collect();
        assert_eq!(looked_up, [true, is_from_backup]);
    }
}
