//! One way for a condition to hold: what it demands of each value, and whether that can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::linear::Params;
use crate::engine::types::glob;
use crate::engine::types::time::TimeSpan;

/// Alternatives that are followed at most; a condition with more is not looked into.
pub(super) const ALTERNATIVES_MAX: usize = 64;

/// What is known of a condition besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The rule's constants.
    pub params: &'a Params,
    /// The devices that the rule is about: attribute and glob.
    pub selector: &'a [(String, String)],
    /// Rules that are off: none of their alarms is ever raised.
    pub off: &'a BTreeSet<String>,
    /// When a metric is stale; zero for never.
    pub stale_after: TimeSpan,
    /// How long the condition must hold.
    pub delay: TimeSpan,
}

/// The values from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) low_open: bool,
    pub(super) high_open: bool,
    /// Its ends are written as whole numbers.
    pub(super) whole: bool,
}

impl Range {
    pub(super) const ALL: Range = Range {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
        low_open: true,
        high_open: true,
        whole: true,
    };

    /// What is counted or measured from 0 on.
    const COUNTED: Range = Range { low: 0.0, low_open: false, ..Range::ALL };

    pub(super) fn and(self, other: Range) -> Range {
        let low =
            if (self.low, self.low_open) > (other.low, other.low_open) { self } else { other };
        let (a, b) = ((self.high, !self.high_open), (other.high, !other.high_open));
        let high = if a < b { self } else { other };
        Range {
            low: low.low,
            low_open: low.low_open,
            high: high.high,
            high_open: high.high_open,
            whole: self.whole && other.whole,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.low > self.high || self.low == self.high && (self.low_open || self.high_open)
    }

    /// More than a point, and more than the gap between two whole numbers.
    pub(super) fn is_wide(self) -> bool {
        let gap = self.low_open && self.high_open && self.high - self.low <= 1.0;
        self.low < self.high && !(self.whole && gap)
    }
}

/// In words: `above 80`, `between 10 and 80`.
impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => write!(out, "between {} and {}", self.low, self.high),
            (true, false) => write!(out, "above {}", self.low),
            (false, true) => write!(out, "below {}", self.high),
            (false, false) => out.write_str("anything"),
        }
    }
}

/// One way for a condition to hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// What numbers must be.
    pub ranges: BTreeMap<String, Range>,
    /// What texts must be.
    pub texts: BTreeMap<String, String>,
    /// What texts must not be.
    pub other_than: BTreeMap<String, BTreeSet<String>>,
    /// What is a number and never below 0.
    pub counted: BTreeSet<String>,
    /// Metrics that must be known: seen, good, and not stale.
    pub known: BTreeSet<String>,
    /// The device must have been silent for so long.
    pub silent: TimeSpan,
    /// There is more to it.
    pub opaque: bool,
}

/// All ways for a condition to hold, and why the others cannot.
#[derive(Debug)]
pub(super) struct Ways {
    pub open: Vec<Way>,
    pub conflict: Option<String>,
}

impl Ways {
    pub fn of(way: Way) -> Ways {
        Ways { open: vec![way], conflict: None }
    }

    pub fn opaque() -> Ways {
        Ways::of(Way { opaque: true, ..Way::default() })
    }

    pub fn constant(holds: bool) -> Ways {
        Ways { open: if holds { vec![Way::default()] } else { Vec::new() }, conflict: None }
    }

    pub fn or(mut self, other: Ways) -> Option<Ways> {
        self.open.extend(other.open);
        self.conflict = self.conflict.or(other.conflict);
        (self.open.len() <= ALTERNATIVES_MAX).then_some(self)
    }

    pub fn and(self, other: &Ways) -> Option<Ways> {
        let mut both = Ways { open: Vec::new(), conflict: self.conflict };
        both.conflict = both.conflict.or_else(|| other.conflict.clone());
        for a in &self.open {
            for b in &other.open {
                match a.and(b) {
                    Ok(way) => both.open.push(way),
                    Err(conflict) => both.conflict = Some(conflict),
                }
            }
        }
        (both.open.len() <= ALTERNATIVES_MAX).then_some(both)
    }
}

