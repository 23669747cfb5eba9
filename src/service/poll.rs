//! Polling: asks an upstream again and again what people did there.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::upstream::{Change, Upstream, Watch};

/// Tells what people do in `upstream` from `since` on, until `stop` says so.
pub async fn run(
    upstream: Arc<Upstream>,
    every: TimeSpan,
    since: Timestamp,
    told: mpsc::Sender<(String, Change)>,
    mut stop: watch::Receiver<bool>,
) {
    let mut watch = Watch::since(since);
    let mut up = true;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every.to_std()) => {}
        }
        let looked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            looked = upstream.changes(&mut watch) => looked,
        };
        let name = upstream.name();
        match looked {
            Ok(changes) => {
                if !up {
                    tracing::info!(upstream = name, "An upstream is polled again.");
                }
                up = true;
                for change in changes {
                    // The loop ends before this task only when the gateway stops.
                    drop(told.send((name.to_owned(), change)).await);
                }
            }
            Err(reason) => {
                if up {
                    tracing::warn!(upstream = name, reason, "An upstream cannot be polled.");
                }
                up = false;
            }
        }
    }
}
