//! Rule files: `[defaults]` and `[[rule]]`, read with every mistake told at its place.
//!
//! Reading goes in two steps, since `raised("id")` may name a rule of any file: [`read_rules`]
//! reads every file into drafts, [`compile`] then compiles the conditions of all of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Rule;
use super::cel::{CompileScope, Condition, Fault};
use super::ticket_keys::{TicketKeys, read_flapping, read_ticket};
use crate::engine::types::code::CodeTable;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Located, OneOf, Place, Scalar, Table};
use crate::engine::types::names::{Metric, Names, RuleKind};
use crate::engine::types::rule::{FlapLimits, Mode, OnRemove, RuleSpec};
use crate::engine::types::selector::Selector;
use crate::engine::types::severity::Severity;
use crate::engine::types::text::Bilingual;
use crate::engine::types::time::TimeSpan;

/// Longest rule id, in characters.
const ID_CHARS_MAX: usize = 64;
/// Most rising edges that a rule may count.
const OCCURRENCES_MAX: u32 = 1_000;

/// A rule as it stands in a file, its conditions still text.
#[derive(Clone, Debug)]
pub struct RuleDraft {
    /// Which of the sources it came from.
    pub source: usize,
    /// Its id.
    pub id: Located<String>,
    /// The ladder that it names, for the check that it exists.
    pub ladder: Option<Located<String>>,
    /// The upstream that it names.
    pub upstream: Option<Located<String>>,
    /// The code table that it names.
    pub code_table: Option<Located<String>>,
    /// Its texts, for the check of the templates.
    pub texts: Vec<Located<Bilingual>>,
    when: Located<String>,
    clear_when: Option<Located<String>>,
    spec: RuleSpec,
}

impl RuleDraft {
    /// True when its alarms are told apart by some metric.
    pub fn has_key(&self) -> bool {
        !self.spec.key.is_empty()
    }
}

/// Reads `[defaults]` and every `[[rule]]` of one file.
pub fn read_rules(table: &Table<'_>, source: usize) -> Vec<RuleDraft> {
    let defaults = table.table("defaults", |entry| Some(read_keys(entry))).unwrap_or_default();
    table.tables("rule", |entry| read_rule(entry, source, &defaults))
}

/// Compiles the drafts of all files. Rules with the same id, and conditions that do not compile,
/// are told and left out.
pub fn compile(
    drafts: Vec<RuleDraft>,
    sources: &[Source],
    report: &Report,
    codes: &BTreeMap<String, Arc<CodeTable>>,
    metrics: &mut Names<Metric>,
    rules: &mut Names<RuleKind>,
) -> Vec<Rule> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut unique = Vec::new();
    for draft in drafts {
        let Some(source) = sources.get(draft.source) else {
            continue;
        };
        rules.intern(&draft.id.value);
        match first.get(&draft.id.value) {
            Some(file) => {
                let message =
                    format!("rule `{}` is there twice; the first is in {file}", draft.id.value);
                let hint = "ids are unique over all files";
                report.error(source, draft.id.span, "duplicate-id", message, hint);
            }
            None => {
                first.insert(draft.id.value.clone(), source.file.clone());
                unique.push((draft, source));
            }
        }
    }
    unique
        .into_iter()
        .filter_map(|(mut draft, source)| {
            let table = draft.code_table.as_ref().and_then(|table| codes.get(&table.value));
            draft.spec.code_table = table.cloned();
            let place = Place { source, report };
            let mut scope = CompileScope { metrics, rules, params: &draft.spec.params };
            let when = condition(&draft.when, place, &draft.id.value, &mut scope);
            let clear_when = draft
                .clear_when
                .as_ref()
                .map(|text| condition(text, place, &draft.id.value, &mut scope));
            let clear_when = match clear_when {
                Some(None) => return None,
                Some(Some(condition)) => Some(condition),
                None => None,
            };
            let key = draft.spec.key.iter().map(|metric| metrics.intern(metric)).collect();
            let id = rules.intern(&draft.id.value);
            Some(Rule { id, key, spec: draft.spec, when: when?, clear_when })
        })
        .collect()
}

