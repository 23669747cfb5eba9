//! Touches the world and decides nothing: brokers, disk, clock, HTTP, service manager.

pub mod backup;
pub mod clock;
pub mod desk;
pub mod durable;
pub mod journal;
pub mod mqtt;
mod page;
pub mod rule_history;
mod schema;
pub mod secret;
pub mod store;
pub mod systemd;
pub mod telemetry;
pub mod upstream;
pub mod web;
