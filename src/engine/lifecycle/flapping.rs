//! Flapping, between the delays and suppression: an alarm that changes too often stays raised, on
//! one ticket, until it has calmed down.
//!
//! Source of the algorithm: Nagios Core, `base/flapping.c`. Of the last 21 states of an alarm the
//! 20 transitions weigh from 0.75 (oldest) to 1.25 (newest); the score is the weight of those that
//! changed, in hundredths of 20. A state is kept for each raise and each return, and for an hour
//! at most, so that the score falls by itself while nothing happens.

use super::table::{self, Event, Fall, Next, Observation, Policy};
use crate::engine::types::alarm::{AlarmState, Flapping, Lull};
use crate::engine::types::rule::FlapLimits;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Transitions between the 21 states.
const TRANSITIONS: usize = 20;
/// Weight of the newest transition.
const NEWEST: f64 = 1.25;
/// Weight of the oldest.
const OLDEST: f64 = 0.75;
/// How long a state counts.
const WINDOW: TimeSpan = TimeSpan::from_secs(3_600);

/// What an alarm did before, as far as it decides what it does next.
#[derive(Debug)]
pub struct Past<'a> {
    /// Rising edges that count towards `occurrences`.
    pub edges: &'a mut Vec<Timestamp>,
    /// Event times of the last raises and returns, oldest first.
    pub changes: &'a mut Vec<Timestamp>,
    /// It flaps, and what it does underneath.
    pub flapping: &'a mut Option<Flapping>,
}

/// The score of an alarm whose newest transitions, so many of them, changed.
pub fn score(changed: usize) -> f64 {
    let step = (NEWEST - OLDEST) / (TRANSITIONS - 1) as f64;
    let weights = (0..changed.min(TRANSITIONS)).map(|age| NEWEST - age as f64 * step);
    100.0 * weights.sum::<f64>() / TRANSITIONS as f64
}

/// How many of these changes count at a time.
pub fn recent(changes: &[Timestamp], at: Timestamp) -> usize {
    changes.iter().filter(|change| at.since(**change) < WINDOW).count()
}

/// When an alarm that flaps is calm, if it changes no more.
pub fn calm_at(changes: &[Timestamp], limits: FlapLimits) -> Option<Timestamp> {
    let kept = (1..=TRANSITIONS).take_while(|kept| score(*kept) <= limits.low).count();
    let last_too_many = changes.len().checked_sub(kept + 1)?;
    changes.get(last_too_many).map(|change| *change + WINDOW)
}

/// Moves an alarm on what its conditions say.
pub fn observe(
    state: &AlarmState,
    past: &mut Past<'_>,
    policy: &Policy,
    seen: Observation,
) -> Next {
    match (state, past.flapping.take()) {
        (AlarmState::Unacknowledged { .. } | AlarmState::Acknowledged { .. }, Some(flapping)) => {
            go_on(state, flapping, past, policy, seen)
        }
        (_, _) => begin(state, past, policy, seen),
    }
}

/// The alarm is not flapping, but may begin to.
fn begin(state: &AlarmState, past: &mut Past<'_>, policy: &Policy, seen: Observation) -> Next {
    let mut next = table::observe(state, past.edges, policy, seen);
    let mut raised = None;
    for event in &next.events {
        match event {
            Event::Raised(at) | Event::RaisedAgain(at) => raised = note(past.changes, *at, true),
            Event::Returned(at) => raised = note(past.changes, *at, false),
            Event::Acknowledged(_)
            | Event::Closed(_)
            | Event::Unsteady(_)
            | Event::Steady { .. } => {}
        }
    }
    let is_high = |high| score(recent(past.changes, seen.at)) >= high;
    let Some(raised) = raised.filter(|_| policy.flapping.high.is_some_and(is_high)) else {
        return next;
    };
    let lull = (!raised).then_some(Lull { rising: None });
    if !raised {
        // It counts as raised: the return does not happen.
        next = Next { state: still(state), events: Vec::new(), due: None };
    }
    *past.flapping = Some(Flapping { since: seen.at, changes: past.changes.len() as u32, lull });
    next.events.push(Event::Unsteady(seen.at));
    next.due = next.due.into_iter().chain(calm_at(past.changes, policy.flapping)).min();
    next
}

/// The alarm flaps: it goes up and down underneath, until it is calm.
fn go_on(
    state: &AlarmState,
    mut flapping: Flapping,
    past: &mut Past<'_>,
    policy: &Policy,
    seen: Observation,
) -> Next {
    let mut next = Next { state: state.clone(), events: Vec::new(), due: None };
    match flapping.lull.take() {
        None => match table::fall(state.clearing(), policy, seen) {
            Fall::Done(at) => {
                note(past.changes, at, false);
                flapping.changes = flapping.changes.saturating_add(1);
                flapping.lull = Some(Lull { rising: None });
                next.state = still(state);
            }
            Fall::Wait(since) => {
                next.state = with_clearing(state, since);
                next.due = since.map(|since| since + policy.off_delay);
            }
        },
        Some(lull) => match table::rise(lull.rising, past.edges, policy, seen) {
            Ok(_) => {
                note(past.changes, seen.at, true);
                flapping.changes = flapping.changes.saturating_add(1);
            }
            Err(rising) => {
                flapping.lull = Some(Lull { rising });
                next.due = rising.map(|since| since + policy.on_delay);
            }
        },
    }
    if score(recent(past.changes, seen.at)) > policy.flapping.low {
        let calm = calm_at(past.changes, policy.flapping);
        next.due = next.due.into_iter().chain(calm).filter(|at| *at > seen.at).min();
        *past.flapping = Some(flapping);
        return next;
    }
    let steady = Event::Steady { at: seen.at, since: flapping.since, changes: flapping.changes };
    if let Some(lull) = flapping.lull {
        next = table::returned(&next.state, policy, seen.at, lull.rising);
    }
    next.events.insert(0, steady);
    next
}

