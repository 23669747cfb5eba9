//! One connection to a broker that loses nothing it has taken on.
//!
//! rumqttc forgets everything unconfirmed when the broker has forgotten the session, and says
//! nothing. So the unconfirmed messages are kept here, and all of them are sent again, in order,
//! on every new connection: at least once, as MQTT's QoS 1 has it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, Publish, QoS, Request,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::publish::Target;

/// Largest packet, in bytes: rumqttc's own limit is 10 KiB.
const PACKET_BYTES_MAX: usize = 16 << 20;
/// First and longest pause before a lost connection is tried again.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Retained payload of a presence topic while the device is there.
pub const ONLINE: &str = "online";
/// And when it is not: its goodbye, or its last will.
pub const OFFLINE: &str = "offline";

/// How far a run has come; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages taken on.
    pub sent: AtomicU64,
    /// Of them acknowledged by a broker.
    pub confirmed: AtomicU64,
    /// Connections made, the first of each included.
    pub connected: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Progress {
    /// Why a connection could not be made, or was lost, since the last one was made.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Who connects: a client id, and the topic of its last will, empty for none.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub client_id: String,
    pub presence: String,
    /// Messages that are sent and not yet confirmed, at most.
    pub window: u16,
}

/// A client that can lose its connection and get it back.
#[derive(Debug)]
pub(crate) struct Link {
    identity: Identity,
    target: Target,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    presence: String,
    window: Semaphore,
    outbox: Mutex<Outbox>,
    progress: Arc<Progress>,
    /// Handshakes at one time, of all links together.
    door: Arc<Semaphore>,
}

/// What was taken on and is not confirmed, oldest first.
#[derive(Debug, Default)]
struct Outbox {
    /// There while the connection is up: what is taken on meanwhile goes out at once.
    client: Option<AsyncClient>,
    /// The device goes on purpose: a connection that comes back now says so too.
    is_leaving: bool,
    unconfirmed: VecDeque<Unconfirmed>,
}

