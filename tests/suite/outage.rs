//! A ticket system that was away for a day: what it is told when it is back, in which order, how
//! much of it, and in which words.

use std::collections::BTreeMap;

use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::plant::{Plant, settings};

const SOME_CRITICAL: &str = r#"
[[rule]]
id = "warm"
match = { device = "a-*" }
when = "temp_c > -12"
severity = "minor"
[[rule]]
id = "hot"
match = { device = "b-*" }
when = "temp_c > -12"
severity = "critical"
"#;

/// Faults of each severity, and how many of them return while nobody can be told.
const FAULTS: i64 = 1_500;
const RETURN: i64 = 1_000;
/// Tickets that the system has when it goes away; every other one returns, the rest return and come
/// back.
const KNOWN: i64 = 40;
/// Seconds: the first fault, the first return, and the end of the day.
const FAULTS_FROM: i64 = 1_000;
const RETURNS_FROM: i64 = 40_000;
const BACK: i64 = 86_400;
/// Seconds between two faults.
const EVERY: i64 = 20;

fn raised_at(critical: bool, number: i64) -> i64 {
    FAULTS_FROM + number * EVERY + i64::from(critical) * EVERY / 2
}

/// What one ticket was told since the system is back: word and text of each action.
type Told = BTreeMap<String, Vec<(&'static str, String)>>;

/// A day without a ticket system; what it was told after it, in order.
fn day_without() -> (Plant, Vec<(String, &'static str, String)>) {
    let mut own = settings();
    own.storm.enabled = false;
    let mut plant = Plant::with(SOME_CRITICAL, own);
    let mut said: Vec<(i64, String, f64)> = Vec::new();
    for number in 0..KNOWN {
        let device = format!("a-known-{number}");
        said.push((number, device.clone(), -5.0));
        said.push((200 + number, device.clone(), -20.0));
        if number % 2 == 1 {
            said.push((300 + number, device, -5.0));
        }
    }
    for number in 0..FAULTS {
        for (critical, kind) in [(false, "a"), (true, "b")] {
            let (device, at) = (format!("{kind}-{number}"), raised_at(critical, number));
            said.push((at, device.clone(), -5.0));
            if number < RETURN {
                said.push((at - FAULTS_FROM + RETURNS_FROM, device, -20.0));
            }
        }
    }
    said.sort_by_key(|(at, ..)| *at);
    for (at, device, temp_c) in said {
        plant.is_down = at >= 100;
        plant.say(at, ("s", &device), "temp_c", temp_c);
    }
    plant.until(BACK);
    plant.is_down = false;
    plant.until(BACK + 1_800);
    let since = plant.calls.iter().filter(|(at, ..)| *at >= BACK);
    let since = since.map(|(_, ticket, word, text)| (ticket.clone(), *word, text.clone())).collect();
    (plant, since)
}

#[test]
fn three_thousand_faults_of_a_day_come_down_to_what_is_left_of_them() {
    let (plant, since) = day_without();
    assert!(plant.in_vain < 1_000, "{} calls in vain", plant.in_vain);
    assert_eq!(plant.digest.len() as i64, RETURN, "minor ones that came and went: a line each");
    assert!(plant.digest.iter().all(|title| title.starts_with("warm")));
    let count = |word: &str| since.iter().filter(|(_, told, _)| *told == word).count() as i64;
    let survivors = FAULTS - RETURN;
    assert_eq!(count("open"), FAULTS + survivors, "all critical ones, and minor ones that are left");
    assert_eq!(count("resolve"), RETURN + KNOWN / 2, "critical ones that are over, and known ones");
    assert_eq!((count("comment"), count("reopen")), (KNOWN / 2, 0), "known ones that came back");
    let open = plant.engine.tickets().filter(|ticket| !ticket.status.is_over()).count() as i64;
    assert_eq!(open, 2 * survivors + KNOWN / 2);
    println!(
        "{} faults in a day without the ticket system, {} returned: {} calls in vain; then {} opened, {} resolved, {} comments, {} lines in the digest",
        2 * FAULTS,
        2 * RETURN,
        plant.in_vain,
        count("open"),
        count("resolve"),
        count("comment"),
        plant.digest.len(),
    );
}

#[test]
fn what_is_left_of_a_day_comes_critical_first_then_by_age() {
    let (_, since) = day_without();
    let opened = since.iter().filter(|(_, word, _)| *word == "open");
    let order: Vec<(bool, i64)> = opened
        .map(|(_, _, text)| {
            let critical = text.contains("Severity: critical");
            let device = text.lines().find_map(|line| line.strip_prefix("Device: "));
            let number = device.and_then(|device| device.rsplit('-').next()?.parse().ok());
            (!critical, number.expect("the number of a device"))
        })
        .collect();
    // The first had to try whether the system answers.
    assert!(!order[0].0, "a critical one tries");
    assert!(order[1..].is_sorted(), "{order:?}");
}

#[test]
fn each_ticket_after_a_day_says_when_the_fault_was_and_how_late_it_is() {
    let (plant, since) = day_without();
    let mut told = Told::new();
    for (ticket, word, text) in since {
        told.entry(ticket).or_default().push((word, text));
    }
    let local = |second: i64| {
        let at: Timestamp = plant.start + TimeSpan::from_secs(second + 8 * 3_600);
        at.to_string().replace('T', " ").split(['.', 'Z']).next().unwrap_or_default().to_owned()
    };
    for number in 0..FAULTS {
        let device = format!("Device: b-{number}\n");
        let (_, told) = told
            .iter()
            .find(|(_, told)| told[0].0 == "open" && told[0].1.contains(&device))
            .unwrap_or_else(|| panic!("b-{number} has a ticket"));
        let (at, text) = (raised_at(true, number), &told[0].1);
        assert!(text.contains(&local(at)), "its time, {}: {text}", local(at));
        let words: Vec<&str> = told.iter().map(|(word, _)| *word).collect();
        let returned = number < RETURN;
        assert_eq!(words, if returned { vec!["open", "resolve"] } else { vec!["open"] }, "{text}");
        if returned {
            let back = local(at - FAULTS_FROM + RETURNS_FROM);
            assert!(told[1].1.contains(&back), "when it was over, {back}: {}", told[1].1);
        }
        // The one that tried whether the system answers was made before it was back.
        let hours = (BACK - at) / 3_600;
        let late = text.contains(&format!("Late: by {hours}h")) || text.contains("Late: by 23h");
        assert!(late || number == 0, "{text}");
    }
}
