//! The whole gateway as a process of its own, against a real Mosquitto and an upstream over HTTP.
//!
//! `cargo bench --bench load`, or some of it: `cargo bench --bench load -- latency storm`. Nothing
//! is asserted: machines differ. `docs/speed.md` has figures, and what they are held against.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers"
)]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod process;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::{
    Gateway, Mosquitto, SUBSCRIBER, Subscriber, Upstream, cpu, memory, percentiles, publish,
};
use rumqttc::QoS;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == SUBSCRIBER) {
        let count = arguments[at + 2].parse().unwrap();
        runtime.block_on(process::subscribe(&arguments[at + 1], count, QoS::AtLeastOnce));
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == process::NAIVE) {
        runtime.block_on(process::run_naive(&arguments[at + 1], &arguments[at + 2]));
        return;
    }
    let wanted = |name: &str| {
        let named: Vec<&String> = arguments[1..].iter().filter(|a| !a.starts_with('-')).collect();
        named.is_empty() || named.iter().any(|argument| *argument == name)
    };
    if wanted("latency") {
        runtime.block_on(latency());
    }
    if wanted("noise") {
        runtime.block_on(noise());
    }
    if wanted("cpu") {
        for (qos, name) in [(QoS::AtLeastOnce, "QoS 1"), (QoS::AtMostOnce, "QoS 0")] {
            runtime.block_on(cpu_of_a_million(qos, name));
        }
    }
    if wanted("embedded") {
        runtime.block_on(embedded());
    }
    if wanted("storm") {
        runtime.block_on(storm());
    }
    if wanted("memory") {
        runtime.block_on(many_devices());
    }
    if wanted("start") {
        runtime.block_on(many_alarms());
    }
    if wanted("idle") {
        runtime.block_on(idle());
    }
}

const FAULT: &str =
    "[[rule]]\nid = \"fault\"\nmatch = { class = \"machine\" }\nwhen = \"fault == 1\"\n";

fn source(mosquitto: &Mosquitto, qos: u8) -> String {
    format!(
        "[broker]\nenabled = false\n[[source]]\nname = \"plant\"\nurl = \"mqtt://{}\"\n\
         topics = [\"plant/#\"]\ntopic = \"plant/{{site}}/{{class}}/{{device}}/telemetry\"\nqos = {qos}\n",
        mosquitto.address
    )
}

fn upstream(upstream: &Upstream) -> String {
    format!(
        "[[upstream]]\nname = \"desk\"\nkind = \"desk\"\nurl = \"{}\"\nmax_in_flight = 64\n",
        upstream.url
    )
}

/// So many rules that compare one of seven metrics with constants that it does not reach.
fn thresholds(rules: usize) -> String {
    let mut text = String::new();
    for rule in 0..rules {
        let (metric, bound) = (rule % 7, 1_000 + rule);
        writeln!(text, "[[rule]]\nid = \"r-{rule}\"\nwhen = \"m{metric} > {bound}\"").unwrap();
    }
    text
}

/// About 220 bytes.
fn telemetry(device: usize, n: usize, fault: u8) -> (String, String) {
    let value = n % 500;
    let payload = format!(
        "{{\"m0\":{value},\"m1\":{value}.5,\"m2\":12.25,\"m3\":7,\"m4\":99.125,\"m5\":3,\"m6\":1.5,\
         \"fault\":{fault},\"unit\":\"bench\",\"firmware\":\"2.11.4-release\",\
         \"serial\":\"SN-00012345678\",\"mode\":\"auto\",\"note\":\"{n:0>24}\"}}"
    );
    (format!("plant/s/machine/m-{device}/telemetry"), payload)
}

