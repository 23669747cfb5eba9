//! What is no mistake in a rule file and yet cannot be meant: told as warnings.
//!
//! Looks at the texts alone, of files that were read and compiled without an error.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::cel::{Outline, Setting};
use super::rule_file::within;
use crate::engine::types::diagnostic::{Report, Source, did_you_mean};
use crate::engine::types::document::{Located, OneOf, Place, Scalar, Table, read_document};
use crate::engine::types::rule::Mode;
use crate::engine::types::selector::Selector;
use crate::engine::types::text::Bilingual;
use crate::engine::types::time::TimeSpan;

/// Names that are given in a table, and where.
type Given = Vec<(Located<String>, Scalar)>;

/// What is looked at in a file.
struct File<'a> {
    source: &'a Source,
    defaults: Texts,
    rules: Vec<Texts>,
    tests: Vec<Located<String>>,
    /// Names of the code tables, and their codes.
    codes: Vec<(Located<String>, Vec<Located<Scalar>>)>,
}

/// The keys of a rule, or of `[defaults]`, that are looked at.
#[derive(Clone, Debug, Default)]
struct Texts {
    id: String,
    selector: Option<Selector>,
    when: Option<Located<String>>,
    clear_when: Option<Located<String>>,
    on_delay: Option<TimeSpan>,
    off_delay: Option<TimeSpan>,
    occurrences: Option<u32>,
    occurrences_within: Option<Located<TimeSpan>>,
    stale_after: Option<TimeSpan>,
    params: Given,
    texts: Vec<Bilingual>,
    key: Vec<Located<String>>,
    off: Option<bool>,
    renamed_from: Option<Located<String>>,
}

impl Texts {
    fn is_off(&self, defaults: &Texts) -> bool {
        self.off.or(defaults.off) == Some(true)
    }
}

/// Warns of what is accepted and cannot be meant: rules that can never fire or return, dead-bands
/// of the wrong sign, names that lead nowhere, what is there twice. `yields` are the metrics of all
/// sources; `None` when one of them takes any name.
pub fn lint(sources: &[Source], yields: Option<&BTreeSet<String>>, report: &Report) {
    let files: Vec<File<'_>> = sources.iter().filter_map(read).collect();
    let off = files.iter().flat_map(|file| {
        let off = file.rules.iter().filter(|rule| rule.is_off(&file.defaults));
        off.map(|rule| rule.id.clone())
    });
    let off = off.collect();
    for File { source, defaults, rules, .. } in &files {
        let place = Place { source, report };
        let mut lint = Lint { place, yields, off: &off, told: BTreeSet::new() };
        rules.iter().for_each(|rule| lint.rule(rule, defaults));
        lint.unused_defaults(rules, defaults);
    }
    names::lint(&files, report);
}

fn read(source: &Source) -> Option<File<'_>> {
    // Mistakes were told when the file was read.
    let unheard = Report::default();
    read_document(Place { source, report: &unheard }, |table| {
        Some(File {
            source,
            defaults: table.table("defaults", |entry| Some(texts(entry))).unwrap_or_default(),
            rules: table.tables("rule", |entry| Some(texts(entry))),
            tests: table.tables("test", |entry| entry.optional("name")),
            codes: table.tables("codes", |entry| {
                let codes = entry.tables("entries", |entry| entry.optional("code"));
                Some((entry.optional("table")?, codes))
            }),
        })
    })
}

fn texts(table: &Table<'_>) -> Texts {
    let params = table.table("params", |entry| {
        let given = entry.entries().into_iter();
        Some(given.filter_map(|(name, value)| Some((name, value.read()?))).collect())
    });
    Texts {
        id: table.or("id", String::new()),
        selector: table.table("match", |entry| Some(Selector::read(entry, &[]))),
        when: table.optional("when"),
        clear_when: table.optional("clear_when"),
        on_delay: table.optional("on_delay"),
        off_delay: table.optional("off_delay"),
        occurrences: table.optional("occurrences"),
        occurrences_within: table.optional("occurrences_within"),
        stale_after: table.optional("stale_after"),
        params: params.unwrap_or_default(),
        texts: ["title", "advice"].into_iter().filter_map(|key| table.optional(key)).collect(),
        key: table.or("key", Vec::new()),
        off: table.optional::<OneOf<Mode>>("mode").map(|OneOf(mode)| mode == Mode::Off),
        renamed_from: table.optional("renamed_from"),
    }
}

