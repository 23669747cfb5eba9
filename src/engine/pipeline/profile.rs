//! What the rules want of devices of one kind: resolved once, shared by all of them.
//!
//! A message runs the rules that read what it changed, and those whose alarm is under way; nothing
//! else can change. Which rules read what is looked up here, not found out for every message.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::devices::Device;
use super::readers::Readers;
use crate::engine::detect::{DeviceMemory, Rule};
use crate::engine::policy::Policy;
use crate::engine::register::UnknownDevices;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{MetricId, RuleId};
use crate::engine::types::rule::{Among, Mode};
use crate::engine::types::time::Timestamp;

/// The rules that look at a device, by what makes them look. Rules are indexes in the policy.
#[derive(Debug, Default)]
pub(super) struct Profile {
    /// All of them, ascending.
    pub rules: Vec<usize>,
    /// Those that keep something learned.
    pub learning: Vec<usize>,
    /// Those that a message concerns whatever is in it: they ask whether there was one, or read no
    /// metric at all.
    pub unconditional: Vec<usize>,
    /// Those that ask whether the device is silent.
    pub absence: Vec<usize>,
    /// Those that count raised alarms over devices, by what they count.
    pub counting: BTreeMap<(RuleId, Among), Vec<usize>>,
    /// Those with constants of the device or its class in place of their own.
    pub tuned: BTreeMap<usize, Arc<Rule>>,
    /// Room for everything that they read.
    pub memory: DeviceMemory,
    readers: Vec<(MetricId, Readers)>,
    askers: BTreeMap<RuleId, Vec<usize>>,
}

impl Profile {
    fn new(policy: &Policy, rules: Vec<usize>, tuned: BTreeMap<usize, Arc<Rule>>) -> Profile {
        let known = Profile { tuned, ..Profile::default() };
        let mut profile = Profile::default();
        let rule_at = |at: &usize| Some((*at, known.rule(policy, *at)?));
        let mut readers: BTreeMap<MetricId, Readers> = BTreeMap::new();
        let (mut conditions, mut keys) = (Vec::new(), Vec::new());
        for (index, rule) in rules.iter().filter_map(rule_at) {
            conditions.push(&rule.when);
            conditions.extend(rule.clear_when.as_ref());
            keys.extend_from_slice(&rule.key);
            for metric in rule.when.metrics() {
                let gate = rule.when.gate().filter(|gate| gate.metric == *metric);
                readers.entry(*metric).or_default().add(index, gate);
            }
            for metric in rule.key.iter().filter(|key| !rule.when.metrics().contains(key)) {
                readers.entry(*metric).or_default().add(index, None);
            }
            for asked in rule.when.rules() {
                profile.askers.entry(*asked).or_default().push(index);
            }
            for counted in rule.counts() {
                profile.counting.entry(counted).or_default().push(index);
            }
            if rule.learns() {
                profile.learning.push(index);
            }
            if rule.reads_absence() {
                profile.absence.push(index);
            }
            if rule.when.metrics().is_empty() || rule.reads_absence() {
                profile.unconditional.push(index);
            }
        }
        profile.memory = DeviceMemory::new(&conditions);
        keys.into_iter().for_each(|metric| profile.memory.keep(metric));
        profile.readers = readers.into_iter().collect();
        profile.rules = rules;
        profile.tuned = known.tuned;
        profile
    }

    /// A rule as it stands for these devices: with other constants, where they have some.
    pub fn rule<'a>(&'a self, policy: &'a Policy, index: usize) -> Option<&'a Arc<Rule>> {
        self.tuned.get(&index).or_else(|| policy.rules.get(index))
    }

    /// The rules that must be looked at after a metric was read.
    pub fn concerned(&self, metric: MetricId, reading: &Reading, rules: &mut Vec<usize>) {
        let at = self.readers.binary_search_by_key(&metric, |(known, _)| *known);
        if let Some((_, readers)) = at.ok().and_then(|at| self.readers.get(at)) {
            readers.concerned(reading, rules);
        }
    }

    /// The rules whose condition asks whether another one is raised.
    pub fn askers(&self, rule: RuleId) -> &[usize] {
        self.askers.get(&rule).map_or(&[], Vec::as_slice)
    }
}

/// The profiles that are in use.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    by_place: BTreeMap<Place, Arc<Profile>>,
    by_rules: BTreeMap<(Vec<usize>, String), Arc<Profile>>,
    /// Rules with other constants, by rule and constants.
    tuned: BTreeMap<(usize, String), Arc<Rule>>,
}

