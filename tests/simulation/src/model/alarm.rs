//! One alarm: where it stands, and what it does on what it sees.

use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::Value;
use crate::rules::{Condition, Rule};

/// So many changes within an hour are too many: the score is 35.53, and 30 begins it.
const FLAPS_AT: usize = 6;
/// With so many it is calm: the score is 18.36, and 20 ends it.
const CALM_AT: usize = 3;
/// How long a change counts.
const CHANGE_COUNTS: TimeSpan = TimeSpan::from_secs(3_600);

/// When an alarm changed that never did.
pub(super) const BEFORE_ALL: Timestamp = Timestamp::from_micros(i64::MIN);

/// Where an alarm stands. *Returned* counts as normal: nothing hangs on it but an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, or since when the condition holds.
    Normal {
        /// Since when it holds, not long enough yet.
        rising: Option<Timestamp>,
    },
    /// The fault is there.
    Raised {
        /// Somebody has taken it.
        taken: bool,
        /// Since when it seems to be over.
        clearing: Option<Timestamp>,
    },
    /// Over, and to be reset.
    Latched {
        /// Somebody has taken it.
        taken: bool,
        /// Since when the condition holds again.
        rising: Option<Timestamp>,
    },
}

/// One alarm.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// Where it stands.
    pub state: State,
    /// Number of its last episode, 0 before the first.
    pub episode: u32,
    pub(super) changed_at: Timestamp,
    pub(super) due: Option<Timestamp>,
    /// An operator keeps it from people.
    pub(super) shelf: Option<Shelf>,
    /// Raised then, and kept from people: it has no ticket yet.
    pub(super) held_since: Option<Timestamp>,
    /// Limits and delays that it was judged by last.
    pub(super) judged_by: Option<Limits>,
    /// What it was judged by last, and when that was measured.
    pub(super) seen: Option<(Timestamp, Value)>,
    /// When it was raised and returned.
    pub(super) changes: Vec<Timestamp>,
    /// It changes too often, and what it does underneath.
    pub(super) flapping: Option<Underneath>,
    /// Where it stood since it was last told of, oldest first, the present included.
    pub(super) stood: Vec<Stood>,
}

/// Where an alarm stood, and since when.
#[derive(Clone, Debug)]
pub(super) struct Stood {
    pub since: Timestamp,
    pub state: State,
    changes: Vec<Timestamp>,
    flapping: Option<Underneath>,
}

/// For how long an operator keeps an alarm from people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// At the latest until then; without it until it is put back.
    pub until: Option<Timestamp>,
    /// Until it returns.
    pub one_shot: bool,
}

/// What an alarm does that counts as raised because it changes too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Underneath {
    Up,
    Down { rising: Option<Timestamp> },
}

pub(super) type Limits = (Condition, TimeSpan, TimeSpan);

pub(super) fn limits(rule: &Rule) -> Limits {
    (rule.condition, rule.on_delay, rule.off_delay)
}

impl Alarm {
    /// One of which nothing is known.
    pub(super) fn new() -> Alarm {
        Alarm {
            state: State::Normal { rising: None },
            episode: 0,
            changed_at: BEFORE_ALL,
            due: None,
            shelf: None,
            held_since: None,
            judged_by: None,
            seen: None,
            changes: Vec::new(),
            flapping: None,
            stood: Vec::new(),
        }
    }

    /// Where it stands now.
    pub(super) fn standing(&self) -> Stood {
        let (changes, flapping) = (self.changes.clone(), self.flapping);
        Stood { since: self.changed_at, state: self.state, changes, flapping }
    }

    /// A sample of this time has come late: what nobody was told of is undone. True when something
    /// was.
    pub(super) fn undo_since(&mut self, event: Timestamp, newest: Timestamp) -> bool {
        if self.stood.first().is_none_or(|first| first.since > newest) {
            return false;
        }
        let before = self.stood.len();
        while self.stood.len() > 1 && self.stood.last().is_some_and(|last| last.since > event) {
            self.stood.pop();
        }
        let undone = self.stood.len() < before;
        if let Some(stood) = self.stood.last().filter(|_| undone).cloned() {
            self.changed_at = stood.since;
            self.state = stood.state;
            self.changes = stood.changes;
            self.flapping = stood.flapping;
            self.due = None;
        }
        undone
    }

    /// Something is done to it, whatever becomes of late samples.
    pub(super) fn act(&mut self, act: impl Fn(State) -> State) {
        self.state = act(self.state);
        self.stood.iter_mut().for_each(|stood| stood.state = act(stood.state));
    }

    /// Somebody must take it again.
    pub(super) fn untake(&mut self) {
        self.act(|state| match state {
            State::Raised { clearing, .. } => State::Raised { taken: false, clearing },
            State::Normal { .. } | State::Latched { .. } => state,
        });
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.state != State::Normal { rising: None }
    }

