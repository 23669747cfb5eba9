//! Messages a second and CPU for each, through the embedded broker into the core, with 10 and
//! 1,000 rules, beside a bare rumqttc subscriber on the same broker.
//!
//! `cargo bench --bench throughput`. Nothing is asserted: machines differ, the ratio tells.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use faultgate::io::upstream::plain_client;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value as Json;

const MESSAGES: usize = 200_000;
const DEVICES: usize = 100;
/// Argument that makes this program the bare subscriber.
const SUBSCRIBER: &str = "--subscriber";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == SUBSCRIBER) {
        runtime.block_on(subscribe(&arguments[at + 1]));
        return;
    }
    println!(
        "{MESSAGES} messages of 220 bytes, QoS 1, {DEVICES} devices, on the embedded broker\n"
    );
    println!(
        "{:<26} {:>10} {:>6} {:>10} {:>6} {:>10}",
        "", "messages/s", "ratio", "CPU µs", "ratio", "overtaken"
    );
    let bare = runtime.block_on(measure_bare());
    row("broker + bare subscriber", bare, bare);
    for rules in [10, 1_000] {
        let gateway = runtime.block_on(measure_gateway(rules));
        row(&format!("gateway, {rules} rules"), gateway, bare);
    }
}

/// What a run has come to.
#[derive(Clone, Copy)]
struct Measured {
    rate: f64,
    cpu_us: f64,
    overtaken: usize,
}

fn row(name: &str, measured: Measured, bare: Measured) {
    let Measured { rate, cpu_us, overtaken } = measured;
    let (of_rate, of_cpu) = (rate / bare.rate, cpu_us / bare.cpu_us);
    println!("{name:<26} {rate:>10.0} {of_rate:>6.2} {cpu_us:>10.2} {of_cpu:>6.2} {overtaken:>10}");
}

/// A bare rumqttc subscriber, and the broker below it.
async fn measure_bare() -> Measured {
    let gateway = Gateway::start(0);
    let mut subscriber = Command::new(std::env::current_exe().unwrap())
        .args([SUBSCRIBER, &gateway.mqtt])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "ready");
    let before = (cpu(subscriber.id()), cpu(gateway.process.id()));
    let began = Instant::now();
    let publishing = tokio::spawn(publish(gateway.mqtt.clone()));
    let done = tokio::task::spawn_blocking(move || told.next());
    assert_eq!(done.await.unwrap().unwrap().unwrap(), "done");
    let took = began.elapsed();
    publishing.await.unwrap();
    let spent = cpu(subscriber.id()) - before.0;
    let broker = cpu(gateway.process.id()) - before.1;
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
    let cpu_us = (spent + broker) * 1e6 / MESSAGES as f64;
    Measured { rate: MESSAGES as f64 / took.as_secs_f64(), cpu_us, overtaken: 0 }
}

/// The whole gateway, its broker included. Messages that the broker threw away, since they came
/// faster than the rules could be evaluated, end the wait too.
async fn measure_gateway(rules: usize) -> Measured {
    let gateway = Gateway::start(rules);
    let before = cpu(gateway.process.id());
    let began = Instant::now();
    let publishing = tokio::spawn(publish(gateway.mqtt.clone()));
    let (mut received, mut overtaken) = (0, 0);
    while received + overtaken < MESSAGES {
        tokio::time::sleep(Duration::from_millis(20)).await;
        received = gateway.counted("faultgate_messages_received_total{").await;
        overtaken = gateway.counted("faultgate_messages_overtaken_total{").await;
    }
    let took = began.elapsed();
    publishing.await.unwrap();
    let spent = cpu(gateway.process.id()) - before;
    let rate = received as f64 / took.as_secs_f64();
    Measured { rate, cpu_us: spent * 1e6 / received as f64, overtaken }
}

struct Gateway {
    process: Child,
    http: String,
    mqtt: String,
    _home: tempfile::TempDir,
}

impl Gateway {
    /// Without rules its source reads another topic, so that it is nothing but a broker.
    fn start(rules: usize) -> Gateway {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("rules");
        std::fs::create_dir(&folder).unwrap();
        let mut text = String::new();
        for n in 0..rules {
            let metric = format!("m{}", n % 8);
            let limit = 1_000 + n;
            text.push_str(&format!(
                "[[rule]]\nid = \"r-{n}\"\nmatch = {{ class = \"machine\" }}\nwhen = \"{metric} > {limit}\"\n"
            ));
        }
        std::fs::write(folder.join("rules.toml"), text).unwrap();
        let mut config =
            "[http]\nlisten = \"127.0.0.1:0\"\n[broker]\nlisten = \"127.0.0.1:0\"\n".to_owned();
        if rules == 0 {
            config.push_str("[[source]]\nname = \"none\"\nurl = \"embedded\"\ntopics = [\"none\"]\ntopic = \"{device}\"\n");
        }
        std::fs::write(home.path().join("faultgate.toml"), config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_faultgate"))
            .args(["run", "--log", "json", "--config"])
            .arg(home.path().join("faultgate.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines.find_map(|line| {
            let json: Json = serde_json::from_str(&line.ok()?).ok()?;
            (json["message"] == "Ready.").then_some(json)
        });
        let ready = ready.expect("the gateway is ready");
        std::thread::spawn(move || lines.for_each(drop));
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Gateway { process, http: text("http"), mqtt: text("mqtt"), _home: home }
    }

    async fn counted(&self, counter: &str) -> usize {
        let url = format!("http://{}/metrics", self.http);
        let text = plain_client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(counter));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// CPU seconds that a process has used (`/proc/PID/stat`, fields 14 and 15, 100 ticks a second).
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn client(address: &str, id: &str) -> (AsyncClient, rumqttc::EventLoop) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut options = MqttOptions::new(id, host, port.parse::<u16>().unwrap());
    options.set_inflight(500);
    AsyncClient::new(options, 1_000)
}

async fn publish(address: String) {
    let (client, mut events) = client(&address, "publisher");
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let topic = format!("plant/s/machine/m-{}/telemetry", n % DEVICES);
            let value = n % 500;
            let payload = format!(
                "{{\"m0\":{value},\"m1\":{value}.5,\"m2\":12.25,\"m3\":7,\"m4\":99.125,\"m5\":3,\"m6\":1.5,\"m7\":{value},\
                 \"unit\":\"bench\",\"firmware\":\"2.11.4-release\",\"serial\":\"SN-00012345678\",\"mode\":\"auto\",\
                 \"note\":\"{n:0>24}\"}}"
            );
            client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        }
    });
    let mut confirmed = 0;
    while confirmed < MESSAGES {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            confirmed += 1;
        }
    }
    sending.await.unwrap();
}

async fn subscribe(address: &str) {
    let (client, mut events) = client(address, "subscriber");
    client.subscribe("plant/#", QoS::AtLeastOnce).await.unwrap();
    let mut received = 0;
    loop {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::SubAck(_)) => println!("ready"),
            Event::Incoming(Packet::Publish(_)) => {
                received += 1;
                if received == MESSAGES {
                    println!("done");
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}
