//! What rumqttc, rumqttd and real brokers do that would lose or mix up messages.

use std::collections::BTreeSet;
use std::time::Duration;

use faultgate::engine::types::message::Delivery;
use faultgate::io::mqtt::config::{BrokerConfig, BrokerUrl, Transport};
use faultgate::io::mqtt::embedded::{Broker, LogBounds};
use faultgate::io::mqtt::external::Subscriber;
use faultgate::io::mqtt::publish::Publisher;
use faultgate::io::mqtt::{Arrival, Incoming, MqttEvent, inbox};
use tokio::sync::mpsc::Receiver;

use super::mosquitto::{Mosquitto, free_port, program, transport};

const LIMIT: Duration = Duration::from_secs(30);

async fn next(arrivals: &mut Receiver<Arrival>) -> Arrival {
    let arrival = tokio::time::timeout(LIMIT, arrivals.recv()).await;
    arrival.expect("nothing arrived in time").unwrap()
}

async fn next_message(arrivals: &mut Receiver<Arrival>) -> Incoming {
    loop {
        if let Arrival::Message(incoming) = next(arrivals).await {
            return incoming;
        }
    }
}

async fn wait_for(arrivals: &mut Receiver<Arrival>, wanted: &MqttEvent) {
    loop {
        if let Arrival::Event { event, .. } = next(arrivals).await
            && event == *wanted
        {
            return;
        }
    }
}

fn number(incoming: &Incoming) -> u64 {
    let text = String::from_utf8(incoming.message.payload.clone()).unwrap();
    text.parse().unwrap()
}

async fn publish(publisher: &Publisher, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let payload = number.to_string().into_bytes();
        publisher.publish(topic, payload, false).await.unwrap();
    }
}

fn broker_config() -> BrokerConfig {
    BrokerConfig { listen: ([127, 0, 0, 1], 0).into(), ..BrokerConfig::default() }
}

fn embedded(topic: &str) -> Transport {
    Transport { url: BrokerUrl::Embedded, ..transport(0, topic, "") }
}

#[tokio::test]
async fn a_broker_that_forgot_us_is_subscribed_again_and_nothing_after_it_is_lost() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let (inbox, mut arrivals) = inbox();
    let source = transport(mosquitto.port, "设备/+", "gateway");
    let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
    let publisher = Publisher::start(&transport(mosquitto.port, "-", "device"), None).unwrap();
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    publish(&publisher, "设备/1", 0..1).await;
    next_message(&mut arrivals).await.ack.ack();
    mosquitto.restart();
    wait_for(&mut arrivals, &MqttEvent::SessionLost).await;
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    // The publisher must not be the first to be back: what nobody subscribes, no broker keeps.
    publish(&publisher, "设备/2", 1..51).await;
    publisher.confirmed(LIMIT).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 50 {
        let incoming = next_message(&mut arrivals).await;
        assert_eq!(incoming.message.topic, "设备/2");
        seen.insert(number(&incoming));
        incoming.ack.ack();
    }
    assert_eq!(seen, (1..51).collect());
}

#[tokio::test]
async fn messages_published_while_the_broker_is_away_arrive_when_it_is_back() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let publisher = Publisher::start(&transport(mosquitto.port, "-", "device"), None).unwrap();
    publish(&publisher, "warm-up", 0..1).await;
    publisher.confirmed(LIMIT).await.unwrap();
    mosquitto.stop();
    publish(&publisher, "t", 0..50).await;
    assert!(publisher.confirmed(Duration::from_millis(300)).await.is_err());
    assert!(publisher.trouble().is_some());
    let (inbox, mut arrivals) = inbox();
    let source = transport(mosquitto.port, "t", "gateway");
    // Retained only for this test would hide a loss: the subscriber is there before the publisher.
    mosquitto.run();
    let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    publisher.confirmed(LIMIT).await.unwrap();
    publish(&publisher, "t", 50..51).await;
    loop {
        let incoming = next_message(&mut arrivals).await;
        let last = number(&incoming) == 50;
        incoming.ack.ack();
        if last {
            break;
        }
    }
}

