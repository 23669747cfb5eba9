//! What a fleet is: classes of devices, their faults, and how badly they behave.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// The ready-made fleet of `faultgate demo`.
const DEMO: &str = include_str!("../scenarios/demo.toml");

/// Most devices of a fleet.
const DEVICES_MAX: u64 = 100_000;

/// A fleet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Kinds of devices.
    #[serde(rename = "class")]
    pub classes: Vec<Class>,
    /// What breaks.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What goes dead.
    #[serde(default, rename = "outage")]
    pub outages: Vec<Outage>,
    /// How badly the devices and their links behave.
    #[serde(default)]
    pub disturbance: Disturbance,
}

/// A kind of device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Class in the topic.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Id of each, with `{n}` for its number from 1.
    pub device: String,
    /// Site of each, with `{n}`.
    #[serde(default = "site")]
    pub site: String,
    /// Time between two reports.
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// Topic of the reports.
    #[serde(default = "telemetry")]
    pub topic: String,
    /// Topic of the last will and of the birth; empty for none.
    #[serde(default)]
    pub presence: String,
    /// What they measure.
    #[serde(rename = "metric")]
    pub metrics: Vec<Metric>,
}

/// One metric: `base + daily * cos(hour - peak) + noise`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name in the payload.
    pub name: String,
    /// Normal value.
    pub base: f64,
    /// Standard deviation of the noise.
    #[serde(default)]
    pub noise: f64,
    /// Half of the difference between the day's highest and lowest.
    #[serde(default)]
    pub daily: f64,
    /// Hour of the highest, UTC.
    #[serde(default)]
    pub peak_hour: f64,
    /// Digits after the point; 0 for whole numbers.
    #[serde(default = "digits")]
    pub digits: u32,
}

/// A fault: one metric of some devices goes to `target`, and back if it ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Class of the devices.
    pub class: String,
    /// Number of the first of them, from 1.
    #[serde(default = "first")]
    pub first: u32,
    /// How many.
    #[serde(default = "first")]
    pub devices: u32,
    /// What goes wrong.
    pub metric: String,
    /// The value at its worst.
    pub target: f64,
    /// When it begins at the first device.
    #[serde(deserialize_with = "duration")]
    pub start: Duration,
    /// How long it takes to get there.
    #[serde(default, deserialize_with = "duration")]
    pub ramp: Duration,
    /// When it is over; without it, it stays.
    #[serde(default, deserialize_with = "some_duration")]
    pub end: Option<Duration>,
    /// How much later it begins at each further device.
    #[serde(default, deserialize_with = "duration")]
    pub spread: Duration,
    /// How far the value swings around `target`, like a sine.
    #[serde(default)]
    pub wobble: f64,
    /// Time of one swing.
    #[serde(default = "swing", deserialize_with = "duration")]
    pub wobble_every: Duration,
}

/// Devices that go dead, without a goodbye: the broker publishes the last will of those that have
/// a presence topic, the others just fall silent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Class of the devices.
    pub class: String,
    /// Number of the first of them, from 1.
    #[serde(default = "first")]
    pub first: u32,
    /// How many.
    #[serde(default = "first")]
    pub devices: u32,
    /// When the first goes dead.
    #[serde(deserialize_with = "duration")]
    pub start: Duration,
    /// When it is back; without it, never.
    #[serde(default, deserialize_with = "some_duration")]
    pub end: Option<Duration>,
    /// How much later each further device goes.
    #[serde(default, deserialize_with = "duration")]
    pub spread: Duration,
}

/// Shares from 0 to 1 of messages or devices that misbehave.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disturbance {
    /// Messages that come twice.
    pub duplicates: f64,
    /// Messages that come up to five seconds late.
    pub out_of_order: f64,
    /// Messages that are no telemetry at all.
    pub junk: f64,
    /// Reports after which a device with a presence topic loses its connection for a while.
    pub disconnects: f64,
    /// Devices whose clock is an hour off.
    pub wrong_clock: f64,
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{file}: {cause}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is not a scenario.
    #[error("{file}: {cause}")]
    Toml {
        /// The file.
        file: String,
        /// With line and column.
        cause: Box<toml::de::Error>,
    },
    /// A number that makes no sense.
    #[error("{file}: `{name}` {cause}")]
    Range {
        /// The file.
        file: String,
        /// Class, fault or share.
        name: String,
        /// What is wrong.
        cause: &'static str,
    },
    /// A fault or an outage names something that is not there.
    #[error("{file}: a fault or an outage names `{name}`, which no class has")]
    Unknown {
        /// The file.
        file: String,
        /// Class or metric.
        name: String,
    },
}

