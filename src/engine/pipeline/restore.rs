//! A restart: the state is rebuilt in full from what was stored.

use super::devices::Alarm;
use super::metering::Measuring;
use super::redelivery::Redelivery;
use super::{Engine, Settings, Timer};
use crate::engine::guard::LedgerEnd;
use crate::engine::policy::Policy;
use crate::engine::types::alarm::{AlarmRecord, AlarmState};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::JobRecord;
use crate::engine::types::metering::Metering;
use crate::engine::types::names::DeviceId;
use crate::engine::types::restored::Restored;
use crate::engine::types::ticket::{TicketId, TicketRecord};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::seeded::{self, Bug};

/// Everything that was stored.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Devices, in any order.
    pub devices: Vec<DeviceFacts>,
    /// Alarms.
    pub alarms: Vec<AlarmRecord>,
    /// Tickets.
    pub tickets: Vec<TicketRecord>,
    /// Jobs that are not done.
    pub jobs: Vec<JobRecord>,
    /// The end of the ledger.
    pub ledger: LedgerEnd,
    /// The highest number that a ticket ever had.
    pub ticket_last: u64,
    /// What was received lately and may come again, by source.
    pub received: Vec<(String, Vec<u64>)>,
    /// When the gateway was last known to run; `None` on the first start.
    pub alive_at: Option<Timestamp>,
    /// What is measured and has no row of the ledger yet.
    pub metering: Metering,
    /// From when all of it is, where it was put back from a backup.
    pub restored: Option<Restored>,
}

