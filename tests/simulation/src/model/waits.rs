//! Raised alarms that wait for others of their site, or for what is not known yet after a start.

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::tickets::own_group;
use super::{Model, State};
use crate::rules::{GROUP_WAIT, Per};

/// Something is done within this, where nothing keeps it back.
pub(super) const AT_ONCE: TimeSpan = TimeSpan::from_secs(2);

impl Model {
    /// Until when an alarm that is raised at `at` may wait; `None` for one that may not.
    pub(super) fn waits_until(&self, id: &AlarmId, at: Timestamp) -> Option<Timestamp> {
        let rule = self.rules.iter().find(|rule| rule.id == id.rule && !rule.safety)?;
        let own = own_group(rule, id, self.site_of(&id.device));
        if self.last_of(&own).is_some_and(|last| self.is_open(last)) {
            return None;
        }
        let wait = if rule.per == Per::Site { GROUP_WAIT } else { TimeSpan::ZERO };
        self.settles_until.max(Some(at + wait))
    }

    /// How long an alarm may be without a ticket when nothing keeps it back.
    pub(super) fn patience(&self, id: &AlarmId) -> TimeSpan {
        let is_wide = self.rules.iter().any(|rule| rule.id == id.rule && rule.per == Per::Site);
        // It waits for others when it comes back, too.
        AT_ONCE + if is_wide { GROUP_WAIT } else { TimeSpan::ZERO }
    }

    /// True while everything settles after a start.
    pub(super) fn settles(&self, now: Timestamp) -> bool {
        self.settles_until.is_some_and(|until| now < until)
    }

    /// The gateway was started: what waited goes on to wait, counted from when it was raised in the
    /// time of its device, and everything settles.
    pub(super) fn wait_again(&mut self, settles_until: Timestamp) {
        self.settles_until = Some(settles_until);
        let waiting: Vec<AlarmId> = self.waiting.keys().cloned().collect();
        self.waiting.clear();
        for id in waiting {
            let alarm = self.alarm_mut(&id);
            let alarm = alarm.filter(|alarm| matches!(alarm.state, State::Raised { .. }));
            let since = alarm.and_then(|alarm| alarm.held_since);
            if let Some(until) = since.and_then(|since| self.waits_until(&id, since)) {
                self.waiting.insert(id, until);
            }
        }
    }
}
