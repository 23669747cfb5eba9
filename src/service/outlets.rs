//! What the engine publishes: to the broker of its source, at most once.
//!
//! A connection of its own for each source that publishes at all: a client that also subscribes
//! stops acknowledging while its own messages wait.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::engine::types::message::Publication;
use crate::io::mqtt::embedded::Publisher as Inside;
use crate::io::mqtt::publish::Publisher;

/// Publications that may wait; what comes on top is dropped, since it is asked for again.
const WAITING_MAX: usize = 256;

/// The way to one broker.
#[derive(Debug)]
pub(super) enum Outlet {
    /// Inside the process.
    Embedded(Inside),
    /// Over the network.
    External(Publisher),
}

/// Hands publications over to the task that sends them.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    waiting: mpsc::Sender<Publication>,
}

impl Outlets {
    /// Sends to these brokers, by source, until the last of the clones is dropped.
    pub fn start(outlets: BTreeMap<usize, Outlet>) -> Outlets {
        let (waiting, publications) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send(outlets, publications));
        Outlets { waiting }
    }

    /// Never waits: a broker that takes nothing must not hold the loop.
    pub fn publish(&self, publication: Publication) {
        if let Err(error) = self.waiting.try_send(publication) {
            tracing::warn!(%error, "A message to a broker was dropped.");
        }
    }
}

async fn send(mut outlets: BTreeMap<usize, Outlet>, mut publications: mpsc::Receiver<Publication>) {
    while let Some(Publication { source, topic, payload }) = publications.recv().await {
        let sent = match outlets.get_mut(&source) {
            Some(Outlet::Embedded(inside)) => inside.publish(&topic, payload),
            Some(Outlet::External(publisher)) => {
                let sent = publisher.publish(&topic, payload, false).await;
                sent.map_err(|error| error.to_string())
            }
            None => Err("the source publishes nothing".to_owned()),
        };
        if let Err(error) = sent {
            tracing::warn!(topic, error, "A message to a broker was not sent.");
        }
    }
}
