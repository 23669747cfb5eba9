//! Alarms that an operator keeps from people: shelved for some time, or out of service.

use super::devices::Alarm;
use super::{Engine, Timer};
use crate::engine::lifecycle;
use crate::engine::types::alarm::{AlarmId, AlarmRecord, Shelf, ShelfKind};
use crate::engine::types::effect::Effects;
use crate::engine::types::names::DeviceId;
use crate::engine::types::time::Timestamp;

impl Engine {
    /// Puts an alarm on its shelf; whatever it was on before is forgotten.
    pub(super) fn shelve(
        &mut self,
        now: Timestamp,
        alarm: &AlarmId,
        shelf: Shelf,
        effects: &mut Effects,
    ) {
        let Some((id, index)) = self.find_or_add_alarm(alarm) else { return };
        let Shelf { kind, signature } = &shelf;
        let what = match kind {
            ShelfKind::Shelved { until, one_shot } => {
                self.timers.insert((*until, Timer::Lift));
                let or = if *one_shot { " or its return" } else { "" };
                format!("shelved until {until}{or}")
            }
            ShelfKind::OutOfService => "taken out of service".to_owned(),
        };
        let what =
            format!("{what} by {} via {}: {}", signature.by, signature.via, signature.reason);
        self.note_shelved(alarm.clone());
        let time = self.device_time(now, id);
        if let Some(record) = self.record_mut(id, index) {
            record.shelf = Some(shelf);
            record.remember(time, now, what);
        }
        self.write_alarm(id, index, effects);
    }

    /// Takes an alarm from its shelf: E -> A if it is back to normal, else B, whoever had taken it.
    pub(super) fn unshelve(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        why: &str,
        effects: &mut Effects,
    ) {
        let time = self.device_time(now, id);
        let Some(record) = self.record_mut(id, index) else { return };
        record.shelf = None;
        record.remember(time, now, why.to_owned());
        let ticket = record.episode.as_ref().and_then(|episode| episode.ticket);
        let again = self.change(now, id, index, "", effects, |state, _| lifecycle::re_alarm(state));
        self.change(now, id, index, "", effects, lifecycle::ticket_over);
        let rule = self.alarm_of(id, index).map(|(rule, _)| rule);
        if let (true, Some(ticket), Some(rule)) = (again, ticket, rule) {
            self.take_again(now, ticket, &rule, effects);
        }
        self.write_alarm(id, index, effects);
        self.timers.insert((now, Timer::Lift));
    }

    /// Takes every alarm from its shelf whose time is over.
    pub(super) fn expire_shelves(&mut self, now: Timestamp, effects: &mut Effects) {
        for alarm in self.shelved() {
            let Some((id, index)) = self.find_alarm(&alarm) else { continue };
            let shelf = self.alarm_of(id, index).and_then(|(_, record)| record.shelf.as_ref());
            match shelf.map(|shelf| &shelf.kind) {
                Some(ShelfKind::Shelved { until, .. }) if *until <= now => {
                    self.unshelve(now, id, index, "no longer shelved: its time is over", effects);
                }
                Some(ShelfKind::Shelved { until, .. }) => {
                    self.timers.insert((*until, Timer::Lift));
                    self.note_shelved(alarm);
                }
                Some(ShelfKind::OutOfService) => self.note_shelved(alarm),
                None => {}
            }
        }
    }

    /// An alarm has returned: a one-shot shelf is over with it.
    pub(super) fn end_one_shot(&mut self, now: Timestamp, id: DeviceId, index: usize) {
        let time = self.device_time(now, id);
        if let Some(record) = self.record_mut(id, index)
            && let Some(Shelf { kind: ShelfKind::Shelved { one_shot: true, .. }, .. }) =
                record.shelf
        {
            record.shelf = None;
            record.remember(time, now, "no longer shelved: it has returned".to_owned());
        }
    }

    fn device_time(&self, now: Timestamp, id: DeviceId) -> Timestamp {
        self.devices.get(id.index()).map_or(now, |device| device.clock.at(now))
    }

    /// The alarm, even if it never began: its rule must look at its device.
    fn find_or_add_alarm(&mut self, alarm: &AlarmId) -> Option<(DeviceId, usize)> {
        if let Some(found) = self.find_alarm(alarm) {
            return Some(found);
        }
        let (id, rule) = self.home_of(alarm)?;
        let revision = self.policy.rules.get(rule)?.spec.revision.clone();
        let device = self.devices.get_mut(id.index())?;
        let free = device.alarms.iter().position(|a| a.rule == rule && a.record.is_none());
        let index = free.unwrap_or_else(|| {
            device.alarms.push(Alarm::new(rule));
            device.alarms.len() - 1
        });
        device.alarms.get_mut(index)?.record =
            Some(Box::new(AlarmRecord::new(alarm.clone(), revision)));
        Some((id, index))
    }

    /// True for an alarm that could be shelved, whether it ever began or not.
    pub(super) fn may_exist(&self, alarm: &AlarmId) -> bool {
        self.find_alarm(alarm).is_some() || self.home_of(alarm).is_some()
    }

    /// The device of an alarm, and its rule, which looks at that device and has so many keys.
    fn home_of(&self, alarm: &AlarmId) -> Option<(DeviceId, usize)> {
        let id = self.names.find(&alarm.device)?;
        let rule = self.policy.position(&alarm.rule)?;
        self.devices.get(id.index())?.profile.rules.binary_search(&rule).ok()?;
        (self.policy.rules.get(rule)?.key.len() == alarm.key.len()).then_some((id, rule))
    }
}
