//! A proxy that breaks connections on purpose: it lets a request through, and the answer never
//! comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy in front of an HTTP server.
pub struct Proxy {
    pub address: String,
    swallow: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free loopback port, in front of `upstream`.
    pub async fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let swallow = Arc::new(AtomicUsize::new(0));
        let (upstream, left) = (upstream.to_owned(), Arc::clone(&swallow));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await;
                if let Ok(server) = server {
                    tokio::spawn(pass(client, server, Arc::clone(&left)));
                }
            }
        });
        Proxy { address, swallow }
    }

    /// The next `count` answers to a POST are lost after the server has sent them.
    pub fn swallow_answers(&self, count: usize) {
        self.swallow.store(count, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: TcpStream, left: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_post = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_post);
    let requests = tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let starts = |method: &[u8]| buffer.starts_with(method);
            if starts(b"POST ") {
                seen.store(true, Ordering::SeqCst);
            } else if starts(b"GET ") || starts(b"PUT ") || starts(b"PATCH ") {
                seen.store(false, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    // An answer that begins says that the server has done what it was asked.
    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
        let one_less = |left: usize| left.checked_sub(1);
        let lost = is_post.load(Ordering::SeqCst)
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if lost || to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    requests.abort();
}
