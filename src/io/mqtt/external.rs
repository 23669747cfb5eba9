//! A subscription at an external broker: MQTT 3.1.1, a session that outlives us, acknowledged once
//! everything that follows from a message is stored.
//!
//! One task reads and acknowledges: what the socket has is handed over together, and what one
//! commit covers is acknowledged in one write.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::SubscribeReasonCode;
use rumqttc::{Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeFilter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};

use super::config::Transport;
use super::connection::{Connection, ConnectionError, Dial};
use super::session::{self, Backoff, ClientError, KEEP_ALIVE};
use super::{Ack, AckToken, Arrival, Closed, Inbox, Incoming, MqttEvent};
use crate::engine::types::message::{Delivery, Message};

/// Acknowledgements that are written together at most, and arrivals that are handed over together.
const TOGETHER_MAX: usize = 512;
/// The packet id of our only request.
const SUBSCRIBE_ID: u16 = 1;
/// How long the last acknowledgements may take when we end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A running subscription; dropped, it ends, and the broker keeps what comes for it.
#[derive(Debug)]
pub struct Subscriber {
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes the topics of `source` for ever, and puts what arrives into `inbox`.
    ///
    /// # Errors
    /// Settings that can never work; a broker that cannot be reached is told through the inbox.
    pub fn start(
        source: usize,
        transport: &Transport,
        password: Option<&str>,
        max_payload: usize,
        inbox: Inbox,
    ) -> Result<Subscriber, ClientError> {
        let dial = session::dial(transport, password)?;
        let (acks, waiting) = mpsc::unbounded_channel();
        let reader = Reader {
            source,
            filters: transport.filters(),
            qos: transport.qos,
            max_payload,
            acks,
            connection: 0,
            arrived: VecDeque::new(),
            is_known: false,
            reason: None,
        };
        Ok(Subscriber { task: tokio::spawn(reader.run(dial, inbox, waiting)) })
    }

