//! Sparkplug B v3: this gateway as a host application.
//!
//! An edge node names its metrics once, in a birth, and then sends aliases; what it named is kept
//! here and is gone after a restart, when the node is asked to name them again. Real nodes break
//! the rules: each breach is counted under a reason of its own, and what can be read beside it is
//! read. `docs/decoders.md` has the table.

mod datatype;
mod node;
mod payload;
mod sample;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;
mod topic;
mod wire;

pub use settings::SparkplugSettings;
pub(super) use settings::read;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::time_field::Clock;
use super::{Decoded, Heard, News, Refusal, SourceSpec, TopicPattern, check_device};
use crate::engine::types::decision::Rejection;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Message, Publication};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::time::{TimeSpan, Timestamp};
use node::{Node, Resolved, Tags};
use payload::Payload;
use sample::Samples;
use sequence::Order;
use topic::{Address, Verb};

/// Most edge nodes of one source.
const NODES_MAX: usize = 10_000;
/// Most devices and metrics that are remembered for one source.
const ENTRIES_MAX: usize = 500_000;
/// How many times its packed size limit a body may have unpacked.
const UNPACKED_FACTOR: usize = 4;
/// A death certificate with another bdSeq is believed when the node stays silent for so long.
const DOUBT: TimeSpan = TimeSpan::from_secs(10);
/// Looks for a misspelt name in one message.
const SEARCHES_MAX: u8 = 16;

/// A host application on one broker.
#[derive(Debug)]
pub(super) struct Host {
    source: usize,
    settings: SparkplugSettings,
    topics: Vec<TopicPattern>,
    /// By `group/node`.
    nodes: BTreeMap<Arc<str>, Node>,
    timers: BTreeSet<(Timestamp, Arc<str>)>,
    entries: usize,
}

impl Host {
    pub fn new(source: usize, spec: &SourceSpec, settings: SparkplugSettings) -> Host {
        Host {
            source,
            settings,
            topics: spec.topics.clone(),
            nodes: BTreeMap::new(),
            timers: BTreeSet::new(),
            entries: 0,
        }
    }

    /// A device that was known before a restart: its death can be told, and its node is asked for
    /// its births.
    pub fn recall(&mut self, facts: &DeviceFacts, now: Timestamp) {
        let Some(address) = topic::recalled(facts) else {
            return;
        };
        let Ok((key, node)) = self.node(&address) else {
            return;
        };
        let fresh = node.tags.insert(address.device.to_owned(), Tags::default()).is_none();
        node.want_rebirth(now);
        self.entries += usize::from(fresh);
        self.set_timer(&key);
    }

    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Lets everything happen that is due.
    pub fn wake(&mut self, until: Timestamp, heard: &mut Heard) {
        while let Some((at, key)) = self.timers.first().cloned().filter(|(at, _)| *at <= until) {
            self.timers.remove(&(at, key.clone()));
            let Some(node) = self.nodes.get_mut(&key) else {
                continue;
            };
            node.timer = None;
            if node.sequence.deadline().is_some_and(|deadline| deadline <= until) {
                node.sequence.give_up();
                node.want_rebirth(until);
                let detail = format!("{key}: a message that was missing has not come");
                heard.refused.push(Refusal::new(Rejection::Sequence, &detail));
            }
            if node.doubt.is_some_and(|doubt| doubt <= until) {
                self.bury(&key, heard);
            }
            self.speak(&key, until, heard);
        }
    }

    /// Reads one message.
    pub fn hear(
        &mut self,
        source: &SourceSpec,
        metrics: &Names<Metric>,
        message: &Message,
        clock: Clock,
        heard: &mut Heard,
    ) -> Result<(), Refusal> {
        let Some(address) = topic::read(&message.topic)? else {
            return Ok(());
        };
        check_device(&address.descriptor())?;
        let facts = topic::facts(&self.topics, &address)?;
        let unpacked_max = source.payload_bytes_max.saturating_mul(UNPACKED_FACTOR);
        let opened = payload::open(&message.payload, unpacked_max);
        let opened = match &opened {
            Ok(bytes) => payload::read(bytes),
            // A death needs no payload to be a death.
            Err(_) if address.verb == Verb::NodeDeath => Ok(Payload::default()),
            Err(refusal) => Err(refusal.clone()),
        };
        let (key, node) = self.node(&address)?;
        if address.verb != Verb::NodeDeath {
            node.doubt = None;
        }
        let payload = match opened {
            Ok(payload) => payload,
            Err(refusal) => {
                node.want_rebirth(clock.received);
                self.speak(&key, clock.received, heard);
                return Err(refusal);
            }
        };
        if message.retain {
            // Births are never retained: this one is of nobody knows when.
            node.want_rebirth(clock.received);
        }
        if payload.broken > 0 {
            let detail = format!("{key}: {} metrics cannot be read", payload.broken);
            heard.refused.push(Refusal::new(Rejection::Undecodable, &detail));
        }
        let mut said = Samples::new(metrics, facts, clock, &payload);
        match address.verb {
            Verb::NodeBirth => self.node_birth(&key, &payload, &mut said, heard),
            Verb::DeviceBirth => self.device_birth(&key, &address, &payload, &mut said, heard),
            Verb::NodeData | Verb::DeviceData => {
                self.data(&key, &address, &payload, &mut said, heard);
            }
            Verb::DeviceDeath => self.device_death(&key, &address, &payload, clock, heard),
            Verb::NodeDeath => self.node_death(&key, &payload, clock, heard),
        }
        if !matches!(address.verb, Verb::NodeDeath | Verb::DeviceDeath) {
            said.finish(heard);
        }
        self.speak(&key, clock.received, heard);
        Ok(())
    }

