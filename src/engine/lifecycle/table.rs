//! The ISA-18.2 states as one match, once.

use crate::engine::types::alarm::{AlarmState, Signature};
use crate::engine::types::rule::FlapLimits;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// A condition's value, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// It cannot be told.
    Unknown,
}

/// What the conditions of a rule say about one device at one event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Event time.
    pub at: Timestamp,
    /// `when`.
    pub when: Truth,
    /// `clear_when`, or the opposite of `when`.
    pub clear: Truth,
}

/// What of a rule the life cycle depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How long `when` must hold.
    pub on_delay: TimeSpan,
    /// How long the return must hold.
    pub off_delay: TimeSpan,
    /// How many rising edges raise.
    pub occurrences: u32,
    /// Within which time.
    pub occurrences_within: TimeSpan,
    /// Stays until a reset.
    pub latch: bool,
    /// When it changes too often.
    pub flapping: FlapLimits,
}

/// What happened to the alarm, with its event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new episode begins.
    Raised(Timestamp),
    /// The fault is back before a latched alarm was reset: the same episode goes on.
    RaisedAgain(Timestamp),
    /// The fault is over.
    Returned(Timestamp),
    /// Somebody has taken it.
    Acknowledged(Timestamp),
    /// The episode is over.
    Closed(Timestamp),
    /// It changes too often, and counts as raised until it is steady.
    Unsteady(Timestamp),
    /// It no longer changes too often.
    Steady {
        /// Event time.
        at: Timestamp,
        /// Since when it flapped.
        since: Timestamp,
        /// How often it changed, those that made it flapping included.
        changes: u32,
    },
}

/// The state after an observation or an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The new state.
    pub state: AlarmState,
    /// What happened, in order; at most two.
    pub events: Vec<Event>,
    /// Event time at which the conditions must be looked at again, whatever arrives.
    pub due: Option<Timestamp>,
}

impl Next {
    fn stay(state: &AlarmState) -> Next {
        Next { state: state.clone(), events: Vec::new(), due: None }
    }

    fn to(state: AlarmState, events: Vec<Event>) -> Next {
        Next { state, events, due: None }
    }

    fn wait(state: AlarmState, due: Timestamp) -> Next {
        Next { state, events: Vec::new(), due: Some(due) }
    }
}

/// Moves an alarm on what its conditions say. `edges` keeps the rising edges that count towards
/// `occurrences`.
pub fn observe(
    state: &AlarmState,
    edges: &mut Vec<Timestamp>,
    policy: &Policy,
    seen: Observation,
) -> Next {
    match state {
        AlarmState::Normal => {
            rise(None, edges, policy, seen).unwrap_or_else(|rising| match rising {
                Some(since) => Next::wait(AlarmState::Pending { since }, since + policy.on_delay),
                None => Next::stay(state),
            })
        }
        AlarmState::Pending { since } => {
            rise(Some(*since), edges, policy, seen).unwrap_or_else(|rising| match rising {
                Some(since) => pending(AlarmState::Pending { since }, since, policy, seen),
                None => Next::to(AlarmState::Normal, Vec::new()),
            })
        }
        AlarmState::Unacknowledged { clearing } => match fall(*clearing, policy, seen) {
            Fall::Done(at) => returned(state, policy, at, None),
            Fall::Wait(clearing) => {
                let state = AlarmState::Unacknowledged { clearing };
                falling(state, clearing, policy, seen)
            }
        },
        AlarmState::Acknowledged { ack, clearing } => match fall(*clearing, policy, seen) {
            Fall::Done(at) => returned(state, policy, at, None),
            Fall::Wait(clearing) => {
                let state = AlarmState::Acknowledged { ack: ack.clone(), clearing };
                falling(state, clearing, policy, seen)
            }
        },
        AlarmState::Returned { rising } => match rise(*rising, edges, policy, seen) {
            Ok(mut next) => {
                next.events.insert(0, Event::Closed(seen.at));
                next
            }
            Err(Some(since)) => {
                pending(AlarmState::Returned { rising: Some(since) }, since, policy, seen)
            }
            Err(None) => Next::to(AlarmState::Returned { rising: None }, Vec::new()),
        },
        AlarmState::Latched { ack, rising } => match rise(*rising, edges, policy, seen) {
            Ok(next) => Next::to(next.state, vec![Event::RaisedAgain(seen.at)]),
            Err(rising) => {
                let state = AlarmState::Latched { ack: ack.clone(), rising };
                match rising {
                    Some(since) => pending(state, since, policy, seen),
                    None => Next::to(state, Vec::new()),
                }
            }
        },
    }
}

