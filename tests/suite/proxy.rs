//! A proxy that breaks connections on purpose: requests that change something meet what was
//! planned for them, one after another, then what always happens; the others pass. In a storm of
//! chances ([`Proxy::hostile`]) the others meet them too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};

use crate::real::Chance;

/// What a request meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    #[default]
    Pass,
    /// The server carries it out; its answer never comes back.
    Lose,
    /// It never reaches the server; the proxy says 503.
    Refuse,
    /// It never reaches the server; the connection breaks.
    Close,
    /// It reaches the server late.
    Delay,
    /// The server carries it out; its answer breaks off.
    Truncate,
    /// The server is asked twice.
    Repeat,
    /// The answer comes a few bytes at a time.
    Slow,
    /// The server does not know the custom field that it names.
    DropKey,
    /// Both.
    DropKeyAndLose,
}

/// What a hostile proxy does to every other request.
const TROUBLES: [Fate; 7] =
    [Fate::Lose, Fate::Refuse, Fate::Close, Fate::Truncate, Fate::Delay, Fate::Slow, Fate::Repeat];
/// Longest time that a delayed request is kept.
const DELAY_MAX_MS: u64 = 400;
/// Bytes of a slow answer at a time, and the time between them.
const SLOW_BYTES: usize = 32;
const SLOW_PAUSE: Duration = Duration::from_millis(3);

/// What is still to come.
#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fate>,
    always: Fate,
    /// Chances, and whether requests may be repeated.
    hostile: Option<(Chance, bool)>,
    /// Requests that change something, and how often each fate was met by any.
    changes: usize,
    met: Vec<Fate>,
}

impl Plan {
    fn fate(&mut self, request: &[u8]) -> Fate {
        let starts = |method: &&[u8]| request.starts_with(method);
        let changes = [b"POST ".as_slice(), b"PUT ", b"PATCH ", b"DELETE "].iter().any(starts);
        self.changes += usize::from(changes);
        let fate = match &mut self.hostile {
            Some((chance, repeats)) => {
                let kinds = TROUBLES.len() - usize::from(!*repeats);
                let drawn = chance.below(kinds as u64 * 2) as usize;
                TROUBLES.get(drawn).copied().filter(|_| drawn < kinds).unwrap_or_default()
            }
            None if changes => self.next.pop_front().unwrap_or(self.always),
            None => Fate::Pass,
        };
        self.met.push(fate);
        fate
    }
}

type Shared = Arc<Mutex<Plan>>;

/// A proxy in front of an HTTP server.
pub struct Proxy {
    pub address: String,
    plan: Shared,
}

impl Proxy {
    /// Listens on a free loopback port, in front of `upstream`.
    pub async fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let plan = Shared::default();
        let (upstream, theirs) = (upstream.to_owned(), Arc::clone(&plan));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&upstream).await {
                    tokio::spawn(pass(client, server, upstream.clone(), Arc::clone(&theirs)));
                }
            }
        });
        Proxy { address, plan }
    }

    /// What the next requests that change something meet.
    pub fn plan(&self, fates: &[Fate]) {
        self.plan.lock().expect("a plan").next = fates.iter().copied().collect();
    }

    /// What all further requests that change something meet, after what is planned.
    pub fn always(&self, fate: Fate) {
        self.plan.lock().expect("a plan").always = fate;
    }

    /// Whatever comes meets a trouble or none, as the dice fall; `repeats`: also requests that are
    /// made twice.
    pub fn hostile(&self, seed: u64, repeats: bool) {
        self.plan.lock().expect("a plan").hostile = Some((Chance::new(seed), repeats));
    }

    /// How much of the plan has not been met.
    pub fn left(&self) -> usize {
        self.plan.lock().expect("a plan").next.len()
    }

    /// How many requests that change something have come.
    pub fn changes(&self) -> usize {
        self.plan.lock().expect("a plan").changes
    }

    /// How often a fate was met.
    pub fn met(&self, fate: Fate) -> usize {
        self.plan.lock().expect("a plan").met.iter().filter(|met| **met == fate).count()
    }
}

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

async fn pass(mut client: TcpStream, mut server: TcpStream, upstream: String, plan: Shared) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut part, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut request = Vec::new();
    let mut fate = Fate::Pass;
    loop {
        tokio::select! {
            read = from_client.read(&mut part) => {
                let Ok(count @ 1..) = read else { return };
                request.extend_from_slice(&part[..count]);
                if !is_whole(&request) {
                    continue;
                }
                fate = plan.lock().expect("a plan").fate(&request);
                match fate {
                    Fate::Close => return,
                    Fate::Refuse => {
                        drop(to_client.write_all(REFUSAL).await);
                        // Closed by the client: a close from here could overtake the answer.
                        while let Ok(1..) = from_client.read(&mut part).await {}
                        return;
                    }
                    Fate::Delay => delay(&request).await,
                    Fate::Repeat => repeat(&upstream, &request).await,
                    Fate::DropKey | Fate::DropKeyAndLose => rename_key(&mut request),
                    Fate::Pass | Fate::Lose | Fate::Truncate | Fate::Slow => {}
                }
                if to_server.write_all(&request).await.is_err() {
                    return;
                }
                request.clear();
            }
            read = from_server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                // An answer that begins says that the server has done what it was asked.
                if !tell(&mut to_client, &answer[..count], fate).await {
                    return;
                }
            }
        }
    }
}

/// Passes a part of an answer on; false where the connection ends with it.
async fn tell(to_client: &mut WriteHalf<'_>, part: &[u8], fate: Fate) -> bool {
    match fate {
        Fate::Lose | Fate::DropKeyAndLose => false,
        Fate::Truncate => {
            drop(to_client.write_all(&part[..part.len() * 2 / 3]).await);
            false
        }
        Fate::Slow => {
            for bytes in part.chunks(SLOW_BYTES) {
                if to_client.write_all(bytes).await.is_err() {
                    return false;
                }
                tokio::time::sleep(SLOW_PAUSE).await;
            }
            true
        }
        Fate::Pass | Fate::Refuse | Fate::Close | Fate::Delay | Fate::Repeat | Fate::DropKey => {
            to_client.write_all(part).await.is_ok()
        }
    }
}

/// Whether all of a request is there: its head, and as much body as that says.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    if value("transfer-encoding:").is_some() {
        return request.ends_with(b"0\r\n\r\n");
    }
    let length = value("content-length:").and_then(|length| length.trim().parse::<usize>().ok());
    request.len() >= head + 4 + length.unwrap_or(0)
}

/// Keeps a request for a while: for how long, its bytes say.
async fn delay(request: &[u8]) {
    let sum = request.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    tokio::time::sleep(Duration::from_millis(sum % DELAY_MAX_MS)).await;
}

/// Makes a request on a connection of its own, and waits for the answer.
async fn repeat(upstream: &str, request: &[u8]) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    if server.write_all(request).await.is_ok() {
        drop(server.read(&mut vec![0; 64 << 10]).await);
    }
}

/// Names a field that is not there, in as many bytes.
fn rename_key(request: &mut [u8]) {
    let name = b"ExternalKey";
    if let Some(at) = request.windows(name.len()).position(|window| window == name) {
        request[at..at + name.len()].copy_from_slice(b"ExternalLoc");
    }
}
