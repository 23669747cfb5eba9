//! Each stretch of time has one row, whatever is killed.

use rust_decimal::Decimal;

use crate::config;
use crate::engine::pipeline::{Engine, Snapshot};
use crate::engine::policy;
use crate::engine::types::alarm::Signature;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::{Input, OperatorAction};
use crate::engine::types::ledger::LedgerRow;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::metering::Metering;
use crate::engine::types::time::Timestamp;

const PLAN: &str = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[plan.period]\ntimezone = \"Asia/Shanghai\"\n\
                    [[meter]]\nid = \"device.peak\"\nagg = \"max\"\nbucket = \"30m\"\n\
                    [[line]]\nid = \"d\"\nkind = \"per_unit\"\nmeter = \"device.peak\"\nunit = \"1\"\n";

/// An engine with a store that is written after each step.
struct Plant {
    engine: Engine,
    stored: Snapshot,
    rows: Vec<LedgerRow>,
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2026-03-02T{text}Z")).expect("a time")
}

fn engine(stored: Snapshot, now: Timestamp) -> Engine {
    let loaded = config::load(None, &Report::default()).expect("reads");
    let mut settings = loaded.config.expect("defaults").settings().expect("settings");
    settings.gateway = "sh-01".to_owned();
    let source = Source { file: "plan.toml".into(), text: PLAN.into() };
    let policy = policy::compile(&[source], &["desk"], &Report::default()).expect("a plan");
    Engine::restore(settings, policy, stored, now, &mut Effects::default())
}

impl Plant {
    fn new(now: &str) -> Plant {
        let stored = Snapshot::default();
        Plant { engine: engine(stored.clone(), at(now)), stored, rows: Vec::new() }
    }

    /// `is_kept` false: the process is killed before the commit.
    fn step(&mut self, now: &str, input: Input, is_kept: bool) {
        let mut effects = Effects::default();
        self.engine.step(at(now), Input::Tick, &mut effects);
        self.engine.step(at(now), input, &mut effects);
        for write in effects.writes.drain(..).filter(|_| is_kept) {
            if let Write::Ledger(row) = write {
                self.stored.ledger.sequence = row.sequence;
                self.stored.ledger.hash.clone_from(&row.hash);
                self.rows.push(*row);
            } else if let Write::Metering(metering) = write {
                self.stored.metering = *metering;
            }
        }
    }

    fn speaks(&mut self, now: &str, device: &str) {
        let facts = DeviceFacts { id: device.to_owned(), ..DeviceFacts::default() };
        let readings = vec![("t".to_owned(), Reading::Good(Value::Float(1.0)))];
        self.step(now, Input::Readings { facts, at: at(now), readings }, true);
    }

    fn measured(&mut self, now: &str, kept_bytes: u64) {
        self.step(now, Input::Measured { kept_bytes }, true);
    }

    fn restart(&mut self, now: &str) {
        self.engine = engine(self.stored.clone(), at(now));
    }

    fn told(&self) -> Vec<(String, String)> {
        self.rows.iter().map(|row| (row.idem.clone(), row.qty.to_string())).collect()
    }
}

fn row(idem: &str, qty: &str) -> (String, String) {
    (format!("sh-01/2026-03-{idem}"), qty.to_owned())
}

#[test]
fn the_devices_that_spoke_in_a_bucket_are_its_peak_and_a_silent_hour_has_no_row() {
    let mut plant = Plant::new("08:00:00");
    plant.measured("08:00:00", 0);
    plant.speaks("08:10:00", "fz-1");
    plant.speaks("08:20:00", "fz-2");
    plant.speaks("08:31:00", "fz-1");
    plant.measured("10:05:00", 0);
    assert_eq!(
        plant.told(),
        [row("02T08:00:00Z/device.peak", "2"), row("02T08:30:00Z/device.peak", "1")]
    );
    assert!(plant.rows.iter().all(|row| row.is_intact() && row.is_measured()));
}

#[test]
fn what_is_kept_has_one_row_a_day_of_the_plans_zone_in_gigabytes() {
    let mut plant = Plant::new("08:00:00");
    plant.measured("08:00:00", 2_500_000_000);
    plant.measured("12:00:00", 2_500_000_001);
    plant.measured("16:00:01", 3_000_000_000);
    // 16:00 UTC is midnight in Shanghai: the day that began at 16:00 of the day before is over.
    assert_eq!(plant.told(), [row("01T16:00:00Z/storage.gb_day", "2.500000001")]);
}

#[test]
fn people_who_act_are_users_and_where_nobody_is_known_there_is_no_row() {
    let mut plant = Plant::new("08:00:00");
    plant.measured("08:00:00", 0);
    plant.speaks("08:10:00", "fz-1");
    plant.measured("08:31:00", 0);
    let row_taken = plant.rows[0].clone();
    for by in ["li", "wang", "li", ""] {
        let (via, reason) = ("cli".to_owned(), String::new());
        let signature = Signature { by: by.to_owned(), at: at("09:10:00"), via, reason };
        let action = OperatorAction::TakeBack(Box::new(row_taken.clone()));
        plant.step("09:10:00", Input::Operator { action, signature }, true);
    }
    plant.measured("11:05:00", 0);
    let users = plant.told().into_iter().filter(|(idem, _)| idem.ends_with("user.peak"));
    assert_eq!(users.collect::<Vec<_>>(), [row("02T09:00:00Z/user.peak", "2")]);
}

#[test]
fn a_bucket_has_its_row_once_whenever_the_process_is_killed() {
    let mut plant = Plant::new("08:00:00");
    plant.measured("08:00:00", 0);
    plant.speaks("08:10:00", "fz-1");
    plant.speaks("08:11:00", "fz-2");
    plant.measured("08:12:00", 0);
    // Killed in the bucket: one of both has spoken since.
    plant.restart("08:20:00");
    plant.measured("08:21:00", 0);
    plant.speaks("08:22:00", "fz-2");
    plant.measured("08:23:00", 0);
    // Killed when the row was decided and not stored, and started long after.
    plant.step("08:30:01", Input::Measured { kept_bytes: 0 }, false);
    plant.restart("09:45:00");
    plant.speaks("09:45:10", "fz-3");
    plant.measured("09:46:00", 0);
    assert_eq!(plant.told(), [row("02T08:00:00Z/device.peak", "2")]);
    // Killed after the commit: it does not come again.
    plant.restart("09:47:00");
    plant.measured("09:48:00", 0);
    assert_eq!(plant.rows.len(), 1);
    assert_eq!(plant.stored.metering.open.len(), 1);
    assert_ne!(plant.stored.metering, Metering::default());
    assert_eq!(plant.rows[0].qty, Decimal::TWO);
}