struct Lint<'a> {
    place: Place<'a>,
    yields: Option<&'a BTreeSet<String>>,
    /// Rules that are off.
    off: &'a BTreeSet<String>,
    /// What stands in `[defaults]` is told once.
    told: BTreeSet<(usize, &'static str)>,
}

impl Lint<'_> {
    fn rule(&mut self, rule: &Texts, defaults: &Texts) {
        let when = rule.when.as_ref().or(defaults.when.as_ref());
        let Some((text, when)) = when.and_then(|text| Some((text, Outline::of(&text.value)?)))
        else {
            return;
        };
        let clear = rule.clear_when.as_ref().or(defaults.clear_when.as_ref());
        let clear = clear.and_then(|text| Some((text, Outline::of(&text.value)?)));
        let conditions = || {
            let clear = clear.as_ref().map(|(text, clear)| (*text, clear));
            [Some((text, &when)), clear].into_iter().flatten()
        };
        if !rule.is_off(defaults) {
            let clear = clear.as_ref().map(|(text, clear)| (*text, clear));
            self.reach(rule, defaults, (text, &when), clear);
            self.occurrences(rule, defaults);
            for (text, outline) in conditions() {
                self.asked(&rule.id, text, outline);
            }
        }
        self.unused(rule, &when, clear.as_ref().map(|(_, clear)| clear), defaults);
        for (text, outline) in conditions() {
            for (metric, part) in outline.metrics() {
                self.metric(&rule.id, &metric, within(self.place.source, text, part));
            }
        }
        for metric in &rule.key {
            self.metric(&rule.id, &metric.value, metric.span.clone());
        }
    }

    /// Whether its conditions can hold at all, and where both do.
    fn reach(
        &mut self,
        rule: &Texts,
        defaults: &Texts,
        (text, when): (&Located<String>, &Outline),
        clear: Option<(&Located<String>, &Outline)>,
    ) {
        let params = defaults.params.iter().chain(&rule.params);
        let params: BTreeMap<String, Scalar> =
            params.map(|(name, value)| (name.value.clone(), value.clone())).collect();
        let selector = rule.selector.as_ref().or(defaults.selector.as_ref());
        let setting = Setting {
            params: &params,
            selector: selector.map_or(&[], |selector| selector.patterns.as_slice()),
            off: self.off,
            stale_after: rule
                .stale_after
                .or(defaults.stale_after)
                .unwrap_or(TimeSpan::from_secs(3_600)),
            delay: rule.on_delay.or(defaults.on_delay).unwrap_or(TimeSpan::ZERO),
        };
        let fits = "; or a device needs its own value of a parameter";
        let fits = if when.params().is_empty() { "" } else { fits };
        if let Some(why) = when.never(&setting) {
            let message = format!("rule `{}` can never fire: {why}", rule.id);
            let hint = format!("mend the condition, or set `mode = \"off\"`{fits}");
            self.warn(text.span.clone(), "never-fires", message, hint);
        } else if when.always(&setting) {
            let message = format!("rule `{}` always fires: its constants alone decide it", rule.id);
            let hint = format!("compare a metric with something{fits}");
            self.warn(text.span.clone(), "always-fires", message, hint);
        } else if let Some(clear) = clear {
            let delay = rule.off_delay.or(defaults.off_delay).unwrap_or(TimeSpan::ZERO);
            self.band(rule, when, clear, &Setting { delay, ..setting });
        }
    }

    fn band(
        &mut self,
        rule: &Texts,
        when: &Outline,
        (text, clear): (&Located<String>, &Outline),
        setting: &Setting<'_>,
    ) {
        let id = &rule.id;
        if let Some(why) = clear.never(setting) {
            let message = format!("rule `{id}` can never return: {why}");
            let hint = "mend the comparison, or leave `clear_when` out; `latch = true` waits for an operator";
            self.warn(text.span.clone(), "never-returns", message, hint);
        } else if let Some((name, range)) = when.overlap(clear, setting) {
            let message = format!(
                "rule `{id}`: while `{name}` is {range} both `when` and `clear_when` hold, so that \
                 the alarm returns although the fault is there"
            );
            let hint = "the return must lie on the other side: for `t > 80` it is `t < 75`, for `t < 5` it is `t > 7`";
            self.warn(text.span.clone(), "dead-band", message, hint);
        }
    }

    /// No two rises are at the same instant.
    fn occurrences(&mut self, rule: &Texts, defaults: &Texts) {
        let count = rule.occurrences.or(defaults.occurrences).unwrap_or(1);
        let within = rule.occurrences_within.as_ref().or(defaults.occurrences_within.as_ref());
        if let Some(within) = within.filter(|within| within.value == TimeSpan::ZERO && count > 1) {
            let message =
                format!("rule `{}` can never fire: {count} rises are not within 0s", rule.id);
            let hint = "give `occurrences_within` a length, for example \"1h\"";
            self.warn(within.span.clone(), "never-fires", message, hint);
        }
    }

    /// Whether the rules that a condition asks about ever raise an alarm.
    fn asked(&mut self, rule: &str, text: &Located<String>, outline: &Outline) {
        for (asked, part) in outline.asked().into_iter().filter(|(id, _)| self.off.contains(*id)) {
            let message = format!("rule `{rule}` asks for alarms of rule `{asked}`, which is off");
            let hint = "`mode = \"shadow\"` raises alarms that open nothing";
            self.warn(within(self.place.source, text, part), "asks-off", message, hint);
        }
    }

    fn unused(&mut self, rule: &Texts, when: &Outline, clear: Option<&Outline>, defaults: &Texts) {
        let mut read = when.params();
        read.extend(clear.into_iter().flat_map(Outline::params));
        for (name, _) in &rule.params {
            let in_text = [rule, defaults].into_iter().any(|texts| shows_param(texts, &name.value));
            if !read.contains(name.value.as_str()) && !in_text {
                let message = format!(
                    "rule `{}` never reads its parameter `{name}`",
                    rule.id,
                    name = name.value
                );
                let hint =
                    format!("use `params.{}` in a condition or a text, or remove it", name.value);
                self.warn(name.span.clone(), "unused-param", message, hint);
            }
        }
    }

    /// Parameters of `[defaults]` that no rule of the file reads.
    fn unused_defaults(&mut self, rules: &[Texts], defaults: &Texts) {
        for (name, _) in &defaults.params {
            let reads = |texts: &Texts| {
                let conditions = [&texts.when, &texts.clear_when].into_iter().flatten();
                let mut outlines = conditions.filter_map(|text| Outline::of(&text.value));
                outlines.any(|outline| outline.params().contains(name.value.as_str()))
                    || shows_param(texts, &name.value)
            };
            if !rules.iter().chain([defaults]).any(reads) {
                let message = format!("no rule of this file reads the parameter `{}`", name.value);
                let hint =
                    format!("use `params.{}` in a condition or a text, or remove it", name.value);
                self.warn(name.span.clone(), "unused-param", message, hint);
            }
        }
    }

    fn metric(&mut self, rule: &str, metric: &str, span: Range<usize>) {
        let Some(yields) = self.yields.filter(|yields| !yields.contains(metric)) else { return };
        let message = format!("rule `{rule}` reads `{metric}`, which no source yields");
        let known: Vec<&str> = yields.iter().map(String::as_str).collect();
        let hint = format!("map it in a `[[source]]`; {}", did_you_mean(metric, &known));
        self.warn(span, "unheard-metric", message, hint);
    }

    fn warn(
        &mut self,
        span: Range<usize>,
        code: &'static str,
        message: String,
        hint: impl Into<String>,
    ) {
        if self.told.insert((span.start, code)) {
            self.place.warning(span, code, message, hint);
        }
    }
}

/// True when a text shows the parameter.
fn shows_param(texts: &Texts, param: &str) -> bool {
    let shows = |text: &str| {
        text.split("params").skip(1).any(|rest| {
            let rest = rest.trim_start_matches(|c: char| !(c == '_' || c.is_alphanumeric()));
            let end = rest.find(|c: char| !(c == '_' || c.is_alphanumeric()));
            rest.split_at(end.unwrap_or(rest.len())).0 == param
        })
    };
    texts.texts.iter().any(|text| text.texts().any(shows))
}
