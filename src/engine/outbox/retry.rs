//! When a call is tried again: a function of the key, the attempt and now.

use crate::engine::types::time::{TimeSpan, Timestamp};

/// Shortest time before the second attempt.
const RETRY_DELAY_MIN: TimeSpan = TimeSpan::from_secs(1);
/// Longest time between two attempts.
const RETRY_DELAY_MAX: TimeSpan = TimeSpan::from_secs(300);

/// Exponential back-off with full jitter: a random point in `(0, min(2^(attempt-1) s, 5 min)]`,
/// where the random number is a hash of key and attempt, so that a replay waits as long. What the
/// upstream asks for (`after`) is honoured as a minimum.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn retry_at(now: Timestamp, key: &str, attempt: u32, after: Option<TimeSpan>) -> Timestamp {
    let doublings = attempt.saturating_sub(1).min(16);
    let ceiling = RETRY_DELAY_MIN.micros().saturating_mul(1 << doublings);
    let ceiling = ceiling.min(RETRY_DELAY_MAX.micros()).max(1);
    let hash = blake3::hash(format!("{key}#{attempt}").as_bytes());
    let random =
        hash.as_bytes().iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let share = i64::try_from(random % ceiling.unsigned_abs()).unwrap_or(0) + 1;
    now + TimeSpan::from_micros(share).max(after.unwrap_or(TimeSpan::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_minutes_and_spread_and_honour_the_upstream() {
        let now = Timestamp::from_millis(0);
        for attempt in 1..40 {
            let ceiling = (1_i64 << (attempt - 1).min(16)).min(300);
            for key in 0..50 {
                let wait = retry_at(now, &key.to_string(), attempt, None).since(now);
                assert!(wait > TimeSpan::ZERO && wait <= TimeSpan::from_secs(ceiling));
            }
        }
        let spread: std::collections::BTreeSet<_> =
            (0..100).map(|key| retry_at(now, &key.to_string(), 9, None)).collect();
        assert!(spread.len() > 90);
        let asked = TimeSpan::from_secs(900);
        assert_eq!(retry_at(now, "k", 1, Some(asked)), now + asked);
    }
}
