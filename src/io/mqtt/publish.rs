//! Sends messages to an external broker and knows which of them have arrived.
//!
//! rumqttc forgets everything unconfirmed when the broker has forgotten the session, and says
//! nothing. So the unconfirmed messages are kept here, and all of them are sent again, in order,
//! on every new connection: at least once, as MQTT's QoS 1 has it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, Publish, QoS, Request};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::config::Transport;
use super::session::{self, Backoff, ClientError};

/// Messages that are sent and not yet confirmed.
const UNCONFIRMED_MAX: usize = 500;
/// Packet ids of the client: twice as many, so that a late confirmation collides with none.
const PACKET_IDS: u16 = 1000;

/// A connection that only publishes.
#[derive(Debug)]
pub struct Publisher {
    client: AsyncClient,
    shared: Arc<Shared>,
    reason: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    window: Semaphore,
    outbox: Mutex<Outbox>,
}

/// What was taken on and is not confirmed, oldest first.
#[derive(Debug, Default)]
struct Outbox {
    is_connected: bool,
    unconfirmed: VecDeque<Unconfirmed>,
}

#[derive(Debug)]
struct Unconfirmed {
    publish: Publish,
    packet: Option<u16>,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// Makes a client that connects by itself, again and again.
    ///
    /// # Errors
    /// Settings that can never work.
    pub fn start(transport: &Transport, password: Option<&str>) -> Result<Publisher, ClientError> {
        let mut options = session::options(transport, password)?;
        options.set_clean_session(true).set_inflight(PACKET_IDS);
        let (client, mut events) = AsyncClient::new(options, UNCONFIRMED_MAX);
        session::tune(&mut events);
        let shared = Arc::new(Shared {
            window: Semaphore::new(UNCONFIRMED_MAX),
            outbox: Mutex::default(),
        });
        let (told, reason) = watch::channel(None);
        let task = tokio::spawn(run(events, Arc::clone(&shared), told));
        Ok(Publisher {
            client,
            shared,
            reason,
            task,
        })
    }

    /// Takes a message on; waits while too many are unconfirmed.
    ///
    /// # Errors
    /// [`ClientError::Closed`] after the end.
    pub async fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
    ) -> Result<(), ClientError> {
        let place = self.shared.window.acquire().await;
        // Given back by the confirmation.
        place.map_err(|_| ClientError::Closed)?.forget();
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.retain = retain;
        let mut outbox = self.shared.outbox();
        if outbox.is_connected {
            let Publish { topic, payload, .. } = publish.clone();
            let qos = QoS::AtLeastOnce;
            // The channel is as long as the window: it is never full.
            let sent = self.client.try_publish(topic, qos, retain, payload);
            sent.map_err(|_| ClientError::Closed)?;
        }
        outbox.unconfirmed.push_back(Unconfirmed {
            publish,
            packet: None,
        });
        Ok(())
    }

    /// Waits until every message is confirmed, `limit` long at most.
    ///
    /// # Errors
    /// [`ClientError::Unconfirmed`] when the time is up; sending goes on.
    pub async fn confirmed(&self, limit: Duration) -> Result<(), ClientError> {
        let all = u32::try_from(UNCONFIRMED_MAX).unwrap_or(u32::MAX);
        match tokio::time::timeout(limit, self.shared.window.acquire_many(all)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ClientError::Closed),
            Err(_) => {
                let missing = self.shared.outbox().unconfirmed.len();
                Err(ClientError::Unconfirmed(missing))
            }
        }
    }

    /// Why there is no connection at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.reason.borrow().clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut events: EventLoop, shared: Arc<Shared>, told: watch::Sender<Option<String>>) {
    let mut backoff = Backoff::default();
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                backoff.connected();
                told.send_replace(None);
                let mut outbox = shared.outbox();
                let again = outbox.unconfirmed.iter();
                events.pending = again
                    .map(|kept| Request::Publish(kept.publish.clone()))
                    .collect();
                outbox.is_connected = true;
            }
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => {
                let mut outbox = shared.outbox();
                let next = outbox
                    .unconfirmed
                    .iter_mut()
                    .find(|kept| kept.packet.is_none());
                if let Some(kept) = next {
                    kept.packet = Some(packet);
                }
            }
            Ok(Event::Incoming(Packet::PubAck(ack))) => {
                let mut outbox = shared.outbox();
                let kept = &mut outbox.unconfirmed;
                if let Some(at) = kept.iter().position(|kept| kept.packet == Some(ack.pkid)) {
                    kept.remove(at);
                    shared.window.add_permits(1);
                }
            }
            Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
            Err(error) => {
                {
                    let mut outbox = shared.outbox();
                    outbox.is_connected = false;
                    events.clean();
                    events.pending.clear();
                    events.state.events.clear();
                    events.state.collision = None;
                    for kept in &mut outbox.unconfirmed {
                        kept.packet = None;
                    }
                }
                told.send_replace(Some(error.to_string()));
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}
