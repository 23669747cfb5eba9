//! The figures of alarms of the last day as metrics. What a scrape reads is made every ten seconds of
//! what the loop has told: the store is read at the start, and after more episodes than can wait.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::sync::{broadcast, watch};

use crate::engine::figures::{Figures, Invalid, Report, Rolling};
use crate::engine::types::question::Question;
use crate::engine::types::spell::Spell;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::journal::Journal;
use crate::io::store::StoreError;
use crate::io::web::Asker;

/// The figures are those of this time, up to now.
const SPAN: TimeSpan = TimeSpan::from_secs(86_400);
/// How often they are made.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Most sites, and most rules, that have gauges of their own.
const TOLD_MAX: usize = 50;

/// Tells until `stop` says so.
pub async fn run(
    journal: Arc<Journal>,
    asker: Asker,
    mut spells: broadcast::Receiver<Arc<Spell>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = Told::default();
    let mut rolling = read(&journal).await;
    let mut beat = tokio::time::interval(TELL_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            heard = spells.recv() => match heard {
                Ok(spell) => rolling.take(spell),
                Err(broadcast::error::RecvError::Lagged(_)) => rolling = read(&journal).await,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = beat.tick() => {
                let asked = asker.ask(Question::Invalid { span: SPAN });
                let answer = tokio::select! {
                    _ = stop.changed() => return,
                    answer = asked => answer,
                };
                // A loop that stands still is told of by other gauges; these stay as they are.
                let Ok(mut answer) = answer else { continue };
                let now = serde_json::from_value::<Timestamp>(answer["now"].take());
                let invalid = serde_json::from_value(answer["invalid"].take());
                if let (Ok(now), Ok(invalid)) = (now, invalid) {
                    // Tens of milliseconds where there are as many episodes as can be.
                    let report = tokio::task::block_in_place(|| rolling.report(now));
                    told.tell(&report, &invalid);
                }
            }
        }
    }
}

/// What is in the store. While it cannot be read, figures are those of what comes.
async fn read(journal: &Arc<Journal>) -> Rolling {
    let journal = Arc::clone(journal);
    let look = move || -> Result<Rolling, StoreError> {
        let mut rolling = Rolling::new(SPAN);
        journal.each_spell(|spell| rolling.take(Arc::new(spell)))?;
        Ok(rolling)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let why = match looked {
        Ok(Ok(rolling)) => return rolling,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(why, "The episodes of alarms cannot be read: figures begin anew.");
    Rolling::new(SPAN)
}

/// The names that have gauges.
#[derive(Debug, Default)]
struct Told {
    sites: BTreeSet<String>,
    rules: BTreeSet<String>,
}

impl Told {
    /// Sets every gauge. Nothing is told before the first alarm: what is not known is not 0.
    fn tell(&mut self, report: &Report, invalid: &BTreeMap<String, Invalid>) {
        let Some(all) = &report.all else { return };
        set(all, |name| (format!("faultgate_alarm_{name}"), Vec::new()));
        let mut sites: Vec<(&String, &Figures)> = report.sites.iter().collect();
        sites.sort_by_key(|(_, figures)| Reverse(figures.raised));
        admit(&mut self.sites, sites.iter().map(|(site, _)| site.as_str()));
        // A site with gauges keeps them, also when nothing is raised there any more.
        let quiet = Figures::default();
        for site in &self.sites {
            let figures = report.sites.get(site).unwrap_or(&quiet);
            set(figures, |name| {
                (format!("faultgate_site_alarm_{name}"), vec![("site", site.clone())])
            });
        }
        let mut rules: Vec<(&String, &Invalid)> = invalid.iter().collect();
        rules.sort_by_key(|(_, invalid)| Reverse(invalid.over));
        admit(&mut self.rules, rules.iter().map(|(rule, _)| rule.as_str()));
        for rule in &self.rules {
            let percent = invalid.get(rule).and_then(|invalid| invalid.percent());
            gauge!("faultgate_ticket_invalid_ratio", "rule" => rule.clone()).set(ratio(percent));
        }
    }
}

/// Takes in the first of `names` while there is room: a gauge that was made once stays for good.
fn admit<'a>(known: &mut BTreeSet<String>, names: impl Iterator<Item = &'a str>) {
    for name in names {
        if known.len() >= TOLD_MAX {
            return;
        }
        if !known.contains(name) {
            known.insert(name.to_owned());
        }
    }
}

/// Sets the gauges of one pool; `named` gives a figure's name and its labels.
fn set(figures: &Figures, named: impl Fn(&str) -> (String, Vec<(&'static str, String)>)) {
    let set = |name: &str, value: f64, more: &[(&'static str, &str)]| {
        let (name, mut labels) = named(name);
        labels.extend(more.iter().map(|(label, value)| (*label, (*value).to_owned())));
        gauge!(name, &labels).set(value);
    };
    set("rate_per_10_min", figures.per_10_min, &[]);
    set("worst_10_min", figures.worst_10_min as f64, &[]);
    set("flood_ratio", figures.flood_percent / 100.0, &[]);
    set("chattering", figures.chattering as f64, &[]);
    set("fleeting", figures.fleeting as f64, &[]);
    set("stale", figures.stale as f64, &[]);
    set("top_10_ratio", ratio(figures.top_10_percent), &[]);
    for (priority, percent) in [
        ("critical", figures.priorities.map(|shares| shares.critical)),
        ("major", figures.priorities.map(|shares| shares.major)),
        ("minor-and-lower", figures.priorities.map(|shares| shares.minor_and_lower)),
    ] {
        set("priority_ratio", ratio(percent), &[("priority", priority)]);
    }
}

/// Prometheus's word for unknown is NaN.
fn ratio(percent: Option<f64>) -> f64 {
    percent.map_or(f64::NAN, |percent| percent / 100.0)
}
