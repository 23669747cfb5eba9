//! What somebody says upstream is held against what the devices say: a ticket that is resolved while
//! its fault stands, that is sent back, that was deleted, and a fault that comes back.

use faultgate::engine::types::alarm::{AlarmId, AlarmState, Signature};
use faultgate::engine::types::input::{Input, OperatorAction};
use faultgate::engine::types::job::{Action, Delivered, JobKey, Outcome};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::ticket::{TicketId, TicketStatus};
use faultgate::engine::types::time::TimeSpan;

use crate::plant::{Plant, rules};

const DEVICE: (&str, &str) = ("sh-1", "冷柜-1");
const WARM: &str = "[[rule]]\nid = \"warm\"\nwhen = \"temp_c > -12.0\"\n\
                    title = { zh = \"过热\", en = \"Too warm\" }\n";
const LADDER: &str =
    "[[ladder]]\nid = \"up\"\n[[ladder.step]]\nafter = \"15m\"\nticket = { comment = true }\n";

impl Plant {
    /// Somebody changes the first ticket where it is.
    fn person(&mut self, second: i64, status: TicketStatus) {
        self.until(second);
        let signature = Signature {
            by: "李工".into(),
            at: self.now,
            via: "upstream:desk".into(),
            reason: String::new(),
        };
        self.step(Input::Ticket { id: TicketId(1), status, signature });
    }

    fn state(&self) -> &AlarmState {
        &self.engine.alarms().next().expect("an alarm").state
    }
}

fn with_ladder(rule: &str) -> String {
    format!("{rule}[rule.ticket]\nladder = \"up\"\n{LADDER}")
}

#[test]
fn a_ticket_that_is_resolved_while_its_fault_stands_is_opened_again_after_half_an_hour() {
    let mut plant = Plant::new(&with_ladder(WARM));
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(60, TicketStatus::Resolved);
    plant.until(1_859);
    assert_eq!(plant.words(), [(0, "tk-1", "open")]);
    plant.until(1_860);
    assert_eq!(plant.words()[1..], [(1_860, "tk-1", "reopen")]);
    let text = plant.text(1);
    assert!(
        text.starts_with("This was resolved, and the fault still stands: reopened.\n"),
        "{text}"
    );
    assert!(text.contains("Values: temp_c = -6"), "{text}");
    assert_eq!(plant.ticket(1).status, TicketStatus::Reopened);
    assert!(matches!(plant.state(), AlarmState::Unacknowledged { .. }));
    // Somebody must take it again, and the ladder begins anew.
    plant.until(1_860 + 900);
    assert_eq!(plant.words()[2..], [(2_760, "tk-1", "escalate")]);
}

#[test]
fn the_wait_goes_on_over_a_restart_and_other_rules() {
    let mut plant = Plant::new(WARM);
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(60, TicketStatus::Closed);
    plant.until(600);
    plant.restart(WARM);
    plant.until(1_000);
    let mut effects = Default::default();
    plant.engine.reload(plant.now, rules(&WARM.replace("过热", "太热")), &mut effects);
    plant.until(1_860);
    assert_eq!(plant.words()[1..], [(1_860, "tk-1", "reopen")]);
}

#[test]
fn a_fault_that_is_over_in_time_stays_resolved_and_comes_back_on_the_same_ticket() {
    let mut plant = Plant::new(&format!("{WARM}[rule.ticket]\nreopen_within = \"0s\"\n"));
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(60, TicketStatus::Resolved);
    plant.say(300, DEVICE, "temp_c", -20.0);
    plant.say(900, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words(), [(0, "tk-1", "open"), (900, "tk-1", "reopen")]);
    plant.say(1_000, DEVICE, "temp_c", -20.0);
    plant.until(4_000);
    assert_eq!(plant.words()[2..], [(1_000, "tk-1", "resolve")]);
    // That was the gateway's own end: nothing is opened again after it, and the next is another.
    plant.say(5_000, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words()[3..], [(5_000, "tk-2", "open")]);
}

#[test]
fn what_is_suppressed_is_opened_again_when_it_no_longer_is() {
    let mut plant = Plant::new(WARM);
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(60, TicketStatus::Resolved);
    let alarm = AlarmId { rule: "warm".into(), device: DEVICE.1.into(), key: Vec::new() };
    let span = TimeSpan::from_secs(3_600);
    assert_eq!(plant.act(OperatorAction::Shelve { alarm, span, one_shot: false }), None);
    plant.until(3_659);
    assert_eq!(plant.words().len(), 1);
    plant.until(3_661);
    assert_eq!(plant.words()[1..], [(3_660, "tk-1", "reopen")]);
}

#[test]
fn a_ticket_that_is_sent_back_has_its_ladder_again() {
    let mut plant = Plant::new(&with_ladder(WARM));
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(60, TicketStatus::Accepted);
    plant.until(2_000);
    assert_eq!(plant.words().len(), 1);
    plant.person(2_000, TicketStatus::Rejected);
    assert_eq!(plant.ticket(1).ack, None);
    plant.until(3_000);
    assert_eq!(plant.words()[1..], [(2_900, "tk-1", "escalate")]);
}

#[test]
fn a_latched_alarm_that_comes_back_is_to_be_taken_again_and_opens_what_was_closed() {
    let rule = WARM.replace("[[rule]]\n", "[[rule]]\nlatch = true\n");
    let mut plant = Plant::new(&with_ladder(&rule));
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(10, TicketStatus::Accepted);
    plant.say(60, DEVICE, "temp_c", -20.0);
    plant.say(120, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words()[1..], [(120, "tk-1", "comment")]);
    assert_eq!(plant.ticket(1).ack, None);
    plant.until(120 + 900);
    assert_eq!(plant.words()[2..], [(1_020, "tk-1", "escalate")]);
    plant.person(1_100, TicketStatus::Closed);
    plant.say(1_200, DEVICE, "temp_c", -20.0);
    plant.say(9_000, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words()[3..], [(9_000, "tk-1", "reopen")]);
    plant.until(9_900);
    assert_eq!(plant.words()[4..], [(9_900, "tk-1", "escalate")]);
}

