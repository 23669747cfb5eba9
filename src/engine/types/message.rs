//! Message -> Sample: what arrives from a broker, and what a decoder makes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::document::Scalar;

/// One MQTT message as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Index of the source in the configuration.
    pub source: usize,
    /// MQTT topic.
    pub topic: String,
    /// Raw payload.
    pub payload: Vec<u8>,
    /// Sent by the broker because it was retained, not because it just happened.
    pub retain: bool,
    /// Whether it may come a second time.
    pub delivery: Delivery,
}

/// How a broker handed a message over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// For once: at QoS 0, inside the process, or from a recording.
    Once,
    /// Until it is acknowledged, each time with the same packet id (MQTT 3.1.1, 4.4).
    UntilAcknowledged {
        /// The packet id.
        packet: u16,
        /// The broker says that it may have sent this before (DUP).
        again: bool,
    },
}

/// A message that a protocol wants sent: at most once, not retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Index of the source whose broker it goes to.
    pub source: usize,
    /// MQTT topic.
    pub topic: String,
    /// Raw payload.
    pub payload: Vec<u8>,
}

/// A measured value. Texts are shared, so that copying a value never copies text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
}

impl Value {
    /// The value as a number for arithmetic and windows; truth counts as 1 and 0.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Text(_) => None,
        }
    }
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Value {
        match scalar {
            Scalar::Bool(flag) => Value::Bool(*flag),
            Scalar::Int(number) => Value::Int(*number),
            Scalar::Float(number) => Value::Float(*number),
            Scalar::Text(text) => Value::Text(text.as_str().into()),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Bool(flag) => write!(out, "{flag}"),
            Value::Int(number) => write!(out, "{number}"),
            Value::Float(number) => write!(out, "{number}"),
            Value::Text(text) => out.write_str(text),
        }
    }
}

/// One metric of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// A value of good quality.
    Good(Value),
    /// The device or the mapping says that the value is not to be trusted.
    Bad,
}

impl Reading {
    /// A good value as a number for arithmetic and windows.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Reading::Good(value) => value.as_number(),
            Reading::Bad => None,
        }
    }
}
