//! Faultgate: an edge gateway that turns device telemetry into repair tickets.
pub mod engine;
