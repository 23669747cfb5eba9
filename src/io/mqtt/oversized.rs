//! Messages that are too large for the embedded broker.
//!
//! rumqttd closes the connection of a device that sends more than it takes, and a device that
//! sends it again at every connection is lost for good. So the door throws such a payload away and
//! passes on a word about it, with the packet id of the message: the device is acknowledged, and
//! the gateway counts what it was.

use rumqttd::local::{LinkRx, LinkTx};

use super::embedded::Connect;
use super::gate::Gate;
use super::{AckToken, Arrival, Closed, Inbox, Incoming, link, topics};
use crate::engine::types::message::{Delivery, Message};

/// What a packet may have beside its payload and topic: packet id and properties, in bytes.
const BESIDE_PAYLOAD: usize = 64 * 1024;
/// Topic of the words. It lacks the prefix that topics of devices have inside.
pub(super) const TOPIC: &str = "oversized";

/// Largest rest of a PUBLISH after its topic that is passed on, in bytes.
pub(super) fn rest_bytes_max(max_payload: usize) -> usize {
    max_payload + BESIDE_PAYLOAD
}

/// The payload that stands for `bytes` on `topic`.
pub(super) fn word(topic: &str, bytes: usize) -> Vec<u8> {
    format!("{bytes} {topic}").into_bytes()
}

fn read_word(payload: &[u8]) -> Option<(usize, &str)> {
    let (bytes, topic) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    Some((bytes.parse().ok()?, topic))
}

/// Tells `inbox` of every oversized message, as one of the source that would have read it; one
/// that no source reads is nobody's. `filters` are those of the sources, as the devices name them.
pub(super) async fn run(
    connect: Connect,
    client_id: String,
    filters: Vec<(usize, String)>,
    gate: Gate,
    inbox: Inbox,
) {
    let Ok((mut tx, mut rx)) = connect(&client_id) else {
        tracing::error!("Oversized messages will not be counted: the broker gives no link.");
        return;
    };
    if let Err(error) = listen(&mut tx, &mut rx, &filters, &gate, &inbox).await {
        tracing::debug!(%error, "The link for oversized messages ended.");
    }
}

async fn listen(
    tx: &mut LinkTx,
    rx: &mut LinkRx,
    filters: &[(usize, String)],
    gate: &Gate,
    inbox: &Inbox,
) -> Result<(), Box<rumqttd::local::LinkError>> {
    tx.subscribe(TOPIC)?;
    loop {
        let forward = link::next_forward(rx).await?;
        let Some((bytes, topic)) = read_word(&forward.publish.payload) else {
            continue;
        };
        let mut readers = filters.iter().filter(|(_, filter)| topics::fits(filter, topic));
        let Some((source, _)) = readers.next() else {
            continue;
        };
        let message = Message {
            source: *source,
            topic: topic.to_owned(),
            payload: Vec::new(),
            retain: false,
            delivery: Delivery::Once,
        };
        let incoming = Incoming { message, oversized: Some(bytes), ack: AckToken::nothing() };
        if let Err(Closed) = gate.send(inbox, Arrival::Message(incoming)).await {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_tells_how_much_was_sent_where() {
        let told = word("工厂 1/泵", 5_000_000);
        assert_eq!(read_word(&told), Some((5_000_000, "工厂 1/泵")));
        assert_eq!(read_word(b"junk"), None);
    }
}
