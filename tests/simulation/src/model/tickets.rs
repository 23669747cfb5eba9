//! The tickets: what opens, joins, reopens and ends them.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::asks::{Ask, Named};
use super::waits::AT_ONCE;
use super::{Model, State};
use crate::rules::{Per, Rule};

/// How long after somebody has ended a ticket it is looked whether its fault stands.
const VERIFY_WITHIN: TimeSpan = TimeSpan::from_secs(1_800);

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
    /// Device of the alarm that opened it.
    pub(super) device: String,
    /// A safety alarm is or was in it.
    pub(super) safety: bool,
    /// The worst that it is about, 0 for critical.
    pub(super) severity: usize,
    /// Rule of the alarm that opened it.
    rule: &'static str,
    /// Somebody has ended it: then it is open again where its fault stands.
    verify_at: Option<Timestamp>,
    /// It is the parent of a storm, and never opened again.
    pub(super) is_storm: bool,
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
        let id = alarm;
        let Some(alarm) = self.alarm_mut(id) else { return };
        let episode = alarm.episode;
        match alarm.state {
            State::Raised { taken: false, .. } | State::Latched { taken: false, .. } => {}
            State::Raised { .. } | State::Latched { .. } | State::Normal { .. } => return,
        }
        alarm.act(|state| match state {
            State::Raised { clearing, .. } => State::Raised { taken: true, clearing },
            State::Latched { rising, .. } => State::Latched { taken: true, rising },
            State::Normal { .. } => state,
        });
        let ticket = self.ticket_of(id, episode);
        if let Some(ticket) = ticket.and_then(|at| self.tickets.get_mut(at)) {
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
    pub fn change_ticket(&mut self, now: Timestamp, key: &str, to: Status) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if ticket.status == to || ticket.resolved_at.is_some() {
            return;
        }
        ticket.status = to;
        ticket.verify_at = None;
        if to == Status::Over {
            let rule = self.rules.iter().find(|rule| rule.id == ticket.rule);
            let within = rule.map_or(TimeSpan::ZERO, |rule| rule.reopen_within);
            ticket.verify_at = Some(now + VERIFY_WITHIN);
            ticket.reopen_until = Some(now + within.max(VERIFY_WITHIN));
        }
        self.take_members(key);
    }

    /// The gateway opens a ticket again that somebody has ended, as its fault stands.
    pub(super) fn is_not_mended(&mut self, now: Timestamp, key: &str) -> anyhow::Result<()> {
        let Some(index) = self.tickets.iter().position(|ticket| ticket.key == key) else {
            bail!("ticket {key} is opened again, and was never opened");
        };
        let Some(ticket) = self.tickets.get_mut(index) else { return Ok(()) };
        let may = ticket.status == Status::Over && !ticket.open.is_empty();
        let is_due = ticket.verify_at.is_some_and(|at| at <= now);
        ensure!(may && is_due, "ticket {key} is opened again before its time: {ticket:?}");
        (ticket.status, ticket.acked, ticket.verify_at) = (Status::Open, false, None);
        for id in ticket.open.clone() {
            let is_its = self.alarm_mut(&id).map(|alarm| alarm.episode);
            let is_its = is_its.is_some_and(|episode| self.ticket_of(&id, episode) == Some(index));
            if let Some(alarm) = self.alarm_mut(&id).filter(|_| is_its) {
                alarm.untake();
            }
        }
        Ok(())
    }

    /// No ticket stays over for long that somebody has ended while its fault stands.
    pub(super) fn nothing_is_taken_for_mended(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let stands = |(index, ticket): &(usize, &Ticket)| {
            let is_due = ticket.verify_at.is_some_and(|at| at <= now);
            is_due
                && ticket.status == Status::Over
                && ticket.open.iter().any(|id| {
                    let alarm = self.alarm(id).filter(|alarm| alarm.shelf.is_none());
                    alarm.is_some_and(|alarm| {
                        matches!(alarm.state, State::Raised { .. })
                            && self.ticket_of(id, alarm.episode) == Some(*index)
                    }) && !self.is_inhibited(now, id)
                        && !self.is_worked_on(now, id)
                })
        };
        let stands = self.tickets.iter().enumerate().filter(stands);
        let stands: Vec<String> = stands.map(|(_, ticket)| ticket.key.clone()).collect();
        self.unmended.retain(|key, _| stands.contains(key));
        for key in stands {
            let since = *self.unmended.entry(key.clone()).or_insert(now);
            ensure!(
                now.since(since) < AT_ONCE,
                "ticket {key} was ended by somebody, and its fault stands since {since}"
            );
        }
        Ok(())
    }

    /// The fault of a latched alarm is back: somebody must take its ticket again.
    pub(super) fn back(
        &mut self,
        now: Timestamp,
        id: &AlarmId,
        ticket: usize,
    ) -> anyhow::Result<()> {
        self.may_enter(now, id)?;
        let Some(ticket) = self.tickets.get_mut(ticket) else { return Ok(()) };
        (ticket.status, ticket.acked, ticket.verify_at) = (Status::Open, false, None);
        Ok(())
    }

    /// What was decided before somebody ended a ticket has opened it again where it is.
    pub fn open_again(&mut self, key: &str) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if ticket.status == Status::Over && ticket.resolved_at.is_none() {
            ticket.status = if ticket.acked { Status::Taken } else { Status::Open };
            ticket.verify_at = None;
        }
    }

    /// The ticket of a raised episode: the one that the gateway names, if it may be that.
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        rule: &Rule,
        ask: &Ask,
        named: &Named,
    ) -> anyhow::Result<usize> {
        let Ask { id, episode, at, .. } = ask;
        self.may_enter(now, id)?;
        let storm = format!("{}/storm/{}", rule.upstream, self.site_of(&id.device));
        let (own, digest) =
            (own_group(rule, id, self.site_of(&id.device)), self.digest_of(rule, id));
        let allowed = self.allowed(rule, id);
        let known = self.tickets.iter().position(|ticket| ticket.key == named.key);
        let last = self.last_of(&own);
        if let Some(last) = last.filter(|last| self.is_open(*last)) {
            ensure!(known == Some(last), "alarm {id} has another ticket than that of its group");
        }
        let Some(index) = known else {
            let key = id.fingerprint(*episode).0;
            ensure!(named.key == key, "alarm {id}: its ticket has key {}, not {key}", named.key);
            let (group, may) = match named.group.as_str() {
                group if group.contains("/digest/") => (digest, allowed.digest),
                group if group == storm => {
                    (storm, allowed.own && self.may_storm(id) && !rule.safety)
                }
                group if group.contains("/safety/") => {
                    (group.to_owned(), self.may_storm(id) && rule.safety)
                }
                _ => (own, allowed.own),
            };
            ensure!(may, "alarm {id} opens {}; allowed is {allowed:?}", named.group);
            ensure!(
                !self.last_of(&group).is_some_and(|last| self.may_reopen(last, *at)),
                "alarm {id} opens a ticket, and its last can be reopened"
            );
            return Ok(self.open_ticket(group, rule, id, key));
        };
        let is_digest = self.last_of(&digest) == Some(index) && allowed.digest;
        let is_storm = self.last_of(&storm) == Some(index) && self.may_storm(id) && !rule.safety;
        let safety = format!("{}/safety/{}/{}", rule.upstream, id.device, rule.id);
        let is_safety = self.last_of(&safety) == Some(index) && self.may_storm(id);
        if self.is_open(index) {
            let ticket = self.tickets.get(index);
            let of_device = |ticket: &Ticket| {
                // The alarms of a site go where the first of them goes.
                let is_near = ticket.device == id.device || rule.per == Per::Site;
                allowed.device && is_near && ticket.upstream == rule.upstream
            };
            ensure!(
                last == Some(index)
                    || is_digest
                    || is_storm
                    || is_safety
                    || ticket.is_some_and(of_device),
                "alarm {id} joins {}; allowed is {allowed:?}",
                named.group
            );
            self.join(index, rule, id);
        } else if (last == Some(index) || is_digest || is_safety) && self.may_reopen(index, *at) {
            self.reopen(index, rule, id);
        } else {
            bail!("alarm {id} joins {}, which is over", named.group);
        }
        Ok(index)
    }

    pub(super) fn ticket_of(&self, id: &AlarmId, episode: u32) -> Option<usize> {
        self.placed.get(&(id.clone(), episode)).copied()
    }

    pub(super) fn last_of(&self, group: &str) -> Option<usize> {
        self.groups.get(group).copied()
    }

    pub(super) fn is_open(&self, ticket: usize) -> bool {
        self.tickets.get(ticket).is_some_and(|ticket| ticket.status != Status::Over)
    }

    fn may_reopen(&self, ticket: usize, at: Timestamp) -> bool {
        let until = self.tickets.get(ticket).and_then(|ticket| ticket.reopen_until);
        let is_storm = self.tickets.get(ticket).is_some_and(|ticket| ticket.is_storm);
        !is_storm && !self.is_open(ticket) && until.is_some_and(|until| at <= until)
    }

    fn open_ticket(&mut self, group: String, rule: &Rule, id: &AlarmId, key: String) -> usize {
        let index = self.tickets.len();
        self.tickets.push(Ticket {
            key,
            upstream: rule.upstream,
            status: Status::Open,
            open: BTreeSet::from([id.clone()]),
            device: id.device.clone(),
            safety: rule.safety,
            severity: rank(rule),
            rule: rule.id,
            verify_at: None,
            is_storm: group.contains("/storm/"),
            acked: false,
            resolved_at: None,
            reopen_until: None,
        });
        self.groups.insert(group, index);
        index
    }

    /// Where it is worse than what the ticket was about, somebody must take the ticket again.
    fn join(&mut self, ticket: usize, rule: &Rule, id: &AlarmId) {
        let Some(ticket) = self.tickets.get_mut(ticket) else { return };
        ticket.open.insert(id.clone());
        ticket.safety |= rule.safety;
        if rank(rule) < ticket.severity {
            ticket.severity = rank(rule);
            ticket.acked = false;
            if ticket.status == Status::Taken {
                ticket.status = Status::Open;
            }
        }
    }

    fn reopen(&mut self, ticket: usize, rule: &Rule, id: &AlarmId) {
        let Some(ticket) = self.tickets.get_mut(ticket) else { return };
        ticket.open.insert(id.clone());
        ticket.safety |= rule.safety;
        ticket.severity = rank(rule);
        ticket.status = Status::Open;
        ticket.acked = false;
        (ticket.resolved_at, ticket.verify_at) = (None, None);
    }

    /// The fault of an alarm is over.
    pub(super) fn leave(&mut self, ask: &Ask) {
        let Ask { id, episode, at, .. } = ask;
        let ticket = self.ticket_of(id, *episode);
        let Some(ticket) = ticket.and_then(|at| self.tickets.get_mut(at)) else { return };
        if !ticket.open.remove(id) || !ticket.open.is_empty() {
            return;
        }
        let within = self.rules.iter().find(|rule| rule.id == id.rule);
        let within = within.map_or(TimeSpan::ZERO, |rule| rule.reopen_within);
        ticket.status = Status::Over;
        ticket.resolved_at = Some(*at);
        let until = (within > TimeSpan::ZERO).then_some(*at + within);
        ticket.reopen_until = until.max(ticket.verify_at.take());
    }
}

pub(super) fn own_group(rule: &Rule, id: &AlarmId, site: &str) -> String {
    let upstream = rule.upstream;
    match rule.per {
        Per::Device => format!("{upstream}/device/{}", id.device),
        Per::Alarm => format!("{upstream}/alarm/{id}"),
        Per::Site => format!("{upstream}/site/{site}"),
    }
}

fn rank(rule: &Rule) -> usize {
    let severities = ["critical", "major", "minor"];
    severities.iter().position(|severity| *severity == rule.severity).unwrap_or(severities.len())
}
