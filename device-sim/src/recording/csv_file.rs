//! CSV as a recording: one row is one message with a JSON payload.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use serde_json::{Map, Value};

use super::{Messages, Recorded, RecordingError};

/// Most columns of a file.
const COLUMNS_MAX: usize = 1_000;

/// How the columns of a CSV file become messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvMapping {
    /// Column of the time, RFC 3339.
    pub timestamp: String,
    /// Column of the device's id; `None` for the name of the file.
    pub device: Option<String>,
    /// Columns that are metrics; empty for all others.
    pub metrics: Vec<String>,
    /// Class of the devices.
    pub class: String,
    /// Topic, with `{class}` and `{device}`.
    pub topic: String,
}

impl Default for CsvMapping {
    fn default() -> Self {
        CsvMapping {
            timestamp: "ts".to_owned(),
            device: None,
            metrics: Vec::new(),
            class: "device".to_owned(),
            topic: "plant/site/{class}/{device}/telemetry".to_owned(),
        }
    }
}

pub(super) fn read(
    path: &Path,
    reader: Box<dyn BufRead + Send>,
    mapping: &CsvMapping,
) -> Result<Messages, RecordingError> {
    let wrong = |cause: String| RecordingError::Line { path: path.to_owned(), line: 1, cause };
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
    let head = rows.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let columns: Vec<String> = head.iter().map(str::to_owned).collect();
    if columns.len() > COLUMNS_MAX {
        return Err(wrong(format!("more than {COLUMNS_MAX} columns")));
    }
    let column = |name: &str| columns.iter().position(|column| column == name);
    let timestamp = column(&mapping.timestamp)
        .ok_or_else(|| wrong(format!("there is no column `{}`", mapping.timestamp)))?;
    let device = match &mapping.device {
        Some(name) => {
            Some(column(name).ok_or_else(|| wrong(format!("there is no column `{name}`")))?)
        }
        None => None,
    };
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let table = Table {
        path: path.to_owned(),
        columns,
        timestamp,
        device,
        stem: stem.unwrap_or_default(),
        mapping: mapping.clone(),
    };
    let rows = rows.into_records().enumerate();
    Ok(Box::new(rows.map(move |(index, row)| {
        let wrong = |cause| {
            let line = index + 2;
            RecordingError::Line { path: table.path.clone(), line, cause }
        };
        let row = row.map_err(|error| wrong(error.to_string()))?;
        table.message(&row).map_err(wrong)
    })))
}

struct Table {
    path: PathBuf,
    columns: Vec<String>,
    timestamp: usize,
    device: Option<usize>,
    stem: String,
    mapping: CsvMapping,
}

impl Table {
    fn message(&self, row: &csv::StringRecord) -> Result<Recorded, String> {
        let ts = row.get(self.timestamp).unwrap_or("").trim();
        let at = DateTime::parse_from_rfc3339(ts)
            .map_err(|_| format!("\"{ts}\" is not an RFC 3339 time"))?;
        let device = match self.device {
            Some(column) => row.get(column).unwrap_or("").trim(),
            None => &self.stem,
        };
        let mut payload = Map::new();
        for (index, (name, cell)) in self.columns.iter().zip(row.iter()).enumerate() {
            let is_metric = index != self.timestamp
                && Some(index) != self.device
                && (self.mapping.metrics.is_empty() || self.mapping.metrics.contains(name));
            if is_metric && !cell.trim().is_empty() {
                payload.insert(name.clone(), value(cell.trim()));
            }
        }
        payload.insert("ts".to_owned(), Value::from(ts));
        let topic =
            self.mapping.topic.replace("{class}", &self.mapping.class).replace("{device}", device);
        let payload = Value::Object(payload).to_string().into_bytes();
        Ok(Recorded { at_us: at.timestamp_micros(), topic, payload, retain: false, qos: 1 })
    }
}

/// A number where the cell is a finite one, else the text as it stands.
fn value(cell: &str) -> Value {
    if let Ok(whole) = cell.parse::<i64>() {
        return Value::from(whole);
    }
    let number = cell.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map_or_else(|| Value::from(cell), Value::Number)
}
