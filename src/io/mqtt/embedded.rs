//! The embedded broker (rumqttd), with the gateway inside its process.
//!
//! It acknowledges a device's message when it has it in memory, and keeps for each filter the
//! newest [`LogBounds`] only. Devices are held back while the gateway is slower than they
//! ([`super::gate`]); what is overtaken all the same is counted and told. Nothing of it is kept
//! over a restart: where a power cut must lose nothing, an external broker with persistence belongs
//! between devices and gateway.
//!
//! Topic aliases: those that devices (MQTT 5) send are resolved by rumqttd; those that it would
//! make itself are wrong for wildcard filters, so the gateway's links ask for none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::Protocol;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::config::{BrokerConfig, Transport};
use super::door::{self, Rooms};
use super::gate::Gate;
use super::host::Host;
use super::{Arrival, Inbox, MqttEvent, link, oversized, topics};

/// What the broker keeps in memory for each topic filter that somebody subscribed.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    /// Size of a segment, in bytes; the oldest is thrown away as a whole.
    pub segment_bytes: usize,
    /// Number of segments.
    pub segments: usize,
}

impl Default for LogBounds {
    fn default() -> Self {
        LogBounds { segment_bytes: 4 << 20, segments: 8 }
    }
}

/// Topic of the messages by which the broker is seen to work. It lacks the prefix that topics of
/// devices have inside, so no subscription meets it.
const CANARY_TOPIC: &str = "canary";
/// Beginning of the ids of our links; the door lets no client in with a control character.
const OWN_ID: &str = "\u{1}faultgate-";
const CANARY_EVERY: Duration = Duration::from_secs(5);
const CANARY_BOUND: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT_MS: u16 = 5_000;
/// Longest topic, its length, and the prefix that it gets at the door, in bytes.
const TOPIC_BYTES_MAX: usize = 70 * 1024;
const OUTGOING_PACKETS: u64 = 200;
const INFLIGHT: usize = 100;
/// Another process may take a port between our choice and the use of it.
const PORT_ATTEMPTS: usize = 5;
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the broker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The port cannot be had.
    #[error(
        "the embedded broker cannot listen on {listen}: {cause}; is another broker running there? Write another port, or `enabled = false` and an external broker"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// rumqttd did not start behind the door.
    #[error("the embedded broker did not start: {0}")]
    Start(String),
}

/// Makes a link into the router. A closure, since rumqttd does not export the type that it holds.
pub(super) type Connect =
    Arc<dyn Fn(&str) -> Result<(LinkTx, LinkRx), Box<LinkError>> + Send + Sync + 'static>;

/// The running broker; dropped, it stops listening and its links end.
pub struct Broker {
    address: SocketAddr,
    max_payload: usize,
    connect: Connect,
    gate: Gate,
    tasks: JoinSet<()>,
    closed: Option<Closed>,
    subscribed: Vec<oneshot::Receiver<()>>,
    filters: Vec<(usize, String)>,
    inbox: Inbox,
}

/// The door before it is opened: devices that connect wait in the system's queue.
struct Closed {
    listener: TcpListener,
    rooms: Rooms,
    max_connections: usize,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Broker({})", self.address)
    }
}

