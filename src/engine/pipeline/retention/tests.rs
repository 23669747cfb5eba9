//! What may go and what may not, on an engine that was restored with it.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::{Engine, Settings, Snapshot};
use super::GONE_MAX;
use crate::engine::decode::{SourceSpec, read_source};
use crate::engine::merge;
use crate::engine::policy::{self, Policy};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState, Episode};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::Input;
use crate::engine::types::job::{Action, JobKey, JobRecord, JobState};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::severity::Severity;
use crate::engine::types::text::Language;
use crate::engine::types::ticket::{TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::{TimeSpan, Timestamp};

const DAY: i64 = 86_400;
const KEPT_DAYS: i64 = 400;

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-04-11T03:00:00Z").expect("a time")
}

fn days_ago(days: i64) -> Timestamp {
    now() - TimeSpan::from_secs(days * DAY)
}

fn settings() -> Settings {
    Settings {
        gateway: "sh-01".to_owned(),
        language: Language::English,
        zone: chrono_tz::Tz::UTC,
        console: None,
        upstream: "desk".to_owned(),
        storm: Default::default(),
        shelve_max: TimeSpan::from_secs(DAY),
        allowances: BTreeMap::new(),
        in_flight_max: BTreeMap::new(),
        lateness: TimeSpan::from_secs(10),
        restart_grace: TimeSpan::ZERO,
        settle: TimeSpan::ZERO,
        catch_up_after: TimeSpan::from_secs(600),
        resume_max: TimeSpan::from_secs(3_600),
        closed_max: TimeSpan::from_secs(KEPT_DAYS * DAY),
        unknown_devices: Default::default(),
        devices_max: 100,
        backlog_max: 1_000,
        sources: vec![source()],
    }
}

/// Its devices may send what happened up to a day ago.
fn source() -> SourceSpec {
    let text = "name = \"plant\"\ntopics = [\"a/#\"]\ntopic = \"a/{device}\"\n".to_owned();
    let (source, report) = (Source { file: "s.toml".into(), text }, Report::default());
    let place = Place { source: &source, report: &report };
    read_document(place, |table| read_source(table, 1_024)).expect("a source")
}

fn rules() -> Policy {
    let text = "[[rule]]\nid = \"warm\"\nwhen = \"t > 1\"\n";
    let source = Source { file: "r.toml".into(), text: text.into() };
    policy::compile(&[source], &["desk"], &Report::default()).expect("rules")
}

/// A ticket that was resolved so many days ago.
fn ticket(number: u64, days: i64) -> TicketRecord {
    let at = days_ago(days);
    let record = json!({
        "id": format!("tk-{number}"), "upstream": "desk", "external": format!("{number}"),
        "fingerprint": format!("{number:032}"), "group": format!("desk/alarm/{number}"),
        "device": "fz", "rule": "warm", "site": "", "customer": "", "title": "Warm",
        "severity": "minor", "safety": false, "status": "resolved", "opened_at": at,
        "resolved_at": at, "reopen_until": null, "ack": null, "alarms": 1, "ladder": null,
        "next_effect": 3,
    });
    serde_json::from_value(record).expect("a ticket")
}

fn job(ticket: u64, state: JobState) -> JobRecord {
    JobRecord {
        key: JobKey { ticket: TicketId(ticket), number: 2 },
        upstream: "desk".to_owned(),
        fingerprint: id().fingerprint(1),
        idempotency_key: format!("{ticket}-2"),
        severity: Severity::Minor,
        created_at: days_ago(900),
        action: Action::Resolve { text: String::new() },
        state,
        funds: Default::default(),
    }
}

fn id() -> AlarmId {
    AlarmId { rule: "warm".into(), device: "fz".into(), key: Vec::new() }
}

/// An alarm with a history, whose seventh episode was closed so many days ago.
fn alarm(days: i64) -> AlarmRecord {
    let at = days_ago(days);
    let mut record = AlarmRecord::new(id(), "r1".to_owned());
    record.changed_at = at;
    record.remember(at, at, "closed".to_owned());
    record.episode = Some(Episode {
        number: 7,
        id: "01".to_owned(),
        fingerprint: record.id.fingerprint(7),
        class: None,
        severity: Severity::Minor,
        raised_at: at,
        returned_at: Some(at),
        closed_at: Some(at),
        ticket: Some(TicketId(1)),
        held_by: None,
        is_taken: false,
        values: vec![("t".to_owned(), "2".to_owned())],
    });
    record
}

