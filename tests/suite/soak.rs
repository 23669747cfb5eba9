//! A gateway under steady load, with faults, returns and new rules, for as long as it is asked to:
//! what it takes of memory and disk, and that each fault had one ticket.
//!
//! `FAULTGATE_SOAK_SECONDS=1800 FAULTGATE_SOAK_OUT=docs` writes `soak.csv` and the plot `soak.svg`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::{Gateway, HOT, Home, publisher};
use crate::mosquitto::Mosquitto;
use crate::real::{Load, asked, send};

/// Seconds where nothing else is asked for.
const SECONDS: usize = 6;
const RATE: usize = 2_000;
/// Faults a second; each returns after [`FAULT_LASTS`].
const FAULTS_PER_SECOND: usize = 4;
const FAULT_LASTS: usize = 10 * FAULTS_PER_SECOND;
/// Devices that have them in turn, again and again: a fleet does not grow.
const DEVICES: usize = 400;
/// Faults between two new sets of rules, and two looks at memory and disk.
const RELOAD_EACH: usize = 5 * FAULTS_PER_SECOND;
const SAMPLE_EACH: usize = 2 * FAULTS_PER_SECOND;
/// Past what the program and the caches of its two stores need: whatever comes to it, grows.
const MEMORY_MAX_MB: f64 = 200.0;

#[derive(Clone, Copy)]
struct Sample {
    second: f64,
    memory_mb: f64,
    disk_mb: f64,
}

/// MB (10^6 bytes) of the files below a folder.
fn disk(folder: &Path) -> f64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0.0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk(&entry.path()),
        Ok(data) => data.len() as f64 / 1e6,
        Err(_) => 0.0,
    });
    sizes.sum()
}

