//! What the engine's own retention leaves to the shell: acts and digest lines that are old, and the
//! bound on disk.
//!
//! sled's files do not get smaller when something is deleted: the gaps are used again. Where the
//! files are larger than `max_disk`, it is therefore the bytes of the records that are measured, and
//! tickets go until these are at most half of it: files of a store that is at work were measured at
//! twice its records.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::block_in_place;

use crate::config::{Config, StoreConfig};
use crate::engine::pipeline::{EARLY_MIN, GoneEarly, pass_every};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::clock;
use crate::io::journal::{Dated, Journal, Size};
use crate::io::store::{StoreError, files_bytes};
use crate::io::upstream::UpstreamConfig;

/// How often the files are measured.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The first look comes no sooner after a start.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long episodes of alarms are kept for figures, where tickets are not kept for less.
const SPELLS_KEPT: TimeSpan = TimeSpan::from_secs(40 * 86_400);
/// Records that go in one commit.
const BATCH_MAX: usize = 1_000;
/// Between two of them, so that faults are not kept waiting.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the loop to let tickets go before their time.
#[derive(Debug)]
pub struct Early {
    /// At most so many.
    pub most: usize,
    /// What has gone.
    pub answer: oneshot::Sender<GoneEarly>,
}

/// How the files stand to `max_disk`, so that each change is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Within,
    /// Larger, and what is in them is kept within half of it.
    Full,
    /// Larger, and nothing more may go.
    Stuck,
}

struct Keeper {
    config: StoreConfig,
    data: PathBuf,
    journal: Arc<Journal>,
    early: mpsc::Sender<Early>,
    stop: watch::Receiver<bool>,
    standing: Standing,
}

/// Keeps the store within its bounds until `stop` says so.
pub async fn run(
    config: Config,
    journal: Arc<Journal>,
    (early, sizes): (mpsc::Sender<Early>, mpsc::Sender<u64>),
    mut stop: watch::Receiver<bool>,
) {
    let is_own = config.upstreams.iter().any(UpstreamConfig::is_own_desk);
    let every = pass_every(config.store.closed_max).to_std();
    let look_every = every.min(LOOK_EVERY);
    let looks = every.as_millis() / look_every.as_millis().max(1);
    let mut wait = config.gateway.settle.to_std().max(FIRST_LOOK);
    let mut keeper = Keeper {
        config: config.store,
        data: config.gateway.data,
        journal,
        early,
        stop: stop.clone(),
        standing: Standing::Within,
    };
    let mut before_pass = 0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = look_every;
        let files = keeper.measure_files();
        if sizes.try_send(files.kept(is_own)).is_err() {
            tracing::debug!("The size that was measured before is not taken yet.");
        }
        if before_pass == 0 {
            before_pass = looks;
            if let Err(error) = keeper.pass(clock::now(), files).await {
                tracing::warn!(%error, "What is old stays in the store for now.");
            }
        }
        before_pass = before_pass.saturating_sub(1);
    }
}

/// Bytes of the files.
#[derive(Clone, Copy, Debug)]
struct Files {
    gateway: u64,
    desk: u64,
}

impl Files {
    /// What is kept for tickets: what the desk inside has of them, attachments among it; where tickets go
    /// elsewhere, what the gateway has of them.
    fn kept(self, is_own_desk: bool) -> u64 {
        if is_own_desk { self.desk } else { self.gateway }
    }
}

impl Keeper {
    fn measure_files(&self) -> Files {
        let [gateway, desk] = ["gateway", "desk"].map(|store| {
            let bytes = block_in_place(|| files_bytes(&self.data.join(store)));
            gauge!("faultgate_store_bytes", "store" => store).set(bytes as f64);
            bytes
        });
        Files { gateway, desk }
    }

    async fn pass(&mut self, now: Timestamp, files: Files) -> Result<(), StoreError> {
        let old = now - self.config.closed_max;
        self.forget(old, u64::MAX).await?;
        self.forget_all(Dated::Spell, old.max(now - SPELLS_KEPT), u64::MAX).await?;
        let max = self.config.disk_max;
        if files.gateway.saturating_add(files.desk) <= max {
            self.enter(Standing::Within, "", 0);
            return Ok(());
        }
        let stop = self.stop.clone();
        let sizes = block_in_place(|| self.journal.sizes(|| !*stop.borrow()))?;
        let Some(sizes) = sizes else { return Ok(()) };
        let live: u64 = sizes.values().map(|size| size.bytes).sum();
        gauge!("faultgate_store_live_bytes").set(live as f64);
        let excess = live.saturating_sub(max.saturating_sub(files.desk) / 2);
        if self.standing == Standing::Within {
            self.enter(Standing::Full, "", live);
        }
        let tickets = sizes.get("tickets").copied().unwrap_or_default();
        let freed = self.make_room(now, excess, tickets).await?;
        if *self.stop.borrow() {
            return Ok(());
        }
        let standing = if freed < excess { Standing::Stuck } else { Standing::Full };
        self.enter(standing, &holders(&sizes, files), live.saturating_sub(freed));
        Ok(())
    }

