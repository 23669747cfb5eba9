//! Who takes the gateway's time: the rules that cost most, and the topics that speak most.
//!
//! Nothing is dropped or put off for it. What waits is bounded, and so is what one message and one
//! look cost (`docs/limits.md`): what is left is to name the one that takes too much.

use std::collections::BTreeSet;

use metrics::{counter, gauge};

use crate::engine::pipeline::Engine;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// How often it is told.
const TOLD_EVERY: TimeSpan = TimeSpan::from_secs(10);
/// Most rules that have a counter of their own: those that came to the [`DEAREST`] first.
const RULES_TOLD_MAX: usize = 50;
/// So many rules are told each time.
const DEAREST: usize = 10;
/// One message of so many is looked at.
const ONE_OF: u64 = 16;
/// Topics that are counted at a time.
const TOPICS_MAX: usize = 64;
/// A topic with more messages a second than this is noisy.
const NOISY_PER_SECOND: u64 = 100;
/// A noisy topic is told in the log at most so often.
const NOISE_LOG_EVERY: TimeSpan = TimeSpan::from_secs(600);

/// Counts, and tells every ten seconds.
#[derive(Debug, Default)]
pub(super) struct Load {
    messages: u64,
    topics: Talkers,
    /// Looks at each rule when it was told last.
    looks: Vec<u64>,
    rules: BTreeSet<String>,
    told_at: Option<Timestamp>,
    logged_at: Option<Timestamp>,
}

impl Load {
    /// A message came on this topic.
    pub fn heard(&mut self, topic: &str) {
        self.messages += 1;
        if self.messages.is_multiple_of(ONE_OF) {
            self.topics.heard(topic);
        }
    }

    /// Tells what was counted, when it is time.
    pub fn tell(&mut self, now: Timestamp, engine: &Engine) {
        let told_at = *self.told_at.get_or_insert(now);
        let since = now.since(told_at);
        if since < TOLD_EVERY {
            return;
        }
        self.told_at = Some(now);
        self.tell_rules(engine);
        let seconds = (since.micros() / 1_000_000).max(1).unsigned_abs();
        self.tell_topics(now, seconds);
    }

    fn tell_rules(&mut self, engine: &Engine) {
        for (steps, rule) in self.dearest(engine) {
            counter!("faultgate_rule_steps_total", "rule" => rule).increment(steps);
        }
    }

    /// What the rules with a counter of their own took since the last time, the dearest first.
    fn dearest(&mut self, engine: &Engine) -> Vec<(u64, String)> {
        let looks = engine.looks();
        let is_other_set = looks.len() != self.looks.len()
            || looks.iter().zip(&self.looks).any(|(now, before)| now < before);
        if is_other_set {
            self.looks = vec![0; looks.len()];
        }
        let rules = engine.policy().rules.iter().zip(looks.iter().zip(&self.looks));
        let mut steps: Vec<(u64, &str)> = rules
            .filter(|(_, (now, before))| now > before)
            .map(|(rule, (now, before))| ((now - before) * rule.steps(), rule.spec.id.as_str()))
            .collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        let mut told = Vec::new();
        for (place, (steps, rule)) in steps.into_iter().enumerate() {
            let has_room = place < DEAREST && self.rules.len() < RULES_TOLD_MAX;
            if self.rules.contains(rule) || has_room && self.rules.insert(rule.to_owned()) {
                told.push((steps, rule.to_owned()));
            }
        }
        self.looks.copy_from_slice(looks);
        told
    }

    fn tell_topics(&mut self, now: Timestamp, seconds: u64) {
        let rate = |sampled: u64| sampled * ONE_OF / seconds;
        let topics = std::mem::take(&mut self.topics);
        let noisy = topics.talkers.iter().filter(|one| rate(one.sure()) > NOISY_PER_SECOND);
        gauge!("faultgate_noisy_topics").set(noisy.count() as f64);
        let Some((topic, sampled)) = topics.loudest() else { return };
        let per_second = rate(sampled);
        let is_told = self.logged_at.is_some_and(|at| now.since(at) < NOISE_LOG_EVERY);
        if per_second > NOISY_PER_SECOND && !is_told {
            self.logged_at = Some(now);
            tracing::warn!(topic, per_second, "A topic has many messages; does it have to?");
        }
    }
}