impl Engine {
    /// An engine that goes on from `stored`. Timers that ran out meanwhile fire with the first
    /// step; pending delays go on with the time that passed, unless the gateway was down for
    /// longer than `resume_max`: then they start again.
    pub fn restore(
        settings: Settings,
        policy: Policy,
        stored: Snapshot,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Engine {
        let down = stored.alive_at.map_or(TimeSpan::ZERO, |alive| now.since(alive));
        let resume = down <= settings.resume_max;
        let mut engine = Engine::new(settings, policy, now);
        // What is there has to settle, also where it is not known when the gateway was alive.
        let has_state =
            stored.alive_at.is_some() || !stored.devices.is_empty() || !stored.jobs.is_empty();
        if has_state && !seeded::has(Bug::SettleForgotten) {
            engine.settles_until = now + engine.settings.settle;
            engine.outbox.hold(engine.settles_until);
        }
        engine.restored = stored.restored.filter(|_| !seeded::has(Bug::RestoreUnknown));
        engine.redelivery = Redelivery::restore(stored.received);
        engine.ledger = stored.ledger;
        engine.measuring = Measuring::restore(stored.metering);
        if engine.measuring.has_open() {
            engine.timers.insert((now, Timer::Measuring));
        }
        engine.guard.set_blind(true);
        engine.ticket_last = stored.ticket_last;
        for facts in stored.devices {
            engine.decoders.recall(&facts, now);
            match engine.names.find(&facts.id) {
                Some(id) => engine.recall_device(id, facts),
                None => {
                    engine.add_device(now, facts);
                }
            }
        }
        for ticket in stored.tickets {
            engine.ticket_last = engine.ticket_last.max(ticket.id.0);
            let last = engine.groups.get(&ticket.group).copied();
            if last.is_none_or(|last: TicketId| last < ticket.id) {
                engine.groups.insert(ticket.group.clone(), ticket.id);
            }
            engine.set_ladder_timer(&ticket);
            if !seeded::has(Bug::VerificationForgotten) {
                engine.set_verification_timer(&ticket);
            }
            engine.tickets.insert(ticket.id, ticket);
        }
        for job in stored.jobs {
            engine.restore_job(now, job, effects);
        }
        for record in stored.alarms {
            engine.restore_alarm(record, resume, now, effects);
        }
        engine.restore_members();
        if engine.restored.is_some() {
            engine.timers.insert((engine.settles_until, Timer::Confirm));
        }
        engine.begin_retention();
        engine.settle_departed(now, effects);
        engine.recount_peers();
        engine.restore_suppression(now);
        engine.restore_grouping(now);
        engine.note_severities(now, effects);
        engine.wake_absence(None, engine.paths.started_until());
        for id in engine.device_ids() {
            engine.look_at_restored(now, id, effects);
        }
        engine
    }

    fn restore_alarm(
        &mut self,
        mut record: AlarmRecord,
        resume: bool,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        if !resume && restart_delays(&mut record, now) {
            // Or a second restart, after a short time, would go on with the old delay.
            effects.writes.push(Write::Alarm(Box::new(record.clone())));
        }
        if seeded::has(Bug::EpisodeReused) && record.state == AlarmState::Normal {
            record.episode = None;
        }
        if seeded::has(Bug::FlapsForgotten) {
            record.flapping = None;
        }
        self.put_record(record);
    }

    /// Gives a device the alarm that it had; one whose device or rule is not there is kept apart.
    pub(super) fn put_record(&mut self, record: AlarmRecord) {
        let device = self.names.find(&record.id.device);
        let rule = self.policy.position(&record.id.rule);
        let found = device.zip(rule).filter(|(id, rule)| {
            let device = self.devices.get(id.index());
            device.is_some_and(|device| device.profile.rules.binary_search(rule).is_ok())
        });
        let Some((id, index)) = found else {
            self.part_with(record);
            return;
        };
        let (Some(device), Some(rule)) =
            (self.devices.get_mut(id.index()), self.policy.rules.get(index))
        else {
            return;
        };
        device.clock.recall(record.changed_at);
        for seen in &record.seen {
            device.clock.recall(seen.at);
            if let Some(metric) = self.policy.metrics.find(&seen.metric)
                && device.memory.latest(metric).is_none_or(|(newest, _)| newest < seen.at)
            {
                device.memory.absorb(seen.at, metric, &seen.reading);
                if !device.recalled.contains(&metric) {
                    device.recalled.push(metric);
                }
            }
        }
        if record.state.is_raised() {
            device.raised.push(rule.id);
        }
        let mut alarm = Alarm::new(index);
        alarm.record = Some(Box::new(record));
        device.alarms.push(alarm);
    }

    /// Looks at the alarms of a restored device, so that their timers are set again: each at the
    /// time of its own last change. What ran out since is not due before the first step.
    fn look_at_restored(&mut self, now: Timestamp, id: DeviceId, effects: &mut Effects) {
        let Some(device) = self.devices.get(id.index()) else {
            return;
        };
        let changed_at = |alarm: &Alarm| Some(alarm.record.as_ref()?.changed_at);
        let Some(newest) = device.alarms.iter().filter_map(changed_at).max() else {
            return;
        };
        let active = device.alarms.iter().filter(|alarm| alarm.is_active());
        let mut under_way: Vec<(Timestamp, usize)> =
            active.filter_map(|alarm| Some((changed_at(alarm)?, alarm.rule))).collect();
        under_way.sort_unstable();
        let mut others = Vec::new();
        device.concerned(&[], &mut others);
        others.retain(|rule| under_way.iter().all(|(_, known)| known != rule));
        for (at, rule) in under_way {
            self.look_at(now, id, &[rule], at, effects);
        }
        self.look_at(now, id, &others, newest, effects);
    }
}

/// Begins the delays again that were under way; true when there was one.
fn restart_delays(record: &mut AlarmRecord, now: Timestamp) -> bool {
    let of_state = match &mut record.state {
        AlarmState::Pending { since } => Some(since),
        AlarmState::Unacknowledged { clearing } | AlarmState::Acknowledged { clearing, .. } => {
            clearing.as_mut()
        }
        AlarmState::Returned { rising } | AlarmState::Latched { rising, .. } => rising.as_mut(),
        AlarmState::Normal => None,
    };
    let lull = record.flapping.as_mut().and_then(|flapping| flapping.lull.as_mut());
    let under_way = of_state.into_iter().chain(lull.and_then(|lull| lull.rising.as_mut()));
    under_way.map(|since| *since = now).count() > 0
}
