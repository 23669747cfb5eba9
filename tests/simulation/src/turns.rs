//! The gateway's turns, and the model's beside them.

use faultgate::engine::pipeline::Engine;
use faultgate::engine::types::alarm::{AlarmId, AlarmState, Signature};
use faultgate::engine::types::decision::{Decision, TicketEvent};
use faultgate::engine::types::effect::Write;
use faultgate::engine::types::input::{Input, OperatorAction};
use faultgate::engine::types::job::{Action, JobState, Outcome};
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::Change;
use faultgate::service::{cores, turn};

use crate::chance::Chance;
use crate::check;
use crate::model::{Named, Said, Shelf, Status, Step, Told};
use crate::plan::Act;
use crate::process::{self, Process};
use crate::world::World;

/// A device's time may lie ahead of ours by this; else the time of receipt counts.
const AHEAD_MAX: TimeSpan = TimeSpan::from_secs(300);
/// And so far behind.
const BACK_MAX: TimeSpan = TimeSpan::from_secs(86_400);

/// How much of what was decided and written in a turn the model knows of.
#[derive(Debug, Default)]
struct Known {
    decisions: usize,
    writes: usize,
}

impl World {
    /// The gateway takes what has come, decides, commits, sends and acknowledges.
    pub(crate) fn take_turn(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // A turn is undone only where the machine stops in it.
        let before = self.fuse.is_lit().then(|| self.model.clone());
        let now = process.read_clock(self.wall(), self.now);
        let (reload, told) = (self.reload, self.told.len());
        let acks = self.take_inputs(now, &mut process)?;
        let ended = process.settle(now, acks, &self.disk, &self.fuse);
        self.tell_decisions(&process.effects);
        process.effects.clear();
        if let Some(wrong) = ended.wrong {
            anyhow::bail!("{wrong}");
        }
        for ack in &ended.acked {
            if let Some(broker) = self.brokers.get_mut(ack.source) {
                broker.acknowledge(*ack);
            }
        }
        self.dispatch();
        let is_kept = if ended.is_stopped {
            self.stop(!ended.is_committed) || ended.is_committed
        } else {
            self.process = Some(process);
            true
        };
        if is_kept {
            self.told.drain(..told.min(self.told.len()));
            if let Some(in_force) = reload {
                self.in_force = in_force;
                self.reload = None;
            }
            if ended.wrote || !ended.is_committed {
                self.seen_lately.clear();
            }
        } else if let Some(before) = before {
            self.model = before;
        }
        if ended.is_stopped {
            for number in self.seen_lately.drain(..) {
                self.seen.remove(&number);
            }
            return Ok(());
        }
        if self.changed_since.is_none() {
            self.model.nothing_is_forgotten(now)?;
            check::held(self)?;
            check::unpaid(self)?;
        }
        // Where neither has done anything there is nothing to compare.
        if self.changed_since.is_none() && (self.model.has_moved() || ended.wrote) {
            check::same(self)?;
        }
        self.go_on();
        for source in 0..self.brokers.len() {
            self.at(self.now, crate::world::Event::Deliver(source));
        }
        self.sleep(now);
        Ok(())
    }

    /// Has the gateway decide on all that has come, and the model beside it.
    fn take_inputs(
        &mut self,
        now: Timestamp,
        process: &mut Process,
    ) -> anyhow::Result<Vec<crate::broker::Ack>> {
        let mut known = Known::default();
        if let Some(in_force) = self.reload {
            process.engine.step(now, Input::Tick, &mut process.effects);
            self.model.tick(now);
            self.compare(now, process, &mut known)?;
            process.reload(now, process::policy(in_force, &self.plan)?)?;
            self.model.reload(now, in_force);
            self.tell("gateway", || format!("takes in {in_force:?}"));
            self.compare(now, process, &mut known)?;
        }
        for one in &self.told.clone() {
            self.take_told(now, process, one, &mut known)?;
        }
        process.engine.step(now, Input::Tick, &mut process.effects);
        self.model.tick(now);
        self.compare(now, process, &mut known)?;
        let acks = self.take_inbox(now, process);
        self.compare(now, process, &mut known)?;
        self.take_results(now, process);
        self.compare(now, process, &mut known)?;
        let acts = std::mem::take(&mut self.acts);
        for (number, act) in acts {
            self.take_act(now, process, number, act);
            self.compare(now, process, &mut known)?;
        }
        Ok(acks)
    }

