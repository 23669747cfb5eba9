//! The loop: receive, step, commit, acknowledge, deliver.
//!
//! One task owns the engine; nothing else touches it, so that there is no lock around it. It has a
//! thread of its own (`service/own_thread.rs`), on which it also commits where nothing else is under
//! way: while a commit runs, the next batch gathers. What a batch decided is neither
//! acknowledged to a broker nor sent to an upstream before it is on disk (I2, I3).

use std::sync::Arc;
use std::time::Duration;

use metrics::histogram;
use tokio::sync::{broadcast, mpsc, watch};

use super::cores;
use super::dispatch::Dispatcher;
use super::observe::Observer;
use super::retention::Early;
use super::turn::{self, World};
use super::view::{self, Health, Sight};
use crate::engine::outbox::Backlog;
use crate::engine::pipeline::Engine;
use crate::engine::policy::Policy;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::Input;
use crate::engine::types::job::{Call, Delivered};
use crate::engine::types::message::{Message, Publication};
use crate::engine::types::question::Question;
use crate::engine::types::time::Timestamp;
use crate::io::clock::{self, Clock};
use crate::io::desk;
use crate::io::journal::Journal;
use crate::io::mqtt::host::Host;
use crate::io::mqtt::{AckToken, Arrival, Incoming, MqttEvent};
use crate::io::store::StoreError;
use crate::io::systemd;
use crate::io::upstream::Change;
use crate::io::web::{Ask, Standstill};

/// Most inputs that one commit covers.
pub const BATCH_MAX: usize = 512;
/// Longest time between two looks at the clock, so that the watchdog is fed and a clock that
/// jumped is noticed.
const TICK_MAX: Duration = Duration::from_secs(1);
/// How long to wait before a failed commit is tried again.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// The loop's ends of its channels.
#[derive(Debug)]
pub struct Inlets {
    /// What arrives from the brokers.
    pub arrivals: mpsc::Receiver<Arrival>,
    /// What comes back from the upstreams.
    pub delivered: mpsc::Receiver<Delivered>,
    /// Questions, and acts of operators.
    pub asked: mpsc::Receiver<Ask>,
    /// Rules that are to be taken in place of those that run.
    pub policies: mpsc::Receiver<Policy>,
    /// The store has no room.
    pub early: mpsc::Receiver<Early>,
    /// Bytes that are kept for tickets, measured now and then.
    pub sizes: mpsc::Receiver<u64>,
    /// What people do at the desk inside.
    pub desk: broadcast::Receiver<desk::Change>,
    /// What people do in the upstreams of these names.
    pub changed: mpsc::Receiver<(String, Change)>,
}

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The embedded broker is dead; only a new process brings it back.
    BrokerLost,
}

/// The loop's own state.
#[derive(Debug)]
pub struct Gateway {
    /// Decides.
    pub engine: Engine,
    /// Keeps.
    pub journal: Arc<Journal>,
    /// Sends.
    pub dispatcher: Dispatcher,
    /// Tells.
    pub observer: Observer,
    /// Reads the clock.
    pub clock: Clock,
    /// What was decided and is not committed yet; at the start, what the restore decided.
    pub effects: Effects,
    /// What `readyz` says.
    pub health: Health,
    /// What `readyz` says while the store refuses and the loop answers nobody.
    pub standstill: Standstill,
    /// When the store was last told that the gateway runs.
    pub alive_at: Timestamp,
    /// Cores that a large batch is spread over.
    pub cores: usize,
    /// Name of the upstream that is the desk inside; empty for none.
    pub own_desk: String,
    /// Send commands to Sparkplug nodes, by source.
    pub hosts: Vec<Option<Host>>,
}

/// What one batch owes to others once it is on disk.
#[derive(Debug, Default)]
struct Owed {
    acks: Vec<AckToken>,
    /// Questions, and why an act is not done.
    answers: Vec<(Ask, Option<String>)>,
}

/// Takes what waits, up to [`BATCH_MAX`], without waiting.
fn fill<T>(batch: &mut Vec<T>, inlet: &mut mpsc::Receiver<T>) {
    while batch.len() < BATCH_MAX
        && let Ok(taken) = inlet.try_recv()
    {
        batch.push(taken);
    }
}

