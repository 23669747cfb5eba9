//! Recordings: JSON Lines, plain or compressed, and CSV.
//!
//! A line is `{"ts":"RFC 3339","topic":"...","payload":"...","retain":false,"qos":1}`; a payload
//! that is no text is `"payload_b64"`.

mod csv_file;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::Compression;
use serde::{Deserialize, Serialize};

pub use csv_file::CsvMapping;

/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How hard zstd tries; its own default.
const ZSTD_LEVEL: i32 = 3;
/// First bytes of a gzip file (RFC 1952) and of a zstd frame (RFC 8878).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One message of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Time of receipt, microseconds since 1970.
    pub at_us: i64,
    /// MQTT topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Retained.
    pub retain: bool,
    /// Quality of service.
    pub qos: u8,
}

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file that cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A line that is no message.
    #[error("{}:{line}: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what a line looks like.
        cause: String,
    },
}

/// Messages in the order of their times.
pub type Messages = Box<dyn Iterator<Item = Result<Recorded, RecordingError>> + Send>;

#[derive(Debug, Deserialize, Serialize)]
struct Line {
    ts: String,
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_b64: Option<String>,
    #[serde(default)]
    retain: bool,
    #[serde(default = "at_least_once")]
    qos: u8,
}

fn at_least_once() -> u8 {
    1
}

/// Opens one file: CSV by its ending, anything else as JSON Lines.
///
/// # Errors
/// A file that cannot be opened. A line that is wrong is an error in its place.
pub fn open(path: &Path, csv: &CsvMapping) -> Result<Messages, RecordingError> {
    let reader = reader(path)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
        return csv_file::read(path, reader, csv);
    }
    let path = path.to_owned();
    Ok(Box::new(Lines { path, reader, number: 0 }))
}

/// Opens several files and merges them by time; a folder stands for the CSV and JSON Lines files
/// in it and in its `devices` folder, where the name of the folder is the class of CSV devices.
///
/// # Errors
/// See [`open`].
pub fn open_all(paths: &[PathBuf], csv: &CsvMapping) -> Result<Messages, RecordingError> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.is_dir() {
            let class = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let mapping = CsvMapping { class: class.unwrap_or_default(), ..csv.clone() };
            for file in recordings_in(path)? {
                inputs.push(open(&file, &mapping)?);
            }
        } else {
            inputs.push(open(path, csv)?);
        }
    }
    Ok(Box::new(Merge::new(inputs)))
}

fn recordings_in(folder: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let devices = folder.join("devices");
    let mut files = Vec::new();
    for folder in [folder.to_owned(), devices].into_iter().filter(|folder| folder.is_dir()) {
        let io = |cause| RecordingError::Io { path: folder.clone(), cause };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.to_string_lossy().to_lowercase();
            let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
            let in_devices = path.parent().is_some_and(|folder| folder.ends_with("devices"));
            let is_csv = in_devices && name.ends_with(".csv");
            if is_csv || name.ends_with(".ndjson") || name.ends_with(".jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn reader(path: &Path) -> Result<Box<dyn BufRead + Send>, RecordingError> {
    let io = |cause| RecordingError::Io { path: path.to_owned(), cause };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
    let head = file.fill_buf().map_err(io)?;
    Ok(if head.starts_with(&GZIP_MAGIC) {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else if head.starts_with(&ZSTD_MAGIC) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file).map_err(io)?))
    } else {
        Box::new(file)
    })
}

struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    number: usize,
}

impl Iterator for Lines {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut text = Vec::new();
            let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX as u64);
            match bounded.read_until(b'\n', &mut text) {
                Ok(0) => return None,
                Ok(_) => self.number += 1,
                Err(cause) => {
                    return Some(Err(RecordingError::Io { path: self.path.clone(), cause }));
                }
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let (path, line) = (self.path.clone(), self.number);
            return Some(parse(&text).map_err(|cause| RecordingError::Line { path, line, cause }));
        }
    }
}

fn parse(text: &[u8]) -> Result<Recorded, String> {
    let line: Line = serde_json::from_slice(text)
        .map_err(|error| format!("{error}; a line has \"ts\", \"topic\" and \"payload\""))?;
    let at = DateTime::parse_from_rfc3339(&line.ts)
        .map_err(|_| format!("\"{}\" is not an RFC 3339 time", line.ts))?;
    let payload = match (line.payload, line.payload_b64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(&text).map_err(|error| format!("\"payload_b64\": {error}"))?
        }
        _ => return Err("write either \"payload\" or \"payload_b64\"".to_owned()),
    };
    let Line { topic, retain, qos, .. } = line;
    Ok(Recorded { at_us: at.timestamp_micros(), topic, payload, retain, qos })
}

