//! Storms: more alarms at one place than anybody can take one by one.
//!
//! Entered at more than `enter` raised alarms within `window`, left at fewer than `leave` (ISA-18.2
//! and EEMUA 191 call it a flood: more than 10 in 10 minutes until fewer than 5).

use std::collections::{BTreeMap, VecDeque};

use crate::engine::types::device::DeviceFacts;
use crate::engine::types::document::Word;
use crate::engine::types::ticket::Storm;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// When there is a storm, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormPolicy {
    /// False: never.
    pub enabled: bool,
    /// What storms are told apart by.
    pub by: StormBy,
    /// Entered at more raised alarms than this.
    pub enter: usize,
    /// Left at fewer than this.
    pub leave: usize,
    /// Within which time.
    pub window: TimeSpan,
}

impl Default for StormPolicy {
    fn default() -> Self {
        StormPolicy {
            enabled: true,
            by: StormBy::Site,
            enter: 10,
            leave: 5,
            window: TimeSpan::from_secs(600),
        }
    }
}

/// What storms are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StormBy {
    /// The site of the devices.
    #[default]
    Site,
    /// Their region.
    Region,
    /// Their customer.
    Customer,
    /// Their class.
    Class,
    /// Nothing: one for the whole gateway.
    Gateway,
}

impl Word for StormBy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("site", StormBy::Site),
        ("region", StormBy::Region),
        ("customer", StormBy::Customer),
        ("class", StormBy::Class),
        ("gateway", StormBy::Gateway),
    ];
}

impl StormBy {
    /// The pool that a device belongs to.
    pub fn pool(self, device: &DeviceFacts) -> &str {
        match self {
            StormBy::Site => &device.site,
            StormBy::Region => &device.region,
            StormBy::Customer => &device.customer,
            StormBy::Class => &device.class,
            StormBy::Gateway => "",
        }
    }
}

/// Raised alarms, by pool.
#[derive(Debug, Default)]
pub struct Storms(BTreeMap<String, Pool>);

#[derive(Debug, Default)]
struct Pool {
    /// The newest raises with the names of their alarms, oldest first: no more than decide.
    raises: VecDeque<(Timestamp, String)>,
    /// The first alarm of the storm, while there is one.
    first: Option<(Timestamp, String)>,
}

impl Storms {
    /// Counts an alarm that was raised at `at` (gateway time). The storm that it belongs to, if
    /// there is one now.
    pub fn note(
        &mut self,
        policy: &StormPolicy,
        pool: &str,
        at: Timestamp,
        alarm: String,
    ) -> Option<Storm> {
        if !policy.enabled {
            return None;
        }
        let known = self.0.entry(pool.to_owned()).or_default();
        known.expire(policy, at);
        known.raises.push_back((at, alarm));
        if known.first.is_none() && known.raises.len() > policy.enter {
            known.first = known.raises.front().cloned();
        }
        while known.raises.len() > policy.leave.max(policy.enter + 1) {
            known.raises.pop_front();
        }
        known.storm(pool)
    }

    /// The storm at a place, if there is one at `at`.
    pub fn at(&mut self, policy: &StormPolicy, pool: &str, at: Timestamp) -> Option<Storm> {
        let known = self.0.get_mut(pool)?;
        known.expire(policy, at);
        known.storm(pool)
    }

    /// A storm goes on after a restart, its raises counted by [`Storms::note`].
    pub fn restore(&mut self, storm: &Storm) {
        let known = self.0.entry(storm.pool.clone()).or_default();
        known.first = Some((storm.first_at, storm.first.clone()));
    }
}

impl Pool {
    fn expire(&mut self, policy: &StormPolicy, at: Timestamp) {
        while self.raises.front().is_some_and(|(raise, _)| at.since(*raise) >= policy.window) {
            self.raises.pop_front();
        }
        if self.raises.len() < policy.leave {
            self.first = None;
        }
    }

    fn storm(&self, pool: &str) -> Option<Storm> {
        let (first_at, first) = self.first.clone()?;
        Some(Storm { pool: pool.to_owned(), first, first_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_storm_begins_with_the_eleventh_alarm_of_ten_minutes_and_names_the_first() {
        let (policy, mut storms) = (StormPolicy::default(), Storms::default());
        let mut note = |second: i64| {
            storms.note(&policy, "冷库", at(second), format!("r/d-{second}")).map(|s| s.first)
        };
        assert!((0..10).all(|second| note(second).is_none()));
        assert_eq!(note(599), Some("r/d-0".to_owned()));
        let (policy, mut storms) = (StormPolicy::default(), Storms::default());
        let mut note = |second: i64| storms.note(&policy, "a", at(second), String::new()).is_some();
        assert!((0..10).all(|second| !note(second)));
        assert!(!note(600), "the first is ten minutes old");
    }

    #[test]
    fn it_goes_on_until_fewer_than_five_are_raised_in_ten_minutes() {
        let (policy, mut storms) = (StormPolicy::default(), Storms::default());
        let mut note = |second: i64| storms.note(&policy, "a", at(second), String::new()).is_some();
        for second in 0..11 {
            note(second);
        }
        // One every two minutes: five of ten minutes are there before each of them.
        assert!((1..20).all(|times| note(10 + times * 119)));
        assert!(!note(10 + 19 * 119 + 125), "four were left");
    }

    #[test]
    fn places_do_not_count_for_each_other() {
        let (policy, mut storms) = (StormPolicy::default(), Storms::default());
        for second in 0..11 {
            storms.note(&policy, "a", at(second), String::new());
        }
        assert!(storms.at(&policy, "a", at(11)).is_some());
        assert!(storms.note(&policy, "b", at(11), String::new()).is_none());
        assert!(storms.at(&policy, "a", at(700)).is_none());
    }
}
