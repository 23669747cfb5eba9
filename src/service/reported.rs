//! What the upstreams say of use themselves is kept, a record a day and counter, so that it can be held
//! against the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::engine::types::period::first_instant;
use crate::engine::types::reported::Reported;
use crate::engine::types::time::Timestamp;
use crate::io::clock;
use crate::io::journal::Journal;
use crate::io::store::StoreError;
use crate::io::upstream::{Told, Upstream};

/// How often what was told is stored.
const STORE_EVERY: Duration = Duration::from_secs(60);

/// Keeps what is told until `stop` says so, and what was told last then.
pub async fn run(
    upstreams: BTreeMap<String, Arc<Upstream>>,
    journal: Arc<Journal>,
    zone: Tz,
    mut stop: watch::Receiver<bool>,
) {
    let mut waiting: BTreeMap<(String, String), Told> = BTreeMap::new();
    loop {
        let is_over = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(STORE_EVERY) => false,
        };
        for (name, upstream) in &upstreams {
            for (header, told) in upstream.take_reported() {
                let place = waiting.entry((name.clone(), header)).or_insert(told);
                (place.value, place.most) = (told.value, place.most.max(told.most));
            }
        }
        if !waiting.is_empty() {
            match block_in_place(|| keep(&journal, &waiting, zone, clock::now())) {
                Ok(()) => waiting.clear(),
                Err(error) => tracing::warn!(%error, "What upstreams say of use is stored later."),
            }
        }
        if is_over {
            return;
        }
    }
}

/// Adds to the records of today.
fn keep(
    journal: &Journal,
    waiting: &BTreeMap<(String, String), Told>,
    zone: Tz,
    now: Timestamp,
) -> Result<(), StoreError> {
    let day = first_instant(zone, now.to_chrono().with_timezone(&zone).date_naive());
    let known = journal.reported(day)?;
    let records = waiting.iter().map(|((upstream, header), told)| {
        let today = known.iter().find(|known| {
            known.day == day && known.upstream == *upstream && known.header == *header
        });
        Reported {
            upstream: upstream.clone(),
            header: header.clone(),
            day,
            first: today.map_or(told.first, |today| today.first),
            value: told.value,
            most: today.map_or(told.most, |today| today.most.max(told.most)),
            at: now,
        }
    });
    journal.put_reported(&records.collect::<Vec<_>>())
}