#[tokio::test]
async fn unacknowledged_messages_come_again_in_order_and_acknowledged_ones_do_not() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let source = transport(mosquitto.port, "t", "gateway");
    let publisher = Publisher::start(&transport(mosquitto.port, "-", "device"), None).unwrap();
    {
        let (inbox, mut arrivals) = inbox();
        let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
        wait_for(&mut arrivals, &MqttEvent::Connected).await;
        publish(&publisher, "t", 0..15).await;
        let mut held = Vec::new();
        for expected in 0..15 {
            let incoming = next_message(&mut arrivals).await;
            assert_eq!(number(&incoming), expected);
            held.push(incoming);
        }
        for incoming in held.drain(..6) {
            incoming.ack.ack();
        }
        // Number 15 is only sent once an acknowledgement has arrived: mosquitto has 20 in flight.
        publish(&publisher, "t", 15..26).await;
        for _ in 15..26 {
            next_message(&mut arrivals).await;
        }
    }
    let (inbox, mut arrivals) = inbox();
    let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
    for expected in 6..26 {
        let incoming = next_message(&mut arrivals).await;
        assert_eq!(number(&incoming), expected);
        let delivery = incoming.message.delivery;
        assert!(
            matches!(delivery, Delivery::UntilAcknowledged { again: true, .. }),
            "{delivery:?}"
        );
        incoming.ack.ack();
    }
}