impl Gateway {
    /// Runs until `stop` says so and everything that was taken in is committed.
    pub async fn run(mut self, mut inlets: Inlets, mut stop: watch::Receiver<bool>) -> Ended {
        let mut arrivals = Vec::with_capacity(BATCH_MAX);
        let mut delivered = Vec::with_capacity(BATCH_MAX);
        let mut asked = Vec::with_capacity(BATCH_MAX);
        loop {
            let stopping = *stop.borrow() || !self.health.broker;
            self.take(&mut arrivals, &mut delivered, &mut asked).await;
            systemd::feed_watchdog();
            if stopping {
                break;
            }
            let wait = self.until_next_wakeup();
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                Some(policy) = inlets.policies.recv() => self.reload(policy),
                Some(early) = inlets.early.recv() => self.let_go_early(early),
                Some(kept_bytes) = inlets.sizes.recv() => {
                    self.step(self.clock.now(), Input::Measured { kept_bytes });
                }
                Ok(desk::Change { ticket, status, by }) = inlets.desk.recv() => {
                    self.take_change(&self.own_desk.clone(), Change { ticket, status, by });
                }
                Some((upstream, change)) = inlets.changed.recv() => {
                    self.take_change(&upstream, change);
                }
                _ = inlets.delivered.recv_many(&mut delivered, BATCH_MAX) => {}
                _ = inlets.asked.recv_many(&mut asked, BATCH_MAX) => {}
                _ = inlets.arrivals.recv_many(&mut arrivals, BATCH_MAX), if self.health.intake => {}
                () = tokio::time::sleep(wait) => {}
            }
            // One commit covers everything that is there by now.
            fill(&mut delivered, &mut inlets.delivered);
            fill(&mut asked, &mut inlets.asked);
            if self.health.intake {
                fill(&mut arrivals, &mut inlets.arrivals);
            }
        }
        self.dispatcher.finish(&mut inlets.delivered, &mut delivered).await;
        self.take(&mut arrivals, &mut delivered, &mut asked).await;
        if self.health.broker { Ended::Stopped } else { Ended::BrokerLost }
    }

    fn until_next_wakeup(&self) -> Duration {
        let now = self.clock.now();
        let next = self.engine.next_wakeup();
        next.map_or(TICK_MAX, |at| self.clock.real(at.since(now)).min(TICK_MAX))
    }

    /// Steps the engine with everything that came, commits, acknowledges, delivers.
    async fn take(
        &mut self,
        arrivals: &mut Vec<Arrival>,
        delivered: &mut Vec<Delivered>,
        asked: &mut Vec<Ask>,
    ) {
        let now = self.clock.now();
        let mut owed = Owed::default();
        self.step(now, Input::Tick);
        let mut messages = Vec::with_capacity(arrivals.len());
        for arrival in arrivals.drain(..) {
            self.take_arrival(now, arrival, &mut messages, &mut owed);
        }
        self.take_messages(now, &mut messages);
        for delivered in delivered.drain(..) {
            self.step(now, Input::Delivered(delivered));
        }
        for ask in asked.drain(..) {
            let mut refusal = None;
            if let Question::Act { action, signer } = &ask.question {
                refusal = self.engine.refusal(action);
                let input = Input::Operator { action: action.clone(), signature: signer.at(now) };
                self.step(now, input);
            }
            owed.answers.push((ask, refusal));
        }
        self.settle(now, owed.acks).await;
        for (ask, refusal) in owed.answers {
            let answer = if matches!(ask.question, Question::Act { .. }) {
                view::acted(refusal)
            } else {
                let Gateway { engine, journal, health, .. } = &*self;
                view::answer(now, &ask.question, &Sight { engine, journal, health })
            };
            ask.answer(answer);
        }
        self.look_at_backlog();
        self.observer.decided(now, &self.effects, &self.engine);
        for Publication { source, topic, payload } in self.effects.publish.drain(..) {
            let host = self.hosts.get(source).and_then(Option::as_ref);
            let sent = host.is_some_and(|host| host.send(topic, payload));
            self.observer.commanded(source, sent);
        }
        self.effects.clear();
    }

    /// Leaves messages with their brokers while too much waits for the upstreams.
    fn look_at_backlog(&mut self) {
        let takes = self.engine.backlog() != Backlog::Full;
        if takes == self.health.intake {
            return;
        }
        self.health.intake = takes;
        let waiting = self.engine.outbox().depth();
        if takes {
            tracing::info!(waiting, "Messages are taken in again.");
        } else {
            tracing::error!(
                waiting,
                "Too much waits for the upstreams (`[limits] max_backlog`): no message is taken in, \
                 the brokers hold them. See that the upstreams answer: `faultgate doctor`."
            );
        }
    }

    /// Somebody has taken or ended a ticket in an upstream.
    fn take_change(&mut self, upstream: &str, change: Change) {
        let now = self.clock.now();
        if let Some(input) = turn::changed(now, &self.engine, upstream, change) {
            self.step(now, input);
        }
    }

    fn reload(&mut self, policy: Policy) {
        let now = self.clock.now();
        self.step(now, Input::Tick);
        self.engine.reload(now, policy, &mut self.effects);
        super::rebook(&mut self.engine, &self.journal, now);
    }

    /// Tickets go before their time; with the next commit.
    fn let_go_early(&mut self, Early { most, answer }: Early) {
        let gone = self.engine.let_go_early(self.clock.now(), most, &mut self.effects);
        if answer.send(gone).is_err() {
            tracing::debug!(?gone, "Who asked for room is no longer there.");
        }
    }

    fn step(&mut self, now: Timestamp, input: Input) {
        self.engine.step(now, input, &mut self.effects);
    }

    /// Steps the engine with what was gathered.
    fn take_messages(&mut self, now: Timestamp, messages: &mut Vec<Message>) {
        let messages = std::mem::take(messages);
        cores::step(&mut self.engine, now, messages, self.cores, &mut self.effects);
    }

    /// Takes what arrived: messages are gathered, and whatever else happens between them comes
    /// after those before it.
    fn take_arrival(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        messages: &mut Vec<Message>,
        owed: &mut Owed,
    ) {
        match arrival {
            Arrival::Message(Incoming { message, oversized, ack }) => {
                self.observer.received(&message);
                owed.acks.push(ack);
                match oversized {
                    Some(bytes) => {
                        self.engine.note_oversized(now, &message, bytes);
                        self.observer.oversized(now, &message, bytes);
                    }
                    None => messages.push(message),
                }
            }
            Arrival::Event { source, event } => {
                self.take_messages(now, messages);
                self.observer.connection(source, &event);
                let up = match event {
                    MqttEvent::Connected => true,
                    MqttEvent::Disconnected { .. } => false,
                    MqttEvent::CanaryLost => {
                        self.health.broker = false;
                        return;
                    }
                    MqttEvent::SessionLost
                    | MqttEvent::SubscribeRefused { .. }
                    | MqttEvent::Overtaken { .. } => return,
                };
                if let Some(source) = source {
                    self.health.set_source(source, up);
                    self.step(now, Input::Path { source, up });
                }
            }
        }
    }

    /// Ends the turn; see [`turn::settle`].
    async fn settle(&mut self, now: Timestamp, acks: Vec<AckToken>) {
        let Gateway { engine, alive_at, effects, journal, .. } = self;
        let Gateway { dispatcher, observer, health, standstill, .. } = self;
        let mut world = Outside { journal, dispatcher, observer, health, standstill };
        turn::settle(now, engine, alive_at, effects, acks, &mut world).await;
    }
}

