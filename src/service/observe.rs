//! What is told of each decision: one log line, one counter, and whoever listens (`demo`).

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::{Counter, counter, gauge};
use rust_decimal::prelude::ToPrimitive;
use tokio::sync::broadcast;

use super::load::Load;
use crate::engine::decode::DETAIL_BYTES_MAX;
use crate::engine::outbox::Backlog;
use crate::engine::pipeline::Engine;
use crate::engine::types::decision::{AlarmEvent, Decision, Notice, Rejection, TicketEvent};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::ledger::{LedgerState, Meter};
use crate::engine::types::message::Message;
use crate::engine::types::spell::Spell;
use crate::engine::types::text::{cut_bytes, one_line};
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::mqtt::MqttEvent;

/// At most one log line of a kind of refusal and source in this time; all of them are counted.
const REFUSAL_LOG_EVERY: TimeSpan = TimeSpan::from_secs(60);
/// Episodes that whoever makes figures may be behind before it reads the store again.
const SPELLS_MAX: usize = 4_096;
/// Stories that a slow listener may miss before it is told that it did.
const STORIES_MAX: usize = 1_024;

/// Something that `demo` prints.
#[derive(Clone, Debug)]
pub enum Story {
    /// A ticket changed.
    Ticket {
        /// What happened.
        event: TicketEvent,
        /// The ticket.
        ticket: Box<TicketRecord>,
        /// Event time.
        at: Timestamp,
    },
    /// Something was committed to the ledger.
    Metered {
        /// Meter.
        meter: Meter,
        /// Quantity.
        qty: rust_decimal::Decimal,
    },
}

/// Tells.
#[derive(Debug)]
pub struct Observer {
    sources: Vec<String>,
    /// Messages that were taken in, by source.
    received: Vec<Counter>,
    refusals: BTreeMap<(usize, Rejection), Timestamp>,
    stories: broadcast::Sender<Story>,
    spells: broadcast::Sender<Arc<Spell>>,
    load: Load,
}

impl Observer {
    /// An observer of these sources.
    pub fn new(sources: Vec<String>) -> Observer {
        let (stories, _) = broadcast::channel(STORIES_MAX);
        let (spells, _) = broadcast::channel(SPELLS_MAX);
        let received = sources.iter().map(
            |source| counter!("faultgate_messages_received_total", "source" => source.clone()),
        );
        Observer {
            received: received.collect(),
            sources,
            refusals: BTreeMap::new(),
            stories,
            spells,
            load: Load::default(),
        }
    }

    /// What `demo` listens to.
    pub fn stories(&self) -> broadcast::Sender<Story> {
        self.stories.clone()
    }

    /// The episodes of alarms as they are stored: each raise, return and acknowledgement.
    pub fn spells(&self) -> broadcast::Receiver<Arc<Spell>> {
        self.spells.subscribe()
    }

    /// A message was taken in.
    pub fn received(&mut self, message: &Message) {
        self.load.heard(&message.topic);
        if let Some(received) = self.received.get(message.source) {
            received.increment(1);
        }
    }

    /// A Sparkplug node was asked for its births, or could not be.
    pub fn commanded(&self, source: usize, sent: bool) {
        let source = self.source(source);
        let outcome = if sent { "sent" } else { "dropped" };
        counter!("faultgate_rebirths_asked_total", "source" => source, "outcome" => outcome)
            .increment(1);
    }

    /// The store refused a commit.
    pub fn store_refused(&self) {
        counter!("faultgate_store_refused_total").increment(1);
    }

    /// A message was larger than its source takes.
    pub fn oversized(&mut self, now: Timestamp, message: &Message, bytes: usize) {
        let detail = format!("{bytes} bytes on {}", message.topic);
        let detail = cut_bytes(&one_line(&detail), DETAIL_BYTES_MAX).to_owned();
        self.tell_refusal(now, message.source, Rejection::Oversized, &detail);
    }

