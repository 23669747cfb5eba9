//! Messages that a broker sends again because it never got our acknowledgement.
//!
//! A message is acknowledged after its commit, so that a crash in between brings it again. Where the
//! device sends its time, the repetition is older than what it has done and changes nothing. Where
//! the time of receipt counts, a fault and its return would look new: so the newest messages of
//! each source are remembered, and stored with every commit.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Engine;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Delivery, Message};
use crate::seeded::{self, Bug};

/// Messages of one source that are remembered: more than brokers leave unacknowledged at a time
/// (Mosquitto 20, EMQX 32, both by default).
pub const REMEMBERED_MAX: usize = 256;

/// What was received lately and may come again, by the name of the source, oldest first.
#[derive(Debug, Default)]
pub(super) struct Redelivery {
    received: BTreeMap<String, Received>,
}

#[derive(Debug, Default)]
struct Received {
    newest: VecDeque<u64>,
    is_stored: bool,
}

impl Redelivery {
    /// What was stored.
    pub fn restore(stored: Vec<(String, Vec<u64>)>) -> Redelivery {
        let received = stored.into_iter().map(|(source, newest)| {
            let newest = newest.into_iter().take(REMEMBERED_MAX).collect();
            (source, Received { newest, is_stored: true })
        });
        Redelivery { received: received.collect() }
    }

    /// True for a message that was taken in already; any other is remembered.
    pub fn is_repeat(&mut self, source: &str, message: &Message) -> bool {
        let Delivery::UntilAcknowledged { packet, again } = message.delivery else {
            return false;
        };
        let is_window = seeded::has(Bug::DedupByWindow);
        let again = again || is_window;
        let print = print(if is_window { 0 } else { packet }, message);
        let known = self.received.get_mut(source);
        if again && known.as_ref().is_some_and(|known| known.newest.contains(&print)) {
            return true;
        }
        let known = match known {
            Some(known) => known,
            None => self.received.entry(source.to_owned()).or_default(),
        };
        if known.newest.len() >= REMEMBERED_MAX {
            known.newest.pop_front();
        }
        known.newest.push_back(print);
        known.is_stored = false;
        false
    }
}

/// The packet id belongs to it: a broker keeps it for the repetition (MQTT 3.1.1, 4.4).
fn print(packet: u16, message: &Message) -> u64 {
    let of_topic = xxh3_64_with_seed(message.topic.as_bytes(), u64::from(packet));
    xxh3_64_with_seed(&message.payload, of_topic)
}

impl Engine {
    /// Adds to `effects`, if it writes anything, what is needed to know a redelivery after a crash.
    /// To be called once before each commit.
    pub fn note_received(&mut self, effects: &mut Effects) {
        if effects.writes.is_empty() {
            return;
        }
        for (source, received) in &mut self.redelivery.received {
            if !received.is_stored {
                received.is_stored = true;
                let newest = received.newest.iter().copied().collect();
                effects.writes.push(Write::Received { source: source.clone(), newest });
            }
        }
    }
}
