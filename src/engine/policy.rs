//! Everything that operators write, compiled: rules and ladders of one set of files.
//!
//! A set with any error is refused whole; every error of every file is told at once.

mod money;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::detect::{self, Rule, RuleTest};
use super::escalate::{self, Ladder};
use super::guard::Budget;
use super::rating::ActivePlan;
use super::register::{self, Register};
use super::suppress::{self, Inhibit, Maintenance};
use super::ticket;
use super::types::code::CodeTable;
use super::types::diagnostic::{Report, Source, did_you_mean};
use super::types::document::{Located, Place, read_document};
use super::types::glob;
use super::types::names::{Metric, Names, RuleKind};
use super::types::text::Bilingual;

use money::Money;
pub use money::is_plan;

/// The newest version of the rule file format.
const SCHEMA: i64 = 1;

/// Rules about the gateway itself.
const OWN_RULES: &str = include_str!("own_rules.toml");
/// The rule that is raised while no messages can arrive from a source.
pub const PATH_LOST: &str = "path-lost";

/// Rules and ladders, ready to decide.
#[derive(Debug, Default)]
pub struct Policy {
    /// The rules, in the order of the files; those that the gateway brings itself come last.
    pub rules: Vec<Arc<Rule>>,
    /// How many of them stand in the operator's files.
    pub written: usize,
    /// The metrics that some rule reads: nothing else is kept.
    pub metrics: Names<Metric>,
    /// Names of the rules.
    pub rule_names: Names<RuleKind>,
    /// The ladders, by id.
    pub ladders: BTreeMap<String, Ladder>,
    /// The fault-code tables, by name.
    pub codes: BTreeMap<String, Arc<CodeTable>>,
    /// Which alarms suppress which.
    pub inhibits: Vec<Inhibit>,
    /// When alarms are suppressed.
    pub maintenance: Vec<Maintenance>,
    /// Devices that are known beforehand, and constants of rules for some of them.
    pub register: Register,
    /// The price plan that is in force.
    pub plan: Option<ActivePlan>,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// The tests of the rule files.
    pub tests: Vec<RuleTest>,
}

impl Policy {
    /// Where a rule stands in [`Policy::rules`].
    pub fn position(&self, id: &str) -> Option<usize> {
        let id = self.rule_names.find(id)?;
        self.rules.iter().position(|rule| rule.id == id)
    }

    /// A rule by its id.
    pub fn rule(&self, id: &str) -> Option<&Arc<Rule>> {
        self.rules.get(self.position(id)?)
    }

    /// The same rules with every change of their alarms told: noise is to be seen, not hidden.
    pub fn without_flapping(mut self) -> Policy {
        for rule in self.rules.iter_mut().filter_map(Arc::get_mut) {
            rule.spec.flapping.high = None;
        }
        self
    }
}

/// Compiles a set of files. `upstreams` are the names that rules may send tickets to; none where
/// they are not known.
/// `None` when `report` has errors.
pub fn compile(sources: &[Source], upstreams: &[&str], report: &Report) -> Option<Policy> {
    let mut policy = Policy::default();
    let mut drafts = Vec::new();
    let (mut inhibiting, mut entries) = (Vec::new(), Vec::new());
    let mut money = Money::default();
    for (index, source) in sources.iter().enumerate() {
        let place = Place { source, report };
        if is_plan(source) {
            money.read_plan(place);
            continue;
        }
        read_document(place, |table| {
            if let Some(schema) = table.optional::<i64>("schema")
                && schema != SCHEMA
            {
                let message = format!("this version reads schema {SCHEMA}, not {schema}");
                place.error(table.span(), "schema", message, "update faultgate");
            }
            for draft in detect::read_codes(table) {
                let name = draft.name.clone();
                check_templates(place, &format!("code table `{}`", name.value), &draft.texts);
                if policy.codes.insert(name.value.clone(), Arc::new(draft.table)).is_some() {
                    let message = format!("code table `{}` is there twice", name.value);
                    place.error(
                        name.span,
                        "duplicate-id",
                        message,
                        "names are unique over all files",
                    );
                }
            }
            for (inhibit, rules) in suppress::read_inhibits(table) {
                policy.inhibits.push(inhibit);
                inhibiting.extend(rules.into_iter().map(|rule| (source, rule)));
            }
            policy.maintenance.extend(suppress::read_maintenance(table));
            entries.push((source, register::read_entries(table)));
            for (id, ladder) in escalate::read_ladders(table) {
                if policy.ladders.insert(id.value.clone(), ladder).is_some() {
                    let message = format!("ladder `{}` is there twice", id.value);
                    place.error(id.span, "duplicate-id", message, "ids are unique over all files");
                }
            }
            drafts.extend(detect::read_rules(table, index));
            policy.tests.extend(detect::read_tests(table));
            money.read(table, index);
            Some(())
        });
    }
    (policy.plan, policy.budgets) = money.finish(sources, report);
    check_references(&drafts, sources, upstreams, &policy, report);
    compile_rules(&mut policy, drafts, sources, report);
    check_inhibiting(&policy, &inhibiting, report);
    for (source, entries) in entries {
        let place = Place { source, report };
        check_overrides(&policy, &entries, place);
        policy.register.add(entries, place);
    }
    check_tests(&policy, sources, report);
    (!report.has_errors()).then_some(policy)
}

