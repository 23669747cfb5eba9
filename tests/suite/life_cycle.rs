//! What `alarms.md` promises of an alarm beyond raise and return: flapping, groups, storms,
//! shelves, and a rise in severity, with what an upstream is told.

use faultgate::engine::types::alarm::{AlarmId, AlarmState, HeldBy};
use faultgate::engine::types::input::{Input, OperatorAction};
use faultgate::engine::types::time::TimeSpan;

use crate::plant::{Plant, rules, settings};

fn alarm(rule: &str, device: &str) -> AlarmId {
    AlarmId { rule: rule.into(), device: device.into(), key: Vec::new() }
}

const WARM: &str = r#"
[[rule]]
id = "warm"
when = "temp_c > -12"
"#;

const FZ: (&str, &str) = ("sh-1", "冷柜-1");

#[test]
fn an_alarm_that_flaps_keeps_one_ticket_with_one_comment_at_each_end() {
    let mut plant = Plant::new(WARM);
    for minute in 0..30 {
        plant.say(minute * 60, FZ, "temp_c", if minute % 2 == 0 { -5.0 } else { -20.0 });
    }
    plant.until(3 * 3_600);
    // Raised at 0, 2 and 4 minutes; the return at 5 is the sixth change of the hour. Calm when
    // only the changes of minutes 27, 28 and 29 are left: at 86 minutes.
    assert_eq!(
        plant.words(),
        [
            (0, "tk-1", "open"),
            (60, "tk-1", "resolve"),
            (120, "tk-1", "reopen"),
            (180, "tk-1", "resolve"),
            (240, "tk-1", "reopen"),
            (300, "tk-1", "comment"),
            (86 * 60, "tk-1", "comment"),
            (86 * 60, "tk-1", "resolve"),
        ]
    );
    assert!(plant.text(5).contains("6 changes within an hour (score 35.53)"), "{}", plant.text(5));
    assert!(plant.text(6).contains("30 changes"), "{}", plant.text(6));
}

#[test]
fn a_rule_may_say_when_it_flaps_or_that_it_never_does() {
    let never = format!("{WARM}flapping = {{ enabled = false }}\n");
    let sooner = format!("{WARM}flapping = {{ low = 10, high = 20 }}\n");
    for (text, comments) in [(never, 0), (sooner, 2)] {
        let mut plant = Plant::new(&text);
        for minute in 0..8 {
            plant.say(minute * 60, FZ, "temp_c", if minute % 2 == 0 { -5.0 } else { -20.0 });
        }
        plant.until(3 * 3_600);
        let told = plant.words().iter().filter(|(_, _, word)| *word == "comment").count();
        assert_eq!(told, comments, "{text}");
    }
}

const PER_SITE: &str = r#"
[[rule]]
id = "warm"
when = "temp_c > -12"
[rule.ticket]
per = "site"
"#;

#[test]
fn a_site_has_one_ticket_that_waits_half_a_minute_and_tells_of_later_members_every_five() {
    let mut plant = Plant::new(PER_SITE);
    plant.say(0, ("sh-1", "a"), "temp_c", -5.0);
    plant.say(10, ("sh-1", "b"), "temp_c", -5.0);
    plant.say(12, ("sh-2", "z"), "temp_c", -5.0);
    plant.say(20, ("sh-2", "z"), "temp_c", -20.0);
    plant.say(100, ("sh-1", "c"), "temp_c", -5.0);
    plant.say(110, ("sh-1", "d"), "temp_c", -5.0);
    plant.say(120, ("sh-1", "a"), "temp_c", -20.0);
    plant.until(700);
    let told = [(30, "tk-1", "open"), (330, "tk-1", "comment")];
    assert_eq!(plant.words(), told, "z returned in time: no ticket for sh-2");
    assert!(plant.text(0).contains("With it: warm/b"), "{}", plant.text(0));
    let comment = plant.text(1);
    assert!(comment.starts_with("2 more alarms, first 2026-04-11 11:01:40 +08:00: warm/c, warm/d"));
    assert!(comment.contains("1 returned to normal; 3 still raised"), "{comment}");
    for device in ["b", "c", "d"] {
        plant.say(701, ("sh-1", device), "temp_c", -20.0);
    }
    plant.until(2_000);
    let last = plant.words().last().copied();
    assert_eq!(last, Some((701, "tk-1", "resolve")), "a resolve does not wait");
    assert_eq!(plant.engine.tickets().count(), 1);
}

