//! Recordings: JSON Lines, plain or compressed, and CSV.
//!
//! A line is `{"ts":"RFC 3339","topic":"...","payload":"...","retain":false,"qos":1}`; a payload
//! that is no text is `"payload_b64"`. Captures with `"rx_ms"` and `"b64"` are read too.
//!
//! A recording is read to its end whatever stands in it: a line that is no message is skipped and
//! counted, and so is a time that goes back. [`Recording::notes`] tells of both.

mod csv_file;
mod json_lines;
mod merge;
mod physical;
mod recorder;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

pub use csv_file::{CsvDevice, CsvMapping};
pub use merge::{Notes, Recording};
pub use recorder::Recorder;

/// Most files of one recording: each is open from the beginning.
const FILES_MAX: usize = 1_000;
/// What is read from a file at once, in bytes.
const READ_BYTES: usize = 64 << 10;
/// Longest topic of MQTT, in bytes.
const TOPIC_BYTES_MAX: usize = 65_535;
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
    /// More files than are read at once.
    #[error("{0} files are too many: give at most {FILES_MAX} at once")]
    TooManyFiles(usize),
}

/// What one file says, in its own order.
type Messages = Box<dyn Iterator<Item = Result<Recorded, RecordingError>> + Send>;

/// Opens files and merges them by time; a folder stands for the CSV and JSON Lines files in it
/// and in its `devices` folder, where the name of the folder is the class of CSV devices,
/// unless the mapping has one.
///
/// # Errors
/// A file that cannot be opened, or a CSV file without the columns that the mapping names.
pub fn open(paths: &[PathBuf], csv: &CsvMapping) -> Result<Recording, RecordingError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let class = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let mapping = CsvMapping { class: csv.class.clone().or(class), ..csv.clone() };
            files.extend(recordings_in(path)?.into_iter().map(|file| (file, mapping.clone())));
        } else {
            files.push((path.clone(), csv.clone()));
        }
    }
    if files.len() > FILES_MAX {
        return Err(RecordingError::TooManyFiles(files.len()));
    }
    let inputs = files.iter().map(|(file, mapping)| open_file(file, mapping));
    Ok(Recording::new(inputs.collect::<Result<Vec<Messages>, _>>()?))
}

/// One file: CSV by its ending, anything else as JSON Lines.
fn open_file(path: &Path, csv: &CsvMapping) -> Result<Messages, RecordingError> {
    let reader = reader(path)?;
    if uncompressed_name(path).ends_with(".csv") {
        csv_file::read(path, reader, csv)
    } else {
        Ok(json_lines::read(path, reader))
    }
}

fn recordings_in(folder: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let devices = folder.join("devices");
    let mut files = Vec::new();
    for folder in [folder.to_owned(), devices].into_iter().filter(|folder| folder.is_dir()) {
        let io = |cause| RecordingError::Io { path: folder.clone(), cause };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = uncompressed_name(&path);
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

/// The name of a file in lower case and without `.gz` or `.zst`.
fn uncompressed_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
    plain.unwrap_or(&name).to_owned()
}

fn reader(path: &Path) -> Result<Box<dyn BufRead + Send>, RecordingError> {
    let io = |cause| RecordingError::Io { path: path.to_owned(), cause };
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(path).map_err(io)?);
    let head = file.fill_buf().map_err(io)?;
    Ok(if head.starts_with(&GZIP_MAGIC) {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else if head.starts_with(&ZSTD_MAGIC) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file).map_err(io)?))
    } else {
        Box::new(file)
    })
}

/// A topic that a message can be published on.
fn check_topic(topic: &str) -> Result<(), String> {
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || topic.contains(['+', '#', '\0']) {
        return Err("a topic has 1 to 65535 bytes, without +, # and NUL".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