/// Compiles the rules of the files, and those that the gateway brings itself where no file has one
/// of the same id.
fn compile_rules(
    policy: &mut Policy,
    drafts: Vec<detect::RuleDraft>,
    sources: &[Source],
    report: &Report,
) {
    let Policy { codes, metrics, rule_names, .. } = policy;
    let has_own = drafts.iter().any(|draft| draft.id.value == PATH_LOST);
    rule_names.intern(PATH_LOST);
    let mut rules = detect::compile(drafts, sources, report, codes, metrics, rule_names);
    policy.written = rules.len();
    if !has_own {
        let own = [Source { file: "own_rules.toml".to_owned(), text: OWN_RULES.to_owned() }];
        let drafts = own.iter().filter_map(|source| {
            read_document(Place { source, report }, |table| Some(detect::read_rules(table, 0)))
        });
        let drafts = drafts.flatten().collect();
        rules.extend(detect::compile(drafts, &own, report, codes, metrics, rule_names));
    }
    policy.rules = rules.into_iter().map(Arc::new).collect();
}

fn check_references(
    drafts: &[detect::RuleDraft],
    sources: &[Source],
    upstreams: &[&str],
    policy: &Policy,
    report: &Report,
) {
    let ladders: Vec<&str> = policy.ladders.keys().map(String::as_str).collect();
    let tables: Vec<&str> = policy.codes.keys().map(String::as_str).collect();
    for draft in drafts {
        let Some(source) = sources.get(draft.source) else {
            continue;
        };
        let place = Place { source, report };
        check_reference(place, "ladder", draft.ladder.as_ref(), &ladders);
        if !upstreams.is_empty() {
            check_reference(place, "upstream", draft.upstream.as_ref(), upstreams);
        }
        check_reference(place, "code table", draft.code_table.as_ref(), &tables);
        if let (Some(table), false) = (&draft.code_table, draft.has_key()) {
            let message = format!("rule `{}` has a code table but no key", draft.id.value);
            let hint = "name the metric that carries the code: `key = [\"code\"]`";
            place.error(table.span.clone(), "missing-key", message, hint);
        }
        check_templates(place, &format!("rule `{}`", draft.id.value), &draft.texts);
    }
}

/// Whatever a rule names must be there.
fn check_reference(place: Place<'_>, kind: &str, named: Option<&Located<String>>, known: &[&str]) {
    if let Some(named) = named.filter(|named| !known.contains(&named.value.as_str())) {
        let message = format!("there is no {kind} `{}`", named.value);
        let hint = did_you_mean(&named.value, known);
        place.error(named.span.clone(), "unknown-reference", message, hint);
    }
}

fn check_templates(place: Place<'_>, owner: &str, texts: &[Located<Bilingual>]) {
    for text in texts {
        for template in text.value.texts() {
            if let Err(fault) = ticket::check(template) {
                let message = format!("{owner}: template: {fault}");
                let hint = "for example \"Too warm: {{ temp_c }} °C\"";
                place.error(text.span.clone(), "template", message, hint);
            }
        }
    }
}

/// An inhibition that names a rule which is not there suppresses nothing, or nothing ever.
fn check_inhibiting(policy: &Policy, named: &[(&Source, Located<String>)], report: &Report) {
    let known: Vec<&str> = policy.rule_names.texts().collect();
    for (source, rule) in named {
        if !known.iter().any(|id| glob::matches(&rule.value, id)) {
            check_reference(Place { source, report }, "rule", Some(rule), &known);
        }
    }
}

/// Whatever a device or a class overrides must be a constant of a rule, and of its type.
fn check_overrides(policy: &Policy, entries: &register::Entries, place: Place<'_>) {
    let known: Vec<&str> = policy.rule_names.texts().collect();
    for (rule, name, value) in entries.overridden() {
        let named = |id: &str| rule.is_none_or(|rule| rule == id);
        let rules = policy.rules.iter().filter(|known| named(&known.spec.id));
        let constants: Vec<_> = rules.flat_map(|rule| &rule.spec.params).collect();
        if let Some(rule) = rule.filter(|rule| !known.contains(rule)) {
            let message = format!("there is no rule `{rule}`");
            let hint = did_you_mean(rule, &known);
            place.error(value.span.clone(), "unknown-reference", message, hint);
            continue;
        }
        let mut same_name = constants.iter().filter(|(known, _)| *known == name).peekable();
        if same_name.peek().is_none() {
            let names: BTreeSet<&str> = constants.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("no rule has a parameter `{name}`");
            let hint = did_you_mean(name, &names.into_iter().collect::<Vec<_>>());
            place.error(value.span.clone(), "unknown-param", message, hint);
        } else if let Some((_, own)) = same_name.find(|(_, own)| !own.is_like(&value.value)) {
            let message =
                format!("`{name}` is {} in the rule, but {} here", own.kind(), value.value.kind());
            place.error(value.span.clone(), "wrong-type", message, "write it as the rule does");
        }
    }
}

fn check_tests(policy: &Policy, sources: &[Source], report: &Report) {
    let known: Vec<&str> = policy.rule_names.texts().collect();
    for test in &policy.tests {
        let Some(source) = sources.iter().find(|source| source.file == test.file) else {
            continue;
        };
        for expected in &test.expect {
            if !known.contains(&expected.rule.value.as_str()) {
                let message =
                    format!("test `{}`: there is no rule `{}`", test.name, expected.rule.value);
                let hint = did_you_mean(&expected.rule.value, &known);
                report.error(
                    source,
                    expected.rule.span.clone(),
                    "unknown-reference",
                    message,
                    hint,
                );
            }
        }
    }
}
