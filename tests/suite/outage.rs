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

/// What a ticket system was told since it is back, in order.
struct Since {
    plant: Plant,
    /// When it was.
    back: i64,
    /// Ticket, word and text of each action.
    told: Vec<(String, &'static str, String)>,
}

/// A day without a ticket system.
fn day_without() -> Since {
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
    let back = since.clone().map(|(at, ..)| *at).min().expect("it was told something");
    let told = since.map(|(_, ticket, word, text)| (ticket.clone(), *word, text.clone())).collect();
    Since { plant, back, told }
}

#[test]
fn three_thousand_faults_of_a_day_come_down_to_what_is_left_of_them_in_order_and_in_words() {
    let since = day_without();
    comes_down_to_what_is_left(&since);
    comes_critical_first_then_by_age(&since);
    says_when_it_was_and_how_late_it_is(&since);
}

fn comes_down_to_what_is_left(Since { plant, told, .. }: &Since) {
    assert!(plant.in_vain < 1_000, "{} calls in vain", plant.in_vain);
    assert_eq!(plant.digest.len() as i64, RETURN, "minor ones that came and went: a line each");
    assert!(plant.digest.iter().all(|title| title.starts_with("warm")));
    let count = |word: &str| told.iter().filter(|(_, told, _)| *told == word).count() as i64;
    let survivors = FAULTS - RETURN;
    assert_eq!(
        count("open"),
        FAULTS + survivors,
        "all critical ones, and minor ones that are left"
    );
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

/// Severity (critical is false) and number of the device that a new ticket is about.
fn subject(text: &str) -> (bool, i64) {
    let device = text.lines().find_map(|line| line.strip_prefix("Device: "));
    let name = device.and_then(|device| device.split(' ').next());
    let number = name.and_then(|name| name.rsplit('-').next()?.parse().ok());
    (!text.contains("Severity: critical"), number.expect("the number of a device"))
}

fn comes_critical_first_then_by_age(Since { told, .. }: &Since) {
    let opened = told.iter().filter(|(_, word, _)| *word == "open");
    let order: Vec<(bool, i64)> = opened.map(|(_, _, text)| subject(text)).collect();
    // The first had to try whether the system answers.
    assert!(!order[0].0, "a critical one tries");
    assert!(order[1..].is_sorted(), "{order:?}");
}

fn says_when_it_was_and_how_late_it_is(Since { plant, back, told }: &Since) {
    let local = |second: i64| {
        let at: Timestamp = plant.start + TimeSpan::from_secs(second + 8 * 3_600);
        at.to_string().replace('T', " ").split(['.', 'Z']).next().unwrap_or_default().to_owned()
    };
    let mut tickets: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (ticket, word, text) in told {
        tickets.entry(ticket).or_default().push((word, text));
    }
    let mut first = true;
    for actions in tickets.values().filter(|actions| actions[0].0 == "open") {
        let text = actions[0].1;
        let (minor, number) = subject(text);
        let at = raised_at(!minor, number);
        assert!(text.contains(&local(at)), "its time, {}: {text}", local(at));
        let late = TimeSpan::from_secs(back - at);
        let says_late = text.contains(&format!("Late: by {late} "));
        // The one that tried whether the system answers was made before it was back.
        assert!(says_late || std::mem::take(&mut first), "late by {late}: {text}");
        let words: Vec<&str> = actions.iter().map(|(word, _)| *word).collect();
        if !minor && number < RETURN {
            assert_eq!(words, ["open", "resolve"], "{text}");
            let over = local(at - FAULTS_FROM + RETURNS_FROM);
            assert!(actions[1].1.contains(&over), "when it was over, {over}: {}", actions[1].1);
        } else {
            assert_eq!(words, ["open"], "{text}");
        }
    }
}
