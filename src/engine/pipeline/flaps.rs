//! An alarm that changes too often: one comment when it begins, one when it is steady.

use super::Engine;
use crate::engine::lifecycle;
use crate::engine::ticket;
use crate::engine::types::decision::AlarmEvent;
use crate::engine::types::effect::Effects;
use crate::engine::types::job::Action;
use crate::engine::types::names::DeviceId;
use crate::engine::types::time::{TimeSpan, Timestamp};

impl Engine {
    pub(super) fn begin_flapping(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let Some((_, record)) = self.alarm_of(id, index) else { return };
        let changes = lifecycle::recent(&record.changes, at);
        let (alarm, score) = (record.id.clone(), lifecycle::score(changes));
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        let text = ticket::comment_unsteady(self.speech(), &alarm, changes, score);
        self.comment_on_alarm(now, id, index, text, effects);
        let what = format!("flapping, score {score:.2}: {changes} changes within an hour");
        self.tell(now, id, index, at, AlarmEvent::Unsteady, &what, effects);
    }

    pub(super) fn end_flapping(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        at: Timestamp,
        (changes, lasted): (u32, TimeSpan),
        effects: &mut Effects,
    ) {
        let Some((_, record)) = self.alarm_of(id, index) else { return };
        let (alarm, raised) = (record.id.clone(), record.state.is_raised());
        let text = ticket::comment_steady(self.speech(), &alarm, changes, lasted, raised);
        self.comment_on_alarm(now, id, index, text, effects);
        let what = format!("no longer flapping: {changes} changes in {lasted}");
        self.tell(now, id, index, at, AlarmEvent::Steady, &what, effects);
    }

    /// Adds a comment to the ticket of an alarm, if it has one that is open and nothing keeps it
    /// from people.
    fn comment_on_alarm(
        &mut self,
        now: Timestamp,
        id: DeviceId,
        index: usize,
        text: String,
        effects: &mut Effects,
    ) {
        let Some((rule, record)) = self.alarm_of(id, index) else { return };
        let spec = rule.spec.for_key(&record.id.key);
        if self.suppressed(now, id, index, &spec).is_some() {
            return;
        }
        let ticket = record.episode.as_ref().and_then(|episode| self.tickets.get(&episode.ticket?));
        let Some(mut ticket) = ticket.filter(|ticket| !ticket.status.is_over()).cloned() else {
            return;
        };
        self.follow_up(now, &mut ticket, Action::Comment { text }, effects);
        self.put_ticket(ticket, effects);
    }
}
