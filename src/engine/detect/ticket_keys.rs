//! `[rule.ticket]` and `flapping`: how a rule's alarms become tickets.

use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::rule::{FlapLimits, Per, TicketPolicy};
use crate::engine::types::time::TimeSpan;

/// The keys of `[rule.ticket]`, as far as they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct TicketKeys {
    per: Option<Per>,
    group_wait: Option<TimeSpan>,
    group_interval: Option<TimeSpan>,
    reopen_within: Option<TimeSpan>,
    verify_within: Option<TimeSpan>,
    recall_within: Option<TimeSpan>,
    pub upstream: Option<Located<String>>,
    queue: Option<String>,
    pub ladder: Option<Located<String>>,
}

impl TicketKeys {
    /// These keys, and those of `[defaults]` where they say nothing.
    pub fn over(self, defaults: &TicketKeys) -> TicketKeys {
        TicketKeys {
            per: self.per.or(defaults.per),
            group_wait: self.group_wait.or(defaults.group_wait),
            group_interval: self.group_interval.or(defaults.group_interval),
            reopen_within: self.reopen_within.or(defaults.reopen_within),
            verify_within: self.verify_within.or(defaults.verify_within),
            recall_within: self.recall_within.or(defaults.recall_within),
            upstream: self.upstream.or_else(|| defaults.upstream.clone()),
            queue: self.queue.or_else(|| defaults.queue.clone()),
            ladder: self.ladder.or_else(|| defaults.ladder.clone()),
        }
    }

    /// What they say, with the defaults for what they leave out.
    pub fn policy(&self) -> TicketPolicy {
        let default = TicketPolicy::default();
        TicketPolicy {
            per: self.per.unwrap_or_default(),
            group_wait: self.group_wait,
            group_interval: self.group_interval.unwrap_or(default.group_interval),
            reopen_within: self.reopen_within.unwrap_or(default.reopen_within),
            verify_within: self.verify_within.unwrap_or(default.verify_within),
            recall_within: self.recall_within.unwrap_or(default.recall_within),
            upstream: self.upstream.as_ref().map(|name| name.value.clone()),
            queue: self.queue.clone(),
            ladder: self.ladder.as_ref().map(|name| name.value.clone()),
        }
    }
}

/// Reads `[rule.ticket]`.
pub(super) fn read_ticket(table: &Table<'_>) -> TicketKeys {
    TicketKeys {
        per: table.optional("per").map(|OneOf(per)| per),
        group_wait: table.optional("group_wait"),
        group_interval: table.optional("group_interval"),
        reopen_within: table.optional("reopen_within"),
        verify_within: table.optional("verify_within"),
        recall_within: table.optional("recall_within"),
        upstream: table.optional("upstream"),
        queue: table.optional("queue"),
        ladder: table.optional("ladder"),
    }
}

/// Reads `flapping = { low, high, enabled }`.
pub(super) fn read_flapping(table: &Table<'_>) -> Option<FlapLimits> {
    let FlapLimits { low, high } = FlapLimits::default();
    let low = table.or("low", low);
    let high = table.or("high", high.unwrap_or(low));
    if !(0.0 < low && low < high && high <= 100.0) {
        let message = format!("flapping from {high} down to {low}: scores go from 0 to 100");
        let hint = "`low` must be above 0 and below `high`, e.g. { low = 20, high = 30 }";
        table.place().error(table.span(), "out-of-range", message, hint);
        return None;
    }
    Some(FlapLimits { low, high: table.or("enabled", true).then_some(high) })
}
