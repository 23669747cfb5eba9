//! Carries the actions of a fleet out over MQTT.
//!
//! Devices with a presence topic have a connection, a last will and a birth of their own; all
//! others share [`SHARED_CONNECTIONS`]. At the end every acknowledgement is waited for:
//! disconnecting alone loses what is still under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fleet::{Action, Fleet, Planned};

/// Connections of the devices that have none of their own.
pub const SHARED_CONNECTIONS: usize = 4;
/// Largest packet, in bytes: rumqttc's own limit is 10 KiB.
const PACKET_BYTES_MAX: usize = 16 << 20;
/// Messages of one connection that wait to be sent.
const WAITING_MAX: usize = 256;
/// Pauses before a lost connection is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the end waits for acknowledgements.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub user: Option<(String, String)>,
}

impl Target {
    /// Reads `mqtt://[user:password@]host[:port]`.
    pub fn parse(url: &str) -> Option<Target> {
        let rest = url.strip_prefix("mqtt://")?.trim_end_matches('/');
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user.split_once(':').unwrap_or((user, ""))), address),
            None => (None, rest),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (address, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        (!host.is_empty()).then(|| Target { host: host.to_owned(), port, user })
    }
}

/// How far a run has come; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages handed to a connection.
    pub sent: AtomicU64,
    /// Messages that a broker has acknowledged.
    pub confirmed: AtomicU64,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Messages sent.
    pub sent: u64,
    /// Of them acknowledged.
    pub confirmed: u64,
}

struct Connection {
    client: AsyncClient,
    task: JoinHandle<()>,
}

/// Carries a fleet's actions out until `limit` of its own time, or until `stop` says so. At speed
/// 0 as fast as the broker takes them.
pub async fn run(
    fleet: Fleet,
    target: &Target,
    speed: f64,
    limit: Option<Duration>,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Summary {
    let mut connections = Connections::new(&fleet, target, Arc::clone(&progress));
    let began = Instant::now();
    for planned in fleet {
        if limit.is_some_and(|limit| planned.at >= limit) {
            break;
        }
        if speed > 0.0 {
            let due = began + planned.at.div_f64(speed);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        } else if *stop.borrow() {
            break;
        }
        // A broker that is down takes nothing: the stop must not wait for it.
        tokio::select! {
            () = connections.carry_out(planned) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    connections.finish(&progress).await
}

struct Connections {
    target: Target,
    shared: Vec<Connection>,
    own: Vec<Option<Connection>>,
    devices: Vec<crate::fleet::DeviceInfo>,
    progress: Arc<Progress>,
}

impl Connections {
    fn new(fleet: &Fleet, target: &Target, progress: Arc<Progress>) -> Connections {
        let devices: Vec<_> = fleet.devices().cloned().collect();
        let own = devices.iter().map(|_| None).collect();
        let shared = (0..SHARED_CONNECTIONS)
            .map(|index| {
                let id = format!("device-sim-{}-{index}", std::process::id());
                connect(options(target, &id), Arc::clone(&progress))
            })
            .collect();
        Connections { target: target.clone(), shared, own, devices, progress }
    }

    async fn carry_out(&mut self, planned: Planned) {
        let index = planned.device;
        match planned.action {
            Action::Connect => self.come_online(index).await,
            Action::Drop => {
                // Aborted without a DISCONNECT: the broker publishes the last will.
                if let Some(connection) = self.own.get_mut(index).and_then(Option::take) {
                    connection.task.abort();
                }
            }
            Action::Publish { topic, payload } => {
                let own = self.own.get(index).and_then(Option::as_ref);
                let shared = self.shared.get(index % SHARED_CONNECTIONS);
                if let Some(connection) = own.or(shared) {
                    self.send(connection, topic, payload, false).await;
                }
            }
        }
    }

    async fn come_online(&mut self, index: usize) {
        let Some(device) = self.devices.get(index) else { return };
        if device.presence.is_empty() {
            return;
        }
        let mut options = options(&self.target, &device.id);
        let will = LastWill::new(&device.presence, "offline", QoS::AtLeastOnce, true);
        options.set_last_will(will);
        let topic = device.presence.clone();
        let connection = connect(options, Arc::clone(&self.progress));
        self.send(&connection, topic, b"online".to_vec(), true).await;
        if let Some(own) = self.own.get_mut(index) {
            *own = Some(connection);
        }
    }

    async fn send(&self, connection: &Connection, topic: String, payload: Vec<u8>, retain: bool) {
        let sent = connection.client.publish(topic, QoS::AtLeastOnce, retain, payload).await;
        if sent.is_ok() {
            self.progress.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn finish(self, progress: &Progress) -> Summary {
        let figures = || Summary {
            sent: progress.sent.load(Ordering::Relaxed),
            confirmed: progress.confirmed.load(Ordering::Relaxed),
        };
        let deadline = Instant::now() + CONFIRM_WITHIN;
        while figures().confirmed < figures().sent && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for connection in self.shared.into_iter().chain(self.own.into_iter().flatten()) {
            let leaving = connection.client.disconnect();
            drop(tokio::time::timeout(Duration::from_millis(200), leaving).await);
            drop(tokio::time::timeout(Duration::from_millis(200), connection.task).await);
        }
        figures()
    }
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

fn connect(options: MqttOptions, progress: Arc<Progress>) -> Connection {
    let (client, mut events) = AsyncClient::new(options, WAITING_MAX);
    events.network_options.set_tcp_nodelay(true);
    let task = tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => {
                    progress.confirmed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
                Ok(_) => {}
                // A device keeps nothing: what was under way when the link broke is lost, as it
                // is with real ones.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Connection { client, task }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn broker_addresses_are_read() {
        let parsed = |url| Target::parse(url).map(|t| (t.host, t.port, t.user.is_some()));
        assert_eq!(parsed("mqtt://127.0.0.1:1884"), Some(("127.0.0.1".into(), 1884, false)));
        assert_eq!(parsed("mqtt://u:p@broker/"), Some(("broker".into(), 1883, true)));
        assert_eq!(parsed("mqtt://[::1]:9"), Some(("::1".into(), 9, false)));
        assert_eq!(parsed("http://x"), None);
        assert_eq!(parsed("mqtt://"), None);
    }
}
