//! Messages that a device sends again: those of its own time are known by it and by their payload.
//!
//! Without a time a repeat cannot be told from a new measurement.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::types::message::Message;
use crate::engine::types::time::Timestamp;

/// Messages of one device that are remembered. What is older is known by its values: see
/// [`crate::engine::detect::When::maybe_again`].
const REMEMBERED_MAX: usize = 32;

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was taken in before.
    Again,
    /// It was not.
    New,
    /// It is older than what is remembered.
    Unsure,
}

/// The last messages of a device.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    /// Event time and hash of the payload, in the order of receipt.
    heard: VecDeque<(Timestamp, u64)>,
    /// Newest event time of those that were forgotten.
    forgotten: Option<Timestamp>,
}

impl Repeats {
    /// What is known of a message of this event time.
    pub fn find(&self, event: Timestamp, message: &Message) -> Known {
        let mut of_time = self.heard.iter().rev().filter(|(at, _)| *at == event).peekable();
        if of_time.peek().is_some() {
            let print = print(message);
            if of_time.any(|(_, known)| *known == print) {
                return Known::Again;
            }
        }
        match self.forgotten {
            Some(forgotten) if event <= forgotten => Known::Unsure,
            _ => Known::New,
        }
    }

    /// Remembers a message.
    pub fn remember(&mut self, event: Timestamp, message: &Message) {
        if self.heard.len() >= REMEMBERED_MAX
            && let Some((oldest, _)) = self.heard.pop_front()
        {
            self.forgotten = self.forgotten.max(Some(oldest));
        }
        self.heard.push_back((event, print(message)));
    }
}

fn print(message: &Message) -> u64 {
    xxh3_64(&message.payload)
}
