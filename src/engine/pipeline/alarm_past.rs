//! Where an alarm stood in the last moments, so that it can be put back for a sample that comes late.
//!
//! Only what nobody was told of is put back. A raise, a return and what a person did stand, and so
//! does what was decided by other rules.

use crate::engine::types::alarm::{AlarmRecord, AlarmState, Flapping};
use crate::engine::types::time::Timestamp;

/// Changes that are kept. An alarm that changes more often within `lateness` is put back to the
/// oldest of these.
const KEPT_MAX: usize = 32;

/// Where an alarm stands, as far as samples move it.
#[derive(Clone, Debug, PartialEq)]
struct Standing {
    /// Event time of the change that led to it.
    since: Timestamp,
    state: AlarmState,
    edges: Vec<Timestamp>,
    changes: Vec<Timestamp>,
    flapping: Option<Flapping>,
}

impl Standing {
    fn of(record: &AlarmRecord) -> Standing {
        Standing {
            since: record.changed_at,
            state: record.state.clone(),
            edges: record.edges.clone(),
            changes: record.changes.clone(),
            flapping: record.flapping.clone(),
        }
    }

    fn is_of(&self, record: &AlarmRecord) -> bool {
        self.state == record.state
            && self.edges == record.edges
            && self.changes == record.changes
            && self.flapping == record.flapping
    }

    fn put_into(self, record: &mut AlarmRecord) {
        record.changed_at = self.since;
        record.state = self.state;
        record.edges = self.edges;
        record.changes = self.changes;
        record.flapping = self.flapping;
    }
}

/// Where an alarm stood since its last decision, oldest first; the last is where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct AlarmPast {
    stood: Vec<Standing>,
}

impl AlarmPast {
    /// The alarm is about to be moved: where it stands must be known.
    pub fn begin(&mut self, record: &AlarmRecord) {
        if self.stood.last().is_none_or(|last| !last.is_of(record)) {
            self.stood.clear();
            self.stood.push(Standing::of(record));
        }
    }

    /// It has moved. `decided`: somebody is told, and that stands. What was `before` is too old for
    /// any sample that is still placed.
    pub fn note(&mut self, record: &AlarmRecord, decided: bool, before: Timestamp) {
        if decided {
            self.stood.clear();
        }
        let old = self.stood.iter().take_while(|standing| standing.since <= before).count();
        let over = (self.stood.len() + 1).saturating_sub(KEPT_MAX);
        self.stood.drain(..old.saturating_sub(1).max(over));
        self.stood.push(Standing::of(record));
    }

    /// Somebody acts on the alarm: that stands, wherever it is put back to.
    pub fn change(&mut self, act: impl Fn(&AlarmState) -> Option<AlarmState>) {
        for standing in &mut self.stood {
            if let Some(state) = act(&standing.state) {
                standing.state = state;
            }
        }
    }

    /// Puts the alarm back to where it stood at `event` time, or to its last decision if that was
    /// made by what the device had said by `newest`. False when it stands where it stood.
    pub fn put_back(
        &mut self,
        record: &mut AlarmRecord,
        event: Timestamp,
        newest: Timestamp,
    ) -> bool {
        if self.stood.last().is_none_or(|last| !last.is_of(record)) {
            self.stood.clear();
            return false;
        }
        if self.stood.first().is_none_or(|first| first.since > newest) {
            return false;
        }
        let kept = self.stood.iter().take_while(|standing| standing.since <= event).count().max(1);
        if kept >= self.stood.len() {
            return false;
        }
        self.stood.truncate(kept);
        if let Some(standing) = self.stood.last() {
            standing.clone().put_into(record);
        }
        true
    }
}
