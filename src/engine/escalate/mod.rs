//! Stage 6: who is told and when, as long as nobody takes the ticket.
//!
//! A ladder changes the same ticket; it never opens another. Its clock starts at the raise (event
//! time), survives a restart, and a step whose condition is met is passed over.

mod ladder;

pub use ladder::{Ladder, PriorityChange, Repeat, Step, Stop, due, read_ladders, take};
