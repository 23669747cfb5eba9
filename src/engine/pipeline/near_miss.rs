//! What was begun and not finished: a condition that did not hold long or often enough, a return
//! that was broken off. `explain` tells what was missing.

use crate::engine::lifecycle::Policy;
use crate::engine::types::alarm::{AlarmRecord, AlarmState, HistoryEntry};
use crate::engine::types::time::Timestamp;

/// Begins of the entries; of several near misses in a row only the last is kept, so that chatter
/// does not push out when the alarm was raised.
const BEGINS: [&str; 3] = ["`when` held ", "rising edge ", "the return held "];

/// Remembers a near miss, if the step from `before` to the present state is one.
pub(super) fn note(
    record: &mut AlarmRecord,
    before: &AlarmState,
    event: Timestamp,
    now: Timestamp,
    policy: &Policy,
) {
    let Some(what) = missed(record, before, event, policy) else { return };
    let is_near_miss =
        |entry: &HistoryEntry| BEGINS.iter().any(|begin| entry.what.starts_with(begin));
    if record.history.last().is_some_and(is_near_miss) {
        record.history.pop();
    }
    record.remember(event, now, what);
}

fn missed(
    record: &AlarmRecord,
    before: &AlarmState,
    event: Timestamp,
    policy: &Policy,
) -> Option<String> {
    if let (Some(since), None, false) =
        (before.rising(), record.state.rising(), record.state.is_raised())
    {
        let held = event.since(since);
        let Policy { on_delay, occurrences, occurrences_within, .. } = *policy;
        if held < on_delay {
            let rest = on_delay - held;
            return Some(format!("`when` held {held} of {on_delay}: {rest} more needed"));
        }
        let edges = record.edges.len();
        let rest = (occurrences as usize).saturating_sub(edges);
        return (rest > 0).then(|| {
            format!("rising edge {edges} of {occurrences} within {occurrences_within}: {rest} more needed")
        });
    }
    match (before.clearing(), record.state.clearing()) {
        (Some(since), None) if record.state.is_raised() => {
            let (held, off_delay) = (event.since(since), policy.off_delay);
            let rest = off_delay - held;
            Some(format!("the return held {held} of {off_delay}: {rest} more needed"))
        }
        _ => None,
    }
}
