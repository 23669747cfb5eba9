//! What is suppressed by design, in the order in which the gateway says that alarms came and went.

use anyhow::ensure;
use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::decision::AlarmEvent;
use faultgate::engine::types::time::Timestamp;

use super::{Model, Told};

/// An alarm that may keep others from people.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// It is raised.
    Raised,
    /// It has returned, and what it suppressed comes back after a while.
    Over {
        /// When the gateway heard of it.
        at: Timestamp,
        /// When it was, in the time of its device: that is what a restart knows.
        event: Timestamp,
    },
}

impl Model {
    /// An alarm came or went.
    pub(super) fn note_source(&mut self, now: Timestamp, told: &Told) {
        let source = match told.event {
            AlarmEvent::Raised { .. } => Source::Raised,
            AlarmEvent::Returned => Source::Over { at: now, event: told.at },
            AlarmEvent::Released { .. }
            | AlarmEvent::Acknowledged
            | AlarmEvent::Closed
            | AlarmEvent::Unsteady
            | AlarmEvent::Steady => return,
        };
        if self.quiet.is_some() {
            self.sources.insert(told.id.clone(), source);
        }
    }

    /// The gateway works out anew what is suppressed.
    pub(super) fn recall_sources(&mut self) {
        for source in self.sources.values_mut() {
            if let Source::Over { at, event } = source {
                *at = *event;
            }
        }
    }

    /// True while another alarm keeps this one from people.
    pub(super) fn is_inhibited(&self, now: Timestamp, id: &AlarmId) -> bool {
        let (Some(quiet), false) = (&self.quiet, self.is_safety(id)) else { return false };
        let site = self.site_of(&id.device);
        quiet.inhibits.iter().filter(|one| one.target == id.rule).any(|one| {
            self.sources.iter().filter(|(source, _)| source.rule == one.source).any(
                |(by, source)| {
                    let is_near = if one.at_site {
                        self.site_of(&by.device) == site
                    } else {
                        by.device == id.device
                    };
                    is_near
                        && match source {
                            Source::Raised => true,
                            Source::Over { at, .. } => now < *at + one.settle,
                        }
                },
            )
        })
    }

    /// True while somebody works on the device of an alarm.
    pub(super) fn is_worked_on(&self, now: Timestamp, id: &AlarmId) -> bool {
        let site = self.site_of(&id.device);
        let quiet = self.quiet.as_ref().filter(|_| !self.is_safety(id));
        quiet.is_some_and(|quiet| quiet.is_worked_on(&id.device, site, now))
    }

    /// An alarm may have its ticket now: nothing suppresses it.
    pub(super) fn may_enter(&self, now: Timestamp, id: &AlarmId) -> anyhow::Result<()> {
        ensure!(
            !self.is_inhibited(now, id) && !self.is_worked_on(now, id),
            "alarm {id} is suppressed by design, and has a ticket"
        );
        Ok(())
    }

    pub(super) fn is_safety(&self, id: &AlarmId) -> bool {
        self.rules.iter().any(|rule| rule.id == id.rule && rule.safety)
    }

    pub(super) fn site_of(&self, device: &str) -> &'static str {
        self.devices.get(device).map_or("", |device| device.site)
    }
}
