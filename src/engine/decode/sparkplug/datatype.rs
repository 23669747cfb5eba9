//! What a metric's value means: Sparkplug's datatypes.

use super::payload::{Metric, Raw};
use crate::engine::decode::Refusal;
use crate::engine::decode::scalar::Found;
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::Reading;

/// Quality codes that mean good, as OPC counts them: the two top bits of a byte are set.
const GOOD: std::ops::Range<u64> = 192..256;

/// The reading of a metric.
///
/// # Errors
/// A datatype that is no single value, or a whole number whose sign nobody told.
pub(super) fn reading(
    metric: &Metric<'_>,
    datatype: Option<u64>,
    refused: &mut Vec<Refusal>,
) -> Result<Reading, Refusal> {
    let refuse = |what: &str| Err(Refusal::new(Rejection::Datatype, what));
    let is_good = metric.quality.is_none_or(|quality| GOOD.contains(&quality));
    let Some(raw) = metric.value.filter(|_| !metric.is_null && is_good) else {
        return match datatype {
            Some(code) if unsupported(code).is_some() => refuse(unsupported(code).unwrap_or("")),
            Some(_) | None => Ok(Reading::Bad),
        };
    };
    let found = match (raw, datatype) {
        (_, Some(code)) if unsupported(code).is_some() => {
            return refuse(unsupported(code).unwrap_or(""));
        }
        (Raw::Int(bits), Some(code)) => match code {
            1 => Found::Int(i64::from(bits as i8)),
            2 => Found::Int(i64::from(bits as i16)),
            3 => Found::Int(i64::from(bits as i32)),
            4 => Found::Int(bits as i64),
            5 => Found::Int(i64::from(bits as u8)),
            6 => Found::Int(i64::from(bits as u16)),
            7 => Found::Int(i64::from(bits as u32)),
            9 | 10 => Found::Float(bits as f64),
            11 => Found::Bool(bits != 0),
            _ => Found::unsigned(bits),
        },
        (Raw::Int(_), None) => return refuse("a whole number without a datatype"),
        (Raw::Float(number), _) => Found::Float(shortest(number)),
        (Raw::Double(number), _) => Found::Float(number),
        (Raw::Bool(flag), _) => Found::Bool(flag),
        (Raw::Text(text), _) => Found::Text(text),
        (Raw::Other, _) => return refuse("bytes, a data set or a template"),
    };
    Ok(found.reading(1.0, 0.0, refused).unwrap_or(Reading::Bad))
}

/// The name of a datatype that is no single value.
fn unsupported(code: u64) -> Option<&'static str> {
    Some(match code {
        16 => "DataSet",
        17 => "Bytes",
        18 => "File",
        19 => "Template",
        20 => "PropertySet",
        21 => "PropertySetList",
        22..=34 => "an array",
        _ => return None,
    })
}

/// A 32-bit number as a person wrote it: 0.1 stays 0.1, so that thresholds mean what they say.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}
