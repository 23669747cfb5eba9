//! A Sparkplug B payload (`org.eclipse.tahu.protobuf.Payload`), as far as a host reads it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::wire::{Field, Fields, Malformed, put_bytes, put_varint};
use crate::engine::decode::Refusal;
use crate::engine::types::decision::Rejection;
use crate::engine::types::time::Timestamp;

/// Most metrics of one payload; births of large controllers have thousands.
pub(super) const METRICS_MAX: usize = 10_000;
/// The uuid that says that the body is a compressed payload.
const COMPRESSED: &str = "SPBV1.0_COMPRESSED";
/// The metric that asks an edge node to send its births again.
pub(super) const REBIRTH: &str = "Node Control/Rebirth";
const DATATYPE_BOOLEAN: u64 = 11;

/// A payload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Payload<'a> {
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<u64>,
    pub seq: Option<u64>,
    pub metrics: Vec<Metric<'a>>,
    /// Metrics that could not be read.
    pub broken: usize,
    uuid: Option<&'a str>,
    body: Option<&'a [u8]>,
}

/// One metric of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Metric<'a> {
    pub name: Option<&'a str>,
    pub alias: Option<u64>,
    pub timestamp: Option<u64>,
    pub datatype: Option<u64>,
    pub is_historical: bool,
    pub is_null: bool,
    /// The property `Quality`: 192 is good.
    pub quality: Option<u64>,
    pub value: Option<Raw<'a>>,
}

/// A value as the wire has it; what it means is told by its datatype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raw<'a> {
    Int(u64),
    Float(f32),
    Double(f64),
    Bool(bool),
    Text(&'a str),
    /// Bytes, a data set, a template or an extension.
    Other,
}

/// The payload itself, out of its envelope when it is compressed.
///
/// # Errors
/// A body that cannot be unpacked, or that would be larger than `bytes_max`.
pub(super) fn open(bytes: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    let envelope = read(bytes)?;
    let (Some(COMPRESSED), Some(body)) = (envelope.uuid, envelope.body) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let named = envelope.metrics.iter().find(|metric| metric.name == Some("algorithm"));
    let algorithm = match named.and_then(|metric| metric.value) {
        // The default of the reference implementation.
        None => "DEFLATE",
        Some(Raw::Text(algorithm)) => algorithm,
        Some(Raw::Int(_) | Raw::Float(_) | Raw::Double(_) | Raw::Bool(_) | Raw::Other) => "",
    };
    // RFC 1950 with its header, as every known sender writes it; else the bare RFC 1951.
    let is_zlib = matches!(body, [head, flags, ..]
        if head & 0x0f == 8 && (u16::from(*head) << 8 | u16::from(*flags)) % 31 == 0);
    let opened = match (algorithm, is_zlib) {
        ("GZIP", _) => unpack(GzDecoder::new(body), bytes_max),
        ("DEFLATE", true) => unpack(ZlibDecoder::new(body), bytes_max),
        ("DEFLATE", false) => unpack(DeflateDecoder::new(body), bytes_max),
        (other, _) => {
            let detail = format!("compressed with `{other}`, neither GZIP nor DEFLATE");
            return Err(Refusal::new(Rejection::Undecodable, &detail));
        }
    };
    opened.map(Cow::Owned)
}

fn unpack(packed: impl Read, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut opened = Vec::new();
    let limit = bytes_max as u64 + 1;
    packed.take(limit).read_to_end(&mut opened).map_err(|error| {
        Refusal::new(Rejection::Undecodable, &format!("a compressed body: {error}"))
    })?;
    if opened.len() > bytes_max {
        let detail = format!("a compressed body of more than {bytes_max} bytes");
        return Err(Refusal::new(Rejection::Oversized, &detail));
    }
    Ok(opened)
}

