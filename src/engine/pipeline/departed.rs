//! Alarms that no rule looks at any more: their rule is gone, was renamed, or no longer means their
//! device.

use super::Engine;
use super::devices::Alarm;
use crate::engine::merge;
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState};
use crate::engine::types::decision::{AlarmEvent, Decision};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::{Mode, OnRemove};
use crate::engine::types::spell::Spell;
use crate::engine::types::time::Timestamp;

/// What becomes of an alarm that is with no device.
enum Fate {
    /// Its rule looks at its device, or has got another name.
    Goes(Option<String>),
    /// Its rule says that it is over.
    Ends(&'static str),
    /// It stays as it is, with its ticket.
    Stays,
}

impl Engine {
    /// Gives every alarm that is with no device its place, or its end.
    pub(super) fn settle_departed(&mut self, now: Timestamp, effects: &mut Effects) {
        for (_, record) in std::mem::take(&mut self.departed) {
            match self.fate(&record) {
                Fate::Goes(None) => self.put_record(record),
                Fate::Goes(Some(rule)) => self.rename(record, rule, effects),
                Fate::Ends(why) => self.end(now, record, why, effects),
                Fate::Stays => {
                    self.departed.insert(record.id.clone(), record);
                }
            }
        }
    }

    fn fate(&self, record: &AlarmRecord) -> Fate {
        let rules = &self.policy.rules;
        let is_live = |mode| mode != Mode::Off;
        let own = self.policy.position(&record.id.rule);
        let renamed = rules.iter().find(|rule| {
            is_live(rule.spec.mode) && rule.spec.renamed_from.as_ref() == Some(&record.id.rule)
        });
        let own = own.and_then(|index| Some((index, rules.get(index)?)));
        match (own, renamed) {
            (Some((index, rule)), _) if is_live(rule.spec.mode) => {
                let device = self.names.find(&record.id.device);
                match device.and_then(|id| self.devices.get(id.index())) {
                    Some(device) if device.profile.rules.binary_search(&index).is_ok() => {
                        Fate::Goes(None)
                    }
                    Some(_) => Fate::Ends("the rule no longer looks at this device"),
                    None => Fate::Stays,
                }
            }
            (None, Some(rule)) => Fate::Goes(Some(rule.spec.id.clone())),
            _ if record.on_remove == OnRemove::Resolve => Fate::Ends("its rule was removed"),
            _ => Fate::Stays,
        }
    }

    /// An alarm goes on under another rule id, its episode and ticket with it.
    fn rename(&mut self, mut record: AlarmRecord, rule: String, effects: &mut Effects) {
        let old = record.id.clone();
        record.id.rule = rule;
        let new = record.id.clone();
        effects.writes.push(Write::AlarmGone(old.clone()));
        effects.writes.push(Write::Alarm(Box::new(record.clone())));
        self.rename_in_tickets(&old, &new, effects);
        self.put_record(record);
    }

    fn rename_in_tickets(&mut self, old: &AlarmId, new: &AlarmId, effects: &mut Effects) {
        let Some(policy) = self.policy.rule(&new.rule).map(|rule| rule.spec.ticket.clone()) else {
            return;
        };
        let mut changed = Vec::new();
        for ticket in self.tickets.values_mut() {
            let mut is_changed = self.members.rename(ticket.id, old, new);
            let (from, to) = (
                merge::group(&policy, old, &ticket.site, &ticket.upstream),
                merge::group(&policy, new, &ticket.site, &ticket.upstream),
            );
            if ticket.group == from && from != to {
                if self.groups.get(&from) == Some(&ticket.id) {
                    self.groups.remove(&from);
                    self.groups.insert(to.clone(), ticket.id);
                }
                ticket.group = to;
                is_changed = true;
            }
            if is_changed {
                if ticket.rule == old.rule && ticket.device == old.device {
                    ticket.rule.clone_from(&new.rule);
                }
                changed.push(ticket.clone());
            }
        }
        effects.writes.extend(changed.into_iter().map(|ticket| Write::Ticket(Box::new(ticket))));
    }

    /// The fault counts as over: the episode closes and leaves its ticket.
    fn end(
        &mut self,
        now: Timestamp,
        mut record: AlarmRecord,
        why: &'static str,
        effects: &mut Effects,
    ) {
        if record.state == AlarmState::Normal {
            self.departed.insert(record.id.clone(), record);
            return;
        }
        let device = self.names.find(&record.id.device);
        let time = device.and_then(|id| Some(self.devices.get(id.index())?.clock.at(now)));
        let at = time.unwrap_or(now).max(record.changed_at);
        let was_raised = record.state.is_raised();
        record.state = AlarmState::Normal;
        record.changed_at = at;
        record.remember(at, now, format!("over: {why}"));
        let id = record.id.clone();
        let mut over = None;
        if let Some(episode) = record.episode.as_mut().filter(|e| e.closed_at.is_none()) {
            episode.returned_at.get_or_insert(at);
            episode.closed_at = Some(at);
            over = Some(episode.clone());
        }
        if let Some(episode) = over {
            let site = device.and_then(|id| self.devices.get(id.index()));
            let site = site.map(|device| device.facts.site.as_str()).unwrap_or_default();
            effects.writes.push(Write::Spell(Box::new(Spell::of(&id, &episode, site))));
            let events = [AlarmEvent::Returned, AlarmEvent::Closed];
            let told = events.into_iter().skip(usize::from(!was_raised));
            effects.decisions.extend(told.map(|event| Decision::Alarm {
                id: id.clone(),
                episode: episode.number,
                event,
                at,
                severity: episode.severity,
                ticket: episode.ticket,
            }));
            self.leave_ticket(now, &id, &episode, at, effects);
        }
        effects.writes.push(Write::Alarm(Box::new(record.clone())));
        if let Some(device) = device {
            self.note_returned(now, device, &id);
        }
        self.departed.insert(id, record);
    }

    /// Keeps an alarm that a device no longer has, until [`Engine::settle_departed`].
    pub(super) fn part_with(&mut self, record: AlarmRecord) {
        self.departed.insert(record.id.clone(), record);
    }

    /// Says which device an alarm is on, for callers that have only its id.
    pub(super) fn find_alarm(&self, alarm: &AlarmId) -> Option<(DeviceId, usize)> {
        let id = self.names.find(&alarm.device)?;
        let device = self.devices.get(id.index())?;
        let is_it = |known: &Alarm| known.record.as_ref().is_some_and(|record| record.id == *alarm);
        let index = device.alarms.iter().position(is_it)?;
        Some((id, index))
    }
}
