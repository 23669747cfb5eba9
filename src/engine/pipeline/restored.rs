//! After a restore from a backup (I8): what was done between the two is known to the upstreams only.
//!
//! Every ticket is looked up before it is opened, for good: an episode that was raised after the
//! backup has the same number, and so the same external key, when it is raised again. What is done
//! to a ticket after the restore has numbers that were never used before. And a ticket that may have
//! been resolved meanwhile, while its fault is raised, is opened again.

use super::Engine;
use crate::engine::ticket;
use crate::engine::types::effect::Effects;
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::Timestamp;

impl Engine {
    /// Number of the next effect of a ticket.
    pub(super) fn next_effect(&self, ticket: &TicketRecord, is_open: bool) -> u32 {
        match self.restored {
            Some(restored) if !is_open => ticket.next_effect.max(restored.first_effect()),
            Some(_) | None => ticket.next_effect,
        }
    }

    /// True for a ticket to which nothing was done since the restore: its state upstream is not
    /// known.
    fn is_unconfirmed(&self, ticket: &TicketRecord) -> bool {
        self.restored.is_some_and(|restored| ticket.next_effect < restored.first_effect())
    }

    /// A ticket was opened. One that was found is what the gateway had opened before the restore,
    /// and may have resolved.
    pub(super) fn opened_after_restore(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        found: bool,
        effects: &mut Effects,
    ) {
        if !self.is_unconfirmed(ticket) {
            return;
        }
        if found {
            self.confirm(now, ticket, effects);
        } else {
            ticket.next_effect = self.next_effect(ticket, false);
        }
    }

    /// Confirms the tickets that were open in the backup and are still, once devices have had the
    /// time to say that a fault is over. Those that wait to be opened are confirmed then.
    pub(super) fn confirm_restored(&mut self, now: Timestamp, effects: &mut Effects) {
        let open =
            |ticket: &&TicketRecord| ticket.external.is_some() && self.is_unconfirmed(ticket);
        let open: Vec<TicketId> =
            self.tickets.values().filter(open).map(|ticket| ticket.id).collect();
        for id in open {
            if let Some(mut ticket) = self.tickets.get(&id).cloned() {
                self.confirm(now, &mut ticket, effects);
                self.put_ticket(ticket, effects);
            }
        }
    }

    /// Confirms a ticket before anything else is told of it: nobody reads what is added to one that
    /// was resolved.
    pub(super) fn confirm_first(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        effects: &mut Effects,
    ) {
        if self.is_unconfirmed(ticket) {
            self.confirm(now, ticket, effects);
        }
    }

    fn confirm(&mut self, now: Timestamp, ticket: &mut TicketRecord, effects: &mut Effects) {
        let Some(restored) = self.restored else { return };
        if ticket.raised > 0 && !ticket.status.is_over() {
            let text = ticket::comment_restored(self.speech(), restored.backup_at);
            self.add_reopening(now, ticket, text, effects);
        }
    }
}
