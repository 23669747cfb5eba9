//! x
pub mod clock;
pub mod journal;
pub mod mqtt;
pub mod store;
