//! Everything that operators write, compiled: rules and ladders of one set of files.
//!
//! A set with any error is refused whole; every error of every file is told at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::detect::{self, Rule, RuleTest};
use super::escalate::{self, Ladder};
use super::ticket;
use super::types::code::CodeTable;
use super::types::diagnostic::{Report, Source, did_you_mean};
use super::types::document::{Located, Place, read_document};
use super::types::names::{Metric, Names, RuleKind};
use super::types::text::Bilingual;

/// The newest version of the rule file format.
const SCHEMA: i64 = 1;

/// Rules and ladders, ready to decide.
#[derive(Debug, Default)]
pub struct Policy {
    /// The rules, in the order of the files.
    pub rules: Vec<Arc<Rule>>,
    /// The metrics that some rule reads: nothing else is kept.
    pub metrics: Names<Metric>,
    /// Names of the rules.
    pub rule_names: Names<RuleKind>,
    /// The ladders, by id.
    pub ladders: BTreeMap<String, Ladder>,
    /// The fault-code tables, by name.
    pub codes: BTreeMap<String, Arc<CodeTable>>,
    /// The tests of the rule files.
    pub tests: Vec<RuleTest>,
}

/// Compiles a set of files. `upstreams` are the names that rules may send tickets to.
/// `None` when `report` has errors.
pub fn compile(sources: &[Source], upstreams: &[&str], report: &Report) -> Option<Policy> {
    let mut policy = Policy::default();
    let mut drafts = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let place = Place { source, report };
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
            for (key, instead) in [
                ("inhibit", "use `raised(\"other-rule\")` in the condition"),
                ("maintenance", "set `mode = \"shadow\"` for that time"),
            ] {
                table.not_built(key, instead);
            }
            for (id, ladder) in escalate::read_ladders(table) {
                if policy.ladders.insert(id.value.clone(), ladder).is_some() {
                    let message = format!("ladder `{}` is there twice", id.value);
                    place.error(id.span, "duplicate-id", message, "ids are unique over all files");
                }
            }
            drafts.extend(detect::read_rules(table, index));
            policy.tests.extend(detect::read_tests(table));
            Some(())
        });
    }
    check_references(&drafts, sources, upstreams, &policy, report);
    let Policy { codes, metrics, rule_names, .. } = &mut policy;
    let rules = detect::compile(drafts, sources, report, codes, metrics, rule_names);
    policy.rules = rules.into_iter().map(Arc::new).collect();
    check_tests(&policy, sources, report);
    (!report.has_errors()).then_some(policy)
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
        check_reference(place, "upstream", draft.upstream.as_ref(), upstreams);
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
