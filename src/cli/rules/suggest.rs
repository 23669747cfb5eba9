//! `faultgate rules suggest`: changes that raise less and lose no fault that lasted, as diffs.

use std::path::PathBuf;
use std::process::ExitCode;

use device_sim::recording::Recording;
use serde_json::{Value as Json, json};
use similar::TextDiff;

use super::super::backtest::{play, read_plan, read_through};
use super::super::recordings::{self, Input};
use super::{Format, Globals};
use crate::config::rules::{self, RuleSet};
use crate::config::{Config, files};
use crate::engine::detect::{Rule, Threshold, amend};
use crate::engine::rating::Plan;
use crate::engine::types::diagnostic::Source;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::service::backtest::{Difference, Outcome};
use crate::service::suggest::{
    self, Candidate, Kept, Noise, NoiseMeter, Remedy, Spell, candidates, choose, noisiest, spells,
};

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// Rule files or folders, in place of those of the configuration
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Price plans
    #[arg(long, num_args = 1.., value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// A fault that lasted this long must still be raised
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = TimeSpan::parse)]
    lasting: TimeSpan,
    /// How many rules, those that raise most first
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    top: usize,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What to try, and on what.
pub struct Search<'a> {
    /// Recordings.
    pub input: &'a Input,
    /// Rule files or folders; none for those of the configuration.
    pub rules: &'a [PathBuf],
    /// Prices.
    pub plans: &'a [Plan],
    /// A fault that lasted this long must still be raised.
    pub lasting: TimeSpan,
}

/// What has come of it.
pub struct Found {
    old: Outcome,
    new: Outcome,
    /// The changes that were proved.
    pub proposals: Vec<Proposal>,
    /// Rules that nothing helps, and how often they were raised.
    left: Vec<(String, u64)>,
    /// What was read.
    pub recording: Recording,
}

/// The recording, and the rules as they are.
struct Trial<'a> {
    search: &'a Search<'a>,
    config: &'a Config,
    sources: Vec<Source>,
    old: Outcome,
}

/// A change that was proved.
pub struct Proposal {
    candidate: Candidate,
    file: String,
    /// The change of the file.
    pub diff: String,
    /// Alarms before and after.
    pub raised: [u64; 2],
    tickets: [u64; 2],
    spells: Vec<Spell>,
    kept: Kept,
}

