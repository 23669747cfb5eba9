//! Places in the write path where a test has the process die.
//!
//! Only with the feature `fail-points`, which no release has: `FAULTGATE_FAIL=PLACE:COUNT` aborts
//! the process when it comes to the place for the COUNTth time.

/// The places, in the order in which a turn comes to them.
pub const PLACES: [&str; 10] = [
    "turn-decided",
    "log-write",
    "log-sync",
    "log-synced",
    "turn-sent",
    "turn-acknowledged",
    "call-ended",
    "fold-apply",
    "fold-flush",
    "fold-done",
];

/// Dies here, if that is asked for.
#[cfg(feature = "fail-points")]
pub(crate) fn point(place: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let asked = ASKED.get_or_init(|| {
        let asked = std::env::var("FAULTGATE_FAIL").ok()?;
        let (place, count) = asked.split_once(':')?;
        Some((place.to_owned(), count.parse().ok()?))
    });
    if let Some((wanted, count)) = asked
        && wanted == place
        && COUNT.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        std::process::abort();
    }
}

/// Nobody asks.
#[cfg(not(feature = "fail-points"))]
pub(crate) const fn point(_: &str) {}
