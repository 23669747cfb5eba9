use bytes::BytesMut;
use rumqttc::{ConnAck, ConnectReturnCode, Error, PubAck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A broker that does what the test says and remembers no session.
struct Broker {
    listener: TcpListener,
}

struct Session {
    stream: TcpStream,
    bytes: BytesMut,
}

impl Broker {
    async fn start() -> (Broker, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        (Broker { listener }, Target { host: "127.0.0.1".to_owned(), port, user: None })
    }

    async fn accept(&self) -> Session {
        let (stream, _) = self.listener.accept().await.expect("a client");
        let mut session = Session { stream, bytes: BytesMut::new() };
        assert!(matches!(session.next().await, Some(Packet::Connect(_))));
        session.answer(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
        session
    }
}

impl Session {
    async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.bytes, 1 << 20) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if self.stream.read_buf(&mut self.bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn answer(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1 << 20).expect("it fits");
        self.stream.write_all(&bytes).await.expect("sent");
    }

    /// The next publish: its payload, and a star when it is retained.
    async fn published(&mut self, is_confirmed: bool) -> String {
        let Some(Packet::Publish(publish)) = self.next().await else {
            panic!("a publish was expected");
        };
        if is_confirmed {
            self.answer(Packet::PubAck(PubAck::new(publish.pkid))).await;
        }
        let star = if publish.retain { "*" } else { "" };
        format!("{}{star}", String::from_utf8_lossy(&publish.payload))
    }

    async fn published_all(&mut self, count: usize, is_confirmed: bool) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.published(is_confirmed).await);
        }
        all
    }
}

fn link(target: &Target, presence: &str) -> (Link, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    let identity = Identity { client_id: "冷柜-3".into(), presence: presence.into(), window: 8 };
    let mut link = Link::new(identity, target, Arc::clone(&progress), Arc::new(Semaphore::new(1)));
    link.connect();
    (link, progress)
}

async fn report(link: &Link, payloads: &[&str]) {
    for payload in payloads {
        link.publish("t".to_owned(), payload.as_bytes().to_vec()).await;
    }
}

#[tokio::test]
async fn what_was_not_confirmed_is_sent_again_in_order_when_the_session_is_gone() {
    let (broker, target) = Broker::start().await;
    let (link, progress) = link(&target, "");
    let mut session = broker.accept().await;
    report(&link, &["1", "2", "3"]).await;
    assert_eq!(session.published(true).await, "1");
    assert_eq!(session.published_all(2, false).await, ["2", "3"]);
    drop(session);
    report(&link, &["4"]).await;
    let mut session = broker.accept().await;
    let mut again = session.published_all(3, true).await;
    // The first confirmation may have been lost with the connection.
    if again[0] == "1" {
        again.remove(0);
        again.push(session.published(true).await);
    }
    assert_eq!(again, ["2", "3", "4"]);
    while progress.confirmed.load(Ordering::Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(progress.sent.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_device_says_online_on_every_connection_and_offline_before_its_goodbye() {
    let (broker, target) = Broker::start().await;
    let (link, _) = link(&target, "p");
    let mut session = broker.accept().await;
    assert_eq!(session.published(true).await, "online*");
    drop(session);
    let mut session = broker.accept().await;
    assert_eq!(session.published(true).await, "online*");
    link.announce_end();
    assert_eq!(session.published(true).await, "offline*");
    link.leave();
    assert!(matches!(session.next().await, Some(Packet::Disconnect)));
}

#[tokio::test]
async fn a_connection_that_comes_back_at_the_end_does_not_say_online_again() {
    let (broker, target) = Broker::start().await;
    let (link, progress) = link(&target, "p");
    let mut session = broker.accept().await;
    assert_eq!(session.published(false).await, "online*");
    link.announce_end();
    drop(session);
    let mut session = broker.accept().await;
    assert_eq!(session.published(true).await, "offline*");
    link.leave();
    assert!(matches!(session.next().await, Some(Packet::Disconnect)));
    assert_eq!(progress.sent.load(Ordering::Relaxed), 1, "only what is still wanted counts");
}

#[tokio::test]
async fn a_device_that_was_cut_sends_what_it_kept_when_it_is_back() {
    let (broker, target) = Broker::start().await;
    let (mut link, _) = link(&target, "p");
    let mut session = broker.accept().await;
    report(&link, &["1"]).await;
    assert_eq!(session.published_all(2, false).await, ["online*", "1"]);
    link.cut();
    assert_eq!(session.next().await, None, "no goodbye, so that the will is published");
    report(&link, &["2"]).await;
    link.connect();
    let mut session = broker.accept().await;
    assert_eq!(session.published_all(3, true).await, ["online*", "1", "2"]);
}

#[tokio::test]
async fn a_device_takes_no_more_on_than_its_window() {
    let (broker, target) = Broker::start().await;
    let (link, _) = link(&target, "");
    let mut session = broker.accept().await;
    report(&link, &["1", "2", "3", "4", "5", "6", "7", "8"]).await;
    let mut ninth = Box::pin(report(&link, &["9"]));
    tokio::select! {
        biased;
        () = &mut ninth => panic!("taken on beyond the window"),
        first = session.published(true) => assert_eq!(first, "1"),
    }
    ninth.await;
}