#[test]
fn a_critical_alarm_of_a_group_does_not_wait() {
    let mut plant = Plant::new(&PER_SITE.replace("when", "severity = \"critical\"\nwhen"));
    plant.say(0, FZ, "temp_c", -5.0);
    assert_eq!(plant.words(), [(0, "tk-1", "open")]);
}

#[test]
fn a_worse_alarm_that_joins_is_told_at_once_and_the_ladder_starts_again() {
    let text = r#"
[[rule]]
id = "warm"
when = "temp_c > -12"
severity = "minor"
ticket = { per = "device", ladder = "l" }
[[rule]]
id = "hot"
when = "temp_c > 0"
severity = "critical"
ticket = { per = "device", ladder = "l" }
[[ladder]]
id = "l"
[[ladder.step]]
after = "10m"
ticket = { comment = true }
"#;
    let mut plant = Plant::new(text);
    plant.say(0, FZ, "temp_c", -5.0);
    assert_eq!(plant.act(OperatorAction::AcknowledgeTicket(plant.ticket(1).id)), None);
    plant.say(300, FZ, "temp_c", 5.0);
    assert!(plant.ticket(1).ack.is_none(), "somebody must take it again");
    plant.until(1_000);
    let told = [(0, "tk-1", "open"), (300, "tk-1", "escalate"), (900, "tk-1", "escalate")];
    assert_eq!(plant.words(), told);
}

#[test]
fn in_a_storm_alarms_join_a_parent_that_names_the_first_and_safety_stays_apart() {
    let text = r#"
[[rule]]
id = "warm"
when = "temp_c > -12"
[[rule]]
id = "gas"
when = "gas > 100"
safety = true
[[rule]]
id = "off"
when = "power == 0"
severity = "critical"
[rule.ticket]
ladder = "l"
[[ladder]]
id = "l"
[[ladder.step]]
after = "10m"
ticket = { comment = true }
"#;
    let mut plant = Plant::new(text);
    for number in 0..30 {
        plant.say(number, ("sh-1", &format!("d-{number}")), "temp_c", -5.0);
    }
    plant.say(40, ("sh-2", "elsewhere"), "temp_c", -5.0);
    plant.say(41, ("sh-1", "d-7"), "gas", 500.0);
    plant.say(42, ("sh-1", "d-8"), "power", 0.0);
    assert_eq!(plant.engine.tickets().count(), 13, "10, the parent, elsewhere, gas");
    let parent = plant.ticket(11);
    let storm = parent.storm.as_ref().expect("the parent of a storm");
    assert_eq!((storm.pool.as_str(), storm.first.as_str()), ("sh-1", "warm/d-0"));
    assert_eq!((parent.alarms, parent.raised), (21, 21));
    assert_eq!(plant.held_by("d-20"), Some(HeldBy::Storm));
    assert_eq!(plant.held_by("elsewhere"), None);
    plant.until(900);
    let of_parent: Vec<_> =
        plant.words().into_iter().filter(|(_, ticket, _)| *ticket == "tk-11").collect();
    // The critical one raises the priority at once and starts its ladder.
    let told = [(10, "open"), (42, "escalate"), (310, "comment"), (642, "escalate")];
    assert_eq!(of_parent, told.map(|(at, word)| (at, "tk-11", word)));
    for number in 0..30 {
        plant.say(1_000, ("sh-1", &format!("d-{number}")), "temp_c", -20.0);
    }
    plant.say(1_001, ("sh-1", "d-8"), "power", 1.0);
    let open = plant.engine.tickets().filter(|ticket| !ticket.status.is_over());
    let open: Vec<&str> = open.map(|ticket| ticket.device.as_str()).collect();
    assert_eq!(open, ["elsewhere", "d-7"]);
    plant.say(1_100, ("sh-1", "new"), "temp_c", -5.0);
    assert_eq!(plant.held_by("new"), None, "the storm is over");
}

#[test]
fn storms_can_be_turned_off() {
    let mut own = settings();
    own.storm.enabled = false;
    let mut plant = Plant::with(WARM, own);
    for number in 0..30 {
        plant.say(number, ("sh-1", &format!("d-{number}")), "temp_c", -5.0);
    }
    assert_eq!(plant.engine.tickets().count(), 30);
}

