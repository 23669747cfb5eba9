//! `[[device]]` and `[[class]]`, as they stand in `devices.toml`.

use std::sync::Arc;

use super::{Overrides, Register, Registered};
use crate::engine::types::device::{DeviceFacts, Nameplate};
use crate::engine::types::document::{Located, OneOf, Place, Scalar, Table};

/// Longest device id, in bytes, as for those that topics name.
const ID_BYTES_MAX: usize = 256;

/// What one file registers.
#[derive(Debug, Default)]
pub struct Entries {
    devices: Vec<(Located<String>, Registered)>,
    classes: Vec<(Located<String>, Overrides)>,
    unknown: Option<super::UnknownDevices>,
}

impl Entries {
    /// Every constant that is overridden: the rule, where one is named, the name, and the value.
    pub fn overridden(&self) -> impl Iterator<Item = (Option<&str>, &str, &Located<Scalar>)> {
        let devices = self.devices.iter().map(|(_, device)| &device.params);
        let classes = self.classes.iter().map(|(_, overrides)| overrides);
        devices.chain(classes).flat_map(|overrides| {
            let any = overrides.any_rule.iter().map(|(name, value)| (None, name.as_str(), value));
            let own = overrides.of_rule.iter().flat_map(|(rule, params)| {
                params.iter().map(|(name, value)| (Some(rule.as_str()), name.as_str(), value))
            });
            any.chain(own)
        })
    }
}

/// Reads every `[[device]]` and `[[class]]` of one file.
pub fn read_entries(table: &Table<'_>) -> Entries {
    Entries {
        devices: table.tables("device", read_device),
        classes: table.tables("class", |entry| {
            let id = entry.required::<Located<String>>("id");
            let params = entry.table("params", |params| Some(read_params(params)));
            Some((id?, params.unwrap_or_default()))
        }),
        unknown: table.optional("unknown_devices").map(|OneOf(unknown)| unknown),
    }
}

fn read_device(table: &Table<'_>) -> Option<(Located<String>, Registered)> {
    let id = table.required::<Located<String>>("id").filter(|id| check_id(table, id));
    let params = table.table("params", |params| Some(read_params(params)));
    let known_as = id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
    let registered = Registered {
        facts: DeviceFacts::read(table, known_as),
        nameplate: Nameplate {
            model: table.or("model", String::new()),
            serial: table.or("serial", String::new()),
            installed_at: table.optional("installed_at"),
            warranty_until: table.optional("warranty_until"),
        },
        params: params.unwrap_or_default(),
    };
    Some((id?, registered))
}

fn check_id(table: &Table<'_>, id: &Located<String>) -> bool {
    let right = !id.value.is_empty()
        && id.value.len() <= ID_BYTES_MAX
        && !id.value.chars().any(char::is_control);
    if !right {
        let message = "a device id is a text without control characters";
        let hint = format!("from 1 to {ID_BYTES_MAX} bytes, as the device reports it");
        table.place().error(id.span.clone(), "wrong-value", message, hint);
    }
    right
}

/// `high = -15.0` for every rule with that constant; `rule-id = { high = -15.0 }` for one rule.
fn read_params(table: &Table<'_>) -> Overrides {
    let mut overrides = Overrides::default();
    for (name, entry) in table.entries() {
        if entry.is_table() {
            let params = entry.table(|params| {
                let pairs = params.entries().into_iter();
                Some(pairs.filter_map(|(name, value)| Some((name.value, value.read()?))).collect())
            });
            overrides.of_rule.extend(params.map(|params| (name.value, params)));
        } else if let Some(value) = entry.read() {
            overrides.any_rule.insert(name.value, value);
        }
    }
    overrides
}

impl Register {
    /// Adds what a file registers. What is there twice is told.
    pub fn add(&mut self, entries: Entries, place: Place<'_>) {
        let twice = |kind: &str, id: &Located<String>| {
            let message = format!("{kind} `{}` is there twice", id.value);
            place.error(
                id.span.clone(),
                "duplicate-id",
                message,
                "one entry for each, over all files",
            );
        };
        for (id, device) in entries.devices {
            if self.devices.insert(id.value.clone(), Arc::new(device)).is_some() {
                twice("device", &id);
            }
        }
        for (id, overrides) in entries.classes {
            if self.classes.insert(id.value.clone(), overrides).is_some() {
                twice("class", &id);
            }
        }
        self.unknown = entries.unknown.or(self.unknown);
    }
}
