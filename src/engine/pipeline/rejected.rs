//! The first message of each kind that was refused, kept so that an operator can see one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::types::decision::Rejection;
use crate::engine::types::message::Message;
use crate::engine::types::text::{cut_bytes, one_line};
use crate::engine::types::time::Timestamp;

/// Most of a topic that is kept, in bytes.
const TOPIC_BYTES_MAX: usize = 200;
/// Most of a payload that is kept, in bytes of the text that shows it.
const PAYLOAD_BYTES_MAX: usize = 500;

/// The first message of a source that was refused for a reason. At most 1 KiB, the detail included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// When it was received.
    pub at: Timestamp,
    /// The particulars.
    pub detail: String,
    /// Beginning of its topic.
    pub topic: String,
    /// Beginning of its payload; bytes that are no UTF-8 are shown as `\xNN`.
    pub payload: String,
    /// How long the whole payload was.
    pub bytes: usize,
    /// How many there were, this one included.
    pub count: u64,
}

/// The first of each kind: one for each source and reason, so that there are never many.
#[derive(Debug, Default)]
pub(super) struct RejectedSamples {
    first: BTreeMap<(usize, Rejection), Rejected>,
}

impl RejectedSamples {
    /// Counts a refusal; the first of its kind is kept.
    pub fn note(
        &mut self,
        now: Timestamp,
        source: usize,
        reason: Rejection,
        detail: &str,
        message: Option<&Message>,
    ) {
        let first = self.first.entry((source, reason)).or_insert_with(|| Rejected {
            at: now,
            detail: detail.to_owned(),
            topic: message.map_or(String::new(), |message| {
                cut_bytes(&one_line(&message.topic), TOPIC_BYTES_MAX).to_owned()
            }),
            payload: message.map_or(String::new(), |message| shown(&message.payload)),
            bytes: message.map_or(0, |message| message.payload.len()),
            count: 0,
        });
        first.count += 1;
    }

    /// By source and reason.
    pub fn all(&self) -> impl Iterator<Item = (usize, Rejection, &Rejected)> {
        self.first.iter().map(|((source, reason), rejected)| (*source, *reason, rejected))
    }
}

/// The beginning of a payload as one line of text.
fn shown(payload: &[u8]) -> String {
    let head = payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(payload);
    let mut text = String::new();
    for chunk in head.utf8_chunks() {
        text.push_str(&one_line(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    cut_bytes(&text, PAYLOAD_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::message::Delivery;

    #[test]
    fn the_first_of_a_kind_is_kept_in_less_than_a_kibibyte_however_large_it_was() {
        let message = |payload: Vec<u8>| Message {
            source: 0,
            topic: "厂/".repeat(5_000),
            payload,
            retain: false,
            delivery: Delivery::Once,
        };
        let mut samples = RejectedSamples::default();
        let note = |samples: &mut RejectedSamples, payload: &[u8]| {
            let message = message(payload.to_vec());
            let detail = "x".repeat(crate::engine::decode::DETAIL_BYTES_MAX);
            let reason = Rejection::InvalidUtf8;
            samples.note(Timestamp::EPOCH, 0, reason, &detail, Some(&message));
        };
        note(&mut samples, &[[b"{\"t\": ".as_slice(), &[0xff; 90_000]].concat()].concat());
        note(&mut samples, b"second");
        let all: Vec<_> = samples.all().collect();
        assert_eq!(all.len(), 1);
        let (_, _, first) = all[0];
        assert_eq!((first.count, first.bytes), (2, 90_006));
        assert!(first.payload.starts_with("{\"t\": \\xff\\xff"), "{}", first.payload);
        assert!(serde_json::to_vec(first).expect("JSON").len() < 1_500);
        assert!(first.payload.len() + first.topic.len() + first.detail.len() < 1_024);
    }
}