#[test]
fn a_shelved_alarm_opens_its_ticket_when_its_time_is_over() {
    let mut plant = Plant::new(WARM);
    plant.say(0, FZ, "temp_c", -20.0);
    let shelve = |hours: i64, one_shot| OperatorAction::Shelve {
        alarm: alarm("warm", "冷柜-1"),
        span: TimeSpan::from_secs(hours * 3_600),
        one_shot,
    };
    let refused = plant.act(shelve(25, false)).expect("too long");
    assert!(refused.contains("at most 1d"), "{refused}");
    assert_eq!(plant.act(shelve(1, false)), None);
    plant.say(60, FZ, "temp_c", -5.0);
    assert_eq!(plant.held_by("冷柜-1"), Some(HeldBy::Shelved));
    plant.until(3_599);
    assert!(plant.calls.is_empty());
    plant.until(3_601);
    assert_eq!(plant.words(), [(3_600, "tk-1", "open")]);
    assert_eq!(plant.acts, ["shelve warm/冷柜-1 by 王芳"]);
    // Suppression never blocks a return.
    assert_eq!(plant.act(shelve(1, true)), None);
    plant.say(3_700, FZ, "temp_c", -20.0);
    assert_eq!(plant.words().last(), Some(&(3_700, "tk-1", "resolve")));
    plant.say(3_800, FZ, "temp_c", -5.0);
    assert_eq!(plant.words().last(), Some(&(3_800, "tk-1", "reopen")), "it was for one return");
}

#[test]
fn a_latched_alarm_that_comes_back_after_its_shelf_has_its_ticket_then() {
    let mut plant = Plant::new("[[rule]]\nid = \"leak\"\nwhen = \"wet > 0\"\nlatch = true\n");
    plant.say(0, FZ, "wet", 0.0);
    plant.act(OperatorAction::TakeOutOfService(alarm("leak", "冷柜-1")));
    plant.say(10, FZ, "wet", 1.0);
    plant.say(20, FZ, "wet", 0.0);
    plant.act(OperatorAction::PutIntoService(alarm("leak", "冷柜-1")));
    plant.until(30);
    assert_eq!(plant.words(), [], "nothing leaks any more");
    plant.say(40, FZ, "wet", 1.0);
    assert_eq!(plant.words(), [(40, "tk-1", "open")]);
}

#[test]
fn what_comes_back_from_its_shelf_must_be_taken_again() {
    let mut plant = Plant::new(WARM);
    plant.say(0, FZ, "temp_c", -5.0);
    let alarm = alarm("warm", "冷柜-1");
    assert_eq!(plant.act(OperatorAction::Acknowledge(alarm.clone())), None);
    assert!(plant.act(OperatorAction::Acknowledge(alarm.clone())).is_some(), "taken already");
    assert_eq!(plant.act(OperatorAction::TakeOutOfService(alarm.clone())), None);
    plant.until(90_000);
    assert_eq!(plant.act(OperatorAction::PutIntoService(alarm.clone())), None);
    let record = plant.engine.alarms().next().expect("an alarm");
    assert_eq!(record.state.word(), "unacknowledged");
    assert!(plant.ticket(1).ack.is_none());
    assert!(plant.act(OperatorAction::Unshelve(alarm)).is_some(), "it is on no shelf");
}

#[test]
fn a_rule_that_is_made_worse_alarms_again_on_the_same_ticket() {
    let mut plant = Plant::new(WARM);
    plant.say(0, FZ, "temp_c", -5.0);
    plant.act(OperatorAction::Acknowledge(alarm("warm", "冷柜-1")));
    let worse = rules(&format!("{WARM}severity = \"critical\"\n"));
    plant.engine.reload(plant.now, worse, &mut plant.effects);
    plant.step(Input::Tick);
    assert_eq!(plant.words().last(), Some(&(0, "tk-1", "escalate")));
    let record = plant.engine.alarms().next().expect("an alarm");
    assert_eq!(record.state.word(), "unacknowledged");
}

/// A rule with this limit, and a dead-band of five below it.
fn limit(high: i64) -> String {
    let low = high - 5;
    format!("[[rule]]\nid = \"hot\"\nwhen = \"temp_c > {high}\"\nclear_when = \"temp_c < {low}\"\n")
}

