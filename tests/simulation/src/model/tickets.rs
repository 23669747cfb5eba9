//! The tickets: what opens, joins, reopens and ends them.

use std::collections::BTreeSet;

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::{Model, State};
use crate::rules::Rule;

/// How a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody has taken it.
    Open,
    /// Somebody has.
    Taken,
    /// It is over.
    Over,
}

/// One ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Fingerprint of the episode that opened it.
    pub key: String,
    /// Where it is.
    pub upstream: &'static str,
    /// How it stands.
    pub status: Status,
    /// Alarms in it whose fault is not over.
    pub open: BTreeSet<AlarmId>,
    pub(super) acked: bool,
    pub(super) resolved_at: Option<Timestamp>,
    pub(super) reopen_until: Option<Timestamp>,
}

impl Ticket {
    /// It is over since before a time.
    pub fn ended_before(&self, at: Timestamp) -> bool {
        self.status == Status::Over && self.resolved_at.is_some_and(|resolved| resolved < at)
    }
}

impl Model {
    /// Somebody takes an alarm.
    pub fn take(&mut self, alarm: &AlarmId) {
        let device = self.devices.get_mut(&alarm.device);
        let Some(alarm) = device.and_then(|device| device.alarms.get_mut(alarm)) else { return };
        match &mut alarm.state {
            State::Raised { taken, .. } | State::Latched { taken, .. } if !*taken => *taken = true,
            State::Raised { .. } | State::Latched { .. } | State::Normal { .. } => return,
        }
        if let Some(ticket) = alarm.ticket.and_then(|at| self.tickets.get_mut(at)) {
            ticket.acked = true;
        }
    }

    /// Somebody takes a ticket here: once.
    pub fn take_ticket(&mut self, key: &str) {
        if self.tickets.iter().any(|ticket| ticket.key == key && !ticket.acked) {
            self.take_members(key);
        }
    }

    fn take_members(&mut self, key: &str) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if !ticket.acked {
            ticket.acked = true;
            if ticket.status == Status::Open {
                ticket.status = Status::Taken;
            }
        }
        for alarm in ticket.open.clone() {
            self.take(&alarm);
        }
    }

    /// Somebody changes a ticket where it is.
    pub fn change_ticket(&mut self, key: &str, to: Status) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if ticket.status == to || ticket.resolved_at.is_some() {
            return;
        }
        ticket.status = to;
        self.take_members(key);
    }

    /// What was decided before somebody ended a ticket has opened it again where it is.
    pub fn open_again(&mut self, key: &str) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if ticket.status == Status::Over && ticket.resolved_at.is_none() {
            ticket.status = if ticket.acked { Status::Taken } else { Status::Open };
        }
    }

    /// The ticket of a new episode.
    pub(super) fn place(&mut self, rule: &Rule, id: &AlarmId, key: String, at: Timestamp) -> usize {
        let upstream = rule.upstream;
        let group = match rule.per_device {
            true => format!("{upstream}/{}", id.device),
            false => format!("{upstream}//{id}"),
        };
        let last = self.groups.get(&group).copied();
        if let Some((index, last)) = last.and_then(|at| Some((at, self.tickets.get_mut(at)?))) {
            if last.status != Status::Over {
                last.open.insert(id.clone());
                return index;
            }
            if last.reopen_until.is_some_and(|until| at <= until) {
                last.status = Status::Open;
                last.acked = false;
                last.resolved_at = None;
                last.open.insert(id.clone());
                return index;
            }
        }
        let index = self.tickets.len();
        self.tickets.push(Ticket {
            key,
            upstream,
            status: Status::Open,
            open: BTreeSet::from([id.clone()]),
            acked: false,
            resolved_at: None,
            reopen_until: None,
        });
        self.groups.insert(group, index);
        index
    }

    /// The fault of an alarm is over.
    pub(super) fn leave(&mut self, id: &AlarmId, ticket: Option<usize>, at: Timestamp) {
        let Some(ticket) = ticket.and_then(|at| self.tickets.get_mut(at)) else { return };
        if !ticket.open.remove(id) || !ticket.open.is_empty() {
            return;
        }
        let within = self.rules.iter().find(|rule| rule.id == id.rule);
        let within = within.map_or(TimeSpan::ZERO, |rule| rule.reopen_within);
        ticket.status = Status::Over;
        ticket.resolved_at = Some(at);
        ticket.reopen_until = (within > TimeSpan::ZERO).then_some(at + within);
    }
}
