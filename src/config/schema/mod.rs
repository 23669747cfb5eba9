//! JSON Schema of the files that operators write, so that editors complete and check them.
//!
//! One table of keys a file; a test holds each against the keys that the reader asks for, both ways.
//! The keywords are those that draft 7 and draft 2020-12 have in common.

mod gateway;
mod plan;
mod rules;
mod upstream;

use serde_json::{Map, Value as Json, json};

use crate::engine::types::document::Word;
use crate::engine::types::text::Language;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Rule files and the register of devices.
    Rules,
    /// `faultgate.toml`.
    Gateway,
    /// Price plans.
    Plan,
}

/// One key of a table.
#[derive(Debug)]
struct Key {
    name: &'static str,
    kind: Kind,
    required: bool,
    en: &'static str,
    zh: &'static str,
}

/// What may stand under a key.
#[derive(Debug)]
enum Kind {
    Text,
    Bool,
    Number,
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// `30s`, `1h30m`.
    Duration,
    /// `256KiB`.
    Size,
    /// A decimal number as text, of money and quantities; negative where the flag says so.
    Decimal(bool),
    /// A day of the calendar.
    Date,
    /// A moment.
    Moment,
    /// A number, a text, true or false.
    Scalar,
    /// One text, or one for each language.
    Bilingual,
    /// Where a secret is.
    Secret,
    /// Text of this form.
    Pattern(&'static str),
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// One of these words; fixed.
    Named(&'static [&'static str]),
    /// Several of a kind.
    List(&'static Kind),
    /// One of these kinds.
    Either(&'static [Kind]),
    /// A table.
    Table(&'static [Key]),
    /// An array of tables.
    Tables(&'static [Key]),
    /// A table whose further keys the operator chooses.
    Open(&'static [Key], &'static Kind),
    /// A table with these words as keys.
    Each(fn() -> Vec<&'static str>, &'static Kind),
    /// Attributes of devices, `labels.NAME` among them.
    Attributes(&'static [Key]),
}

const DURATION: &str = "^\\s*([0-9]+(us|ms|s|m|h|d|w))+\\s*$";
const SIZE: &str = "^\\s*[0-9]+\\s*(B|KiB|MiB|GiB)\\s*$";

const fn key(name: &'static str, kind: Kind, en: &'static str, zh: &'static str) -> Key {
    Key { name, kind, required: false, en, zh }
}

impl Key {
    const fn required(self) -> Key {
        Key { required: true, ..self }
    }
}

/// Every word of a closed set.
fn words<T: Word>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

/// The schema of a kind of file, described in one language; the other one stands beside it.
pub fn schema(file: File, language: Language) -> Json {
    let (name, keys, title) = match file {
        File::Rules => ("rules", rules::FILE, "Faultgate rule file"),
        File::Gateway => ("config", gateway::FILE, "faultgate.toml"),
        File::Plan => ("plan", plan::FILE, "Faultgate price plan"),
    };
    let mut schema = table(keys, None, language);
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("$id".to_owned(), format!("urn:faultgate:schema:{name}").into());
    schema.insert("title".to_owned(), title.into());
    Json::Object(schema)
}

fn table(keys: &[Key], others: Option<&Kind>, language: Language) -> Map<String, Json> {
    let mut properties = Map::new();
    for key in keys {
        let mut described = value(&key.kind, language);
        let (first, second, other) = match language {
            Language::English => (key.en, key.zh, "x-description-zh"),
            Language::Chinese => (key.zh, key.en, "x-description-en"),
        };
        if let Json::Object(described) = &mut described {
            described.insert("description".to_owned(), first.into());
            described.insert(other.to_owned(), second.into());
        }
        properties.insert(key.name.to_owned(), described);
    }
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        table.insert("required".to_owned(), required.into());
    }
    let others = others.map_or(Json::Bool(false), |kind| value(kind, language));
    table.insert("additionalProperties".to_owned(), others);
    table
}

fn value(kind: &Kind, language: Language) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Whole(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Duration => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size => json!({ "type": "string", "pattern": SIZE }),
        Kind::Decimal(signed) => {
            let sign = if *signed { "-?" } else { "" };
            json!({ "type": "string", "pattern": format!("^{sign}[0-9]+(\\.[0-9]+)?$") })
        }
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Moment => json!({ "type": "string", "format": "date-time" }),
        Kind::Scalar => json!({ "type": ["number", "string", "boolean"] }),
        Kind::Bilingual => value(&BILINGUAL, language),
        Kind::Secret => value(&SECRET, language),
        Kind::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Kind::Words(words) => json!({ "type": "string", "enum": words() }),
        Kind::Named(words) => json!({ "type": "string", "enum": words }),
        Kind::List(kind) => json!({ "type": "array", "items": value(kind, language) }),
        Kind::Either(kinds) => {
            let kinds: Vec<Json> = kinds.iter().map(|kind| value(kind, language)).collect();
            json!({ "anyOf": kinds })
        }
        Kind::Table(keys) => Json::Object(table(keys, None, language)),
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys, None, language) }),
        Kind::Each(words, kind) => {
            let keys = words().into_iter().map(|word| (word.to_owned(), value(kind, language)));
            let keys: Map<String, Json> = keys.collect();
            json!({ "type": "object", "properties": keys, "additionalProperties": false })
        }
        Kind::Attributes(keys) => {
            let mut attributes = table(keys, None, language);
            attributes.insert(
                "patternProperties".to_owned(),
                json!({ "^labels\\..+$": { "type": "string" } }),
            );
            Json::Object(attributes)
        }
        Kind::Open(keys, others) => Json::Object(table(keys, Some(others), language)),
    }
}

const BILINGUAL: Kind = Kind::Either(&[
    Kind::Text,
    Kind::Table(&[
        key("zh", Kind::Text, "Chinese text", "中文文本"),
        key("en", Kind::Text, "English text", "英文文本"),
    ]),
]);

const SECRET: Kind = Kind::Table(&[
    key("env", Kind::Text, "Environment variable that has it", "保存该值的环境变量"),
    key("file", Kind::Text, "File that has it", "保存该值的文件"),
    key("credential", Kind::Text, "systemd credential that has it", "保存该值的 systemd 凭据"),
]);

#[cfg(test)]
mod tests;