fn restored(stored: Snapshot) -> Engine {
    let mut effects = Effects::default();
    let facts = DeviceFacts { id: "fz".into(), ..DeviceFacts::default() };
    let stored = Snapshot { devices: vec![facts], alive_at: Some(now()), ..stored };
    Engine::restore(settings(), rules(), stored, now(), &mut effects)
}

fn with_tickets(tickets: Vec<TicketRecord>) -> Engine {
    restored(Snapshot { tickets, ..Snapshot::default() })
}

fn numbers(engine: &Engine) -> Vec<u64> {
    engine.tickets().map(|ticket| ticket.id.0).collect()
}

/// Lets seconds pass; the tickets that were deleted on disk.
fn pass(engine: &mut Engine, seconds: i64) -> Vec<u64> {
    let mut effects = Effects::default();
    let end = now() + TimeSpan::from_secs(seconds);
    while let Some(at) = engine.next_wakeup().filter(|at| *at <= end) {
        engine.step(at.max(now()), Input::Tick, &mut effects);
    }
    let gone = effects.writes.iter().filter_map(|write| match write {
        Write::TicketGone(id) => Some(id.0),
        Write::Alarm(_)
        | Write::AlarmGone(_)
        | Write::Ticket(_)
        | Write::Job(_)
        | Write::JobGone(_)
        | Write::Digest(_)
        | Write::Audit(_)
        | Write::Ledger(_)
        | Write::Alive(_)
        | Write::Received { .. }
        | Write::Metering(_)
        | Write::Spell(_)
        | Write::Device(_) => None,
    });
    gone.collect()
}

#[test]
fn a_ticket_goes_when_it_is_over_for_long_and_nothing_needs_it() {
    let changed = |number, change: fn(&mut TicketRecord)| {
        let mut ticket = ticket(number, 900);
        change(&mut ticket);
        ticket
    };
    let tickets = vec![
        ticket(1, 900),
        changed(2, |open| (open.status, open.resolved_at) = (TicketStatus::Working, None)),
        changed(3, |reopens| reopens.reopen_until = Some(now() - TimeSpan::from_secs(DAY / 2))),
        ticket(4, 900),
        ticket(5, 900),
        ticket(6, 399),
        changed(7, |merged| (merged.status, merged.resolved_at) = (TicketStatus::Merged, None)),
        ticket(8, 900),
    ];
    let dead = JobState::Dead { at: days_ago(900), reason: "400".to_owned(), attempts: 1 };
    let waiting = JobState::Waiting {
        attempts: 1,
        not_before: now() + TimeSpan::from_secs(DAY),
        in_doubt_since: None,
        sent: false,
        reason: String::new(),
    };
    let jobs = vec![job(4, dead), job(5, waiting)];
    let mut engine = restored(Snapshot { tickets, jobs, ..Snapshot::default() });
    assert_eq!(pass(&mut engine, 59), [0; 0], "a start is left alone first");
    assert_eq!(pass(&mut engine, 60), [1, 7]);
    assert_eq!(numbers(&engine), [2, 3, 4, 5, 6, 8], "8 has the highest number");
}

#[test]
fn a_ticket_stays_while_an_alarm_of_it_is_not_closed() {
    let mut latched = alarm(900);
    latched.state = AlarmState::Latched { ack: None, rising: None };
    if let Some(episode) = &mut latched.episode {
        episode.closed_at = None;
    }
    let tickets = vec![ticket(1, 900), ticket(2, 900)];
    let alarms = vec![latched];
    let mut engine = restored(Snapshot { tickets, alarms, ..Snapshot::default() });
    assert_eq!(pass(&mut engine, 60), [0; 0]);
    let kept = engine.alarms().next().expect("kept");
    assert!(!kept.history.is_empty(), "it is under way");
}

#[test]
fn no_number_is_given_twice_also_after_a_restart() {
    let mut engine = with_tickets(vec![ticket(1, 900), ticket(2, 900)]);
    assert_eq!(pass(&mut engine, 60), [1]);
    let left: Vec<TicketRecord> = engine.tickets().cloned().collect();
    let mut engine = with_tickets(left);
    warm(&mut engine, now() + TimeSpan::from_secs(1));
    assert_eq!(numbers(&engine), [2, 3]);
    assert_eq!(pass(&mut engine, 7_200), [2], "now another one has the highest");
}

