//! A token bucket.

use std::time::{Duration, Instant};

use super::config::Rate;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket { rate, tokens: rate.burst, at: now }
    }

    /// Takes a token and leaves `reserve` for others; how long to wait until it is there.
    pub fn take(&mut self, now: Instant, reserve: f64) -> Duration {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + since * self.rate.per_second).min(self.rate.burst) - 1.0;
        Duration::from_secs_f64(((reserve - self.tokens) / self.rate.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left_for_those_who_may_use_it() {
        let start = crate::io::clock::monotonic();
        let mut bucket = Bucket::new(Rate { per_second: 1.0, burst: 4.0 }, start);
        assert_eq!(bucket.take(start, 2.0), Duration::ZERO);
        assert_eq!(bucket.take(start, 2.0), Duration::ZERO);
        assert_eq!(bucket.take(start, 2.0), Duration::from_secs(1), "two are kept back");
        assert_eq!(bucket.take(start, 0.0), Duration::ZERO, "the last one is for the critical");
        assert_eq!(bucket.take(start, 0.0), Duration::from_secs(1));
    }
}
