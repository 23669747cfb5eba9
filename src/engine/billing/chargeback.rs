//! Who caused what of a statement: shares that sum to it exactly.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::rating::{Bill, Plan};
use crate::engine::types::ledger::{LedgerRow, Meter};

/// What a statement is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Customer.
    Customer,
    /// Site.
    Site,
    /// Region.
    Region,
    /// Class of the device.
    DeviceClass,
    /// Rule.
    Rule,
}

impl By {
    /// Whose a row is.
    pub fn of<'a>(&self, row: &'a LedgerRow) -> &'a str {
        match self {
            By::Customer => &row.customer,
            By::Site => &row.site,
            By::Region => &row.region,
            By::DeviceClass => &row.device_class,
            By::Rule => &row.rule,
        }
    }
}

/// What one of them pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Who; empty for rows that name nobody.
    pub name: String,
    /// Quantities by meter.
    pub usage: BTreeMap<&'static str, Decimal>,
    /// Money.
    pub amount: Decimal,
}

/// Divides `total` by weights with largest remainders: the parts, in minor units, sum to it exactly.
/// Among equal remainders the first one wins; without any weight all are equal.
pub fn split(total: Decimal, weights: &[Decimal], minor_units: u32) -> Vec<Decimal> {
    let unit = Decimal::new(1, minor_units);
    let mut all: Decimal = weights.iter().copied().sum();
    let equal = vec![Decimal::ONE; weights.len()];
    let weights = if all.is_zero() { &equal } else { weights };
    if all.is_zero() {
        all = Decimal::from(weights.len());
    }
    let sign = if total.is_sign_negative() { -Decimal::ONE } else { Decimal::ONE };
    let mut parts: Vec<Decimal> = Vec::with_capacity(weights.len());
    let mut rests: Vec<(Decimal, usize)> = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let exact = total.abs() * weight / all;
        let floor = exact.trunc_with_scale(minor_units);
        rests.push((exact - floor, index));
        parts.push(floor);
    }
    rests.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut left = total.abs() - parts.iter().copied().sum::<Decimal>();
    for (_, index) in rests.iter().cycle() {
        if left < unit {
            break;
        }
        if let Some(part) = parts.get_mut(*index) {
            *part += unit;
        }
        left -= unit;
    }
    for part in &mut parts {
        *part *= sign;
        part.rescale(minor_units);
    }
    parts
}

/// Divides a bill: each line by what its meter was used by whom; what is paid whatever is used, and
/// adjustments, by the money of the metered lines.
pub fn chargeback(
    plan: &Plan,
    bill: &Bill,
    by: By,
    rows: impl Iterator<Item = LedgerRow>,
) -> Vec<Share> {
    let mut used: BTreeMap<String, BTreeMap<Meter, Decimal>> = BTreeMap::new();
    // What was measured of the gateway as a whole is nobody's: its lines are divided like those that are
    // paid whatever is used.
    for row in rows.filter(|row| !row.committed().is_zero() && !row.is_measured()) {
        let meters = used.entry(by.of(&row).to_owned()).or_default();
        *meters.entry(row.meter).or_default() += row.committed();
    }
    let names: Vec<String> = used.keys().cloned().collect();
    let mut amounts = vec![Decimal::ZERO; names.len()];
    if names.is_empty() {
        return Vec::new();
    }
    let meter_of = |id: &str| {
        let line = plan.lines.iter().find(|line| {
            id == line.id || id.strip_prefix(&line.id).is_some_and(|rest| rest.starts_with('.'))
        });
        let source = line.and_then(|line| line.pricing.source())?;
        let meter = Meter::ALL.into_iter().find(|meter| meter.name() == source)?;
        (!meter.is_measured()).then_some(meter)
    };
    let mut add = |amount: Decimal, weights: &[Decimal]| {
        let parts = split(amount, weights, plan.minor_units);
        amounts.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        amounts.clone()
    };
    let mut metered = vec![Decimal::ZERO; names.len()];
    for line in &bill.lines {
        if let Some(meter) = meter_of(&line.id) {
            let weight = |meters: &BTreeMap<Meter, Decimal>| meters.get(&meter).copied();
            let weights: Vec<Decimal> =
                used.values().map(|meters| weight(meters).unwrap_or_default()).collect();
            metered = add(line.amount, &weights);
        }
    }
    for line in bill.lines.iter().filter(|line| meter_of(&line.id).is_none()) {
        add(line.amount, &metered);
    }
    let shares = names.into_iter().zip(used.into_values()).zip(amounts);
    let shares = shares.map(|((name, meters), amount)| Share {
        name,
        usage: meters.into_iter().map(|(meter, quantity)| (meter.name(), quantity)).collect(),
        amount,
    });
    shares.collect()
}