impl Broker {
    /// Starts the broker, and the canary that tells `inbox` when it no longer works.
    ///
    /// # Errors
    /// [`BrokerError`]; above all a port that is in use.
    pub async fn start(
        config: &BrokerConfig,
        bounds: LogBounds,
        inbox: Inbox,
    ) -> Result<Broker, BrokerError> {
        let listen = config.listen;
        let refused = |cause| BrokerError::Listen { listen, cause };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let router = Router::new(
            0,
            RouterConfig {
                // The gateway's own links come on top of the devices.
                max_connections: config.max_connections.saturating_add(INFLIGHT),
                max_outgoing_packet_count: OUTGOING_PACKETS,
                max_segment_size: bounds.segment_bytes,
                max_segment_count: bounds.segments,
                ..RouterConfig::default()
            },
        );
        let events = router.spawn();
        let mut tasks = JoinSet::new();
        let rest_bytes_max = oversized::rest_bytes_max(config.max_payload);
        let packet_bytes = rest_bytes_max + TOPIC_BYTES_MAX;
        let v4 =
            room(&mut tasks, packet_bytes, |settings| Server::new(settings, events.clone(), V4));
        let v4 = v4.await?;
        let v5 =
            room(&mut tasks, packet_bytes, |settings| Server::new(settings, events.clone(), V5));
        let v5 = v5.await?;
        let gate = Gate::default();
        let rooms = Rooms { v4, v5, rest_bytes_max, gate: gate.clone() };
        let closed = Some(Closed { listener, rooms, max_connections: config.max_connections });
        let connect: Connect = Arc::new(move |client_id| {
            let link = LinkBuilder::new(client_id, events.clone()).clean_session(false);
            link.build().map(|(tx, rx, _)| (tx, rx)).map_err(Box::new)
        });
        // Made before anything can go wrong: a link into a dead router waits for ever.
        let link = connect(&format!("{OWN_ID}canary"));
        let (tx, rx) = link.map_err(|error| BrokerError::Start(error.to_string()))?;
        tasks.spawn(canary(tx, rx, inbox.clone()));
        Ok(Broker {
            address,
            max_payload: config.max_payload,
            connect,
            gate,
            tasks,
            closed,
            subscribed: Vec::new(),
            filters: Vec::new(),
            inbox,
        })
    }

    /// Where devices connect; tells the port when the configuration left it open (0).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Subscribes the topics of a source; what arrives goes to the inbox until the broker is
    /// dropped.
    pub fn subscribe(&mut self, source: usize, transport: &Transport) {
        // A link for each filter: only then do the positions in the broker's log have no gaps
        // of their own, and every gap is a loss.
        for (index, filter) in transport.filters().into_iter().enumerate() {
            let subscription = link::Subscription {
                source,
                filter: topics::inside(&filter),
                client_id: format!("{OWN_ID}{source}-{index}"),
                max_payload: self.max_payload,
            };
            let connect = Arc::clone(&self.connect);
            let (told, subscribed) = oneshot::channel();
            self.subscribed.push(subscribed);
            self.filters.push((source, filter));
            let (gate, inbox) = (self.gate.clone(), self.inbox.clone());
            self.tasks.spawn(link::run(subscription, connect, gate, inbox, told));
        }
    }

    /// A Sparkplug host application on this broker, for the source with this index.
    pub fn host(&self, source: usize, host_id: &str) -> Host {
        Host::link(Arc::clone(&self.connect), format!("{OWN_ID}host-{source}"), host_id)
    }

    /// Lets devices in, once the router has every subscription: what they published before that
    /// would be acknowledged and lost.
    ///
    /// # Errors
    /// [`BrokerError::Start`] when the router does not answer.
    pub async fn open(&mut self) -> Result<(), BrokerError> {
        for subscribed in self.subscribed.drain(..) {
            let told = tokio::time::timeout(ROOM_TIMEOUT, subscribed).await;
            let slow = |_| BrokerError::Start("its router does not subscribe".to_owned());
            told.map_err(slow)?.map_err(|error| BrokerError::Start(error.to_string()))?;
        }
        if let Some(Closed { listener, rooms, max_connections }) = self.closed.take() {
            self.tasks.spawn(oversized::run(
                Arc::clone(&self.connect),
                format!("{OWN_ID}oversized"),
                std::mem::take(&mut self.filters),
                self.gate.clone(),
                self.inbox.clone(),
            ));
            self.tasks.spawn(door::serve(listener, rooms, max_connections));
        }
        Ok(())
    }
}

