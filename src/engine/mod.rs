//! The pure core: (state, input, now) -> effects.
pub mod decode;
pub mod detect;
pub mod escalate;
pub mod guard;
pub mod lifecycle;
pub mod merge;
pub mod outbox;
pub mod pipeline;
pub mod policy;
pub mod rating;
pub mod register;
pub mod rehearsal;
pub mod rule_changes;
pub mod suppress;
pub mod ticket;
pub mod trial;
pub mod types;