#[derive(Debug)]
struct Unconfirmed {
    publish: Publish,
    packet: Option<u16>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Holds a place of the window.
    Report,
    /// Not one of the window: it must never wait behind reports.
    Presence,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message on; called with the outbox locked.
    fn take_on(&self, outbox: &mut Outbox, publish: Publish, kind: Kind) {
        if let Some(client) = &outbox.client {
            let Publish { topic, payload, retain, .. } = publish.clone();
            // The channel is longer than the window: it is never full. A client that is closed
            // has a task that ended; the message is kept for the next one.
            drop(client.try_publish(topic, QoS::AtLeastOnce, retain, payload));
        }
        outbox.unconfirmed.push_back(Unconfirmed { publish, packet: None, kind });
        self.progress.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection is new: presence, and all that was not confirmed.
    fn connected(&self, events: &mut EventLoop, client: &AsyncClient) {
        let mut outbox = self.outbox();
        if !self.presence.is_empty() {
            let before = outbox.unconfirmed.len();
            outbox.unconfirmed.retain(|kept| kept.kind == Kind::Report);
            let replaced = (before - outbox.unconfirmed.len()) as u64;
            self.progress.sent.fetch_sub(replaced, Ordering::Relaxed);
            self.progress.sent.fetch_add(1, Ordering::Relaxed);
            let presence = |payload| Unconfirmed {
                publish: retained(&self.presence, payload),
                packet: None,
                kind: Kind::Presence,
            };
            if outbox.is_leaving {
                outbox.unconfirmed.push_back(presence(OFFLINE));
            } else {
                outbox.unconfirmed.push_front(presence(ONLINE));
            }
        }
        for kept in &mut outbox.unconfirmed {
            kept.packet = None;
        }
        let again = outbox.unconfirmed.iter();
        events.pending = again.map(|kept| Request::Publish(kept.publish.clone())).collect();
        outbox.client = Some(client.clone());
        self.progress.connected.fetch_add(1, Ordering::Relaxed);
        self.progress.set_trouble(None);
    }

    /// The connection is lost: packet ids mean nothing any more.
    fn disconnected(&self) {
        let mut outbox = self.outbox();
        outbox.client = None;
        for kept in &mut outbox.unconfirmed {
            kept.packet = None;
        }
    }

    fn sent_as(&self, packet: u16) {
        let mut outbox = self.outbox();
        let next = outbox.unconfirmed.iter_mut().find(|kept| kept.packet.is_none());
        if let Some(kept) = next {
            kept.packet = Some(packet);
        }
    }

    fn confirmed(&self, packet: u16) {
        let mut outbox = self.outbox();
        let kept = &mut outbox.unconfirmed;
        if let Some(at) = kept.iter().position(|kept| kept.packet == Some(packet)) {
            let gone = kept.remove(at);
            if gone.is_some_and(|gone| gone.kind == Kind::Report) {
                self.window.add_permits(1);
            }
            self.progress.confirmed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Link {
    /// A link that connects by itself, again and again, until it is cut or closed.
    pub fn new(
        identity: Identity,
        target: &Target,
        progress: Arc<Progress>,
        door: Arc<Semaphore>,
    ) -> Link {
        let shared = Shared {
            presence: identity.presence.clone(),
            window: Semaphore::new(usize::from(identity.window)),
            outbox: Mutex::default(),
            progress,
            door,
        };
        Link { identity, target: target.clone(), shared: Arc::new(shared), task: None }
    }

    /// Connects, if it does not already.
    pub fn connect(&mut self) {
        if self.task.is_some() {
            return;
        }
        let Identity { client_id, presence, window } = &self.identity;
        let mut options = options(&self.target, client_id);
        // Twice as many ids as messages, so that a late confirmation collides with none.
        options.set_inflight(window.saturating_mul(2));
        if !presence.is_empty() {
            options.set_last_will(LastWill::new(presence, OFFLINE, QoS::AtLeastOnce, true));
        }
        // Two more than the window: one for the presence, one for the goodbye.
        let (client, mut events) = AsyncClient::new(options, usize::from(*window) + 2);
        events.network_options.set_tcp_nodelay(true);
        self.task = Some(tokio::spawn(carry(events, client, Arc::clone(&self.shared))));
    }

    /// Loses the connection without a goodbye, so that the broker publishes the last will. What
    /// was not confirmed is sent after the next [`Link::connect`].
    pub fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.shared.disconnected();
    }

    /// Takes a report on; waits while too many are unconfirmed.
    pub async fn publish(&self, topic: String, payload: Vec<u8>) {
        if let Ok(place) = self.shared.window.acquire().await {
            // Given back by the confirmation.
            place.forget();
            let publish = Publish::new(topic, QoS::AtLeastOnce, payload);
            self.shared.take_on(&mut self.shared.outbox(), publish, Kind::Report);
        }
    }

    /// Says that the device goes on purpose: a broker publishes no last will after a goodbye.
    pub fn announce_end(&self) {
        if self.task.is_some() && !self.shared.presence.is_empty() {
            let mut outbox = self.shared.outbox();
            outbox.is_leaving = true;
            let offline = retained(&self.shared.presence, OFFLINE);
            self.shared.take_on(&mut outbox, offline, Kind::Presence);
        }
    }

    /// Says goodbye after all that was taken on.
    pub fn leave(&self) {
        if let Some(client) = &self.shared.outbox().client {
            // A full channel belongs to a broker that takes nothing: then the link is cut.
            drop(client.try_disconnect());
        }
    }

    /// Waits for the goodbye until `deadline`, then cuts.
    pub async fn close(mut self, deadline: Instant) {
        if let Some(task) = &mut self.task {
            drop(tokio::time::timeout_at(deadline, task).await);
        }
        self.cut();
    }
}

fn retained(topic: &str, payload: &str) -> Publish {
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.retain = true;
    publish
}

fn options(target: &Target, client_id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, &target.host, target.port);
    options.set_keep_alive(Duration::from_secs(30));
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some((user, password)) = &target.user {
        options.set_credentials(user, password);
    }
    options
}

async fn carry(mut events: EventLoop, client: AsyncClient, shared: Arc<Shared>) {
    let mut pause = PAUSE;
    loop {
        let place = match events.network {
            Some(_) => None,
            None => shared.door.acquire().await.ok(),
        };
        let event = events.poll().await;
        drop(place);
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                pause = PAUSE;
                shared.connected(&mut events, &client);
            }
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => shared.sent_as(packet),
            Ok(Event::Incoming(Packet::PubAck(ack))) => shared.confirmed(ack.pkid),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
            Err(error) => {
                shared.progress.set_trouble(Some(error.to_string()));
                shared.disconnected();
                events.clean();
                events.pending.clear();
                events.state.events.clear();
                events.state.collision = None;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests;
