//! CSV as a recording: one row is one message with a JSON payload.

use std::collections::VecDeque;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::physical::{self, LINE_BYTES_MAX, Line, Lines};
use super::{Messages, Recorded, RecordingError, check_topic, uncompressed_name};

/// Most columns of a file.
const COLUMNS_MAX: usize = 1_000;
/// Most lines of one row: a quote that is never closed must not swallow the rest of the file.
const ROW_LINES_MAX: usize = 100;
/// Class of devices of which nothing is known.
const CLASS: &str = "device";
/// What Excel writes before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How the columns of a CSV file become messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvMapping {
    /// Column of the time: RFC 3339, or without a zone for UTC.
    pub timestamp: String,
    /// Whose rows they are.
    pub device: CsvDevice,
    /// Columns that are metrics; empty for all others.
    pub metrics: Vec<String>,
    /// Class of the devices; `None` for the name of the folder that was opened, if one was.
    pub class: Option<String>,
    /// Topic, with `{class}` and `{device}`.
    pub topic: String,
}

/// Where a CSV file says whose rows they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CsvDevice {
    /// In its name, without the endings.
    #[default]
    FileName,
    /// In a column.
    Column(String),
    /// Nowhere: all are of this device.
    Fixed(String),
}

impl Default for CsvMapping {
    fn default() -> Self {
        CsvMapping {
            timestamp: "ts".to_owned(),
            device: CsvDevice::default(),
            metrics: Vec::new(),
            class: None,
            topic: "plant/site/{class}/{device}/telemetry".to_owned(),
        }
    }
}

pub(super) fn read(
    path: &Path,
    reader: Box<dyn BufRead + Send>,
    mapping: &CsvMapping,
) -> Result<Messages, RecordingError> {
    let mut rows = Rows { lines: Lines::new(reader), again: VecDeque::new() };
    let wrong = |line, cause: String| RecordingError::Line { path: path.to_owned(), line, cause };
    let head = match rows.next() {
        Some(Ok(Row { line, text })) => {
            let text = text.map_err(|cause| wrong(line, cause))?;
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
            cells(text).map_err(|cause| wrong(line, cause))?
        }
        Some(Err(cause)) => return Err(RecordingError::Io { path: path.to_owned(), cause }),
        None => return Err(wrong(1, "the file is empty; its first line names the columns".into())),
    };
    let table = Table::new(path, &head, mapping).map_err(|cause| wrong(1, cause))?;
    Ok(Box::new(rows.map(move |row| {
        let Row { line, text } =
            row.map_err(|cause| RecordingError::Io { path: table.path.clone(), cause })?;
        let message = text.and_then(|text| table.message(&cells(&text)?));
        message.map_err(|cause| RecordingError::Line { path: table.path.clone(), line, cause })
    })))
}

/// One row, which may go over several lines, and the number of its first line.
struct Row {
    line: usize,
    text: Result<Vec<u8>, String>,
}

/// Puts lines together to rows: a line end between quotes belongs to a cell.
struct Rows {
    lines: Lines,
    /// Lines that were read for a row that never ended; read again as rows of their own.
    again: VecDeque<Line>,
}

impl Rows {
    fn line(&mut self) -> Option<std::io::Result<Line>> {
        match self.again.pop_front() {
            Some(line) => Some(Ok(line)),
            None => self.lines.next(),
        }
    }

    /// The row that begins with `first`, whose quotes are still open.
    fn long_row(&mut self, first: Line, mut state: Quotes) -> std::io::Result<Row> {
        let number = first.number;
        let mut bytes = first.text.as_ref().map_or(0, Vec::len);
        let mut taken = vec![first];
        while taken.len() < ROW_LINES_MAX && bytes <= LINE_BYTES_MAX {
            let Some(line) = self.line().transpose()? else { break };
            let text = line.text.clone();
            taken.push(line);
            // A line that is too long ends the search: its quotes are not known.
            let Some(text) = text else { break };
            bytes += text.len() + 1;
            state = state.after(b"\n").after(&text);
            if state != Quotes::Inside {
                let texts: Vec<Vec<u8>> = taken.into_iter().filter_map(|line| line.text).collect();
                return Ok(Row { line: number, text: Ok(texts.join(&b"\n"[..])) });
            }
        }
        for line in taken.drain(..).skip(1).rev() {
            self.again.push_front(line);
        }
        Ok(Row { line: number, text: Err("a quote is opened and never closed".to_owned()) })
    }
}

impl Iterator for Rows {
    type Item = std::io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.line()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let state = match &line.text {
                None => {
                    return Some(Ok(Row { line: line.number, text: Err(physical::too_long()) }));
                }
                Some(text) if text.iter().all(u8::is_ascii_whitespace) => continue,
                Some(text) => Quotes::Start.after(text),
            };
            if state == Quotes::Inside {
                return Some(self.long_row(line, state));
            }
            let (line, text) = (line.number, line.text.unwrap_or_default());
            return Some(Ok(Row { line, text: Ok(text) }));
        }
    }
}