/// The topics that speak most, in bounded memory ("space saving", Metwally et al. 2005): a new topic
/// takes the place of the quietest one, and its count. A topic with more than one message in
/// [`TOPICS_MAX`] is never missed.
#[derive(Debug, Default)]
struct Talkers {
    talkers: Vec<Talker>,
}

#[derive(Debug)]
struct Talker {
    topic: String,
    count: u64,
    /// How much of the count was another's.
    inherited: u64,
}

impl Talker {
    /// So many messages it had for sure.
    fn sure(&self) -> u64 {
        self.count - self.inherited
    }
}

impl Talkers {
    fn heard(&mut self, topic: &str) {
        if let Some(known) = self.talkers.iter_mut().find(|known| known.topic == topic) {
            known.count += 1;
        } else if self.talkers.len() < TOPICS_MAX {
            self.talkers.push(Talker { topic: topic.to_owned(), count: 1, inherited: 0 });
        } else if let Some(quietest) = self.talkers.iter_mut().min_by_key(|known| known.count) {
            topic.clone_into(&mut quietest.topic);
            quietest.inherited = quietest.count;
            quietest.count += 1;
        }
    }

    fn loudest(&self) -> Option<(&str, u64)> {
        let loudest = self.talkers.iter().max_by_key(|known| known.sure());
        loudest.map(|known| (known.topic.as_str(), known.sure()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::policy;
    use crate::engine::types::diagnostic::{Report, Source};
    use crate::engine::types::effect::Effects;
    use crate::engine::types::input::Input;
    use crate::engine::types::message::{Delivery, Message};
    use crate::service::cores;

    fn message(number: usize) -> Message {
        Message {
            source: 0,
            topic: format!("plant/sh-1/machine/m-{}/telemetry", number % 50),
            payload: format!("{{\"t\":{}}}", number % 7).into_bytes(),
            retain: false,
            delivery: Delivery::Once,
        }
    }

    #[test]
    fn a_rule_with_many_windows_is_the_dearest_on_one_core_and_on_more() {
        let windows: Vec<String> = (1..60).map(|n| format!("t.avg({n}h) > 99.0")).collect();
        let text = format!(
            "[[rule]]\nid = \"cheap\"\nwhen = \"t + 1 > 99.0\"\n\
             [[rule]]\nid = \"dear\"\nwhen = \"{}\"\n",
            windows.join(" || ")
        );
        let told = |cores: usize| {
            let settings = config::load(None, &Report::default()).expect("reads");
            let settings = settings.config.expect("defaults").settings().expect("settings");
            let source = Source { file: "r.toml".into(), text: text.clone() };
            let policy = policy::compile(&[source], &["desk"], &Report::default());
            let mut engine = Engine::new(settings, policy.expect("rules"), Timestamp::EPOCH);
            let mut load = Load::default();
            let mut effects = Effects::default();
            engine.step(Timestamp::EPOCH, Input::Tick, &mut effects);
            for batch in 0..4 {
                let messages = (batch * 200..(batch + 1) * 200).map(message).collect();
                cores::step(&mut engine, Timestamp::EPOCH, messages, cores, &mut effects);
            }
            load.dearest(&engine)
        };
        let one = told(1);
        let [(dear, first), (cheap, second)] = one.as_slice() else { panic!("{one:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("dear", "cheap"));
        assert!(*dear > 100 * cheap, "{one:?}");
        assert_eq!(told(2), one);
    }

    #[test]
    fn a_topic_that_speaks_a_tenth_of_all_is_found_among_thousands() {
        let mut talkers = Talkers::default();
        for number in 0..20_000 {
            if number % 10 == 3 {
                talkers.heard("plant/上海/pump/p-1/telemetry");
            } else {
                talkers.heard(&format!("plant/{}", number % 7_919));
            }
        }
        let (topic, count) = talkers.loudest().expect("one");
        assert_eq!(topic, "plant/上海/pump/p-1/telemetry");
        assert!((1_500..=2_000).contains(&count), "{count}");
        assert_eq!(talkers.talkers.len(), TOPICS_MAX);
    }

    #[test]
    fn none_of_thousands_that_speak_alike_seems_loud() {
        let mut talkers = Talkers::default();
        (0..20_000).for_each(|number| talkers.heard(&format!("plant/{}", number % 7_919)));
        let loudest = talkers.loudest().map(|(_, count)| count);
        assert!(loudest.is_some_and(|count| count < 10), "{loudest:?}");
    }
}
