//! What is over for long goes: tickets altogether, alarms down to what a later fault needs of them.
//!
//! An alarm keeps the number of its last episode for good, and the ticket with the highest number
//! stays whatever its age: a number that were given a second time would find the old ticket upstream
//! in place of a new one. The last ticket of a group stays as long as an older one of the group does: a
//! restart would take the older one for the last, and a fault would go on it.

use std::collections::BTreeMap;

use super::{Engine, Timer};
use crate::engine::types::alarm::{AlarmRecord, AlarmState};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Tickets that go in one pass at most, and alarms that are made small in one.
const GONE_MAX: usize = 1_000;
/// Tickets, and devices, that one pass looks at.
const LOOKED_AT_MAX: usize = 10_000;
/// How soon a pass goes on that has not come to its end.
const GO_ON_AFTER: TimeSpan = TimeSpan::from_secs(1);
/// The longest time between two passes; a short retention is looked at more often.
const PASS_EVERY: TimeSpan = TimeSpan::from_secs(3_600);
/// How long after a start the first one waits at most.
const FIRST_PASS_AFTER: TimeSpan = TimeSpan::from_secs(60);
/// Passes within the time that something is kept.
const PASSES: i64 = 4;
/// Tickets that are over for less stay, however little room there is.
pub const EARLY_MIN: TimeSpan = TimeSpan::from_secs(7 * 86_400);

/// How far the passes have come.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// The next ticket that a pass looks at.
    ticket: u64,
    /// The next device.
    device: usize,
    /// The next ticket that is looked at for want of room.
    early: u64,
}

/// What has gone before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoneEarly {
    /// Tickets.
    pub count: usize,
    /// When the newest of them ended.
    pub ended: Option<Timestamp>,
    /// Every ticket was looked at: no other may go.
    pub is_all: bool,
}

/// The tickets of one pass.
struct Found {
    gone: Vec<(TicketId, Timestamp)>,
    /// Where the next pass goes on; `None` after the last ticket.
    next: Option<u64>,
}

impl Engine {
    /// Has the first pass come, some time after a start.
    pub(super) fn begin_retention(&mut self) {
        let after = pass_every(self.settings.closed_max).min(FIRST_PASS_AFTER);
        self.timers.insert((self.settles_until + after, Timer::Retention));
    }

    /// One pass, and when the next one comes.
    pub(super) fn fire_retention(&mut self, now: Timestamp, effects: &mut Effects) {
        let before = now - self.settings.closed_max;
        let Found { gone, next } = self.find_ended(now, before, self.retention.ticket, GONE_MAX);
        self.retention.ticket = next.unwrap_or(0);
        gone.iter().for_each(|(id, _)| self.forget(*id, effects));
        let is_all = self.make_small(before, effects);
        let after = if next.is_none() && is_all {
            pass_every(self.settings.closed_max)
        } else {
            GO_ON_AFTER
        };
        self.timers.insert((now + after, Timer::Retention));
    }

    /// Lets tickets go before their time, the oldest first and at most `most` of them: the store has
    /// no room. Each call goes on where the last one ended.
    pub fn let_go_early(
        &mut self,
        now: Timestamp,
        most: usize,
        effects: &mut Effects,
    ) -> GoneEarly {
        let most = most.min(GONE_MAX);
        let before = now - EARLY_MIN;
        let Found { gone, next } = self.find_ended(now, before, self.retention.early, most);
        self.retention.early = next.unwrap_or(0);
        gone.iter().for_each(|(id, _)| self.forget(*id, effects));
        let ended = gone.iter().map(|(_, ended)| *ended).max();
        GoneEarly { count: gone.len(), ended, is_all: next.is_none() }
    }

    /// Up to `most` tickets that ended before a time and may go, from a number on.
    fn find_ended(&self, now: Timestamp, before: Timestamp, from: u64, most: usize) -> Found {
        let mut gone = Vec::new();
        let earliest = now - self.late_max();
        let tickets = self.tickets.range(TicketId(from)..);
        for (looked_at, (id, ticket)) in tickets.enumerate() {
            if looked_at == LOOKED_AT_MAX || gone.len() == most {
                self.keep_last(&mut gone);
                return Found { gone, next: Some(id.0) };
            }
            let ended = ended(ticket);
            if ended < before && self.may_go(earliest, ticket) {
                gone.push((*id, ended));
            }
        }
        self.keep_last(&mut gone);
        Found { gone, next: None }
    }

