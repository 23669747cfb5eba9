//! What a broker sends again, because a crash came between our commit and our acknowledgement.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::gateway::{HOT, Home};

const CONNACK_WITH_SESSION: &[u8] = b"\x20\x02\x01\x00";
const SUBSCRIBE: u8 = 0x82;

/// A broker of a few lines that never gets an acknowledgement: it answers CONNECT and SUBSCRIBE.
struct Broker {
    listener: TcpListener,
}

impl Broker {
    fn start() -> Broker {
        Broker { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn url(&self) -> String {
        format!("mqtt://{}", self.listener.local_addr().unwrap())
    }

    /// The next client, connected and subscribed.
    fn accept(&self) -> TcpStream {
        let (mut client, _) = self.listener.accept().unwrap();
        read_packet(&mut client);
        client.write_all(CONNACK_WITH_SESSION).unwrap();
        loop {
            let (kind, body) = read_packet(&mut client);
            if kind == SUBSCRIBE {
                client.write_all(&[0x90, 0x03, body[0], body[1], 0x01]).unwrap();
                return client;
            }
        }
    }
}

fn read_packet(client: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(head[1])];
    client.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// A PUBLISH at QoS 1 of at most 127 bytes.
fn publish(packet: u8, again: bool, device: &str, temp_c: i32) -> Vec<u8> {
    let topic = format!("plant/sh-1/machine/{device}/telemetry");
    let payload = format!("{{\"temp_c\": {temp_c}}}");
    let mut bytes = vec![if again { 0x3a } else { 0x32 }];
    bytes.push(u8::try_from(2 + topic.len() + 2 + payload.len()).unwrap());
    bytes.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&[0, packet]);
    bytes.extend_from_slice(payload.as_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_and_its_return_that_come_again_after_a_crash_do_not_reopen_the_ticket() {
    let broker = Broker::start();
    let source = format!(
        "[[source]]\nname = \"plant\"\nurl = \"{}\"\ntopics = [\"plant/+/+/+/telemetry\"]\n\
         topic = \"plant/{{site}}/{{class}}/{{device}}/telemetry\"\n",
        broker.url()
    );
    let home = Home::new(HOT, &source);
    // A device that does not tell the time: only the broker can say that this came before.
    let told = |again| {
        [20, 90, 60]
            .iter()
            .zip(1..)
            .flat_map(move |(temp, packet)| publish(packet, again, "冷柜-3", *temp))
    };
    let accepted = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| broker.accept());
        let gateway = home.start();
        (gateway, accepting.join().unwrap())
    });
    let (gateway, mut client) = accepted;
    client.write_all(&told(false).collect::<Vec<_>>()).unwrap();
    gateway.desk_until(|tickets| tickets.len() == 1 && tickets[0]["status"] == "resolved").await;
    gateway.kill();

    let (gateway, mut client) = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| broker.accept());
        let gateway = home.start();
        (gateway, accepting.join().unwrap())
    });
    client.write_all(&told(true).collect::<Vec<_>>()).unwrap();
    client.write_all(&publish(4, true, "冷柜-4", 90)).unwrap();
    let tickets = gateway.desk_until(|tickets| tickets.len() == 2).await;
    assert_eq!(tickets[0]["status"], "resolved", "what came again changed nothing");
    let alarms = gateway.get("/api/v1/alarms").await;
    assert_eq!(alarms["alarms"].as_array().map(Vec::len), Some(2));
    assert!(
        gateway.metrics().await.contains("faultgate_messages_repeated_total{source=\"plant\"} 3")
    );
}
