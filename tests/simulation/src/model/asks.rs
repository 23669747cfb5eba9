//! What the life cycle asks of tickets, and what the gateway says that it did about it.
//!
//! Where a ticket goes may hang on what the model cannot know to the instant: how much is spent in
//! the middle of a turn, whose timer comes first. So the model takes the gateway's word for the
//! order and for the ticket, and holds it against what is allowed.

use anyhow::{Context, bail, ensure};
use faultgate::engine::types::alarm::{AlarmId, HeldBy};
use faultgate::engine::types::decision::AlarmEvent;
use faultgate::engine::types::ledger::LedgerRow;
use faultgate::engine::types::time::Timestamp;

use super::{Model, State};

/// What an episode asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub id: AlarmId,
    pub episode: u32,
    /// When, in the time of the device.
    pub at: Timestamp,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It is raised: a ticket, unless an operator keeps it from people.
    Enter { shelved: bool },
    /// It is over.
    Leave,
}

/// What the gateway decided of an alarm.
#[derive(Clone, Debug)]
pub struct Told {
    /// The alarm.
    pub id: AlarmId,
    /// Number of its episode.
    pub episode: u32,
    /// What happened.
    pub event: AlarmEvent,
    /// When, in the time of its device.
    pub at: Timestamp,
    /// Its ticket, if it has one.
    pub ticket: Option<Named>,
}

/// What the gateway decided.
#[derive(Clone, Debug)]
pub enum Said {
    /// Of an alarm.
    Alarm(Told),
    /// The ticket with this key was ended by somebody, its fault stands, and it is opened again.
    NotMended(String),
}

/// A ticket of the gateway.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its key.
    pub key: String,
    /// Which tickets are like it, in the gateway's words.
    pub group: String,
}

/// What the gateway did in a step.
#[derive(Debug)]
pub struct Step {
    /// When, in its time.
    pub now: Timestamp,
    /// What it decided.
    pub said: Vec<Said>,
    /// What it booked.
    pub rows: Vec<LedgerRow>,
}

impl Model {
    /// Holds what the gateway did in a step against what was asked for.
    ///
    /// # Errors
    /// What is not allowed, or was left out.
    pub fn settle(&mut self, step: &Step) -> anyhow::Result<()> {
        self.book(step);
        for said in &step.said {
            let told = match said {
                Said::Alarm(told) => told,
                Said::NotMended(key) => {
                    self.is_not_mended(step.now, key)?;
                    continue;
                }
            };
            self.note_storm(step.now, told);
            match told.event {
                AlarmEvent::Raised { held_by } => self.take_raised(step.now, told, held_by)?,
                AlarmEvent::Released { .. } => self.take_released(step.now, told)?,
                AlarmEvent::Returned | AlarmEvent::Closed => self.take_over(told),
                AlarmEvent::Acknowledged | AlarmEvent::Unsteady | AlarmEvent::Steady => {}
            }
            self.note_source(step.now, told);
        }
        if let Some(ask) = self.asks.first() {
            bail!("alarm {}: the gateway does nothing about {ask:?}", ask.id);
        }
        self.check_books(step)
    }

    fn take_ask(&mut self, told: &Told, wanted: impl Fn(What) -> bool) -> Option<Ask> {
        let is_it =
            |ask: &Ask| ask.id == told.id && ask.episode == told.episode && wanted(ask.what);
        let at = self.asks.iter().position(is_it)?;
        Some(self.asks.remove(at))
    }

    fn take_raised(
        &mut self,
        now: Timestamp,
        told: &Told,
        held_by: Option<HeldBy>,
    ) -> anyhow::Result<()> {
        let ask = self.take_ask(told, |what| what != What::Leave);
        let ask = ask.with_context(|| format!("alarm {}: nobody raised it", told.id))?;
        let shelved = ask.what == What::Enter { shelved: true };
        if let Some(ticket) = self.ticket_of(&ask.id, ask.episode) {
            if !held_by.is_some_and(HeldBy::is_suppression) {
                ensure!(!shelved, "alarm {} is on a shelf, and its ticket is told", ask.id);
                return self.back(now, &ask.id, ticket);
            }
            let why = self.why_held(now, &ask.id, held_by, shelved);
            ensure!(why, "the ticket of {} is not told: {held_by:?} is no reason (I1)", ask.id);
            if let Some(alarm) = self.alarm_mut(&ask.id) {
                alarm.held_since = Some(ask.at);
            }
            return Ok(());
        }
        match &told.ticket {
            Some(ticket) => {
                ensure!(!shelved, "alarm {} is on a shelf, and has a ticket", ask.id);
                let waits = self.waits_until(&ask.id, now).is_some_and(|until| now < until);
                ensure!(
                    !waits || self.may_storm(&ask.id),
                    "alarm {} has a ticket, and should wait for others",
                    ask.id
                );
                let tickets = self.tickets.len();
                let must_join = self.must_storm(now, &ask.id) && !self.is_safety(&ask.id);
                self.enter(now, &ask, ticket)?;
                ensure!(
                    !must_join
                        || self.tickets.len() == tickets
                        || ["/storm/", "/digest/"].iter().any(|one| ticket.group.contains(one)),
                    "alarm {} opens {}, and there is a storm",
                    ask.id,
                    ticket.group
                );
                Ok(())
            }
            None => {
                let why = self.why_held(now, &ask.id, held_by, shelved);
                ensure!(why, "alarm {} has no ticket: {held_by:?} is no reason (I1)", ask.id);
                if held_by == Some(HeldBy::Group) {
                    let until = self.waits_until(&ask.id, now).unwrap_or(now);
                    self.waiting.insert(ask.id.clone(), until);
                }
                if let Some(alarm) = self.alarm_mut(&ask.id) {
                    alarm.held_since = Some(ask.at);
                }
                Ok(())
            }
        }
    }

