//! What a device said, as far as some rule reads it.

use std::sync::Arc;

use super::cel::Condition;
use super::past::{Past, Step};
use super::recent::Recent;
use super::series::Series;
use crate::engine::types::message::Reading;
use crate::engine::types::names::MetricId;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// When a sample was measured, and how it stands to what was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Event time.
    pub event: Timestamp,
    /// The device's time once it is in.
    pub reached: Timestamp,
    /// Its device says when it measures, so that later samples may be older: by no more than this,
    /// if they are to be placed by their time.
    pub lateness: Option<TimeSpan>,
    /// It may have been taken in before: what is there already is not counted a second time.
    pub maybe_again: bool,
}

#[cfg(test)]
impl When {
    /// Of a device whose samples are placed by their time if they are late by ten seconds at most.
    pub(super) fn only(event: Timestamp) -> When {
        let lateness = Some(TimeSpan::from_secs(10));
        When { event, reached: event, lateness, maybe_again: false }
    }
}

/// The metrics of one device that some rule reads, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct DeviceMemory {
    slots: Vec<Slot>,
    /// Where the slot of a metric is, by the number of its id: one for all devices that the same
    /// rules look at. Empty where it was not made out.
    places: Arc<[u32]>,
    /// What was said in the last moments.
    past: Past,
}

/// The place of a metric that has no slot.
const NO_SLOT: u32 = u32::MAX;

/// Small, since there is one for each metric of each device.
#[derive(Clone, Debug)]
struct Slot {
    metric: MetricId,
    latest: Option<(Timestamp, Reading)>,
    /// For the sketch and the plot in the ticket; made with the first value.
    recent: Option<Box<Recent>>,
    /// Only where a condition looks back.
    history: Option<Box<History>>,
}

/// What was before the newest reading.
#[derive(Clone, Debug, Default)]
struct History {
    previous: Option<(Timestamp, Reading)>,
    /// Only where a window reads it.
    series: Option<Series>,
}

/// Most bytes that a metric takes on a device, its windows excepted.
pub(super) const METRIC_BYTES_MAX: usize =
    size_of::<Slot>() + size_of::<Recent>() + size_of::<History>();

impl Slot {
    fn new(metric: MetricId) -> Slot {
        Slot { metric, latest: None, recent: None, history: None }
    }

    fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    /// The newest reading, and the one before it, stay the newest two by event time.
    fn place(&mut self, at: Timestamp, reading: &Reading) {
        let is_newer = |known: &Option<(Timestamp, Reading)>| {
            known.as_ref().is_none_or(|(newest, _)| at >= *newest)
        };
        if is_newer(&self.latest) {
            let previous = self.latest.replace((at, reading.clone()));
            if let Some(history) = &mut self.history {
                history.previous = previous;
            }
        } else if let Some(history) = &mut self.history
            && is_newer(&history.previous)
        {
            history.previous = Some((at, reading.clone()));
        }
    }

    /// The newest reading is another now; what was before it.
    fn replace(&mut self, newest: (Timestamp, Reading)) -> Option<(Timestamp, Reading)> {
        let before = self.latest.replace(newest);
        if let Some(history) = &mut self.history {
            history.previous.clone_from(&before);
        }
        before
    }

    fn series_mut(&mut self) -> Option<&mut Series> {
        self.history.as_mut()?.series.as_mut()
    }

    /// Keeps a value for windows, at its place by time.
    fn push(&mut self, when: When, number: f64) {
        if let Some(series) = self.series_mut() {
            match when.maybe_again {
                true => series.push_once(when.event, number),
                false => series.push(when.event, number),
            }
        }
    }

    /// Keeps a reading for windows and for the sketch.
    fn keep(&mut self, when: When, reading: &Reading) {
        if let Some(number) = reading.as_number() {
            self.recent.get_or_insert_default().push(when.event, number, when.maybe_again);
            self.push(when, number);
        }
    }
}

impl DeviceMemory {
    /// Room for everything that these conditions read; nothing is known yet.
    pub fn new(conditions: &[&Condition]) -> DeviceMemory {
        let mut memory = DeviceMemory::default();
        for condition in conditions {
            for metric in condition.metrics() {
                memory.slot_for(*metric);
            }
            for metric in condition.looked_back() {
                memory.slot_for(*metric).history();
            }
            for (metric, window) in condition.windows() {
                let history = memory.slot_for(*metric).history();
                if history.series.as_ref().is_none_or(|series| series.kept() < *window) {
                    history.series = Some(Series::new(*window));
                }
            }
        }
        memory.find_places();
        memory
    }

