//! The loop: receive, step, commit, acknowledge, deliver.
//!
//! One task owns the engine; nothing else touches it, so that there is no lock around it. While a
//! commit runs, the next batch gathers in the channel. What a batch decided is neither
//! acknowledged to a broker nor sent to an upstream before it is on disk (I2, I3).

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::ask::{Ask, Question, answer};
use super::dispatch::Dispatcher;
use super::observe::Observer;
use crate::engine::pipeline::Engine;
use crate::engine::types::effect::Effects;
use crate::engine::types::input::Input;
use crate::engine::types::message::Message;
use crate::engine::types::time::Timestamp;
use crate::io::clock::Clock;
use crate::io::journal::Journal;
use crate::io::mqtt::{AckToken, Subscriber};
use crate::io::systemd;

/// Most inputs that one commit covers.
pub const BATCH_MAX: usize = 512;
/// Inputs that may wait; beyond that the brokers have to.
pub const QUEUE_MAX: usize = 4_096;
/// Longest time between two looks at the clock, so that the watchdog is fed and a clock that
/// jumped is noticed.
const TICK_MAX: Duration = Duration::from_secs(1);
/// How long to wait before a failed commit is tried again.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How often the store is told that the gateway runs, so that a restart knows how long it was down.
const ALIVE_EVERY: crate::engine::types::time::TimeSpan =
    crate::engine::types::time::TimeSpan::from_secs(30);

/// Something for the loop.
#[derive(Debug)]
pub enum Event {
    /// A message, to be acknowledged once it is safe.
    Message {
        /// The message.
        message: Message,
        /// Its place in the order of acknowledgements.
        ack: AckToken,
    },
    /// Anything else that happens to the engine.
    Input(Input),
    /// A question about the state, or an act of an operator.
    Ask(Ask),
}

/// The loop's own state.
pub struct Gateway {
    /// Decides.
    pub engine: Engine,
    /// Keeps.
    pub journal: Journal,
    /// Sends.
    pub dispatcher: Dispatcher,
    /// Tells.
    pub observer: Observer,
    /// Where messages come from, by source.
    pub subscribers: Vec<Subscriber>,
    /// Reads the clock.
    pub clock: Clock,
    /// What the restore decided, to be committed first.
    pub effects: Effects,
    /// Whether the last commit succeeded.
    pub store_writable: bool,
    /// When the store was last told that the gateway runs.
    pub alive_at: Timestamp,
}

impl Gateway {
    /// Runs until `stop` says so and everything that was taken in is committed.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        self.take(&mut batch).await;
        loop {
            let wait = self.until_next_wakeup();
            tokio::select! {
                _ = events.recv_many(&mut batch, BATCH_MAX) => {}
                () = tokio::time::sleep(wait) => {}
                _ = stop.changed() => break,
            }
            self.take(&mut batch).await;
            systemd::feed_watchdog();
        }
        events.close();
        while events.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.take(&mut batch).await;
        }
    }

    fn until_next_wakeup(&mut self) -> Duration {
        let now = self.clock.now();
        let next = self.engine.next_wakeup();
        next.map_or(TICK_MAX, |at| at.since(now).to_std().min(TICK_MAX))
    }

    /// Steps the engine with every event, commits, acknowledges, delivers.
    async fn take(&mut self, batch: &mut Vec<Event>) {
        let now = self.clock.now();
        let mut acks: Vec<(usize, AckToken)> = Vec::with_capacity(batch.len());
        let mut asked = Vec::new();
        self.engine.step(now, Input::Tick, &mut self.effects);
        for event in batch.drain(..) {
            match event {
                Event::Message { message, ack } => {
                    acks.push((message.source, ack));
                    self.observer.received(&message);
                    self.engine.step(now, Input::Message(message), &mut self.effects);
                }
                Event::Input(input) => {
                    self.observer.heard(&input);
                    self.engine.step(now, input, &mut self.effects);
                }
                Event::Ask(ask) => self.take_ask(now, ask, &mut asked),
            }
        }
        self.commit(now).await;
        for (source, ack) in acks {
            if let Some(subscriber) = self.subscribers.get_mut(source) {
                subscriber.ack(ack);
            }
        }
        for ask in asked {
            ask.reply(answer(&ask.question, &self.engine, &self.journal, self.store_writable));
        }
        self.observer.decided(&self.effects.decisions, &self.engine);
        for call in self.effects.calls.drain(..) {
            self.dispatcher.send(call);
        }
        self.effects.clear();
    }

    /// Acts are taken in at once, and answered like questions once they are on disk.
    fn take_ask(&mut self, now: Timestamp, ask: Ask, asked: &mut Vec<Ask>) {
        if let Question::Act { action, signature } = &ask.question {
            let input = Input::Operator { action: action.clone(), signature: signature.at(now) };
            self.engine.step(now, input, &mut self.effects);
        }
        asked.push(ask);
    }

    /// Commits what was decided. While the disk refuses, nothing else goes on: messages wait with
    /// their brokers, and the gateway says that it is not ready.
    async fn commit(&mut self, now: Timestamp) {
        let alive = now.since(self.alive_at) >= ALIVE_EVERY;
        if self.effects.writes.is_empty() && !alive {
            return;
        }
        self.alive_at = now;
        loop {
            match self.journal.commit(&self.effects.writes, now).await {
                Ok(()) => break,
                Err(error) => {
                    if self.store_writable {
                        tracing::error!(%error, "The store refuses to write; nothing more is taken in until it does.");
                    }
                    self.store_writable = false;
                    self.observer.store_refused();
                    systemd::feed_watchdog();
                    tokio::time::sleep(COMMIT_RETRY).await;
                }
            }
        }
        if !self.store_writable {
            tracing::info!("The store writes again.");
            self.store_writable = true;
        }
    }
}
