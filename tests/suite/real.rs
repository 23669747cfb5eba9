//! What the proofs with real parts share: a ticket system that can be searched and trusts no
//! idempotency key, load through a broker, and a few numbers from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultgate::io::mqtt::publish::Publisher;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Asked, Fake, Said, said};
use crate::gateway::{Gateway, publisher, report};

/// A number that the environment asks for.
pub fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Chance that can be had again: xorshift64*.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound.max(1)
    }
}

/// A ticket as the system has it.
#[derive(Clone, Debug)]
pub struct Filed {
    pub key: String,
    pub device: String,
    pub state: String,
}

/// A ticket system over HTTP: it carries out every request that it gets, also one that it got
/// before, and can be searched by the external key.
#[derive(Clone)]
pub struct Crm {
    pub address: String,
    filed: Arc<Mutex<Vec<Filed>>>,
    requests: Arc<AtomicUsize>,
}

impl Crm {
    pub async fn start() -> Crm {
        let filed: Arc<Mutex<Vec<Filed>>> = Arc::default();
        let requests: Arc<AtomicUsize> = Arc::default();
        let (theirs, counted) = (Arc::clone(&filed), Arc::clone(&requests));
        let fake = Fake::start(move |asked| {
            counted.fetch_add(1, Ordering::Relaxed);
            answer(asked, &mut theirs.lock().expect("a list"))
        });
        Crm { address: fake.await.address, filed, requests }
    }

    /// How many requests it has carried out.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The `[[upstream]]` of a gateway that reaches it at `address`.
    pub fn upstream(address: &str) -> String {
        format!(
            r#"
[[upstream]]
name = "crm"
kind = "http"
url = "http://{address}/api/"
rate = {{ per_second = 100000, burst = 100000 }}
escalate = "none"
[upstream.create]
request = {{ method = "POST", path = "tickets" }}
body = '{{ "title": {{{{ title }}}}, "device": {{{{ device }}}}, "external_id": {{{{ key }}}} }}'
id = "/id"
[upstream.find]
request = {{ path = "tickets", query = {{ external_id = "{{{{ key }}}}" }} }}
items = "/tickets"
id = "/id"
key = "/external_id"
[upstream.comment]
request = {{ method = "POST", path = "tickets/{{{{ ticket }}}}/comments" }}
body = '{{ "text": {{{{ text }}}} }}'
[upstream.resolve]
request = {{ method = "PATCH", path = "tickets/{{{{ ticket }}}}" }}
body = '{{ "state": {{{{ status }}}} }}'
[upstream.reopen]
request = {{ method = "PATCH", path = "tickets/{{{{ ticket }}}}" }}
body = '{{ "state": {{{{ status }}}} }}'
"#
        )
    }

    pub fn filed(&self) -> Vec<Filed> {
        self.filed.lock().expect("a list").clone()
    }

    /// What these devices' faults have come to.
    pub fn count(&self, devices: &[String]) -> Count {
        Count::of(&self.filed(), devices)
    }