    /// Waits a little for the last acknowledgements; the other end of the inbox must be gone.
    pub async fn ended(mut self) {
        if timeout(END_WITHIN, &mut self.task).await.is_err() {
            tracing::debug!("A broker was left without the last acknowledgements.");
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a connection ends.
enum End {
    Lost(ConnectionError),
    /// Nobody takes anything any more.
    Closed,
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> End {
        End::Lost(error)
    }
}

struct Reader {
    source: usize,
    filters: Vec<String>,
    qos: u8,
    max_payload: usize,
    /// For the tokens of the messages.
    acks: mpsc::UnboundedSender<Ack>,
    /// Number of the connection: an acknowledgement of a former one is not sent, its packet id
    /// means another message now.
    connection: u64,
    /// What was read and is not in the inbox yet. Nothing more is read before it is empty: the
    /// broker holds what has not been acknowledged.
    arrived: VecDeque<Arrival>,
    /// The broker has our subscriptions, as they are now.
    is_known: bool,
    /// The last failure that was told.
    reason: Option<String>,
}

impl Reader {
    async fn run(mut self, dial: Dial, inbox: Inbox, mut waiting: mpsc::UnboundedReceiver<Ack>) {
        let mut backoff = Backoff::default();
        loop {
            let end = match Connection::open(&dial).await {
                Ok((connection, session_present)) => {
                    backoff.connected();
                    self.serve(connection, session_present, &inbox, &mut waiting).await
                }
                Err(error) => End::Lost(error),
            };
            let End::Lost(error) = end else { return };
            self.connection += 1;
            // The packet ids are void, and the broker sends these again.
            self.arrived.retain(|arrival| matches!(arrival, Arrival::Event { .. }));
            self.failed(&error);
            for arrival in self.arrived.drain(..) {
                if inbox.send(arrival).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn serve(
        &mut self,
        mut connection: Connection,
        session_present: bool,
        inbox: &Inbox,
        waiting: &mut mpsc::UnboundedReceiver<Ack>,
    ) -> End {
        match self.exchange(&mut connection, session_present, inbox, waiting).await {
            Err(end) => end,
            Ok(Closed) => match self.part(&mut connection, waiting).await {
                Ok(()) => End::Closed,
                Err(error) => {
                    tracing::debug!(%error, "The last acknowledgements were not sent.");
                    End::Closed
                }
            },
        }
    }

    /// Reads and acknowledges until nobody takes anything any more.
    async fn exchange(
        &mut self,
        connection: &mut Connection,
        session_present: bool,
        inbox: &Inbox,
        waiting: &mut mpsc::UnboundedReceiver<Ack>,
    ) -> Result<Closed, End> {
        self.connected(connection, session_present)?;
        // What came together with the broker's answer.
        self.take_packets(connection)?;
        let closed = inbox.closed();
        tokio::pin!(closed);
        let mut acks = Vec::with_capacity(TOGETHER_MAX);
        let mut ping = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        let mut was_heard = true;
        loop {
            connection.flush().await?;
            let is_reading = self.arrived.is_empty();
            let together = self.arrived.len().min(TOGETHER_MAX);
            tokio::select! {
                biased;
                () = &mut closed => return Ok(Closed),
                _ = ping.tick() => {
                    // While nothing is read, silence says nothing.
                    if !std::mem::take(&mut was_heard) && is_reading {
                        return Err(ConnectionError::Silent.into());
                    }
                    connection.put(&Packet::PingReq)?;
                }
                _ = waiting.recv_many(&mut acks, TOGETHER_MAX) => {
                    self.acknowledge(connection, &mut acks)?;
                }
                room = inbox.reserve_many(together), if !is_reading => {
                    let Ok(room) = room else { return Ok(Closed) };
                    for (place, arrival) in room.zip(self.arrived.drain(..together)) {
                        place.send(arrival);
                    }
                    was_heard |= self.arrived.is_empty();
                }
                received = connection.receive(), if is_reading => {
                    received?;
                    was_heard = true;
                    self.take_packets(connection)?;
                }
            }
        }
    }

    /// Sends the acknowledgements that are still there, and says goodbye.
    async fn part(
        &self,
        connection: &mut Connection,
        waiting: &mut mpsc::UnboundedReceiver<Ack>,
    ) -> Result<(), ConnectionError> {
        let mut acks = Vec::new();
        while let Ok(ack) = waiting.try_recv() {
            acks.push(ack);
        }
        self.acknowledge(connection, &mut acks)?;
        connection.put(&Packet::Disconnect)?;
        connection.flush().await
    }

    /// Acknowledges in the order of arrival.
    fn acknowledge(
        &self,
        connection: &mut Connection,
        acks: &mut Vec<Ack>,
    ) -> Result<(), ConnectionError> {
        for ack in acks.drain(..).filter(|ack| ack.connection == self.connection) {
            connection.put(&Packet::PubAck(PubAck::new(ack.packet)))?;
        }
        Ok(())
    }

    fn connected(
        &mut self,
        connection: &mut Connection,
        session_present: bool,
    ) -> Result<(), ConnectionError> {
        self.reason = None;
        // The first time also with a session: the topics may not be those of the last run.
        if session_present && self.is_known {
            self.tell(MqttEvent::Connected);
            return Ok(());
        }
        let qos = match self.qos {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        let filter = |path: &String| SubscribeFilter::new(path.clone(), qos);
        let mut subscribe = Subscribe::new_many(self.filters.iter().map(filter));
        subscribe.pkid = SUBSCRIBE_ID;
        connection.put(&Packet::Subscribe(subscribe))?;
        if !session_present && std::mem::take(&mut self.is_known) {
            self.tell(MqttEvent::SessionLost);
        }
        Ok(())
    }

    fn take_packets(&mut self, connection: &mut Connection) -> Result<(), ConnectionError> {
        while let Some(packet) = connection.next_packet()? {
            self.packet(packet);
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet) {
        if let Packet::Publish(publish) = packet {
            self.publish(publish);
        } else if let Packet::SubAck(ack) = packet {
            self.subscribed(&ack);
        }
    }

    /// Only now the broker keeps what is published for us.
    fn subscribed(&mut self, ack: &SubAck) {
        self.is_known = true;
        self.tell(MqttEvent::Connected);
        let answers = self.filters.iter().zip(&ack.return_codes);
        let refused = answers.filter(|(_, code)| **code == SubscribeReasonCode::Failure);
        let refused: Vec<String> = refused.map(|(topic, _)| topic.clone()).collect();
        for topic in refused {
            self.tell(MqttEvent::SubscribeRefused { topic });
        }
    }

    fn publish(&mut self, publish: Publish) {
        let length = publish.payload.len();
        let oversized = (length > self.max_payload).then_some(length);
        let ack = Ack { connection: self.connection, packet: publish.pkid };
        let acks = (publish.qos != QoS::AtMostOnce).then(|| self.acks.clone());
        let delivery = match publish.qos {
            QoS::AtMostOnce => Delivery::Once,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                Delivery::UntilAcknowledged { packet: publish.pkid, again: publish.dup }
            }
        };
        let message = Message {
            source: self.source,
            topic: publish.topic,
            payload: match oversized {
                Some(_) => Vec::new(),
                // A copy: what was received is read over as soon as nothing points into it.
                None => publish.payload.to_vec(),
            },
            retain: publish.retain,
            delivery,
        };
        let incoming = Incoming { message, oversized, ack: AckToken { acks, ack } };
        self.arrived.push_back(Arrival::Message(incoming));
    }

    /// Tells a failure once, not at every attempt.
    fn failed(&mut self, error: &ConnectionError) {
        let reason = error.to_string();
        if self.reason.as_ref() != Some(&reason) {
            self.reason = Some(reason.clone());
            self.tell(MqttEvent::Disconnected { reason });
        }
    }

    fn tell(&mut self, event: MqttEvent) {
        self.arrived.push_back(Arrival::Event { source: Some(self.source), event });
    }
}

#[cfg(test)]
mod tests;
