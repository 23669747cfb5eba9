//! Delivery: every call that the engine asks for is made in a task of its own, and what came of it
//! goes back into the loop. The engine bounds how many are under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::engine::types::job::{Call, Delivered, Outcome};
use crate::fail;
use crate::io::clock;
use crate::io::upstream::Upstream;

/// How long a stop waits for calls that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(6);

/// Makes the calls.
#[derive(Debug)]
pub struct Dispatcher {
    upstreams: BTreeMap<String, Arc<Upstream>>,
    results: mpsc::Sender<Delivered>,
    calls: JoinSet<()>,
}

impl Dispatcher {
    /// A dispatcher to these upstreams; what comes of the calls goes to `results`.
    pub fn new(
        upstreams: BTreeMap<String, Arc<Upstream>>,
        results: mpsc::Sender<Delivered>,
    ) -> Dispatcher {
        Dispatcher { upstreams, results, calls: JoinSet::new() }
    }

    /// Makes one call.
    pub fn send(&mut self, call: Call) {
        while self.calls.try_join_next().is_some() {}
        let upstream = self.upstreams.get(&call.upstream).cloned();
        let results = self.results.clone();
        self.calls.spawn(async move {
            let delivered = match upstream {
                Some(upstream) => {
                    let began = clock::monotonic();
                    let delivered = upstream.perform(&call).await;
                    fail::point("call-ended");
                    let name = upstream.name().to_owned();
                    let ended = outcome_word(&delivered.outcome);
                    histogram!("faultgate_call_seconds", "upstream" => name, "outcome" => ended)
                        .record(began.elapsed().as_secs_f64());
                    delivered
                }
                None => Delivered {
                    key: call.key,
                    attempt: call.attempt,
                    requests: 0,
                    outcome: Outcome::Rejected {
                        reason: format!(
                            "there is no upstream `{}` in the configuration",
                            call.upstream
                        ),
                    },
                },
            };
            // The loop is gone only when the gateway stops; the job is still in the outbox then.
            drop(results.send(delivered).await);
        });
    }

    /// Waits for the calls that are under way, at most [`FINISH_WITHIN`]; what came of them goes to
    /// `ended`. A call that takes longer is looked up after the next start.
    pub async fn finish(
        &mut self,
        results: &mut mpsc::Receiver<Delivered>,
        ended: &mut Vec<Delivered>,
    ) {
        let deadline = tokio::time::sleep(FINISH_WITHIN);
        tokio::pin!(deadline);
        while !self.calls.is_empty() {
            tokio::select! {
                _ = self.calls.join_next() => {}
                Some(delivered) = results.recv() => ended.push(delivered),
                () = &mut deadline => break,
            }
        }
        while let Ok(delivered) = results.try_recv() {
            ended.push(delivered);
        }
    }
}

fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { found: false, .. } => "done",
        Outcome::Done { found: true, .. } => "found",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Later { .. } => "later",
        Outcome::Unknown { .. } => "unknown",
    }
}