impl Way {
    pub fn and(&self, other: &Way) -> Result<Way, String> {
        let mut both = self.clone();
        both.opaque |= other.opaque;
        for (name, range) in &other.ranges {
            let known = both.ranges.get(name).copied().unwrap_or(Range::ALL);
            let joined = known.and(*range);
            if joined.is_empty() {
                return Err(format!("`{name}` cannot be {known} and {range} at once"));
            }
            both.ranges.insert(name.clone(), joined);
        }
        for (name, text) in &other.texts {
            let known = both.texts.insert(name.clone(), text.clone());
            if let Some(known) = known.filter(|known| known != text) {
                return Err(format!("`{name}` cannot be \"{known}\" and \"{text}\" at once"));
            }
        }
        for (name, others) in &other.other_than {
            both.other_than.entry(name.clone()).or_default().extend(others.iter().cloned());
        }
        for (name, text) in &both.texts {
            if both.other_than.get(name).is_some_and(|others| others.contains(text)) {
                return Err(format!("`{name}` cannot be \"{text}\" and another text at once"));
            }
        }
        both.counted.extend(other.counted.iter().cloned());
        both.known.extend(other.known.iter().cloned());
        both.silent = both.silent.max(other.silent);
        Ok(both)
    }

    /// Nothing that varies has a part in it.
    pub fn is_free(&self) -> bool {
        self.ranges.is_empty()
            && self.texts.is_empty()
            && self.other_than.is_empty()
            && self.silent == TimeSpan::ZERO
            && !self.opaque
    }

    /// The one range that it is, where it is nothing else.
    pub fn only_range(&self) -> Option<(&String, Range)> {
        let rest = Way { ranges: BTreeMap::new(), ..self.clone() };
        let (name, range) = self.ranges.first_key_value()?;
        (self.ranges.len() == 1 && rest.is_free()).then_some((name, *range))
    }

    /// Why no device gets there whatever it says; `None` where one may.
    pub fn is_barred(&self, setting: &Setting<'_>) -> Option<String> {
        self.is_below_zero()
            .or_else(|| self.is_stale(setting))
            .or_else(|| self.is_unmatched(setting))
    }

    fn is_below_zero(&self) -> Option<String> {
        let mut counted = self.ranges.iter().filter(|(name, _)| self.counted.contains(*name));
        let (name, _) = counted.find(|(_, range)| range.and(Range::COUNTED).is_empty())?;
        Some(format!("`{name}` is never below 0"))
    }

    /// By the time that it asks for, something else in it is unknown.
    fn is_stale(&self, setting: &Setting<'_>) -> Option<String> {
        let stale_after = setting.stale_after;
        if stale_after == TimeSpan::ZERO {
            return None;
        }
        let is_old = |metric: &&String| {
            let age = self.ranges.get(&format!("{metric}.age()"));
            let (limit, silent) = (stale_after.as_secs_f64(), self.silent + setting.delay);
            self.silent > TimeSpan::ZERO && silent > stale_after
                || age.is_some_and(|age| age.low > limit || age.low == limit && age.low_open)
        };
        let metric = self.known.iter().find(is_old)?;
        Some(format!("`{metric}` is stale by then, and unknown: `stale_after` is {stale_after}"))
    }

    /// `match` takes other devices only.
    fn is_unmatched(&self, setting: &Setting<'_>) -> Option<String> {
        for (attribute, pattern) in setting.selector {
            let name = match attribute.as_str() {
                "device" => "device.id".to_owned(),
                other => format!("device.{other}"),
            };
            let text = self.texts.get(&name).filter(|text| !glob::matches(pattern, text));
            if let Some(text) = text {
                return Some(format!(
                    "`match` takes devices with {attribute} \"{pattern}\", and `{name}` must be \"{text}\""
                ));
            }
            let is_exact = !pattern.contains(['*', '?']);
            let others = self.other_than.get(&name).filter(|_| is_exact);
            if others.is_some_and(|others| others.contains(pattern)) {
                return Some(format!(
                    "`match` takes devices with {attribute} \"{pattern}\", and `{name}` must be another"
                ));
            }
        }
        None
    }
}