#[test]
fn a_latched_alarm_that_comes_back_on_its_shelf_is_told_afterwards() {
    let rule = WARM.replace("[[rule]]\n", "[[rule]]\nlatch = true\n");
    let mut plant = Plant::new(&rule);
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.person(10, TicketStatus::Closed);
    plant.say(60, DEVICE, "temp_c", -20.0);
    let alarm = AlarmId { rule: "warm".into(), device: DEVICE.1.into(), key: Vec::new() };
    let span = TimeSpan::from_secs(7_200);
    assert_eq!(plant.act(OperatorAction::Shelve { alarm, span, one_shot: false }), None);
    plant.say(3_600, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words().len(), 1);
    plant.until(7_300);
    assert_eq!(plant.words()[1..], [(7_260, "tk-1", "reopen")]);
}

#[test]
fn a_ticket_that_was_deleted_upstream_is_reported_and_the_next_fault_has_another() {
    let mut plant = Plant::new(WARM);
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.is_down = true;
    plant.say(60, DEVICE, "temp_c", -20.0);
    let (key, reason) = (JobKey { ticket: TicketId(1), number: 2 }, "404: no such ticket");
    let gone = Outcome::Gone { reason: reason.into() };
    // The attempt that is due is made by hand.
    plant.until(120);
    plant.now = plant.engine.next_wakeup().expect("an attempt is due");
    plant.engine.step(plant.now, Input::Tick, &mut plant.effects);
    let call = plant.effects.calls.pop().expect("a call");
    plant.effects.clear();
    assert_eq!(call.key, key);
    let delivered =
        Delivered { key, attempt: call.attempt, requests: 1, is_short: false, outcome: gone };
    plant.is_down = false;
    plant.step(Input::Delivered(delivered));
    assert_eq!(plant.ticket(1).status, TicketStatus::Cancelled);
    assert_eq!(*plant.state(), AlarmState::Normal);
    let job = plant.engine.outbox().jobs().next().expect("a dead letter");
    assert_eq!(job.reason(), reason);
    plant.say(1_000, DEVICE, "temp_c", -6.0);
    assert_eq!(plant.words()[1..], [(1_000, "tk-2", "open")]);
}

#[test]
fn a_fault_that_comes_back_within_thirty_days_is_a_repeat_visit() {
    let text = format!("{WARM}[rule.ticket]\nreopen_within = \"1h\"\n");
    let mut plant = Plant::new(&text);
    plant.say(0, DEVICE, "temp_c", -6.0);
    plant.say(60, DEVICE, "temp_c", -20.0);
    let day = 86_400;
    plant.say(29 * day, DEVICE, "temp_c", -6.0);
    let body = plant.text(2);
    let repeat =
        "Repeat visit: the same fault, of which ticket tk-1 ended at 2026-04-11 11:01:00 +08:00";
    assert!(body.contains(repeat), "{body}");
    assert!(body.contains("Earlier tickets: tk-1 (resolved)"), "{body}");
    assert_eq!(plant.ticket(2).repeats, Some(TicketId(1)));
    plant.say(29 * day + 60, DEVICE, "temp_c", -20.0);
    plant.say(60 * day, DEVICE, "temp_c", -6.0);
    let body = plant.text(4);
    assert!(!body.contains("Repeat visit"), "{body}");
    assert!(body.contains("Earlier tickets: tk-2 (resolved), tk-1 (resolved)"), "{body}");
}

#[test]
fn a_reopening_sets_the_severity_that_the_fault_has_now() {
    let text = "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nseverity = \"minor\"\n[rule.ticket]\nper = \"device\"\n\
                [[rule]]\nid = \"b\"\nwhen = \"t > 9\"\nseverity = \"critical\"\n[rule.ticket]\nper = \"device\"\n";
    let mut plant = Plant::new(text);
    plant.say(0, DEVICE, "t", 2.0);
    plant.say(60, DEVICE, "t", 0.0);
    plant.is_down = true;
    plant.say(120, DEVICE, "t", 10.0);
    let severities: Vec<_> = plant
        .engine
        .outbox()
        .jobs()
        .filter_map(|job| match &job.action {
            Action::Reopen { severity, .. } | Action::Escalate { severity, .. } => Some(*severity),
            Action::Open(_) | Action::Comment { .. } | Action::Resolve { .. } => None,
        })
        .collect();
    assert!(severities.contains(&Some(Severity::Critical)), "{severities:?}");
    assert_eq!(plant.ticket(1).severity, Severity::Critical);
}

#[test]
fn the_evidence_has_the_times_of_the_values_the_flap_score_and_what_is_raised_at_the_site() {
    let mut plant = Plant::new(WARM);
    plant.say(0, ("sh-1", "冷柜-2"), "temp_c", -6.0);
    plant.say(10, DEVICE, "temp_c", -6.0);
    plant.say(20, DEVICE, "temp_c", -20.0);
    plant.say(30, DEVICE, "temp_c", -5.5);
    let body = plant.text(1);
    assert!(body.contains("Values: temp_c = -6 (11:00:10)"), "{body}");
    assert!(body.contains("Also raised at the site: warm/冷柜-2"), "{body}");
    assert!(!body.contains("Flap score"), "{body}");
    let again = plant.text(3);
    assert!(again.contains("Flap score: 18.36 (3 changes within an hour)"), "{again}");
}
