//! A price plan and quantities become money: pure, and decimals only.
//!
//! It stands beside the pipeline: a function of (plan, usage), so that a bill can always be
//! computed again from the ledger.

mod active;
mod notice;
mod plan;
mod rate;
mod read;
mod terms;
mod usage;
mod working;

pub use active::ActivePlan;
pub use notice::{NoticeDue, notice_due};
pub use plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Rounding, Tier};
pub use rate::{Bill, BillLine, RatingError, ceiling, rate, running_bill};
pub use read::read_plan;
pub use terms::{Addon, AddonKind, Bucket, Close, MeterDefinition, OneOff, Term};
pub use usage::{Segment, Usage, UsageError};
pub use working::{Sum, Working};