impl Scenario {
    /// The fleet of `faultgate demo`.
    ///
    /// # Errors
    /// Never: a test reads it.
    pub fn demo() -> Result<Scenario, ScenarioError> {
        Scenario::parse("demo.toml", DEMO)
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Scenario::parse(&file, &text),
            Err(cause) => Err(ScenarioError::Io { file, cause }),
        }
    }

    fn parse(file: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let file = file.to_owned();
        let scenario: Scenario = match toml::from_str(text) {
            Ok(scenario) => scenario,
            Err(cause) => return Err(ScenarioError::Toml { file, cause: Box::new(cause) }),
        };
        scenario.check(&file)?;
        let named = |name: &str| match scenario.classes.iter().find(|class| class.name == name) {
            Some(class) => Ok(class),
            None => Err(ScenarioError::Unknown { file: file.clone(), name: name.to_owned() }),
        };
        for outage in &scenario.outages {
            named(&outage.class)?;
        }
        for fault in &scenario.faults {
            let class = named(&fault.class)?;
            if class.metrics.iter().all(|metric| metric.name != fault.metric) {
                return Err(ScenarioError::Unknown { file, name: fault.metric.clone() });
            }
        }
        Ok(scenario)
    }

    /// Numbers that no run could make sense of.
    fn check(&self, file: &str) -> Result<(), ScenarioError> {
        let wrong = |name: &str, cause| {
            Err(ScenarioError::Range { file: file.to_owned(), name: name.to_owned(), cause })
        };
        if self.classes.iter().map(|class| u64::from(class.count)).sum::<u64>() > DEVICES_MAX {
            return wrong("count", "adds up to more than 100000 devices");
        }
        for class in &self.classes {
            if class.every.is_zero() {
                return wrong(&class.name, "reports every 0s: write a longer time");
            }
            if class.count > 1 && !class.device.contains("{n}") {
                return wrong(
                    &class.name,
                    "has several devices of one id: write {n} into `device`",
                );
            }
            let same = self.classes.iter().filter(|other| other.device == class.device);
            if !class.presence.is_empty() && same.count() > 1 {
                return wrong(
                    &class.name,
                    "has the ids of another class: they would share a client id",
                );
            }
            let finite =
                |m: &Metric| [m.base, m.noise, m.daily, m.peak_hour].iter().all(|n| n.is_finite());
            if let Some(metric) = class.metrics.iter().find(|metric| !finite(metric)) {
                return wrong(&metric.name, "has a number that is not finite");
            }
        }
        for fault in &self.faults {
            if fault.end.is_some_and(|end| end <= fault.start) {
                return wrong(&fault.metric, "ends before it starts");
            }
            if !fault.target.is_finite() || !fault.wobble.is_finite() {
                return wrong(&fault.metric, "has a fault with a number that is not finite");
            }
            if fault.wobble_every.is_zero() {
                return wrong(&fault.metric, "swings every 0s: write a longer time");
            }
        }
        for outage in &self.outages {
            if outage.end.is_some_and(|end| end <= outage.start) {
                return wrong(&outage.class, "has an outage that ends before it starts");
            }
        }
        let Disturbance { duplicates, out_of_order, junk, disconnects, wrong_clock } =
            self.disturbance;
        for (name, share) in [
            ("duplicates", duplicates),
            ("out_of_order", out_of_order),
            ("junk", junk),
            ("disconnects", disconnects),
            ("wrong_clock", wrong_clock),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(name, "is a share: from 0 to 1");
            }
        }
        Ok(())
    }

    /// How many devices.
    pub fn devices(&self) -> u32 {
        self.classes.iter().map(|class| class.count).sum()
    }
}

fn site() -> String {
    "site-1".to_owned()
}

fn telemetry() -> String {
    "plant/{site}/{class}/{device}/telemetry".to_owned()
}

fn digits() -> u32 {
    2
}

fn first() -> u32 {
    1
}

fn swing() -> Duration {
    Duration::from_secs(60)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        de::Error::custom(format!(
            "\"{text}\" is not a duration; write \"500ms\", \"30s\" or \"5m\""
        ))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// `500ms`, `30s`, `5m`, `2h`, `1d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = "[[class]]\nname = \"泵\"\ncount = 2\ndevice = \"p-{n}\"\nevery = \"1s\"\n\
                         presence = \"p/{device}\"\n[[class.metric]]\nname = \"t\"\nbase = 1\n";

    fn told(text: &str) -> String {
        Scenario::parse("s.toml", text).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn a_scenario_that_makes_no_sense_is_refused_with_the_reason() {
        assert_eq!(told(CLASS), "");
        let fault = format!(
            "{CLASS}[[fault]]\nclass = \"泵\"\nmetric = \"t\"\ntarget = 1\nstart = \"5s\"\n"
        );
        let cases = [
            (CLASS.replace("1s", "0s"), "`泵` reports every 0s"),
            (CLASS.replace("p-{n}", "p"), "write {n} into `device`"),
            (CLASS.replace("count = 2", "count = 100001"), "more than 100000"),
            (CLASS.replace("base = 1", "base = nan"), "`t` has a number that is not finite"),
            (format!("{CLASS}{CLASS}"), "they would share a client id"),
            (fault.replace("\"t\"\ntarget", "\"x\"\ntarget"), "names `x`, which no class has"),
            (format!("{fault}end = \"5s\"\n"), "ends before it starts"),
            (format!("{fault}wobble_every = \"0s\"\n"), "swings every 0s"),
            (format!("{CLASS}[[outage]]\nclass = \"x\"\nstart = \"5s\"\n"), "names `x`"),
            (format!("{CLASS}[disturbance]\njunk = 2\n"), "`junk` is a share"),
            (CLASS.replace("\"1s\"", "\"1 s\""), "is not a duration"),
        ];
        for (text, part) in cases {
            assert!(told(&text).contains(part), "{part} in {:?}", told(&text));
        }
    }
}