    /// Takes out the last tickets of groups that have an older one which stays. `gone` goes up.
    fn keep_last(&self, gone: &mut Vec<(TicketId, Timestamp)>) {
        let Some((end, _)) = gone.last().copied() else { return };
        let goes = |id: TicketId| gone.binary_search_by_key(&id, |(gone, _)| *gone).is_ok();
        let groups = gone.iter().filter_map(|(id, _)| Some((&*self.tickets.get(id)?.group, *id)));
        let lasts = groups.filter(|(group, id)| self.groups.get(*group) == Some(id));
        let mut lasts: BTreeMap<&str, TicketId> = lasts.collect();
        let mut stay = Vec::new();
        for (id, ticket) in self.tickets.range(..end) {
            if !goes(*id) {
                stay.extend(lasts.remove(ticket.group.as_str()));
            }
        }
        gone.retain(|(id, _)| !stay.contains(id));
    }

    /// How much later than it happened a fault may be told.
    fn late_max(&self) -> TimeSpan {
        let sources = self.settings.sources.iter().map(|source| source.skew_back_max);
        sources.max().unwrap_or(TimeSpan::ZERO)
    }

    /// True for a ticket that nothing can need any more, not even a fault from `earliest` on.
    fn may_go(&self, earliest: Timestamp, ticket: &TicketRecord) -> bool {
        ticket.status.is_over()
            && ticket.id.0 < self.ticket_last
            && ticket.reopen_until.is_none_or(|until| until < earliest)
            && self.members.all(ticket.id).next().is_none()
            && self.outbox.of_ticket(ticket.id).next().is_none()
    }

    fn forget(&mut self, id: TicketId, effects: &mut Effects) {
        let Some(ticket) = self.tickets.remove(&id) else { return };
        if self.groups.get(&ticket.group) == Some(&id) {
            self.groups.remove(&ticket.group);
        }
        if let Some(set) = self.ladder_timers.remove(&id) {
            self.timers.remove(&(set, Timer::Ladder(id)));
        }
        if let Some(untold) = &ticket.untold {
            self.timers.remove(&(untold.due, Timer::Untold(id)));
        }
        self.guard.free_closing(id);
        effects.writes.push(Write::TicketGone(id));
    }

    /// Takes the heavy parts of alarms that are over since before a time. True when every device was
    /// looked at.
    fn make_small(&mut self, before: Timestamp, effects: &mut Effects) -> bool {
        let mut left = GONE_MAX;
        let mut small = |record: &mut AlarmRecord| {
            if left > 0 && is_heavy(record) && is_quiet_since(record, before) {
                lighten(record);
                effects.writes.push(Write::Alarm(Box::new(record.clone())));
                left -= 1;
            }
            left > 0
        };
        let from = self.retention.device;
        for (index, device) in self.devices.iter_mut().enumerate().skip(from).take(LOOKED_AT_MAX) {
            let records = device.alarms.iter_mut().filter_map(|alarm| alarm.record.as_deref_mut());
            for record in records {
                if !small(record) {
                    self.retention.device = index;
                    return false;
                }
            }
        }
        self.retention.device = from + LOOKED_AT_MAX;
        if self.retention.device < self.devices.len() {
            return false;
        }
        self.retention.device = 0;
        self.departed.values_mut().all(small)
    }
}

/// How long after one pass the next one comes, where things are kept so long.
pub fn pass_every(closed_max: TimeSpan) -> TimeSpan {
    TimeSpan::from_micros(closed_max.micros() / PASSES).clamp(GO_ON_AFTER, PASS_EVERY)
}

/// The last that is known to have happened to a ticket that is over.
fn ended(ticket: &TicketRecord) -> Timestamp {
    let taken_at = ticket.ack.as_ref().map(|ack| ack.at);
    let known = [ticket.resolved_at, ticket.told_at, taken_at];
    known.into_iter().flatten().fold(ticket.opened_at, Timestamp::max)
}

fn is_heavy(record: &AlarmRecord) -> bool {
    let values = record.episode.as_ref().is_some_and(|episode| !episode.values.is_empty());
    values || !record.history.is_empty()
}

fn is_quiet_since(record: &AlarmRecord, before: Timestamp) -> bool {
    let closed_at = record.episode.as_ref().and_then(|episode| episode.closed_at);
    record.state == AlarmState::Normal
        && record.flapping.is_none()
        && record.shelf.is_none()
        && record.changed_at < before
        && record.episode.is_some() == closed_at.is_some()
        && closed_at.is_none_or(|at| at < before)
        && record.history.last().is_none_or(|entry| entry.now < before)
}

/// Identity, state and the number of the last episode stay, and what the metrics read: that is what
/// a restart goes on from.
fn lighten(record: &mut AlarmRecord) {
    record.history = Vec::new();
    if let Some(episode) = &mut record.episode {
        episode.values = Vec::new();
    }
}

#[cfg(test)]
mod tests;
