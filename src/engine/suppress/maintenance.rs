//! `[[maintenance]]`: windows in which the alarms of some devices are suppressed.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::engine::types::calendar::{read_cron, read_zone};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::document::{Located, Table};
use crate::engine::types::selector::Selector;
use crate::engine::types::text::Bilingual;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// One `[[maintenance]]`.
#[derive(Clone, Debug)]
pub struct Maintenance {
    selector: Selector,
    window: Window,
    /// Why.
    pub reason: Bilingual,
}

#[derive(Clone, Debug)]
enum Window {
    Once {
        from: Timestamp,
        to: Timestamp,
    },
    /// In the gateway's zone where none is named.
    Repeated {
        cron: Box<Cron>,
        lasts: TimeSpan,
        zone: Option<Tz>,
    },
}

impl Maintenance {
    /// When the window that is open now for this device ends; `None` when none is. `here` is the
    /// zone of schedules that name none.
    pub fn ends_at(&self, device: &DeviceFacts, now: Timestamp, here: Tz) -> Option<Timestamp> {
        if !self.selector.selects(device) {
            return None;
        }
        match &self.window {
            Window::Once { from, to } => (*from <= now && now < *to).then_some(*to),
            Window::Repeated { cron, lasts, zone } => {
                let local = now.to_chrono().with_timezone(&zone.unwrap_or(here));
                let began = cron.find_previous_occurrence(&local, true).ok()?;
                let ends = Timestamp::from_micros(began.timestamp_micros()) + *lasts;
                (now < ends).then_some(ends)
            }
        }
    }
}

/// Reads every `[[maintenance]]` of one file.
pub fn read_maintenance(table: &Table<'_>) -> Vec<Maintenance> {
    table.tables("maintenance", |entry| {
        let selector = entry.table("match", |patterns| Some(Selector::read(patterns, &[])));
        if !entry.has("schedule") {
            let hint = "add `schedule = { cron = \"0 2 * * SUN\", duration = \"4h\" }`, or `from` and `to`";
            entry.place().error(entry.span(), "missing-key", "the window has no `schedule`", hint);
        }
        let window = entry.table("schedule", read_schedule);
        let reason = entry.or("reason", Bilingual::default());
        Some(Maintenance { selector: selector.unwrap_or_default(), window: window?, reason })
    })
}

fn read_schedule(table: &Table<'_>) -> Option<Window> {
    let zone = read_zone(table, "timezone");
    let (repeated, once) = (table.has("cron"), table.has("from") || table.has("to"));
    if repeated == once {
        let message = "a schedule has either `cron` and `duration`, or `from` and `to`";
        table.place().error(table.span(), "wrong-value", message, "leave one of them out");
        return None;
    }
    if once {
        let (from, to) = (table.required::<Timestamp>("from"), table.required::<Timestamp>("to"));
        let (from, to) = (from?, to?);
        if to <= from {
            let message = "the window ends before it begins";
            table.place().error(table.span(), "wrong-value", message, "`to` is later than `from`");
        }
        return Some(Window::Once { from, to });
    }
    let lasts = table.required::<Located<TimeSpan>>("duration");
    let cron = read_cron(table, "cron");
    let lasts = lasts.filter(|lasts| {
        let right = lasts.value > TimeSpan::ZERO;
        if !right {
            let message = "a window lasts longer than 0s";
            table.place().error(lasts.span.clone(), "out-of-range", message, "");
        }
        right
    });
    let (Located { value: cron, span }, lasts) = (cron?, lasts?.value);
    if cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true).is_err() {
        let message = "`cron`: the window never comes: no year has such a day";
        let hint = "for example \"0 2 28 2 *\" for 28 February, or \"0 2 L * *\" for the last day of a month";
        table.place().warning(span, "never-comes", message, hint);
        // It suppresses nothing, and looking for the last time that it came would take long.
        return None;
    }
    Some(Window::Repeated { cron: Box::new(cron), lasts, zone })
}