fn condition(
    text: &Located<String>,
    place: Place<'_>,
    rule: &str,
    scope: &mut CompileScope<'_>,
) -> Option<Condition> {
    match Condition::compile(&text.value, scope) {
        Ok(condition) => Some(condition),
        Err(faults) => {
            for Fault { span, code, message, hint } in faults {
                let span = within(place.source, text, span);
                place.error(span, code, format!("rule `{rule}`: {message}"), hint);
            }
            None
        }
    }
}

/// Where a part of a text value stands in the file: exact unless the text is written with escapes.
pub(super) fn within(source: &Source, text: &Located<String>, part: Range<usize>) -> Range<usize> {
    let raw = source.text.get(text.span.clone()).unwrap_or("");
    match raw.find(text.value.as_str()) {
        Some(quotes) => {
            let start = text.span.start + quotes;
            start + part.start..start + part.end
        }
        None => text.span.clone(),
    }
}

/// The keys that may stand in `[defaults]` as well as in a rule.
#[derive(Clone, Debug, Default)]
struct Keys {
    selector: Option<Selector>,
    key: Option<Vec<String>>,
    code_table: Option<Located<String>>,
    when: Option<Located<String>>,
    clear_when: Option<Located<String>>,
    on_delay: Option<TimeSpan>,
    off_delay: Option<TimeSpan>,
    occurrences: Option<Located<u32>>,
    occurrences_within: Option<TimeSpan>,
    stale_after: Option<TimeSpan>,
    severity: Option<Severity>,
    safety: Option<bool>,
    latch: Option<bool>,
    flapping: Option<FlapLimits>,
    params: Option<BTreeMap<String, Scalar>>,
    mode: Option<Mode>,
    on_remove: Option<OnRemove>,
    title: Option<Located<Bilingual>>,
    advice: Option<Located<Bilingual>>,
    ticket: TicketKeys,
}

fn read_keys(table: &Table<'_>) -> Keys {
    Keys {
        selector: table.table("match", |entry| Some(Selector::read(entry, &[]))),
        key: table.optional("key"),
        code_table: table.optional("code_table"),
        when: table.optional("when"),
        clear_when: table.optional("clear_when"),
        on_delay: table.optional("on_delay"),
        off_delay: table.optional("off_delay"),
        occurrences: table.optional("occurrences"),
        occurrences_within: table.optional("occurrences_within"),
        stale_after: table.optional("stale_after"),
        severity: table.optional("severity").map(|OneOf(severity)| severity),
        safety: table.optional("safety"),
        latch: table.optional("latch"),
        flapping: table.table("flapping", read_flapping),
        params: table.table("params", |entry| Some(read_params(entry))),
        mode: table.optional("mode").map(|OneOf(mode)| mode),
        on_remove: table.optional("on_remove").map(|OneOf(on_remove)| on_remove),
        title: table.optional("title"),
        advice: table.optional("advice"),
        ticket: table.table("ticket", |entry| Some(read_ticket(entry))).unwrap_or_default(),
    }
}

fn read_params(table: &Table<'_>) -> BTreeMap<String, Scalar> {
    table
        .entries()
        .into_iter()
        .filter_map(|(name, entry)| Some((name.value, entry.read()?)))
        .collect()
}

