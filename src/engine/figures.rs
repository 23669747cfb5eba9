//! The figures of ISA-18.2 and EEMUA 191 of what was raised: how many alarms people were shown, and how
//! many of them were worth it. A function of what was kept; what is not known is unknown, never 0.

mod aim;
mod rolling;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::types::alarm::AlarmId;
use super::types::severity::Severity;
use super::types::spell::Spell;
use super::types::ticket::{TicketRecord, TicketStatus};
use super::types::time::{TimeSpan, Timestamp};

pub use aim::Aim;
pub use rolling::{EPISODES_MAX, Rolling};

/// The time in which alarms are counted.
const TEN_MINUTES: TimeSpan = TimeSpan::from_secs(600);
/// A flood begins with more in that time, and ends with fewer than [`FLOOD_ENDS`].
const FLOOD_BEGINS: usize = 10;
const FLOOD_ENDS: usize = 5;
/// So often within [`CHATTER`] is chattering.
const CHATTERS: usize = 3;
const CHATTER: TimeSpan = TimeSpan::from_secs(60);
/// Gone within this time without anybody doing something is fleeting.
const FLEETING: TimeSpan = TimeSpan::from_secs(10);
/// Raised for longer is stale.
const STALE: TimeSpan = TimeSpan::from_secs(86_400);
/// The most frequent alarms.
const TOP: usize = 10;

/// Figures of a stretch of time, of all and by site.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// From when on something is known, within what was asked for.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// All of it; `None` where nothing is known.
    pub all: Option<Figures>,
    /// By site; empty for devices without one.
    pub sites: BTreeMap<String, Figures>,
    /// Tickets that were not worth one, by rule.
    pub invalid: BTreeMap<String, Invalid>,
}

/// Figures of one pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Alarms that people were shown.
    pub raised: usize,
    /// Of them in ten minutes, on average; hundredths are told.
    pub per_10_min: f64,
    /// In the worst ten minutes.
    pub worst_10_min: usize,
    /// Share of the time in flood, percent.
    pub flood_percent: f64,
    /// Alarms that were raised three times within a minute.
    pub chattering: usize,
    /// Episodes that were gone within ten seconds, and nobody did anything.
    pub fleeting: usize,
    /// Episodes that are raised for more than a day.
    pub stale: usize,
    /// Share of the ten most frequent alarms, percent.
    pub top_10_percent: Option<f64>,
    /// These.
    pub top_10: Vec<Frequent>,
    /// How severe they are; `None` where there was none.
    pub priorities: Option<Priorities>,
}

/// An alarm and how often it was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frequent {
    /// The alarm.
    pub alarm: AlarmId,
    /// How often.
    pub raised: usize,
}

/// Shares of the severities, percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Priorities {
    /// Critical.
    pub critical: f64,
    /// Major.
    pub major: f64,
    /// Minor and lower.
    pub minor_and_lower: f64,
}

/// Tickets of a rule that are over, and how many of them nobody needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// Tickets that are over.
    pub over: usize,
    /// Merged into another one.
    pub duplicate: usize,
    /// Resolved with the return of the fault, and nobody had taken it.
    pub recovered_by_itself: usize,
    /// Closed as no fault found: no ticket system that is supported tells it.
    pub no_fault_found: Option<usize>,
}

impl Invalid {
    /// Of a hundred that are over, at least so many were not worth a ticket.
    pub fn percent(&self) -> Option<f64> {
        share(self.duplicate + self.recovered_by_itself, self.over)
    }
}

/// The figures of what was raised from `from` to `to`.
pub fn report(
    spells: &[Spell],
    tickets: &[TicketRecord],
    from: Timestamp,
    to: Timestamp,
) -> Report {
    let first = spells.iter().map(|spell| spell.raised_at).min();
    let report = of_spells(spells.iter(), first, from, to);
    let invalid = invalid(tickets.iter(), report.from, to);
    Report { invalid, ..report }
}

/// The same without tickets, where something is known from `first` on: the episodes of that time may
/// be gone by now.
fn of_spells<'a>(
    spells: impl Iterator<Item = &'a Spell>,
    first: Option<Timestamp>,
    from: Timestamp,
    to: Timestamp,
) -> Report {
    // One that was raised before is known as well: it may be stale.
    let first = first.filter(|first| *first < to);
    let from = first.map_or(to, |first| first.max(from));
    let known = spells.filter(|spell| spell.raised_at < to);
    let shown: Vec<&Spell> = known.filter(|spell| spell.is_shown()).collect();
    let mut by_site: BTreeMap<&str, Vec<&Spell>> = BTreeMap::new();
    for spell in &shown {
        by_site.entry(&spell.site).or_default().push(spell);
    }
    let sites = by_site.into_iter();
    let sites = sites.map(|(site, spells)| (site.to_owned(), figures(&spells, from, to)));
    Report {
        from,
        to,
        all: first.map(|_| figures(&shown, from, to)),
        sites: sites.collect(),
        invalid: BTreeMap::new(),
    }
}

