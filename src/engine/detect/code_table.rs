//! `[[codes]]`: fault-code tables of rule files.

use std::collections::BTreeMap;

use crate::engine::types::code::{CodeEntry, CodeTable};
use crate::engine::types::document::{Located, OneOf, Scalar, Table};
use crate::engine::types::message::Value;
use crate::engine::types::text::Bilingual;

/// Most codes of one table.
const ENTRIES_MAX: usize = 10_000;

/// A table as it stands in a file.
#[derive(Clone, Debug)]
pub struct CodeTableDraft {
    /// Its name.
    pub name: Located<String>,
    /// Its texts, for the check of the templates.
    pub texts: Vec<Located<Bilingual>>,
    /// What is in it.
    pub table: CodeTable,
}

/// Reads every `[[codes]]` of one file.
pub fn read_codes(table: &Table<'_>) -> Vec<CodeTableDraft> {
    table.tables("codes", read_table)
}

fn read_table(table: &Table<'_>) -> Option<CodeTableDraft> {
    let name = table.required::<Located<String>>("table");
    let source = table.required::<String>("source");
    let mut texts = Vec::new();
    let mut entries: BTreeMap<String, CodeEntry> = BTreeMap::new();
    for (code, entry) in table.tables("entries", |entry| read_entry(entry, &mut texts)) {
        if entries.len() >= ENTRIES_MAX {
            let message = format!("a table has at most {ENTRIES_MAX} codes");
            table.place().error(code.span, "too-many", message, "split it by model");
            break;
        }
        if entries.insert(code.value.clone(), entry).is_some() {
            let message = format!("code `{}` is there twice", code.value);
            let hint = "a code has one entry; codes of another model go into a table of their own";
            table.place().error(code.span, "duplicate-id", message, hint);
        }
    }
    let name = name?;
    let table = CodeTable { name: name.value.clone(), source: source?, entries };
    Some(CodeTableDraft { name, texts, table })
}

fn read_entry(
    table: &Table<'_>,
    texts: &mut Vec<Located<Bilingual>>,
) -> Option<(Located<String>, CodeEntry)> {
    let code = table.required::<Located<Scalar>>("code");
    let class =
        table.required::<Located<String>>("class").filter(|class| check_class(table, class));
    let title = table.optional::<Located<Bilingual>>("title");
    let advice = table.optional::<Located<Bilingual>>("advice");
    let entry = CodeEntry {
        severity: table.optional("severity").map(|OneOf(severity)| severity),
        safety: table.optional("safety"),
        reset: table.optional("reset").map(|OneOf(reset)| reset),
        title: title.as_ref().map(|title| title.value.clone()),
        advice: advice.as_ref().map(|advice| advice.value.clone()),
        class: class?.value,
    };
    texts.extend(title.into_iter().chain(advice));
    let code = code?;
    Some((Located { value: Value::from(&code.value).to_string(), span: code.span }, entry))
}

/// A class is words with points between them, so that reports can sum up by its head.
fn check_class(table: &Table<'_>, class: &Located<String>) -> bool {
    let is_word = |word: &str| {
        let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        !word.is_empty() && word.bytes().all(right)
    };
    let right = class.value.split('.').all(is_word);
    if !right {
        let message = format!("`{}` is not a class of faults", class.value);
        let hint = "words of a-z, 0-9, _ and - with points between, e.g. \"elec.overcurrent\"";
        table.place().error(class.span.clone(), "wrong-value", message, hint);
    }
    right
}
