//! A fleet as a stream of actions in the order of time: pure, the same bytes for the same seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use crate::scenario::{Class, Fault, Metric, Outage, Scenario};

/// How late a message comes at most that is out of order.
const LATE_MAX: Duration = Duration::from_secs(5);
/// How long a device is away that has lost its connection.
const AWAY: Duration = Duration::from_secs(15);
/// How far off a wrong clock is, in microseconds.
const CLOCK_OFF_US: i64 = 3_600_000_000;
/// Microseconds of a day.
const DAY_US: f64 = 86_400e6;

/// One action of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Time from the start.
    pub at: Duration,
    /// Number of the device, from 0.
    pub device: usize,
    /// What it does.
    pub action: Action,
}

/// What a device does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Comes online; its birth is published by whoever carries this out.
    Connect,
    /// Loses its connection, so that the broker publishes its last will.
    Drop,
    /// Reports.
    Publish {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Vec<u8>,
    },
}

/// A device as the fleet knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its id.
    pub id: String,
    /// Topic of its last will and birth; empty for none.
    pub presence: String,
}

/// The stream of actions.
#[derive(Debug)]
pub struct Fleet {
    devices: Vec<Device>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize, Step)>>,
    sequence: u64,
    start_us: i64,
    scenario: Scenario,
}

#[derive(Debug)]
struct Device {
    info: DeviceInfo,
    class: usize,
    number: u32,
    topic: String,
    clock_off_us: i64,
    random: ChaCha8Rng,
    state: State,
}

/// Whether a device can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Online,
    /// For a while.
    Away,
    /// Until its outage is over.
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Connect,
    Report,
    Drop,
    Die,
    Revive,
    Late(Vec<u8>),
}

impl Fleet {
    /// A fleet whose time begins at `start_us`, microseconds since 1970.
    pub fn new(scenario: &Scenario, seed: u64, start_us: i64) -> Fleet {
        let mut fleet = Fleet {
            devices: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            start_us,
            scenario: scenario.clone(),
        };
        for (index, class) in scenario.classes.iter().enumerate() {
            for number in 1..=class.count {
                fleet.add(index, class, number, seed);
            }
        }
        fleet
    }

    /// The devices, by their numbers.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceInfo> {
        self.devices.iter().map(|device| &device.info)
    }

    fn add(&mut self, class_index: usize, class: &Class, number: u32, seed: u64) {
        let index = self.devices.len();
        let named = |template: &str| {
            template
                .replace("{site}", &class.site)
                .replace("{class}", &class.name)
                .replace("{device}", &class.device)
                .replace("{n}", &number.to_string())
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(index as u64);
        let share = self.scenario.disturbance.wrong_clock;
        let clock_off_us = if random.random::<f64>() < share { CLOCK_OFF_US } else { 0 };
        // Devices do not report in step.
        let phase = class.every.mul_f64(random.random::<f64>());
        let info = DeviceInfo { id: named(&class.device), presence: named(&class.presence) };
        let topic = named(&class.topic);
        let (class, state) = (class_index, State::Away);
        self.devices.push(Device { info, class, number, topic, clock_off_us, random, state });
        self.push(Duration::ZERO, index, Step::Connect);
        self.plan_outages(index, number);
        self.push(phase, index, Step::Report);
    }

    fn plan_outages(&mut self, index: usize, number: u32) {
        let class = self.devices.get(index).map(|device| device.class);
        let Some(class) = class.and_then(|class| self.scenario.classes.get(class)) else { return };
        let hits = |outage: &&Outage| {
            outage.class == class.name && within(outage.first, outage.devices, number)
        };
        let outages: Vec<Outage> = self.scenario.outages.iter().filter(hits).cloned().collect();
        for outage in outages {
            let later = outage.spread * number.saturating_sub(outage.first);
            self.push(outage.start + later, index, Step::Die);
            if let Some(end) = outage.end {
                self.push(end + later, index, Step::Revive);
            }
        }
    }

    fn push(&mut self, at: Duration, device: usize, step: Step) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, device, step)));
    }

    fn report(&mut self, at: Duration, index: usize) -> Option<Planned> {
        let device = self.devices.get_mut(index)?;
        let class = self.scenario.classes.get(device.class)?;
        let every = class.every;
        let payload = payload(&self.scenario, class, device, at, self.start_us);
        let topic = device.topic.clone();
        let disturbance = self.scenario.disturbance;
        let mut chance = |share: f64| share > 0.0 && device.random.random::<f64>() < share;
        let (twice, late) = (chance(disturbance.duplicates), chance(disturbance.out_of_order));
        let (junk, drops) = (chance(disturbance.junk), chance(disturbance.disconnects));
        let delay = LATE_MAX.mul_f64(device.random.random::<f64>());
        let kind = device.random.random_range(0..JUNK_KINDS);
        let is_online = device.state == State::Online;
        let has_presence = !device.info.presence.is_empty();
        self.push(at + every, index, Step::Report);
        if !is_online {
            return None;
        }
        if drops && has_presence {
            self.push(at, index, Step::Drop);
        }
        if twice {
            self.push(at, index, Step::Late(payload.clone()));
        }
        if junk {
            self.push(at, index, Step::Late(junk_payload(kind)));
        }
        if late {
            self.push(at + delay, index, Step::Late(payload));
            return None;
        }
        Some(Planned { at, device: index, action: Action::Publish { topic, payload } })
    }
}