    /// Makes room for a metric that no condition reads.
    pub fn keep(&mut self, metric: MetricId) {
        self.slot_for(metric);
        self.find_places();
    }

    fn slot_for(&mut self, metric: MetricId) -> &mut Slot {
        let at = match self.slots.binary_search_by_key(&metric, |slot| slot.metric) {
            Ok(at) => at,
            Err(at) => {
                self.slots.insert(at, Slot::new(metric));
                at
            }
        };
        &mut self.slots[at]
    }

    fn find_places(&mut self) {
        let count = self.slots.last().map_or(0, |last| last.metric.index() + 1);
        let mut places = vec![NO_SLOT; count];
        for (place, slot) in (0..).zip(&self.slots) {
            if let Some(known) = places.get_mut(slot.metric.index()) {
                *known = place;
            }
        }
        self.places = places.into();
    }

    /// Gives the metrics other ids; those without one are forgotten.
    pub fn rename(&mut self, to: impl Fn(MetricId) -> Option<MetricId>) {
        self.slots.retain_mut(|slot| match to(slot.metric) {
            Some(metric) => {
                slot.metric = metric;
                true
            }
            None => false,
        });
        self.slots.sort_by_key(|slot| slot.metric);
        self.places = Arc::default();
        self.past.rename(to);
    }

    /// Takes in what `before` knew of the metrics that are read here too.
    pub fn inherit(&mut self, before: DeviceMemory) {
        self.past = before.past;
        for known in before.slots {
            if let Some(slot) = self.slot_mut(known.metric) {
                if let (Some(wanted), Some(history)) = (&mut slot.history, known.history) {
                    wanted.previous = history.previous;
                    if let (Some(wanted), Some(mut series)) = (&mut wanted.series, history.series) {
                        series.keep(wanted.kept());
                        *wanted = series;
                    }
                }
                slot.recent = known.recent;
                slot.latest = known.latest;
            }
        }
    }

    /// Takes a reading in that was known before.
    pub fn absorb(&mut self, at: Timestamp, metric: MetricId, reading: &Reading) {
        if let Some(slot) = self.slot_mut(metric) {
            let when = When { event: at, reached: at, lateness: None, maybe_again: false };
            slot.place(at, reading);
            slot.keep(when, reading);
        }
    }

    /// Takes a sample in. A reading that is older than the newest of its metric does not become the
    /// newest. Of the `recalled` metrics it is not known what was said last.
    pub fn take(&mut self, when: When, readings: &[(MetricId, Reading)], recalled: &[MetricId]) {
        match when.lateness {
            Some(lateness) => self.past.forget(when.reached, lateness, readings.len()),
            None => self.past.clear(when.reached),
        }
        for (metric, reading) in readings {
            let Some(place) = self.place(*metric) else { continue };
            let Some(slot) = self.slots.get_mut(place) else { continue };
            if when.lateness.is_some() {
                let other = slot.latest.clone().filter(|_| !recalled.contains(metric));
                self.past.keep(Step::new(when.reached, *metric, other));
            }
            slot.place(when.event, reading);
            slot.keep(when, reading);
        }
    }

    /// True when everything that was said since `at` is kept, so that it can be put back.
    pub fn reaches(&self, at: Timestamp) -> bool {
        self.past.reaches(at)
    }

    /// Puts the readings back to what they were at `at`. They are to be taken again from the step
    /// whose number is returned, to the last.
    pub fn put_back(&mut self, at: Timestamp) -> usize {
        let first = self.past.first_after(at);
        for number in (first..self.past.len()).rev() {
            let Some(metric) = self.past.step(number).map(Step::metric) else { continue };
            let previous = self.past.before(number, metric);
            let Some(place) = self.place(metric) else { continue };
            if let (Some(slot), Some(step)) =
                (self.slots.get_mut(place), self.past.step_mut(number))
            {
                let latest = std::mem::replace(&mut slot.latest, step.other());
                step.set_other(latest);
                if let Some(history) = &mut slot.history {
                    history.previous = previous;
                }
            }
        }
        first
    }

