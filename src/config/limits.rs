//! `[limits]` and `[storm]`.

use crate::engine::merge::StormPolicy;
use crate::engine::register::UnknownDevices;
use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::time::TimeSpan;

/// Most devices that are kept, where nothing is said.
const DEVICES_MAX: u32 = 200_000;
/// Most jobs that wait for the upstreams, where nothing is said: some 100 MB of memory.
const BACKLOG_MAX: u32 = 50_000;
/// Fewest that may be asked for: what a busy hour leaves waiting must not stop a gateway.
const BACKLOG_LEAST: u32 = 100;
/// Most alarms that a storm may begin with.
const STORM_ENTER_MAX: usize = 10_000;

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most devices that are kept.
    pub devices_max: usize,
    /// What becomes of devices that are not registered, where the register does not say.
    pub unknown_devices: UnknownDevices,
    /// Jobs that wait for the upstreams past which no message is taken in.
    pub backlog_max: usize,
    /// Longest time for which an alarm may be shelved.
    pub shelve_max: TimeSpan,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            devices_max: DEVICES_MAX as usize,
            unknown_devices: UnknownDevices::default(),
            backlog_max: BACKLOG_MAX as usize,
            shelve_max: TimeSpan::from_secs(86_400),
        }
    }
}

/// Reads `[limits]`.
pub(super) fn read(table: &Table<'_>) -> Limits {
    let usual = Limits::default();
    let backlog_max = table.optional::<Located<u32>>("max_backlog").map(|most| {
        if most.value < BACKLOG_LEAST {
            let message = format!("`max_backlog` is at least {BACKLOG_LEAST}");
            let hint = "comments are folded at half of it, and at it no message is taken in";
            table.place().error(most.span, "out-of-range", message, hint);
        }
        most.value as usize
    });
    let unknown = table.optional("unknown_devices").map(|OneOf(unknown)| unknown);
    Limits {
        devices_max: table.or::<u32>("max_devices", DEVICES_MAX) as usize,
        unknown_devices: unknown.unwrap_or(usual.unknown_devices),
        backlog_max: backlog_max.unwrap_or(usual.backlog_max),
        shelve_max: table.or("max_shelve", usual.shelve_max),
    }
}

/// Reads `[storm]`.
pub(super) fn read_storm(table: &Table<'_>) -> StormPolicy {
    let usual = StormPolicy::default();
    let whole = |key, usual: usize| table.or::<u32>(key, usual as u32) as usize;
    let storm = StormPolicy {
        enabled: table.or("enabled", usual.enabled),
        by: table.optional("by").map_or(usual.by, |OneOf(by)| by),
        enter: whole("enter", usual.enter),
        leave: whole("leave", usual.leave),
        window: table.or("window", usual.window),
    };
    if storm.leave == 0 || storm.leave > storm.enter + 1 || storm.enter > STORM_ENTER_MAX {
        let message = format!("a storm from {} alarms down to {}", storm.enter, storm.leave);
        let hint = format!(
            "`leave` is from 1 to one more than `enter`, and that at most {STORM_ENTER_MAX}; \
             `enabled = false` for no storms"
        );
        table.place().error(table.span(), "out-of-range", message, hint);
    }
    storm
}
