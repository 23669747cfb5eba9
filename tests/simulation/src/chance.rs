//! Chance, all of it from one seed. Each thing that is drawn has a stream of its own, so that a
//! fault that is left out changes little else.

use faultgate::engine::types::time::TimeSpan;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Chance(fastrand::Rng);

impl Chance {
    /// The stream of `what`, number `index`, in the run of `seed`.
    pub fn of(seed: u64, what: &str, index: usize) -> Chance {
        let hash = blake3::hash(format!("{seed}/{what}/{index}").as_bytes());
        let bytes = hash.as_bytes().iter().take(8);
        Chance(fastrand::Rng::with_seed(bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte))))
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.u32(0..100) < percent
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.i64(low..=high)
    }

    /// A place below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.usize(0..count)
    }

    /// A length of time between two numbers of milliseconds.
    pub fn millis(&mut self, low: i64, high: i64) -> TimeSpan {
        TimeSpan::from_millis(self.between(low, high)) + TimeSpan::from_micros(self.0.i64(0..1_000))
    }

    /// A length of time between two numbers of seconds.
    pub fn secs(&mut self, low: i64, high: i64) -> TimeSpan {
        self.millis(low * 1_000, high * 1_000)
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
}
