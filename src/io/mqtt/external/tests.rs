use bytes::BytesMut;
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::{ConnAck, ConnectReturnCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::io::mqtt::config::BrokerUrl;
use crate::io::mqtt::inbox;

/// The broker's end of a connection.
struct Broker {
    socket: TcpStream,
    received: BytesMut,
}

impl Broker {
    /// Accepts a client that has a session, and its subscription if it sends one.
    async fn accept(listener: &TcpListener, is_subscribing: bool) -> Broker {
        let (socket, _) = listener.accept().await.unwrap();
        let mut broker = Broker { socket, received: BytesMut::new() };
        assert!(matches!(broker.next().await, Packet::Connect(_)));
        broker.send(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, true))).await;
        if is_subscribing {
            assert!(matches!(broker.next().await, Packet::Subscribe(_)));
            let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
            broker.send(&Packet::SubAck(SubAck::new(SUBSCRIBE_ID, granted))).await;
        }
        broker
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn publish(&mut self, packet: u16) {
        let mut publish = Publish::new("冷柜/1", QoS::AtLeastOnce, "21");
        publish.pkid = packet;
        self.send(&Packet::Publish(publish)).await;
    }

    async fn next(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.received, usize::MAX) {
                Err(CodecError::InsufficientBytes(_)) => {
                    let count = self.socket.read_buf(&mut self.received).await.unwrap();
                    assert!(count > 0, "the client has ended the connection");
                }
                read => return read.unwrap(),
            }
        }
    }
}

async fn subscriber(inbox: Inbox) -> (TcpListener, Subscriber) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let transport = Transport {
        url: BrokerUrl::External { host: "127.0.0.1".into(), port, tls: false },
        user: None,
        ca: None,
        client_certificate: None,
        topics: vec!["冷柜/+".into()],
        qos: 1,
        shared_group: String::new(),
        client_id: "gateway".into(),
    };
    (listener, Subscriber::start(0, &transport, None, 1024, inbox).unwrap())
}

async fn next_message(arrivals: &mut mpsc::Receiver<Arrival>) -> Incoming {
    loop {
        if let Arrival::Message(incoming) = arrivals.recv().await.unwrap() {
            return incoming;
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_an_orderly_end_is_told_to_the_broker_in_its_order() {
    let (inbox, mut arrivals) = inbox();
    let (listener, subscriber) = subscriber(inbox).await;
    let mut broker = Broker::accept(&listener, true).await;
    for packet in [7, 9, 8, 10] {
        broker.publish(packet).await;
    }
    for _ in 0..3 {
        next_message(&mut arrivals).await.ack.ack();
    }
    let unacknowledged = next_message(&mut arrivals).await;
    drop((unacknowledged, arrivals));
    subscriber.ended().await;
    for packet in [7, 9, 8] {
        assert_eq!(broker.next().await, Packet::PubAck(PubAck::new(packet)));
    }
    assert_eq!(broker.next().await, Packet::Disconnect);
}

#[tokio::test]
async fn a_message_of_a_former_connection_is_not_acknowledged_on_the_next_one() {
    let (inbox, mut arrivals) = inbox();
    let (listener, _subscriber) = subscriber(inbox).await;
    let mut broker = Broker::accept(&listener, true).await;
    broker.publish(7).await;
    let former = next_message(&mut arrivals).await;
    drop(broker);
    let mut broker = Broker::accept(&listener, false).await;
    broker.publish(7).await;
    broker.publish(8).await;
    next_message(&mut arrivals).await;
    let newest = next_message(&mut arrivals).await;
    former.ack.ack();
    newest.ack.ack();
    assert_eq!(broker.next().await, Packet::PubAck(PubAck::new(8)));
}