/// A person takes the alarm: B -> C, D -> A. Elsewhere there is nothing to take.
pub fn acknowledge(state: &AlarmState, signature: &Signature, at: Timestamp) -> Option<Next> {
    match state {
        AlarmState::Unacknowledged { clearing } => Some(Next::to(
            AlarmState::Acknowledged { ack: signature.clone(), clearing: *clearing },
            vec![Event::Acknowledged(at)],
        )),
        AlarmState::Returned { rising } => {
            Some(Next::to(at_rest(*rising), vec![Event::Acknowledged(at), Event::Closed(at)]))
        }
        AlarmState::Latched { ack: None, rising } => Some(Next::to(
            AlarmState::Latched { ack: Some(signature.clone()), rising: *rising },
            vec![Event::Acknowledged(at)],
        )),
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Acknowledged { .. }
        | AlarmState::Latched { ack: Some(_), .. } => None,
    }
}

/// It is worse than what was taken, or back from its shelf: C -> B.
pub fn re_alarm(state: &AlarmState) -> Option<Next> {
    match state {
        AlarmState::Acknowledged { clearing, .. } => {
            Some(Next::to(AlarmState::Unacknowledged { clearing: *clearing }, Vec::new()))
        }
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Unacknowledged { .. }
        | AlarmState::Returned { .. }
        | AlarmState::Latched { .. } => None,
    }
}

/// An operator lets a latched alarm go.
pub fn reset(state: &AlarmState, at: Timestamp) -> Option<Next> {
    match state {
        AlarmState::Latched { rising, .. } => {
            Some(Next::to(at_rest(*rising), vec![Event::Closed(at)]))
        }
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Unacknowledged { .. }
        | AlarmState::Acknowledged { .. }
        | AlarmState::Returned { .. } => None,
    }
}

/// The ticket of the episode is over, so that nobody is left to take it: D -> A.
pub fn ticket_over(state: &AlarmState, at: Timestamp) -> Option<Next> {
    match state {
        AlarmState::Returned { rising } => {
            Some(Next::to(at_rest(*rising), vec![Event::Closed(at)]))
        }
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Unacknowledged { .. }
        | AlarmState::Acknowledged { .. }
        | AlarmState::Latched { .. } => None,
    }
}

/// `Ok` when the alarm is raised now, else since when it has been rising, if it is.
pub(super) fn rise(
    rising: Option<Timestamp>,
    edges: &mut Vec<Timestamp>,
    policy: &Policy,
    seen: Observation,
) -> Result<Next, Option<Timestamp>> {
    let since = match (rising, seen.when) {
        (Some(since), Truth::Holds) => since,
        (None, Truth::Holds) => {
            count_edge(edges, policy, seen.at);
            seen.at
        }
        (rising, Truth::Unknown) => return Err(rising),
        (_, Truth::Fails) => return Err(None),
    };
    let held = seen.at.since(since) >= policy.on_delay;
    if held && enough_edges(edges, policy, seen.at) {
        edges.clear();
        let state = AlarmState::Unacknowledged { clearing: None };
        return Ok(Next::to(state, vec![Event::Raised(seen.at)]));
    }
    Err(Some(since))
}

