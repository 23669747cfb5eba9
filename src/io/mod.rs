//! Touches the world and decides nothing: brokers, disk, clock.
pub mod clock;
pub mod journal;

pub mod store;
