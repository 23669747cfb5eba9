//! A subscription inside the process of the embedded broker.
//!
//! At QoS 0: the broker forgets with the process what it was not told to forget, so that an
//! acknowledgement to it would save nothing.

use std::time::Duration;

use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Filter, Packet, QoS, RetainForwardRule, Subscribe};
use rumqttd::{Forward, Notification};
use tokio::sync::oneshot;

use super::embedded::Connect;
use super::gate::Gate;
use super::{AckToken, Arrival, Closed, Inbox, Incoming, MqttEvent, tell, topics};
use crate::engine::types::message::{Delivery, Message};

const RELINK_PAUSE: Duration = Duration::from_millis(200);

/// What to subscribe, for whom.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub source: usize,
    pub filter: String,
    pub client_id: String,
    pub max_payload: usize,
}

/// Carries messages to `inbox` until the gateway or the broker has ended. A client that takes our
/// id pushes the link out: it is made again, and the session goes on where it was.
///
/// `subscribed` is told once the router has the subscription: what a device publishes before that
/// would be acknowledged by the broker and reach nobody.
pub(super) async fn run(
    subscription: Subscription,
    connect: Connect,
    gate: Gate,
    inbox: Inbox,
    subscribed: oneshot::Sender<()>,
) {
    let subscribed = Some(subscribed);
    let mut reader = Reader { subscription, gate, inbox, next_offset: 0, subscribed };
    loop {
        match connect(&reader.subscription.client_id) {
            Ok((tx, rx)) => match reader.read(tx, rx).await {
                Ok(()) => {}
                Err(Closed) => return,
            },
            Err(error) => {
                let reason = error.to_string();
                if reader.tell(MqttEvent::Disconnected { reason }).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(RELINK_PAUSE).await;
    }
}

struct Reader {
    subscription: Subscription,
    gate: Gate,
    inbox: Inbox,
    /// Position in the log of the filter. It begins with our subscription: nobody else is let in
    /// before.
    next_offset: u64,
    subscribed: Option<oneshot::Sender<()>>,
}

impl Reader {
    /// Reads one link until it ends.
    async fn read(&mut self, mut tx: LinkTx, mut rx: LinkRx) -> Result<(), Closed> {
        let asked = tx.send(self.subscribe()).await;
        let mut is_connected = false;
        let mut end = asked.map(drop);
        while end.is_ok() {
            match next(&mut rx).await {
                Ok(News::Forward(forward)) => self.forward(*forward).await?,
                Ok(News::Acknowledged) if !is_connected => {
                    is_connected = true;
                    self.tell(MqttEvent::Connected).await?;
                    // Nobody waits any more for a link that is made again.
                    let waiting = self.subscribed.take();
                    if waiting.is_some_and(|waiting| waiting.send(()).is_err()) {
                        return Err(Closed);
                    }
                }
                Ok(News::Acknowledged) => {}
                Err(error) => end = Err(error),
            }
        }
        let reason = end.err().map_or_else(String::new, |error| error.to_string());
        self.tell(MqttEvent::Disconnected { reason }).await
    }

    fn subscribe(&self) -> Packet {
        let filter = Filter {
            path: self.subscription.filter.clone(),
            qos: QoS::AtMostOnce,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnEverySubscribe,
        };
        let filters = vec![filter];
        Packet::Subscribe(Subscribe { pkid: 1, filters }, None)
    }

    async fn forward(&mut self, forward: Forward) -> Result<(), Closed> {
        let lost = self.gap(forward.cursor);
        if lost > 0 {
            self.tell(MqttEvent::Overtaken { count: lost }).await?;
        }
        let Forward { publish, .. } = forward;
        let length = publish.payload.len();
        let oversized = (length > self.subscription.max_payload).then_some(length);
        let message = Message {
            source: self.subscription.source,
            topic: topics::outside(&String::from_utf8_lossy(&publish.topic)).to_owned(),
            payload: match oversized {
                Some(_) => Vec::new(),
                None => publish.payload.into(),
            },
            retain: publish.retain,
            delivery: Delivery::Once,
        };
        let incoming = Incoming { message, oversized, ack: AckToken::nothing() };
        self.gate.send(&self.inbox, Arrival::Message(incoming)).await
    }

    /// Messages that are missing before the one at `cursor` (segment, position in the log). A
    /// position behind the expected one is a repetition after a new link.
    fn gap(&mut self, cursor: Option<(u64, u64)>) -> u64 {
        let Some((_, offset)) = cursor else {
            return 0; // retained messages do not come from the log
        };
        let expected = std::mem::replace(&mut self.next_offset, offset + 1);
        offset.saturating_sub(expected)
    }

    async fn tell(&self, event: MqttEvent) -> Result<(), Closed> {
        tell(&self.inbox, self.subscription.source, event).await
    }
}

/// The next message of a link.
pub(super) async fn next_forward(rx: &mut LinkRx) -> Result<Forward, LinkError> {
    loop {
        if let News::Forward(forward) = next(rx).await? {
            return Ok(*forward);
        }
    }
}

/// What a link tells.
enum News {
    Forward(Box<Forward>),
    /// The router has taken what was sent: here, a subscription.
    Acknowledged,
}

/// What comes next on a link. `Unschedule` must be answered, or the link stalls for ever.
async fn next(rx: &mut LinkRx) -> Result<News, LinkError> {
    loop {
        match rx.next().await? {
            Some(Notification::Forward(forward)) => return Ok(News::Forward(Box::new(forward))),
            Some(Notification::DeviceAck(_)) => return Ok(News::Acknowledged),
            Some(Notification::Unschedule) => rx.wake().await?,
            Some(
                Notification::ReplicaData { .. }
                | Notification::ReplicaAcks { .. }
                | Notification::Shadow(_)
                | Notification::Disconnect(..),
            )
            | None => {}
        }
    }
}