impl Iterator for Fleet {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        loop {
            let Reverse((at, _, index, step)) = self.queue.pop()?;
            let planned = |action| Some(Planned { at, device: index, action });
            let device = self.devices.get_mut(index)?;
            let was = device.state;
            match step {
                Step::Report => {
                    if let Some(planned) = self.report(at, index) {
                        return Some(planned);
                    }
                }
                Step::Connect if was == State::Away => {
                    device.state = State::Online;
                    return planned(Action::Connect);
                }
                Step::Revive => {
                    device.state = State::Online;
                    return planned(Action::Connect);
                }
                Step::Drop if was == State::Online => {
                    device.state = State::Away;
                    self.push(at + AWAY, index, Step::Connect);
                    return planned(Action::Drop);
                }
                Step::Die => {
                    device.state = State::Dead;
                    return planned(Action::Drop);
                }
                Step::Late(payload) if was == State::Online => {
                    let topic = device.topic.clone();
                    return planned(Action::Publish { topic, payload });
                }
                // A device that is dead stays dead, and one that is away says nothing.
                Step::Connect | Step::Drop | Step::Late(_) => {}
            }
        }
    }
}

fn payload(
    scenario: &Scenario,
    class: &Class,
    device: &mut Device,
    at: Duration,
    start_us: i64,
) -> Vec<u8> {
    let at_us = start_us.saturating_add(i64::try_from(at.as_micros()).unwrap_or(i64::MAX));
    let mut object = Map::new();
    object.insert("ts".to_owned(), Value::from((at_us + device.clock_off_us) / 1_000));
    for metric in &class.metrics {
        let mut value = normal(metric, at_us) + metric.noise * gaussian(&mut device.random);
        for fault in scenario.faults.iter().filter(|fault| {
            fault.class == class.name && fault.metric == metric.name && hits(fault, device.number)
        }) {
            value += (target(fault, at) - value) * strength(fault, device.number, at);
        }
        object.insert(metric.name.clone(), rounded(value, metric.digits));
    }
    Value::Object(object).to_string().into_bytes()
}

fn normal(metric: &Metric, at_us: i64) -> f64 {
    let hour = (at_us as f64).rem_euclid(DAY_US) / DAY_US * 24.0;
    metric.base + metric.daily * ((hour - metric.peak_hour) / 24.0 * TAU).cos()
}

fn rounded(value: f64, digits: u32) -> Value {
    if digits == 0 {
        return Value::from(value.round() as i64);
    }
    let scale = 10_f64.powi(digits.min(12) as i32);
    Value::from((value * scale).round() / scale)
}

/// A standard normal number (Box and Muller, 1958).
fn gaussian(random: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
}

fn hits(fault: &Fault, number: u32) -> bool {
    within(fault.first, fault.devices, number)
}

fn within(first: u32, count: u32, number: u32) -> bool {
    (first..first.saturating_add(count)).contains(&number)
}

/// Where a fault draws the value to.
fn target(fault: &Fault, at: Duration) -> f64 {
    let since = at.saturating_sub(fault.start).as_secs_f64();
    fault.target + fault.wobble * (since / fault.wobble_every.as_secs_f64() * TAU).sin()
}

/// From 0, no fault, to 1, at its worst.
fn strength(fault: &Fault, number: u32, at: Duration) -> f64 {
    let later = fault.spread * number.saturating_sub(fault.first);
    let start = fault.start + later;
    if at < start || fault.end.is_some_and(|end| at >= end + later) {
        return 0.0;
    }
    if fault.ramp.is_zero() {
        return 1.0;
    }
    ((at - start).as_secs_f64() / fault.ramp.as_secs_f64()).min(1.0)
}

const JUNK_KINDS: u32 = 6;

/// What no decoder should stumble over.
fn junk_payload(kind: u32) -> Vec<u8> {
    match kind {
        0 => b"{\"temp_c\": 1".to_vec(),
        1 => vec![0xff, 0xfe, 0x00, 0x80],
        2 => b"{\"temp_c\": NaN}".to_vec(),
        3 => "[".repeat(5_000).into_bytes(),
        4 => Vec::new(),
        _ => vec![b'x'; 100_000],
    }
}

#[cfg(test)]
mod tests;
