//! What people do: in the console or on the command line, and in the upstream.

use super::Engine;
use crate::engine::guard;
use crate::engine::lifecycle::{self, Next};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState, Shelf, ShelfKind, Signature};
use crate::engine::types::audit::AuditRecord;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::OperatorAction;
use crate::engine::types::job::JobState;
use crate::engine::types::names::DeviceId;
use crate::engine::types::ticket::{TicketId, TicketRecord, TicketStatus};
use crate::engine::types::time::{TimeSpan, Timestamp};

impl Engine {
    pub(super) fn take_operator(
        &mut self,
        now: Timestamp,
        action: OperatorAction,
        signature: &Signature,
        effects: &mut Effects,
    ) {
        if self.refusal(&action).is_some() {
            return;
        }
        self.audit(action.word(), action.subject(), signature, effects);
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
            OperatorAction::Shelve { alarm, span, one_shot } => {
                let kind = ShelfKind::Shelved { until: now + span, one_shot };
                let shelf = Shelf { kind, signature: signature.clone() };
                self.shelve(now, &alarm, shelf, effects);
            }
            OperatorAction::TakeOutOfService(alarm) => {
                let shelf = Shelf { kind: ShelfKind::OutOfService, signature: signature.clone() };
                self.shelve(now, &alarm, shelf, effects);
            }
            OperatorAction::Unshelve(alarm) | OperatorAction::PutIntoService(alarm) => {
                if let Some((id, index)) = self.find_alarm(&alarm) {
                    let why = format!("unshelved by {} via {}", signature.by, signature.via);
                    self.unshelve(now, id, index, &why, effects);
                }
            }
            OperatorAction::Retry(key) => self.retry_job(now, key, effects),
            OperatorAction::Drop(key) => self.drop_job(now, key, effects),
            OperatorAction::Approve(token) => self.approve(now, &token, &signature.by, effects),
            OperatorAction::TakeBack(row) => {
                let row = guard::take_back(&mut self.ledger, now, &row);
                self.book(now, vec![row], effects);
            }
        }
    }

    /// Why an act would change nothing, in one line; `None` for one that can be done.
    pub fn refusal(&self, action: &OperatorAction) -> Option<String> {
        let state = |alarm: &AlarmId| {
            let (id, index) = self.find_alarm(alarm)?;
            self.alarm_of(id, index).map(|(_, record)| record)
        };
        let none = |alarm: &AlarmId| format!("there is no alarm {alarm}");
        match action {
            OperatorAction::Acknowledge(alarm) => match state(alarm) {
                None => Some(none(alarm)),
                Some(record) => match &record.state {
                    AlarmState::Unacknowledged { .. }
                    | AlarmState::Returned { .. }
                    | AlarmState::Latched { ack: None, .. } => None,
                    AlarmState::Acknowledged { ack, .. }
                    | AlarmState::Latched { ack: Some(ack), .. } => {
                        Some(format!("{alarm} was taken by {} at {}", ack.by, ack.at))
                    }
                    AlarmState::Normal | AlarmState::Pending { .. } => {
                        Some(format!("{alarm} is {}: nothing is to be taken", record.state.word()))
                    }
                },
            },
            OperatorAction::Reset(alarm) => match state(alarm) {
                None => Some(none(alarm)),
                Some(AlarmRecord { state: AlarmState::Latched { .. }, .. }) => None,
                Some(record) => Some(format!(
                    "{alarm} is {}: only latched alarms are reset",
                    record.state.word()
                )),
            },
            OperatorAction::Shelve { alarm, span, .. } if self.may_exist(alarm) => {
                let most = self.settings.shelve_max;
                (*span > most || *span <= TimeSpan::ZERO)
                    .then(|| format!("an alarm is shelved for at most {most} (`max_shelve`)"))
            }
            OperatorAction::TakeOutOfService(alarm) if self.may_exist(alarm) => None,
            OperatorAction::Shelve { alarm, .. } | OperatorAction::TakeOutOfService(alarm) => {
                Some(none(alarm))
            }
            OperatorAction::Unshelve(alarm) | OperatorAction::PutIntoService(alarm) => {
                let shelf = state(alarm).and_then(|record| record.shelf.as_ref());
                shelf.is_none().then(|| format!("{alarm} is not on a shelf"))
            }
            OperatorAction::AcknowledgeTicket(ticket) => match self.tickets.get(ticket) {
                None => Some(format!("there is no ticket {ticket}")),
                Some(known) => known
                    .ack
                    .as_ref()
                    .map(|ack| format!("{ticket} was taken by {} at {}", ack.by, ack.at)),
            },
            OperatorAction::Approve(given) => {
                let held = self.held_for_money();
                let asked = held.iter().any(|held| held.token.as_deref() == Some(given));
                (!asked).then(|| format!("no alarm waits for the approval `{given}`"))
            }
            OperatorAction::TakeBack(row) => (row.committed().is_zero() || row.reverses.is_some())
                .then(|| format!("row {} commits nothing", row.sequence)),
            OperatorAction::Retry(job) | OperatorAction::Drop(job) => {
                let dead = self
                    .outbox
                    .jobs()
                    .any(|known| known.key == *job && matches!(known.state, JobState::Dead { .. }));
                (!dead).then(|| format!("{}/{} is not a dead letter", job.ticket, job.number))
            }
        }
    }

    fn audit(&mut self, act: &str, subject: String, signature: &Signature, effects: &mut Effects) {
        self.measuring.note_person(&signature.by);
        let record = AuditRecord { act: act.to_owned(), subject, signature: signature.clone() };
        effects.writes.push(Write::Audit(Box::new(record)));
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
        let act = format!("ticket {}", status.word());
        self.audit(&act, id.to_string(), signature, effects);
        let was_taken = ticket.ack.is_some();
        ticket.status = status;
        ticket.verify_at = None;
        if status == TicketStatus::OnSite {
            self.book_visit(now, &ticket, effects);
        }
        if status.is_over() {
            ticket.ladder = None;
            self.close_members(now, &mut ticket, now, effects);
            self.set_ladder_timer(&ticket);
        }
        if status.is_mended() {
            self.begin_verification(now, &mut ticket);
        }
        if status == TicketStatus::Rejected && was_taken {
            self.untake(now, &mut ticket, effects);
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
        for alarm in self.members.take_returned(ticket.id) {
            if let Some((id, index)) = self.find_alarm(&alarm) {
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
            ticket.acknowledge(signature);
            self.put_ticket(ticket, effects);
        }
        let members: Vec<AlarmId> = self.members.all(id).cloned().collect();
        for alarm in members {
            // A later episode, which has no ticket yet or another one, is not what they took.
            let is_theirs = |record: &mut AlarmRecord| {
                record.episode.as_ref().is_some_and(|episode| episode.ticket == Some(id))
            };
            if let Some((device, index)) = self.find_alarm(&alarm)
                && self.record_mut(device, index).is_some_and(is_theirs)
            {
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
            ticket.acknowledge(signature);
            self.put_ticket(ticket, effects);
        }
    }

    /// Applies an act to an alarm at the device's time, if there is anything to act on.
    pub(super) fn change(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        who: &str,
        effects: &mut Effects,
        act: impl Fn(&AlarmState, Timestamp) -> Option<Next>,
    ) -> bool {
        let Some(device) = self.devices.get(id.index()) else {
            return false;
        };
        let time = device.clock.at(now);
        let Some(alarm) = self.alarm_mut(id, index) else {
            return false;
        };
        let Some(record) = &mut alarm.record else {
            return false;
        };
        let at = time.max(record.changed_at);
        let Some(next) = act(&record.state, at) else {
            return false;
        };
        record.state = next.state;
        alarm.past.change(|state| Some(act(state, at)?.state));
        if !who.is_empty() {
            record.remember(time, now, who.to_owned());
        }
        self.take_events(now, id, index, &next.events, effects);
        self.write_alarm(id, index, effects);
        true
    }
}
