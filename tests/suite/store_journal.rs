//! What the engine writes comes back after a restart, and one bad record spoils no other.

use std::path::Path;

use faultgate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState, Fingerprint, Signature};
use faultgate::engine::types::audit::AuditRecord;
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::effect::Write;
use faultgate::engine::types::job::{Action, JobKey, JobRecord, JobState};
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::TicketId;
use faultgate::engine::types::time::Timestamp;
use faultgate::io::journal::{Dated, Journal};
use faultgate::io::store::{Store, StoreError, StoreOptions};

fn open(dir: &Path) -> Journal {
    Journal::open(dir, StoreOptions::default()).unwrap().0
}

fn alarm(device: &str) -> AlarmRecord {
    let key = vec!["E/1".into()];
    let id = AlarmId { rule: "冷柜过热".into(), device: device.into(), key };
    AlarmRecord {
        state: AlarmState::Unacknowledged { clearing: Some(Timestamp::from_millis(5)) },
        changed_at: Timestamp::from_millis(5),
        ..AlarmRecord::new(id, "r1".into())
    }
}

fn job(ticket: u64, number: u32) -> JobRecord {
    JobRecord {
        key: JobKey { ticket: TicketId(ticket), number },
        upstream: "desk".into(),
        fingerprint: Fingerprint("f".into()),
        idempotency_key: format!("f-{number}"),
        severity: Severity::Major,
        created_at: Timestamp::EPOCH,
        action: Action::Comment { text: "温度恢复".repeat(9_000) },
        state: JobState::Waiting {
            attempts: 1,
            not_before: Timestamp::EPOCH,
            in_doubt_since: Some(Timestamp::EPOCH),
            sent: false,
            reason: "timed out".into(),
        },
        funds: Default::default(),
    }
}

fn row(sequence: u64) -> LedgerRow {
    let mut row = LedgerRow {
        sequence,
        meter: Meter::ApiCall,
        qty: "1.25".parse().unwrap(),
        state: LedgerState::Committed,
        idem: format!("f-{sequence}/api.call"),
        ticket: TicketId(1),
        upstream_ticket: None,
        external_ref: "f".into(),
        action: "open".into(),
        device: "冷柜-1".into(),
        rule: "r".into(),
        site: String::new(),
        customer: String::new(),
        region: String::new(),
        device_class: String::new(),
        revision: String::new(),
        plan: String::new(),
        budget_rung: None,
        reverses: None,
        severity: Severity::Minor,
        time: Timestamp::EPOCH,
        recorded: Timestamp::EPOCH,
        prev_hash: String::new(),
        hash: String::new(),
    };
    row.seal("before");
    row
}

fn device(id: &str) -> DeviceFacts {
    DeviceFacts { id: id.into(), ..DeviceFacts::default() }
}

#[test]
fn every_record_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let long = "机".repeat(400);
    let writes = vec![
        Write::Alarm(Box::new(alarm("冷柜-1"))),
        Write::Alarm(Box::new(alarm(&long))),
        Write::Alarm(Box::new(alarm(&format!("{long}2")))),
        Write::Job(Box::new(job(3, 1))),
        Write::Job(Box::new(job(3, 2))),
        Write::Device(Box::new(device("冷柜-1"))),
    ];
    {
        let journal = open(dir.path());
        journal.commit(&writes).unwrap();
        let gone = job(3, 1).key;
        journal.commit(&[Write::JobGone(gone), Write::JobGone(gone)]).unwrap();
    }
    let found = open(dir.path()).load().unwrap();
    let expected = [alarm("冷柜-1"), alarm(&long), alarm(&format!("{long}2"))];
    assert_eq!(found.alarms.len(), 3);
    assert!(expected.iter().all(|alarm| found.alarms.contains(alarm)));
    assert_eq!(found.jobs, [job(3, 2)]);
    assert_eq!(found.devices, [device("冷柜-1")]);
    assert_eq!((found.last_ticket, found.last_ledger_row), (0, None));
}

#[test]
fn ledger_rows_come_in_order_from_any_row_on_and_are_intact() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let rows: Vec<Write> = (1..=1_200).map(|n| Write::Ledger(Box::new(row(n)))).collect();
    journal.commit(&rows).unwrap();
    let read: Vec<LedgerRow> = journal.ledger(999).map(Result::unwrap).collect();
    assert_eq!(read, (999..=1_200).map(row).collect::<Vec<_>>());
    assert!(read.iter().all(LedgerRow::is_intact));
    assert_eq!(journal.load().unwrap().last_ledger_row, Some(row(1_200)));
}