    fn node_birth(
        &mut self,
        key: &Arc<str>,
        payload: &Payload<'_>,
        said: &mut Samples<'_>,
        heard: &mut Heard,
    ) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        node.born = Some(said.birth_sequence(payload));
        node.sequence.begin(payload.seq.unwrap_or(0));
        node.answered();
        if payload.seq != Some(0) {
            let detail = format!("{key}: a birth with the sequence number {:?}", payload.seq);
            heard.refused.push(Refusal::new(Rejection::Sequence, &detail));
        }
        // What the devices named belongs to the session before.
        for tags in node.tags.values_mut() {
            self.entries -= tags.len();
            tags.forget();
        }
        self.learn(key, "", payload, heard);
        said.presence(true, heard);
        said.take_birth(payload, heard);
    }

    fn device_birth(
        &mut self,
        key: &Arc<str>,
        address: &Address<'_>,
        payload: &Payload<'_>,
        said: &mut Samples<'_>,
        heard: &mut Heard,
    ) {
        self.check_sequence(key, payload, said.received(), heard);
        if let Some(node) = self.nodes.get_mut(key).filter(|node| node.born.is_none()) {
            node.want_rebirth(said.received());
            let detail =
                format!("{}: the birth of a device before its node's", address.descriptor());
            heard.refused.push(Refusal::new(Rejection::NoBirth, &detail));
        }
        self.learn(key, address.device, payload, heard);
        said.presence(true, heard);
        said.take_birth(payload, heard);
    }

    fn data(
        &mut self,
        key: &Arc<str>,
        address: &Address<'_>,
        payload: &Payload<'_>,
        said: &mut Samples<'_>,
        heard: &mut Heard,
    ) {
        let now = said.received();
        self.check_sequence(key, payload, now, heard);
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let unborn = Tags::default();
        let tags = node.tags.get(address.device).unwrap_or(&unborn);
        let mut wrong = !tags.born;
        if wrong {
            let detail = format!("{}: data before a birth", address.descriptor());
            heard.refused.push(Refusal::new(Rejection::NoBirth, &detail));
        }
        let mut searches = SEARCHES_MAX;
        for metric in &payload.metrics {
            let (reason, what) = match tags.resolve(metric, &mut searches) {
                Resolved::Named(name, datatype) => {
                    wrong |= said.take(&name, datatype, metric, heard).is_err();
                    continue;
                }
                Resolved::Misspelt(name, datatype) => {
                    said.take(&name, datatype, metric, heard).ok();
                    let detail = format!("{key}: `{name}` is written otherwise in the birth");
                    heard.refused.push(Refusal::new(Rejection::Name, &detail));
                    continue;
                }
                Resolved::OtherAlias(name, datatype) => {
                    said.take(&name, datatype, metric, heard).ok();
                    (Rejection::Name, format!("`{name}` has another alias in the birth"))
                }
                Resolved::NotInBirth(name, datatype) => {
                    said.take(&name, datatype, metric, heard).ok();
                    (Rejection::Name, format!("`{name}` is not in the birth"))
                }
                // Counted once for the whole message already.
                Resolved::UnknownAlias(_) if !tags.born => continue,
                Resolved::UnknownAlias(alias) => {
                    (Rejection::UnknownAlias, format!("alias {alias} is in no birth"))
                }
                Resolved::Nameless => {
                    (Rejection::Undecodable, "a metric without name and alias".to_owned())
                }
            };
            wrong = true;
            let detail = format!("{}: {what}", address.descriptor());
            heard.refused.push(Refusal::new(reason, &detail));
        }
        if wrong {
            node.want_rebirth(now);
        }
    }

    fn device_death(
        &mut self,
        key: &Arc<str>,
        address: &Address<'_>,
        payload: &Payload<'_>,
        clock: Clock,
        heard: &mut Heard,
    ) {
        self.check_sequence(key, payload, clock.received, heard);
        if let Some(tags) = self.nodes.get_mut(key).and_then(|n| n.tags.get_mut(address.device)) {
            self.entries -= tags.len();
            tags.forget();
        }
        gone(topic::facts(&self.topics, address), heard);
    }

    /// A death certificate is the will of a session. One of another session than the born one may
    /// be late, or the node may number wrongly: it is asked, and buried if it stays silent.
    fn node_death(
        &mut self,
        key: &Arc<str>,
        payload: &Payload<'_>,
        clock: Clock,
        heard: &mut Heard,
    ) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let of = sample::bd_seq(payload);
        match node.born {
            Some(born) if born.is_none() || of != born => {
                let detail = format!("{key}: the death of session {of:?} while {born:?} is born");
                heard.refused.push(Refusal::new(Rejection::Death, &detail));
                node.doubt = node.doubt.or(Some(clock.received + DOUBT));
                node.want_rebirth(clock.received);
            }
            Some(_) | None => self.bury(key, heard),
        }
    }

    /// The node is dead, and every device behind it with it.
    fn bury(&mut self, key: &Arc<str>, heard: &mut Heard) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        node.born = None;
        node.doubt = None;
        node.sequence = sequence::Sequence::default();
        node.answered();
        let mut devices = vec![String::new()];
        for (device, tags) in &mut node.tags {
            self.entries -= tags.len();
            tags.forget();
            if !device.is_empty() {
                devices.push(device.clone());
            }
        }
        for device in devices {
            if let Some(address) = topic::of_device(key, &device) {
                gone(topic::facts(&self.topics, &address), heard);
            }
        }
    }

    fn check_sequence(
        &mut self,
        key: &Arc<str>,
        payload: &Payload<'_>,
        now: Timestamp,
        heard: &mut Heard,
    ) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let what = match payload.seq {
            None => "a message without a sequence number".to_owned(),
            Some(seq) => match node.sequence.take(seq, now, self.settings.reorder_timeout) {
                Order::Expected => return,
                Order::Gap(missing) => format!("{missing} messages before {seq} are missing"),
                Order::Old => {
                    node.want_rebirth(now);
                    format!("the sequence number {seq} was there already")
                }
            },
        };
        let detail = format!("{key}: {what}");
        heard.refused.push(Refusal::new(Rejection::Sequence, &detail));
    }

    /// Remembers what a birth names.
    fn learn(&mut self, key: &Arc<str>, device: &str, payload: &Payload<'_>, heard: &mut Heard) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let room = ENTRIES_MAX.saturating_sub(self.entries);
        if payload.metrics.len() + 1 > room {
            let detail = format!("{key}: {ENTRIES_MAX} metrics are remembered already");
            heard.refused.push(Refusal::new(Rejection::TooManyMetrics, &detail));
            return;
        }
        if !node.tags.contains_key(device) {
            node.tags.insert(device.to_owned(), Tags::default());
            self.entries += 1;
        }
        if let Some(tags) = node.tags.get_mut(device) {
            self.entries -= tags.len();
            let shared = tags.take_birth(&payload.metrics);
            self.entries += tags.len();
            if let Some(alias) = shared.first() {
                let count = shared.len();
                let detail = format!(
                    "{key}/{device}: {count} aliases of two metrics in a birth: {alias} ..."
                );
                heard.refused.push(Refusal::new(Rejection::Name, &detail));
            }
        }
    }

    /// The node of an address, made on first sight.
    fn node(&mut self, address: &Address<'_>) -> Result<(Arc<str>, &mut Node), Refusal> {
        let key = address.node_key();
        if !self.nodes.contains_key(&*key) && self.nodes.len() >= NODES_MAX {
            let detail = format!("{NODES_MAX} edge nodes are known already");
            return Err(Refusal::new(Rejection::UnknownDevice, &detail));
        }
        let node = self.nodes.entry(key.clone()).or_default();
        Ok((key, node))
    }

    /// Asks the node for its births if that is due, and sets its timer.
    fn speak(&mut self, key: &Arc<str>, now: Timestamp, heard: &mut Heard) {
        if let Some(node) = self.nodes.get_mut(key)
            && node.take_ask(now)
            && self.settings.rebirth
        {
            let topic = topic::command(key);
            let payload = payload::rebirth_command(now);
            heard.publish.push(Publication { source: self.source, topic, payload });
        }
        self.set_timer(key);
    }

    fn set_timer(&mut self, key: &Arc<str>) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let due = node.due();
        if node.timer == due {
            return;
        }
        if let Some(set) = node.timer {
            self.timers.remove(&(set, key.clone()));
        }
        node.timer = due;
        if let Some(due) = due {
            self.timers.insert((due, key.clone()));
        }
    }
}

/// What a dead device said before is no longer known to hold.
fn gone(facts: Result<DeviceFacts, Refusal>, heard: &mut Heard) {
    match facts {
        Ok(facts) => {
            heard.decoded.push(Decoded { facts: facts.clone(), news: News::Stale });
            heard.decoded.push(Decoded { facts, news: News::Presence { online: false } });
        }
        Err(refusal) => heard.refused.push(refusal),
    }
}
