//! Writes recordings.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::Compression;
use serde::Serialize;

use super::{Recorded, RecordingError};

/// How hard zstd tries; its own default.
const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Serialize)]
struct Line<'a> {
    ts: String,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_b64: Option<String>,
    retain: bool,
    qos: u8,
}

/// Writes a recording; a name that ends in `.gz` or `.zst` is compressed.
pub struct Recorder {
    path: PathBuf,
    out: Output,
}

enum Output {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<File>),
    Zstd(zstd::Encoder<'static, File>),
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Output::Plain(out) => out.write_all(bytes),
            Output::Gzip(out) => out.write_all(bytes),
            Output::Zstd(out) => out.write_all(bytes),
        }
    }

    /// Writes what is still in memory, and the end that a compressed file needs.
    fn finish(self) -> std::io::Result<()> {
        match self {
            Output::Plain(mut out) => out.flush(),
            Output::Gzip(out) => out.finish().map(drop),
            Output::Zstd(out) => out.finish().map(drop),
        }
    }
}

impl Recorder {
    /// Makes the file.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(path: &Path) -> Result<Recorder, RecordingError> {
        let io = |cause| RecordingError::Io { path: path.to_owned(), cause };
        let file = File::create(path).map_err(io)?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        let out = match ending {
            "gz" => Output::Gzip(flate2::write::GzEncoder::new(file, Compression::default())),
            "zst" => Output::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL).map_err(io)?),
            _ => Output::Plain(BufWriter::new(file)),
        };
        Ok(Recorder { path: path.to_owned(), out })
    }

    /// Writes one message.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&mut self, recorded: &Recorded) -> Result<(), RecordingError> {
        let at: DateTime<Utc> =
            DateTime::from_timestamp_micros(recorded.at_us).unwrap_or(DateTime::UNIX_EPOCH);
        let text = std::str::from_utf8(&recorded.payload).ok();
        let line = Line {
            ts: at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            topic: &recorded.topic,
            payload: text,
            payload_b64: text.is_none().then(|| STANDARD.encode(&recorded.payload)),
            retain: recorded.retain,
            qos: recorded.qos,
        };
        let io = |cause| RecordingError::Io { path: self.path.clone(), cause };
        let mut json = serde_json::to_vec(&line).map_err(|error| io(error.into()))?;
        json.push(b'\n');
        self.out.write_all(&json).map_err(io)
    }

    /// Ends the file. Without it the last messages may be missing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(self) -> Result<(), RecordingError> {
        let Recorder { path, out } = self;
        out.finish().map_err(|cause| RecordingError::Io { path, cause })
    }
}