    /// Takes a late sample in, the memory being put back to its time. The number of the step after
    /// it.
    pub fn take_late(&mut self, when: When, readings: &[(MetricId, Reading)]) -> usize {
        for (metric, reading) in readings {
            let Some(place) = self.place(*metric) else { continue };
            let Some(slot) = self.slots.get_mut(place) else { continue };
            slot.keep(when, reading);
            let heard = (when.event, reading.clone());
            let is_newer = |(at, known): &(Timestamp, Reading)| {
                *at < when.event || *at == when.event && known != reading
            };
            if slot.latest.as_ref().is_none_or(is_newer) {
                let other = slot.replace(heard);
                self.past.keep(Step::new(when.event, *metric, other));
            }
        }
        self.past.first_after(when.event)
    }

    /// When the sample was measured that begins with the step of this number.
    pub fn time_of_step(&self, number: usize) -> Option<Timestamp> {
        self.past.step(number).map(|step| step.at)
    }

    /// Takes the sample again that begins with the step of this number, and tells what it said. The
    /// number of the step after it.
    pub fn take_again(&mut self, number: usize, readings: &mut Vec<(MetricId, Reading)>) -> usize {
        let mut next = number;
        let Some(at) = self.time_of_step(number) else { return self.past.len() };
        while let Some(metric) = self.past.step(next).filter(|step| step.at == at).map(Step::metric)
        {
            let brought = self.past.step(next).and_then(Step::other);
            next += 1;
            let place = self.place(metric);
            let slot = place.and_then(|place| self.slots.get_mut(place));
            let (Some(slot), Some(brought)) = (slot, brought) else { continue };
            readings.push((metric, brought.1.clone()));
            let other = slot.replace(brought);
            if let Some(step) = self.past.step_mut(next - 1) {
                step.set_other(other);
            }
        }
        next
    }

    /// Keeps a sample for windows alone: it never becomes the newest.
    pub fn fill(&mut self, when: When, readings: &[(MetricId, Reading)]) {
        for (metric, reading) in readings {
            if let (Some(slot), Some(number)) = (self.slot_mut(*metric), reading.as_number()) {
                slot.push(when, number);
            }
        }
    }

    /// Nothing that is known is to be trusted from `at` on.
    pub fn spoil(&mut self, at: Timestamp) {
        self.past.clear(at);
        for slot in &mut self.slots {
            if let Some((newest, reading)) = slot.latest.take() {
                slot.latest = Some((newest.max(at), Reading::Bad));
                if let Some(history) = &mut slot.history {
                    history.previous = Some((newest, reading));
                }
            }
        }
    }

    /// The newest reading of a metric and its event time.
    pub fn latest(&self, metric: MetricId) -> Option<(Timestamp, &Reading)> {
        let (at, reading) = self.slot(metric)?.latest.as_ref()?;
        Some((*at, reading))
    }

    /// The reading before the newest, of a metric that some condition looks back on.
    pub fn previous(&self, metric: MetricId) -> Option<&Reading> {
        self.history(metric)?.previous.as_ref().map(|(_, reading)| reading)
    }

    /// The last samples of a metric that some window reads.
    pub fn series(&self, metric: MetricId) -> Option<&Series> {
        self.history(metric)?.series.as_ref()
    }

    fn history(&self, metric: MetricId) -> Option<&History> {
        self.slot(metric)?.history.as_deref()
    }

    /// The last values of a metric with their times, oldest first.
    pub fn recent(&self, metric: MetricId) -> Vec<(Timestamp, f32)> {
        let recent = self.slot(metric).and_then(|slot| slot.recent.as_ref());
        recent.map(|recent| recent.points()).unwrap_or_default()
    }

    /// What a plot shows of a metric, oldest first: its last values, or the last `window` of the
    /// samples that some window reads, where these are more.
    pub fn shown(&self, metric: MetricId, window: TimeSpan) -> Vec<(Timestamp, f64)> {
        let recent = self.recent(metric);
        let series = self.series(metric).and_then(|series| Some((series, series.newest()?)));
        let samples = series.map(|(series, newest)| series.since(newest - window));
        match samples {
            Some(samples) if samples.len() > recent.len() => samples,
            Some(_) | None => recent.into_iter().map(|(at, value)| (at, value.into())).collect(),
        }
    }

