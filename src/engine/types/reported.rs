//! What an upstream says itself of what was used (`X-Usage-*`).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// A counter of an upstream on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Name of the upstream.
    pub upstream: String,
    /// Header, in small letters.
    pub header: String,
    /// First instant of the day.
    pub day: Timestamp,
    /// The first value of the day.
    pub first: Decimal,
    /// The newest value.
    pub value: Decimal,
    /// The greatest value.
    pub most: Decimal,
    /// When the newest was told.
    pub at: Timestamp,
}