    /// Something happened to a connection.
    pub fn connection(&self, source: Option<usize>, event: &MqttEvent) {
        let name = source.map_or_else(|| "embedded broker".to_owned(), |index| self.source(index));
        let up = gauge!("faultgate_source_up", "source" => name.clone());
        match event {
            MqttEvent::Connected => {
                up.set(1.0);
                tracing::info!(source = name, "Connected to the broker.");
            }
            MqttEvent::Disconnected { reason } => {
                up.set(0.0);
                tracing::warn!(
                    source = name,
                    reason,
                    "The broker cannot be reached; it is tried again."
                );
            }
            MqttEvent::SessionLost => {
                counter!("faultgate_sessions_lost_total", "source" => name.clone()).increment(1);
                tracing::warn!(
                    source = name,
                    "The broker had forgotten the session; subscribed again."
                );
            }
            MqttEvent::SubscribeRefused { topic } => {
                tracing::error!(source = name, topic, "The broker refuses the subscription.");
            }
            MqttEvent::Overtaken { count } => {
                counter!("faultgate_messages_overtaken_total", "source" => name.clone())
                    .increment(*count);
                tracing::error!(
                    source = name,
                    count,
                    "The embedded broker threw messages away before they were read."
                );
            }
            MqttEvent::CanaryLost => {
                tracing::error!(source = name, "The embedded broker carries no messages any more.");
            }
        }
    }

    /// The engine decided; called after the commit.
    pub fn decided(&mut self, now: Timestamp, effects: &Effects, engine: &Engine) {
        let Effects { decisions, writes, .. } = effects;
        for write in writes {
            if let Write::TicketGone(_) = write {
                counter!("faultgate_store_pruned_total", "kind" => "ticket").increment(1);
            }
            if let Write::Spell(spell) = write
                && self.spells.receiver_count() > 0
            {
                drop(self.spells.send(Arc::new((**spell).clone())));
            }
            if let Write::Ledger(row) = write
                && row.state == LedgerState::Committed
            {
                if row.is_measured() {
                    let level = row.qty.to_f64().unwrap_or_default();
                    gauge!("faultgate_usage_level", "meter" => row.meter.name()).set(level);
                    continue;
                }
                let qty = u64::try_from(row.qty.trunc().mantissa()).unwrap_or(0);
                counter!("faultgate_usage_total", "meter" => row.meter.name()).increment(qty);
                drop(self.stories.send(Story::Metered { meter: row.meter, qty: row.qty }));
            }
        }
        for decision in decisions {
            match decision {
                Decision::Rejected { source, reason, detail } => {
                    self.tell_refusal(now, *source, *reason, detail);
                }
                Decision::Repeated { source } => {
                    let source = self.source(*source);
                    counter!("faultgate_messages_repeated_total", "source" => source).increment(1);
                }
                Decision::RuleError { rule, device, detail } => {
                    let rule = engine.policy().rule_names.text(*rule).to_owned();
                    let device = engine.devices().get(device.index());
                    let device = device.map_or("", |device| device.facts.id.as_str());
                    tracing::debug!(rule, device, detail, "A condition could not be evaluated.");
                    counter!("faultgate_rule_errors_total", "rule" => rule).increment(1);
                }
                Decision::Alarm { id, episode, event, at, severity, ticket } => {
                    let word = alarm_word(*event);
                    let severity = severity.word();
                    let ticket = ticket.map(|ticket| ticket.to_string());
                    tracing::info!(alarm = %id, episode, %at, severity, ticket, "Alarm {word}.");
                    counter!("faultgate_alarms_total", "event" => word, "severity" => severity)
                        .increment(1);
                }
                Decision::Ticket { id, event, at } => self.tell_ticket(*id, event, *at, engine),
                Decision::Budget(notice) => tell_rung(notice),
                Decision::Overspent { ticket, safety } => {
                    counter!("faultgate_budget_overspent_total").increment(1);
                    tracing::error!(%ticket, safety, "A ticket is opened that no budget holds.");
                }
                Decision::HeldTooLong { id, why } => {
                    tracing::error!(alarm = %id, why, "An alarm is held for want of money still.");
                }
            }
        }
        self.load.tell(now, engine);
        if !decisions.is_empty() || !writes.is_empty() {
            gauge!("faultgate_devices").set(engine.devices().len() as f64);
            gauge!("faultgate_outbox_depth").set(engine.outbox().depth() as f64);
            let is_full = engine.backlog() == Backlog::Full;
            gauge!("faultgate_outbox_full").set(f64::from(u8::from(is_full)));
        }
    }