    /// Lets the oldest go until so many bytes are free, or nothing more may go; how many are.
    async fn make_room(
        &self,
        now: Timestamp,
        excess: u64,
        tickets: Size,
    ) -> Result<u64, StoreError> {
        let each = (tickets.bytes / tickets.records.max(1)).max(1);
        let mut freed = 0;
        // The engine goes on where it stopped the last time: only after its second end it has looked
        // at every ticket.
        let mut ends = 0;
        while freed < excess && ends < 2 && !*self.stop.borrow() {
            let wanted = (excess - freed).div_ceil(each).min(BATCH_MAX as u64);
            let Some(gone) = self.ask(wanted as usize).await else { break };
            freed += each * gone.count as u64;
            if let Some(ended) = gone.ended {
                freed += self.forget(ended, excess.saturating_sub(freed)).await?;
            }
            ends += u32::from(gone.is_all);
            tokio::time::sleep(PAUSE).await;
        }
        freed += self.forget(now - EARLY_MIN, excess.saturating_sub(freed)).await?;
        Ok(freed)
    }

    /// `None` when the gateway stops, also while the store refuses and the loop answers nobody.
    async fn ask(&self, most: usize) -> Option<GoneEarly> {
        let (answer, told) = oneshot::channel();
        let asked = async {
            self.early.send(Early { most, answer }).await.ok()?;
            told.await.ok()
        };
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => None,
            gone = asked => gone,
        }
    }

    /// Deletes acts and digest lines from before a time, until so many bytes are free; how many are.
    async fn forget(&self, before: Timestamp, bytes_max: u64) -> Result<u64, StoreError> {
        let mut freed = 0;
        for what in Dated::ALL {
            freed += self.forget_all(what, before, bytes_max.saturating_sub(freed)).await?;
        }
        Ok(freed)
    }

    async fn forget_all(
        &self,
        what: Dated,
        before: Timestamp,
        bytes_max: u64,
    ) -> Result<u64, StoreError> {
        let mut freed = 0;
        while freed < bytes_max && !*self.stop.borrow() {
            let gone = block_in_place(|| self.journal.forget(what, before, BATCH_MAX))?;
            counter!("faultgate_store_pruned_total", "kind" => what.word()).increment(gone.records);
            freed += gone.bytes;
            if gone.records < BATCH_MAX as u64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(freed)
    }

    fn enter(&mut self, standing: Standing, holders: &str, live: u64) {
        if std::mem::replace(&mut self.standing, standing) == standing {
            return;
        }
        let (max_mib, live_mib) = (self.config.disk_max >> 20, live >> 20);
        match standing {
            Standing::Within => tracing::info!(max_mib, "The stores are within `max_disk` again."),
            Standing::Full => tracing::warn!(
                max_mib,
                live_mib,
                "The stores are larger than `max_disk`: tickets that are over go before their time, the oldest first. The files stay as large as they are, and have gaps that are used again."
            ),
            Standing::Stuck => tracing::error!(
                max_mib,
                live_mib,
                holders,
                "The stores cannot be kept within `max_disk`: what is left is needed, kept for good, or not over for 7 days. Raise `max_disk` in `[store]`, and see that the disk has the room."
            ),
        }
    }
}

/// What holds the space, the largest first.
fn holders(sizes: &BTreeMap<&'static str, Size>, files: Files) -> String {
    let kinds = sizes.iter().map(|(kind, size)| (*kind, size.bytes));
    let mut all: Vec<(&str, u64)> = kinds.chain([("desk inside", files.desk)]).collect();
    all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let largest = all.iter().take(3);
    let told: Vec<String> =
        largest.map(|(kind, bytes)| format!("{kind} {} MiB", bytes >> 20)).collect();
    told.join(", ")
}