/// Fault published -> POST arrives, under 2,000 messages a second of others: a loop without any
/// durability, then the gateway.
async fn latency() {
    let mosquitto = Mosquitto::start();
    let desk = Upstream::start(Duration::ZERO).await;
    let naive = process::start_naive(&mosquitto.address, &desk.url);
    let (naive_p50, naive_p99) = faults(&mosquitto, &desk, 0).await;
    drop(naive);
    let mosquitto = Mosquitto::start();
    let desk = Upstream::start(Duration::ZERO).await;
    let home = tempfile::tempdir().unwrap();
    let config = format!("{}{}", source(&mosquitto, 1), upstream(&desk));
    let gateway = Gateway::start(home.path(), FAULT, &config);
    gateway.ready().await;
    let (p50, p99) = faults(&mosquitto, &desk, 0).await;
    let folder = home.path().to_owned();
    let sync = tokio::task::spawn_blocking(move || process::sync_times(&folder)).await.unwrap();
    println!(
        "latency: fault -> POST at 2,000 messages/s: naive loop p50 {naive_p50:.2} ms, p99 {naive_p99:.2} ms"
    );
    println!(
        "latency: gateway p50 {p50:.2} ms ({:.2} of naive), p99 {p99:.2} ms ({:.2} of naive); a bare fdatasync p50 {:.2} ms, p99 {:.2} ms; one commit {:.2} ms, one call {:.2} ms in the mean",
        p50 / naive_p50,
        p99 / naive_p99,
        sync.0,
        sync.1,
        gateway.mean("faultgate_commit_seconds").await * 1e3,
        gateway.mean("faultgate_call_seconds").await * 1e3,
    );
}

/// What one device with 10,000 messages a second does to the faults of others, alone and with the
/// dearest rule that compiles.
async fn noise() {
    let windows: Vec<String> = (1..=98).map(|n| format!("m1.stddev({n}h) > 1e9")).collect();
    let dear = format!(
        "[[rule]]\nid = \"dear\"\nmatch = {{ class = \"loud\" }}\nwhen = \"{}\"\n",
        windows.join(" || ")
    );
    for (what, rules, noisy) in [
        ("no noise", FAULT.to_owned(), 0),
        ("10,000 messages/s of one device", FAULT.to_owned(), 10_000),
        ("the same, and its rule has 98 windows", format!("{FAULT}{dear}"), 10_000),
    ] {
        let mosquitto = Mosquitto::start();
        let desk = Upstream::start(Duration::ZERO).await;
        let home = tempfile::tempdir().unwrap();
        let config = format!("{}{}", source(&mosquitto, 1), upstream(&desk));
        let gateway = Gateway::start(home.path(), &rules, &config);
        gateway.ready().await;
        let before = gateway.counted("faultgate_messages_received_total").await;
        let began = Instant::now();
        let (p50, p99) = faults(&mosquitto, &desk, noisy).await;
        let heard = gateway.counted("faultgate_messages_received_total").await - before;
        let rate = heard as f64 / began.elapsed().as_secs_f64();
        println!(
            "noise: {what}: {rate:.0} messages/s taken in; fault -> POST p50 {p50:.2} ms, p99 {p99:.2} ms"
        );
    }
}