/// What the conditions say of the return.
pub(super) enum Fall {
    /// It is there.
    Done(Timestamp),
    /// It is not, or has held since then.
    Wait(Option<Timestamp>),
}

/// Whether the return is there, given since when it has held.
pub(super) fn fall(clearing: Option<Timestamp>, policy: &Policy, seen: Observation) -> Fall {
    let since = match (clearing, seen.clear) {
        (Some(since), Truth::Holds) => since,
        (None, Truth::Holds) => seen.at,
        (clearing, Truth::Unknown) => return Fall::Wait(clearing),
        (_, Truth::Fails) => return Fall::Wait(None),
    };
    if seen.at.since(since) >= policy.off_delay {
        Fall::Done(seen.at)
    } else {
        Fall::Wait(Some(since))
    }
}

/// Still rising: look again when the delay is over, unless it is over and only a known value,
/// or another edge, is missing.
fn pending(state: AlarmState, since: Timestamp, policy: &Policy, seen: Observation) -> Next {
    let due = since + policy.on_delay;
    Next { state, events: Vec::new(), due: (due > seen.at).then_some(due) }
}

fn falling(
    state: AlarmState,
    clearing: Option<Timestamp>,
    policy: &Policy,
    seen: Observation,
) -> Next {
    let due = clearing.map(|since| since + policy.off_delay).filter(|due| *due > seen.at);
    Next { state, events: Vec::new(), due }
}

/// A raised alarm returns: B -> D, C -> A, or latched; `rising` since `when` holds again.
pub(super) fn returned(
    state: &AlarmState,
    policy: &Policy,
    at: Timestamp,
    rising: Option<Timestamp>,
) -> Next {
    let ack = match state {
        AlarmState::Acknowledged { ack, .. } => Some(ack.clone()),
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Unacknowledged { .. }
        | AlarmState::Returned { .. }
        | AlarmState::Latched { .. } => None,
    };
    let mut events = vec![Event::Returned(at)];
    let state = match ack {
        ack if policy.latch => AlarmState::Latched { ack, rising },
        None => AlarmState::Returned { rising },
        Some(_) => {
            events.push(Event::Closed(at));
            at_rest(rising)
        }
    };
    let due = rising.map(|since| since + policy.on_delay).filter(|due| *due > at);
    Next { state, events, due }
}

/// A, or pending where `when` has begun to hold again meanwhile.
fn at_rest(rising: Option<Timestamp>) -> AlarmState {
    rising.map_or(AlarmState::Normal, |since| AlarmState::Pending { since })
}

fn count_edge(edges: &mut Vec<Timestamp>, policy: &Policy, at: Timestamp) {
    if policy.occurrences > 1 {
        edges.retain(|edge| at.since(*edge) < policy.occurrences_within);
        if edges.len() >= policy.occurrences as usize {
            edges.remove(0);
        }
        edges.push(at);
    }
}

