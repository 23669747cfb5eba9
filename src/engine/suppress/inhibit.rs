//! `[[inhibit]]`: while a source alarm is raised, its targets are suppressed.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::types::alarm::AlarmId;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::glob;
use crate::engine::types::selector::{Selector, is_attribute};
use crate::engine::types::severity::Severity;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// How long targets stay suppressed after the source has returned: machines come back one after
/// the other when the power does.
const SETTLE_DEFAULT: TimeSpan = TimeSpan::from_secs(15);

/// One `[[inhibit]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Inhibit {
    source: Pattern,
    target: Pattern,
    /// Attributes that must be there, and the same, on both sides.
    equal: Vec<String>,
    settle: TimeSpan,
}

/// Which alarms are meant: everything that is named must fit.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pattern {
    rule: Option<String>,
    severity: Vec<Severity>,
    selector: Selector,
}

/// What is known of a raised alarm.
#[derive(Clone, Copy, Debug)]
pub struct AlarmFacts<'a> {
    /// Its rule.
    pub rule: &'a str,
    /// Its severity.
    pub severity: Severity,
    /// Its device.
    pub device: &'a DeviceFacts,
}

impl Pattern {
    fn fits(&self, alarm: AlarmFacts<'_>) -> bool {
        self.rule.as_ref().is_none_or(|rule| glob::matches(rule, alarm.rule))
            && (self.severity.is_empty() || self.severity.contains(&alarm.severity))
            && self.selector.selects(alarm.device)
    }
}

impl Inhibit {
    /// The values that must be equal; `None` where one is missing.
    fn values(&self, device: &DeviceFacts) -> Option<Vec<String>> {
        let value = |name: &String| {
            device.attribute(name).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        self.equal.iter().map(value).collect()
    }
}

/// Reads every `[[inhibit]]` of one file. The rules that they name come with their place.
pub fn read_inhibits(table: &Table<'_>) -> Vec<(Inhibit, Vec<Located<String>>)> {
    table.tables("inhibit", |entry| {
        let mut rules = Vec::new();
        for side in ["source", "target"] {
            if !entry.has(side) {
                let message = format!("`{side}` is missing");
                let hint = "`source` says which alarms suppress, `target` which are suppressed";
                entry.place().error(entry.span(), "missing-key", message, hint);
            }
        }
        let source = entry.table("source", |side| Some(read_pattern(side, &mut rules)));
        let target = entry.table("target", |side| Some(read_pattern(side, &mut rules)));
        let equal = entry.or::<Vec<Located<String>>>("equal", Vec::new());
        let settle = entry.or("settle", SETTLE_DEFAULT);
        let equal = equal.into_iter().filter_map(|name| {
            let known = is_attribute(&name.value);
            if !known {
                let message = format!("`equal`: devices have no `{}`", name.value);
                let hint = match did_you_mean(&name.value, &["site", "class", "region", "customer"])
                {
                    guess if guess.is_empty() => format!("labels are `labels.{}`", name.value),
                    guess => guess,
                };
                entry.place().error(name.span, "unknown-attribute", message, hint);
            }
            known.then_some(name.value)
        });
        let equal = equal.collect();
        Some((Inhibit { source: source?, target: target?, equal, settle }, rules))
    })
}

fn read_pattern(table: &Table<'_>, rules: &mut Vec<Located<String>>) -> Pattern {
    let rule = table.optional::<Located<String>>("rule");
    let severity = match table.is_text("severity") {
        true => table.optional("severity").map(|OneOf(one)| vec![one]).unwrap_or_default(),
        false => table
            .or::<Vec<OneOf<Severity>>>("severity", Vec::new())
            .into_iter()
            .map(|OneOf(one)| one)
            .collect(),
    };
    rules.extend(rule.clone());
    Pattern {
        rule: rule.map(|rule| rule.value),
        severity,
        selector: Selector::read(table, &["rule", "severity"]),
    }
}

/// The source alarms that suppress others now.
#[derive(Debug, Default)]
pub struct Inhibitors {
    /// By inhibition and the values that must be equal.
    active: BTreeMap<(usize, Vec<String>), BTreeMap<AlarmId, Held>>,
    places: BTreeMap<AlarmId, BTreeSet<(usize, Vec<String>)>>,
}

/// How long a source suppresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    WhileRaised,
    Until(Timestamp),
}

impl Inhibitors {
    /// An alarm was raised: it may suppress others from now on.
    pub fn raised(&mut self, inhibits: &[Inhibit], id: &AlarmId, alarm: AlarmFacts<'_>) {
        let sources = inhibits.iter().enumerate().filter(|(_, one)| one.source.fits(alarm));
        for (index, inhibit) in sources {
            let Some(values) = inhibit.values(alarm.device) else {
                continue;
            };
            let place = (index, values);
            self.active.entry(place.clone()).or_default().insert(id.clone(), Held::WhileRaised);
            self.places.entry(id.clone()).or_default().insert(place);
        }
    }

    /// An alarm has returned. The times at which what it suppressed is free, if it did.
    pub fn returned(
        &mut self,
        inhibits: &[Inhibit],
        id: &AlarmId,
        now: Timestamp,
    ) -> Vec<Timestamp> {
        let mut free_at = Vec::new();
        for place in self.places.get(id).into_iter().flatten() {
            let settle = inhibits.get(place.0).map_or(TimeSpan::ZERO, |inhibit| inhibit.settle);
            let until = now + settle;
            if let Some(held) = self.active.get_mut(place).and_then(|held| held.get_mut(id)) {
                *held = Held::Until(until);
                free_at.push(until);
            }
        }
        free_at
    }

    /// Forgets the sources that suppress nothing any more.
    pub fn expire(&mut self, now: Timestamp) {
        let places = &mut self.places;
        self.active.retain(|place, held| {
            held.retain(|id, held| {
                let stays = is_active(*held, now);
                if !stays && let Some(known) = places.get_mut(id) {
                    known.remove(place);
                }
                stays
            });
            !held.is_empty()
        });
        self.places.retain(|_, places| !places.is_empty());
    }

    /// The source that suppresses an alarm. An alarm that may be a source of the same inhibition
    /// is not suppressed by it: two of them would silence each other.
    pub fn holds(
        &self,
        inhibits: &[Inhibit],
        alarm: AlarmFacts<'_>,
        now: Timestamp,
    ) -> Option<&AlarmId> {
        let targets = inhibits.iter().enumerate();
        let targets = targets.filter(|(_, one)| one.target.fits(alarm) && !one.source.fits(alarm));
        targets
            .filter_map(|(index, inhibit)| self.active.get(&(index, inhibit.values(alarm.device)?)))
            .flatten()
            .find(|(_, held)| is_active(**held, now))
            .map(|(id, _)| id)
    }
}

fn is_active(held: Held, now: Timestamp) -> bool {
    match held {
        Held::WhileRaised => true,
        Held::Until(until) => now < until,
    }
}
