//! What another set of rules means, rule by rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::detect::Rule;
use super::types::document::Scalar;
use super::types::rule::RuleSpec;

/// What happens to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It fires otherwise: its alarms are looked at anew when it is taken in.
    Firing,
    /// It says or routes otherwise: timers, acknowledgements and tickets go on.
    Texts,
}

/// One rule that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// Its id.
    pub rule: String,
    /// What happens to it.
    pub change: ChangeKind,
    /// The fields that differ; none for a rule that is new or gone.
    pub fields: Vec<FieldChange>,
}

/// A field that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its name in the file.
    pub field: &'static str,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}

/// Every rule that is not the same in both sets, in the order of their ids.
pub fn rule_changes(old: &[Arc<Rule>], new: &[Arc<Rule>]) -> Vec<RuleChange> {
    let mut both: BTreeMap<&str, [Option<&RuleSpec>; 2]> = BTreeMap::new();
    for (place, rules) in [old, new].into_iter().enumerate() {
        for rule in rules {
            both.entry(&rule.spec.id).or_default()[place] = Some(&rule.spec);
        }
    }
    let change = |(rule, specs): (&str, [Option<&RuleSpec>; 2])| {
        let (change, fields) = match specs {
            [None, None] => return None,
            [None, Some(_)] => (ChangeKind::Added, Vec::new()),
            [Some(_), None] => (ChangeKind::Removed, Vec::new()),
            [Some(old), Some(new)] if old == new => return None,
            [Some(old), Some(new)] if old.revision == new.revision => {
                (ChangeKind::Texts, changed_fields(old, new))
            }
            [Some(old), Some(new)] => (ChangeKind::Firing, changed_fields(old, new)),
        };
        Some(RuleChange { rule: rule.to_owned(), change, fields })
    };
    both.into_iter().filter_map(change).collect()
}

fn changed_fields(old: &RuleSpec, new: &RuleSpec) -> Vec<FieldChange> {
    let pairs = fields(old).into_iter().zip(fields(new));
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((field, old), (_, new))| FieldChange { field, old, new })
        .collect()
}

/// The fields as text, those that decide when it fires first.
fn fields(spec: &RuleSpec) -> Vec<(&'static str, String)> {
    let matched = spec.selector.patterns.iter();
    let matched = matched.map(|(name, glob)| format!("{name} = {glob}")).collect::<Vec<_>>();
    let params = spec.params.iter();
    let params =
        params.map(|(name, value)| format!("{name} = {}", as_text(value))).collect::<Vec<_>>();
    let texts = |text: &super::types::text::Bilingual| text.texts().collect::<Vec<_>>().join(" | ");
    // The entries are many: another hash says that some of them differ.
    let codes = spec.code_table.as_ref().map(|codes| {
        let hash = blake3::hash(format!("{:?}", codes.entries).as_bytes()).to_hex();
        let (name, entries) = (&codes.name, codes.entries.len());
        format!("{name}, {entries} codes ({})", hash.chars().take(8).collect::<String>())
    });
    let or_default = |name: &Option<String>| name.clone().unwrap_or_else(|| "default".to_owned());
    let group_wait = spec.ticket.group_wait.map(|wait| wait.to_string());
    vec![
        ("match", matched.join(", ")),
        ("when", spec.when.clone()),
        ("clear_when", spec.clear_when.clone().unwrap_or_else(|| "not `when`".to_owned())),
        ("on_delay", spec.on_delay.to_string()),
        ("off_delay", spec.off_delay.to_string()),
        ("occurrences", spec.occurrences.to_string()),
        ("occurrences_within", spec.occurrences_within.to_string()),
        ("stale_after", spec.stale_after.to_string()),
        ("key", spec.key.join(", ")),
        ("params", params.join(", ")),
        ("latch", spec.latch.to_string()),
        ("code_table", codes.unwrap_or_default()),
        ("renamed_from", spec.renamed_from.clone().unwrap_or_default()),
        ("on_remove", format!("{:?}", spec.on_remove).to_lowercase()),
        ("mode", format!("{:?}", spec.mode).to_lowercase()),
        ("severity", spec.severity.word().to_owned()),
        ("safety", spec.safety.to_string()),
        ("title", texts(&spec.title)),
        ("advice", texts(&spec.advice)),
        ("ticket.per", format!("{:?}", spec.ticket.per).to_lowercase()),
        ("ticket.group_wait", group_wait.unwrap_or_else(|| "default".to_owned())),
        ("ticket.group_interval", spec.ticket.group_interval.to_string()),
        ("ticket.reopen_within", spec.ticket.reopen_within.to_string()),
        ("ticket.verify_within", spec.ticket.verify_within.to_string()),
        ("ticket.recall_within", spec.ticket.recall_within.to_string()),
        ("ticket.upstream", or_default(&spec.ticket.upstream)),
        ("ticket.queue", or_default(&spec.ticket.queue)),
        ("ticket.ladder", spec.ticket.ladder.clone().unwrap_or_else(|| "none".to_owned())),
    ]
}

fn as_text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy;
    use crate::engine::types::diagnostic::{Report, Source};

    fn rules(text: &str) -> Vec<Arc<Rule>> {
        let source = Source { file: "r.toml".into(), text: text.into() };
        policy::compile(&[source], &["desk"], &Report::default()).expect("right").rules
    }

    #[test]
    fn a_change_of_a_threshold_is_told_apart_from_one_of_a_text() {
        let old = rules(
            "[[rule]]\nid = \"a\"\nwhen = \"t > params.high\"\nparams = { high = 1 }\n\
             [[rule]]\nid = \"b\"\nwhen = \"t > 1\"\ntitle = \"过热\"\n\
             [[rule]]\nid = \"c\"\nwhen = \"t > 1\"\n[[rule]]\nid = \"same\"\nwhen = \"t > 1\"\n",
        );
        let new = rules(
            "[[rule]]\nid = \"a\"\nwhen = \"t > params.high\"\nparams = { high = 2.5 }\n\
             [[rule]]\nid = \"b\"\nwhen = \"t > 1\"\ntitle = \"温度过高\"\n\
             [[rule]]\nid = \"d\"\nwhen = \"t > 1\"\n[[rule]]\nid = \"same\"\nwhen = \"t > 1\"\n",
        );
        let field = |field, old: &str, new: &str| {
            vec![FieldChange { field, old: old.into(), new: new.into() }]
        };
        let change = |rule: &str, change, fields| RuleChange { rule: rule.into(), change, fields };
        assert_eq!(
            rule_changes(&old, &new),
            [
                change("a", ChangeKind::Firing, field("params", "high = 1", "high = 2.5")),
                change("b", ChangeKind::Texts, field("title", "过热", "温度过高")),
                change("c", ChangeKind::Removed, vec![]),
                change("d", ChangeKind::Added, vec![]),
            ]
        );
    }
}
