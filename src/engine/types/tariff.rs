//! What the guard knows of prices: quantities by meter, and what they may cost at most.

use std::fmt;
use std::ops::{Index, IndexMut};

use rust_decimal::Decimal;

use super::ledger::Meter;

/// A quantity of each meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantities([Decimal; Meter::ALL.len()]);

impl Quantities {
    /// Nothing of anything.
    pub const ZERO: Quantities = Quantities([Decimal::ZERO; Meter::ALL.len()]);

    /// So much of one meter.
    #[must_use]
    pub fn with(mut self, meter: Meter, quantity: Decimal) -> Quantities {
        self[meter] = quantity;
        self
    }

    /// The sum, meter by meter.
    #[must_use]
    pub fn plus(&self, other: &Quantities) -> Quantities {
        let mut sum = *self;
        for (meter, quantity) in other.iter() {
            sum[meter] += quantity;
        }
        sum
    }

    /// Every meter and its quantity.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, Decimal)> {
        Meter::ALL.into_iter().map(|meter| (meter, self[meter]))
    }
}

// The order of `Meter::ALL` is that of the variants: both come from the same eight names.
impl Index<Meter> for Quantities {
    type Output = Decimal;
    fn index(&self, meter: Meter) -> &Decimal {
        let Quantities([created, escalated, visit, call, message, storage, device, user]) = self;
        match meter {
            Meter::TicketCreated => created,
            Meter::TicketEscalated => escalated,
            Meter::ServiceVisit => visit,
            Meter::ApiCall => call,
            Meter::MessageSent => message,
            Meter::StorageGbDay => storage,
            Meter::DevicePeak => device,
            Meter::UserPeak => user,
        }
    }
}

impl IndexMut<Meter> for Quantities {
    fn index_mut(&mut self, meter: Meter) -> &mut Decimal {
        let Quantities([created, escalated, visit, call, message, storage, device, user]) = self;
        match meter {
            Meter::TicketCreated => created,
            Meter::TicketEscalated => escalated,
            Meter::ServiceVisit => visit,
            Meter::ApiCall => call,
            Meter::MessageSent => message,
            Meter::StorageGbDay => storage,
            Meter::DevicePeak => device,
            Meter::UserPeak => user,
        }
    }
}

/// Whose quantities are priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of the gateway's: with what is paid whatever is used.
    Whole,
    /// Those of a part, as if it were alone: what is charged by use, nothing else.
    Part,
}

/// What quantities cost.
pub trait Tariff: fmt::Debug + Send + Sync {
    /// Id of the plan.
    fn id(&self) -> &str;

    /// The greatest cost over all quantities from `low` to `high`, in a period of so many days;
    /// `None` where it cannot be told.
    fn ceiling(
        &self,
        low: &Quantities,
        high: &Quantities,
        days: u32,
        share: Share,
    ) -> Option<Decimal>;
}
