//! Stage 5, Incident -> Verdict: the price of a call is set aside before the call is made, and
//! nothing is set aside that a budget does not hold.
//!
//! Every movement is one row of an append-only ledger, chained by hashes. A reservation is written
//! in the same transaction as the job that it pays for (I3); what came of the call is written in
//! the same transaction as the job's next state (I9).

mod admit;
mod book;
mod budget;
mod matrix;

pub use admit::{Admission, Guard, Standing};
pub use book::{
    Account, LedgerEnd, Measured, cut_off, measured, owed, release, reserve, set_aside, settle,
    take_back, visit,
};
pub use budget::{Budget, Scope, Spender, Thresholds, read_budgets};
pub use matrix::{Course, Verdict, decide};
