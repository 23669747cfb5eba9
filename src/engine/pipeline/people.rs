//! What people do: in the console or on the command line, and in the upstream.

use super::Engine;
use crate::engine::lifecycle::{self, Next};
use crate::engine::types::alarm::Signature;
use crate::engine::types::effect::Effects;
use crate::engine::types::input::OperatorAction;
use crate::engine::types::names::DeviceId;
use crate::engine::types::ticket::{TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::Timestamp;

impl Engine {
    pub(super) fn take_operator(
        &mut self,
        now: Timestamp,
        action: OperatorAction,
        signature: &Signature,
        effects: &mut Effects,
    ) {
        match action {
            OperatorAction::Acknowledge(alarm) => {
                if let Some((id, index)) = self.find_alarm(&alarm) {
                    self.acknowledge(now, id, index, signature, effects);
                }
            }
            OperatorAction::AcknowledgeTicket(ticket) => {
                self.acknowledge_ticket(now, ticket, signature, effects);
            }
            OperatorAction::Reset(alarm) => {
                if let Some((id, index)) = self.find_alarm(&alarm) {
                    let by = format!("reset by {} ({})", signature.by, signature.reason);
                    self.change(now, id, index, &by, effects, |state, at| {
                        lifecycle::reset(state, at)
                    });
                }
            }
            OperatorAction::Retry(key) => self.retry_job(now, key, effects),
            OperatorAction::Drop(key) => self.drop_job(now, key, effects),
            OperatorAction::Approve(token) => self.approve(now, &token, &signature.by, effects),
        }
    }

    /// A ticket changed in the upstream.
    pub(super) fn take_ticket(
        &mut self,
        now: Timestamp,
        id: TicketId,
        status: TicketStatus,
        signature: &Signature,
        effects: &mut Effects,
    ) {
        let Some(mut ticket) = self.tickets.get(&id).cloned() else {
            return;
        };
        if ticket.status == status || ticket.resolved_at.is_some() {
            return;
        }
        ticket.status = status;
        if status.is_over() {
            ticket.ladder = None;
            self.close_members(now, &mut ticket, now, effects);
            self.set_ladder_timer(&ticket);
        }
        self.put_ticket(ticket, effects);
        if status.is_taken() {
            self.acknowledge_ticket(now, id, signature, effects);
        }
    }

    /// The ticket is over, so that nobody is left to take the episodes that have returned: they
    /// close and leave the ticket.
    pub(super) fn close_members(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let (over, open) =
            std::mem::take(&mut ticket.members).into_iter().partition(|m| m.returned);
        ticket.members = open;
        let over: Vec<crate::engine::types::ticket::Member> = over;
        for member in over {
            if let Some((id, index)) = self.find_alarm(&member.alarm) {
                self.change(now, id, index, "", effects, |state, time| {
                    lifecycle::ticket_over(state, at.max(time))
                });
            }
        }
    }

    /// An alarm that returned without a ticket has nobody to wait for.
    pub(super) fn settle_returned(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        self.change(now, id, index, "", effects, |state, _| lifecycle::ticket_over(state, at));
    }

    fn acknowledge_ticket(
        &mut self,
        now: Timestamp,
        id: TicketId,
        signature: &Signature,
        effects: &mut Effects,
    ) {
        let Some(mut ticket) = self.tickets.get(&id).cloned() else {
            return;
        };
        if ticket.ack.is_none() {
            ticket.ack = Some(signature.clone());
            if ticket.status == TicketStatus::New || ticket.status == TicketStatus::Reopened {
                ticket.status = TicketStatus::Accepted;
            }
            self.put_ticket(ticket.clone(), effects);
        }
        for member in ticket.members {
            if let Some((device, index)) = self.find_alarm(&member.alarm) {
                self.acknowledge(now, device, index, signature, effects);
            }
        }
    }

    fn acknowledge(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        signature: &Signature,
        effects: &mut Effects,
    ) {
        let reason = if signature.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", signature.reason)
        };
        let by = format!("taken by {} via {}{reason}", signature.by, signature.via);
        let changed = self.change(now, id, index, &by, effects, |state, at| {
            lifecycle::acknowledge(state, signature, at)
        });
        let episode = self.record_mut(id, index).and_then(|record| record.episode.clone());
        let ticket = episode.and_then(|episode| self.tickets.get(&episode.ticket?)).cloned();
        if let (true, Some(mut ticket)) = (changed, ticket)
            && ticket.ack.is_none()
        {
            ticket.ack = Some(signature.clone());
            self.put_ticket(ticket, effects);
        }
    }

    /// Applies an act to an alarm at the device's time, if there is anything to act on.
    fn change(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        who: &str,
        effects: &mut Effects,
        act: impl FnOnce(&crate::engine::types::alarm::AlarmState, Timestamp) -> Option<Next>,
    ) -> bool {
        let Some(device) = self.devices.get(id.index()) else {
            return false;
        };
        let time = device.clock.at(now);
        let Some(record) = self.record_mut(id, index) else {
            return false;
        };
        let Some(next) = act(&record.state, time.max(record.changed_at)) else {
            return false;
        };
        record.state = next.state;
        if !who.is_empty() {
            record.remember(time, now, who.to_owned());
        }
        self.take_events(now, id, index, &next.events, effects);
        self.write_alarm(id, index, effects);
        true
    }
}
