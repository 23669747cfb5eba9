//! How a device's clock stands to ours: event time, and which of its samples come late.

use crate::engine::types::time::{TimeSpan, Timestamp};

/// A device's time: its newest event time, which moves on with our clock while it is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeviceClock {
    newest: Option<(Timestamp, Timestamp)>,
    /// Event time up to which something was decided before a restart.
    decided: Option<Timestamp>,
    /// Time that does not count as silence.
    forgiven: TimeSpan,
}

impl DeviceClock {
    /// Newest event time.
    pub fn newest(self) -> Option<Timestamp> {
        self.newest.map(|(event, _)| event)
    }

    /// Where it stands once a sample of `event` time is in.
    pub fn reached(self, event: Timestamp) -> Timestamp {
        event.max(self.newest().unwrap_or(event))
    }

    /// The event time of a sample that brings none: its receipt, but after what was heard before.
    /// Messages that are received together keep their order, also over a restart, and also where
    /// the clock was set back meanwhile.
    pub fn receipt(self, now: Timestamp) -> Timestamp {
        let before = self.newest().max(self.decided);
        before.map_or(now, |before| now.max(before + TimeSpan::from_micros(1)))
    }

    /// Before a restart something was decided by what was known at `event` time.
    pub fn recall(&mut self, event: Timestamp) {
        self.decided = self.decided.max(Some(event));
    }

    /// True for a sample that comes too late to be decided by.
    pub fn is_late(self, event: Timestamp, lateness: TimeSpan) -> bool {
        self.newest().is_some_and(|newest| newest.since(event) > lateness)
    }

    /// A sample of `event` time was received.
    pub fn hear(&mut self, event: Timestamp, received: Timestamp) {
        if self.newest().is_none_or(|newest| event >= newest) {
            self.newest = Some((event, received));
            self.forgiven = TimeSpan::ZERO;
        }
    }

    /// So much time does not count as silence.
    pub fn forgive(&mut self, time: TimeSpan) {
        self.forgiven = self.forgiven + time;
    }

    /// Since when it is silent, where that counts; `heard` for a device that has no time yet.
    pub fn silent_since(self, heard: Timestamp) -> Timestamp {
        self.newest().unwrap_or(heard) + self.forgiven
    }

    /// The device's time at `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        self.newest.map_or(now, |(event, received)| event + now.since(received))
    }

    /// Our time when the device's is `event`.
    pub fn to_gateway(self, event: Timestamp) -> Timestamp {
        self.newest.map_or(event, |(newest, received)| received + event.since(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_without_a_time_that_are_received_together_keep_their_order() {
        let now = Timestamp::from_millis(1_000);
        let mut clock = DeviceClock::default();
        let mut last = None;
        for _ in 0..3 {
            let event = clock.receipt(now);
            assert!(event >= now && Some(event) > last);
            clock.hear(event, now);
            last = Some(event);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_over_a_restart_makes_nothing_older_than_what_was_decided() {
        let (decided, now) = (Timestamp::from_millis(9_000), Timestamp::from_millis(1_000));
        let mut clock = DeviceClock::default();
        clock.recall(decided);
        assert!(clock.receipt(now) > decided);
    }
}
