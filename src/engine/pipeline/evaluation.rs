//! Sample -> truth: what the conditions of a rule say about one device, and when they may say
//! something else.

use super::devices::Device;
use super::paths::Paths;
use super::peers::Peers;
use crate::engine::detect::{Evaluation, Rule, Scene, Truth as Known, Unknown};
use crate::engine::lifecycle::Truth;
use crate::engine::types::names::RuleId;
use crate::engine::types::time::Timestamp;

/// What the conditions of a rule say, and when they may say something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub when: Truth,
    pub clear: Truth,
    pub recheck_at: Option<Timestamp>,
    /// Why a condition could not be evaluated.
    pub errors: [Option<&'static str>; 2],
}

impl Seen {
    /// What is said of an alarm whose condition is not the question.
    pub fn of(when: Truth, clear: Truth) -> Seen {
        Seen { when, clear, recheck_at: None, errors: [None, None] }
    }
}

/// What lies around the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// How many others have what raised.
    pub peers: &'a Peers,
    /// How the paths to the devices stand.
    pub paths: &'a Paths,
    /// Gateway time.
    pub now: Timestamp,
}

/// Evaluates the conditions of the rule at `index` of the policy. That of the return counts only
/// while an alarm is raised.
pub(super) fn evaluate(
    device: &Device,
    index: usize,
    rule: &Rule,
    event: Timestamp,
    around: Around<'_>,
) -> Seen {
    let (when, clear) = conditions(device, index, rule, event, around);
    let recheck = [when.recheck_at, clear.as_ref().and_then(|clear| clear.recheck_at)];
    let errors = [error(&when.truth), clear.as_ref().and_then(|clear| error(&clear.truth))];
    let when = known(&when.truth);
    Seen {
        when,
        clear: clear.map_or_else(|| opposite(when), |clear| known(&clear.truth)),
        recheck_at: recheck.into_iter().flatten().filter(|at| *at > event).min(),
        errors,
    }
}

/// What the two conditions say, and why where they cannot be told; as [`evaluate`].
pub(super) fn conditions(
    device: &Device,
    index: usize,
    rule: &Rule,
    event: Timestamp,
    around: Around<'_>,
) -> (Evaluation, Option<Evaluation>) {
    let raised = |rule: RuleId| device.raised.contains(&rule);
    let learned = device.learned(index);
    let mut scene = Scene {
        memory: &device.memory,
        learned: learned.map_or(&[], |learned| learned.of_when()),
        device: &device.facts,
        now: event,
        stale_after: rule.spec.stale_after,
        raised: &raised,
        count_raised: &|rule, among| around.peers.count(rule, among, &device.facts),
        last_message: device.clock.silent_since(device.heard),
        offline: device.facts.offline,
        absence_held: around.paths.is_held(device.source(), around.now),
    };
    let when = rule.when.evaluate(&scene);
    scene.learned = learned.map_or(&[], |learned| learned.of_clear());
    let clear = rule.clear_when.as_ref().filter(|_| raised(rule.id));
    (when, clear.map(|condition| condition.evaluate(&scene)))
}

fn error(truth: &Known) -> Option<&'static str> {
    match truth {
        Known::Unknown(Unknown::Error(detail)) => Some(detail),
        Known::True | Known::False | Known::Unknown(_) => None,
    }
}

fn known(truth: &Known) -> Truth {
    match truth {
        Known::True => Truth::Holds,
        Known::False => Truth::Fails,
        Known::Unknown(_) => Truth::Unknown,
    }
}

fn opposite(truth: Truth) -> Truth {
    match truth {
        Truth::Holds => Truth::Fails,
        Truth::Fails => Truth::Holds,
        Truth::Unknown => Truth::Unknown,
    }
}
