//! A recording through the real engine on a virtual clock, told as `backtest` reports it.

mod difference;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::pipeline::Settings;
use crate::engine::policy::{PATH_LOST, Policy};
use crate::engine::rating::{self, Plan, RatingError};
use crate::engine::rehearsal::Rehearsal;
use crate::engine::types::alarm::{AlarmId, HeldBy};
use crate::engine::types::decision::{AlarmEvent, Decision, Rejection, TicketEvent};
use crate::engine::types::input::Input;
use crate::engine::types::ledger::Meter;
use crate::engine::types::message::Message;
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::Timestamp;

pub use difference::{
    AlarmDifference, CostDifference, Difference, MonthDifference, RuleDifference,
};

/// What `backtest --format json` prints.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What went in.
    pub input: InputFigures,
    /// Every episode, in the order of the raises.
    pub alarms: Vec<AlarmLine>,
    /// Every ticket, in the order of opening.
    pub tickets: Vec<TicketLine>,
    /// Committed quantities by meter.
    pub usage: BTreeMap<&'static str, Decimal>,
    /// What that costs on each plan.
    pub cost: Vec<rating::Bill>,
    /// Each rule, in the order of the files.
    pub rules: Vec<RuleLine>,
}

/// What went in.
#[derive(Debug, Default, Serialize)]
pub struct InputFigures {
    /// Messages read.
    pub messages: u64,
    /// Time of the first.
    pub from: Option<Timestamp>,
    /// Time of the last.
    pub to: Option<Timestamp>,
    /// Messages, or parts of them, that were not used.
    pub undecodable: u64,
    /// Messages whose own time was not believed: they were used at the time of their receipt.
    pub by_receipt_time: u64,
}

/// One episode.
#[derive(Debug, Serialize)]
pub struct AlarmLine {
    pub(super) rule: String,
    pub(super) device: String,
    pub(super) key: Vec<String>,
    pub(super) episode: u32,
    pub(super) raised_at: Timestamp,
    pub(super) returned_at: Option<Timestamp>,
    pub(super) severity: Severity,
    pub(super) ticket: Option<TicketId>,
    pub(super) held_by: Option<HeldBy>,
}

/// One ticket.
#[derive(Debug, Serialize)]
pub struct TicketLine {
    id: TicketId,
    opened_at: Timestamp,
    resolved_at: Option<Timestamp>,
    alarms: u64,
    device: String,
    rule: String,
}

/// One rule.
#[derive(Debug, Default, Serialize)]
pub struct RuleLine {
    pub(super) rule: String,
    pub(super) raised: u64,
    pub(super) tickets: u64,
    /// Looks at which the condition was unknown: no or bad reading, too little history, an error.
    pub(super) unknown: u64,
    /// Looks at which the condition could not be evaluated.
    pub(super) errors: u64,
}

/// A message of a recording: when it was received, and what it said.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Time of receipt.
    pub at: Timestamp,
    /// The message.
    pub message: Message,
}

/// A recording that is being played.
#[derive(Debug)]
pub struct Backtest {
    rehearsal: Option<Rehearsal>,
    settings: Settings,
    policy: Option<Policy>,
    input: InputFigures,
    rules: Vec<String>,
}

impl Backtest {
    /// Nothing played yet.
    pub fn new(settings: Settings, policy: Policy) -> Backtest {
        let rules = policy.rules.iter().map(|rule| rule.spec.id.clone()).collect();
        let input = InputFigures::default();
        Backtest { rehearsal: None, settings, policy: Some(policy), input, rules }
    }

    /// Plays one message. One that is older than the one before is played where it stands: time
    /// does not go back.
    pub fn play(&mut self, recorded: Recorded) {
        let Recorded { at, message } = recorded;
        self.input.messages += 1;
        self.input.from = Some(self.input.from.map_or(at, |from| from.min(at)));
        self.input.to = Some(self.input.to.map_or(at, |to| to.max(at)));
        if let Some(policy) = self.policy.take() {
            self.rehearsal = Some(Rehearsal::new(self.settings.clone(), policy, at));
        }
        if let Some(rehearsal) = &mut self.rehearsal {
            let before = refused_times(rehearsal);
            rehearsal.receive(at, Input::Message(message));
            self.input.by_receipt_time += u64::from(refused_times(rehearsal) > before);
        }
    }

