//! JSON Lines as a recording: one line is one message.

use std::io::BufRead;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::Deserialize;

use super::physical::{self, Lines};
use super::{Messages, Recorded, RecordingError, check_topic};

#[derive(Debug, Deserialize)]
struct Line {
    ts: Option<String>,
    /// Milliseconds since 1970, in captures.
    rx_ms: Option<i64>,
    topic: String,
    payload: Option<String>,
    #[serde(alias = "b64")]
    payload_b64: Option<String>,
    #[serde(default)]
    retain: bool,
    #[serde(default = "at_least_once")]
    qos: u8,
}

fn at_least_once() -> u8 {
    1
}

pub(super) fn read(path: &Path, reader: Box<dyn BufRead + Send>) -> Messages {
    let path = path.to_owned();
    Box::new(Lines::new(reader).filter_map(move |line| {
        let line = match line {
            Ok(line) => line,
            Err(cause) => return Some(Err(RecordingError::Io { path: path.clone(), cause })),
        };
        let parsed = match line.text {
            Some(text) if text.iter().all(u8::is_ascii_whitespace) => return None,
            Some(text) => parse(&text),
            None => Err(physical::too_long()),
        };
        let (path, line) = (path.clone(), line.number);
        Some(parsed.map_err(|cause| RecordingError::Line { path, line, cause }))
    }))
}

fn parse(text: &[u8]) -> Result<Recorded, String> {
    let line: Line = serde_json::from_slice(text).map_err(|error| {
        // The place is a column of the one line: its number is told by who reads the file.
        let cause = error.to_string();
        let cause = cause.split(" at line ").next().unwrap_or_default();
        format!("{cause} (column {}); a line has \"ts\", \"topic\" and \"payload\"", error.column())
    })?;
    let at_us = match (&line.ts, line.rx_ms) {
        (Some(ts), _) => DateTime::parse_from_rfc3339(ts)
            .map_err(|_| format!("\"{ts}\" is not an RFC 3339 time"))?
            .timestamp_micros(),
        (None, Some(ms)) => DateTime::from_timestamp_millis(ms)
            .ok_or_else(|| format!("\"rx_ms\": {ms} is no time"))?
            .timestamp_micros(),
        (None, None) => return Err("there is no \"ts\"".to_owned()),
    };
    let payload = match (line.payload, line.payload_b64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(&text).map_err(|error| format!("\"payload_b64\": {error}"))?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err("write either \"payload\" or \"payload_b64\"".to_owned());
        }
    };
    let Line { topic, retain, qos, .. } = line;
    check_topic(&topic)?;
    Ok(Recorded { at_us, topic, payload, retain, qos })
}
