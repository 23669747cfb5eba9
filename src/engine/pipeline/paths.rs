//! The way to the devices of a source: while it is lost nobody counts as silent, and the loss itself
//! is what is raised.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::devices::Device;
use super::samples::Told;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Class of the devices that stand for the ways to other devices.
const CLASS: &str = "path";
/// What rules read of them.
const METRIC: &str = "up";

/// Until when nothing can be said about who is silent.
#[derive(Debug)]
pub(super) struct Paths {
    /// When the gateway began.
    started: Timestamp,
    /// How long devices have after a start, and after their path is back.
    grace: TimeSpan,
    /// The sources that are lost or were, and how they stand.
    sources: BTreeMap<usize, Path>,
}

/// The path of one source.
#[derive(Clone, Copy, Debug)]
struct Path {
    is_lost: bool,
    /// Since when silence does not count.
    since: Timestamp,
    /// Until when, where it is back.
    until: Timestamp,
}

impl Paths {
    pub fn new(started: Timestamp, grace: TimeSpan) -> Paths {
        Paths { started, grace, sources: BTreeMap::new() }
    }

    /// Until when the start alone holds `absent` back.
    pub fn started_until(&self) -> Timestamp {
        self.started + self.grace
    }

    /// True while nothing can be said about the silence of a device of a source. Whose source is not
    /// known, since it was not heard since the start, may be of any.
    pub fn is_held(&self, source: Option<usize>, now: Timestamp) -> bool {
        let holds = |path: &Path| path.is_lost || now < path.until;
        now < self.started_until()
            || match source {
                Some(source) => self.sources.get(&source).is_some_and(holds),
                None => self.sources.values().any(holds),
            }
    }

    fn lose(&mut self, source: usize, now: Timestamp) {
        let (started, until) = (self.started, self.started_until());
        let path = self.sources.entry(source);
        let path = path.or_insert(Path { is_lost: false, since: started, until });
        if !path.is_lost && now >= path.until {
            path.since = now;
        }
        path.is_lost = true;
    }

    /// Since and until when the devices of a path that is back do not count as silent; `None` for
    /// one that was not lost.
    fn bring_back(&mut self, source: usize, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let path = self.sources.get_mut(&source).filter(|path| path.is_lost)?;
        path.is_lost = false;
        path.until = path.until.max(now + self.grace);
        Some((path.since, path.until))
    }
}

impl Engine {
    /// The path to the devices of a source was lost or is back.
    pub(super) fn take_path(
        &mut self,
        now: Timestamp,
        source: usize,
        up: bool,
        effects: &mut Effects,
    ) {
        if !up {
            self.paths.lose(source, now);
        } else if let Some((since, until)) = self.paths.bring_back(source, now) {
            self.stand_still(source, (since, until));
            self.wake_absence(Some(source), until);
        }
        self.tell_path(now, source, up, effects);
    }

    /// Silence does not go on while the path is lost, nor until all could have spoken again.
    fn stand_still(&mut self, source: usize, (since, until): (Timestamp, Timestamp)) {
        for device in self.devices.iter_mut().filter(|device| device.may_be_of(source)) {
            let from = since.max(device.heard);
            if from < until {
                device.clock.forgive(until.since(from));
            }
        }
    }

    /// Has the rules look at the path, as at any device. One that was never lost is not known.
    fn tell_path(&mut self, now: Timestamp, source: usize, up: bool, effects: &mut Effects) {
        let Some(name) = self.settings.sources.get(source).map(|source| &source.name) else {
            return;
        };
        let id = format!("source:{name}");
        let known = self.names.find(&id);
        if known.is_none() && up {
            return;
        }
        let id = known.unwrap_or_else(|| {
            let facts = DeviceFacts { id, class: CLASS.to_owned(), ..DeviceFacts::default() };
            effects.writes.push(Write::Device(Box::new(facts.clone())));
            self.add_device(now, facts)
        });
        let reading = (METRIC.to_owned(), Reading::Good(Value::Bool(up)));
        let readings = self.known_metrics(vec![reading]);
        let clock = self.devices.get(id.index()).map(|device| device.clock);
        let event = clock.map_or(now, |clock| clock.receipt(now));
        let told = Told { event, own_time: false, retained: false, maybe_again: false };
        self.take_readings(now, id, told, &readings, effects);
    }

    /// Has every rule looked at again at `at` that asks about the absence of devices of a source, of
    /// all without one, as it is no longer held back then.
    pub(super) fn wake_absence(&mut self, source: Option<usize>, at: Timestamp) {
        let concerns = |device: &Device| source.is_none_or(|source| device.may_be_of(source));
        for id in self.device_ids() {
            let Some(device) = self.devices.get(id.index()).filter(|device| concerns(device))
            else {
                continue;
            };
            let event = device.clock.at(at);
            let profile = Arc::clone(&device.profile);
            for rule in &profile.absence {
                let Some(device) = self.devices.get_mut(id.index()) else {
                    continue;
                };
                let index = device.slot_of(*rule);
                if let Some(alarm) = device.alarms.get_mut(index)
                    && alarm.due.is_none_or(|due| due > event)
                {
                    alarm.due = Some(event);
                    self.set_timer(id, index);
                }
            }
        }
    }
}
