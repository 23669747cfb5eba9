//! One test binary; one module per promise.

// In a test, what cannot go on is a failure; clippy exempts only the functions marked #[test].
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod bill;
mod book;
mod broker_restart;
mod budgets;
mod check_warnings;
mod child;
mod clock_jumps;
mod commands;
mod connectors;
mod crash;
mod demo;
mod desk;
mod doctor;
mod explain;
#[cfg(feature = "fail-points")]
mod fail_points;
mod fake;
mod four_ways;
mod full_disk;
mod fuzz;
mod gateway;
mod hostile;
mod kills;
mod lanes;
mod layers;
mod life_cycle;
mod mosquitto;
mod mqtt_tls;
mod mqtt_traps;
mod one_ticket;
mod outage;
mod plant;
mod proxy;
mod real;
mod recordings;
mod redelivery;
mod redmine;
mod reload;
mod reload_load;
mod retention;
mod rt_restart;
mod rule_files;
mod rule_history;
mod service_manager;
mod soak;
mod sparkplug;
mod store_crash;
mod store_disk;
mod store_journal;
mod storm;
mod suggest;
mod upstream;
