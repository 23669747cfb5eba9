//! Who else has it: how many devices of a site, region or class have a rule raised, and which rules
//! ask. This is one ordered place for all devices.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Timer};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::effect::Effects;
use crate::engine::types::names::{DeviceId, RuleId};
use crate::engine::types::rule::Among;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Up to this many devices ask at once when a number changes; more are asked together a little
/// later, so that a storm among thousands does not ask all of them for each of its alarms.
const ASKED_AT_ONCE_MAX: usize = 64;
/// When those are asked.
const ASKED_LATER: TimeSpan = TimeSpan::from_millis(200);
/// Numbers that are followed up in one step; rules that count each other could go on for ever.
const FOLLOWED_MAX: usize = 1_000;

/// A rule, among what is counted, and which site, region or class.
type Place = (RuleId, Among, String);

/// The numbers, and who asks for them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// What some condition counts.
    counted: BTreeSet<(RuleId, Among)>,
    raised: BTreeMap<Place, BTreeSet<DeviceId>>,
    /// What is raised at each site.
    sites: BTreeMap<String, BTreeSet<(DeviceId, RuleId)>>,
    askers: BTreeMap<Place, BTreeMap<DeviceId, Vec<usize>>>,
    asks: BTreeMap<DeviceId, Vec<Place>>,
    changed: BTreeSet<Place>,
    later: BTreeSet<Place>,
}

impl Peers {
    /// Nothing raised yet; `counted` is what the conditions of all rules count.
    pub fn new(counted: impl Iterator<Item = (RuleId, Among)>) -> Peers {
        Peers { counted: counted.collect(), ..Peers::default() }
    }

    /// How many devices have the rule raised among those of this device.
    pub fn count(&self, rule: RuleId, among: Among, device: &DeviceFacts) -> Option<i64> {
        let place = place(rule, among, device)?;
        let count = self.raised.get(&place).map_or(0, BTreeSet::len);
        Some(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A device has, or no longer has, a rule raised.
    pub fn note(&mut self, id: DeviceId, device: &DeviceFacts, rule: RuleId, is_raised: bool) {
        self.note_site(id, &device.site, rule, is_raised);
        for among in [Among::Site, Among::Region, Among::Class] {
            if !self.counted.contains(&(rule, among)) {
                continue;
            }
            let Some(place) = place(rule, among, device) else {
                continue;
            };
            let devices = self.raised.entry(place.clone()).or_default();
            let changed = if is_raised { devices.insert(id) } else { devices.remove(&id) };
            if changed {
                self.changed.insert(place);
            }
        }
    }

    /// What is raised at a site.
    pub fn at_site(&self, site: &str) -> impl Iterator<Item = (DeviceId, RuleId)> {
        self.sites.get(site).into_iter().flatten().copied()
    }

    fn note_site(&mut self, id: DeviceId, site: &str, rule: RuleId, is_raised: bool) {
        if site.is_empty() {
            return;
        }
        match (self.sites.get_mut(site), is_raised) {
            (Some(raised), true) => drop(raised.insert((id, rule))),
            (None, true) => drop(self.sites.insert(site.to_owned(), [(id, rule)].into())),
            (Some(raised), false) => drop(raised.remove(&(id, rule))),
            (None, false) => {}
        }
    }

    /// Which numbers the rules of a device ask for.
    pub fn set_askers(
        &mut self,
        id: DeviceId,
        device: &DeviceFacts,
        asked: &BTreeMap<(RuleId, Among), Vec<usize>>,
    ) {
        for place in self.asks.remove(&id).unwrap_or_default() {
            if let Some(askers) = self.askers.get_mut(&place) {
                askers.remove(&id);
            }
        }
        let places = asked.iter().filter_map(|((rule, among), rules)| {
            Some((place(*rule, *among, device)?, rules.clone()))
        });
        let mut asks = Vec::new();
        for (place, rules) in places {
            self.askers.entry(place.clone()).or_default().insert(id, rules);
            asks.push(place);
        }
        if !asks.is_empty() {
            self.asks.insert(id, asks);
        }
    }

    fn askers(&self, place: &Place) -> Vec<(DeviceId, Vec<usize>)> {
        let askers = self.askers.get(place).into_iter().flatten();
        askers.map(|(id, rules)| (*id, rules.clone())).collect()
    }
}

fn place(rule: RuleId, among: Among, device: &DeviceFacts) -> Option<Place> {
    let value = among.of(device);
    (!value.is_empty()).then(|| (rule, among, value.to_owned()))
}

impl Engine {
    /// Looks at the rules that ask for a number which has changed.
    pub(super) fn look_at_askers(&mut self, now: Timestamp, effects: &mut Effects) {
        for _ in 0..FOLLOWED_MAX {
            let Some(place) = self.peers.changed.pop_first() else {
                return;
            };
            let askers = self.peers.askers(&place);
            if askers.len() > ASKED_AT_ONCE_MAX {
                if self.peers.later.is_empty() {
                    self.timers.insert((now + ASKED_LATER, Timer::Askers));
                }
                self.peers.later.insert(place);
            } else {
                self.ask(now, askers, effects);
            }
        }
    }

    /// Looks at the many that were left for later.
    pub(super) fn fire_askers(&mut self, now: Timestamp, effects: &mut Effects) {
        for place in std::mem::take(&mut self.peers.later) {
            let askers = self.peers.askers(&place);
            self.ask(now, askers, effects);
        }
    }

    fn ask(&mut self, now: Timestamp, askers: Vec<(DeviceId, Vec<usize>)>, effects: &mut Effects) {
        for (id, rules) in askers {
            if let Some(device) = self.devices.get(id.index()) {
                let event = device.clock.at(now);
                self.look_at(now, id, &rules, event, effects);
            }
        }
    }

    /// Counts anew, after a restart or with other rules.
    pub(super) fn recount_peers(&mut self) {
        let rules = self.policy.rules.iter();
        let counted = rules.flat_map(|rule| rule.counts().collect::<Vec<_>>());
        self.peers = Peers::new(counted);
        for id in self.device_ids() {
            self.count_in(id);
        }
    }

    /// Counts a device in where it is now.
    pub(super) fn count_in(&mut self, id: DeviceId) {
        let Some(device) = self.devices.get(id.index()) else {
            return;
        };
        self.peers.set_askers(id, &device.facts, &device.profile.counting);
        for rule in &device.raised {
            self.peers.note(id, &device.facts, *rule, true);
        }
    }

    /// Counts a device out, before it moves.
    pub(super) fn count_out(&mut self, id: DeviceId) {
        if let Some(device) = self.devices.get(id.index()) {
            for rule in &device.raised {
                self.peers.note(id, &device.facts, *rule, false);
            }
        }
    }
}