    fn tell_ticket(&self, id: TicketId, event: &TicketEvent, at: Timestamp, engine: &Engine) {
        let Some(ticket) = engine.ticket(id) else { return };
        let word = ticket_word(event);
        let (device, rule) = (ticket.device.as_str(), ticket.rule.as_str());
        match event {
            TicketEvent::Delayed { action, reason, until } => {
                tracing::warn!(ticket = %id, device, action, reason, %until, "A call is put off.");
            }
            TicketEvent::DeadLettered { action, reason } => {
                tracing::error!(
                    ticket = %id, device, action, reason,
                    "The upstream refused for good; see `faultgate dead-letters list`."
                );
            }
            TicketEvent::Gone => {
                tracing::error!(
                    ticket = %id, device, rule,
                    "The upstream has no such ticket any more: nothing more is done on it."
                );
            }
            TicketEvent::Delivered { action, external, found } => {
                tracing::debug!(ticket = %id, device, action, external, found, "Delivered.");
            }
            TicketEvent::Opened
            | TicketEvent::Joined
            | TicketEvent::Escalated { .. }
            | TicketEvent::Resolved
            | TicketEvent::StillRaised
            | TicketEvent::Reopened => {
                tracing::info!(ticket = %id, device, rule, %at, "Ticket {word}.");
            }
        }
        counter!("faultgate_tickets_total", "event" => word).increment(1);
        if self.stories.receiver_count() > 0 {
            let ticket = Box::new(ticket.clone());
            drop(self.stories.send(Story::Ticket { event: event.clone(), ticket, at }));
        }
    }

    fn tell_refusal(&mut self, now: Timestamp, source: usize, reason: Rejection, detail: &str) {
        let name = self.source(source);
        let word = reason.word();
        counter!("faultgate_messages_rejected_total", "source" => name.clone(), "reason" => word)
            .increment(1);
        let last = self.refusals.get(&(source, reason));
        if last.is_none_or(|last| now.since(*last) >= REFUSAL_LOG_EVERY) {
            self.refusals.insert((source, reason), now);
            tracing::warn!(source = name, reason = word, detail, "A message was refused.");
        }
    }

    fn source(&self, index: usize) -> String {
        self.sources.get(index).cloned().unwrap_or_default()
    }
}

/// Green is no news.
fn tell_rung(notice: &Notice) {
    let Notice { budget, rung, period, used, amount } = notice;
    let (rung, used, amount) = (rung.word(), used.to_string(), amount.to_string());
    counter!("faultgate_budget_rungs_total", "budget" => budget.clone(), "rung" => rung)
        .increment(1);
    tracing::warn!(budget, rung, period, used, amount, "A budget enters a rung.");
}

fn alarm_word(event: AlarmEvent) -> &'static str {
    match event {
        AlarmEvent::Raised { .. } => "raised",
        AlarmEvent::Released { .. } => "released",
        AlarmEvent::Acknowledged => "acknowledged",
        AlarmEvent::Returned => "returned",
        AlarmEvent::Closed => "closed",
        AlarmEvent::Unsteady => "flapping",
        AlarmEvent::Steady => "steady",
    }
}

fn ticket_word(event: &TicketEvent) -> &'static str {
    match event {
        TicketEvent::Opened => "opened",
        TicketEvent::Joined => "joined",
        TicketEvent::Escalated { .. } => "escalated",
        TicketEvent::Resolved => "resolved",
        TicketEvent::Reopened => "reopened",
        TicketEvent::StillRaised => "still-raised",
        TicketEvent::Gone => "gone",
        TicketEvent::Delivered { .. } => "delivered",
        TicketEvent::Delayed { .. } => "delayed",
        TicketEvent::DeadLettered { .. } => "dead-lettered",
    }
}
