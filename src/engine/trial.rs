//! `[[test]]`s of rule files, run on the real engine.

use super::detect::{RuleTest, TestSample};
use super::pipeline::Settings;
use super::policy::Policy;
use super::register::Register;
use super::rehearsal::{Rehearsal, event_word};
use super::types::decision::Decision;
use super::types::input::Input;
use super::types::message::Reading;
use super::types::time::{TimeSpan, Timestamp};

/// Where a test begins: 2026-01-01T00:00:00Z, a Thursday.
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Exactly what was expected has happened.
    pub ok: bool,
    /// What had to happen, as `11m raised freezer-too-warm`.
    pub expected: Vec<String>,
    /// What happened.
    pub got: Vec<String>,
}

/// Runs one test on a fresh engine with the given rules. `closed` is compared only where the test
/// names it: most tests end with the return.
pub fn run(test: &RuleTest, settings: &Settings, policy: Policy) -> Verdict {
    let names_closed = test.expect.iter().any(|expected| expected.event == "closed");
    let mut settings = settings.clone();
    settings.restart_grace = TimeSpan::ZERO;
    // A test speaks of the rules as they are written, and of its own device.
    let policy = Policy { register: Register::default(), ..policy };
    let mut rehearsal = Rehearsal::new(settings, policy, START);
    let mut samples: Vec<&TestSample> = test.samples.iter().collect();
    samples.sort_by_key(|sample| sample.at);
    for sample in samples {
        let readings =
            sample.readings.iter().map(|(name, value)| (name.clone(), Reading::Good(value.into())));
        let at = START + sample.at;
        let facts = test.device.clone();
        rehearsal.receive(at, Input::Readings { facts, at, readings: readings.collect() });
    }
    rehearsal.advance(START + test.until);
    let mut got = Vec::new();
    for decision in &rehearsal.decisions {
        let Decision::Alarm { id, event, at, .. } = decision else {
            continue;
        };
        let Some(word) = event_word(*event) else {
            continue;
        };
        if word != "closed" || names_closed {
            got.push(line(at.since(START), word, &id.rule));
        }
    }
    let expected: Vec<String> = test
        .expect
        .iter()
        .map(|expected| line(expected.at, &expected.event, &expected.rule.value))
        .collect();
    Verdict { ok: expected == got, expected, got }
}

fn line(at: TimeSpan, event: &str, rule: &str) -> String {
    let seconds = TimeSpan::from_secs(at.micros().div_euclid(1_000_000));
    format!("{seconds} {event} {rule}")
}
