//! Delivery: every call that the engine asks for is made in a task of its own, and what came of it
//! goes back into the loop. The engine bounds how many are under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::gateway::Event;
use crate::engine::types::input::Input;
use crate::engine::types::job::{Call, Delivered, Outcome};
use crate::io::clock;
use crate::io::upstream::Upstream;

/// Makes the calls.
pub struct Dispatcher {
    upstreams: BTreeMap<String, Arc<Upstream>>,
    events: mpsc::Sender<Event>,
    calls: JoinSet<()>,
}

impl Dispatcher {
    /// A dispatcher to these upstreams; results go to `events`.
    pub fn new(upstreams: BTreeMap<String, Arc<Upstream>>, events: mpsc::Sender<Event>) -> Dispatcher {
        Dispatcher { upstreams, events, calls: JoinSet::new() }
    }

    /// Makes one call.
    pub fn send(&mut self, call: Call) {
        while self.calls.try_join_next().is_some() {}
        let upstream = self.upstreams.get(&call.upstream).cloned();
        let events = self.events.clone();
        self.calls.spawn(async move {
            let delivered = match upstream {
                Some(upstream) => {
                    let began = clock::stopwatch();
                    let delivered = upstream.perform(&call).await;
                    let name = upstream.name().to_owned();
                    let ended = outcome_word(&delivered.outcome);
                    histogram!("faultgate_call_seconds", "upstream" => name, "outcome" => ended)
                        .record(began.seconds());
                    delivered
                }
                None => Delivered {
                    key: call.key,
                    attempt: call.attempt,
                    requests: 0,
                    outcome: Outcome::Rejected {
                        reason: format!("there is no upstream `{}` in the configuration", call.upstream),
                    },
                },
            };
            // The loop is gone only when the gateway stops; the job is still in the outbox then.
            drop(events.send(Event::Input(Input::Delivered(delivered))).await);
        });
    }

    /// Waits for the calls that are under way.
    pub async fn finish(&mut self) {
        while self.calls.join_next().await.is_some() {}
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
