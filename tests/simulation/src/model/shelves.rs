//! Alarms that an operator keeps from people: they open nothing until they come back.

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::Timestamp;

use super::{Alarm, Model, Shelf, State, Status};

impl Model {
    /// Somebody puts an alarm on a shelf.
    pub fn shelve(&mut self, id: &AlarmId, shelf: Shelf) {
        if let Some(alarm) = self.alarm_mut(id) {
            alarm.shelf = Some(shelf);
        }
    }

    /// An alarm comes back from its shelf: whoever had taken it, somebody must take it again.
    pub fn unshelve(&mut self, id: &AlarmId) {
        let Some(alarm) = self.alarm_mut(id) else { return };
        alarm.shelf = None;
        let episode = alarm.episode;
        if !matches!(alarm.state, State::Raised { taken: true, .. }) {
            return;
        }
        alarm.untake();
        let ticket = self.ticket_of(id, episode);
        let ticket = ticket.and_then(|at| self.tickets.get_mut(at));
        if let Some(ticket) = ticket.filter(|ticket| ticket.status != Status::Over) {
            ticket.acked = false;
            ticket.status = Status::Open;
        }
    }

    /// The times until `now` at which shelves end.
    pub(super) fn ends_of_shelves(&self, now: Timestamp) -> Vec<Timestamp> {
        let shelves = self.alarms().filter_map(|(_, alarm)| alarm.shelf?.until);
        let mut ends: Vec<Timestamp> = shelves.filter(|until| *until <= now).collect();
        ends.sort_unstable();
        ends
    }

    /// The time of some shelves is over.
    pub(super) fn end_shelves(&mut self, now: Timestamp) {
        let is_over = |alarm: &Alarm| {
            alarm.shelf.is_some_and(|shelf| shelf.until.is_some_and(|until| until <= now))
        };
        let over = self.alarms().filter(|(_, alarm)| is_over(alarm));
        for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.unshelve(&id);
        }
    }

    pub(super) fn alarm(&self, id: &AlarmId) -> Option<&Alarm> {
        self.devices.get(&id.device)?.alarms.get(id)
    }

    pub(super) fn alarm_mut(&mut self, id: &AlarmId) -> Option<&mut Alarm> {
        self.devices.get_mut(&id.device)?.alarms.get_mut(id)
    }
}
