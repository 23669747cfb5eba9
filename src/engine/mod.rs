//! The pure core: (state, input, now) -> effects.
pub mod decode;
pub mod escalate;
pub mod guard;
pub mod lifecycle;
pub mod outbox;
pub mod ticket;
pub mod types;
