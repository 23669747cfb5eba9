//! What is measured over time rather than counted: what is kept, and the most at a time of devices and
//! people.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::ledger::Meter;
use super::time::Timestamp;

/// Stretches of time of which the ledger has no row yet, by meter. Stored, so that each gets its row
/// once, whatever is killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metering {
    /// The stretch that is under way, or was when the gateway ended.
    pub open: BTreeMap<Meter, Bucket>,
}

/// A stretch of time, and the most in it so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// The most so far.
    pub most: Decimal,
}
