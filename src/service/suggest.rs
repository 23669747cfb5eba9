//! `rules suggest`: dead-bands and delays for the rules that raise most, from what a recording
//! says, each proved by a backtest.
//!
//! - A dead-band is [`BAND_DEVIATIONS`] robust standard deviations of the metric's own noise near
//!   the threshold: a value of normal noise strays so far in 3 of 1,000 samples.
//! - `off_delay` outlasts nine of ten pauses between episodes that follow each other closely.
//! - `on_delay` outlasts nine of ten episodes that did not last.
//!
//! The first of the three that saves half of the alarms is taken, else the one that saves most;
//! one that saves less than a fifth, or loses a fault that lasted, is not proposed.

mod noise;
mod spells;

use std::collections::BTreeMap;

use crate::engine::detect::{Outline, Rule, Threshold};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::service::backtest::Outcome;

pub use noise::{Noise, NoiseMeter};
pub use spells::{Kept, Spell, spells};

/// Width of a dead-band, in standard deviations of the noise.
pub const BAND_DEVIATIONS: f64 = 3.0;
/// Delays that are proposed, in seconds.
const DELAYS: [i64; 21] = [
    1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200,
    14_400,
];

/// What is changed in a rule, in the order in which it is preferred: the first two raise nothing
/// later than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Another `clear_when`.
    DeadBand,
    /// Another `off_delay`.
    OffDelay,
    /// Another `on_delay`.
    OnDelay,
}

impl Remedy {
    /// Every one.
    pub const ALL: [Remedy; 3] = [Remedy::DeadBand, Remedy::OffDelay, Remedy::OnDelay];

    /// The key in the rule file.
    pub fn key(self) -> &'static str {
        match self {
            Remedy::DeadBand => "clear_when",
            Remedy::OffDelay => "off_delay",
            Remedy::OnDelay => "on_delay",
        }
    }
}

/// A change that may help, not yet tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The rule.
    pub rule: String,
    /// What is changed.
    pub remedy: Remedy,
    /// The new value, as text.
    pub value: String,
    /// The value until now; `None` for none.
    pub was: Option<String>,
    /// Where the number comes from, for people.
    pub why: String,
}

impl Candidate {
    /// The new value in TOML.
    pub fn toml(&self) -> String {
        if self.value.contains('"') {
            format!("'{}'", self.value)
        } else {
            format!("\"{}\"", self.value)
        }
    }
}

/// The threshold of a rule that has nothing but one.
pub fn threshold(rule: &Rule) -> Option<Threshold> {
    Outline::of(&rule.spec.when)?.threshold(&rule.spec.when, &rule.spec.params)
}

/// The rules that raised most, at most `top` of those that raised three times or more.
pub fn noisiest(outcome: &Outcome, top: usize) -> Vec<(String, u64)> {
    let mut rules: Vec<(String, u64)> = outcome
        .rules
        .iter()
        .filter(|line| line.raised >= 3)
        .map(|line| (line.rule.clone(), line.raised))
        .collect();
    rules.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rules.truncate(top);
    rules
}

/// What may help a rule. `lasting`: an episode this long is a fault and no chatter.
pub fn candidates(
    rule: &Rule,
    noise: Option<(&Threshold, Noise)>,
    outcome: &Outcome,
    lasting: TimeSpan,
) -> Vec<Candidate> {
    // A latched alarm returns by hand; that it comes again is no chatter.
    if rule.spec.latch {
        return Vec::new();
    }
    let band = noise.and_then(|(threshold, noise)| dead_band(rule, threshold, noise));
    let (lengths, pauses) = chatter(rule, outcome, lasting);
    // A safety alarm is never raised later.
    let lengths = if rule.spec.safety { Vec::new() } else { lengths };
    let delay = |remedy: Remedy, samples: Vec<TimeSpan>, was: TimeSpan, what: &str| {
        let (count, worst) = (samples.len(), nine_of_ten(samples)?);
        let value = delay_over(was + worst, lasting)?;
        (value > was).then(|| Candidate {
            rule: rule.spec.id.clone(),
            remedy,
            value: value.to_string(),
            was: (was > TimeSpan::ZERO).then(|| was.to_string()),
            why: format!("nine of ten of {count} {what} take at most {worst}"),
        })
    };
    let spec = &rule.spec;
    let off = delay(Remedy::OffDelay, pauses, spec.off_delay, "short pauses between episodes");
    let on = delay(Remedy::OnDelay, lengths, spec.on_delay, "short episodes");
    band.into_iter().chain(off).chain(on).collect()
}

fn dead_band(rule: &Rule, threshold: &Threshold, noise: Noise) -> Option<Candidate> {
    let wanted = round_up((BAND_DEVIATIONS * noise.deviation).max(noise.step));
    let value = threshold.back_by(wanted);
    if let Some(clear) = &rule.spec.clear_when {
        // Only a threshold of the same metric can be told to be narrower.
        let present = Outline::of(clear)?.threshold(clear, &rule.spec.params)?;
        let same = present.metric == threshold.metric && present.above != threshold.above;
        let narrow = (threshold.bound - present.bound).abs() < wanted;
        if !same || !narrow {
            return None;
        }
    }
    let Threshold { metric, bound, .. } = threshold;
    let Noise { deviation, step, pairs } = noise;
    Some(Candidate {
        rule: rule.spec.id.clone(),
        remedy: Remedy::DeadBand,
        value,
        was: rule.spec.clear_when.clone(),
        why: format!(
            "`{metric}` wavers by {deviation:.3} (steps of {step:.3}) in {pairs} differences near \
             {bound}; the band is {wanted}"
        ),
    })
}

