//! Messages that a device sends again: those of its own time are known by it and by their payload.
//!
//! Without a time a repeat cannot be told from a new measurement.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::types::message::Message;
use crate::engine::types::time::Timestamp;

/// Messages that a page holds: of one device the last so many are remembered, and up to as many
/// before them. What is older is known by its values: see [`crate::engine::detect::When::maybe_again`].
const PAGE: usize = 16;

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
    last: Page,
    before: Page,
    /// Newest event time of those that were forgotten.
    forgotten: Option<Timestamp>,
}

/// Some messages that were received one after the other.
#[derive(Clone, Debug, Default)]
struct Page {
    /// Hashes of event time and payload.
    prints: Vec<u64>,
    /// Newest event time of them.
    newest: Option<Timestamp>,
}

impl Repeats {
    /// What is known of a message of this event time.
    pub fn find(&self, event: Timestamp, message: &Message) -> Known {
        if self.last.newest.max(self.before.newest).is_none_or(|newest| event > newest) {
            return Known::New;
        }
        let print = print(event, message);
        match self.forgotten {
            _ if self.last.prints.contains(&print) || self.before.prints.contains(&print) => {
                Known::Again
            }
            Some(forgotten) if event <= forgotten => Known::Unsure,
            Some(_) | None => Known::New,
        }
    }

    /// Remembers a message.
    pub fn remember(&mut self, event: Timestamp, message: &Message) {
        if self.last.prints.len() >= PAGE {
            std::mem::swap(&mut self.last, &mut self.before);
            self.forgotten = self.forgotten.max(self.last.newest.take());
            self.last.prints.clear();
        }
        self.last.newest = self.last.newest.max(Some(event));
        self.last.prints.push(print(event, message));
    }
}

fn print(event: Timestamp, message: &Message) -> u64 {
    xxh3_64_with_seed(&message.payload, event.micros().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::message::Delivery;

    fn message(payload: &str) -> Message {
        Message {
            source: 0,
            topic: "t".into(),
            payload: payload.as_bytes().to_vec(),
            retain: false,
            delivery: Delivery::Once,
        }
    }

    #[test]
    fn the_last_messages_are_known_by_time_and_payload_and_older_ones_are_unsure() {
        let mut repeats = Repeats::default();
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        for second in 0..40 {
            repeats.remember(at(second), &message("{}"));
        }
        assert_eq!(repeats.find(at(39), &message("{}")), Known::Again);
        assert_eq!(repeats.find(at(39), &message("{ }")), Known::New);
        assert_eq!(repeats.find(at(24), &message("{}")), Known::Again);
        assert_eq!(repeats.find(at(3), &message("{}")), Known::Unsure);
        assert_eq!(repeats.find(at(40), &message("{}")), Known::New);
    }
}