    /// What has come of it.
    ///
    /// # Errors
    /// A plan that cannot rate the usage.
    pub fn finish(mut self, plans: &[Plan]) -> Result<Outcome, RatingError> {
        let mut outcome = Outcome {
            input: std::mem::take(&mut self.input),
            alarms: Vec::new(),
            tickets: Vec::new(),
            usage: Meter::OF_CALLS.iter().map(|meter| (meter.name(), Decimal::ZERO)).collect(),
            cost: Vec::new(),
            rules: Vec::new(),
        };
        let mut rules: BTreeMap<String, RuleLine> = BTreeMap::new();
        if let Some(rehearsal) = &self.rehearsal {
            let refused: u64 = rehearsal.rejected.values().sum();
            outcome.input.undecodable = refused - refused_times(rehearsal);
            for (meter, qty) in &rehearsal.usage {
                outcome.usage.insert(meter.name(), *qty);
            }
            for decision in &rehearsal.decisions {
                outcome.note(decision, &mut rules, rehearsal);
            }
        }
        let unknown = self.rehearsal.as_ref().map_or(&[][..], |played| played.engine().unknown());
        for (index, rule) in self.rules.into_iter().enumerate() {
            let line = rules.remove(&rule);
            if line.is_none() && rule == PATH_LOST {
                continue;
            }
            let mut line = line.unwrap_or_default();
            line.unknown = unknown.get(index).copied().unwrap_or(0);
            line.rule = rule;
            outcome.rules.push(line);
        }
        let usage: Vec<(&str, Decimal)> = outcome.usage.iter().map(|(n, q)| (*n, *q)).collect();
        for plan in plans {
            outcome.cost.push(rating::running_bill(plan, &usage)?);
        }
        Ok(outcome)
    }
}

/// A time that is not believed is refused, and the message is used.
fn refused_times(rehearsal: &Rehearsal) -> u64 {
    rehearsal.rejected.get(&Rejection::Time).copied().unwrap_or(0)
}

impl Outcome {
    /// Id, episodes and opened tickets of each rule.
    pub fn figures(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.rules.iter().map(|line| (line.rule.as_str(), line.raised, line.tickets))
    }

    /// The tickets as rows of a table: id, opened, resolved, device, rule, number of alarms.
    pub fn ticket_rows(&self) -> Vec<Vec<String>> {
        let row = |ticket: &TicketLine| {
            vec![
                ticket.id.to_string(),
                ticket.opened_at.to_string(),
                ticket.resolved_at.map_or_else(|| "open".to_owned(), |at| at.to_string()),
                ticket.device.clone(),
                ticket.rule.clone(),
                ticket.alarms.to_string(),
            ]
        };
        self.tickets.iter().map(row).collect()
    }

    fn line_of(&mut self, id: &AlarmId, episode: u32) -> Option<&mut AlarmLine> {
        let is_it = |line: &&mut AlarmLine| {
            line.rule == id.rule
                && line.device == id.device
                && line.key == id.key
                && line.episode == episode
        };
        self.alarms.iter_mut().rev().find(is_it)
    }

    fn note(
        &mut self,
        decision: &Decision,
        rules: &mut BTreeMap<String, RuleLine>,
        rehearsal: &Rehearsal,
    ) {
        match decision {
            Decision::Alarm {
                id,
                episode,
                event: AlarmEvent::Raised { held_by },
                at,
                severity,
                ticket,
            } => {
                rules.entry(id.rule.clone()).or_default().raised += 1;
                self.alarms.push(AlarmLine {
                    rule: id.rule.clone(),
                    device: id.device.clone(),
                    key: id.key.clone(),
                    episode: *episode,
                    raised_at: *at,
                    returned_at: None,
                    severity: *severity,
                    ticket: *ticket,
                    held_by: *held_by,
                });
            }
            Decision::Alarm { id, episode, event: AlarmEvent::Returned, at, .. } => {
                if let Some(line) = self.line_of(id, *episode) {
                    line.returned_at = Some(*at);
                }
            }
            Decision::Alarm {
                id,
                episode,
                event: AlarmEvent::Released { held_by },
                ticket,
                ..
            } => {
                if let Some(line) = self.line_of(id, *episode) {
                    (line.ticket, line.held_by) = (*ticket, *held_by);
                }
            }
            Decision::Ticket { id, event: TicketEvent::Opened, at } => {
                let Some(ticket) = rehearsal.engine().ticket(*id) else { return };
                rules.entry(ticket.rule.clone()).or_default().tickets += 1;
                self.tickets.push(TicketLine {
                    id: *id,
                    opened_at: *at,
                    resolved_at: ticket.resolved_at,
                    alarms: ticket.alarms,
                    device: ticket.device.clone(),
                    rule: ticket.rule.clone(),
                });
            }
            Decision::RuleError { rule, .. } => {
                let rule = rehearsal.engine().policy().rule_names.text(*rule).to_owned();
                let line = rules.entry(rule).or_default();
                line.errors += 1;
            }
            Decision::Alarm { .. }
            | Decision::Ticket { .. }
            | Decision::Rejected { .. }
            | Decision::Repeated { .. }
            | Decision::Budget(_)
            | Decision::Overspent { .. }
            | Decision::HeldTooLong { .. } => {}
        }
    }
}