fn figures(shown: &[&Spell], from: Timestamp, to: Timestamp) -> Figures {
    let inside = |spell: &&&Spell| from <= spell.raised_at && spell.raised_at < to;
    let mut raised: Vec<&Spell> = shown.iter().filter(inside).copied().collect();
    raised.sort_by_key(|spell| spell.raised_at);
    let mut by_alarm: BTreeMap<&AlarmId, Vec<Timestamp>> = BTreeMap::new();
    for spell in &raised {
        by_alarm.entry(&spell.alarm).or_default().push(spell.raised_at);
    }
    let chatters = |times: &Vec<Timestamp>| {
        times.windows(CHATTERS).any(|times| match times {
            [first, .., last] => last.since(*first) <= CHATTER,
            _ => false,
        })
    };
    let is_fleeting = |spell: &&&Spell| {
        let gone = spell.returned_at.map(|gone| gone.since(spell.raised_at));
        !spell.is_taken && gone.is_some_and(|lasted| lasted <= FLEETING)
    };
    let is_stale =
        |spell: &&&Spell| spell.returned_at.is_none() && to.since(spell.raised_at) > STALE;
    let (worst_10_min, flooded) = floods(&raised, to);
    let span = to.since(from).micros().max(1);
    let chattering = by_alarm.values().filter(|times| chatters(times)).count();
    let mut top: Vec<Frequent> = by_alarm
        .into_iter()
        .map(|(alarm, times)| Frequent { alarm: alarm.clone(), raised: times.len() })
        .collect();
    top.sort_by(|a, b| b.raised.cmp(&a.raised).then_with(|| a.alarm.cmp(&b.alarm)));
    top.truncate(TOP);
    Figures {
        raised: raised.len(),
        per_10_min: raised.len() as f64 * TEN_MINUTES.micros() as f64 / span as f64,
        worst_10_min,
        flood_percent: flooded.micros() as f64 * 100.0 / span as f64,
        chattering,
        fleeting: raised.iter().filter(is_fleeting).count(),
        stale: shown.iter().filter(is_stale).count(),
        top_10_percent: share(top.iter().map(|one| one.raised).sum(), raised.len()),
        top_10: top,
        priorities: priorities(&raised),
    }
}

/// The most in any ten minutes, and how long there was a flood.
fn floods(raised: &[&Spell], to: Timestamp) -> (usize, TimeSpan) {
    let mut window: VecDeque<Timestamp> = VecDeque::new();
    let (mut worst, mut flooded, mut since) = (0, TimeSpan::ZERO, None);
    let mut leave =
        |window: &mut VecDeque<Timestamp>, now: Timestamp, since: &mut Option<Timestamp>| {
            while let Some(gone) =
                window.front().map(|first| *first + TEN_MINUTES).filter(|at| *at <= now)
            {
                window.pop_front();
                if window.len() < FLOOD_ENDS
                    && let Some(began) = since.take()
                {
                    flooded = flooded + gone.since(began);
                }
            }
        };
    for spell in raised {
        leave(&mut window, spell.raised_at, &mut since);
        window.push_back(spell.raised_at);
        worst = worst.max(window.len());
        if window.len() > FLOOD_BEGINS {
            since.get_or_insert(spell.raised_at);
        }
    }
    leave(&mut window, to, &mut since);
    let rest = since.map_or(TimeSpan::ZERO, |began| to.since(began));
    (worst, flooded + rest)
}

fn priorities(raised: &[&Spell]) -> Option<Priorities> {
    let of = |severities: &[Severity]| {
        let count = raised.iter().filter(|spell| severities.contains(&spell.severity)).count();
        share(count, raised.len())
    };
    Some(Priorities {
        critical: of(&[Severity::Critical])?,
        major: of(&[Severity::Major])?,
        minor_and_lower: of(&[Severity::Minor, Severity::Warning, Severity::Info])?,
    })
}

/// Tickets that were opened in the time and are over, by rule.
pub fn invalid<'a>(
    tickets: impl Iterator<Item = &'a TicketRecord>,
    from: Timestamp,
    to: Timestamp,
) -> BTreeMap<String, Invalid> {
    let mut rules: BTreeMap<String, Invalid> = BTreeMap::new();
    let ended = |ticket: &&TicketRecord| {
        let opened = from <= ticket.opened_at && ticket.opened_at < to;
        opened && ticket.status.is_over()
    };
    for ticket in tickets.filter(ended) {
        let rule = rules.entry(ticket.rule.clone()).or_default();
        rule.over += 1;
        if ticket.status == TicketStatus::Merged {
            rule.duplicate += 1;
        } else if ticket.status == TicketStatus::Resolved && ticket.ack.is_none() {
            rule.recovered_by_itself += 1;
        }
    }
    rules
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests;