/// Reads a payload. A metric that cannot be read is counted and left out: it takes no other
/// metric with it.
///
/// # Errors
/// Bytes that are no payload, or too many metrics.
pub(super) fn read(bytes: &[u8]) -> Result<Payload<'_>, Refusal> {
    let mut payload = Payload::default();
    for field in Fields::of(bytes) {
        let (number, field) = field.map_err(|Malformed| {
            Refusal::new(Rejection::Undecodable, "not a Sparkplug B payload")
        })?;
        match (number, field) {
            (1, Field::Varint(millis)) => payload.timestamp = Some(millis),
            (2, Field::Bytes(bytes)) => {
                if payload.metrics.len() + payload.broken >= METRICS_MAX {
                    let detail = format!("more than {METRICS_MAX} metrics");
                    return Err(Refusal::new(Rejection::TooManyMetrics, &detail));
                }
                match read_metric(bytes) {
                    Ok(metric) => payload.metrics.push(metric),
                    Err(Malformed) => payload.broken += 1,
                }
            }
            (3, Field::Varint(seq)) => payload.seq = Some(seq),
            (4, Field::Bytes(bytes)) => payload.uuid = std::str::from_utf8(bytes).ok(),
            (5, Field::Bytes(bytes)) => payload.body = Some(bytes),
            _ => {}
        }
    }
    Ok(payload)
}

fn read_metric(bytes: &[u8]) -> Result<Metric<'_>, Malformed> {
    let mut metric = Metric::default();
    for field in Fields::of(bytes) {
        let (number, field) = field?;
        match (number, field) {
            (1, Field::Bytes(name)) => metric.name = Some(text(name)?).filter(|n| !n.is_empty()),
            (2, Field::Varint(alias)) => metric.alias = Some(alias),
            (3, Field::Varint(millis)) => metric.timestamp = Some(millis),
            (4, Field::Varint(code)) => metric.datatype = Some(code),
            (5, Field::Varint(flag)) => metric.is_historical = flag != 0,
            (7, Field::Varint(flag)) => metric.is_null = flag != 0,
            (9, Field::Bytes(properties)) => metric.quality = quality(properties)?,
            (10 | 11, Field::Varint(number)) => metric.value = Some(Raw::Int(number)),
            (12, Field::Fixed32(bits)) => metric.value = Some(Raw::Float(f32::from_bits(bits))),
            (13, Field::Fixed64(bits)) => metric.value = Some(Raw::Double(f64::from_bits(bits))),
            (14, Field::Varint(flag)) => metric.value = Some(Raw::Bool(flag != 0)),
            (15, Field::Bytes(bytes)) => metric.value = Some(Raw::Text(text(bytes)?)),
            (16..=19, _) => metric.value = Some(Raw::Other),
            _ => {}
        }
    }
    Ok(metric)
}

/// The property `Quality` of a property set: keys and values are two lists.
fn quality(properties: &[u8]) -> Result<Option<u64>, Malformed> {
    let (mut keys, mut found, mut values) = (0, None, 0);
    for field in Fields::of(properties) {
        match field? {
            (1, Field::Bytes(key)) => {
                if key.eq_ignore_ascii_case(b"quality") {
                    found = Some(keys);
                }
                keys += 1;
            }
            (2, Field::Bytes(value)) => {
                if found == Some(values) {
                    return property_number(value);
                }
                values += 1;
            }
            _ => {}
        }
    }
    Ok(None)
}

fn property_number(value: &[u8]) -> Result<Option<u64>, Malformed> {
    for field in Fields::of(value) {
        if let (3 | 4, Field::Varint(number)) = field? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The command that asks an edge node to send its births again.
pub(super) fn rebirth_command(now: Timestamp) -> Vec<u8> {
    let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
    let mut metric = Vec::new();
    put_bytes(&mut metric, 1, REBIRTH.as_bytes());
    put_varint(&mut metric, 3, millis);
    put_varint(&mut metric, 4, DATATYPE_BOOLEAN);
    put_varint(&mut metric, 14, 1);
    let mut payload = Vec::new();
    put_varint(&mut payload, 1, millis);
    put_bytes(&mut payload, 2, &metric);
    payload
}
