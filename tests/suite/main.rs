//! One test binary; one module per promise.

// In a test, what cannot go on is a failure; clippy exempts only the functions marked #[test].
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod bill;
mod book;
mod budgets;
mod check_warnings;
mod child;
mod commands;
mod connectors;
mod crash;
mod demo;
mod desk;
mod explain;
#[cfg(feature = "fail-points")]
mod fail_points;
mod fake;
mod fuzz;
mod gateway;
mod lanes;
mod layers;
mod life_cycle;
mod mosquitto;
mod mqtt_tls;
mod mqtt_traps;
mod one_ticket;
mod proxy;
mod recordings;
mod redelivery;
mod redmine;
mod reload;
mod reload_load;
mod rule_files;
mod rule_history;
mod service_manager;
mod sparkplug;
mod store_crash;
mod store_disk;
mod store_journal;
mod suggest;
mod upstream;