/// How long episodes that did not last took, and the pauses after which they came again.
fn chatter(rule: &Rule, outcome: &Outcome, lasting: TimeSpan) -> (Vec<TimeSpan>, Vec<TimeSpan>) {
    let (mut lengths, mut pauses) = (Vec::new(), Vec::new());
    let mut returned: BTreeMap<(&str, &[String]), Timestamp> = BTreeMap::new();
    for alarm in outcome.alarms.iter().filter(|alarm| alarm.rule == rule.spec.id) {
        let identity = (alarm.device.as_str(), alarm.key.as_slice());
        if let Some(before) = returned.get(&identity) {
            pauses.extend(Some(alarm.raised_at.since(*before)).filter(|pause| *pause < lasting));
        }
        if let Some(at) = alarm.returned_at {
            lengths.extend(Some(at.since(alarm.raised_at)).filter(|length| *length < lasting));
            returned.insert(identity, at);
        }
    }
    (lengths, pauses)
}

/// By nearest rank; `None` for fewer than three.
fn nine_of_ten(mut spans: Vec<TimeSpan>) -> Option<TimeSpan> {
    if spans.len() < 3 {
        return None;
    }
    spans.sort_unstable();
    spans.get((spans.len() * 9).div_ceil(10) - 1).copied()
}

/// The shortest usual delay that is longer than `span`, and shorter than a fault that lasts.
fn delay_over(span: TimeSpan, lasting: TimeSpan) -> Option<TimeSpan> {
    let delays = DELAYS.into_iter().map(TimeSpan::from_secs);
    delays.into_iter().find(|delay| *delay > span).filter(|delay| *delay < lasting)
}

/// Two digits, upwards.
fn round_up(number: f64) -> f64 {
    let unit = 10_f64.powi(number.log10().floor() as i32 - 1);
    // Rounded again, or 29 hundredths would not be 0.29.
    let rounded = (number / unit - 1e-9).ceil() * unit;
    (rounded * 1e6).round() / 1e6
}

/// The candidate to take of those that were tried, each with the alarms that it raises and what it
/// keeps. `None` where none is worth it.
pub fn choose(before: u64, tried: Vec<(Candidate, u64, Kept)>) -> Option<Candidate> {
    let mut worth: Vec<(Candidate, u64)> = tried
        .into_iter()
        .filter(|(_, raised, kept)| kept.lost == 0 && raised * 5 <= before * 4)
        .map(|(candidate, raised, _)| (candidate, raised))
        .collect();
    worth.sort_by_key(|(candidate, _)| candidate.remedy);
    let half = worth.iter().position(|(_, raised)| raised * 2 <= before);
    let best = worth.iter().enumerate().min_by_key(|(_, (_, raised))| *raised);
    let place = half.or(best.map(|(place, _)| place))?;
    Some(worth.swap_remove(place).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(remedy: Remedy) -> Candidate {
        let (value, why) = (String::new(), String::new());
        Candidate { rule: "r".into(), remedy, value, was: None, why }
    }

    fn chosen(tried: &[(Remedy, u64, usize)]) -> Option<Remedy> {
        let tried = tried.iter().map(|(remedy, raised, lost)| {
            (candidate(*remedy), *raised, Kept { later: Vec::new(), lost: *lost })
        });
        choose(100, tried.collect()).map(|candidate| candidate.remedy)
    }

    #[test]
    fn what_raises_nothing_later_goes_first_where_it_saves_half() {
        use Remedy::{DeadBand, OffDelay, OnDelay};
        assert_eq!(chosen(&[(OnDelay, 0, 0), (DeadBand, 50, 0)]), Some(DeadBand));
        assert_eq!(chosen(&[(OnDelay, 0, 0), (OffDelay, 70, 0)]), Some(OnDelay));
        assert_eq!(chosen(&[(OffDelay, 70, 0), (DeadBand, 75, 0)]), Some(OffDelay));
    }

    #[test]
    fn what_loses_a_fault_that_lasted_or_saves_little_is_not_proposed() {
        assert_eq!(chosen(&[(Remedy::DeadBand, 10, 1), (Remedy::OnDelay, 81, 0)]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn numbers_are_rounded_up_to_what_an_operator_would_write() {
        assert_eq!(round_up(0.287), 0.29);
        assert_eq!(round_up(0.29), 0.29);
        assert_eq!(round_up(12.01), 13.0);
        assert_eq!(round_up(1_234.0), 1_300.0);
        let lasting = TimeSpan::from_secs(300);
        let over = |secs| delay_over(TimeSpan::from_secs(secs), lasting);
        assert_eq!(over(31), Some(TimeSpan::from_secs(45)));
        assert_eq!(over(0), Some(TimeSpan::from_secs(1)));
        assert_eq!(over(200), None, "five minutes would hide a fault that lasts");
    }
}