/// Keeps a change, and nothing that is too old to count. What the alarm is now.
fn note(changes: &mut Vec<Timestamp>, at: Timestamp, raised: bool) -> Option<bool> {
    changes.retain(|change| at.since(*change) < WINDOW);
    if changes.len() >= TRANSITIONS {
        changes.remove(0);
    }
    changes.push(at);
    Some(raised)
}

/// The same raised state, with no return under way.
fn still(state: &AlarmState) -> AlarmState {
    with_clearing(state, None)
}

fn with_clearing(state: &AlarmState, clearing: Option<Timestamp>) -> AlarmState {
    match state {
        AlarmState::Unacknowledged { .. } => AlarmState::Unacknowledged { clearing },
        AlarmState::Acknowledged { ack, .. } => {
            AlarmState::Acknowledged { ack: ack.clone(), clearing }
        }
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Returned { .. }
        | AlarmState::Latched { .. } => state.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lifecycle::Truth;

    #[test]
    fn the_score_is_that_of_nagios_for_the_newest_transitions() {
        let scores: Vec<String> = (1..=6).map(|changed| format!("{:.2}", score(changed))).collect();
        assert_eq!(scores, ["6.25", "12.37", "18.36", "24.21", "29.93", "35.53"]);
        assert_eq!(score(0), 0.0);
        assert!((score(20) - 100.0).abs() < 1e-9 && score(21) == score(20));
    }

    const MINUTE: i64 = 60_000_000;

    /// Feeds `(minute, holds)` pairs, looking again whenever something is due, and tells the story.
    fn story(latch: bool, seen: &[(i64, bool)], until: i64) -> Vec<String> {
        let policy = Policy {
            on_delay: TimeSpan::ZERO,
            off_delay: TimeSpan::ZERO,
            occurrences: 1,
            occurrences_within: TimeSpan::from_secs(3_600),
            latch,
            flapping: FlapLimits::default(),
        };
        let mut state = AlarmState::Normal;
        let (mut edges, mut changes, mut flapping) = (Vec::new(), Vec::new(), None);
        let mut told = Vec::new();
        let mut due: Option<Timestamp> = None;
        let mut look = |at: Timestamp, holds: bool| {
            let (when, clear) =
                if holds { (Truth::Holds, Truth::Fails) } else { (Truth::Fails, Truth::Holds) };
            let mut past =
                Past { edges: &mut edges, changes: &mut changes, flapping: &mut flapping };
            let next = observe(&state, &mut past, &policy, Observation { at, when, clear });
            told.extend(next.events.iter().map(|event| match event {
                Event::Raised(at) => format!("raised {}", at.micros() / MINUTE),
                Event::RaisedAgain(at) => format!("raised again {}", at.micros() / MINUTE),
                Event::Returned(at) => format!("returned {}", at.micros() / MINUTE),
                Event::Acknowledged(at) => format!("taken {}", at.micros() / MINUTE),
                Event::Closed(at) => format!("closed {}", at.micros() / MINUTE),
                Event::Unsteady(at) => format!("unsteady {}", at.micros() / MINUTE),
                Event::Steady { at, since, changes } => format!(
                    "steady {} since {} changes {changes}",
                    at.micros() / MINUTE,
                    since.micros() / MINUTE
                ),
            }));
            state = next.state;
            next.due
        };
        let mut last = false;
        for (minute, holds) in seen.iter().copied().chain([(until, false)]) {
            let at = Timestamp::from_micros(minute * MINUTE);
            let holds = if minute == until { last } else { holds };
            while let Some(timer) = due.filter(|due| *due <= at) {
                due = look(timer, last);
            }
            due = look(at, holds);
            last = holds;
        }
        told
    }

    /// Up and down every minute, so many times.
    fn wobble(times: i64) -> Vec<(i64, bool)> {
        (0..times).map(|minute| (minute, minute % 2 == 0)).collect()
    }

    #[test]
    fn five_changes_are_not_flapping() {
        let told = story(false, &wobble(5), 30);
        assert_eq!(told.last().map(String::as_str), Some("raised 4"));
        assert!(told.iter().all(|line| !line.starts_with("unsteady")));
    }

    #[test]
    fn the_sixth_change_of_an_hour_starts_it_and_the_return_waits_until_three_are_left() {
        let told = story(false, &wobble(6), 120);
        let end = &told[told.len() - 3..];
        // Changes at 0 to 5: at 62 the one of minute 2 is an hour old, and three are left.
        assert_eq!(end, ["unsteady 5", "steady 62 since 5 changes 6", "returned 62"]);
    }

    #[test]
    fn while_it_flaps_nothing_is_raised_or_returned() {
        let told = story(false, &wobble(41), 200);
        let last = &told[told.len() - 2..];
        // It stays up after minute 40: calm when only the changes of 38, 39 and 40 are left.
        assert_eq!(last, ["unsteady 5", "steady 97 since 5 changes 41"]);
    }

    #[test]
    fn a_latched_alarm_that_flapped_waits_for_its_reset() {
        let told = story(true, &wobble(6), 120);
        assert_eq!(told.last().map(String::as_str), Some("returned 62"));
        assert!(told.iter().all(|line| !line.starts_with("closed")));
    }
}