#[test]
fn records_that_cannot_be_read_are_set_aside_and_told_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let good = Write::Alarm(Box::new(alarm("good")));
    open(dir.path()).commit(&[good, Write::Ledger(Box::new(row(1)))]).unwrap();
    {
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let bad = |key: &str, value: &str| (key.into(), Some(value.into()));
        let ticket = "t/00000000000000000077";
        let last_row = "l/00000000000000000002";
        let batch = vec![bad("a/bad", "{"), bad(ticket, "[]"), bad(last_row, "")];
        store.commit(batch).unwrap();
    }
    let journal = open(dir.path());
    let found = journal.load().unwrap();
    assert_eq!(found.alarms, [alarm("good")]);
    assert_eq!(found.last_ledger_row, Some(row(1)));
    assert_eq!(found.last_ticket, 77, "a number is never given twice");
    let keys: Vec<&str> = found.quarantined.iter().map(|lost| lost.key.as_str()).collect();
    assert_eq!(keys, ["a/bad", "t/00000000000000000077", "l/00000000000000000002"]);
    assert_eq!(journal.store().get(b"q/a/bad").unwrap(), Some(b"{".to_vec()));
    let again = journal.load().unwrap();
    assert_eq!((again.quarantined.len(), again.last_ticket), (0, 77));
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        store.commit(vec![(b"m/schema".to_vec(), Some(b"999".to_vec()))]).unwrap();
    }
    let refused = Journal::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 999, .. }), "{refused}");
}

#[test]
fn a_store_of_an_older_version_is_brought_up_once() {
    let dir = tempfile::tempdir().unwrap();
    let waiting = r#""state":{"state":"waiting","attempts":1,"not_before":"1970-01-01T00:00:00Z","uncertain":false,"reason":"503"}"#;
    let dead =
        r#""state":{"state":"dead","at":"1970-01-01T00:00:00Z","reason":"404","attempts":2}"#;
    {
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let mut batch = vec![(b"m/schema".to_vec(), Some(b"1".to_vec()))];
        for number in 1..=600 {
            let state = if number % 2 == 0 { dead } else { waiting };
            let text = format!(
                r#"{{"key":{{"ticket":"tk-7","number":{number}}},"upstream":"desk","fingerprint":"f","idempotency_key":"f-{number}","severity":"major","created_at":"1970-01-01T00:00:00Z","action":{{"do":"comment","text":"温度恢复"}},{state}}}"#
            );
            batch.push((
                format!("j/00000000000000000007/{number:010}").into_bytes(),
                Some(text.into()),
            ));
        }
        store.commit(batch).unwrap();
    }
    for _ in 0..2 {
        let journal = open(dir.path());
        let found = journal.load().unwrap();
        assert_eq!(
            (found.jobs.len(), found.quarantined.len()),
            (600, 0),
            "{:?}",
            found.quarantined.first()
        );
        let sent = |job: &JobRecord| match &job.state {
            JobState::Waiting { sent, in_doubt_since, .. } => *sent && in_doubt_since.is_none(),
            JobState::Dead { .. } => false,
        };
        assert_eq!(
            found.jobs.iter().filter(|job| sent(job)).count(),
            300,
            "each may have been sent"
        );
        assert_eq!(journal.store().get(b"m/schema").unwrap(), Some(b"2".to_vec()));
    }
}

fn act(at: u64, subject: &str) -> Write {
    let at = Timestamp::from_millis(i64::try_from(at).unwrap());
    let signature =
        Signature { by: "王芳".into(), at, via: "cli".into(), reason: "换门封".into() };
    Write::Audit(Box::new(AuditRecord { act: "shelve".into(), subject: subject.into(), signature }))
}

#[test]
fn acts_go_by_their_age_the_oldest_first_and_the_ledger_stays() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let acts = (1..=10).map(|at| act(at, "r/d"));
    journal.commit(&acts.chain([Write::Ledger(Box::new(row(1)))]).collect::<Vec<_>>()).unwrap();
    let all = journal.sizes(|| true).unwrap().unwrap();
    assert_eq!((all["acts"].records, all["ledger"].records), (10, 1));
    let gone = journal.forget(Dated::Act, Timestamp::from_millis(8), 4).unwrap();
    assert_eq!(gone.records, 4);
    assert_eq!(gone.bytes, all["acts"].bytes * 4 / 10);
    assert_eq!(journal.forget(Dated::Act, Timestamp::from_millis(8), 4).unwrap().records, 3);
    assert_eq!(journal.forget(Dated::Act, Timestamp::from_millis(8), 4).unwrap().records, 0);
    let left = journal.audit(Timestamp::EPOCH, 100).unwrap();
    let left: Vec<i64> = left.iter().map(|act| act.signature.at.micros() / 1_000).collect();
    assert_eq!(left, [8, 9, 10]);
    let rest = journal.sizes(|| true).unwrap().unwrap();
    assert_eq!((rest["acts"].records, rest["ledger"].records), (3, 1));
    assert_eq!(journal.sizes(|| false).unwrap(), None, "it was stopped");
}

#[test]
fn a_ticket_that_is_gone_stays_gone_and_the_highest_number_is_known() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        let (store, ticket) = (journal.store(), |n: u64| format!("t/{n:020}").into_bytes());
        store
            .commit(vec![(ticket(1), Some(b"{}".to_vec())), (ticket(2), Some(b"{".to_vec()))])
            .unwrap();
        journal.commit(&[Write::TicketGone(TicketId(1))]).unwrap();
    }
    let found = open(dir.path()).load().unwrap();
    assert_eq!((found.tickets.len(), found.last_ticket), (0, 2));
    assert_eq!(found.quarantined.len(), 1, "the other one could not be read");
}