    /// What kept an alarm back is over.
    fn take_released(&mut self, now: Timestamp, told: &Told) -> anyhow::Result<()> {
        let (id, episode) = (told.id.clone(), told.episode);
        let alarm = self.alarm_mut(&id).filter(|alarm| alarm.episode == episode);
        let held = alarm.as_ref().and_then(|alarm| alarm.held_since);
        let at = held.with_context(|| format!("alarm {id} is released, and was not held"))?;
        ensure!(
            alarm.is_some_and(|alarm| alarm.shelf.is_none()),
            "alarm {id} is released, and is on a shelf"
        );
        if let Some(ticket) = self.ticket_of(&id, episode) {
            if let Some(alarm) = self.alarm_mut(&id) {
                alarm.held_since = None;
            }
            return self.back(now, &id, ticket);
        }
        let ticket = told.ticket.as_ref().context("a released alarm has a ticket")?;
        let ask = Ask { id, episode, at, what: What::Enter { shelved: false } };
        self.enter(now, &ask, ticket)
    }

    fn take_over(&mut self, told: &Told) {
        if let Some(ask) = self.take_ask(told, |what| what == What::Leave) {
            let alarm = self.alarm_mut(&ask.id).filter(|alarm| alarm.episode == ask.episode);
            alarm.into_iter().for_each(|alarm| alarm.held_since = None);
            self.leave(&ask);
        }
    }

    fn enter(&mut self, now: Timestamp, ask: &Ask, ticket: &Named) -> anyhow::Result<()> {
        let rule = self.rules.iter().find(|rule| rule.id == ask.id.rule).cloned();
        let rule = rule.with_context(|| format!("alarm {}: there is no such rule", ask.id))?;
        let ticket = self.place(now, &rule, ask, ticket)?;
        self.placed.insert((ask.id.clone(), ask.episode), ticket);
        if let Some(alarm) = self.alarm_mut(&ask.id) {
            alarm.held_since = None;
        }
        Ok(())
    }

    /// True where this is a reason for a raised alarm to have no ticket now.
    fn why_held(
        &self,
        now: Timestamp,
        id: &AlarmId,
        held_by: Option<HeldBy>,
        shelved: bool,
    ) -> bool {
        match held_by {
            Some(HeldBy::Shelved | HeldBy::OutOfService) => shelved,
            Some(HeldBy::Budget) => !shelved && self.may_hold_for_money(id),
            Some(HeldBy::Inhibit) => !shelved && self.is_inhibited(now, id),
            Some(HeldBy::Maintenance) => !shelved && self.is_worked_on(now, id),
            Some(HeldBy::Group) => {
                !shelved && self.waits_until(id, now).is_some_and(|until| now < until)
            }
            Some(HeldBy::Storm | HeldBy::Shadow) | None => false,
        }
    }

    /// Every raised alarm has a ticket, or there is a reason why it has none.
    ///
    /// # Errors
    /// The one that was forgotten.
    pub fn nothing_is_forgotten(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let raised = self.alarms().filter(|(id, alarm)| {
            matches!(alarm.state, State::Raised { .. })
                && (alarm.held_since.is_some() || self.ticket_of(id, alarm.episode).is_none())
        });
        let idle = raised.filter(|(id, alarm)| alarm.shelf.is_none() && !self.is_kept(now, id));
        let idle: Vec<AlarmId> = idle.map(|(id, _)| id.clone()).collect();
        self.idle.retain(|id, _| idle.contains(id));
        for id in idle {
            let since = *self.idle.entry(id.clone()).or_insert(now);
            ensure!(
                now.since(since) < self.patience(&id),
                "alarm {id} has no ticket, and nothing has kept it back since {since} (I1)"
            );
        }
        self.nothing_is_taken_for_mended(now)
    }

    /// True while something may keep back an alarm that is not on a shelf.
    fn is_kept(&self, now: Timestamp, id: &AlarmId) -> bool {
        self.settles(now)
            || self.waiting.get(id).is_some_and(|until| now < *until)
            || self.is_short_of_money(id)
            || self.is_inhibited(now, id)
            || self.is_worked_on(now, id)
    }

    pub(super) fn ask(&mut self, id: &AlarmId, at: Timestamp, what: What) {
        let Some(episode) = self.alarm_mut(id).map(|alarm| alarm.episode) else { return };
        self.asks.push(Ask { id: id.clone(), episode, at, what });
    }
}
