//! The real programs that benches measure: a gateway, a Mosquitto, an upstream, and publishers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json as Body;
use axum::extract::State;
use axum::routing::{any, post};
use faultgate::io::upstream::plain_client;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value as Json, json};

/// A gateway in a folder of its own.
pub struct Gateway {
    pub process: Child,
    pub http: String,
    pub mqtt: String,
    pub started_in: Duration,
}

impl Gateway {
    /// Writes `rules` and `config` into `home` and starts it there.
    pub fn start(home: &Path, rules: &str, config: &str) -> Gateway {
        let folder = home.join("rules");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("rules.toml"), rules).unwrap();
        let http = "[http]\nlisten = \"127.0.0.1:0\"\n[storm]\nenabled = false\n";
        std::fs::write(home.join("faultgate.toml"), format!("{http}{config}")).unwrap();
        let began = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_faultgate"))
            .args(["run", "--log", "json", "--config"])
            .arg(home.join("faultgate.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let ready = lines.find_map(|line| {
            let line = line.ok()?;
            let json: Json = serde_json::from_str(&line).ok()?;
            told.push(line);
            (json["message"] == "Ready.").then_some(json)
        });
        let ready = ready.unwrap_or_else(|| panic!("the gateway did not start: {told:#?}"));
        let started_in = began.elapsed();
        std::thread::spawn(move || lines.for_each(drop));
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        Gateway { process, http: text("http"), mqtt: text("mqtt"), started_in }
    }

    /// The lines of a metric.
    pub async fn lines(&self, metric: &str) -> Vec<String> {
        let url = format!("http://{}/metrics", self.http);
        let text = plain_client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
        text.lines().filter(|line| line.starts_with(metric)).map(str::to_owned).collect()
    }

    /// The sum of a counter over its labels.
    pub async fn counted(&self, counter: &str) -> usize {
        let lines = self.lines(counter).await;
        lines.iter().filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    }

    /// The mean of a histogram over its labels.
    pub async fn mean(&self, histogram: &str) -> f64 {
        let lines = self.lines(histogram).await;
        let sum = |part: &str| -> f64 {
            let named = format!("{histogram}_{part}");
            let found = lines.iter().filter(|line| line.starts_with(&named));
            found.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        sum("sum") / sum("count")
    }

    /// Waits until a counter has come to a number.
    pub async fn until(&self, counter: &str, wanted: usize) {
        while self.counted(counter).await < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every source is connected.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.http);
        let client = plain_client().unwrap();
        while !client.get(&url).send().await.unwrap().status().is_success() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn end(process: &mut Child) {
    drop(process.kill());
    drop(process.wait());
}

/// A Mosquitto without persistence on a free port.
pub struct Mosquitto {
    process: Child,
    pub address: String,
    _home: tempfile::TempDir,
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nset_tcp_nodelay true\n"
        );
        std::fs::write(&config, text).unwrap();
        let path = ["mosquitto", "/usr/sbin/mosquitto"];
        let path = path.into_iter().find(|path| Path::new(path).exists()).unwrap_or(path[0]);
        let process = Command::new(path).arg("-c").arg(&config).stderr(Stdio::null()).spawn();
        let process = process.expect("mosquitto is installed: see tests/run.sh");
        let address = format!("127.0.0.1:{port}");
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Mosquitto { process, address, _home: home }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// A ticket system that speaks as the desk does: it takes `answer_in` for a request and remembers
/// when each device's ticket was posted.
#[derive(Clone)]
pub struct Upstream {
    pub url: String,
    posted: Arc<Mutex<BTreeMap<String, Instant>>>,
}

#[derive(Clone)]
struct Desk {
    posted: Arc<Mutex<BTreeMap<String, Instant>>>,
    answer_in: Duration,
}

impl Upstream {
    pub async fn start(answer_in: Duration) -> Upstream {
        let posted: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
        let desk = Desk { posted: Arc::clone(&posted), answer_in };
        let router = axum::Router::new()
            .route("/desk/api/v1/tickets", post(take_ticket))
            .fallback(any(|| async { Body(json!({ "id": "1" })) }))
            .with_state(desk);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Upstream { url, posted }
    }

    /// When the ticket of each device came.
    pub fn posted(&self) -> BTreeMap<String, Instant> {
        self.posted.lock().unwrap().clone()
    }

    /// Waits for so many tickets.
    pub async fn until(&self, tickets: usize) {
        while self.posted.lock().unwrap().len() < tickets {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn take_ticket(State(desk): State<Desk>, Body(ticket): Body<Json>) -> Body<Json> {
    let device = ticket["device"].as_str().unwrap_or_default().to_owned();
    let number = {
        let mut posted = desk.posted.lock().unwrap();
        let again = posted.insert(device.clone(), Instant::now()).is_some();
        assert!(!again, "{device} has two tickets");
        posted.len()
    };
    if !desk.answer_in.is_zero() {
        tokio::time::sleep(desk.answer_in).await;
    }
    Body(json!({ "id": format!("x-{number}"), "replayed": false }))
}

/// CPU seconds that a process has used (`/proc/PID/stat`, fields 14 and 15, 100 ticks a second).
pub fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Resident memory of a process in MB (10^6 bytes): now, and at the most.
pub fn memory(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1_024.0 / 1e6
    };
    (value("VmRSS:"), value("VmHWM:"))
}

pub fn client(address: &str, id: &str) -> (AsyncClient, EventLoop) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut options = MqttOptions::new(id, host, port.parse::<u16>().unwrap());
    options.set_inflight(500);
    AsyncClient::new(options, 1_000)
}

/// Publishes what `message` makes of the numbers below `count`, `rate` a second (0: as fast as it
/// goes), and waits for the last acknowledgement.
pub async fn publish(
    address: &str,
    qos: QoS,
    count: usize,
    rate: usize,
    message: impl Fn(usize) -> (String, String) + Send + 'static,
) {
    static PUBLISHERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = PUBLISHERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (client, mut events) = client(address, &format!("publisher-{number}"));
    let sending = tokio::spawn(async move {
        let began = Instant::now();
        for n in 0..count {
            if rate > 0 && n % 20 == 0 {
                let due = began + Duration::from_secs_f64(n as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
            }
            let (topic, payload) = message(n);
            // The other end goes when the bench has what it wants.
            if client.publish(topic, qos, false, payload).await.is_err() {
                return;
            }
        }
    });
    let mut left = count;
    while left > 0 {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::PubAck(_)) => left -= 1,
            Event::Outgoing(rumqttc::Outgoing::Publish(_)) if qos == QoS::AtMostOnce => left -= 1,
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    sending.await.unwrap();
}

/// Argument that makes the bench the bare subscriber.
pub const SUBSCRIBER: &str = "--subscriber";

/// A bare rumqttc subscriber in a process of its own, that only counts.
pub struct Subscriber {
    pub process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Subscriber {
    /// Returns when it is subscribed.
    pub fn start(address: &str, count: usize) -> Subscriber {
        Subscriber::of([SUBSCRIBER, address, &count.to_string()])
    }

    /// This bench again, with other arguments; returns when it says that it is ready.
    fn of(arguments: [&str; 3]) -> Subscriber {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Subscriber { process, lines }
    }

    /// Returns when it has received them all.
    pub fn wait(mut self) -> Subscriber {
        assert_eq!(self.lines.next().unwrap().unwrap(), "done");
        self
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// What the bare subscriber does.
pub async fn subscribe(address: &str, count: usize, qos: QoS) {
    let (client, mut events) = client(address, "subscriber");
    client.subscribe("plant/#", qos).await.unwrap();
    let mut received = 0;
    loop {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::SubAck(_)) => println!("ready"),
            Event::Incoming(Packet::Publish(_)) => {
                received += 1;
                if received == count {
                    println!("done");
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}

/// Argument that makes the bench the naive loop.
pub const NAIVE: &str = "--naive";

/// A loop that remembers nothing: it posts whatever is in fault, and keeps nothing on disk.
pub fn start_naive(mqtt: &str, url: &str) -> Subscriber {
    Subscriber::of([NAIVE, mqtt, url])
}

/// What the naive loop does.
pub async fn run_naive(address: &str, url: &str) {
    let (client, mut events) = client(address, "naive");
    events.network_options.set_tcp_nodelay(true);
    client.subscribe("plant/#", QoS::AtLeastOnce).await.unwrap();
    let http = plain_client().unwrap();
    loop {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::SubAck(_)) => println!("ready"),
            Event::Incoming(Packet::Publish(message)) => {
                let json: Json = serde_json::from_slice(&message.payload).unwrap();
                if json["fault"] == 1 {
                    let device = message.topic.split('/').nth(3).unwrap().to_owned();
                    let body = json!({ "device": device }).to_string();
                    let url = format!("{url}desk/api/v1/tickets");
                    let request = http.post(url).header("content-type", "application/json");
                    let request = request.body(body);
                    tokio::spawn(async move { request.send().await.unwrap() });
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}

/// The middle, and the value that 99 of 100 stay below, in milliseconds.
pub fn percentiles(mut millis: Vec<f64>) -> (f64, f64) {
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis[((millis.len() - 1) as f64 * share).round() as usize];
    (at(0.5), at(0.99))
}

/// How long the disk takes for a small commit: 4 KiB in the middle of a file, and `fdatasync`.
pub fn sync_times(folder: &Path) -> (f64, f64) {
    use std::os::unix::fs::FileExt;
    const TIMES: u64 = 200;
    let file = std::fs::File::create(folder.join("sync")).unwrap();
    file.write_all_at(&vec![0; 4_096 * TIMES as usize], 0).unwrap();
    file.sync_all().unwrap();
    let mut times = Vec::new();
    for number in 0..TIMES {
        std::thread::sleep(Duration::from_millis(5));
        let began = Instant::now();
        file.write_all_at(&[1; 4_096], number * 4_096).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(times)
}

/// Puts alarms into a store, as a gateway would have left them: ten rules a device, one of them
/// raised, the rest over.
pub fn fill(data: &Path, alarms: usize) {
    use faultgate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState};
    use faultgate::engine::types::device::DeviceFacts;
    use faultgate::engine::types::effect::Write;
    use faultgate::engine::types::time::Timestamp;
    use faultgate::io::journal::Journal;
    use faultgate::io::store::StoreOptions;
    let (journal, _) = Journal::open(data, StoreOptions::default()).unwrap();
    for batch in 0..alarms / 10_000 {
        let mut writes = Vec::new();
        for number in batch * 10_000..(batch + 1) * 10_000 {
            let (device, rule) = (format!("m-{}", number / 10), number % 10);
            let rule_id = format!("r-{rule}");
            let id = AlarmId { rule: rule_id, device: device.clone(), key: Vec::new() };
            let mut record = AlarmRecord::new(id, "r1".into());
            record.changed_at = Timestamp::from_millis(1_767_225_600_000);
            writes.push(Write::Alarm(Box::new(record.clone())));
            if rule > 0 {
                continue;
            }
            record.state = AlarmState::Unacknowledged { clearing: None };
            writes.push(Write::Alarm(Box::new(record)));
            let facts = DeviceFacts {
                id: device,
                class: "machine".into(),
                site: "s".into(),
                ..DeviceFacts::default()
            };
            writes.push(Write::Device(Box::new(facts)));
        }
        journal.commit(&writes).unwrap();
    }
}