/// Tries and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = super::config(globals)?;
    let plans = args.plan.iter().map(|path| read_plan(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let lasting = args.lasting;
    let search = Search { input: &args.input, rules: &args.rules, plans: &plans, lasting };
    let found = search.run(&config, |old| noisiest(old, args.top))?;
    match args.format {
        Format::Json => {
            println!("{}", serde_json::to_string_pretty(&as_json(lasting, &found))?);
        }
        Format::Text => print_text(lasting, &found),
    }
    let is_whole = recordings::tell_notes(&found.recording);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Search<'_> {
    /// Looks for changes of the rules that `noisy` names, with the alarms of each, by what the
    /// recording comes to under the rules as they are.
    pub fn run(
        &self,
        config: &Config,
        noisy: impl FnOnce(&Outcome) -> Vec<(String, u64)>,
    ) -> anyhow::Result<Found> {
        let paths = if self.rules.is_empty() { &config.gateway.rules } else { self.rules };
        let sources = files::read_all(&config.with_register(paths))?;
        let compile = || rules::compile(config, sources.clone()).map_err(|no| super::rendered(&no));
        let RuleSet { policy, .. } = compile()?;
        let known = compile()?.policy.rules;
        let (old, recording) = play(self.input, config, policy.without_flapping(), self.plans)?;
        let trial = Trial { search: self, config, sources, old };
        let noisy = noisy(&trial.old);
        let looked_at = known.iter().filter(|rule| noisy.iter().any(|(id, _)| *id == rule.spec.id));
        let looked_at: Vec<&Rule> = looked_at.map(|rule| &**rule).collect();
        let tried = trial.candidates(&looked_at)?;
        let chosen = trial.choose(&noisy, tried)?;
        let (new, chosen) = trial.prove(chosen)?;
        let proposals: Vec<Proposal> =
            chosen.into_iter().filter_map(|candidate| trial.proposal(candidate, &new)).collect();
        let proposed = |id: &str| proposals.iter().any(|proposal| proposal.candidate.rule == id);
        let left = noisy.into_iter().filter(|(id, _)| !proposed(id)).collect();
        Ok(Found { old: trial.old, new, proposals, left, recording })
    }
}

impl Proposal {
    /// The rule that is changed.
    pub fn rule(&self) -> &str {
        &self.candidate.rule
    }

    /// How many faults that lasted are still raised, and how much later at most.
    pub fn keeps(&self) -> (usize, TimeSpan) {
        (self.spells.len(), self.kept.latest())
    }

    /// With every field.
    pub fn as_json(&self) -> Json {
        let Proposal { candidate, file, diff, raised, tickets, spells, kept } = self;
        json!({
            "rule": candidate.rule, "file": file, "key": candidate.remedy.key(),
            "old": candidate.was, "new": candidate.value, "why": candidate.why, "diff": diff,
            "raised": raised, "tickets": tickets,
            "lasting": { "faults": spells.len(), "kept": kept.later.len(), "lost": kept.lost,
                         "latest": kept.latest() },
        })
    }
}

impl Trial<'_> {
    /// Every change that may help one of these rules and can be written into its file.
    fn candidates(&self, rules: &[&Rule]) -> anyhow::Result<Vec<Candidate>> {
        let thresholds: Vec<(&Rule, Threshold)> =
            rules.iter().filter_map(|rule| Some((*rule, suggest::threshold(rule)?))).collect();
        let specs: Vec<_> = self.config.sources.iter().map(|source| source.spec.clone()).collect();
        let mut meter = NoiseMeter::new(&specs, thresholds.iter().map(|(_, threshold)| threshold));
        read_through(self.search.input, self.config, |recorded| meter.hear(&recorded))?;
        let measured: Vec<Option<Noise>> = meter.measured();
        let noise_of = |rule: &Rule| {
            let found = thresholds.iter().zip(&measured).find(|((of, _), _)| of.id == rule.id);
            found.and_then(|((_, threshold), noise)| Some((threshold, (*noise)?)))
        };
        let all = rules
            .iter()
            .flat_map(|rule| candidates(rule, noise_of(rule), &self.old, self.search.lasting));
        let fits = |candidate: &Candidate| {
            let amended = self.amended([candidate]);
            amended.is_some_and(|sources| rules::compile(self.config, sources).is_ok())
        };
        Ok(all.filter(fits).collect())
    }

    /// The files with these changes; `None` where one cannot be written.
    fn amended<'c>(&self, changes: impl IntoIterator<Item = &'c Candidate>) -> Option<Vec<Source>> {
        let mut sources = self.sources.clone();
        for change in changes {
            let (key, value) = (change.remedy.key(), change.toml());
            let amended = sources.iter_mut().find_map(|source| {
                let text = amend(source, &change.rule, key, &value)?;
                Some((source, text))
            });
            let (source, text) = amended?;
            source.text = text;
        }
        Some(sources)
    }

    fn play<'c>(
        &self,
        changes: impl IntoIterator<Item = &'c Candidate>,
    ) -> anyhow::Result<Outcome> {
        let sources = self.amended(changes).unwrap_or_else(|| self.sources.clone());
        let set = rules::compile(self.config, sources).map_err(|no| super::rendered(&no))?;
        let policy = set.policy.without_flapping();
        Ok(play(self.search.input, self.config, policy, self.search.plans)?.0)
    }

    /// Tries the changes, those of a kind for all rules at once, and takes the best of each rule.
    fn choose(
        &self,
        noisy: &[(String, u64)],
        candidates: Vec<Candidate>,
    ) -> anyhow::Result<Vec<Candidate>> {
        let mut tried = Vec::new();
        for remedy in Remedy::ALL {
            let same: Vec<&Candidate> =
                candidates.iter().filter(|candidate| candidate.remedy == remedy).collect();
            if same.is_empty() {
                continue;
            }
            let outcome = self.play(same.iter().copied())?;
            for candidate in same {
                let raised = figures(&outcome, &candidate.rule).0;
                let kept = Kept::of(&self.lasting(&candidate.rule), &outcome.alarms);
                tried.push((candidate.clone(), raised, kept));
            }
        }
        let of_rule = |(id, before): &(String, u64)| {
            let own = tried.iter().filter(|(candidate, ..)| candidate.rule == *id);
            choose(*before, own.cloned().collect())
        };
        Ok(noisy.iter().filter_map(of_rule).collect())
    }

    /// Plays all changes together. One that loses a fault beside the others is dropped, and the
    /// rest is played again.
    fn prove(&self, mut chosen: Vec<Candidate>) -> anyhow::Result<(Outcome, Vec<Candidate>)> {
        loop {
            let new = self.play(&chosen)?;
            let before = chosen.len();
            chosen.retain(|candidate| {
                Kept::of(&self.lasting(&candidate.rule), &new.alarms).lost == 0
            });
            if chosen.len() == before {
                return Ok((new, chosen));
            }
        }
    }

    /// The faults of a rule that lasted, under the old rules.
    fn lasting(&self, rule: &str) -> Vec<Spell> {
        let end = self.old.input.to.unwrap_or(Timestamp::EPOCH);
        let lasting = self.search.lasting;
        let all = spells(&self.old.alarms, rule, lasting, end);
        all.into_iter().filter(|spell| spell.length() >= lasting).collect()
    }

    fn proposal(&self, candidate: Candidate, new: &Outcome) -> Option<Proposal> {
        let amended = self.amended([&candidate])?;
        let mut pairs = self.sources.iter().zip(&amended);
        let (before, after) = pairs.find(|(before, after)| before.text != after.text)?;
        let diff = TextDiff::from_lines(&before.text, &after.text);
        let diff = diff.unified_diff().header(&before.file, &before.file).to_string();
        let (old, now) = (figures(&self.old, &candidate.rule), figures(new, &candidate.rule));
        let spells = self.lasting(&candidate.rule);
        Some(Proposal {
            file: before.file.clone(),
            diff,
            raised: [old.0, now.0],
            tickets: [old.1, now.1],
            kept: Kept::of(&spells, &new.alarms),
            spells,
            candidate,
        })
    }
}

