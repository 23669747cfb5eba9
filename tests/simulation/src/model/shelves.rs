//! Alarms that an operator keeps from people: they open nothing until they come back.

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::Timestamp;

use super::{Alarm, Model, Shelf, State, Status};
use crate::rules::Rule;

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
        let State::Raised { taken: true, clearing } = alarm.state else { return };
        alarm.state = State::Raised { taken: false, clearing };
        let ticket = alarm.ticket.and_then(|at| self.tickets.get_mut(at));
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
        self.release_held();
    }

    /// What is raised and no longer kept from people has its ticket now.
    pub(super) fn release_held(&mut self) {
        let free = self.alarms().filter(|(_, alarm)| alarm.shelf.is_none());
        let free = free.filter_map(|(id, alarm)| Some((id.clone(), alarm.held_since?)));
        for (id, since) in free.collect::<Vec<_>>() {
            if let Some(rule) = self.rules.iter().find(|rule| rule.id == id.rule).cloned() {
                self.enter(&rule, &id, since);
            }
        }
    }

    /// A raised episode has its ticket, unless it is kept from people.
    pub(super) fn enter(&mut self, rule: &Rule, id: &AlarmId, at: Timestamp) {
        let Some(alarm) = self.alarm_mut(id) else { return };
        if alarm.shelf.is_some() {
            alarm.held_since = Some(at);
            return;
        }
        alarm.held_since = None;
        let key = id.fingerprint(alarm.episode).0;
        let ticket = self.place(rule, id, key, at);
        if let Some(alarm) = self.alarm_mut(id) {
            alarm.ticket = Some(ticket);
        }
    }

    fn alarm_mut(&mut self, id: &AlarmId) -> Option<&mut Alarm> {
        self.devices.get_mut(&id.device)?.alarms.get_mut(id)
    }
}
