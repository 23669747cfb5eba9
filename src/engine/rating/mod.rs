//! A price plan and quantities become money: pure, and decimals only.
//!
//! It stands beside the pipeline: a function of (plan, usage), so that a bill can always be
//! computed again from the ledger.

mod plan;
mod rate;
mod read;
mod terms;
mod usage;

pub use plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Rounding, Tier};
pub use rate::{Bill, BillLine, RatingError, rate, running_bill};
pub use read::read_plan;
pub use terms::{
    Addon, AddonKind, Aggregation, Bucket, Close, MeterDefinition, OneOff, Period, PeriodUnit, Term,
};
pub use usage::{Usage, UsageError};
