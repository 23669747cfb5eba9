//! A subscription at an external broker: MQTT 3.1.1, a session that outlives us, acknowledged by
//! hand. A client that only subscribes: rumqttc stops acknowledging while its own publishes wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Packet, Publish, QoS, SubAck};
use rumqttc::{SubscribeFilter, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::Transport;
use super::session::{self, Backoff, ClientError};
use super::{Ack, AckToken, Arrival, Closed, Inbox, Incoming, MqttEvent, tell};
use crate::engine::types::message::{Delivery, Message};

/// Requests between us and the client. Only acknowledgements and a subscription pass through; more
/// of the former than this wait outside.
const REQUESTS: usize = 4096;
const ACK_PAUSE: Duration = Duration::from_millis(1);

/// A running subscription; dropped, it ends, and the broker keeps what comes for it.
#[derive(Debug)]
pub struct Subscriber {
    tasks: [JoinHandle<()>; 2],
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
        let mut options = session::options(transport, password)?;
        options.set_clean_session(false).set_manual_acks(true);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        session::tune(&mut events);
        let (acks, waiting) = mpsc::unbounded_channel();
        let connection = Connection::default();
        let acknowledging = acknowledge(client.clone(), waiting, connection.clone());
        let reader = Reader {
            source,
            filters: transport.filters(),
            qos: transport.qos,
            max_payload,
            client,
            inbox,
            acks,
            connection,
            is_known: false,
            reason: None,
        };
        let tasks = [tokio::spawn(reader.run(events)), tokio::spawn(acknowledging)];
        Ok(Subscriber { tasks })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Number of the current connection. Held while an acknowledgement is handed over and while a
/// connection is cleared away, so that none passes from one connection to the next, where its
/// packet id would mean another message.
#[derive(Clone, Debug, Default)]
struct Connection(Arc<Mutex<u64>>);

impl Connection {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    source: usize,
    filters: Vec<String>,
    qos: u8,
    max_payload: usize,
    client: AsyncClient,
    inbox: Inbox,
    acks: mpsc::UnboundedSender<Ack>,
    connection: Connection,
    /// The broker has our subscriptions, as they are now.
    is_known: bool,
    /// The last failure that was told.
    reason: Option<String>,
}

impl Reader {
    async fn run(mut self, mut events: EventLoop) {
        let mut backoff = Backoff::default();
        loop {
            let handled = match events.poll().await {
                Ok(Event::Incoming(packet)) => self.incoming(packet, &mut backoff).await,
                Ok(Event::Outgoing(_)) => Ok(()),
                Err(error) => {
                    {
                        let mut connection = self.connection.lock();
                        *connection += 1;
                        events.clean();
                        // What was read and not handed out: its packet ids are void, and the
                        // broker sends it again.
                        events.state.events.clear();
                    }
                    let told = self.failed(&error).await;
                    tokio::time::sleep(backoff.pause()).await;
                    told
                }
            };
            if handled.is_err() {
                return;
            }
        }
    }

    async fn incoming(&mut self, packet: Packet, backoff: &mut Backoff) -> Result<(), Closed> {
        if let Packet::Publish(publish) = packet {
            return self.publish(publish).await;
        }
        if let Packet::SubAck(ack) = packet {
            return self.subscribed(&ack).await;
        }
        if let Packet::ConnAck(ack) = packet {
            backoff.connected();
            return self.connected(ack.session_present).await;
        }
        Ok(())
    }

    async fn connected(&mut self, session_present: bool) -> Result<(), Closed> {
        self.reason = None;
        let was_known = self.is_known;
        // The first time also with a session: the topics may not be those of the last run.
        let is_subscribing = !session_present || !was_known;
        if is_subscribing {
            let qos = match self.qos {
                0 => QoS::AtMostOnce,
                _ => QoS::AtLeastOnce,
            };
            let filter = |path: &String| SubscribeFilter::new(path.clone(), qos);
            // Never awaited here: this task is the one that makes room.
            let sent = self.client.try_subscribe_many(self.filters.iter().map(filter));
            self.is_known = sent.is_ok();
            if let Err(error) = sent {
                let reason = format!("the subscription could not be sent: {error}");
                self.tell(MqttEvent::Disconnected { reason }).await?;
            }
        }
        if !is_subscribing {
            self.tell(MqttEvent::Connected).await?;
        }
        if !session_present && was_known {
            self.tell(MqttEvent::SessionLost).await?;
        }
        Ok(())
    }

    /// Only now the broker keeps what is published for us.
    async fn subscribed(&self, ack: &SubAck) -> Result<(), Closed> {
        self.tell(MqttEvent::Connected).await?;
        for (topic, code) in self.filters.iter().zip(&ack.return_codes) {
            if *code == SubscribeReasonCode::Failure {
                let topic = topic.clone();
                self.tell(MqttEvent::SubscribeRefused { topic }).await?;
            }
        }
        Ok(())
    }

    async fn publish(&self, publish: Publish) -> Result<(), Closed> {
        let length = publish.payload.len();
        let oversized = (length > self.max_payload).then_some(length);
        let ack = Ack { connection: *self.connection.lock(), packet: publish.pkid };
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
                None => publish.payload.into(),
            },
            retain: publish.retain,
            delivery,
        };
        let incoming = Incoming { message, oversized, ack: AckToken { acks, ack } };
        // While this waits, nothing is read: the broker holds what has not been acknowledged.
        let sent = self.inbox.send(Arrival::Message(incoming)).await;
        sent.map_err(|_| Closed)
    }

    /// Tells a failure once, not at every attempt.
    async fn failed(&mut self, error: &ConnectionError) -> Result<(), Closed> {
        let reason = error.to_string();
        if self.reason.as_ref() == Some(&reason) {
            return Ok(());
        }
        self.reason = Some(reason.clone());
        self.tell(MqttEvent::Disconnected { reason }).await
    }

    async fn tell(&self, event: MqttEvent) -> Result<(), Closed> {
        tell(&self.inbox, self.source, event).await
    }
}

/// Hands acknowledgements to the client in the order in which they come, those of a former
/// connection excepted.
async fn acknowledge(
    client: AsyncClient,
    mut waiting: mpsc::UnboundedReceiver<Ack>,
    connection: Connection,
) {
    while let Some(ack) = waiting.recv().await {
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = ack.packet;
        loop {
            let is_done = {
                let current = connection.lock();
                *current != ack.connection || client.try_ack(&publish).is_ok()
            };
            if is_done {
                break;
            }
            tokio::time::sleep(ACK_PAUSE).await;
        }
    }
}
