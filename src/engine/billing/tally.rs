//! Rows of a period -> quantities: each meter as its aggregation says.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::engine::rating::{ActivePlan, Usage};
use crate::engine::types::ledger::{Aggregation, LedgerRow, Meter};
use crate::engine::types::period::Period;
use crate::engine::types::time::Timestamp;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What was used in a period, while rows come in.
#[derive(Clone, Debug)]
pub struct Tally {
    period: Period,
    aggregations: BTreeMap<Meter, Aggregation>,
    meters: BTreeMap<Meter, Sums>,
    last: u64,
    last_hash: String,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    count: Decimal,
    sum: Decimal,
    max: Decimal,
    unique: BTreeSet<String>,
    /// For quantities that hold until the next one; those before the period among them.
    points: Vec<(Timestamp, u64, Decimal)>,
}

impl Tally {
    /// Nothing used yet.
    pub fn new(period: Period, active: &ActivePlan) -> Tally {
        let mut aggregations: BTreeMap<Meter, Aggregation> =
            Meter::ALL.into_iter().map(|meter| (meter, meter.aggregation())).collect();
        for defined in &active.plan().meters {
            if let Some(meter) = Meter::ALL.into_iter().find(|meter| meter.name() == defined.id) {
                aggregations.insert(meter, defined.aggregation);
            }
        }
        Tally { period, aggregations, meters: BTreeMap::new(), last: 0, last_hash: String::new() }
    }

    /// The period.
    pub fn period(&self) -> &Period {
        &self.period
    }

    /// The last row that was taken in, of whatever time, and its hash.
    pub fn end(&self) -> (u64, &str) {
        (self.last, &self.last_hash)
    }

    /// Takes a row in: what is committed in the period counts, as do levels from before it.
    pub fn take(&mut self, row: &LedgerRow) {
        if row.sequence > self.last {
            (self.last, self.last_hash) = (row.sequence, row.hash.clone());
        }
        let qty = row.committed();
        if qty.is_zero() || row.time >= self.period.end {
            return;
        }
        let sums = self.meters.entry(row.meter).or_default();
        match self.aggregations.get(&row.meter) {
            Some(Aggregation::TimeWeighted | Aggregation::Latest) => {
                sums.points.push((row.time, row.sequence, qty));
            }
            _ if row.time < self.period.start => {}
            Some(Aggregation::Unique) => {
                sums.unique.insert(row.device.clone());
            }
            Some(Aggregation::Count | Aggregation::Sum | Aggregation::Max) | None => {
                sums.count += if row.reverses.is_some() { -Decimal::ONE } else { Decimal::ONE };
                sums.sum += qty;
                sums.max = sums.max.max(qty);
            }
        }
    }

    /// What was used of a meter.
    pub fn quantity(&self, meter: Meter) -> Decimal {
        let Some(sums) = self.meters.get(&meter) else { return Decimal::ZERO };
        let quantity = match self.aggregations.get(&meter) {
            Some(Aggregation::Count) => sums.count,
            Some(Aggregation::Max) => sums.max,
            Some(Aggregation::Unique) => Decimal::from(sums.unique.len()),
            Some(Aggregation::TimeWeighted) => self.weighted(&sums.points),
            Some(Aggregation::Latest) => {
                sums.points.iter().max().map_or(Decimal::ZERO, |(_, _, qty)| *qty)
            }
            Some(Aggregation::Sum) | None => sums.sum,
        };
        quantity.max(Decimal::ZERO).normalize()
    }

    /// Level times days, from the start of the period to its end.
    fn weighted(&self, points: &[(Timestamp, u64, Decimal)]) -> Decimal {
        let mut points = points.to_vec();
        points.sort_unstable();
        let ends = points.iter().skip(1).map(|(at, _, _)| *at).chain([self.period.end]);
        let product = points.iter().zip(ends).fold(Decimal::ZERO, |sum, ((from, _, qty), to)| {
            let lasts = to.since((*from).max(self.period.start)).micros().max(0);
            sum + qty * Decimal::from(lasts)
        });
        product / Decimal::from(DAY)
    }

    /// The quantities as a plan is rated with: metered ones, those that were told, and the days.
    pub fn usage(&self, active: &ActivePlan) -> Usage {
        let mut usage = active.told().clone();
        usage.set("days_in_period", Decimal::from(self.period.days));
        // What the operators tell of a meter that is measured, a contract perhaps, counts instead.
        let told = |meter: &Meter| !active.told().quantity(meter.name()).is_zero();
        for meter in self.meters.keys().filter(|meter| !(meter.is_measured() && told(meter))) {
            usage.set(meter.name(), self.quantity(*meter));
        }
        usage
    }
}
