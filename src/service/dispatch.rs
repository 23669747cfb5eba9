//! Delivery: every call that the engine asks for is made in a task of its own, and what came of it
//! goes back into the loop. The engine bounds how many are under way.
//!
//! The first calls are made on the thread of the loop, which need not wake another for them; when
//! there are many, they are made on the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::histogram;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::engine::types::job::{Call, Delivered, Outcome};
use crate::fail;
use crate::io::clock;
use crate::io::upstream::Upstream;

/// How long a stop waits for calls that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(6);

/// Calls under way past which further ones are made on other threads.
const OWN_CALLS_MAX: usize = 2;

/// Makes the calls.
#[derive(Debug)]
pub struct Dispatcher {
    upstreams: BTreeMap<String, Arc<Upstream>>,
    results: mpsc::Sender<Delivered>,
    calls: JoinSet<()>,
    others: Handle,
}

impl Dispatcher {
    /// A dispatcher to these upstreams; what comes of the calls goes to `results`. Where there are
    /// many, they are made on the threads of `others`.
    pub fn new(
        upstreams: BTreeMap<String, Arc<Upstream>>,
        results: mpsc::Sender<Delivered>,
        others: Handle,
    ) -> Dispatcher {
        Dispatcher { upstreams, results, calls: JoinSet::new(), others }
    }

    /// True while no call is under way.
    pub fn is_idle(&mut self) -> bool {
        self.forget_ended();
        self.calls.is_empty()
    }

    fn forget_ended(&mut self) {
        while self.calls.try_join_next().is_some() {}
    }

    /// Makes one call.
    pub fn send(&mut self, call: Call) {
        self.forget_ended();
        let upstream = self.upstreams.get(&call.upstream).cloned();
        let results = self.results.clone();
        let calling = async move {
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
                    is_short: false,
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
        };
        if self.calls.len() < OWN_CALLS_MAX {
            self.calls.spawn(calling);
        } else {
            self.calls.spawn_on(calling, &self.others);
        }
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
        Outcome::Gone { .. } => "gone",
        Outcome::Later { .. } => "later",
        Outcome::Held { .. } => "held",
        Outcome::Unknown { .. } => "unknown",
    }
}