/// Where a turn ends: disk, upstreams, brokers.
struct Outside<'a> {
    journal: &'a Journal,
    dispatcher: &'a mut Dispatcher,
    observer: &'a mut Observer,
    health: &'a mut Health,
    standstill: &'a Standstill,
}

impl Outside<'_> {
    /// Writes on this thread while nobody else needs it: that wakes no other. While calls are under
    /// way, the store's thread waits for the disk, and this one goes on with the calls.
    async fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.dispatcher.is_idle() {
            self.journal.commit(writes)
        } else {
            self.journal.commit_async(writes).await
        }
    }
}

impl World for Outside<'_> {
    type Ack = AckToken;

    /// While the disk refuses, nothing else goes on: messages wait with their brokers, and the
    /// gateway says that it is not ready.
    async fn commit(&mut self, writes: &[Write]) {
        let began = clock::monotonic();
        while let Err(error) = self.write(writes).await {
            if self.health.store {
                tracing::error!(%error, "The store refuses to write; nothing is taken in until it does.");
            }
            self.health.store = false;
            self.standstill.begin(error.to_string());
            self.observer.store_refused();
            systemd::feed_watchdog();
            tokio::time::sleep(COMMIT_RETRY).await;
        }
        histogram!("faultgate_commit_seconds").record(began.elapsed().as_secs_f64());
        if !self.health.store {
            tracing::info!("The store writes again.");
            self.health.store = true;
            self.standstill.end();
        }
    }

    fn send(&mut self, call: Call) {
        self.dispatcher.send(call);
    }

    fn acknowledge(&mut self, ack: AckToken) {
        ack.ack();
    }
}
