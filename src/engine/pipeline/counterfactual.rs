//! What is missing for an alarm to be raised, or to return: the present moment against the rule.

use serde::Serialize;

use super::{Engine, evaluation};
use crate::engine::detect::{Evaluation, Rule, Truth, Unknown};
use crate::engine::lifecycle;
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState};
use crate::engine::types::names::{DeviceId, MetricId};
use crate::engine::types::rule::Mode;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// A rule on a device, now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counterfactual {
    /// The alarm, whether it was ever raised or not.
    #[serde(flatten)]
    pub id: AlarmId,
    /// `true`, `false` or `unknown`.
    pub when: &'static str,
    /// The same of the return, while the alarm is raised.
    pub clear_when: Option<&'static str>,
    /// What is missing, in sentences.
    pub missing: Vec<String>,
}

impl Engine {
    /// What is missing for this alarm; `None` for a rule or a device that is not known.
    pub fn counterfactual(&self, now: Timestamp, alarm: &AlarmId) -> Option<Counterfactual> {
        let id = self.names.find(&alarm.device)?;
        let device = self.devices.get(id.index())?;
        let index = self.policy.position(&alarm.rule)?;
        let rule = self.rule_of(id, index)?;
        let event = device.clock.at(now);
        let around = self.around(now);
        let (when, clear) = evaluation::conditions(device, index, &rule, event, around);
        let record = device.alarms.iter().filter_map(|slot| slot.record.as_deref());
        let record = record.clone().find(|record| record.id == *alarm);
        let mut missing = Vec::new();
        if !rule.spec.selector.selects(&device.facts) {
            missing.push("the rule does not look at this device: `match` does not fit".to_owned());
        } else if rule.spec.mode == Mode::Off {
            missing.push("the rule is off".to_owned());
        } else {
            let state = record.map_or(&AlarmState::Normal, |record| &record.state);
            missing.extend(record.and_then(|record| unsteady(record, &rule, event)));
            if state.is_raised() {
                self.return_misses(id, &rule, state, &when, clear.as_ref(), event, &mut missing);
            } else {
                self.raise_misses(id, &rule, record, &when, event, &mut missing);
            }
        }
        let (when, clear_when) = (word(&when), clear.as_ref().map(word));
        Some(Counterfactual { id: alarm.clone(), when, clear_when, missing })
    }

    fn raise_misses(
        &self,
        id: DeviceId,
        rule: &Rule,
        record: Option<&AlarmRecord>,
        when: &Evaluation,
        event: Timestamp,
        missing: &mut Vec<String>,
    ) {
        match &when.truth {
            Truth::True => {}
            Truth::False => missing.push("`when` does not hold".to_owned()),
            Truth::Unknown(unknown) => {
                missing.push(format!("`when` is unknown: {}", self.why(id, rule, unknown, event)));
            }
        }
        let spec = &rule.spec;
        let Some(record) = record else { return };
        if let Some(since) = record.state.rising() {
            let held = event.since(since);
            if held < spec.on_delay {
                let rest = spec.on_delay - held;
                missing.push(format!("held {held} of {}: {rest} more needed", spec.on_delay));
            }
        }
        if spec.occurrences > 1 {
            let recent = |at: &&Timestamp| event.since(**at) < spec.occurrences_within;
            let edges = record.edges.iter().filter(recent).count();
            let rest = (spec.occurrences as usize).saturating_sub(edges);
            if rest > 0 {
                let (all, within) = (spec.occurrences, spec.occurrences_within);
                missing.push(format!(
                    "{edges} of {all} rising edges within {within}: {rest} more needed"
                ));
            }
        }
        if let AlarmState::Latched { .. } = record.state {
            missing.push("it is latched: `faultgate alarms reset` lets it go".to_owned());
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is one fact of the moment")]
    fn return_misses(
        &self,
        id: DeviceId,
        rule: &Rule,
        state: &AlarmState,
        when: &Evaluation,
        clear: Option<&Evaluation>,
        event: Timestamp,
        missing: &mut Vec<String>,
    ) {
        let (asked, wanted, name) = match clear {
            Some(clear) => (&clear.truth, Truth::True, "`clear_when`"),
            None => (&when.truth, Truth::False, "`when`"),
        };
        match asked {
            Truth::Unknown(unknown) => {
                missing.push(format!("{name} is unknown: {}", self.why(id, rule, unknown, event)));
            }
            truth if *truth != wanted && clear.is_some() => {
                missing.push("`clear_when` does not hold".to_owned());
            }
            truth if *truth != wanted => missing.push("`when` still holds".to_owned()),
            Truth::True | Truth::False => {}
        }
        if let Some(since) = state.clearing() {
            let (held, off_delay) = (event.since(since), rule.spec.off_delay);
            let rest = off_delay - held;
            if rest > TimeSpan::ZERO {
                missing
                    .push(format!("the return has held {held} of {off_delay}: {rest} more needed"));
            }
        }
    }

    fn why(&self, id: DeviceId, rule: &Rule, unknown: &Unknown, event: Timestamp) -> String {
        let name = |metric: &MetricId| self.policy.metrics.text(*metric);
        match unknown {
            Unknown::Missing(metric) => format!("`{}` was never seen", name(metric)),
            Unknown::Stale(metric) => {
                let memory = self.devices.get(id.index()).map(|device| &device.memory);
                let latest = memory.and_then(|memory| memory.latest(*metric));
                let age = latest.map_or(TimeSpan::ZERO, |(at, _)| event.since(at));
                let (name, most) = (name(metric), rule.spec.stale_after);
                format!("`{name}` is {age} old, and stale after {most}")
            }
            Unknown::Bad(metric) => format!("the newest `{}` is of bad quality", name(metric)),
            Unknown::NotEnough(metric) => {
                format!("there is too little history of `{}`", name(metric))
            }
            Unknown::PathDown => "the path to the device is down, or was a moment ago".to_owned(),
            Unknown::Error(detail) => (*detail).to_owned(),
        }
    }
}

/// Until when an alarm that flaps counts as raised.
fn unsteady(record: &AlarmRecord, rule: &Rule, event: Timestamp) -> Option<String> {
    let flapping = record.flapping.as_ref()?;
    let score = lifecycle::score(lifecycle::recent(&record.changes, event));
    let underneath = if flapping.lull.is_some() { "back to normal" } else { "raised" };
    let calm = lifecycle::calm_at(&record.changes, rule.spec.flapping);
    let calm = calm.map(|at| format!(", at {at} if it stays so")).unwrap_or_default();
    let low = rule.spec.flapping.low;
    Some(format!(
        "flapping since {}, score {score:.2}: {underneath} underneath, and counts as raised until the score is {low} or less{calm}",
        flapping.since
    ))
}

fn word(evaluation: &Evaluation) -> &'static str {
    match evaluation.truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown(_) => "unknown",
    }
}
