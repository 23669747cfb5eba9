//! The records of a SenML pack, from JSON and from CBOR.

use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::Value as Json;

use crate::engine::decode::scalar::Found;
use crate::engine::decode::{METRICS_PER_MESSAGE_MAX, Refusal, json};
use crate::engine::types::decision::Rejection;
use crate::engine::types::document::Scalar;

/// One record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub base_name: Option<String>,
    pub base_time: Option<f64>,
    pub base_value: Option<f64>,
    pub base_sum: Option<f64>,
    pub version: Option<f64>,
    pub name: Option<String>,
    pub value: Option<Scalar>,
    pub sum: Option<f64>,
    pub time: Option<f64>,
    /// It says something for the records that follow.
    pub is_base: bool,
    /// It holds bytes.
    pub is_data: bool,
    /// It has a field that must be understood and is not.
    pub must_understand: bool,
}

/// Reads a pack; CBOR begins with an array's first byte, JSON with anything else.
pub(super) fn read(payload: &[u8]) -> Result<Vec<Record>, Refusal> {
    match payload.first() {
        Some(0x80..=0x9f) => read_cbor(payload).map_err(|error| match error {
            CborError::TooMany => too_many(),
            CborError::Malformed => {
                Refusal::new(Rejection::Undecodable, "not a SenML pack in CBOR")
            }
        }),
        Some(_) | None => read_json(payload),
    }
}

fn too_many() -> Refusal {
    let detail = format!("more than {METRICS_PER_MESSAGE_MAX} records");
    Refusal::new(Rejection::TooManyMetrics, &detail)
}

fn read_json(payload: &[u8]) -> Result<Vec<Record>, Refusal> {
    let document = json::document(payload)?;
    let wrong = || Refusal::new(Rejection::Undecodable, "a SenML pack is an array of objects");
    let list = document.as_array().ok_or_else(wrong)?;
    if list.len() > METRICS_PER_MESSAGE_MAX {
        return Err(too_many());
    }
    list.iter()
        .map(|record| {
            let mut read = Record::default();
            for (key, value) in record.as_object().ok_or_else(wrong)? {
                read.set(key, scalar(value));
            }
            Ok(read)
        })
        .collect()
}

fn scalar(json: &Json) -> Option<Scalar> {
    Some(match json::scalar(json)? {
        Found::Null => return None,
        Found::Bool(flag) => Scalar::Bool(flag),
        Found::Int(number) => Scalar::Int(number),
        Found::Float(number) => Scalar::Float(number),
        Found::Text(text) => Scalar::Text(text.to_owned()),
    })
}

impl Record {
    /// True when it says what something is, or has summed up to.
    pub fn measures(&self) -> bool {
        self.value.is_some() || self.sum.is_some() || self.is_data
    }

    /// True when it is there for the records that follow alone.
    pub fn is_carrier(&self) -> bool {
        self.is_base && self.name.is_none() && !self.measures()
    }

    /// Takes a field by its JSON label.
    fn set(&mut self, label: &str, value: Option<Scalar>) {
        let number = value.as_ref().and_then(number);
        self.is_base |= ["bn", "bt", "bu", "bv", "bs", "bver"].contains(&label);
        match (label, value) {
            ("bn", Some(Scalar::Text(text))) => self.base_name = Some(text),
            ("n", Some(Scalar::Text(text))) => self.name = Some(text),
            ("bt", _) => self.base_time = number,
            ("bv", _) => self.base_value = number,
            ("bs", _) => self.base_sum = number,
            ("bver", _) => self.version = number,
            ("t", _) => self.time = number,
            ("s", _) => self.sum = number,
            ("v" | "vs" | "vb", value) => self.value = value,
            ("vd", _) => self.is_data = true,
            (label, _) if label.ends_with('_') => self.must_understand = true,
            // Units and update times, and what an extension adds.
            _ => {}
        }
    }
}

fn number(scalar: &Scalar) -> Option<f64> {
    match scalar {
        Scalar::Int(number) => Some(*number as f64),
        Scalar::Float(number) => Some(*number),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    }
}

/// Why CBOR is no pack.
enum CborError {
    Malformed,
    TooMany,
}

impl From<minicbor::decode::Error> for CborError {
    fn from(_: minicbor::decode::Error) -> Self {
        CborError::Malformed
    }
}

/// The JSON labels of the CBOR ones (RFC 8428, table 4).
const LABELS: [(i8, &str); 14] = [
    (-1, "bver"),
    (-2, "bn"),
    (-3, "bt"),
    (-4, "bu"),
    (-5, "bv"),
    (-6, "bs"),
    (0, "n"),
    (1, "u"),
    (2, "v"),
    (3, "vs"),
    (4, "vb"),
    (5, "s"),
    (6, "t"),
    (8, "vd"),
];

fn read_cbor(payload: &[u8]) -> Result<Vec<Record>, CborError> {
    let mut cbor = Decoder::new(payload);
    let mut records = Vec::new();
    let mut left = Length(cbor.array()?);
    while left.more(&mut cbor)? {
        if records.len() >= METRICS_PER_MESSAGE_MAX {
            return Err(CborError::TooMany);
        }
        let mut record = Record::default();
        let mut fields = Length(cbor.map()?);
        while fields.more(&mut cbor)? {
            if matches!(cbor.datatype()?, Type::String) {
                let label = cbor.str()?;
                let value = cbor_scalar(&mut cbor)?;
                record.set(label, value);
            } else {
                let number = cbor.i8()?;
                let value = cbor_scalar(&mut cbor)?;
                let label = LABELS.iter().find(|(known, _)| *known == number);
                record.set(label.map_or("", |(_, label)| label), value);
            }
        }
        records.push(record);
    }
    if cbor.position() != payload.len() {
        return Err(CborError::Malformed);
    }
    Ok(records)
}

/// How many items follow; `None` until a break.
struct Length(Option<u64>);

impl Length {
    fn more(&mut self, cbor: &mut Decoder<'_>) -> Result<bool, CborError> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if matches!(cbor.datatype()?, Type::Break) => {
                cbor.skip()?;
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else CBOR has is no scalar of SenML")]
fn cbor_scalar(cbor: &mut Decoder<'_>) -> Result<Option<Scalar>, CborError> {
    Ok(Some(match cbor.datatype()? {
        Type::Bool => Scalar::Bool(cbor.bool()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            let number = cbor.u64()?;
            i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Int)
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Scalar::Int(cbor.i64()?),
        Type::F16 => Scalar::Float(f64::from(cbor.f16()?)),
        Type::F32 => Scalar::Float(f64::from(cbor.f32()?)),
        Type::F64 => Scalar::Float(cbor.f64()?),
        Type::String => Scalar::Text(cbor.str()?.to_owned()),
        Type::Tag => return decimal_fraction(cbor),
        _ => {
            cbor.skip()?;
            return Ok(None);
        }
    }))
}

/// A decimal fraction: tag 4, then exponent and mantissa.
fn decimal_fraction(cbor: &mut Decoder<'_>) -> Result<Option<Scalar>, CborError> {
    if cbor.tag()?.as_u64() != 4 {
        cbor.skip()?;
        return Ok(None);
    }
    if cbor.array()? != Some(2) {
        return Err(CborError::Malformed);
    }
    let exponent = i32::from(cbor.i16()?);
    Ok(Some(Scalar::Float(cbor.i64()? as f64 * 10_f64.powi(exponent))))
}
