//! A Sparkplug host application's own connection: its state, and its commands to edge nodes.
//!
//! The state `spBv1.0/STATE/<host_id>` is retained, and the broker's will takes it back with the
//! same timestamp when the gateway is gone. Commands are sent once, and wait for a connection: the
//! engine asks again for what is not answered.

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, Packet, Publish, QoS, Request};
use rumqttd::protocol::{Packet as LinkPacket, Publish as LinkPublish};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::Transport;
use super::embedded::Connect;
use super::session::{self, Backoff, ClientError};
use super::topics;
use crate::io::clock;

/// Commands that wait for the connection; more of them are dropped, and asked for again.
const COMMANDS_MAX: usize = 1_000;

/// A host application on the broker of one source; dropped, its state goes offline.
#[derive(Debug)]
pub struct Host {
    way: Way,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Way {
    External(AsyncClient),
    Embedded(mpsc::Sender<(String, Vec<u8>)>),
}

impl Host {
    /// A host on an external broker; an empty `host_id` publishes no state.
    ///
    /// # Errors
    /// Settings that can never work.
    pub fn connect(
        transport: &Transport,
        password: Option<&str>,
        host_id: &str,
    ) -> Result<Host, ClientError> {
        let mut transport = transport.clone();
        transport.client_id.push_str("-host");
        let mut options = session::options(&transport, password)?;
        options.set_clean_session(true);
        let (client, mut events) = AsyncClient::new(options, COMMANDS_MAX);
        session::tune(&mut events);
        let state = (!host_id.is_empty()).then(|| State::new(host_id));
        let connection = Connection { client: client.clone(), state };
        let task = tokio::spawn(connection.run(events));
        Ok(Host { way: Way::External(client), task })
    }

    /// A host inside the embedded broker, which ends with the gateway: it needs no will.
    pub(super) fn link(connect: Connect, client_id: String, host_id: &str) -> Host {
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let state = (!host_id.is_empty()).then(|| State::new(host_id));
        let task = tokio::spawn(run_link(connect, client_id, state, waiting));
        Host { way: Way::Embedded(commands), task }
    }

    /// Sends a command, at most once; false when too many are waiting.
    pub fn send(&self, topic: String, payload: Vec<u8>) -> bool {
        match &self.way {
            Way::External(client) => {
                client.try_publish(topic, QoS::AtMostOnce, false, payload).is_ok()
            }
            Way::Embedded(commands) => commands.try_send((topic, payload)).is_ok(),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the state topic says, as of one connection.
#[derive(Debug)]
struct State {
    topic: String,
    since_ms: i64,
}

impl State {
    fn new(host_id: &str) -> State {
        State { topic: format!("spBv1.0/STATE/{host_id}"), since_ms: now_ms() }
    }

    fn payload(&self, online: bool) -> Vec<u8> {
        format!("{{\"online\":{online},\"timestamp\":{}}}", self.since_ms).into_bytes()
    }

    fn will(&self) -> LastWill {
        LastWill::new(&self.topic, self.payload(false), QoS::AtLeastOnce, true)
    }

    /// True when a message takes our state back while we are here: a will that came late, or
    /// another host with our name.
    fn is_taken_back(&self, publish: &Publish) -> bool {
        let says = |word: &str| {
            let state: Option<serde_json::Value> = serde_json::from_slice(&publish.payload).ok();
            state.and_then(|state| state.get(word)?.as_bool())
        };
        publish.topic == self.topic && says("online") == Some(false)
    }
}

fn now_ms() -> i64 {
    clock::now().micros() / 1_000
}

struct Connection {
    client: AsyncClient,
    state: Option<State>,
}

impl Connection {
    async fn run(mut self, mut events: EventLoop) {
        let mut backoff = Backoff::default();
        self.stamp(&mut events);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    backoff.connected();
                    self.say_online();
                    if let Some(state) = &self.state {
                        self.client.try_subscribe(&state.topic, QoS::AtLeastOnce).ok();
                    }
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    if self.state.as_ref().is_some_and(|state| state.is_taken_back(&publish)) {
                        self.say_online();
                    }
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "The Sparkplug host is not connected.");
                    events.clean();
                    events.pending.retain(is_command);
                    events.pending.truncate(COMMANDS_MAX);
                    tokio::time::sleep(backoff.pause()).await;
                    self.stamp(&mut events);
                }
            }
        }
    }

    /// The next connection has a will of its own time, and its state the same.
    fn stamp(&mut self, events: &mut EventLoop) {
        if let Some(state) = &mut self.state {
            state.since_ms = now_ms();
            events.mqtt_options.set_last_will(state.will());
        }
    }

    fn say_online(&self) {
        let Some(state) = &self.state else {
            return;
        };
        let payload = state.payload(true);
        let sent = self.client.try_publish(&state.topic, QoS::AtLeastOnce, true, payload);
        if let Err(error) = sent {
            tracing::warn!(%error, "The Sparkplug host cannot say that it is online.");
        }
    }
}

/// True for what still waits to be sent; state and subscription are of one connection.
fn is_command(request: &Request) -> bool {
    matches!(request, Request::Publish(publish) if publish.qos == QoS::AtMostOnce)
}

/// Carries commands into the embedded broker. A link that was pushed out is made again.
async fn run_link(
    connect: Connect,
    client_id: String,
    state: Option<State>,
    mut waiting: mpsc::Receiver<(String, Vec<u8>)>,
) {
    let mut link = None;
    if let Some(state) = state {
        let topic = Bytes::from(topics::inside(&state.topic));
        let publish = LinkPublish::new(topic, Bytes::from(state.payload(true)), true);
        pass(&connect, &client_id, &mut link, publish).await;
    }
    while let Some((topic, payload)) = waiting.recv().await {
        let topic = Bytes::from(topics::inside(&topic));
        let publish = LinkPublish::new(topic, Bytes::from(payload), false);
        pass(&connect, &client_id, &mut link, publish).await;
    }
}

type Link = (rumqttd::local::LinkTx, rumqttd::local::LinkRx);

async fn pass(connect: &Connect, client_id: &str, link: &mut Option<Link>, publish: LinkPublish) {
    for _ in 0..2 {
        if link.is_none() {
            *link = connect(client_id).ok();
        }
        if let Some((tx, _)) = link {
            match tx.send(LinkPacket::Publish(publish.clone(), None)).await {
                Ok(_) => return,
                Err(_) => *link = None,
            }
        }
    }
    tracing::warn!("The embedded broker did not take a Sparkplug command.");
}
