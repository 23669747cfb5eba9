//! Names in rule files that lead nowhere, stand twice, or are empty.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Texts};
use crate::engine::types::diagnostic::Report;
use crate::engine::types::document::{Located, Place, Scalar};
use crate::engine::types::message::Value;

/// Looks at the files of one set.
pub(super) fn lint(files: &[File<'_>], report: &Report) {
    let ids: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.rules).map(|rule| rule.id.as_str()).collect();
    let mut heirs: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files {
        let place = Place { source: file.source, report };
        for rule in &file.rules {
            renamed(rule, &ids, &mut heirs, place);
            twice(&rule.key, place, |metric| {
                format!("rule `{}` has the key `{metric}` twice", rule.id)
            });
        }
        twice(&file.defaults.key, place, |metric| {
            format!("`[defaults]` has the key `{metric}` twice")
        });
        twice(&file.tests, place, |name| format!("two tests are called `{name}`"));
        file.codes.iter().for_each(|(table, codes)| empty_codes(table, codes, place));
    }
}

/// A rule takes over from one that is gone, and is the only one to do so.
fn renamed<'a>(
    rule: &'a Texts,
    ids: &BTreeSet<&str>,
    heirs: &mut BTreeMap<&'a str, &'a str>,
    place: Place<'_>,
) {
    let Some(from) = &rule.renamed_from else { return };
    let (id, old) = (rule.id.as_str(), from.value.as_str());
    let other = heirs.get(old).copied();
    heirs.entry(old).or_insert(id);
    let (message, hint) = if old == id {
        (format!("rule `{id}` is renamed from itself"), "write the id that it had before")
    } else if ids.contains(old) {
        let message = format!("rule `{id}` is renamed from `{old}`, which is still there");
        (message, "nothing is taken over from it: leave `renamed_from` out, or remove the old rule")
    } else if let Some(other) = other {
        let message = format!("rules `{other}` and `{id}` are both renamed from `{old}`");
        (message, "one rule takes over from another: leave `renamed_from` out of one of them")
    } else {
        return;
    };
    place.warning(from.span.clone(), "renamed-from", message, hint);
}

fn twice(names: &[Located<String>], place: Place<'_>, message: impl Fn(&str) -> String) {
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|name| !seen.insert(name.value.as_str())) {
        let hint = "leave one of them out, or give it a name of its own";
        place.warning(name.span.clone(), "twice", message(&name.value), hint);
    }
}

/// Every code is then an unknown one, or one that no device sends.
fn empty_codes(table: &Located<String>, codes: &[Located<Scalar>], place: Place<'_>) {
    if codes.is_empty() {
        let message = format!("code table `{}` has no codes", table.value);
        let hint = "add `entries = [{ code = 1, class = \"elec.overcurrent\" }]`";
        place.warning(table.span.clone(), "empty", message, hint);
    }
    let is_empty = |code: &&Located<Scalar>| Value::from(&code.value).to_string().trim().is_empty();
    for code in codes.iter().filter(is_empty) {
        let message = format!("code table `{}` has an empty code", table.value);
        place.warning(code.span.clone(), "empty", message, "write the code as the device sends it");
    }
}
