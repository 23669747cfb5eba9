//! Stage 3, Edge -> Transition: what an alarm does when its condition, a timer or a person speaks.
//!
//! | state | ISA-18.2 | leaves on |
//! | --- | --- | --- |
//! | normal | A | `when` holds |
//! | pending | - | held for `on_delay` (and `occurrences` reached) -> B; no longer holds -> A |
//! | unacknowledged | B | a person -> C; `clear_when` held for `off_delay` -> D (or latched) |
//! | acknowledged | C | `clear_when` held for `off_delay` -> A (or latched) |
//! | returned | D | its ticket is over, or a person -> A; `when` holds again -> the next episode |
//! | latched | - | a reset -> A; `when` holds again -> B, the same episode |
//!
//! A rise in severity, and the end of a shelf, take C back to B.
//!
//! An unknown condition changes nothing: it neither raises nor clears, and a delay that runs out
//! while the condition is unknown waits for the next known value.
//!
//! Between the delays and suppression stands flapping: while an alarm changes too often it counts
//! as raised.

mod flapping;
mod table;

pub use flapping::{Past, calm_at, observe, recent, score};
pub use table::{
    Event, Next, Observation, Policy, Truth, acknowledge, re_alarm, reset, ticket_over,
};
