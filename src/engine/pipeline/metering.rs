//! Stage 6, beside the calls: rows of what is measured over time. Each stretch of time has one row for
//! each meter, written when it is over; what is not known has none, which is not the same as 0.
//!
//! Measuring begins with the first [`Input::Measured`](crate::engine::types::input::Input): a
//! rehearsal has none, and prices calls alone.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::{Engine, Timer};
use crate::engine::guard::{self, Spender};
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::ledger::Meter;
use crate::engine::types::metering::{Bucket, Metering};
use crate::engine::types::period::first_instant;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// The meters that are measured.
const MEASURED: [Meter; 3] = [Meter::StorageGbDay, Meter::DevicePeak, Meter::UserPeak];
/// Length of the stretches in which the most is looked for, where the plan does not say.
const BUCKET: TimeSpan = TimeSpan::from_secs(3_600);
/// People that are told apart in one stretch.
const PEOPLE_MAX: usize = 10_000;
/// Decimal places from a byte to a gigabyte.
const GB_PLACES: u32 = 9;
/// A size is stored again when it has grown by one part in so many.
const GROWN_BY: i64 = 100;

/// What is measured since the start.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    /// The stretch of each meter that is under way; none before the first measurement.
    open: BTreeMap<Meter, Bucket>,
    /// What of it is stored: behind by what is not worth a write.
    stored: Metering,
    kept_bytes: Option<u64>,
    people: BTreeSet<String>,
    timer: Option<Timestamp>,
}

impl Measuring {
    /// Goes on with what was stored.
    pub fn restore(stored: Metering) -> Measuring {
        Measuring { open: stored.open.clone(), stored, ..Measuring::default() }
    }

    /// True where the gateway ended in a stretch that has something in it.
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Somebody has done something.
    pub fn note_person(&mut self, by: &str) {
        if !by.is_empty() && self.people.len() < PEOPLE_MAX && !self.people.contains(by) {
            self.people.insert(by.to_owned());
        }
    }
}

impl Engine {
    /// Takes in what the shell has measured.
    pub(super) fn take_measured(&mut self, now: Timestamp, kept_bytes: u64, effects: &mut Effects) {
        if self.measuring.kept_bytes.is_none() {
            // What ended before the start did not have this size.
            self.measure(now, now, effects);
        }
        self.measuring.kept_bytes = Some(kept_bytes);
        self.measure(now, now, effects);
    }

    /// Books the stretches that are over `at` a time, and looks at those that are under way then.
    pub(super) fn measure(&mut self, now: Timestamp, at: Timestamp, effects: &mut Effects) {
        let mut is_changed = false;
        for meter in MEASURED {
            let open = self.measuring.open.remove(&meter);
            let mut bucket = self.seen_in(meter, open.unwrap_or_else(|| self.bucket_of(meter, at)));
            if bucket.end <= at {
                self.book_bucket(now, meter, &bucket, effects);
                is_changed |= self.measuring.stored.open.remove(&meter).is_some();
                bucket = self.seen_in(meter, self.bucket_of(meter, at));
            }
            let stored = self.measuring.stored.open.get(&meter);
            let stored = stored.map_or(Decimal::ZERO, |stored| stored.most);
            let has_grown = (bucket.most - stored) * Decimal::from(GROWN_BY) >= bucket.most;
            if has_grown && !bucket.most.is_zero() {
                self.measuring.stored.open.insert(meter, bucket.clone());
                is_changed = true;
            }
            self.measuring.open.insert(meter, bucket);
        }
        if is_changed {
            effects.writes.push(Write::Metering(Box::new(self.measuring.stored.clone())));
        }
        self.set_measuring_timer();
    }

    /// The end of the stretch that ends first: what is seen until then belongs to it.
    fn set_measuring_timer(&mut self) {
        if let Some(set) = self.measuring.timer.take() {
            self.timers.remove(&(set, Timer::Measuring));
        }
        if let Some(at) = self.measuring.open.values().map(|open| open.end).min() {
            self.timers.insert((at, Timer::Measuring));
            self.measuring.timer = Some(at);
        }
    }

    /// A stretch with what there is in it by now.
    fn seen_in(&self, meter: Meter, bucket: Bucket) -> Bucket {
        let seen = self.seen(meter, &bucket).unwrap_or_default();
        Bucket { most: bucket.most.max(seen), ..bucket }
    }

    /// What there is of a meter in a stretch; `None` where that is not known.
    fn seen(&self, meter: Meter, bucket: &Bucket) -> Option<Decimal> {
        match meter {
            Meter::StorageGbDay => {
                let bytes = self.measuring.kept_bytes?;
                Some(Decimal::new(i64::try_from(bytes).unwrap_or(i64::MAX), GB_PLACES).normalize())
            }
            Meter::DevicePeak => {
                // A stretch ended before what was heard after it: nothing of that belongs to it.
                let spoke = self.devices.iter().filter(|device| {
                    device.samples > 0 && bucket.start <= device.heard && device.heard <= bucket.end
                });
                Some(Decimal::from(spoke.count()))
            }
            Meter::UserPeak => Some(Decimal::from(self.measuring.people.len())),
            Meter::TicketCreated
            | Meter::TicketEscalated
            | Meter::ServiceVisit
            | Meter::ApiCall
            | Meter::MessageSent => None,
        }
    }

    fn book_bucket(
        &mut self,
        now: Timestamp,
        meter: Meter,
        bucket: &Bucket,
        effects: &mut Effects,
    ) {
        if meter == Meter::UserPeak {
            self.measuring.people.clear();
        }
        if bucket.most.is_zero() {
            return;
        }
        let measured = guard::Measured {
            meter,
            quantity: bucket.most,
            start: bucket.start,
            gateway: &self.settings.gateway,
            plan: self.guard.plan(),
            rung: self.guard.rung(Spender::default()),
        };
        let row = guard::measured(&mut self.ledger, now, &measured);
        self.book(now, vec![row], effects);
    }

    /// The stretch in which a time lies: a day of the plan's zone for what is kept, else as long as the
    /// plan says.
    fn bucket_of(&self, meter: Meter, at: Timestamp) -> Bucket {
        let most = Decimal::ZERO;
        let plan = self.policy.plan.as_ref().map(|active| active.plan());
        if meter == Meter::StorageGbDay {
            let zone = plan.and_then(|plan| plan.period).map_or(self.settings.zone, |c| c.zone);
            let day = at.to_chrono().with_timezone(&zone).date_naive();
            let next = day.succ_opt().unwrap_or(day);
            return Bucket {
                start: first_instant(zone, day),
                end: first_instant(zone, next),
                most,
            };
        }
        let defined = plan.into_iter().flat_map(|plan| &plan.meters);
        let told = defined.filter(|defined| defined.id == meter.name()).find_map(|d| d.bucket);
        let length = told.filter(|told| told.micros() > 0).unwrap_or(BUCKET).micros();
        let start = Timestamp::from_micros(at.micros() - at.micros().rem_euclid(length));
        Bucket { start, end: start + TimeSpan::from_micros(length), most }
    }
}

#[cfg(test)]
mod tests;