#[tokio::test]
async fn a_payload_past_the_limit_is_told_and_the_connection_stays() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let (inbox, mut arrivals) = inbox();
    let source = transport(mosquitto.port, "t", "gateway");
    let limit = 256 * 1024;
    let _subscriber = Subscriber::start(0, &source, None, limit, inbox).unwrap();
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    let publisher = Publisher::start(&transport(mosquitto.port, "-", "device"), None).unwrap();
    for bytes in [limit, 300 * 1024, 11 * 1024] {
        publisher.publish("t", vec![b'x'; bytes], false).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match next(&mut arrivals).await {
            Arrival::Message(incoming) => {
                seen.push((incoming.message.payload.len(), incoming.oversized));
                incoming.ack.ack();
            }
            Arrival::Event { event, .. } => panic!("{event:?}"),
        }
    }
    let expected = [(limit, None), (0, Some(300 * 1024)), (11 * 1024, None)];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn six_thousand_messages_pass_through_the_link_of_the_embedded_broker() {
    let (inbox, mut arrivals) = inbox();
    let started = Broker::start(&broker_config(), LogBounds::default(), inbox).await;
    let mut broker = started.unwrap();
    broker.subscribe(3, &embedded("设备/#"));
    broker.open().await.unwrap();
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    let device = transport(broker.address().port(), "-", "device");
    let publisher = Publisher::start(&device, None).unwrap();
    let sending = tokio::spawn(async move {
        publish(&publisher, "设备/1", 0..6_000).await;
        publisher.confirmed(LIMIT).await
    });
    for expected in 0..6_000 {
        let incoming = next_message(&mut arrivals).await;
        assert_eq!((number(&incoming), incoming.message.source), (expected, 3));
        incoming.ack.ack();
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn devices_of_the_embedded_broker_wait_while_the_gateway_is_slower_and_nothing_is_lost() {
    let bounds = LogBounds { segment_bytes: 1 << 20, segments: 4 };
    let (inbox, mut arrivals) = inbox();
    let mut broker = Broker::start(&broker_config(), bounds, inbox).await.unwrap();
    broker.subscribe(0, &embedded("t"));
    broker.open().await.unwrap();
    let device = transport(broker.address().port(), "-", "device");
    let publisher = Publisher::start(&device, None).unwrap();
    let total = 50_000;
    let sending = tokio::spawn(async move {
        for number in 0..total {
            let payload = format!("{number:0200}").into_bytes();
            publisher.publish("t", payload, false).await.unwrap();
        }
        publisher.confirmed(LIMIT).await
    });
    // More than the broker's log would hold is still to come when the inbox is full.
    while arrivals.len() < arrivals.max_capacity() {
        tokio::task::yield_now().await;
    }
    assert!(!sending.is_finished());
    let mut expected = 0;
    while expected < total {
        match next(&mut arrivals).await {
            Arrival::Message(incoming) => {
                assert_eq!(number(&incoming), expected);
                expected += 1;
            }
            Arrival::Event { event, .. } => assert_eq!(event, MqttEvent::Connected),
        }
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_device_that_sends_megabytes_to_the_embedded_broker_is_acknowledged_and_counted() {
    let (inbox, mut arrivals) = inbox();
    let started = Broker::start(&broker_config(), LogBounds::default(), inbox).await;
    let mut broker = started.unwrap();
    broker.subscribe(4, &embedded("设备/+"));
    broker.open().await.unwrap();
    let device = transport(broker.address().port(), "-", "device");
    let publisher = Publisher::start(&device, None).unwrap();
    for bytes in [5 << 20, 300 * 1024, 10] {
        publisher.publish("设备/1", vec![b'x'; bytes], false).await.unwrap();
    }
    publisher.confirmed(LIMIT).await.unwrap();
    assert_eq!(publisher.trouble(), None);
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let incoming = next_message(&mut arrivals).await;
        assert_eq!((incoming.message.source, incoming.message.topic.as_str()), (4, "设备/1"));
        seen.insert((incoming.oversized, incoming.message.payload.len()));
    }
    let expected = [(None, 10), (Some(300 * 1024), 0), (Some(5 << 20), 0)];
    assert_eq!(seen, expected.into());
}

#[tokio::test]
async fn topics_are_not_mixed_up_when_a_device_speaks_mqtt_5_with_topic_aliases() {
    let (inbox, mut arrivals) = inbox();
    let started = Broker::start(&broker_config(), LogBounds::default(), inbox).await;
    let mut broker = started.unwrap();
    broker.subscribe(0, &embedded("t/+"));
    broker.open().await.unwrap();
    wait_for(&mut arrivals, &MqttEvent::Connected).await;
    let port = broker.address().port().to_string();
    for device in 0..4 {
        let topic = format!("t/dev{device}");
        let mut command = program("mosquitto_pub");
        command.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", &topic]);
        command.args(["-D", "publish", "topic-alias", "1", "-l"]);
        let spawned = command.stdin(std::process::Stdio::piped()).spawn();
        let Ok(mut process) = spawned else {
            println!("skipped: mosquitto_pub is not installed");
            return;
        };
        let lines = process.stdin.take().unwrap();
        std::io::Write::write_all(&mut { lines }, b"1\n2\n3\n").unwrap();
        let ended = tokio::task::spawn_blocking(move || process.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
    for device in 0..4 {
        for line in 1..=3 {
            let incoming = next_message(&mut arrivals).await;
            let expected = (format!("t/dev{device}"), line);
            assert_eq!((incoming.message.topic.clone(), number(&incoming)), expected);
            incoming.ack.ack();
        }
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (inbox, _arrivals) = inbox();
    let config = BrokerConfig { listen: taken.local_addr().unwrap(), ..BrokerConfig::default() };
    let refused = Broker::start(&config, LogBounds::default(), inbox).await.unwrap_err();
    assert!(refused.to_string().contains(&config.listen.to_string()), "{refused}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_once_and_tried_again() {
    let (inbox, mut arrivals) = inbox();
    let source = transport(free_port(), "t", "gateway");
    let _subscriber = Subscriber::start(7, &source, None, 1024, inbox).unwrap();
    let Arrival::Event { source, event } = next(&mut arrivals).await else {
        panic!("a message from nowhere");
    };
    assert_eq!(source, Some(7));
    assert!(matches!(event, MqttEvent::Disconnected { .. }), "{event:?}");
    let again = tokio::time::timeout(Duration::from_secs(1), arrivals.recv()).await;
    assert!(again.is_err(), "told again: {again:?}");
}
