//! The thread of the loop, with a runtime of its own.
//!
//! What passes between the sockets of brokers and upstreams and the loop stays on one thread: no
//! other has to be woken between a message and the request that follows from it. HTTP, desk,
//! embedded broker and rules have the other runtime.

use anyhow::Context;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::gateway::{Ended, Gateway, Inlets};
use crate::io::mqtt::external::Subscriber;

/// Tasks that run before the sockets are looked at, where something is always ready to run.
const TASKS_BETWEEN_LOOKS: u32 = 8;

/// What the thread does.
pub(super) struct Work {
    pub gateway: Gateway,
    pub inlets: Inlets,
    pub stop: watch::Receiver<bool>,
    /// Run on the thread; they end after the loop, with the acknowledgements of its last batch.
    pub subscribers: Vec<Subscriber>,
}

/// A thread that waits for its work; dropped, it ends.
pub(super) struct OwnThread {
    /// Where the tasks of the sockets are spawned.
    pub runtime: Handle,
    work: oneshot::Sender<Work>,
    ended: oneshot::Receiver<Ended>,
}

impl OwnThread {
    /// Starts the thread.
    pub async fn start() -> anyhow::Result<OwnThread> {
        let (tell_runtime, runtime) = oneshot::channel();
        let (work, wait_for_work) = oneshot::channel::<Work>();
        let (tell_ended, ended) = oneshot::channel();
        let run = move || {
            let mut builder = Builder::new_current_thread();
            let built = builder.enable_all().event_interval(TASKS_BETWEEN_LOOKS).build();
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell_runtime.send(Err(error))),
            };
            drop(tell_runtime.send(Ok(runtime.handle().clone())));
            runtime.block_on(async {
                let Ok(work) = wait_for_work.await else { return };
                let ended = work.gateway.run(work.inlets, work.stop).await;
                for subscriber in work.subscribers {
                    subscriber.ended().await;
                }
                // Whoever waited for it has given up.
                tell_ended.send(ended).ok();
            });
        };
        let thread = std::thread::Builder::new().name("gateway".to_owned()).spawn(run);
        thread.context("cannot start the thread of the loop")?;
        let runtime = runtime.await.context("the thread of the loop has ended")?;
        let runtime = runtime.context("cannot start the runtime of the loop")?;
        Ok(OwnThread { runtime, work, ended })
    }

    /// Gives the thread its work; the receiver hears how the loop ended.
    pub fn run(self, work: Work) -> oneshot::Receiver<Ended> {
        if self.work.send(work).is_err() {
            tracing::error!("The thread of the loop has ended before its work began.");
        }
        self.ended
    }
}