fn device(fault: usize) -> String {
    format!("泵-{}", fault % DEVICES)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_under_load_keeps_its_size_and_has_one_ticket_for_each_fault() {
    let Some(broker) = Mosquitto::start() else { return };
    let seconds = asked("FAULTGATE_SOAK_SECONDS", SECONDS);
    // A device has a fault every minute or two, which is flapping to anybody else.
    let rules = format!("{HOT}flapping = {{ enabled = false }}\n");
    let home = Home::new(&rules, &broker.source());
    let gateway = home.start();
    gateway.ready().await;
    let publisher = publisher(&broker.address());
    let load = Load::start(&broker.address(), asked("FAULTGATE_RATE", RATE));
    let (began, mut samples, mut reloads) = (Instant::now(), Vec::new(), 0);
    let faults = seconds * FAULTS_PER_SECOND;
    let other = rules.replace("> 80", "> 85").replace("Hot", "Too hot");
    for number in 0..faults + FAULT_LASTS {
        let due = Duration::from_secs_f64(number as f64 / FAULTS_PER_SECOND as f64);
        tokio::time::sleep_until(began + due).await;
        if number < faults {
            send(&publisher, &device(number), 90).await;
        }
        if let Some(over) = number.checked_sub(FAULT_LASTS) {
            send(&publisher, &device(over), 60).await;
        }
        if number % RELOAD_EACH == 0 {
            home.write_rules(if reloads % 2 == 0 { &other } else { &rules });
            assert_eq!(gateway.post("/api/v1/rules/reload").await.0, 200);
            reloads += 1;
        }
        if number % SAMPLE_EACH == 0 {
            samples.push(Sample {
                second: began.elapsed().as_secs_f64(),
                memory_mb: gateway.memory("VmRSS"),
                disk_mb: disk(home.path()),
            });
        }
    }
    publisher.confirmed(Duration::from_secs(60)).await.expect("confirmed");
    let (sent, per_second) = load.end().await;
    let distinct = faults.min(DEVICES);
    let open = settled(&gateway, sent + 2 * faults).await;
    let tickets = gateway.get("/api/v1/tickets").await;
    let count = tickets["tickets"].as_array().map_or(0, Vec::len);
    let last = *samples.last().expect("a sample");
    let most = samples.iter().map(|sample| sample.memory_mb).fold(0.0, f64::max);
    println!(
        "{seconds} s: {sent} messages ({per_second:.0}/s), {faults} faults on {distinct} devices, {reloads} reloads: {count} tickets, {open} open; {most:.0} MB at the most, {:.0} MB and {:.0} MB of disk in the end",
        last.memory_mb, last.disk_mb
    );
    write_out(&samples);
    assert_eq!((count, open), (distinct, 0));
    assert!(most < MEMORY_MAX_MB, "{most} MB");
}

/// Waits until all messages were taken in and nothing waits; how many tickets are open then.
async fn settled(gateway: &Gateway, messages: usize) -> usize {
    let began = Instant::now();
    loop {
        let received = gateway.counted("faultgate_messages_received_total").await;
        let tickets = gateway.get("/api/v1/tickets").await;
        let tickets = tickets["tickets"].as_array().cloned().unwrap_or_default();
        let open = tickets.iter().filter(|ticket| ticket["status"] != "resolved").count();
        if received >= messages && gateway.outbox().await == 0 && open == 0 {
            return open;
        }
        let late = began.elapsed() > Duration::from_secs(60);
        assert!(!late, "{received} of {messages} messages taken in, {open} tickets open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Writes table and plot where `FAULTGATE_SOAK_OUT` says.
fn write_out(samples: &[Sample]) {
    let Some(folder) = std::env::var_os("FAULTGATE_SOAK_OUT") else { return };
    let folder = Path::new(&folder);
    let mut csv = "second,memory_mb,disk_mb\n".to_owned();
    for Sample { second, memory_mb, disk_mb } in samples {
        writeln!(csv, "{second:.1},{memory_mb:.1},{disk_mb:.1}").expect("a text");
    }
    std::fs::write(folder.join("soak.csv"), csv).expect("written");
    std::fs::write(folder.join("soak.svg"), plot(samples)).expect("written");
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 60.0;

/// Memory and disk over time, both from 0 in MB.
fn plot(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, |sample| sample.second).max(1.0);
    let top =
        samples.iter().map(|sample| sample.memory_mb.max(sample.disk_mb)).fold(10.0, f64::max);
    let step = [5.0, 10.0, 20.0, 50.0, 100.0, 200.0].into_iter().find(|step| top / step <= 6.0);
    let step = step.unwrap_or(500.0);
    let x = |second: f64| MARGIN + second / end * WIDTH;
    let y = |mb: f64| MARGIN / 2.0 + HEIGHT * (1.0 - mb / (top * 1.1));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
        WIDTH + MARGIN * 2.0,
        HEIGHT + MARGIN * 1.5,
    );
    for line in 0..=(top * 1.1 / step) as usize {
        let mb = line as f64 * step;
        let (left, right, at) = (MARGIN, MARGIN + WIDTH, y(mb));
        writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mb:.0} MB</text>",
            left - 6.0,
            at + 4.0
        )
        .expect("a text");
    }
    for part in 0..=6 {
        let second = end * f64::from(part) / 6.0;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} min</text>",
            x(second),
            y(0.0) + 18.0,
            second / 60.0
        )
        .expect("a text");
    }
    for (number, (name, colour)) in
        [("resident memory", "#1f77b4"), ("disk", "#d62728")].into_iter().enumerate()
    {
        let points: Vec<String> = samples
            .iter()
            .map(|sample| {
                let mb = if number == 0 { sample.memory_mb } else { sample.disk_mb };
                format!("{:.1},{:.1}", x(sample.second), y(mb))
            })
            .collect();
        let (points, at) = (points.join(" "), MARGIN + 10.0 + 130.0 * number as f64);
        writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{at}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            y(0.0) + 40.0
        )
        .expect("a text");
    }
    svg.push_str("</svg>\n");
    svg
}