    /// Waits until `done` holds and the gateway has nothing more to tell; how long that took.
    pub async fn until(
        &self,
        gateway: &Gateway,
        within: Duration,
        devices: &[String],
        done: impl Fn(&Count) -> bool,
    ) -> Duration {
        let began = Instant::now();
        loop {
            let count = self.count(devices);
            let waits = gateway.outbox().await;
            if done(&count) && waits == 0 {
                return began.elapsed();
            }
            if began.elapsed() > within {
                panic!("still {count}, {waits} jobs wait: {}", self.story(gateway, devices).await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Why the first fault without a ticket, or with an open one, is as it is.
    async fn story(&self, gateway: &Gateway, devices: &[String]) -> String {
        let filed = self.filed();
        let done = |device: &&String| {
            filed.iter().any(|ticket| ticket.device == **device && ticket.state == "resolved")
        };
        let Some(device) = devices.iter().find(|device| !done(device)) else {
            return String::new();
        };
        let mut told = String::new();
        for rule in ["hot", "hot-desk"] {
            let story = gateway.get(&format!("/api/v1/explain/{rule}/{device}")).await;
            told.push_str(&format!("{story:#}"));
        }
        told
    }
}

fn answer(asked: &Asked, filed: &mut Vec<Filed>) -> Said {
    let text = |name: &str| asked.json()[name].as_str().unwrap_or_default().to_owned();
    let (method, path) = asked.line.split_once(" /api/tickets").unwrap_or((&asked.line, ""));
    match (method, path.trim_matches('/')) {
        ("POST", "") => {
            let (key, device) = (text("external_id"), text("device"));
            filed.push(Filed { key, device, state: "new".to_owned() });
            said(201, &json!({ "id": filed.len().to_string() }).to_string())
        }
        ("GET", query) => {
            let key = query.trim_start_matches("?external_id=");
            let found = filed.iter().enumerate().filter(|(_, ticket)| ticket.key == key);
            let found: Vec<_> = found
                .map(
                    |(at, ticket)| json!({ "id": (at + 1).to_string(), "external_id": ticket.key }),
                )
                .collect();
            said(200, &json!({ "tickets": found }).to_string())
        }
        ("PATCH", number) => {
            let at = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            match at.and_then(|at| filed.get_mut(at)) {
                Some(ticket) => {
                    ticket.state = text("state");
                    said(200, "{}")
                }
                None => said(404, "{}"),
            }
        }
        ("POST", _) => said(201, "{}"),
        _ => said(404, "{}"),
    }
}

/// What faults have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub tickets: usize,
    pub doubled: usize,
    pub lost: usize,
    pub unresolved: usize,
}

impl Count {
    /// What these devices' faults have come to, where there are tickets of theirs alone.
    pub fn of(filed: &[Filed], devices: &[String]) -> Count {
        let mut tickets: BTreeMap<&str, usize> = BTreeMap::new();
        for ticket in filed {
            *tickets.entry(&ticket.device).or_default() += 1;
        }
        Count {
            tickets: filed.len(),
            doubled: tickets.values().map(|count| count - 1).sum(),
            lost: devices.iter().filter(|device| !tickets.contains_key(device.as_str())).count(),
            unresolved: filed.iter().filter(|ticket| ticket.state != "resolved").count(),
        }
    }

    /// One resolved ticket for each of so many faults.
    pub fn all_well(faults: usize) -> Count {
        Count { tickets: faults, doubled: 0, lost: 0, unresolved: 0 }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { tickets, doubled, lost, unresolved } = self;
        write!(out, "{tickets} tickets, {doubled} doubled, {lost} lost, {unresolved} not resolved")
    }
}

/// The tickets of the desk inside, which numbers them from 1.
pub async fn desk(gateway: &Gateway) -> Vec<Filed> {
    let mut filed = Vec::new();
    for number in 1.. {
        let ticket = gateway.get(&format!("/desk/api/v1/tickets/{number}")).await;
        let text = |name: &str| ticket[name].as_str().unwrap_or_default().to_owned();
        if !ticket["id"].is_string() {
            break;
        }
        let (key, device) = (text("external_key"), text("device"));
        filed.push(Filed { key, device, state: text("status") });
    }
    filed
}

/// Messages of devices that are well, at a steady rate, until it is told to end.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    began: Instant,
    sending: JoinSet<()>,
}

/// Devices of the load.
const WELL: usize = 500;
/// Messages a second that one connection carries.
const CONNECTION_RATE: usize = 15_000;
/// How often the next messages are sent.
const BEAT: Duration = Duration::from_millis(10);

impl Load {
    pub fn start(address: &str, rate: usize) -> Load {
        let connections = rate.div_ceil(CONNECTION_RATE).max(1);
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut sending = JoinSet::new();
        let began = Instant::now();
        for connection in 0..connections {
            let publisher = publisher(address);
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            let rate = rate / connections;
            sending.spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
                    while count < due {
                        let device = format!("well-{connection}-{}", count % WELL);
                        send(&publisher, &device, 20 + count % 9).await;
                        count += 1;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(BEAT).await;
                }
                publisher.confirmed(Duration::from_secs(60)).await.expect("confirmed");
            });
        }
        Load { stop, sent, began, sending }
    }

    /// Waits until all is confirmed; how many there were, and how many a second.
    pub async fn end(mut self) -> (usize, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        while let Some(ended) = self.sending.join_next().await {
            ended.expect("sent");
        }
        let sent = self.sent.load(Ordering::Relaxed);
        (sent, sent as f64 / seconds)
    }
}

/// A device says how warm it is.
pub async fn send(publisher: &Publisher, device: &str, temp_c: usize) {
    let (topic, payload) = report(device, &format!("{{\"temp_c\": {temp_c}}}"));
    publisher.publish(&topic, payload, false).await.expect("taken on");
}
