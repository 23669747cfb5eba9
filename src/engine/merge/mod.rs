//! Stage 4, Transition -> Incident: which ticket collects a raised episode.
//!
//! A ticket collects what the rule's `ticket.per` says. An open ticket of the group takes the
//! episode in; one that is over is reopened while `reopen_within` lasts; else a new one is opened.

mod members;
mod storm;

use crate::engine::types::alarm::AlarmId;
use crate::engine::types::rule::{Per, RuleSpec, TicketPolicy};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::{TimeSpan, Timestamp};

pub use members::Members;
pub use storm::{StormBy, StormPolicy, Storms};

/// How long a ticket for many devices waits for the first of them.
const GROUP_WAIT: TimeSpan = TimeSpan::from_secs(30);

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
        // A storm is over when it is over: the next one is another.
        Some(ticket) if ticket.storm.is_some() => Placement::Open,
        Some(ticket) if ticket.reopen_until.is_some_and(|until| raised_at <= until) => {
            Placement::Reopen(ticket.id)
        }
        Some(_) => Placement::Open,
    }
}

/// The group of the tickets that a storm's alarms join.
pub fn storm_group(pool: &str, upstream: &str) -> String {
    format!("{upstream}/storm/{pool}")
}

/// The group of a safety alarm in a storm: one ticket for each device and class of fault.
pub fn safety_group(spec: &RuleSpec, device: &str, upstream: &str) -> String {
    let class = spec.code.as_ref().map_or(spec.id.as_str(), |code| code.class.as_str());
    format!("{upstream}/safety/{device}/{class}")
}

/// How long the first alarm of a group waits for others. Critical ones wait only where the rule
/// says so, safety ones never.
pub fn group_wait(spec: &RuleSpec) -> TimeSpan {
    let by_default = match spec.ticket.per {
        Per::Site | Per::Rule if spec.severity != Severity::Critical => GROUP_WAIT,
        Per::Alarm | Per::Device | Per::Site | Per::Rule => TimeSpan::ZERO,
    };
    if spec.safety { TimeSpan::ZERO } else { spec.ticket.group_wait.unwrap_or(by_default) }
}

/// True for groups of many devices: what happens to their members is told after some time, even
/// the first time.
pub fn is_wide(per: Per) -> bool {
    match per {
        Per::Site | Per::Rule => true,
        Per::Alarm | Per::Device => false,
    }
}