    fn slot(&self, metric: MetricId) -> Option<&Slot> {
        self.slots.get(self.place(metric)?)
    }

    fn slot_mut(&mut self, metric: MetricId) -> Option<&mut Slot> {
        let place = self.place(metric)?;
        self.slots.get_mut(place)
    }

    fn place(&self, metric: MetricId) -> Option<usize> {
        if self.places.is_empty() {
            return self.slots.binary_search_by_key(&metric, |slot| slot.metric).ok();
        }
        let place = *self.places.get(metric.index())?;
        (place != NO_SLOT).then_some(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::cel::CompileScope;
    use super::super::recent::RECENT;
    use super::*;
    use crate::engine::types::message::Value;
    use crate::engine::types::names::Names;

    #[test]
    fn the_sketch_has_the_last_values_oldest_first() {
        let metric = Names::default().intern("x");
        let mut memory = DeviceMemory::default();
        memory.keep(metric);
        assert!(memory.recent(metric).is_empty());
        for value in 0..(RECENT as i64 + 3) {
            let reading = Reading::Good(Value::Int(value));
            memory.absorb(Timestamp::from_millis(value), metric, &reading);
            let first = (value + 1 - RECENT as i64).max(0);
            let wanted: Vec<f32> = (first..=value).map(|number| number as f32).collect();
            let found = memory.recent(metric);
            assert_eq!(found.iter().map(|(_, value)| *value).collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn a_plot_shows_the_last_window_where_there_is_more_of_it() {
        let mut metrics = Names::default();
        let metric = metrics.intern("x");
        let (rules, params) = (Names::default(), BTreeMap::new());
        let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
        let window = Condition::compile("x.avg(10m) > 5", &mut scope).expect("a condition");
        let mut memory = DeviceMemory::new(&[&window]);
        for second in 0..200_i64 {
            let reading = Reading::Good(Value::Int(second));
            memory.absorb(Timestamp::from_millis(second * 1_000), metric, &reading);
        }
        let shown = |seconds| memory.shown(metric, TimeSpan::from_secs(seconds));
        assert_eq!(shown(50).len(), 51);
        assert_eq!(shown(50).first(), Some(&(Timestamp::from_millis(149_000), 149.0)));
        assert_eq!(shown(5).len(), RECENT, "a short window is not all that is known");
        assert_eq!(shown(600).len(), 200);
    }

    #[test]
    fn the_newest_reading_and_the_one_before_it_are_so_by_event_time() {
        let mut metrics = Names::default();
        let metric = metrics.intern("x");
        let (rules, params) = (Names::default(), BTreeMap::new());
        let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
        let looks_back = Condition::compile("x.changed()", &mut scope).expect("a condition");
        let mut memory = DeviceMemory::new(&[&looks_back]);
        let previous = |memory: &DeviceMemory| memory.previous(metric).cloned();
        for (second, value) in [(10, 1), (30, 3), (20, 2), (5, 0)] {
            let reading = Reading::Good(Value::Int(value));
            memory.absorb(Timestamp::from_millis(second * 1_000), metric, &reading);
        }
        let (at, newest) = memory.latest(metric).expect("a reading");
        assert_eq!((at.micros(), newest), (30_000_000, &Reading::Good(Value::Int(3))));
        assert_eq!(previous(&memory), Some(Reading::Good(Value::Int(2))));
        memory.absorb(Timestamp::from_millis(25_000), metric, &Reading::Bad);
        assert_eq!(previous(&memory), Some(Reading::Bad));
    }

    #[test]
    fn readings_stay_with_their_metrics_when_ids_change() {
        let (mut before, mut after) = (Names::default(), Names::default());
        let (x, y) = (before.intern("x"), before.intern("y"));
        let (new_y, new_x) = (after.intern("y"), after.intern("x"));
        let mut memory = DeviceMemory::default();
        memory.keep(x);
        memory.keep(y);
        memory.absorb(Timestamp::EPOCH, x, &Reading::Good(Value::Int(1)));
        memory.rename(|metric| after.find(before.text(metric)));
        assert_eq!(memory.latest(new_x).map(|(_, r)| r), Some(&Reading::Good(Value::Int(1))));
        assert!(memory.latest(new_y).is_none());
    }
}
