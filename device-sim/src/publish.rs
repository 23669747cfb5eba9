//! Carries the actions of a fleet out over MQTT.
//!
//! Devices with a presence topic have a connection, a last will and a birth of their own; all
//! others share [`SHARED_CONNECTIONS`]. At the end every acknowledgement is waited for:
//! disconnecting alone loses what is still under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::fleet::{Action, DeviceInfo, Fleet, Planned};
use crate::link::{Identity, Link};
pub use crate::link::{OFFLINE, ONLINE, Progress};
use crate::open_files::{self, OpenFilesError};

/// Connections of the devices that have none of their own.
pub const SHARED_CONNECTIONS: usize = 4;
/// Handshakes at one time: a broker's queue of new connections is short.
const HANDSHAKES_MAX: usize = 64;
/// Unconfirmed messages of a shared connection, and of a device's own.
const SHARED_WINDOW: u16 = 500;
const OWN_WINDOW: u16 = 32;
/// How long the end waits for acknowledgements, and then for goodbyes.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long it waits after a stop: somebody is waiting for the prompt.
const STOP_WITHIN: Duration = Duration::from_secs(3);

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

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Messages sent.
    pub sent: u64,
    /// Of them acknowledged.
    pub confirmed: u64,
    /// Times that a connection came back after it was lost.
    pub reconnected: u64,
}

/// Carries a fleet's actions out until `limit` of its own time, or until `stop` says so. At speed
/// 0 as fast as the broker takes them.
///
/// # Errors
/// More connections than this process may open.
pub async fn run(
    fleet: Fleet,
    target: &Target,
    speed: f64,
    limit: Option<Duration>,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Result<Summary, OpenFilesError> {
    let mut connections = Connections::new(&fleet, target, Arc::clone(&progress))?;
    let began = Instant::now();
    let ends = limit.filter(|_| speed > 0.0).map(|limit| began + limit.div_f64(speed));
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
        // A broker that is down takes nothing: neither stop nor end must wait for it.
        tokio::select! {
            () = connections.carry_out(planned) => {}
            () = at(ends) => break,
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    let within = if *stop.borrow() { STOP_WITHIN } else { CONFIRM_WITHIN };
    Ok(connections.finish(&progress, within).await)
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Connections {
    shared: Vec<Link>,
    /// By the number of the device; `None` for those that share.
    own: Vec<Option<Link>>,
    made: u64,
}

impl Connections {
    fn new(
        fleet: &Fleet,
        target: &Target,
        progress: Arc<Progress>,
    ) -> Result<Connections, OpenFilesError> {
        let own = fleet.devices().filter(|device| !device.presence.is_empty()).count();
        open_files::allow(own + SHARED_CONNECTIONS)?;
        let door = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let link = |client_id: String, presence: &str, window| {
            let identity = Identity { client_id, presence: presence.to_owned(), window };
            Link::new(identity, target, Arc::clone(&progress), Arc::clone(&door))
        };
        let own = |device: &DeviceInfo| {
            let has_own = !device.presence.is_empty();
            has_own.then(|| link(device.id.clone(), &device.presence, OWN_WINDOW))
        };
        let own = fleet.devices().map(own).collect();
        let mut shared: Vec<Link> = (0..SHARED_CONNECTIONS)
            .map(|index| format!("device-sim-{}-{index}", std::process::id()))
            .map(|client_id| link(client_id, "", SHARED_WINDOW))
            .collect();
        shared.iter_mut().for_each(Link::connect);
        Ok(Connections { shared, own, made: SHARED_CONNECTIONS as u64 })
    }

    async fn carry_out(&mut self, planned: Planned) {
        let index = planned.device;
        let own = self.own.get_mut(index).and_then(Option::as_mut);
        match planned.action {
            Action::Connect => {
                if let Some(link) = own {
                    link.connect();
                    self.made += 1;
                }
            }
            Action::Drop => {
                if let Some(link) = own {
                    link.cut();
                }
            }
            Action::Publish { topic, payload } => {
                let shared = self.shared.get(index % SHARED_CONNECTIONS);
                if let Some(link) = own.as_deref().or(shared) {
                    link.publish(topic, payload).await;
                }
            }
        }
    }

    async fn finish(self, progress: &Progress, within: Duration) -> Summary {
        let figures = || Summary {
            sent: progress.sent.load(Ordering::Relaxed),
            confirmed: progress.confirmed.load(Ordering::Relaxed),
            reconnected: progress.connected.load(Ordering::Relaxed).saturating_sub(self.made),
        };
        let deadline = Instant::now() + within;
        self.own.iter().flatten().for_each(Link::announce_end);
        while figures().confirmed < figures().sent && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let summary = figures();
        let links: Vec<Link> =
            self.shared.into_iter().chain(self.own.into_iter().flatten()).collect();
        links.iter().for_each(Link::leave);
        let deadline = Instant::now() + LEAVE_WITHIN;
        for link in links {
            link.close(deadline).await;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    /// The end of the run, and of the wait for confirmations that never come.
    const WITHIN: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_run_ends_in_time_where_no_broker_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let target = Target { host: "127.0.0.1".to_owned(), port, user: None };
        let fleet = Fleet::new(&Scenario::demo().expect("a scenario"), 1, 0);
        let progress = Arc::new(Progress::default());
        let (stop, stopped) = watch::channel(false);
        let limit = Some(Duration::from_secs(3_600));
        // More than the windows take, so that the run is held up long before its end.
        let run = run(fleet, &target, 36_000.0, limit, Arc::clone(&progress), stopped);
        let summary = tokio::time::timeout(WITHIN, run).await.expect("it still runs");
        assert_eq!(summary.map(|summary| summary.confirmed), Ok(0));
        assert!(progress.trouble().is_some_and(|told| told.contains("refused")));
        drop(stop);
    }

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
