//! The register: what is known of devices beforehand, and constants of rules for some of them.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::types::device::{DeviceFacts, Nameplate};
use crate::engine::types::document::{Located, Scalar, Word};

pub use read::{Entries, read_entries};

/// What `[[device]]` and `[[class]]` tables say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Register {
    devices: BTreeMap<String, Arc<Registered>>,
    classes: BTreeMap<String, Overrides>,
    /// What happens to devices that are not in it, where it says so.
    pub unknown: Option<UnknownDevices>,
}

/// One device that is known beforehand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registered {
    /// Who and where; what is empty is left to the device's topic.
    pub facts: DeviceFacts,
    /// What stands on it.
    pub nameplate: Nameplate,
    /// Constants of rules for this device.
    pub params: Overrides,
}

/// Constants in place of those of the rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// For every rule that has a constant of this name.
    pub any_rule: BTreeMap<String, Located<Scalar>>,
    /// For one rule.
    pub of_rule: BTreeMap<String, BTreeMap<String, Located<Scalar>>>,
}

/// What happens to a device that is not registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownDevices {
    /// It is taken in with what its topic says.
    #[default]
    Accept,
    /// It is listed, but no rule looks at it until it is registered.
    Quarantine,
    /// Its messages are refused.
    Reject,
}

impl Word for UnknownDevices {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("accept", UnknownDevices::Accept),
        ("quarantine", UnknownDevices::Quarantine),
        ("reject", UnknownDevices::Reject),
    ];
}

impl Overrides {
    /// True when nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.any_rule.is_empty() && self.of_rule.is_empty()
    }

    /// The constant of a rule; one that names the rule wins.
    fn get(&self, rule: &str, name: &str) -> Option<&Scalar> {
        let own = self.of_rule.get(rule).and_then(|params| params.get(name));
        own.or_else(|| self.any_rule.get(name)).map(|found| &found.value)
    }
}

impl Register {
    /// The device with this id.
    pub fn device(&self, id: &str) -> Option<&Arc<Registered>> {
        self.devices.get(id)
    }

    /// Every device, by id.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.devices.values()
    }

    /// True when the device has constants of its own.
    pub fn tunes_device(&self, id: &str) -> bool {
        self.devices.get(id).is_some_and(|device| !device.params.is_empty())
    }

    /// The constants of a rule for a device, where they differ from the rule's. Those of the device
    /// win over those of its class.
    pub fn params(
        &self,
        facts: &DeviceFacts,
        rule: &str,
        own: &BTreeMap<String, Scalar>,
    ) -> Option<BTreeMap<String, Scalar>> {
        let device = self.devices.get(&facts.id).map(|device| &device.params);
        let class = self.classes.get(&facts.class);
        let layers: Vec<&Overrides> = device.into_iter().chain(class).collect();
        if layers.iter().all(|overrides| overrides.is_empty()) {
            return None;
        }
        let tuned: BTreeMap<String, Scalar> = own
            .iter()
            .map(|(name, value)| {
                let found = layers.iter().find_map(|overrides| overrides.get(rule, name));
                (name.clone(), found.unwrap_or(value).clone())
            })
            .collect();
        (tuned != *own).then_some(tuned)
    }
}

impl Registered {
    /// What is known of a device: the register's word where it has one, else its topic's.
    pub fn complete(&self, reported: &DeviceFacts) -> DeviceFacts {
        let pick = |own: &String, other: &String| {
            if own.is_empty() { other.clone() } else { own.clone() }
        };
        let mut labels = reported.labels.clone();
        labels.extend(self.facts.labels.iter().map(|(name, text)| (name.clone(), text.clone())));
        DeviceFacts {
            id: reported.id.clone(),
            class: pick(&self.facts.class, &reported.class),
            site: pick(&self.facts.site, &reported.site),
            region: pick(&self.facts.region, &reported.region),
            customer: pick(&self.facts.customer, &reported.customer),
            labels,
            offline: reported.offline,
        }
    }
}
