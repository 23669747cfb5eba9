//! The only reader of the clocks.
//!
//! The engine's time never decreases. When the wall clock is set back, [`Clock`] goes on at half
//! speed until the wall clock has caught up: no timer waits for hours, and no two events swap
//! places. When the wall clock is set forward (or the machine slept), the clock follows at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::engine::types::time::{TimeSpan, Timestamp};

/// The wall clock as it stands, which may run backwards; for anything that is compared use
/// [`Clock`].
#[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
pub fn now() -> Timestamp {
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    })
}

/// The clock that only runs forward and means nothing outside this process: for deadlines of I/O.
#[allow(clippy::disallowed_methods)] // the one place that reads the monotonic clock
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Wall time that never runs backwards; see the module.
#[derive(Debug)]
pub struct Clock {
    last: Mutex<Reading>,
    pace: Pace,
}

/// How a clock goes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// As the wall clock.
    Wall,
    /// From a time of its own, so many times faster than real time.
    Fast { origin: Timestamp, began: Instant, speed: f64 },
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    given: Timestamp,
    at: Instant,
}

impl Clock {
    /// A clock that will never say less than `floor`, the newest time that was stored.
    pub fn starting_at(floor: Timestamp) -> Clock {
        let reading = Reading { given: floor.max(now()), at: monotonic() };
        Clock { last: Mutex::new(reading), pace: Pace::Wall }
    }

    /// A clock that begins at `origin` and runs `speed` times as fast as real time, to play a
    /// recording.
    pub fn fast(origin: Timestamp, speed: f64) -> Clock {
        let began = monotonic();
        let reading = Reading { given: origin, at: began };
        Clock { last: Mutex::new(reading), pace: Pace::Fast { origin, began, speed } }
    }

    /// How long a length of this clock's time takes.
    pub fn real(&self, span: TimeSpan) -> std::time::Duration {
        match self.pace {
            Pace::Wall => span.to_std(),
            Pace::Fast { speed, .. } => span.to_std().div_f64(speed),
        }
    }

    /// The time now: the wall clock, or later where that would be a step back.
    pub fn now(&self) -> Timestamp {
        if let Pace::Fast { origin, began, speed } = self.pace {
            let real = monotonic().saturating_duration_since(began);
            return origin + TimeSpan::from_micros((real.as_secs_f64() * speed * 1e6) as i64);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let at = monotonic();
        let elapsed = at.saturating_duration_since(last.at);
        let elapsed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let given = forward(last.given, now(), TimeSpan::from_micros(elapsed));
        *last = Reading { given, at };
        given
    }
}

/// What a clock says after `last` when `elapsed` has passed and the wall clock says `wall`.
pub fn forward(last: Timestamp, wall: Timestamp, elapsed: TimeSpan) -> Timestamp {
    wall.max(last + TimeSpan::from_micros(elapsed.micros() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_slows_time_down_until_it_has_caught_up_and_never_turns_it() {
        let secs = |secs: i64| Timestamp::from_millis(secs * 1_000);
        let noon = secs(43_200);
        let hour = 3_600;
        let mut given = noon;
        let mut wall = noon - TimeSpan::from_secs(hour);
        for _ in 0..3 * hour {
            wall = wall + TimeSpan::from_secs(1);
            let next = forward(given, wall, TimeSpan::from_secs(1));
            assert!(next > given);
            given = next;
        }
        assert_eq!(given, wall, "caught up after two hours");
        let slept = wall + TimeSpan::from_secs(8 * hour);
        assert_eq!(forward(given, slept, TimeSpan::from_secs(1)), slept);
    }
}