    /// Holds what the gateway has decided since the last time against the model.
    fn compare(
        &mut self,
        now: Timestamp,
        process: &Process,
        known: &mut Known,
    ) -> anyhow::Result<()> {
        let Process { engine, effects, .. } = process;
        let named = |id| {
            let ticket = engine.ticket(id)?;
            Some(Named { key: ticket.fingerprint.0.clone(), group: ticket.group.clone() })
        };
        let mut said = Vec::new();
        for one in effects.decisions.iter().skip(known.decisions) {
            if let Decision::Alarm { id, episode, event, at, ticket, .. } = one {
                let (ticket, id) = (ticket.and_then(named), id.clone());
                said.push(Said::Alarm(Told {
                    id,
                    episode: *episode,
                    event: *event,
                    at: *at,
                    ticket,
                }));
            }
            if let Decision::Ticket { id, event: TicketEvent::StillRaised, .. } = one {
                said.extend(named(*id).map(|ticket| Said::NotMended(ticket.key)));
            }
        }
        let mut rows = Vec::new();
        for write in effects.writes.iter().skip(known.writes) {
            if let Write::Ledger(row) = write {
                rows.push((**row).clone());
            }
        }
        *known = Known { decisions: effects.decisions.len(), writes: effects.writes.len() };
        match self.changed_since {
            None => self.model.settle(&Step { now, said, rows }),
            Some(_) => Ok(()),
        }
    }

    fn take_results(&mut self, now: Timestamp, process: &mut Process) {
        for delivered in std::mem::take(&mut process.results) {
            self.tell("gateway", || {
                format!("hears of {:?}: {:?}", delivered.key, delivered.outcome)
            });
            if let (Outcome::Rejected { .. }, Some(job)) =
                (&delivered.outcome, process.engine.outbox().job(delivered.key))
            {
                self.refused.insert(job.idempotency_key.clone());
            }
            let job = process.engine.outbox().job(delivered.key);
            if let (Outcome::Done { .. }, Some(Action::Reopen { .. })) =
                (&delivered.outcome, job.map(|job| &job.action))
                && let Some(ticket) = process.engine.ticket(delivered.key.ticket)
            {
                self.model.open_again(&ticket.fingerprint.to_string());
            }
            process.engine.step(now, Input::Delivered(delivered), &mut process.effects);
        }
    }

    fn take_inbox(&mut self, now: Timestamp, process: &mut Process) -> Vec<crate::broker::Ack> {
        let mut acks = Vec::new();
        let mut messages = Vec::new();
        for delivery in std::mem::take(&mut process.inbox) {
            let number = delivery.number;
            let Some(said) = self.plan.publications.get(number).cloned() else { continue };
            acks.push(delivery.ack);
            let (packet, again) = (delivery.ack.packet, delivery.again);
            messages.push(Message {
                source: said.source,
                topic: said.topic.clone(),
                payload: said.payload.clone().into_bytes(),
                retain: false,
                delivery: Delivery::UntilAcknowledged { packet, again },
            });
            if !self.seen.insert(number) {
                continue;
            }
            self.seen_lately.push(number);
            let event = said
                .event
                .filter(|event| event.since(now) <= AHEAD_MAX && now.since(*event) <= BACK_MAX);
            self.model.hear(now, &said, event);
            self.tell("gateway", || format!("takes in #{number} of {}", said.device));
        }
        cores::step(&mut process.engine, now, messages, 1, &mut process.effects);
        acks
    }

    fn take_told(
        &mut self,
        now: Timestamp,
        process: &mut Process,
        told: &crate::world::Told,
        known: &mut Known,
    ) -> anyhow::Result<()> {
        process.engine.step(now, Input::Tick, &mut process.effects);
        self.model.tick(now);
        self.compare(now, process, known)?;
        let Some(server) = self.servers.get(told.upstream) else { return Ok(()) };
        let Some(ticket) = server.tickets.get(told.ticket - 1) else { return Ok(()) };
        let change =
            Change {
                ticket: told.ticket.to_string(), status: told.status, by: "李工".to_owned()
            };
        if let Some(input) = turn::changed(now, &process.engine, server.name, change) {
            process.engine.step(now, input, &mut process.effects);
            let to = if told.status.is_over() { Status::Over } else { Status::Taken };
            self.model.change_ticket(now, &ticket.key, to);
            self.story.tell(self.now, "gateway", || {
                format!("hears that ticket {} of {} is {:?}", told.ticket, server.name, told.status)
            });
        }
        self.compare(now, process, known)
    }

