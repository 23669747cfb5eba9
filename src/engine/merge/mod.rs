//! Stage 4, Transition -> Incident: which ticket collects a raised episode.
//!
//! A ticket collects what the rule's `ticket.per` says. An open ticket of the group takes the
//! episode in; one that is over is reopened while `reopen_within` lasts; else a new one is opened.

use crate::engine::types::alarm::AlarmId;
use crate::engine::types::rule::{Per, TicketPolicy};
use crate::engine::types::ticket::{Member, TicketId, TicketRecord};
use crate::engine::types::time::Timestamp;

/// What happens to an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A new ticket.
    Open,
    /// The open ticket of its group.
    Join(TicketId),
    /// The last ticket of its group, which is over.
    Reopen(TicketId),
}

/// The group that an alarm's tickets belong to; equal groups share a ticket.
pub fn group(policy: &TicketPolicy, alarm: &AlarmId, site: &str, upstream: &str) -> String {
    match policy.per {
        Per::Alarm => format!("{upstream}/alarm/{alarm}"),
        Per::Device => format!("{upstream}/device/{}", alarm.device),
        Per::Site => format!("{upstream}/site/{site}"),
        Per::Rule => format!("{upstream}/rule/{}", alarm.rule),
    }
}

/// Where an episode raised at `raised_at` goes, given the last ticket of its group.
pub fn place(last: Option<&TicketRecord>, raised_at: Timestamp) -> Placement {
    match last {
        None => Placement::Open,
        Some(ticket) if !ticket.status.is_over() => Placement::Join(ticket.id),
        Some(ticket) if ticket.reopen_until.is_some_and(|until| raised_at <= until) => {
            Placement::Reopen(ticket.id)
        }
        Some(_) => Placement::Open,
    }
}

/// Enters an episode into a ticket, in place of an earlier one of the same alarm.
pub fn enter(ticket: &mut TicketRecord, alarm: &AlarmId, episode: u32) {
    ticket.members.retain(|member| member.alarm != *alarm);
    ticket.members.push(Member { alarm: alarm.clone(), episode, returned: false });
    ticket.alarms += 1;
}

/// Marks an episode as over. The number of members that are still raised, or `None` when the
/// ticket does not cover it.
pub fn leave(ticket: &mut TicketRecord, alarm: &AlarmId, episode: u32) -> Option<usize> {
    let member = ticket
        .members
        .iter_mut()
        .find(|member| member.alarm == *alarm && member.episode == episode && !member.returned)?;
    member.returned = true;
    Some(ticket.members.iter().filter(|member| !member.returned).count())
}
