//! A subscription inside the process of the embedded broker.

use std::time::Duration;

use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Filter, Packet, PubAck, PubAckReason, QoS, RetainForwardRule, Subscribe};
use rumqttd::{Forward, Notification};
use tokio::sync::{mpsc, oneshot};

use super::embedded::Connect;
use super::{Ack, AckToken, Arrival, Closed, Inbox, Incoming, MqttEvent, tell, topics};
use crate::engine::types::message::Message;

/// rumqttd numbers what it sends from 1 to 100 and begins again; the number itself is private.
const PACKET_IDS: u16 = 100;
const RELINK_PAUSE: Duration = Duration::from_millis(200);
const ACK_BATCH: usize = PACKET_IDS as usize;

/// What to subscribe, for whom.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub source: usize,
    pub filter: String,
    pub qos: u8,
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
    inbox: Inbox,
    subscribed: oneshot::Sender<()>,
) {
    let mut reader = Reader {
        subscription,
        inbox,
        connection: 0,
        next_packet: 1,
        next_offset: None,
        subscribed: Some(subscribed),
    };
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
    inbox: Inbox,
    connection: u64,
    next_packet: u16,
    next_offset: Option<u64>,
    subscribed: Option<oneshot::Sender<()>>,
}

impl Reader {
    /// Reads one link until it ends.
    async fn read(&mut self, mut tx: LinkTx, mut rx: LinkRx) -> Result<(), Closed> {
        self.connection += 1;
        self.next_packet = 1;
        let asked = tx.send(self.subscribe()).await;
        let mut is_connected = false;
        let (acks, waiting) = mpsc::unbounded_channel();
        let acknowledging = tokio::spawn(acknowledge(tx, waiting, self.connection));
        let mut end = asked.map(drop);
        while end.is_ok() {
            match next(&mut rx).await {
                Ok(News::Forward(forward)) => self.forward(*forward, &acks).await?,
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
        acknowledging.abort();
        let reason = end.err().map_or_else(String::new, |error| error.to_string());
        self.tell(MqttEvent::Disconnected { reason }).await
    }

    fn subscribe(&self) -> Packet {
        let subscription = &self.subscription;
        let qos = match subscription.qos {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        let filter = Filter {
            path: subscription.filter.clone(),
            qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnEverySubscribe,
        };
        let filters = vec![filter];
        Packet::Subscribe(Subscribe { pkid: 1, filters }, None)
    }

    async fn forward(
        &mut self,
        forward: Forward,
        acks: &mpsc::UnboundedSender<Ack>,
    ) -> Result<(), Closed> {
        let lost = self.gap(forward.cursor);
        if lost > 0 {
            self.tell(MqttEvent::Overtaken { count: lost }).await?;
        }
        let ack = self.token(acks);
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
            dup: false,
        };
        let incoming = Incoming { message, oversized, ack };
        let sent = self.inbox.send(Arrival::Message(incoming)).await;
        sent.map_err(|_| Closed)
    }

    /// Messages that are missing before the one at `cursor` (segment, position in the log). A
    /// position behind the expected one is a repetition after a new link.
    fn gap(&mut self, cursor: Option<(u64, u64)>) -> u64 {
        let Some((_, offset)) = cursor else {
            return 0; // retained messages do not come from the log
        };
        let expected = self.next_offset.replace(offset + 1);
        expected.map_or(0, |expected| offset.saturating_sub(expected))
    }

    fn token(&mut self, acks: &mpsc::UnboundedSender<Ack>) -> AckToken {
        let ack = Ack { connection: self.connection, packet: self.next_packet };
        if self.subscription.qos == 0 {
            return AckToken { acks: None, ack };
        }
        self.next_packet = self.next_packet % PACKET_IDS + 1;
        let acks = Some(acks.clone());
        AckToken { acks, ack }
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

/// Sends acknowledgements in the order in which they come, many at a time.
async fn acknowledge(mut tx: LinkTx, mut waiting: mpsc::UnboundedReceiver<Ack>, connection: u64) {
    let mut batch = Vec::with_capacity(ACK_BATCH);
    while waiting.recv_many(&mut batch, ACK_BATCH).await > 0 {
        batch.retain(|ack: &Ack| ack.connection == connection);
        let packet = |ack: Ack| {
            let reason = PubAckReason::Success;
            let pkid = ack.packet;
            Packet::PubAck(PubAck { pkid, reason }, None)
        };
        let Some(last) = batch.pop() else {
            continue;
        };
        tx.buffer().extend(batch.drain(..).map(packet));
        if let Err(error) = tx.send(packet(last)).await {
            tracing::debug!(%error, "A link ended before its acknowledgements were sent.");
            return;
        }
    }
}
