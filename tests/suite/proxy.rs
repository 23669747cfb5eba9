//! A proxy that breaks connections on purpose: requests that change something meet what was
//! planned for them, one after another; the others pass.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a request that changes something meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Pass,
    /// The server carries it out; its answer never comes back.
    Lose,
    /// It never reaches the server; the proxy says 503.
    Refuse,
    /// The server does not know the custom field that it names.
    DropKey,
    /// Both.
    DropKeyAndLose,
}

type Plan = Arc<Mutex<VecDeque<Fate>>>;

/// A proxy in front of an HTTP server.
pub struct Proxy {
    pub address: String,
    plan: Plan,
}

impl Proxy {
    /// Listens on a free loopback port, in front of `upstream`.
    pub async fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let plan = Plan::default();
        let (upstream, theirs) = (upstream.to_owned(), Arc::clone(&plan));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await;
                if let Ok(server) = server {
                    tokio::spawn(pass(client, server, Arc::clone(&theirs)));
                }
            }
        });
        Proxy { address, plan }
    }

    /// What the next requests that change something meet.
    pub fn plan(&self, fates: &[Fate]) {
        *self.plan.lock().expect("a plan") = fates.iter().copied().collect();
    }

    /// How much of the plan has not been met.
    pub fn left(&self) -> usize {
        self.plan.lock().expect("a plan").len()
    }
}

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

async fn pass(mut client: TcpStream, mut server: TcpStream, plan: Plan) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut fate = Fate::Pass;
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let Ok(count @ 1..) = read else { return };
                let part = &mut request[..count];
                let starts = |method: &&[u8]| part.starts_with(method);
                if [b"POST ".as_slice(), b"PUT ", b"PATCH ", b"DELETE "].iter().any(starts) {
                    fate = plan.lock().expect("a plan").pop_front().unwrap_or(Fate::Pass);
                } else if part.starts_with(b"GET ") {
                    fate = Fate::Pass;
                }
                if fate == Fate::Refuse {
                    drop(to_client.write_all(REFUSAL).await);
                    // Closed by the client: a close from here could overtake the answer.
                    while let Ok(1..) = from_client.read(&mut request).await {}
                    return;
                }
                if matches!(fate, Fate::DropKey | Fate::DropKeyAndLose) {
                    rename_key(part);
                }
                if to_server.write_all(part).await.is_err() {
                    return;
                }
            }
            read = from_server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                // An answer that begins says that the server has done what it was asked.
                let lost = matches!(fate, Fate::Lose | Fate::DropKeyAndLose);
                if lost || to_client.write_all(&answer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Names a field that is not there, in as many bytes.
fn rename_key(request: &mut [u8]) {
    let name = b"ExternalKey";
    if let Some(at) = request.windows(name.len()).position(|window| window == name) {
        request[at..at + name.len()].copy_from_slice(b"ExternalLoc");
    }
}