fn reload(plant: &mut Plant, text: &str) {
    plant.engine.reload(plant.now, rules(text), &mut plant.effects);
    plant.step(Input::Tick);
}

/// Raised by 82 degrees; then 95, which changes nothing and is not stored.
fn hotter_than_it_was() -> Plant {
    let mut plant = Plant::new(&limit(80));
    plant.say(0, FZ, "temp_c", 82.0);
    plant.say(10, FZ, "temp_c", 95.0);
    plant
}

#[test]
fn new_limits_judge_an_alarm_by_the_last_reading_also_after_a_restart() {
    let mut plant = hotter_than_it_was();
    reload(&mut plant, &limit(90));
    plant.restart(&limit(90));
    plant.until(60);
    assert_eq!(plant.words(), [(0, "tk-1", "open")], "95 is over every limit");
    plant.say(70, FZ, "temp_c", 84.0);
    plant.until(100);
    assert_eq!(plant.words().last(), Some(&(70, "tk-1", "resolve")));
}

#[test]
fn limits_that_change_around_a_restart_wait_for_the_next_reading() {
    let mut with_the_start = hotter_than_it_was();
    with_the_start.restart(&limit(90));
    let mut after_the_start = hotter_than_it_was();
    after_the_start.restart(&limit(80));
    reload(&mut after_the_start, &limit(90));
    for mut plant in [with_the_start, after_the_start] {
        plant.until(60);
        assert_eq!(plant.words(), [(0, "tk-1", "open")], "82 is not the last reading");
        plant.say(70, FZ, "temp_c", 84.0);
        plant.until(100);
        assert_eq!(plant.words().last(), Some(&(70, "tk-1", "resolve")));
    }
}

#[test]
fn after_a_restart_nothing_is_sent_until_inhibition_has_seen_all_of_it() {
    let text = r#"
[[rule]]
id = "power"
when = "power == 0"
severity = "critical"
[[rule]]
id = "warm"
when = "temp_c > -12"
[[inhibit]]
source = { rule = "power" }
target = { severity = ["major"] }
equal = ["site"]
"#;
    let mut plant = Plant::new(text);
    plant.say(0, ("sh-1", "冷柜-1"), "temp_c", -20.0);
    plant.until(60);
    plant.restart(text);
    plant.say(61, ("sh-1", "冷柜-1"), "temp_c", -5.0);
    plant.say(64, ("sh-1", "ups"), "power", 0.0);
    plant.until(74);
    assert!(plant.calls.is_empty());
    plant.until(80);
    assert_eq!(plant.words(), [(75, "tk-1", "open")]);
    assert!(plant.text(0).contains("power"), "{}", plant.text(0));
    assert_eq!(plant.held_by("冷柜-1"), Some(HeldBy::Inhibit));
}

#[test]
fn machines_come_back_one_after_the_other_also_over_a_restart_and_each_in_its_time() {
    let text = r#"
[[rule]]
id = "power"
when = "power == 0"
severity = "critical"
[[rule]]
id = "warm"
when = "temp_c > -12"
[[rule]]
id = "open"
when = "door == 1"
[[inhibit]]
source = { rule = "power" }
target = { rule = "warm" }
equal = ["site"]
settle = "5m"
[[inhibit]]
source = { rule = "power" }
target = { rule = "open" }
equal = ["site"]
settle = "1m"
"#;
    for restarts in [false, true] {
        let mut plant = Plant::new(text);
        plant.say(0, ("sh-1", "ups"), "power", 0.0);
        plant.say(100, ("sh-1", "冷柜-1"), "temp_c", -5.0);
        plant.say(100, ("sh-1", "冷柜-1"), "door", 1.0);
        plant.say(200, ("sh-1", "ups"), "power", 1.0);
        if restarts {
            plant.until(220);
            plant.restart(text);
        }
        plant.until(600);
        let opened = plant.words().into_iter().filter(|(_, _, word)| *word == "open");
        let opened: Vec<_> = opened.map(|(at, _, _)| at).collect();
        assert_eq!(opened, [0, 260, 500], "restarts: {restarts}");
    }
}

