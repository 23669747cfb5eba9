//! After the run: a backup from somewhere in it is put back, and the gateway goes on from there,
//! while the upstreams know all that it did since (I8).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use faultgate::engine::types::restored::Restored;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::journal::Journal;
use faultgate::io::store::{Record, Records};

use crate::chance::Chance;
use crate::disk::{Disk, SimStore};
use crate::process::UPSTREAMS;
use crate::world::{Event, World};

/// Records that are put back in one commit.
const BATCH: usize = 100;
/// When a backup is tried again where the gateway does not run.
const AGAIN: TimeSpan = TimeSpan::from_secs(60);

/// What was in the store at a time.
#[derive(Debug)]
pub struct Backup {
    at: Timestamp,
    records: Vec<Record>,
    /// How much had been done to each ticket, by its key.
    done: BTreeMap<String, usize>,
}

impl World {
    /// Makes the backup.
    pub(crate) fn back_up(&mut self) -> anyhow::Result<()> {
        let Some(process) = &self.process else {
            self.after(AGAIN, Event::Backup);
            return Ok(());
        };
        let records = process.journal.store().scan(b"", b"").collect::<Result<Vec<_>, _>>()?;
        self.tell("gateway", || format!("is backed up: {} records", records.len()));
        let tickets = self.servers.iter().flat_map(|server| &server.tickets);
        let done = tickets.map(|ticket| (ticket.key.clone(), ticket.effects.len())).collect();
        self.backup = Some(Backup { at: process.turned_at, records, done });
        Ok(())
    }

    /// Puts it back in place of what is there; then every device says how it is.
    pub(crate) fn put_back(&mut self, backup: Backup) -> anyhow::Result<()> {
        self.tell("world", || "the backup is put back".to_owned());
        let at = self.process.take().context("the gateway runs")?.turned_at;
        self.life += 1;
        self.net.forget();
        self.brokers.iter_mut().for_each(crate::broker::Broker::disconnect);
        let chance = Chance::of(self.plan.seed, "disk", 1);
        *self.disk.borrow_mut() = Disk::new(self.plan.epoch_bytes, chance, self.fuse.clone());
        let store = SimStore::open(&self.disk)?;
        for records in backup.records.chunks(BATCH) {
            let batch = records.iter().cloned().map(|(key, value)| (key, Some(value)));
            store.commit(batch.collect())?;
        }
        let journal = Journal::over(store, std::path::Path::new("simulated"))?;
        journal.put_restored(Restored { backup_at: backup.at, at })?;
        let tickets = self.servers.iter().flat_map(|server| &server.tickets);
        let changed =
            tickets.filter(|ticket| backup.done.get(&ticket.key) != Some(&ticket.effects.len()));
        self.changed_since = Some(changed.map(|ticket| ticket.key.clone()).collect());
        self.put_budgets_back();
        self.start()?;
        let mut last: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (number, said) in self.plan.publications.iter().enumerate() {
            last.extend(
                said.values.iter().map(|(metric, _)| ((said.device.as_str(), *metric), number)),
            );
        }
        let again: BTreeSet<usize> = last.into_values().collect();
        for number in again {
            self.after(TimeSpan::from_secs(1), Event::Publish(number));
        }
        Ok(())
    }

    /// What must be true once all is quiet again, but for tickets to which something was done that
    /// nothing can know of: opened or reopened, and over by now.
    pub(crate) fn check_restored(&self, changed: &BTreeSet<String>) -> anyhow::Result<()> {
        for server in &self.servers {
            let mut keys = BTreeSet::new();
            for ticket in &server.tickets {
                ensure!(
                    keys.insert(&ticket.key),
                    "{}: the ticket with key {} is doubled after a restore (I8)",
                    server.name,
                    ticket.key
                );
            }
        }
        let engine = &self.process.as_ref().context("the gateway runs")?.engine;
        let is_open_there = |upstream: &str, key: &str| {
            let server = self.servers.iter().find(|server| server.name == upstream);
            let there =
                server.and_then(|server| server.tickets.iter().find(|there| there.key == key));
            there.map(|there| !there.is_over)
        };
        let mut open = BTreeSet::new();
        for ticket in engine.tickets() {
            let key = ticket.fingerprint.0.as_str();
            let Some(is_open) = is_open_there(&ticket.upstream, key) else {
                bail!("{}: there is no ticket with key {key} after a restore", ticket.id);
            };
            ensure!(
                is_open != ticket.status.is_over() || is_open && changed.contains(key),
                "ticket {} with key {key} is {:?} after a restore, and open upstream: {is_open}",
                ticket.id,
                ticket.status
            );
            open.extend(is_open.then_some(key));
        }
        for server in self
            .servers
            .iter()
            .filter(|server| UPSTREAMS.iter().any(|(name, _)| *name == server.name))
        {
            let left = server.tickets.iter().filter(|ticket| !ticket.is_over);
            for ticket in left.filter(|ticket| !open.contains(ticket.key.as_str())) {
                ensure!(
                    changed.contains(&ticket.key),
                    "{}: nothing was done to the ticket with key {} since the backup, and it stays open",
                    server.name,
                    ticket.key
                );
            }
        }
        Ok(())
    }
}
