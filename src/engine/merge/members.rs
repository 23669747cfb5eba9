//! Which episodes a ticket covers. Nothing of it is stored: the alarms say which ticket is theirs.

use std::collections::BTreeMap;

use crate::engine::types::alarm::AlarmId;
use crate::engine::types::ticket::{TicketId, TicketRecord};

/// The episodes that are covered, by ticket.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<(TicketId, AlarmId), Member>);

/// One episode that a ticket covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    episode: u32,
    returned: bool,
}

impl Members {
    /// Enters a raised episode into a ticket, in place of an earlier one of the same alarm.
    pub fn enter(&mut self, ticket: &mut TicketRecord, alarm: &AlarmId, episode: u32) {
        ticket.alarms += 1;
        ticket.raised = ticket.raised.saturating_add(1);
        let member = Member { episode, returned: false };
        if let Some(earlier) = self.0.insert((ticket.id, alarm.clone()), member)
            && !earlier.returned
        {
            ticket.raised = ticket.raised.saturating_sub(1);
        }
    }

    /// Puts back what an alarm says after a restart.
    pub fn restore(
        &mut self,
        ticket: &mut TicketRecord,
        alarm: &AlarmId,
        episode: u32,
        returned: bool,
    ) {
        self.0.insert((ticket.id, alarm.clone()), Member { episode, returned });
        ticket.raised = ticket.raised.saturating_add(u32::from(!returned));
    }

    /// Marks an episode as over. The number of members that are still raised, or `None` when the
    /// ticket does not cover it.
    pub fn leave(
        &mut self,
        ticket: &mut TicketRecord,
        alarm: &AlarmId,
        episode: u32,
    ) -> Option<u32> {
        let member = self.0.get_mut(&(ticket.id, alarm.clone()))?;
        if member.episode != episode || member.returned {
            return None;
        }
        member.returned = true;
        ticket.raised = ticket.raised.saturating_sub(1);
        Some(ticket.raised)
    }

    /// The alarms that a ticket covers, raised or returned.
    pub fn all(&self, ticket: TicketId) -> impl Iterator<Item = &AlarmId> {
        self.of(ticket).map(|(alarm, _)| alarm)
    }

    /// Those that are raised still.
    pub fn raised(&self, ticket: TicketId) -> impl Iterator<Item = &AlarmId> {
        self.of(ticket).filter(|(_, member)| !member.returned).map(|(alarm, _)| alarm)
    }

    /// Lets go of the members that have returned.
    pub fn take_returned(&mut self, ticket: TicketId) -> Vec<AlarmId> {
        let returned = self.of(ticket).filter(|(_, member)| member.returned);
        let returned: Vec<AlarmId> = returned.map(|(alarm, _)| alarm.clone()).collect();
        for alarm in &returned {
            self.0.remove(&(ticket, alarm.clone()));
        }
        returned
    }

    /// An alarm has got another name. True when the ticket covers it.
    pub fn rename(&mut self, ticket: TicketId, old: &AlarmId, new: &AlarmId) -> bool {
        let member = self.0.remove(&(ticket, old.clone()));
        let is_member = member.is_some();
        self.0.extend(member.map(|member| ((ticket, new.clone()), member)));
        is_member
    }

    fn of(&self, ticket: TicketId) -> impl Iterator<Item = (&AlarmId, &Member)> {
        let least = AlarmId { rule: String::new(), device: String::new(), key: Vec::new() };
        let from = self.0.range((ticket, least)..);
        let of_ticket = from.take_while(move |((id, _), _)| *id == ticket);
        of_ticket.map(|((_, alarm), member)| (alarm, member))
    }
}
