//! What is drawn of a fault when its ticket is opened: the last values of the metric that decided.

use super::Engine;
use super::devices::Device;
use crate::engine::detect::{Outline, Rule};
use crate::engine::ticket;
use crate::engine::types::names::MetricId;
use crate::engine::types::plot::{LEVELS_MAX, Level, POINTS_MAX, Plot, Point};
use crate::engine::types::time::{TimeSpan, Timestamp};

impl Engine {
    /// The plot of a fault; `None` where there are too few numbers for one.
    pub(super) fn plot(&self, device: &Device, rule: &Rule, raised_at: Timestamp) -> Option<Plot> {
        let metric = self.deciding(device, rule)?;
        let name = self.policy.metrics.text(metric);
        let windows = rule.when.windows().iter().filter(|(of, _)| *of == metric);
        let window = windows.map(|(_, window)| *window).max().unwrap_or(TimeSpan::ZERO);
        let points = thinned(&device.memory.shown(metric, window));
        if points.len() < 2 {
            return None;
        }
        let levels = |text: &str| {
            let limits = limits(text, rule).into_iter().filter(|(metric, _)| metric == name);
            limits.filter_map(|(_, level)| Level::of(level)).take(LEVELS_MAX).collect()
        };
        let zone = self.speech().zone;
        let offset = chrono::Offset::fix(raised_at.to_chrono().with_timezone(&zone).offset());
        Some(Plot {
            metric: name.to_owned(),
            points,
            thresholds: levels(&rule.spec.when),
            clear: rule.spec.clear_when.as_deref().map(levels).unwrap_or_default(),
            raised_at,
            utc_offset: offset.local_minus_utc(),
        })
    }

    /// The last values of the deciding metric in a text.
    pub(super) fn sparkline(&self, device: &Device, rule: &Rule) -> String {
        let Some(metric) = self.deciding(device, rule) else { return String::new() };
        let recent = device.memory.recent(metric);
        let values: Vec<f64> = recent.into_iter().map(|(_, value)| value.into()).collect();
        ticket::sparkline(&values)
    }

    /// The metric that is shown: the first that is compared with a constant and has values, else
    /// the first that has some.
    fn deciding(&self, device: &Device, rule: &Rule) -> Option<MetricId> {
        let limits = limits(&rule.spec.when, rule);
        let compared = limits.iter().filter_map(|(metric, _)| self.policy.metrics.find(metric));
        let mut all = compared.chain(rule.when.metrics().iter().copied());
        all.find(|metric| device.memory.recent(*metric).len() > 1)
    }
}

/// What a condition of a rule compares with which constants. It is read again for each ticket: there
/// are more rules and devices than tickets.
fn limits(text: &str, rule: &Rule) -> Vec<(String, f64)> {
    let outline = Outline::of(text);
    let limits = outline.map(|outline| outline.limits(&rule.spec.params)).unwrap_or_default();
    limits.into_iter().map(|limit| (limit.metric, limit.level)).collect()
}

/// At most [`POINTS_MAX`] of the samples: of each of as many parts the least and the greatest, so
/// that no peak is lost, and the newest.
fn thinned(samples: &[(Timestamp, f64)]) -> Vec<Point> {
    let point = |(at, value): &(Timestamp, f64)| Some(Point(at.micros(), Level::of(*value)?));
    let points: Vec<Point> = samples.iter().filter_map(point).collect();
    let Some((newest, before)) = points.split_last().filter(|_| points.len() > POINTS_MAX) else {
        return points;
    };
    let parts = (POINTS_MAX - 1) / 2;
    let mut thinned = Vec::with_capacity(POINTS_MAX);
    for part in before.chunks(before.len().div_ceil(parts)) {
        let numbers =
            || part.iter().enumerate().map(|(place, Point(_, level))| (level.get(), place));
        let least = numbers().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place);
        let greatest = numbers().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place);
        let mut both = [least, greatest];
        both.sort_unstable();
        let second = both[1].filter(|second| both[0] != Some(*second));
        thinned.extend([both[0], second].into_iter().flatten().filter_map(|place| part.get(place)));
    }
    thinned.push(*newest);
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_window_keeps_its_peaks_and_its_newest_value() {
        let samples: Vec<(Timestamp, f64)> = (0..4_000)
            .map(|n| (Timestamp::from_millis(n), if n == 1_777 { 99.0 } else { (n % 7) as f64 }))
            .collect();
        let points = thinned(&samples);
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&points.len()), "{}", points.len());
        assert!(points.is_sorted_by_key(|Point(at, _)| *at));
        assert!(points.contains(&Point(1_777_000, Level::of(99.0).expect("a level"))));
        assert_eq!(points.last().map(|Point(at, _)| *at), Some(3_999_000));
        let few = [(Timestamp::EPOCH, 1.0), (Timestamp::EPOCH, f64::NAN)];
        assert_eq!(thinned(&few).len(), 1);
    }
}