/// Starts a listener for one protocol version on a loopback port, and waits until it listens.
async fn room<P: Protocol + Clone + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    packet_bytes: usize,
    mut server: impl FnMut(ServerSettings) -> Server<P>,
) -> Result<SocketAddr, BrokerError> {
    for _ in 0..PORT_ATTEMPTS {
        let failed = |error: std::io::Error| BrokerError::Start(error.to_string());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listen = free.and_then(|free| free.local_addr()).map_err(failed)?;
        let mut server = server(settings(listen, packet_bytes));
        let (ended, mut end) = mpsc::channel::<()>(1);
        tasks.spawn(async move {
            if let Err(error) = server.start(LinkType::Remote).await {
                tracing::error!(%error, "A listener of the embedded broker ended.");
            }
            drop(ended);
        });
        let listening = tokio::time::timeout(ROOM_TIMEOUT, async {
            while TcpStream::connect(listen).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        tokio::select! {
            biased;
            _ = end.recv() => {}
            listening = listening => {
                let slow = |_| BrokerError::Start("its listener did not come up".to_owned());
                return listening.map(|()| listen).map_err(slow);
            }
        }
    }
    let cause = "no free loopback port was found".to_owned();
    Err(BrokerError::Start(cause))
}

fn settings(listen: SocketAddr, packet_bytes: usize) -> ServerSettings {
    ServerSettings {
        name: listen.to_string(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: CONNECT_TIMEOUT_MS,
            max_payload_size: packet_bytes,
            max_inflight_count: INFLIGHT,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

/// Sends a message through the router every few seconds and waits for it. rumqttd goes on
/// listening when its router has died.
async fn canary(mut tx: LinkTx, mut rx: LinkRx, inbox: Inbox) {
    let reason = sing(&mut tx, &mut rx).await;
    tracing::error!(%reason, "The embedded broker no longer carries messages.");
    let event = MqttEvent::CanaryLost;
    let lost = Arrival::Event { source: None, event };
    drop(inbox.send(lost).await);
}

/// Returns why it had to stop.
async fn sing(tx: &mut LinkTx, rx: &mut LinkRx) -> String {
    if let Err(error) = tx.subscribe(CANARY_TOPIC) {
        return error.to_string();
    }
    loop {
        if let Err(error) = tx.publish(CANARY_TOPIC, "alive") {
            return error.to_string();
        }
        let returned = tokio::time::timeout(CANARY_BOUND, link::next_forward(rx)).await;
        match returned {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no message came back within {CANARY_BOUND:?}"),
        }
        // Nothing comes in between, but a router that dies is seen at once.
        let between = tokio::time::timeout(CANARY_EVERY, link::next_forward(rx)).await;
        if let Ok(Err(error)) = between {
            return error.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn broker(bounds: LogBounds) -> (Broker, mpsc::Receiver<Arrival>) {
        let (inbox, arrivals) = super::super::inbox();
        let config = BrokerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..BrokerConfig::default()
        };
        (Broker::start(&config, bounds, inbox).await.unwrap(), arrivals)
    }

    #[tokio::test]
    async fn a_router_that_has_died_is_told() {
        let (broker, mut arrivals) = broker(LogBounds::default()).await;
        let (mut tx, _rx) = (broker.connect)("test").unwrap();
        tx.subscribe("#").unwrap();
        // Past the door, where no prefix saves the router from the first byte of a character.
        tx.publish("设备/1", "").unwrap();
        let Some(Arrival::Event { source, event }) = arrivals.recv().await else {
            panic!("nothing was told");
        };
        assert_eq!((source, event), (None, MqttEvent::CanaryLost));
    }

    #[tokio::test]
    async fn messages_that_were_overtaken_in_the_log_are_counted() {
        let (mut broker, mut arrivals) =
            broker(LogBounds { segment_bytes: 16 * 1024, segments: 2 }).await;
        let transport = Transport {
            url: super::super::config::BrokerUrl::Embedded,
            user: None,
            ca: None,
            client_certificate: None,
            topics: vec!["t".to_owned()],
            qos: 0,
            shared_group: String::new(),
            client_id: String::new(),
        };
        broker.subscribe(0, &transport);
        let Some(Arrival::Event { event: MqttEvent::Connected, .. }) = arrivals.recv().await else {
            panic!("not connected");
        };
        // Past the door, where the gate would hold a device back.
        let (mut tx, _rx) = (broker.connect)("device").unwrap();
        let total = 4_000_u64;
        for number in 0..total {
            tx.publish(topics::inside("t"), format!("{number:0200}")).unwrap();
        }
        let (mut received, mut overtaken, mut last) = (0, 0, 0);
        while last < total - 1 {
            match arrivals.recv().await.unwrap() {
                Arrival::Message(incoming) => {
                    let text = String::from_utf8(incoming.message.payload).unwrap();
                    last = text.parse::<u64>().unwrap();
                    received += 1;
                }
                Arrival::Event { event, .. } => {
                    let MqttEvent::Overtaken { count } = event else {
                        panic!("{event:?}");
                    };
                    overtaken += count;
                }
            }
        }
        assert!(overtaken > 0);
        assert_eq!(received + overtaken, total);
    }
}
