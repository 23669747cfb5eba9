//! A closed statement never changes: what comes later is the difference, on the next one.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::rating::Bill;

/// A line of an earlier period, taken back or charged anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// First day of the period that it belongs to.
    pub period: String,
    /// Line of its bill.
    pub line: String,
    /// Money.
    pub amount: Decimal,
}

/// What changes a bill that was made into the one that should have been: each line that differs is
/// taken back, and charged anew.
pub fn correct(period: &str, before: &Bill, after: &Bill) -> Vec<Correction> {
    let mut lines: BTreeMap<&str, [Decimal; 2]> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (bill, side) in [(before, 0), (after, 1)] {
        for line in &bill.lines {
            let amounts = lines.entry(&line.id).or_default();
            if let Some(amount) = amounts.get_mut(side) {
                *amount += line.amount;
            }
            if !order.contains(&line.id.as_str()) {
                order.push(&line.id);
            }
        }
    }
    let mut corrections = Vec::new();
    for id in order {
        let Some([old, new]) = lines.get(id).copied().filter(|[old, new]| old != new) else {
            continue;
        };
        for amount in [-old, new].into_iter().filter(|amount| !amount.is_zero()) {
            corrections.push(Correction { period: period.to_owned(), line: id.to_owned(), amount });
        }
    }
    corrections
}