fn read_rule(table: &Table<'_>, source: usize, defaults: &Keys) -> Option<RuleDraft> {
    let id = table.required::<Located<String>>("id").filter(|id| check_id(table, id));
    let own = read_keys(table);
    let when = own.when.or_else(|| defaults.when.clone());
    if when.is_none() && !table.has("when") {
        let message = "the rule has no condition";
        table.place().error(table.span(), "missing-key", message, "add `when = \"temp_c > 80\"`");
    }
    let id = id?;
    let occurrences = own.occurrences.or_else(|| defaults.occurrences.clone());
    let occurrences = check_occurrences(table, occurrences);
    let when = when?;
    let clear_when = own.clear_when.or_else(|| defaults.clear_when.clone());
    let title = own.title.or_else(|| defaults.title.clone());
    let advice = own.advice.or_else(|| defaults.advice.clone());
    let ticket = own.ticket.over(&defaults.ticket);
    let code_table = own.code_table.or_else(|| defaults.code_table.clone());
    let mut params = defaults.params.clone().unwrap_or_default();
    params.extend(own.params.unwrap_or_default());
    let mut spec = RuleSpec {
        selector: own.selector.or_else(|| defaults.selector.clone()).unwrap_or_default(),
        key: own.key.or_else(|| defaults.key.clone()).unwrap_or_default(),
        when: when.value.clone(),
        clear_when: clear_when.as_ref().map(|text| text.value.clone()),
        on_delay: own.on_delay.or(defaults.on_delay).unwrap_or(TimeSpan::ZERO),
        off_delay: own.off_delay.or(defaults.off_delay).unwrap_or(TimeSpan::ZERO),
        occurrences,
        occurrences_within: own
            .occurrences_within
            .or(defaults.occurrences_within)
            .unwrap_or(TimeSpan::from_secs(3_600)),
        stale_after: own.stale_after.or(defaults.stale_after).unwrap_or(TimeSpan::from_secs(3_600)),
        severity: own.severity.or(defaults.severity).unwrap_or(Severity::Major),
        safety: own.safety.or(defaults.safety).unwrap_or(false),
        latch: own.latch.or(defaults.latch).unwrap_or(false),
        flapping: own.flapping.or(defaults.flapping).unwrap_or_default(),
        params,
        mode: own.mode.or(defaults.mode).unwrap_or_default(),
        on_remove: own.on_remove.or(defaults.on_remove).unwrap_or_default(),
        renamed_from: table.optional("renamed_from"),
        title: title.clone().map_or_else(
            || Bilingual::new(id.value.clone(), id.value.clone()),
            |title| title.value,
        ),
        advice: advice.clone().map_or_else(Bilingual::default, |advice| advice.value),
        ticket: ticket.policy(),
        code_table: None,
        code: None,
        revision: String::new(),
        id: id.value.clone(),
    };
    spec.revision = revision(&spec);
    let texts = title.into_iter().chain(advice).collect();
    Some(RuleDraft {
        source,
        id,
        ladder: ticket.ladder,
        upstream: ticket.upstream,
        code_table,
        texts,
        when,
        clear_when,
        spec,
    })
}

fn check_id(table: &Table<'_>, id: &Located<String>) -> bool {
    let right = !id.value.is_empty()
        && id.value.chars().count() <= ID_CHARS_MAX
        && id.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !right {
        let message = format!("`{}` is not a rule id", id.value);
        let hint = format!("use a-z, 0-9 and -, at most {ID_CHARS_MAX}; texts go into `title`");
        table.place().error(id.span.clone(), "wrong-value", message, hint);
    }
    right
}

fn check_occurrences(table: &Table<'_>, occurrences: Option<Located<u32>>) -> u32 {
    match occurrences {
        Some(count) if count.value == 0 || count.value > OCCURRENCES_MAX => {
            let message = format!("`occurrences` must be from 1 to {OCCURRENCES_MAX}");
            table.place().error(count.span, "out-of-range", message, "");
            1
        }
        Some(count) => count.value,
        None => 1,
    }
}

/// A rule with other constants.
pub(super) fn with_params(spec: &RuleSpec, params: BTreeMap<String, Scalar>) -> RuleSpec {
    let mut spec = RuleSpec { params, ..spec.clone() };
    spec.revision = revision(&spec);
    spec
}

/// Hash of the fields that decide when a rule fires: editing anything else keeps every timer.
fn revision(spec: &RuleSpec) -> String {
    let fields = format!(
        "{:?}\u{1f}{:?}\u{1f}{}\u{1f}{:?}\u{1f}{}\u{1f}{}\u{1f}{}\u{1f}{}\u{1f}{:?}\u{1f}{}\u{1f}{}",
        spec.selector,
        spec.key,
        spec.when,
        spec.clear_when,
        spec.on_delay,
        spec.off_delay,
        spec.occurrences,
        spec.occurrences_within,
        spec.params,
        spec.stale_after,
        spec.latch,
    );
    blake3::hash(fields.as_bytes()).to_hex().chars().take(16).collect()
}
