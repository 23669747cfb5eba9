//! `[[test]]`s of rule files: samples of one device, and what its rules must do with them.

use crate::engine::types::device::DeviceFacts;
use crate::engine::types::document::{Located, Scalar, Table};
use crate::engine::types::time::TimeSpan;

/// Most samples of one test.
const SAMPLES_MAX: usize = 10_000;

/// One `[[test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTest {
    /// File that it stands in.
    pub file: String,
    /// What it shows.
    pub name: String,
    /// The device that reports.
    pub device: DeviceFacts,
    /// What it reports, in the order of the file.
    pub samples: Vec<TestSample>,
    /// When the test ends, from its start.
    pub until: TimeSpan,
    /// What must happen, in order, and nothing else.
    pub expect: Vec<Expectation>,
}

/// One sample of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSample {
    /// Time from the start of the test.
    pub at: TimeSpan,
    /// Metric and value.
    pub readings: Vec<(String, Scalar)>,
}

/// One thing that must happen, exact to the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Time from the start of the test.
    pub at: TimeSpan,
    /// The rule.
    pub rule: Located<String>,
    /// `raised`, `returned` or `closed`.
    pub event: String,
}

/// Reads every `[[test]]` of a file.
pub fn read_tests(table: &Table<'_>) -> Vec<RuleTest> {
    let file = table.place().source.file.clone();
    table.tables("test", |entry| read_test(entry, &file))
}

fn read_test(table: &Table<'_>, file: &str) -> Option<RuleTest> {
    let name = table.required::<String>("name");
    let device = table.table("device", |entry| Some(read_device(entry))).unwrap_or_default();
    let samples = table.tables("samples", read_sample);
    if samples.len() > SAMPLES_MAX {
        let message = format!("a test has at most {SAMPLES_MAX} samples");
        table.place().error(table.span(), "too-many", message, "replay a recording instead");
    }
    let last = samples.iter().map(|sample| sample.at).max().unwrap_or(TimeSpan::ZERO);
    let until = table.or("until", last);
    if until < last {
        let message = format!("`until` ({until}) is before the last sample ({last})");
        table.place().error(table.span(), "wrong-value", message, "make it later");
    }
    let expect = table.tables("expect", read_expectation);
    Some(RuleTest { file: file.to_owned(), name: name?, device, samples, until, expect })
}

fn read_device(table: &Table<'_>) -> DeviceFacts {
    DeviceFacts::read(table, table.or("id", "device".to_owned()))
}

fn read_sample(table: &Table<'_>) -> Option<TestSample> {
    let at = table.required::<TimeSpan>("at");
    let readings = table
        .entries()
        .into_iter()
        .filter(|(name, _)| name.value != "at")
        .filter_map(|(name, value)| Some((name.value, value.read()?)))
        .collect();
    Some(TestSample { at: at?, readings })
}

fn read_expectation(table: &Table<'_>) -> Option<Expectation> {
    let at = table.required::<TimeSpan>("at");
    let rule = table.required::<Located<String>>("rule");
    let event = table.required::<Located<String>>("event")?;
    let known = ["raised", "returned", "closed"];
    if !known.contains(&event.value.as_str()) {
        let message = format!("`event`: \"{}\" is not one of {}", event.value, known.join(", "));
        table.place().error(event.span, "wrong-value", message, "");
        return None;
    }
    Some(Expectation { at: at?, rule: rule?, event: event.value })
}