#[test]
fn a_fault_goes_the_same_way_after_a_restart_when_the_last_ticket_of_its_group_is_old() {
    let of_group = |number, days| TicketRecord {
        group: merge::group(&Default::default(), &id(), "", "desk"),
        ..ticket(number, days)
    };
    // Somebody has opened the older one again.
    let open = TicketRecord { status: TicketStatus::Working, ..of_group(1, 901) };
    let mut engine = with_tickets(vec![open, of_group(2, 900), ticket(3, 1)]);
    pass(&mut engine, 60);
    let left: Vec<TicketRecord> = engine.tickets().cloned().collect();
    let mut again = with_tickets(left);
    for engine in [&mut engine, &mut again] {
        warm(engine, now() + TimeSpan::from_secs(61));
        assert_eq!(engine.tickets().last().map(|ticket| ticket.id.0), Some(4), "one of its own");
    }
}

fn warm(engine: &mut Engine, at: Timestamp) {
    let facts = DeviceFacts { id: "fz".into(), ..DeviceFacts::default() };
    let readings = vec![("t".to_owned(), Reading::Good(Value::Float(5.0)))];
    let mut effects = Effects::default();
    engine.step(at, Input::Readings { facts, at, readings }, &mut effects);
}

#[test]
fn an_alarm_keeps_the_number_of_its_last_episode_and_loses_what_is_heavy() {
    let alarms = vec![alarm(900)];
    let tickets = vec![ticket(1, 900), ticket(2, 900)];
    let mut engine = restored(Snapshot { alarms, tickets, ..Snapshot::default() });
    pass(&mut engine, 60);
    let small = engine.alarms().next().expect("kept").clone();
    let episode = small.episode.as_ref().expect("its last episode");
    assert!(small.history.is_empty() && episode.values.is_empty());
    let left: Vec<TicketRecord> = engine.tickets().cloned().collect();
    let stored = Snapshot { alarms: vec![small], tickets: left, ..Snapshot::default() };
    let mut engine = restored(stored);
    warm(&mut engine, now() + TimeSpan::from_secs(100));
    let raised = engine.alarms().next().expect("kept").episode.clone().expect("raised");
    assert_eq!((raised.number, raised.ticket), (8, Some(TicketId(3))));
    let opened = engine.ticket(TicketId(3)).expect("opened");
    assert_eq!(opened.fingerprint, id().fingerprint(8), "a key that no ticket has had");
}

#[test]
fn an_alarm_of_late_keeps_what_it_has() {
    let alarms = vec![alarm(399)];
    let mut engine = restored(Snapshot { alarms, ..Snapshot::default() });
    pass(&mut engine, 60);
    assert_eq!(engine.alarms().next(), Some(&alarm(399)));
}

#[test]
fn a_pass_lets_a_bounded_number_go_and_soon_goes_on() {
    let all = 2 * GONE_MAX as u64 + 500;
    let mut engine = with_tickets((1..=all).map(|number| ticket(number, 900)).collect());
    assert_eq!(pass(&mut engine, 60).len(), GONE_MAX);
    assert_eq!(pass(&mut engine, 61).len(), GONE_MAX);
    assert_eq!(pass(&mut engine, 62).len(), 499);
    assert_eq!(numbers(&engine), [all]);
}

#[test]
fn new_rules_do_not_end_the_passes() {
    let mut engine = with_tickets(vec![ticket(1, 900), ticket(2, 900)]);
    engine.reload(now(), rules(), &mut Effects::default());
    assert_eq!(pass(&mut engine, 60), [1]);
}

#[test]
fn for_want_of_room_the_oldest_go_early_and_those_of_seven_days_stay() {
    let ages = [30, 20, 10, 6, 5];
    let tickets = ages.iter().zip(1..).map(|(days, number)| ticket(number, *days));
    let mut engine = with_tickets(tickets.collect());
    let mut effects = Effects::default();
    let gone = engine.let_go_early(now(), 2, &mut effects);
    assert_eq!((gone.count, gone.ended, gone.is_all), (2, Some(days_ago(20)), false));
    assert_eq!(numbers(&engine), [3, 4, 5]);
    let gone = engine.let_go_early(now(), 2, &mut effects);
    assert_eq!((gone.count, gone.is_all), (1, true));
    let gone = engine.let_go_early(now(), 2, &mut effects);
    assert_eq!((gone.count, gone.ended, gone.is_all), (0, None, true));
    assert_eq!(numbers(&engine), [4, 5]);
    assert_eq!(effects.writes.len(), 3);
}
