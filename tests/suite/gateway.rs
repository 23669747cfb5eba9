//! The real binary as a user starts it: a process, a folder, a configuration.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use faultgate::io::mqtt::config::Transport;
use faultgate::io::mqtt::publish::Publisher;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::mosquitto::transport;

/// How long a test waits for something that is going to happen.
const WITHIN: Duration = Duration::from_secs(30);

/// A folder with a configuration and rules.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// A folder whose gateway has these rules; `extra` is added to the configuration. Every alarm
    /// goes its own way, unless `extra` says when there is a storm.
    pub fn new(rules: &str, extra: &str) -> Home {
        let home = Home { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::create_dir(home.path().join("rules")).expect("made");
        home.write_rules(rules);
        home.write_config(extra);
        home
    }

    /// Puts another configuration in place of the one that is there.
    pub fn write_config(&self, extra: &str) {
        let broker =
            if extra.contains("[broker]") { "" } else { "[broker]\nlisten = \"127.0.0.1:0\"\n" };
        let settle = if extra.contains("[gateway]") { "" } else { "[gateway]\nsettle = \"0s\"\n" };
        let storm = if extra.contains("[storm]") { "" } else { "[storm]\nenabled = false\n" };
        let config = format!("[http]\nlisten = \"127.0.0.1:0\"\n{settle}{broker}{storm}{extra}\n");
        std::fs::write(self.path().join("faultgate.toml"), config).expect("written");
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts other rules in place of those that are there.
    pub fn write_rules(&self, rules: &str) {
        std::fs::write(self.path().join("rules/rules.toml"), rules).expect("written");
    }

    /// Starts the gateway and waits until it is ready.
    pub fn start(&self) -> Gateway {
        self.try_start(&[]).expect("the gateway is ready")
    }

    /// Starts the gateway with environment variables; what it said if it did not come up.
    pub fn try_start(&self, env: &[(&str, &str)]) -> Result<Gateway, String> {
        let mut child = self.spawn(env);
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        for line in &mut lines {
            let line = line.expect("a line");
            let json: Json = serde_json::from_str(&line).unwrap_or_default();
            said.push_str(&line);
            said.push('\n');
            if json["message"] == "Ready." {
                // Read on, or the process would wait for us once the pipe is full.
                let log = std::thread::spawn(move || lines.map_while(Result::ok).collect());
                let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
                return Ok(Gateway {
                    child,
                    http: text("http"),
                    mqtt: text("mqtt"),
                    log: Some(log),
                });
            }
        }
        drop(child.wait());
        Err(said)
    }

    /// Starts the gateway and kills it after a while, ready or not.
    pub async fn start_and_kill(&self, after: Duration) {
        let mut child = self.spawn(&[]);
        tokio::time::sleep(after).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    fn spawn(&self, env: &[(&str, &str)]) -> Child {
        Command::new(binary())
            .args(["run", "--log", "json", "--config"])
            .arg(self.path().join("faultgate.toml"))
            .envs(env.iter().copied())
            .env("TZ", "UTC")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts")
    }
}

/// The binary that was built with the tests, or `FAULTGATE_BIN`: a release build for long proofs.
pub fn binary() -> PathBuf {
    let other = std::env::var_os("FAULTGATE_BIN").map(PathBuf::from);
    other.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_faultgate")))
}

/// A gateway that runs; killed when dropped.
pub struct Gateway {
    child: Child,
    pub http: String,
    pub mqtt: String,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Gateway {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Waits until it has died by itself; false when it lives on.
    #[cfg(feature = "fail-points")]
    pub async fn died(mut self) -> bool {
        let wait = tokio::task::spawn_blocking(move || self.child.wait());
        tokio::time::timeout(WITHIN, wait).await.is_ok()
    }

    /// A line of `/proc/PID/status` in MB (10^6 bytes): `VmRSS`, or `VmHWM` for the most there was.
    pub fn memory(&self, line: &str) -> f64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(file).unwrap_or_default();
        let found = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':'));
        let kib = found.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) * 1_024.0 / 1e6
    }

    /// The sum of a counter over its labels.
    pub async fn counted(&self, counter: &str) -> usize {
        let metrics = self.metrics().await;
        let lines = metrics.lines().filter(|line| {
            line.strip_prefix(counter).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    }

    /// Jobs that are not done yet.
    pub async fn outbox(&self) -> u64 {
        self.get("/readyz").await["outbox"].as_u64().unwrap_or(u64::MAX)
    }

    /// SIGTERM; the log from ready to the end, and whether it ended well.
    pub fn terminate(mut self) -> (Vec<String>, bool) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
        let ended = self.child.wait().expect("ended");
        let log = self.log.take().expect("read").join().expect("read to its end");
        (log, ended.success())
    }

    pub async fn get(&self, path: &str) -> Json {
        get(&format!("http://{}{path}", self.http)).await
    }

    /// Posts nothing; status and answer.
    pub async fn post(&self, path: &str) -> (u16, Json) {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let answer = client.post(format!("http://{}{path}", self.http)).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Waits until the gateway hears its brokers.
    pub async fn ready(&self) {
        let deadline = tokio::time::Instant::now() + WITHIN;
        while self.get("/readyz").await["ready"] != true {
            assert!(tokio::time::Instant::now() < deadline, "not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The metrics as Prometheus reads them.
    pub async fn metrics(&self) -> String {
        let client = faultgate::io::upstream::plain_client().expect("a client");
        let answer = client.get(format!("http://{}/metrics", self.http)).send().await;
        answer.expect("an answer").text().await.expect("text")
    }

    /// The tickets at the desk inside, oldest first.
    pub async fn desk(&self) -> Vec<Json> {
        let answer = self.get("/desk/api/v1/tickets?limit=1000").await;
        let mut tickets = answer["tickets"].as_array().cloned().unwrap_or_default();
        tickets.reverse();
        tickets
    }

    /// Waits until the tickets at the desk are as wanted; they are told if they never are.
    pub async fn desk_until(&self, wanted: impl Fn(&[Json]) -> bool) -> Vec<Json> {
        let deadline = tokio::time::Instant::now() + WITHIN;
        loop {
            let tickets = self.desk().await;
            if wanted(&tickets) {
                return tickets;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {tickets:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the gateway's first ticket is as wanted.
    pub async fn ticket_until(&self, wanted: impl Fn(&Json) -> bool) -> Json {
        let deadline = tokio::time::Instant::now() + WITHIN;
        loop {
            let ticket = self.get("/api/v1/tickets").await["tickets"][0].take();
            if wanted(&ticket) {
                return ticket;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {ticket:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn publish(&self, messages: &[(String, Vec<u8>)]) {
        publish(&self.mqtt, messages).await;
    }

    /// Its tickets, once there are so many and all of them are at the desk.
    pub async fn all_delivered(&self, count: usize) -> Vec<Json> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get("/api/v1/tickets").await;
            let tickets = answer["tickets"].as_array().cloned().unwrap_or_default();
            let delivered = tickets.iter().filter(|ticket| ticket["external"].is_string()).count();
            if delivered >= count {
                return tickets;
            }
            if tokio::time::Instant::now() >= deadline {
                let known = tickets.len();
                let late = tickets.iter().find(|ticket| ticket["external"].is_null());
                let late = late.and_then(|ticket| ticket["id"].as_str()).unwrap_or("tk-1");
                let story = self.get(&format!("/api/v1/explain/{late}")).await;
                panic!("{delivered} of {count} delivered, {known} known; one of them: {story:#}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub async fn get(url: &str) -> Json {
    let response = faultgate::io::upstream::plain_client().expect("a client").get(url).send().await;
    response.expect("an answer").json().await.unwrap_or_default()
}

/// Publishes with QoS 1 and waits for every acknowledgement; a connection that the embedded broker
/// takes for an older one is made again, as devices do.
pub async fn publish(address: &str, messages: &[(String, Vec<u8>)]) {
    let publisher = publisher(address);
    for (topic, payload) in messages {
        publisher.publish(topic, payload.clone(), false).await.expect("taken on");
    }
    publisher.confirmed(WITHIN).await.expect("confirmed in time");
}

/// A connection that publishes with QoS 1, and again until it is confirmed.
pub fn publisher(address: &str) -> Publisher {
    let url = format!("mqtt://{address}");
    let target = device_sim::publish::Target::parse(&url).expect("an address");
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let transport = Transport {
        client_id: format!("test-{}-{id}", std::process::id()),
        ..transport(target.port, "unused", "")
    };
    Publisher::start(&transport, None).expect("a client")
}

/// Client ids differ: a broker ends the older of two that are the same.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A message of a device of class `machine`.
pub fn report(device: &str, payload: &str) -> (String, Vec<u8>) {
    (format!("plant/上海-1/machine/{device}/telemetry"), payload.as_bytes().to_vec())
}

/// Raises at once over 80, returns at once under 70.
pub const HOT: &str = r#"
[[rule]]
id = "hot"
match = { class = "machine" }
when = "temp_c > 80"
clear_when = "temp_c < 70"
severity = "critical"
title = { zh = "过热 {{ temp_c }}", en = "Hot: {{ temp_c }}" }
"#;
