//! What is no mistake in a rule file and yet cannot be meant: told as warnings.
//!
//! Looks at the texts alone, of files that were read and compiled without an error.

use std::collections::BTreeSet;
use std::ops::Range;

use super::cel::Outline;
use super::rule_file::within;
use crate::engine::types::diagnostic::{Report, Source, did_you_mean};
use crate::engine::types::document::{Located, OneOf, Place, Scalar, Table, read_document};
use crate::engine::types::rule::Mode;
use crate::engine::types::text::Bilingual;

/// Names that are given in a table, and where.
type Given = Vec<(Located<String>, Scalar)>;

/// The keys of a rule, or of `[defaults]`, that are looked at.
#[derive(Clone, Debug, Default)]
struct Texts {
    id: String,
    when: Option<Located<String>>,
    clear_when: Option<Located<String>>,
    params: Given,
    texts: Vec<Bilingual>,
    key: Vec<Located<String>>,
    off: Option<bool>,
}

/// Warns of rules that can never fire or return, of dead-bands of the wrong sign, of parameters
/// that nothing reads, and of metrics that no source yields. `yields` are the metrics of all
/// sources; `None` when one of them takes any name.
pub fn lint(sources: &[Source], yields: Option<&BTreeSet<String>>, report: &Report) {
    for source in sources {
        // Mistakes were told when the file was read.
        let unheard = Report::default();
        let place = Place { source, report };
        read_document(Place { source, report: &unheard }, |table| {
            let defaults = table.table("defaults", |entry| Some(read(entry))).unwrap_or_default();
            let rules = table.tables("rule", |entry| Some(read(entry)));
            let mut lint = Lint { place, yields, told: BTreeSet::new() };
            rules.iter().for_each(|rule| lint.rule(rule, &defaults));
            lint.unused_defaults(&rules, &defaults);
            Some(())
        });
    }
}

fn read(table: &Table<'_>) -> Texts {
    let params = table.table("params", |entry| {
        let given = entry.entries().into_iter();
        Some(given.filter_map(|(name, value)| Some((name, value.read()?))).collect())
    });
    Texts {
        id: table.or("id", String::new()),
        when: table.optional("when"),
        clear_when: table.optional("clear_when"),
        params: params.unwrap_or_default(),
        texts: ["title", "advice"].into_iter().filter_map(|key| table.optional(key)).collect(),
        key: table.or("key", Vec::new()),
        off: table.optional::<OneOf<Mode>>("mode").map(|OneOf(mode)| mode == Mode::Off),
    }
}

struct Lint<'a> {
    place: Place<'a>,
    yields: Option<&'a BTreeSet<String>>,
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
        let params = defaults.params.iter().chain(&rule.params);
        let params = params.map(|(name, value)| (name.value.clone(), value.clone())).collect();
        if rule.off.or(defaults.off) != Some(true) {
            let fits = "; or a device needs its own value of a parameter";
            let fits = if when.params().is_empty() { "" } else { fits };
            if let Some(why) = when.never(&params) {
                let message = format!("rule `{}` can never fire: {why}", rule.id);
                let hint = format!("mend the comparison, or set `mode = \"off\"`{fits}");
                self.warn(text.span.clone(), "never-fires", message, hint);
            } else if when.always(&params) {
                let message =
                    format!("rule `{}` always fires: its constants alone decide it", rule.id);
                let hint = format!("compare a metric with something{fits}");
                self.warn(text.span.clone(), "always-fires", message, hint);
            } else if let Some((clear_text, clear)) = &clear {
                self.band(rule, (text, &when), (clear_text, clear), &params);
            }
        }
        self.unused(rule, &when, clear.as_ref().map(|(_, clear)| clear), defaults);
        let conditions = [Some((text, &when)), clear.as_ref().map(|(text, clear)| (*text, clear))];
        for (text, outline) in conditions.into_iter().flatten() {
            for (metric, part) in outline.metrics() {
                self.metric(&rule.id, &metric, within(self.place.source, text, part));
            }
        }
        for metric in &rule.key {
            self.metric(&rule.id, &metric.value, metric.span.clone());
        }
    }

    fn band(
        &mut self,
        rule: &Texts,
        (_, when): (&Located<String>, &Outline),
        (text, clear): (&Located<String>, &Outline),
        params: &std::collections::BTreeMap<String, Scalar>,
    ) {
        let id = &rule.id;
        if let Some(why) = clear.never(params) {
            let message = format!("rule `{id}` can never return: {why}");
            let hint = "mend the comparison, or leave `clear_when` out; `latch = true` waits for an operator";
            self.warn(text.span.clone(), "never-returns", message, hint);
        } else if let Some((name, range)) = when.overlap(clear, params) {
            let message = format!(
                "rule `{id}`: while `{name}` is {range} both `when` and `clear_when` hold, so that \
                 the alarm returns although the fault is there"
            );
            let hint = "the return must lie on the other side: for `t > 80` it is `t < 75`, for `t < 5` it is `t > 7`";
            self.warn(text.span.clone(), "dead-band", message, hint);
        }
    }

    fn unused(&mut self, rule: &Texts, when: &Outline, clear: Option<&Outline>, defaults: &Texts) {
        let mut read = when.params();
        read.extend(clear.into_iter().flat_map(Outline::params));
        for (name, _) in &rule.params {
            let in_text = [rule, defaults].into_iter().any(|texts| names(texts, &name.value));
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
                    || names(texts, &name.value)
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
fn names(texts: &Texts, param: &str) -> bool {
    let shows = |text: &str| {
        text.split("params").skip(1).any(|rest| {
            let rest = rest.trim_start_matches(|c: char| !(c == '_' || c.is_alphanumeric()));
            let end = rest.find(|c: char| !(c == '_' || c.is_alphanumeric()));
            rest.split_at(end.unwrap_or(rest.len())).0 == param
        })
    };
    texts.texts.iter().any(|text| text.texts().any(shows))
}