/// Where in a row a reader stands, as RFC 4180 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// At the first character of a cell.
    Start,
    /// In a cell without quotes, where a quote is a character like any other.
    Plain,
    /// Between quotes.
    Inside,
    /// After a quote that ends the cell, or is the first of two that stand for one.
    Ending,
}

impl Quotes {
    fn after(self, text: &[u8]) -> Quotes {
        text.iter().fold(self, |state, byte| match (state, byte) {
            (Quotes::Inside, b'"') => Quotes::Ending,
            (Quotes::Inside, _) | (Quotes::Start | Quotes::Ending, b'"') => Quotes::Inside,
            (Quotes::Start | Quotes::Plain | Quotes::Ending, b',') => Quotes::Start,
            (Quotes::Start | Quotes::Plain | Quotes::Ending, _) => Quotes::Plain,
        })
    }
}

fn cells(row: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(row)
        .map_err(|_| "the line is not UTF-8; save the file as UTF-8".to_owned())?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(row.len().max(1))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).map_err(|error| error.to_string())?;
    Ok(record.iter().map(str::to_owned).collect())
}

enum Owner {
    Column(usize),
    Fixed(String),
}

struct Table {
    path: PathBuf,
    timestamp: usize,
    owner: Owner,
    /// Columns that become metrics, with their names.
    metrics: Vec<(usize, String)>,
    class: String,
    topic: String,
}

impl Table {
    fn new(path: &Path, columns: &[String], mapping: &CsvMapping) -> Result<Table, String> {
        if columns.len() > COLUMNS_MAX {
            return Err(format!("more than {COLUMNS_MAX} columns"));
        }
        let column = |name: &str| {
            let found = columns.iter().position(|column| column.trim() == name);
            found.ok_or_else(|| {
                format!("there is no column `{name}`; the first line names {}", columns.join(", "))
            })
        };
        let timestamp = column(&mapping.timestamp)?;
        let owner = match &mapping.device {
            CsvDevice::Column(name) => Owner::Column(column(name)?),
            CsvDevice::Fixed(id) => Owner::Fixed(id.clone()),
            CsvDevice::FileName => Owner::Fixed(stem(path)),
        };
        for name in &mapping.metrics {
            column(name)?;
        }
        let is_metric = |index: usize, name: &str| {
            let is_owner = matches!(owner, Owner::Column(column) if column == index);
            let is_wanted =
                mapping.metrics.is_empty() || mapping.metrics.iter().any(|wanted| wanted == name);
            index != timestamp && !is_owner && is_wanted
        };
        let metrics = columns.iter().enumerate().map(|(index, name)| (index, name.trim()));
        let metrics = metrics.filter(|(index, name)| is_metric(*index, name));
        let metrics = metrics.map(|(index, name)| (index, name.to_owned())).collect();
        let class = mapping.class.clone().unwrap_or_else(|| CLASS.to_owned());
        let topic = mapping.topic.clone();
        Ok(Table { path: path.to_owned(), timestamp, owner, metrics, class, topic })
    }

    fn message(&self, row: &[String]) -> Result<Recorded, String> {
        let cell = |index: usize| row.get(index).map_or("", |cell| cell.trim());
        let (at_us, ts) = time(cell(self.timestamp))?;
        let device = match &self.owner {
            Owner::Column(column) => cell(*column),
            Owner::Fixed(id) => id,
        };
        if device.is_empty() {
            return Err("the row says no device".to_owned());
        }
        let mut payload = Map::new();
        for (index, name) in &self.metrics {
            if !cell(*index).is_empty() {
                payload.insert(name.clone(), value(cell(*index)));
            }
        }
        payload.insert("ts".to_owned(), Value::from(ts));
        let topic = self.topic.replace("{class}", &self.class).replace("{device}", device);
        check_topic(&topic)?;
        let payload = Value::Object(payload).to_string().into_bytes();
        Ok(Recorded { at_us, topic, payload, retain: false, qos: 1 })
    }
}

/// The name of a file without its endings.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let length = uncompressed_name(path).trim_end_matches(".csv").len();
    // Lower case has another length in some scripts; then the name stays whole.
    name.get(..length).unwrap_or(&name).to_owned()
}

/// A time in microseconds, and as RFC 3339.
fn time(text: &str) -> Result<(i64, String), String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok((at.timestamp_micros(), text.to_owned()));
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let at: DateTime<Utc> = local
        .ok_or_else(|| format!("\"{text}\" is not a time; write 2026-04-11T03:20:15Z"))?
        .and_utc();
    Ok((at.timestamp_micros(), at.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// A number where the cell is a finite one, else the text as it stands.
fn value(cell: &str) -> Value {
    if let Ok(whole) = cell.parse::<i64>() {
        return Value::from(whole);
    }
    let number = cell.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map_or_else(|| Value::from(cell), Value::Number)
}