    fn take_act(&mut self, now: Timestamp, process: &mut Process, number: usize, act: Act) {
        let mut chance = Chance::of(self.plan.seed, "act", number);
        for action in chosen(&process.engine, &mut chance, act) {
            self.tell("operator", || format!("{action:?}"));
            match &action {
                OperatorAction::Acknowledge(alarm) => self.model.take(alarm),
                OperatorAction::AcknowledgeTicket(ticket) => {
                    let key = process.engine.ticket(*ticket).map(|t| t.fingerprint.0.clone());
                    self.model.take_ticket(&key.unwrap_or_default());
                }
                OperatorAction::Reset(alarm) => self.model.reset(now, alarm),
                OperatorAction::Shelve { alarm, span, one_shot } => {
                    let shelf = Shelf { until: Some(now + *span), one_shot: *one_shot };
                    self.model.shelve(alarm, shelf);
                }
                OperatorAction::TakeOutOfService(alarm) => {
                    self.model.shelve(alarm, Shelf { until: None, one_shot: false });
                }
                OperatorAction::Unshelve(alarm) | OperatorAction::PutIntoService(alarm) => {
                    self.model.unshelve(alarm);
                }
                OperatorAction::Approve(token) => {
                    let held = process.engine.held_for_money().into_iter();
                    let held = held.filter(|held| held.token.as_ref() == Some(token));
                    let keys = held.filter_map(|held| held.alarm.episode.as_ref());
                    self.model.approved.extend(keys.map(|episode| episode.fingerprint.0.clone()));
                }
                OperatorAction::Retry(_)
                | OperatorAction::Drop(_)
                | OperatorAction::TakeBack(_) => {}
            }
            let (by, via, reason) = ("王工".to_owned(), "cli".to_owned(), String::new());
            let signature = Signature { by, at: now, via, reason };
            let input = Input::Operator { action, signature };
            process.engine.step(now, input, &mut process.effects);
        }
    }
}

/// What a person does of this kind, with what is there.
fn chosen(engine: &Engine, chance: &mut Chance, act: Act) -> Vec<OperatorAction> {
    let alarms = |wanted: fn(&AlarmState) -> bool| -> Vec<AlarmId> {
        let found = engine.alarms().filter(|alarm| wanted(&alarm.state));
        found.map(|alarm| alarm.id.clone()).collect()
    };
    let mut actions = Vec::new();
    match act {
        Act::TakeAlarm => {
            let raised = alarms(AlarmState::is_raised);
            actions.extend(chance.one(&raised).cloned().map(OperatorAction::Acknowledge));
        }
        Act::TakeTicket => {
            let open = engine.tickets().filter(|ticket| !ticket.status.is_over());
            let open: Vec<_> = open.map(|ticket| ticket.id).collect();
            actions.extend(chance.one(&open).copied().map(OperatorAction::AcknowledgeTicket));
        }
        Act::Reset => {
            let latched = alarms(|state| matches!(state, AlarmState::Latched { .. }));
            actions.extend(chance.one(&latched).cloned().map(OperatorAction::Reset));
        }
        Act::Shelve => {
            let known: Vec<AlarmId> = alarms(|_| true);
            let (span, one_shot) = (chance.secs(60, 7_200), chance.percent(40));
            let alarm = chance.one(&known).cloned();
            actions.extend(alarm.map(|alarm| OperatorAction::Shelve { alarm, span, one_shot }));
        }
        Act::TakeOut => {
            let known: Vec<AlarmId> = alarms(|_| true);
            actions.extend(chance.one(&known).cloned().map(OperatorAction::TakeOutOfService));
        }
        Act::PutBack => {
            let shelved = engine.alarms().filter(|alarm| alarm.shelf.is_some());
            let shelved: Vec<AlarmId> = shelved.map(|alarm| alarm.id.clone()).collect();
            actions.extend(chance.one(&shelved).cloned().map(OperatorAction::Unshelve));
        }
        Act::Approve => {
            let held = engine.held_for_money().into_iter().filter_map(|held| held.token);
            actions.extend(
                chance.one(&held.collect::<Vec<_>>()).cloned().map(OperatorAction::Approve),
            );
        }
        Act::Retry => {
            let dead = |state: &JobState| matches!(state, JobState::Dead { .. });
            let jobs = engine.outbox().jobs().filter(|job| dead(&job.state));
            actions.extend(jobs.map(|job| OperatorAction::Retry(job.key)));
        }
    }
    actions
}
