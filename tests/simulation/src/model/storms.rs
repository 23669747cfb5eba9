//! Storms: whether there is one at a site, as far as can be told. What a suppression that ends
//! adds to the count, and what a restart recalls of it, is not known to the instant.

use std::collections::BTreeMap;

use faultgate::engine::types::alarm::{AlarmId, HeldBy};
use faultgate::engine::types::decision::AlarmEvent;
use faultgate::engine::types::time::Timestamp;

use super::{Model, State, Told};
use crate::plan::Storm;

/// What is known of storms.
#[derive(Clone, Debug)]
pub(super) struct Storms {
    policy: Storm,
    sites: BTreeMap<&'static str, Site>,
}

#[derive(Clone, Debug, Default)]
struct Site {
    /// Raises that the gateway has counted.
    counted: Vec<Timestamp>,
    /// Those, and the ones that it may have counted.
    possible: Vec<Timestamp>,
    may_be: bool,
}

impl Storms {
    pub(super) fn new(policy: Storm) -> Storms {
        Storms { policy, sites: BTreeMap::new() }
    }

    /// A restart counts anew.
    pub(super) fn restart(&mut self) {
        self.sites.values_mut().for_each(|site| site.counted.clear());
    }

    fn note(&mut self, now: Timestamp, site: &'static str, is_counted: bool, held: usize) {
        let Storm { enter, leave, window } = self.policy;
        let site = self.sites.entry(site).or_default();
        site.possible.push(now);
        if is_counted {
            site.counted.push(now);
        }
        let is_recent = |at: &Timestamp| now.since(*at) < window;
        site.counted.retain(is_recent);
        site.possible.retain(is_recent);
        let most = site.possible.len() + held;
        site.may_be = most > enter || site.may_be && most >= leave;
    }

    fn must_be(&self, now: Timestamp, site: &str) -> bool {
        let counted = self.sites.get(site).map(|site| site.counted.iter());
        let recent = counted.map(|at| at.filter(|at| now.since(**at) < self.policy.window).count());
        recent.is_some_and(|recent| recent > self.policy.enter)
    }
}

impl Model {
    /// An alarm is raised, or comes back to people: it may count for a storm.
    pub(super) fn note_storm(&mut self, now: Timestamp, told: &Told) {
        let is_counted = match told.event {
            AlarmEvent::Raised { held_by } => {
                !held_by.is_some_and(|by| by.is_suppression() && by != HeldBy::Budget)
            }
            AlarmEvent::Released { .. } => false,
            AlarmEvent::Returned
            | AlarmEvent::Closed
            | AlarmEvent::Acknowledged
            | AlarmEvent::Unsteady
            | AlarmEvent::Steady => return,
        };
        if self.ticket_of(&told.id, told.episode).is_some() {
            return;
        }
        let site = self.site_of(&told.id.device);
        let held = self.alarms().filter(|(id, alarm)| {
            matches!(alarm.state, State::Raised { .. })
                && self.site_of(&id.device) == site
                && self.ticket_of(id, alarm.episode).is_none()
        });
        let held = held.count();
        if let Some(storms) = &mut self.storms {
            storms.note(now, site, is_counted, held);
        }
    }

    /// True where there may be a storm at the site of an alarm.
    pub(super) fn may_storm(&self, id: &AlarmId) -> bool {
        let site = self.site_of(&id.device);
        let storms = self.storms.as_ref();
        storms.is_some_and(|storms| storms.sites.get(site).is_some_and(|site| site.may_be))
    }

    /// True where there certainly is one.
    pub(super) fn must_storm(&self, now: Timestamp, id: &AlarmId) -> bool {
        let site = self.site_of(&id.device);
        self.storms.as_ref().is_some_and(|storms| storms.must_be(now, site))
    }
}