/// Sends faults of devices that were never heard before, 20 a second; how long each took in
/// milliseconds, in the middle and for 99 of 100. One device sends `noisy` messages a second.
async fn faults(mosquitto: &Mosquitto, desk: &Upstream, noisy: usize) -> (f64, f64) {
    const FAULTS: usize = 300;
    let address = mosquitto.address.clone();
    let noise = tokio::spawn(async move {
        publish(&address, QoS::AtLeastOnce, 100_000, 2_000, |n| telemetry(n % 1_000, n, 0)).await;
    });
    let address = mosquitto.address.clone();
    let loud = tokio::spawn(async move {
        if noisy > 0 {
            let message = |n| ("plant/s/loud/noisy/telemetry".to_owned(), telemetry(0, n, 0).1);
            publish(&address, QoS::AtLeastOnce, 1_000_000, noisy, message).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (client, mut events) = process::client(&mosquitto.address, "faulty");
    events.network_options.set_tcp_nodelay(true);
    let polling = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let mut sent = BTreeMap::new();
    for fault in 0..FAULTS {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let device = 1_000_000 + fault;
        let (topic, payload) = telemetry(device, fault, 1);
        sent.insert(format!("m-{device}"), Instant::now());
        client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }
    desk.until(FAULTS).await;
    noise.abort();
    loud.abort();
    polling.abort();
    let posted = desk.posted();
    let took = |(device, at): (&String, &Instant)| (posted[device] - *at).as_secs_f64() * 1e3;
    percentiles(sent.iter().map(took).collect())
}

/// CPU of a million messages through Mosquitto, beside a bare subscriber.
async fn cpu_of_a_million(qos: QoS, name: &str) {
    const MESSAGES: usize = 400_000;
    const DEVICES: usize = 10_000;
    let each = 1e6 / MESSAGES as f64;
    let mosquitto = Mosquitto::start();
    let subscriber = Subscriber::start(&mosquitto.address, MESSAGES);
    let before = cpu(subscriber.process.id());
    let began = Instant::now();
    let message = |n: usize| telemetry(n % DEVICES, n, 0);
    publish(&mosquitto.address, qos, MESSAGES, 0, message).await;
    let subscriber = tokio::task::spawn_blocking(|| subscriber.wait()).await.unwrap();
    let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
    let bare = (cpu(subscriber.process.id()) - before) * each;
    drop(subscriber);
    println!("cpu: {name}, bare subscriber: {bare:.1} s a million, {rate:.0}/s");
    for rules in [1, 1_000] {
        let text = thresholds(rules);
        let mosquitto = Mosquitto::start();
        let home = tempfile::tempdir().unwrap();
        let level = if qos == QoS::AtLeastOnce { 1 } else { 0 };
        let gateway = Gateway::start(home.path(), &text, &source(&mosquitto, level));
        gateway.ready().await;
        let before = cpu(gateway.process.id());
        let began = Instant::now();
        publish(&mosquitto.address, qos, MESSAGES, 0, message).await;
        gateway.until("faultgate_messages_received_total{", MESSAGES).await;
        let own = MESSAGES as f64 / began.elapsed().as_secs_f64();
        let spent = (cpu(gateway.process.id()) - before) * each;
        let (_, most) = memory(gateway.process.id());
        println!(
            "cpu: {name}, {rules} rules, {DEVICES} devices: {spent:.1} s a million ({:.2} of bare), {own:.0}/s ({:.2} of bare), {most:.0} MB",
            spent / bare,
            own / rate
        );
    }
}

/// The embedded broker with its gateway, beside the broker with a bare subscriber. What the broker
/// throws away, since it comes faster than it is taken in, is told.
async fn embedded() {
    const MESSAGES: usize = 200_000;
    const DEVICES: usize = 100;
    let broker = "[broker]\nlisten = \"127.0.0.1:0\"\n";
    // Its own source reads another topic, so that it is nothing but a broker.
    let elsewhere = "[[source]]\nname = \"none\"\nurl = \"embedded\"\ntopics = [\"none\"]\ntopic = \"{device}\"\n";
    let message = |n: usize| telemetry(n % DEVICES, n, 0);
    let each = 1e6 / MESSAGES as f64;
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(home.path(), "", &format!("{broker}{elsewhere}"));
    let subscriber = Subscriber::start(&gateway.mqtt, MESSAGES);
    let spent = |subscriber: &Subscriber| cpu(subscriber.process.id()) + cpu(gateway.process.id());
    let before = spent(&subscriber);
    let began = Instant::now();
    publish(&gateway.mqtt, QoS::AtLeastOnce, MESSAGES, 0, message).await;
    let subscriber = tokio::task::spawn_blocking(|| subscriber.wait()).await.unwrap();
    let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
    let bare = (spent(&subscriber) - before) * each;
    println!("embedded: broker and bare subscriber: {bare:.1} µs of CPU a message, {rate:.0}/s");
    for rules in [10, 1_000] {
        let home = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(home.path(), &thresholds(rules), broker);
        let before = cpu(gateway.process.id());
        let began = Instant::now();
        publish(&gateway.mqtt, QoS::AtLeastOnce, MESSAGES, 0, message).await;
        let (mut received, mut overtaken) = (0, 0);
        while received + overtaken < MESSAGES {
            tokio::time::sleep(Duration::from_millis(20)).await;
            received = gateway.counted("faultgate_messages_received_total{").await;
            overtaken = gateway.counted("faultgate_messages_overtaken_total{").await;
        }
        let own = received as f64 / began.elapsed().as_secs_f64();
        let spent = (cpu(gateway.process.id()) - before) * 1e6 / received as f64;
        println!(
            "embedded: {rules} rules: {spent:.1} µs a message ({:.2} of bare), {own:.0}/s ({:.2} of bare), {overtaken} overtaken",
            spent / bare,
            own / rate
        );
    }
}

/// Every device in fault at once, and again and again.
async fn storm() {
    const DEVICES: usize = 10_000;
    const REPEATS: usize = 20;
    let mosquitto = Mosquitto::start();
    let desk = Upstream::start(Duration::from_millis(5)).await;
    let home = tempfile::tempdir().unwrap();
    let config = format!("{}{}", source(&mosquitto, 1), upstream(&desk));
    let gateway = Gateway::start(home.path(), FAULT, &config);
    gateway.ready().await;
    let count = DEVICES * (1 + REPEATS);
    let before = cpu(gateway.process.id());
    let first = Arc::new(Mutex::new(None));
    let last_first = Arc::clone(&first);
    let message = move |n: usize| {
        if n + 1 == DEVICES {
            *last_first.lock().unwrap() = Some(Instant::now());
        }
        telemetry(n % DEVICES, n, 1)
    };
    publish(&mosquitto.address, QoS::AtLeastOnce, count, 20_000, message).await;
    desk.until(DEVICES).await;
    let posted = desk.posted();
    let last = first.lock().unwrap().unwrap();
    let end = posted.values().max().unwrap();
    let after = end.saturating_duration_since(last).as_secs_f64();
    let (_, most) = memory(gateway.process.id());
    let spent = cpu(gateway.process.id()) - before;
    println!(
        "storm: {DEVICES} devices, {count} messages: {} tickets, the last {after:.2} s after the last device fell into fault, {most:.0} MB, {spent:.1} s of CPU",
        posted.len()
    );
}

/// Many devices with many rules each.
async fn many_devices() {
    const DEVICES: usize = 100_000;
    let mosquitto = Mosquitto::start();
    let rules = thresholds(20);
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(home.path(), &rules, &source(&mosquitto, 1));
    gateway.ready().await;
    let count = 3 * DEVICES;
    publish(&mosquitto.address, QoS::AtLeastOnce, count, 0, |n| telemetry(n % DEVICES, n, 0)).await;
    gateway.until("faultgate_messages_received_total{", count).await;
    let (now, most) = memory(gateway.process.id());
    println!(
        "memory: {DEVICES} devices, 20 rules each, 7 metrics, 3 messages: {now:.0} MB, at the most {most:.0} MB"
    );
}

/// A start with many alarms in the store.
async fn many_alarms() {
    const ALARMS: usize = 1_000_000;
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data/gateway");
    std::fs::create_dir_all(&data).unwrap();
    let folder = data.clone();
    tokio::task::spawn_blocking(move || process::fill(&folder, ALARMS)).await.unwrap();
    let mut rules = String::new();
    for rule in 0..10 {
        writeln!(rules, "[[rule]]\nid = \"r-{rule}\"\nwhen = \"m{rule} > 1\"").unwrap();
    }
    let config = "[broker]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = Gateway::start(home.path(), &rules, config);
    let (now, _) = memory(gateway.process.id());
    let took = gateway.started_in.as_secs_f64();
    println!("start: {ALARMS} alarm records of 100,000 devices: ready in {took:.1} s, {now:.0} MB");
}

/// A gateway with nothing to do.
async fn idle() {
    const SECONDS: u64 = 20;
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(home.path(), FAULT, "[broker]\nlisten = \"127.0.0.1:0\"\n");
    gateway.ready().await;
    let before = cpu(gateway.process.id());
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let share = (cpu(gateway.process.id()) - before) / SECONDS as f64 * 100.0;
    let (now, _) = memory(gateway.process.id());
    println!("idle: {now:.1} MB, {share:.2} % of a core over {SECONDS} s, embedded broker on");
}
