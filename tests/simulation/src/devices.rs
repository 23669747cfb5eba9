//! Devices: machines that get too warm, leak, report codes, return, wobble, fall silent and send
//! later what they kept, or send twice.

use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::chance::Chance;
use crate::model::Value;
use crate::plan::SOURCES;

/// Where devices stand.
pub const SITES: [&str; 2] = ["上海-1", "宁波-2"];
/// Fewest and most devices of a run.
const DEVICES: (i64, i64) = (3, 8);

/// One message of a device.
#[derive(Clone, Debug)]
pub struct Publication {
    /// When it reaches its broker.
    pub at: Timestamp,
    /// Which broker.
    pub source: usize,
    /// Who.
    pub device: String,
    /// Where it stands.
    pub site: &'static str,
    /// The topic.
    pub topic: String,
    /// What it says.
    pub payload: String,
    /// When it was measured, where the device says so.
    pub event: Option<Timestamp>,
    /// What was measured.
    pub values: Vec<(&'static str, Value)>,
}

/// Values of a metric that are well, in between, and faulty.
struct Metric {
    name: &'static str,
    well: (i64, i64),
    between: (i64, i64),
    faulty: (i64, i64),
}

const METRICS: [Metric; 4] = [
    Metric { name: "temp_c", well: (-30, 50), between: (61, 79), faulty: (65, 99) },
    Metric { name: "bar", well: (1, 7), between: (8, 9), faulty: (10, 16) },
    Metric { name: "wet", well: (0, 0), between: (0, 0), faulty: (1, 1) },
    Metric { name: "code", well: (0, 0), between: (7, 9), faulty: (14, 17) },
];

/// Everything that the devices of a run say, in the order in which it reaches the brokers.
pub fn publications(seed: u64, start: Timestamp, end: Timestamp) -> Vec<Publication> {
    let count = Chance::of(seed, "devices", 0).between(DEVICES.0, DEVICES.1);
    let mut all: Vec<Publication> =
        (0..count).flat_map(|number| device(seed, number, start, end)).collect();
    all.sort_by_key(|publication| publication.at);
    all
}

fn device(seed: u64, number: i64, start: Timestamp, end: Timestamp) -> Vec<Publication> {
    let mut chance = Chance::of(seed, "device", usize::try_from(number).unwrap_or(0));
    let name = if number % 2 == 0 { format!("冷柜-{number}") } else { format!("m-{number}") };
    let site = if number % 4 < 2 { SITES[0] } else { SITES[1] };
    let tells_time = chance.percent(60);
    // Its link lets some messages overtake others.
    let is_unruly = tells_time && chance.percent(50);
    let source = chance.below(SOURCES);
    let mut measured = Vec::new();
    for metric in &METRICS {
        if chance.percent(50) {
            measure(&mut chance, metric, is_unruly, (start, end), &mut measured);
        }
    }
    measured.sort_by_key(|(at, _, _)| *at);
    let away = absences(&mut chance, start, end);
    let mut said = Vec::new();
    let mut reached = start;
    for (at, metric, value) in measured {
        let travel = chance.millis(1, 300);
        // The order of one device's messages is kept, if not by its link, that of several is not.
        reached = reached.max(at + travel) + TimeSpan::from_micros(1);
        if let Some((_, back)) = away.iter().find(|(from, to)| *from <= at && at < *to) {
            if !tells_time {
                continue;
            }
            reached = reached.max(*back);
        }
        let text = if metric == "wet" { (value != 0).to_string() } else { value.to_string() };
        let millis = at.micros() / 1_000;
        let time = if tells_time { format!("\"ts\": {millis}, ") } else { String::new() };
        let publication = Publication {
            at: reached,
            source,
            device: name.clone(),
            site,
            topic: format!("plant/{site}/machine/{name}/telemetry"),
            payload: format!("{{{time}\"{metric}\": {text}}}"),
            event: tells_time.then(|| Timestamp::from_millis(millis)),
            values: vec![(metric, Value(value))],
        };
        if chance.percent(5) {
            reached = reached + chance.millis(1, 2_000);
            said.push(Publication { at: reached, ..publication.clone() });
        }
        if tells_time && chance.percent(4) && !said.is_empty() {
            // It is not sure that what it said lately has arrived.
            let back = chance.between(1, 12).min(said.len() as i64) as usize;
            let again = said.iter().rev().take(back).rev().cloned().collect::<Vec<_>>();
            said.extend(again.into_iter().map(|earlier| Publication {
                at: reached.max(earlier.at) + chance.millis(1, 4_000),
                ..earlier
            }));
        }
        if is_unruly && chance.percent(30) {
            let behind = if chance.percent(90) { 9_000 } else { 40_000 };
            let at = reached + chance.millis(1, behind);
            said.push(Publication { at, ..publication });
            continue;
        }
        said.push(publication);
    }
    said
}

/// Times in which nothing of a device comes through.
fn absences(chance: &mut Chance, start: Timestamp, end: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let seconds = end.since(start).micros() / 1_000_000;
    let count = chance.below(3);
    let one = |_| {
        let from = start + chance.secs(0, seconds);
        let to = from + chance.secs(60, 14_400);
        (from, to.clamp(from, end.max(from)))
    };
    (0..count).map(one).collect()
}

/// A metric of a device: well, and now and then not.
fn measure(
    chance: &mut Chance,
    metric: &Metric,
    is_hasty: bool,
    (start, end): (Timestamp, Timestamp),
    out: &mut Vec<(Timestamp, &'static str, i64)>,
) {
    let mut at = start + chance.secs(1, 7_200);
    while at < end {
        let mut say = |at: Timestamp, range: (i64, i64), chance: &mut Chance| {
            if at < end {
                out.push((at, metric.name, chance.between(range.0, range.1)));
            }
        };
        say(at, metric.well, chance);
        if chance.percent(55) {
            at = at + chance.secs(10, 3_600);
            say(at, metric.faulty, chance);
            // Now and then it wobbles so often that it flaps.
            let times = if chance.percent(12) { 12 } else { 5 };
            for _ in 0..chance.below(times) {
                let wait_max = match () {
                    () if is_hasty && chance.percent(60) => 5,
                    () if chance.percent(70) => 90,
                    () => 1_200,
                };
                at = at + chance.secs(1, wait_max);
                let range = match chance.below(3) {
                    0 => metric.well,
                    1 => metric.between,
                    _ => metric.faulty,
                };
                say(at, range, chance);
            }
            at = at + chance.secs(1, 9_000);
            // Some faults stay.
            say(at, if chance.percent(93) { metric.well } else { metric.faulty }, chance);
        }
        at = at + chance.secs(600, 14_400);
    }
}
