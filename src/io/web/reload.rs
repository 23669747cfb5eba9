//! Asking for the rule files to be read anew.

use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use super::NoAnswer;
use crate::io::rule_history::Origin;

/// Requests that may wait.
const REQUESTS_MAX: usize = 16;

/// Whoever waits to hear what came of it: `accepted`, the number of `rules`, the `errors`.
#[derive(Debug)]
pub struct Waiting {
    /// Who asks.
    pub origin: Origin,
    /// Where the answer goes.
    pub told: oneshot::Sender<Json>,
}

/// Asks whoever reads the files.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<Waiting>,
}

impl Reloader {
    /// A reloader, and the reader's end of it.
    pub fn new() -> (Reloader, mpsc::Receiver<Waiting>) {
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        (Reloader { requests }, asked)
    }

    /// Has the files read, and waits for what comes of it.
    ///
    /// # Errors
    /// When the gateway is stopping.
    pub async fn reload(&self, origin: Origin) -> Result<Json, NoAnswer> {
        let (told, answer) = oneshot::channel();
        self.requests.send(Waiting { origin, told }).await.map_err(|_| NoAnswer::Busy)?;
        answer.await.map_err(|_| NoAnswer::Busy)
    }
}
