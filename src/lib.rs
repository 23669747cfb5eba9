//! Faultgate: an edge gateway that turns device telemetry into repair tickets.
pub mod engine;
pub mod io;
