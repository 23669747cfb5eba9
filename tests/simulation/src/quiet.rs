//! What is suppressed by design in a run: maintenance windows, and alarms that keep others from
//! people; as an operator writes it and as the model reads it.

use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::chance::Chance;
use crate::devices::SITES;

/// A day.
const DAY: TimeSpan = TimeSpan::from_secs(86_400);
/// Rules whose alarms may keep those of others from people.
const SOURCES: [&str; 3] = ["pressure", "leak", "hot"];
/// Rules whose alarms may be kept from people.
const TARGETS: [&str; 4] = ["warm", "code", "surge", "hot"];

/// Windows and inhibitions of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quiet {
    windows: Vec<Window>,
    /// Which alarms keep which from people.
    pub inhibits: Vec<Inhibit>,
}

/// When somebody works at a place.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    site: Option<&'static str>,
    device: Option<String>,
    from: Timestamp,
    lasts: TimeSpan,
    is_daily: bool,
}

/// While the one alarm is raised, the other opens nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Inhibit {
    /// Rule of the one.
    pub source: &'static str,
    /// Rule of the other.
    pub target: &'static str,
    /// At the whole site, not on the same device only.
    pub at_site: bool,
    /// How long it goes on when the one has returned.
    pub settle: TimeSpan,
}

impl Quiet {
    /// A few of each.
    pub fn of(seed: u64, start: Timestamp, days: i64) -> Quiet {
        let mut chance = Chance::of(seed, "quiet", 0);
        let count = chance.below(4);
        let windows = (0..count).map(|_| {
            let number = chance.below(8);
            let name = if number.is_multiple_of(2) { "冷柜" } else { "m" };
            let device = chance.percent(60).then(|| format!("{name}-{number}"));
            let site = if device.is_none() { chance.one(&SITES).copied() } else { None };
            let minute = TimeSpan::from_secs(60 * chance.between(1, days * 1_440 - 1));
            let lasts = TimeSpan::from_secs(60 * chance.between(5, 300));
            Window { site, device, from: start + minute, lasts, is_daily: chance.percent(40) }
        });
        let windows: Vec<Window> = windows.collect();
        let count = chance.below(4);
        let inhibits = (0..count).filter_map(|_| {
            let (source, target) = (*chance.one(&SOURCES)?, *chance.one(&TARGETS)?);
            let settle = TimeSpan::from_secs(*chance.one(&[0, 15, 60, 600])?);
            let at_site = chance.percent(50);
            (source != target).then_some(Inhibit { source, target, at_site, settle })
        });
        Quiet { inhibits: inhibits.collect(), windows }
    }

    /// The part of the rule file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for window in &self.windows {
            let who = match (&window.device, window.site) {
                (Some(device), _) => format!("device = \"{device}\""),
                (None, site) => format!("site = \"{}\"", site.unwrap_or("*")),
            };
            let (from, to) = (window.from.to_chrono(), (window.from + window.lasts).to_chrono());
            let when = match window.is_daily {
                true => format!(
                    "cron = \"{}\", duration = \"{}\", timezone = \"UTC\"",
                    from.format("%-M %-H * * *"),
                    window.lasts
                ),
                false => {
                    let instant = "%Y-%m-%dT%H:%M:%SZ";
                    format!("from = {}, to = {}", from.format(instant), to.format(instant))
                }
            };
            text.push_str(&format!(
                "[[maintenance]]\nmatch = {{ {who} }}\nschedule = {{ {when} }}\n"
            ));
        }
        for Inhibit { source, target, at_site, settle } in &self.inhibits {
            let equal = if *at_site { "site" } else { "device" };
            text.push_str(&format!(
                "[[inhibit]]\nsource = {{ rule = \"{source}\" }}\ntarget = {{ rule = \"{target}\" }}\n\
                 equal = [\"{equal}\"]\nsettle = \"{settle}\"\n"
            ));
        }
        text
    }

    /// True while somebody works on a device.
    pub fn is_worked_on(&self, device: &str, site: &str, now: Timestamp) -> bool {
        let here = self.windows.iter().filter(|window| {
            window.device.as_ref().is_none_or(|one| one == device)
                && window.site.is_none_or(|one| one == site)
        });
        here.into_iter().any(|window| {
            let mut from = window.from;
            while window.is_daily && from > now {
                from = from - DAY;
            }
            while window.is_daily && from + DAY <= now {
                from = from + DAY;
            }
            from <= now && now < from + window.lasts
        })
    }
}