/// Merges inputs that are each in order.
struct Merge {
    inputs: Vec<Messages>,
    heads: Vec<Option<Recorded>>,
    failed: Vec<RecordingError>,
}

impl Merge {
    fn new(inputs: Vec<Messages>) -> Merge {
        let heads = inputs.iter().map(|_| None).collect();
        let mut merge = Merge { inputs, heads, failed: Vec::new() };
        (0..merge.inputs.len()).for_each(|index| merge.refill(index));
        merge
    }

    fn refill(&mut self, index: usize) {
        let next = self.inputs.get_mut(index).and_then(Iterator::next);
        if let Some(head) = self.heads.get_mut(index) {
            match next {
                Some(Ok(recorded)) => *head = Some(recorded),
                Some(Err(error)) => self.failed.push(error),
                None => {}
            }
        }
    }
}

impl Iterator for Merge {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.pop() {
            return Some(Err(error));
        }
        let heads = self.heads.iter().enumerate();
        let first = heads.filter_map(|(index, head)| Some((head.as_ref()?.at_us, index))).min();
        let (_, index) = first?;
        let recorded = self.heads.get_mut(index)?.take();
        self.refill(index);
        recorded.map(Ok)
    }
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
            topic: recorded.topic.clone(),
            payload: text.map(str::to_owned),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at_us: i64, payload: &[u8]) -> Recorded {
        let topic = "plant/上海/freezer/冷柜-3/telemetry".to_owned();
        Recorded { at_us, topic, payload: payload.to_vec(), retain: false, qos: 1 }
    }

    #[test]
    fn what_is_written_is_read_again_plain_and_compressed() {
        let folder = tempfile::tempdir().expect("a folder");
        let messages =
            [message(1, b"{\"t\": 1}"), message(2, b"\xff\x00"), message(3, "中".as_bytes())];
        for name in ["a.ndjson", "a.ndjson.gz", "a.ndjson.zst"] {
            let path = folder.path().join(name);
            let mut recorder = Recorder::create(&path).expect(name);
            messages.iter().for_each(|message| recorder.write(message).expect(name));
            recorder.finish().expect(name);
            let read: Vec<Recorded> =
                open(&path, &CsvMapping::default()).expect(name).map(|m| m.expect(name)).collect();
            assert_eq!(read, messages, "{name}");
        }
    }

    #[test]
    fn a_line_that_is_no_message_is_told_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.ndjson");
        std::fs::write(&path, "\n{\"ts\":\"now\",\"topic\":\"t\",\"payload\":\"\"}\n")
            .expect("written");
        let found: Vec<_> = open(&path, &CsvMapping::default()).expect("open").collect();
        let told = found[0].as_ref().expect_err("wrong").to_string();
        assert!(told.ends_with("x.ndjson:2: \"now\" is not an RFC 3339 time"), "{told}");
    }

    #[test]
    fn a_folder_of_csv_files_is_one_recording_in_the_order_of_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let devices = folder.path().join("pump/devices");
        std::fs::create_dir_all(&devices).expect("made");
        let csv = "ts,temp_c,state\n2026-01-01T00:00:02Z,1.5,#VALUE!\n2026-01-01T00:00:04Z,,\n";
        std::fs::write(devices.join("p-1.csv"), csv).expect("written");
        let csv = "ts,temp_c\n2026-01-01T00:00:01Z,7\n2026-01-01T00:00:03Z,8\n";
        std::fs::write(devices.join("泵-2.csv"), csv).expect("written");
        let paths = [folder.path().join("pump")];
        let read: Vec<(String, String)> = open_all(&paths, &CsvMapping::default())
            .expect("open")
            .map(|message| message.expect("a message"))
            .map(|m| (m.topic, String::from_utf8(m.payload).expect("text")))
            .collect();
        let expected = [
            ("泵-2", r#"{"temp_c":7,"ts":"2026-01-01T00:00:01Z"}"#),
            ("p-1", r##"{"state":"#VALUE!","temp_c":1.5,"ts":"2026-01-01T00:00:02Z"}"##),
            ("泵-2", r#"{"temp_c":8,"ts":"2026-01-01T00:00:03Z"}"#),
            ("p-1", r#"{"ts":"2026-01-01T00:00:04Z"}"#),
        ];
        let expected = expected.map(|(device, payload)| {
            (format!("plant/site/pump/{device}/telemetry"), payload.to_owned())
        });
        assert_eq!(read, expected);
    }
}
