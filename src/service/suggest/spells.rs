//! Faults that lasted, as the old rules saw them, and whether other rules see them still.

use std::collections::BTreeMap;

use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::service::backtest::AlarmLine;

/// Episodes of one alarm that follow each other closely: one fault, however often it was raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Spell {
    rule: String,
    device: String,
    key: Vec<String>,
    from: Timestamp,
    to: Timestamp,
    /// How many.
    pub episodes: usize,
}

impl Spell {
    /// From the first raise to the last return.
    pub fn length(&self) -> TimeSpan {
        self.to.since(self.from)
    }
}

/// The spells of one rule: episodes less than `apart` from each other are one. What is raised at
/// the end of the recording lasts until `end`.
pub fn spells(alarms: &[AlarmLine], rule: &str, apart: TimeSpan, end: Timestamp) -> Vec<Spell> {
    let mut by_alarm: BTreeMap<(&str, &[String]), Vec<Spell>> = BTreeMap::new();
    for alarm in alarms.iter().filter(|alarm| alarm.rule == rule) {
        let (from, to) = (alarm.raised_at, alarm.returned_at.unwrap_or(end));
        let spells = by_alarm.entry((&alarm.device, &alarm.key)).or_default();
        match spells.last_mut() {
            Some(last) if from.since(last.to) < apart => {
                last.to = to;
                last.episodes += 1;
            }
            Some(_) | None => spells.push(Spell {
                rule: alarm.rule.clone(),
                device: alarm.device.clone(),
                key: alarm.key.clone(),
                from,
                to,
                episodes: 1,
            }),
        }
    }
    by_alarm.into_values().flatten().collect()
}

/// How other rules did with spells that lasted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How much later each one that is still raised was raised; sorted.
    pub later: Vec<TimeSpan>,
    /// How many are not raised at all.
    pub lost: usize,
}

impl Kept {
    /// Looks for each of the spells among the alarms of the other rules.
    pub fn of<'s>(spells: impl IntoIterator<Item = &'s Spell>, alarms: &[AlarmLine]) -> Kept {
        let mut kept = Kept::default();
        for spell in spells {
            let within = |alarm: &&AlarmLine| {
                alarm.rule == spell.rule
                    && alarm.device == spell.device
                    && alarm.key == spell.key
                    && alarm.raised_at <= spell.to
                    && alarm.returned_at.is_none_or(|returned| returned >= spell.from)
            };
            match alarms.iter().find(within) {
                Some(alarm) => {
                    kept.later.push(alarm.raised_at.since(spell.from).max(TimeSpan::ZERO));
                }
                None => kept.lost += 1,
            }
        }
        kept.later.sort_unstable();
        kept
    }

    /// The longest that one is raised later.
    pub fn latest(&self) -> TimeSpan {
        self.later.last().copied().unwrap_or_default()
    }
}
