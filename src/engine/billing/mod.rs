//! What the ledger comes to: periods become statements, statements answer questions.
//!
//! It stands on [`super::rating`] and on rows of the ledger, and reads neither disk nor clock: every
//! figure is a function of the plan and of the rows, so that anybody can work it out again.

mod beside;
mod change;
mod chargeback;
mod compare;
mod correct;
mod events;
mod forecast;
mod print;
mod reconcile;
mod statement;
mod tally;

pub use beside::{Beside, Counter, beside, beside_text};
pub use change::{Preview, preview};
pub use chargeback::{By, Share, chargeback, split};
pub use compare::{Comparison, Offer, Ranked, Scenario, compare};
pub use correct::{Correction, correct};
pub use events::{event, row_of_event};
pub use forecast::{Forecast, Range, forecast};
pub use print::{csv, html, text};
pub use reconcile::{Class, Reconciled, Reconciliation, Theirs, read_invoice, reconcile};
pub use statement::{Drafted, Statement, StatementError, StatementLine, Use, calendar, overdue};
pub use tally::Tally;

#[cfg(test)]
mod tests;
