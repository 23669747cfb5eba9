//! A circuit breaker for each upstream: one that fails is asked by one call at a time, now and then,
//! until it answers.

use super::retry::retry_at;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;

/// Whether an upstream is worth a call.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Failures in a row.
    failures: u32,
    /// When the first of them was.
    down_since: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum State {
    /// Calls go through.
    #[default]
    Closed,
    /// None goes before this time; then one does.
    Open(Timestamp),
    /// One is under way.
    Probing,
}

impl Breaker {
    /// True when a call may be made now.
    pub fn may_call(&self, now: Timestamp) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) => until <= now,
            State::Probing => false,
        }
    }

    /// A call is made.
    pub fn called(&mut self) {
        if let State::Open(_) = self.state {
            self.state = State::Probing;
        }
    }

    /// The upstream has answered something that it meant. Since when it had not, if it was down.
    pub fn answered(&mut self) -> Option<Timestamp> {
        let was_open = !matches!(self.state, State::Closed);
        self.state = State::Closed;
        self.failures = 0;
        self.down_since.take().filter(|_| was_open)
    }

    /// It has not. `after`: how long it asks to be left alone.
    pub fn failed(&mut self, now: Timestamp, upstream: &str, after: Option<TimeSpan>) {
        self.failures = self.failures.saturating_add(1);
        self.down_since.get_or_insert(now);
        let earlier = match self.state {
            State::Open(until) => Some(until),
            State::Closed | State::Probing => None,
        };
        let was_probing = matches!(self.state, State::Probing);
        if was_probing || after.is_some() || self.failures >= FAILURES_MAX {
            // Calls that were under way when it opened fail too: they do not push it further away.
            let times = self.failures.saturating_sub(FAILURES_MAX) + 1;
            let until = match earlier {
                Some(until) => after.map_or(until, |after| until.max(now + after)),
                None => retry_at(now, upstream, times, after),
            };
            self.state = State::Open(until);
        }
    }

    /// When the next call may be made, while none may.
    pub fn opens_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Open(until) => Some(until),
            State::Closed | State::Probing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn five_failures_open_it_and_one_answer_closes_it() {
        let mut breaker = Breaker::default();
        for second in 0..4 {
            breaker.failed(at(second), "rt", None);
            assert!(breaker.may_call(at(second)));
        }
        breaker.failed(at(4), "rt", None);
        assert!(!breaker.may_call(at(4)));
        let until = breaker.opens_at().expect("a time");
        assert!(until > at(4) && until <= at(5));
        breaker.failed(at(4), "rt", None);
        assert_eq!(breaker.opens_at(), Some(until), "one that was under way");
        assert!(breaker.may_call(until));
        breaker.called();
        assert!(!breaker.may_call(at(99)), "one at a time");
        assert_eq!(breaker.answered(), Some(at(0)));
        assert!(breaker.may_call(at(99)));
    }

    #[test]
    fn what_the_upstream_asks_for_is_honoured_at_once() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), "rt", Some(TimeSpan::from_secs(60)));
        assert!(!breaker.may_call(at(59)) && breaker.may_call(at(60)));
        breaker.called();
        breaker.failed(at(61), "rt", None);
        assert!(breaker.opens_at().is_some(), "the one that asked again failed: another one will");
    }

    #[test]
    fn an_upstream_that_is_down_for_a_day_is_asked_every_five_minutes_at_the_most() {
        let mut breaker = Breaker::default();
        let (mut now, mut calls) = (at(0), 0);
        while now < at(86_400) {
            if breaker.may_call(now) {
                breaker.called();
                calls += 1;
                breaker.failed(now, "rt", None);
            }
            now = breaker.opens_at().unwrap_or(now + TimeSpan::from_secs(1));
        }
        assert!((300..900).contains(&calls), "{calls}");
        assert_eq!(breaker.answered(), Some(at(0)));
    }
}
