//! How fast an upstream may be called: its own answers say more than the configuration does.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::bucket::Bucket;
use super::super::config::Rate;
use super::answer::Answer;
use super::spec::{Limits, Op};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Longest wait inside a call; past it the job goes back to the outbox.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest pause that is believed.
const PAUSE_MAX: TimeSpan = TimeSpan::from_secs(24 * 3_600);
/// Numbers from here on are points in time, in seconds since 1970.
const EPOCH_FROM: f64 = 1e9;
/// Numbers from here on are such points in milliseconds.
const EPOCH_MILLIS_FROM: f64 = 1e12;

/// What a call has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes after this time.
    After(Duration),
    /// It goes back to the outbox for so long.
    Later(TimeSpan),
}

/// The limits of one upstream.
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    reserve: f64,
}

#[derive(Debug)]
struct State {
    all: Bucket,
    operations: BTreeMap<Op, Bucket>,
    paused_until: Option<Instant>,
}

impl Limiter {
    /// Nothing used up yet.
    pub fn new(rate: Rate, limits: &Limits, now: Instant) -> Limiter {
        let bucket = |(per_second, burst): &(f64, f64)| {
            Bucket::new(Rate { per_second: *per_second, burst: *burst }, now)
        };
        let operations = limits.operations.iter().map(|(op, rate)| (*op, bucket(rate))).collect();
        let state = State { all: Bucket::new(rate, now), operations, paused_until: None };
        Limiter { state: Mutex::new(state), reserve: limits.critical_share * rate.burst }
    }

    /// The turn of one call.
    pub fn turn(&self, op: Op, critical: bool, now: Instant) -> Turn {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = state.paused_until.map(|until| until.saturating_duration_since(now));
        let pause = pause.unwrap_or(Duration::ZERO);
        if pause > WAIT_MAX {
            let micros = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
            return Turn::Later(TimeSpan::from_micros(micros));
        }
        let reserve = if critical { 0.0 } else { self.reserve };
        let own = state.operations.get_mut(&op).map(|bucket| bucket.take(now, 0.0));
        let all = state.all.take(now, reserve);
        Turn::After(pause.max(all).max(own.unwrap_or(Duration::ZERO)))
    }

    /// No call goes for so long.
    pub fn pause(&self, span: TimeSpan, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + span.min(PAUSE_MAX).to_std();
        state.paused_until = state.paused_until.max(Some(until));
    }
}

/// How long an answer asks to wait.
pub(super) fn asked_wait(limits: &Limits, answer: &Answer, now: Timestamp) -> Option<TimeSpan> {
    let texts = limits.reset_headers.iter().filter_map(|name| answer.header(name));
    texts.filter_map(|text| wait(text, now)).next()
}

/// True when an answer says that no call is left.
pub(super) fn is_used_up(limits: &Limits, answer: &Answer) -> bool {
    let mut texts = limits.remaining_headers.iter().filter_map(|name| answer.header(name));
    texts.any(|text| text.trim().parse::<f64>().is_ok_and(|left| left < 1.0))
}

/// Seconds, fractions of seconds, points in time in seconds or milliseconds, HTTP and ISO dates.
fn wait(text: &str, now: Timestamp) -> Option<TimeSpan> {
    let text = text.trim();
    let number = text.split(';').next().unwrap_or(text).trim().parse::<f64>().ok();
    let until = match number {
        Some(number) if !number.is_finite() || number < 0.0 => return None,
        Some(number) if number >= EPOCH_MILLIS_FROM => {
            Timestamp::from_micros((number * 1e3) as i64)
        }
        Some(number) if number >= EPOCH_FROM => Timestamp::from_micros((number * 1e6) as i64),
        Some(number) => return Some(TimeSpan::from_micros((number * 1e6) as i64).min(PAUSE_MAX)),
        None => {
            let http = chrono::DateTime::parse_from_rfc2822(text).ok();
            let http = http.map(|at| Timestamp::from_micros(at.timestamp_micros()));
            http.or_else(|| Timestamp::parse_rfc3339(text))?
        }
    };
    Some(until.since(now).max(TimeSpan::ZERO).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_understood_in_every_form() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let seconds = |text: &str| wait(text, now).map(TimeSpan::as_secs_f64);
        assert_eq!(seconds("30"), Some(30.0));
        assert_eq!(seconds("0.25"), Some(0.25));
        assert_eq!(seconds("1767225660"), Some(60.0));
        assert_eq!(seconds("1767225660000"), Some(60.0));
        assert_eq!(seconds("Thu, 01 Jan 2026 00:01:00 GMT"), Some(60.0));
        assert_eq!(seconds("2026-01-01T00:01:00Z"), Some(60.0));
        assert_eq!(seconds("2025-01-01T00:01:00Z"), Some(0.0), "it is over");
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn a_pause_holds_every_call_and_a_long_one_sends_jobs_back() {
        let now = crate::io::clock::monotonic();
        let rate = Rate { per_second: 100.0, burst: 100.0 };
        let limiter = Limiter::new(rate, &Limits::default(), now);
        assert_eq!(limiter.turn(Op::Create, false, now), Turn::After(Duration::ZERO));
        limiter.pause(TimeSpan::from_secs(2), now);
        assert_eq!(limiter.turn(Op::Create, true, now), Turn::After(Duration::from_secs(2)));
        limiter.pause(TimeSpan::from_secs(600), now);
        assert_eq!(limiter.turn(Op::Find, true, now), Turn::Later(TimeSpan::from_secs(600)));
    }
}
