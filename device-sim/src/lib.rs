//! What stands in for devices: simulated fleets with faults, and recordings, published over MQTT.
//!
//! [`scenario`] reads what a fleet is from TOML, [`fleet`] turns it into messages (the same seed
//! makes the same bytes), [`recording`] reads and writes what real devices said, and [`publish`]
//! sends either of them to a broker.

pub mod fleet;
mod link;
pub mod open_files;
pub mod publish;
pub mod recording;
pub mod scenario;

pub use fleet::{Action, Fleet, Planned};
pub use scenario::Scenario;