    fn changes_within_an_hour(&self, at: Timestamp) -> usize {
        self.changes.iter().filter(|change| at.since(**change) < CHANGE_COUNTS).count()
    }

    /// What it does on what it sees, with the flapping around it.
    pub(super) fn go_on(
        &mut self,
        rule: &Rule,
        at: Timestamp,
        seen: Seen,
    ) -> (State, Option<Happened>) {
        let (state, State::Raised { taken, .. }, Some(under)) =
            (self.state, self.state, self.flapping.take())
        else {
            return self.may_flap(rule, at, seen);
        };
        let plain = Rule { latch: false, ..rule.clone() };
        let (state, under) = match under {
            Underneath::Up => match step(state, &plain, at, seen) {
                (_, Some(_)) => {
                    self.changes.push(at);
                    let state = State::Raised { taken, clearing: None };
                    (state, Underneath::Down { rising: None })
                }
                (state, None) => (state, Underneath::Up),
            },
            Underneath::Down { rising } => match step(State::Normal { rising }, rule, at, seen) {
                (State::Normal { rising }, _) => (state, Underneath::Down { rising }),
                _ => {
                    self.changes.push(at);
                    (state, Underneath::Up)
                }
            },
        };
        match under {
            under if self.changes_within_an_hour(at) > CALM_AT => {
                self.flapping = Some(under);
                (state, None)
            }
            Underneath::Up => (state, None),
            Underneath::Down { rising } if rule.latch => {
                (State::Latched { taken, rising }, Some(Happened::Returned))
            }
            Underneath::Down { rising } => (State::Normal { rising }, Some(Happened::Returned)),
        }
    }

    /// It does not flap, but may begin to: from then on it counts as raised.
    fn may_flap(&mut self, rule: &Rule, at: Timestamp, seen: Seen) -> (State, Option<Happened>) {
        let (next, happened) = step(self.state, rule, at, seen);
        if happened.is_some() {
            self.changes.push(at);
        }
        let flaps = happened.is_some() && rule.flaps && self.changes_within_an_hour(at) >= FLAPS_AT;
        match (flaps, self.state, happened) {
            (true, State::Raised { taken, .. }, Some(Happened::Returned)) => {
                self.flapping = Some(Underneath::Down { rising: None });
                (State::Raised { taken, clearing: None }, None)
            }
            (true, ..) => {
                self.flapping = Some(Underneath::Up);
                (next, happened)
            }
            (false, ..) => (next, happened),
        }
    }

    /// When it must be looked at again.
    pub(super) fn due_by(&self, rule: &Rule) -> Option<Timestamp> {
        let Some(under) = self.flapping else { return due(rule, self.state) };
        let of_delay = match under {
            Underneath::Up => due(rule, self.state),
            Underneath::Down { rising } => due(rule, State::Normal { rising }),
        };
        let last_too_many = self.changes.iter().rev().nth(CALM_AT);
        let calm = last_too_many.map(|change| *change + CHANGE_COUNTS);
        of_delay.into_iter().chain(calm).min()
    }
}

/// Whether the condition holds, and that of the return; `None` where that cannot be told.
pub(super) type Seen = Option<(bool, bool)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Raised,
    RaisedAgain,
    Returned,
}

/// When an alarm must be looked at again.
fn due(rule: &Rule, state: State) -> Option<Timestamp> {
    match state {
        State::Normal { rising } | State::Latched { rising, .. } => {
            rising.map(|since| since + rule.on_delay)
        }
        State::Raised { clearing, .. } => clearing.map(|since| since + rule.off_delay),
    }
}

/// What an alarm does on what it sees.
fn step(state: State, rule: &Rule, at: Timestamp, seen: Seen) -> (State, Option<Happened>) {
    let Some((when, clear)) = seen else { return (state, None) };
    let raised = State::Raised { taken: false, clearing: None };
    let rise = |rising: Option<Timestamp>| {
        let since = rising.unwrap_or(at);
        (when && at.since(since) >= rule.on_delay, when.then_some(since))
    };
    match state {
        State::Normal { rising } => match rise(rising) {
            (true, _) => (raised, Some(Happened::Raised)),
            (false, rising) => (State::Normal { rising }, None),
        },
        State::Latched { taken, rising } => match rise(rising) {
            (true, _) => (raised, Some(Happened::RaisedAgain)),
            (false, rising) => (State::Latched { taken, rising }, None),
        },
        State::Raised { taken, clearing } => {
            let since = clearing.unwrap_or(at);
            if !clear {
                (State::Raised { taken, clearing: None }, None)
            } else if at.since(since) < rule.off_delay {
                (State::Raised { taken, clearing: Some(since) }, None)
            } else if rule.latch {
                (State::Latched { taken, rising: None }, Some(Happened::Returned))
            } else {
                (State::Normal { rising: None }, Some(Happened::Returned))
            }
        }
    }
}