fn enough_edges(edges: &[Timestamp], policy: &Policy, at: Timestamp) -> bool {
    let recent = edges.iter().filter(|edge| at.since(**edge) < policy.occurrences_within).count();
    policy.occurrences <= 1 || recent >= policy.occurrences as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn policy(on: i64, off: i64) -> Policy {
        Policy {
            on_delay: TimeSpan::from_secs(on),
            off_delay: TimeSpan::from_secs(off),
            occurrences: 1,
            occurrences_within: TimeSpan::from_secs(3_600),
            latch: false,
            flapping: FlapLimits { low: 20.0, high: None },
        }
    }

    /// Feeds `(second, truth)` pairs, looking again whenever something is due, and tells the story.
    fn story(policy: &Policy, seen: &[(i64, Truth)]) -> Vec<String> {
        let mut state = AlarmState::Normal;
        let mut edges = Vec::new();
        let mut told = Vec::new();
        let mut due: Option<Timestamp> = None;
        let mut last = Truth::Unknown;
        let mut look = |at: Timestamp, when: Truth| -> Option<Timestamp> {
            let clear = match when {
                Truth::Holds => Truth::Fails,
                Truth::Fails => Truth::Holds,
                Truth::Unknown => Truth::Unknown,
            };
            let next = observe(&state, &mut edges, policy, Observation { at, when, clear });
            for event in &next.events {
                told.push(match event {
                    Event::Raised(at) => format!("raised {}", at.micros() / SECOND),
                    Event::RaisedAgain(at) => format!("raised again {}", at.micros() / SECOND),
                    Event::Returned(at) => format!("returned {}", at.micros() / SECOND),
                    Event::Acknowledged(at) => format!("taken {}", at.micros() / SECOND),
                    Event::Closed(at) => format!("closed {}", at.micros() / SECOND),
                    Event::Unsteady(_) | Event::Steady { .. } => unreachable!("not from here"),
                });
            }
            state = next.state;
            next.due
        };
        for (second, when) in seen {
            let at = Timestamp::from_micros(second * SECOND);
            while let Some(timer) = due.filter(|due| *due <= at) {
                due = look(timer, last);
            }
            due = look(at, *when);
            last = *when;
        }
        told
    }

    use Truth::{Fails, Holds, Unknown};

    #[test]
    fn a_delay_that_runs_out_between_samples_raises_at_its_second() {
        assert_eq!(story(&policy(10, 0), &[(0, Holds), (60, Fails)]), ["raised 10", "returned 60"]);
    }

    #[test]
    fn a_condition_that_stops_holding_before_the_delay_raises_nothing() {
        assert!(story(&policy(10, 0), &[(0, Holds), (9, Fails), (30, Fails)]).is_empty());
    }

    #[test]
    fn the_return_waits_for_its_own_delay() {
        let seen = [(0, Holds), (5, Fails), (8, Holds), (9, Fails), (30, Fails)];
        assert_eq!(story(&policy(0, 10), &seen), ["raised 0", "returned 19"]);
    }

    #[test]
    fn an_unknown_condition_neither_raises_nor_clears() {
        let seen =
            [(0, Holds), (5, Unknown), (20, Unknown), (25, Holds), (26, Unknown), (40, Unknown)];
        assert_eq!(story(&policy(10, 0), &seen), ["raised 25"]);
    }

    #[test]
    fn occurrences_count_distinct_rising_edges_within_the_time() {
        let three =
            Policy { occurrences: 3, occurrences_within: TimeSpan::from_secs(60), ..policy(0, 0) };
        let seen = [(0, Holds), (1, Holds), (2, Fails), (10, Holds), (11, Fails), (20, Holds)];
        assert_eq!(story(&three, &seen), ["raised 20"]);
        let slow = [(0, Holds), (2, Fails), (30, Holds), (31, Fails), (61, Holds), (62, Holds)];
        assert!(story(&three, &slow).is_empty());
    }

    #[test]
    fn a_new_fault_before_the_ticket_is_over_closes_the_old_episode_and_raises_the_next() {
        let seen = [(0, Holds), (1, Fails), (2, Holds)];
        assert_eq!(story(&policy(0, 0), &seen), ["raised 0", "returned 1", "closed 2", "raised 2"]);
    }

    #[test]
    fn a_latched_alarm_waits_for_a_reset_and_goes_on_as_the_same_episode() {
        let latching = Policy { latch: true, ..policy(0, 0) };
        let seen = [(0, Holds), (1, Fails), (2, Holds)];
        assert_eq!(story(&latching, &seen), ["raised 0", "returned 1", "raised again 2"]);
        let latched = AlarmState::Latched { ack: None, rising: None };
        let next = reset(&latched, Timestamp::EPOCH).expect("a latched alarm can be reset");
        assert_eq!(next.state, AlarmState::Normal);
        assert_eq!(next.events, [Event::Closed(Timestamp::EPOCH)]);
    }
}