/// Alarms and tickets of a rule.
fn figures(outcome: &Outcome, rule: &str) -> (u64, u64) {
    outcome
        .figures()
        .find(|(id, ..)| *id == rule)
        .map_or((0, 0), |(_, raised, opened)| (raised, opened))
}

/// How often these rules were raised.
pub fn raised(outcome: &Outcome, rules: &[&str]) -> Vec<(String, u64)> {
    rules.iter().map(|rule| ((*rule).to_owned(), figures(outcome, rule).0)).collect()
}

fn as_json(lasting: TimeSpan, found: &Found) -> Json {
    let Found { old, new, proposals, left, .. } = found;
    let left = left.iter().map(|(rule, raised)| json!({ "rule": rule, "raised": raised }));
    json!({
        "input": old.input, "lasting": lasting,
        "suggestions": proposals.iter().map(Proposal::as_json).collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
        "together": Difference::between(old, new),
    })
}

fn print_text(lasting: TimeSpan, Found { old, new, proposals, left, .. }: &Found) {
    for Proposal { candidate, diff, raised, tickets, spells, kept, .. } in proposals {
        println!(
            "{}: {} -> {} alarms, {} -> {} tickets",
            candidate.rule, raised[0], raised[1], tickets[0], tickets[1]
        );
        println!("  {}", candidate.why);
        println!(
            "  of {} faults that lasted {lasting} or longer all are raised, at most {} later",
            spells.len(),
            kept.latest()
        );
        println!("{diff}");
    }
    for (rule, raised) in left {
        println!("{rule}: {raised} alarms; nothing helps that loses no fault");
    }
    if proposals.is_empty() {
        println!("nothing to propose");
    } else {
        super::super::backtest::print_difference(&Difference::between(old, new));
    }
}