#[test]
fn who_takes_a_ticket_takes_no_later_episode_that_has_none() {
    let per = "[rule.ticket]\nper = \"device\"\n";
    let wet = "[[rule]]\nid = \"wet\"\nwhen = \"wet > 0\"\n";
    let mut plant = Plant::new(&format!("{WARM}{per}{wet}{per}"));
    plant.say(0, FZ, "wet", 1.0);
    plant.say(10, FZ, "temp_c", -5.0);
    plant.say(20, FZ, "temp_c", -20.0);
    let (alarm, span) = (alarm("warm", "冷柜-1"), TimeSpan::from_secs(600));
    assert_eq!(plant.act(OperatorAction::Shelve { alarm, span, one_shot: false }), None);
    plant.say(30, FZ, "temp_c", -5.0);
    assert_eq!(plant.act(OperatorAction::AcknowledgeTicket(plant.ticket(1).id)), None);
    let taken = plant
        .engine
        .alarms()
        .filter(|alarm| matches!(alarm.state, AlarmState::Acknowledged { .. }));
    assert_eq!(taken.map(|alarm| alarm.id.rule.as_str()).collect::<Vec<_>>(), ["wet"]);
}

#[test]
fn a_storm_and_its_members_go_on_after_a_restart() {
    let mut plant = Plant::new(WARM);
    for number in 0..15 {
        plant.say(number, ("sh-1", &format!("d-{number}")), "temp_c", -5.0);
    }
    let parent = plant.ticket(11).clone();
    assert_eq!(parent.raised, 5);
    plant.restart(WARM);
    assert_eq!(plant.ticket(11).raised, 5);
    plant.say(100, ("sh-1", "d-15"), "temp_c", -5.0);
    assert_eq!(plant.held_by("d-15"), Some(HeldBy::Storm));
    for number in 10..16 {
        plant.say(200, ("sh-1", &format!("d-{number}")), "temp_c", -20.0);
    }
    assert_eq!(plant.words().last(), Some(&(200, "tk-11", "resolve")));
}

#[test]
fn a_lost_path_holds_back_only_the_silence_of_those_behind_it() {
    let mut plant = Plant::new("[[rule]]\nid = \"silent\"\nwhen = \"absent(30m)\"\n");
    plant.say(1_000, FZ, "temp_c", -20.0);
    plant.step(Input::Path { source: 1, up: false });
    plant.until(2_802);
    assert_eq!(plant.words(), [(2_800, "tk-1", "open")]);
}

#[test]
fn a_shelved_alarm_that_gets_worse_is_told_when_its_shelf_is_over() {
    let mut plant = Plant::new(&format!("{WARM}severity = \"minor\"\n"));
    plant.say(0, FZ, "temp_c", -5.0);
    let (alarm, span) = (alarm("warm", FZ.1), TimeSpan::from_secs(600));
    plant.act(OperatorAction::Shelve { alarm, span, one_shot: false });
    let worse = format!("{WARM}severity = \"critical\"\n");
    reload(&mut plant, &worse);
    plant.restart(&worse);
    plant.until(599);
    assert_eq!(plant.words(), [(0, "tk-1", "open")]);
    plant.until(601);
    assert_eq!(plant.words()[1..], [(600, "tk-1", "escalate")]);
}

#[test]
fn a_lost_path_is_one_alarm_and_the_silence_behind_it_stands_still() {
    let text = "[[rule]]\nid = \"silent\"\nwhen = \"absent(30m)\"\n";
    let mut plant = Plant::new(text);
    for number in 0..9 {
        plant.say(1_000, ("sh-1", &format!("d-{number}")), "temp_c", -20.0);
    }
    // Ten minutes of silence, two hours without a path, ten minutes of grace: 20 minutes are left.
    plant.until(1_600);
    plant.step(Input::Path { source: 0, up: false });
    plant.until(1_600 + 7_200);
    assert_eq!(plant.words(), [(1_660, "tk-1", "open")]);
    assert!(plant.text(0).contains("No messages can arrive"), "{}", plant.text(0));
    plant.step(Input::Path { source: 0, up: true });
    assert_eq!(plant.words().last(), Some(&(8_800, "tk-1", "resolve")));
    plant.say(8_900, ("sh-1", "d-0"), "temp_c", -20.0);
    plant.until(8_800 + 600 + 1_199);
    assert_eq!(plant.calls.len(), 2);
    plant.until(8_800 + 600 + 1_203);
    assert_eq!(plant.calls.len(), 2 + 8, "all but the one that has spoken: {:?}", plant.words());
}