/// What of a device the selectors read, its id excepted.
type Place = (String, String, String, String, BTreeMap<String, String>);

impl Engine {
    /// The rules that look at a device.
    pub fn rules_of<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = &'a Rule> {
        let rules = device.profile.rules.iter();
        rules.filter_map(move |index| device.profile.rule(&self.policy, *index).map(|rule| &**rule))
    }

    /// The newest value of each metric of a device that some rule reads, with its event time;
    /// `None` for one of bad quality.
    pub fn values_of<'a>(
        &'a self,
        device: &'a Device,
    ) -> impl Iterator<Item = (&'a str, Timestamp, Option<&'a Value>)> {
        let metrics = &self.policy.metrics;
        metrics.texts().filter_map(move |name| {
            let (at, reading) = device.memory.latest(metrics.find(name)?)?;
            let value = match reading {
                Reading::Good(value) => Some(value),
                Reading::Bad => None,
            };
            Some((name, at, value))
        })
    }

    /// The profile of a device.
    pub(super) fn profile_of(&mut self, facts: &DeviceFacts) -> Arc<Profile> {
        if self.standing(&facts.id) == UnknownDevices::Quarantine {
            return Arc::default();
        }
        let place = (
            facts.class.clone(),
            facts.site.clone(),
            facts.region.clone(),
            facts.customer.clone(),
            facts.labels.clone(),
        );
        let by_id = |rule: &Arc<Rule>| rule.spec.selector.names("device");
        let of_its_own =
            self.policy.register.tunes_device(&facts.id) || self.policy.rules.iter().any(by_id);
        if !of_its_own && let Some(known) = self.profiles.by_place.get(&place) {
            return Arc::clone(known);
        }
        let looks_at =
            |rule: &Rule| rule.spec.mode != Mode::Off && rule.spec.selector.selects(facts);
        let rules = self.policy.rules.iter().enumerate();
        let rules: Vec<usize> =
            rules.filter(|(_, rule)| looks_at(rule)).map(|(index, _)| index).collect();
        let (tuned, constants) = self.tune(facts, &rules);
        let key = (rules, constants);
        let profile = match self.profiles.by_rules.get(&key) {
            Some(known) => Arc::clone(known),
            None => {
                let profile = Arc::new(Profile::new(&self.policy, key.0.clone(), tuned));
                self.profiles.by_rules.insert(key, Arc::clone(&profile));
                profile
            }
        };
        if !of_its_own {
            self.profiles.by_place.insert(place, Arc::clone(&profile));
        }
        profile
    }

    /// The rules that have other constants for a device, and these constants as text.
    fn tune(
        &mut self,
        facts: &DeviceFacts,
        rules: &[usize],
    ) -> (BTreeMap<usize, Arc<Rule>>, String) {
        let mut tuned = BTreeMap::new();
        let mut constants = String::new();
        for index in rules {
            let Some(rule) = self.policy.rules.get(*index).cloned() else {
                continue;
            };
            let spec = &rule.spec;
            let Some(params) = self.policy.register.params(facts, &spec.id, &spec.params) else {
                continue;
            };
            let key = (*index, format!("{params:?}"));
            constants.push_str(&format!("{key:?}"));
            let known = match self.profiles.tuned.get(&key) {
                Some(known) => Arc::clone(known),
                None => {
                    let Policy { metrics, rule_names, .. } = &mut self.policy;
                    // The types were checked with the files; a rule that does not compile with
                    // these constants goes on with its own.
                    let compiled = rule.tuned(params, metrics, rule_names).ok();
                    let compiled = compiled.map_or(rule, Arc::new);
                    self.profiles.tuned.insert(key, Arc::clone(&compiled));
                    compiled
                }
            };
            tuned.insert(*index, known);
        }
        (tuned, constants)
    }

    /// True for a device that no rule looks at until it is registered.
    pub fn is_quarantined(&self, device: &Device) -> bool {
        device.registered.is_none() && self.standing(&device.facts.id) == UnknownDevices::Quarantine
    }

    /// What the register makes of a device: accepted when it is in it.
    pub(super) fn standing(&self, id: &str) -> UnknownDevices {
        match self.policy.register.device(id) {
            Some(_) => UnknownDevices::Accept,
            None => self.policy.register.unknown.unwrap_or(self.settings.unknown_devices),
        }
    }
}
