//! Lines of comma-separated values: one sample a line.

use super::readings::Readings;
use super::scalar::parse_bare;
use super::time_field::{self, Clock, TimeUnit};
use super::value::utf8;
use super::{Captured, Heard, METRICS_PER_MESSAGE_MAX, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::document::{Located, Scalar, Table};
use crate::engine::types::message::Reading;
use crate::engine::types::names::{Metric, Names};

/// `[source.csv]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvMapping {
    /// Names of the columns; empty when the first line of each payload has them.
    pub columns: Vec<String>,
    /// What stands between two fields.
    pub separator: u8,
    /// The column of the time, and how it is written.
    pub timestamp: Option<(String, TimeUnit)>,
    /// The column of the device's id.
    pub device: Option<String>,
    /// Values that mean bad quality.
    pub bad: Vec<Scalar>,
}

impl Default for CsvMapping {
    fn default() -> Self {
        CsvMapping {
            columns: Vec::new(),
            separator: b',',
            timestamp: None,
            device: None,
            bad: Vec::new(),
        }
    }
}

/// Reads `[source.csv]`.
pub(super) fn read_mapping(table: &Table<'_>) -> CsvMapping {
    let separator = table.optional::<Located<String>>("separator");
    let byte = separator.as_ref().and_then(|text| match text.value.as_bytes() {
        [byte] if !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
        _ => None,
    });
    if let (Some(separator), None) = (&separator, byte) {
        let message = format!("`separator`: \"{}\" is not one character", separator.value);
        let hint = "for example \",\", \";\" or \"\\t\"";
        table.place().error(separator.span.clone(), "wrong-value", message, hint);
    }
    CsvMapping {
        columns: table.or("columns", Vec::new()),
        separator: byte.unwrap_or(b','),
        timestamp: table.table("timestamp", |entry| {
            let column = entry.required::<String>("column");
            let unit = super::mapping::read_time_unit(entry);
            Some((column?, unit?))
        }),
        device: table.optional("device"),
        bad: table.or("bad", Vec::new()),
    }
}

/// Reads a payload.
pub(super) fn read(
    mapping: &CsvMapping,
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(mapping.separator)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut columns = mapping.columns.clone();
    let mut lines = 0;
    for line in reader.records() {
        let line =
            line.map_err(|error| Refusal::new(Rejection::Undecodable, &error.to_string()))?;
        if line.iter().all(str::is_empty) {
            continue;
        }
        if columns.is_empty() {
            columns = line.iter().map(str::to_owned).collect();
            continue;
        }
        lines += 1;
        if lines > METRICS_PER_MESSAGE_MAX {
            let detail = format!("more than {METRICS_PER_MESSAGE_MAX} lines");
            return Err(Refusal::new(Rejection::TooManyMetrics, &detail));
        }
        if line.len() != columns.len() {
            let detail = format!("{} fields for {} columns", line.len(), columns.len());
            heard.refused.push(Refusal::new(Rejection::Undecodable, &detail));
            continue;
        }
        read_line(mapping, metrics, &captured, &columns, &line, clock, heard)?;
    }
    Ok(())
}

fn read_line(
    mapping: &CsvMapping,
    metrics: &Names<Metric>,
    captured: &Captured,
    columns: &[String],
    line: &csv::StringRecord,
    clock: Clock,
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let mut facts = captured.facts.clone();
    let mut at = None;
    let mut readings = Readings::new(metrics);
    for (column, field) in columns.iter().zip(line) {
        let found = parse_bare(field);
        if let Some((name, unit)) = &mapping.timestamp
            && name == column
        {
            match time_field::read(*unit, found, clock) {
                Ok(time) => at = time,
                Err(refusal) => heard.refused.push(refusal),
            }
        } else if mapping.device.as_ref() == Some(column) {
            facts.id = field.to_owned();
        } else if mapping.bad.iter().any(|bad| found.is(bad)) {
            readings.add(column, Reading::Bad)?;
        } else if !field.is_empty()
            && let Some(reading) = found.reading(1.0, 0.0, &mut heard.refused)
        {
            readings.add(column, reading)?;
        }
    }
    heard.readings(facts, at, readings);
    Ok(())
}

#[cfg(test)]
mod tests;
