//! One test binary; one module per promise.
mod child;
mod mosquitto;
mod mqtt_traps;
mod store_crash;
mod store_disk;
mod store_journal;
