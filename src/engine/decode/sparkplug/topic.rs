//! Sparkplug topics: `spBv1.0/group/verb/node[/device]`.

use std::sync::Arc;

use crate::engine::decode::{Refusal, TopicPattern};
use crate::engine::types::decision::Rejection;
use crate::engine::types::device::DeviceFacts;

const NAMESPACE: &str = "spBv1.0";
/// Label that says which Sparkplug node and device it is, so that a restart finds it again.
const LABEL: &str = "sparkplug";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    NodeBirth,
    NodeData,
    NodeDeath,
    DeviceBirth,
    DeviceData,
    DeviceDeath,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub verb: Verb,
    group: &'a str,
    node: &'a str,
    /// Empty for the node itself.
    pub device: &'a str,
}

impl Address<'_> {
    /// `group/node`.
    pub fn node_key(&self) -> Arc<str> {
        format!("{}/{}", self.group, self.node).into()
    }

    /// `group/node` or `group/node/device`.
    pub fn descriptor(&self) -> String {
        let Address { group, node, device, .. } = self;
        if device.is_empty() {
            format!("{group}/{node}")
        } else {
            format!("{group}/{node}/{device}")
        }
    }
}

/// Reads a topic; `None` for what is meant for nodes or for other hosts.
pub(super) fn read(topic: &str) -> Result<Option<Address<'_>>, Refusal> {
    let mut levels = topic.split('/');
    let mut next = || levels.next().unwrap_or_default();
    let (namespace, group, verb, node, device) = (next(), next(), next(), next(), next());
    if namespace != NAMESPACE {
        return Err(Refusal::new(Rejection::Topic, topic));
    }
    let ends = levels.next().is_none();
    let verb = match (verb, device.is_empty()) {
        ("NBIRTH", true) => Verb::NodeBirth,
        ("NDATA", true) => Verb::NodeData,
        ("NDEATH", true) => Verb::NodeDeath,
        ("DBIRTH", false) => Verb::DeviceBirth,
        ("DDATA", false) => Verb::DeviceData,
        ("DDEATH", false) => Verb::DeviceDeath,
        ("NCMD" | "DCMD", _) => return Ok(None),
        _ if group == "STATE" => return Ok(None),
        _ => return Err(Refusal::new(Rejection::Topic, topic)),
    };
    if !ends || group.is_empty() || node.is_empty() {
        return Err(Refusal::new(Rejection::Topic, topic));
    }
    Ok(Some(Address { verb, group, node, device }))
}

/// The address of a device, or of the node itself for an empty name.
pub(super) fn of_device<'a>(key: &'a str, device: &'a str) -> Option<Address<'a>> {
    let (group, node) = key.split_once('/')?;
    let verb = if device.is_empty() { Verb::NodeData } else { Verb::DeviceData };
    Some(Address { verb, group, node, device })
}

/// The address of a device that was known before a restart.
pub(super) fn recalled(facts: &DeviceFacts) -> Option<Address<'_>> {
    let mut parts = facts.labels.get(LABEL)?.splitn(3, '/');
    let (group, node) = (parts.next()?, parts.next()?);
    let device = parts.next().unwrap_or("");
    let verb = if device.is_empty() { Verb::NodeData } else { Verb::DeviceData };
    Some(Address { verb, group, node, device })
}

/// Who the device is: by the operator's pattern, in which a node stands for its own device, else
/// by the whole descriptor, since Sparkplug's device names are unique in their node only.
pub(super) fn facts(
    patterns: &[TopicPattern],
    address: &Address<'_>,
) -> Result<DeviceFacts, Refusal> {
    let descriptor = address.descriptor();
    let mut facts = if patterns.is_empty() {
        let site = address.group.to_owned();
        DeviceFacts { id: descriptor.clone(), site, ..DeviceFacts::default() }
    } else {
        let Address { group, node, device, .. } = address;
        let whole = if device.is_empty() {
            format!("{NAMESPACE}/{group}/DDATA/{node}")
        } else {
            format!("{NAMESPACE}/{group}/DDATA/{node}/{device}")
        };
        let of = |topic: &str| patterns.iter().find_map(|pattern| pattern.captures(topic));
        let captured = of(&whole).or_else(|| of(&format!("{whole}/{node}")));
        captured.ok_or_else(|| Refusal::new(Rejection::Topic, &descriptor))?.facts
    };
    facts.labels.insert(LABEL.to_owned(), descriptor);
    Ok(facts)
}

/// The topic on which a node takes commands.
pub(super) fn command(key: &str) -> String {
    let (group, node) = key.split_once('/').unwrap_or((key, ""));
    format!("{NAMESPACE}/{group}/NCMD/{node}")
}
