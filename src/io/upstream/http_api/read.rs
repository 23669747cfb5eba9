//! Reads an API from the keys of an `[[upstream]]`; what is not there stays as it was, so that a
//! file can change a profile that is built in.

mod auth;
mod operation;

use std::collections::{BTreeMap, BTreeSet};

use super::condition::Condition;
use super::spec::{Api, Class, Confirm, Create, ErrorRule, Length, Limits, Once, Op, Text};
use super::template::Template;
use super::value::Extract;
use crate::engine::types::calendar::read_zone;
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, OneOf, Scalar, Table, Word};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::io::secret::Secret;

/// Reads what a table says, on top of `api`.
pub fn read(table: &Table<'_>, mut api: Api) -> Api {
    for (_, op) in Op::WORDS {
        if table.is_text(op.word()) {
            operation::read_lack(table, *op, &mut api);
        } else if let Some(operation) = table.table(op.word(), |entry| operation::read(entry, *op))
        {
            api.operations.insert(*op, operation);
            api.lacks.remove(op);
        }
    }
    if let Some(create) = table.table("once", |entry| Some(read_once(entry, &api.create))) {
        api.create = create;
    }
    api.headers
        .extend(table.table("headers", |entry| Some(read_headers(entry))).unwrap_or_default());
    api.vars.extend(table.table("vars", |entry| Some(scalars(entry))).unwrap_or_default());
    api.secrets
        .extend(table.table("secrets", |entry| Some(read_secrets(entry))).unwrap_or_default());
    api.auth = table.table("auth", auth::read).or(api.auth);
    api.sign = table.table("sign", auth::read_sign).or(api.sign);
    api.webhook = table.table("webhook", auth::read_webhook).or(api.webhook);
    table.table("errors", |entry| {
        api.errors.fail_if.extend(conditions(entry, "fail_if"));
        let message = extracts(entry, "message");
        if !message.is_empty() {
            api.errors.message = message;
        }
        let mut rules = entry.tables("rule", read_rule);
        rules.append(&mut api.errors.rules);
        api.errors.rules = rules;
        Some(())
    });
    if let Some(limits) = table.table("limits", |entry| Some(read_limits(entry, &api.limits))) {
        api.limits = limits;
    }
    api.queue = table.optional::<Template>("queue").map_or(api.queue, |text| text.text);
    api.key_field = table.optional::<Template>("key_field").map_or(api.key_field, |text| text.text);
    api.zone = read_zone(table, "timezone").or(api.zone);
    read_maps(table, &mut api);
    api
}

/// Our words and theirs.
fn read_maps(table: &Table<'_>, api: &mut Api) {
    let severity = table.table("severity", |entry| {
        Some(read_ours(entry, Severity::parse_word, &Severity::ALL.map(Severity::word)))
    });
    api.severity.extend(severity.unwrap_or_default());
    let words: Vec<&str> = TicketStatus::ALL.iter().map(|status| status.word()).collect();
    let set = table.table("set_status", |entry| Some(read_ours(entry, status_of, &words)));
    api.set_status.extend(set.unwrap_or_default());
    let status = table.table("status", |entry| {
        let mut read = BTreeMap::new();
        for (theirs, value) in entry.entries() {
            let Some(ours) = value.read::<Located<String>>() else { continue };
            read.extend(known_status(table, &ours, &words).map(|ours| (theirs.value, ours)));
        }
        Some(read)
    });
    api.status.extend(status.unwrap_or_default());
    if let Some(unknown) = table.optional::<Located<String>>("unknown_status") {
        api.unknown_status = known_status(table, &unknown, &words);
    }
    api.queues.extend(table.table("queues", |entry| Some(scalars(entry))).unwrap_or_default());
    api.people.extend(table.table("people", |entry| Some(scalars(entry))).unwrap_or_default());
}

fn status_of(word: &str) -> Option<TicketStatus> {
    TicketStatus::ALL.into_iter().find(|status| status.word() == word)
}

fn known_status(table: &Table<'_>, word: &Located<String>, words: &[&str]) -> Option<TicketStatus> {
    let found = status_of(&word.value);
    if found.is_none() {
        let message = format!("there is no status `{}`", word.value);
        let hint = did_you_mean(&word.value, words);
        table.place().error(word.span.clone(), "wrong-value", message, hint);
    }
    found
}

/// A table with words of ours as keys.
fn read_ours<T: Ord>(
    table: &Table<'_>,
    parse: impl Fn(&str) -> Option<T>,
    words: &[&str],
) -> BTreeMap<T, Scalar> {
    let mut read = BTreeMap::new();
    for (name, entry) in table.entries() {
        match parse(&name.value) {
            Some(ours) => read.extend(entry.read().map(|scalar| (ours, scalar))),
            None => {
                let message = format!("there is no `{}` here", name.value);
                let hint = did_you_mean(&name.value, words);
                table.place().error(name.span, "unknown-key", message, hint);
            }
        }
    }
    read
}

fn scalars(table: &Table<'_>) -> BTreeMap<String, Scalar> {
    let entries = table.entries().into_iter();
    entries.filter_map(|(name, entry)| Some((name.value, entry.read()?))).collect()
}

fn templates(table: &Table<'_>) -> BTreeMap<String, Template> {
    let entries = table.entries().into_iter();
    entries.filter_map(|(name, entry)| Some((name.value, entry.read()?))).collect()
}

fn read_headers(table: &Table<'_>) -> BTreeMap<String, Text> {
    let read = |(name, entry): (Located<String>, crate::engine::types::document::Entry<'_>)| {
        let text = if entry.is_table() {
            entry.table(Secret::read).map(Text::Secret)
        } else {
            entry.read().map(Text::Template)
        };
        Some((name.value, text?))
    };
    table.entries().into_iter().filter_map(read).collect()
}

fn read_secrets(table: &Table<'_>) -> BTreeMap<String, Secret> {
    let mut read = BTreeMap::new();
    for (name, entry) in table.entries() {
        if entry.is_table() {
            read.extend(entry.table(Secret::read).map(|secret| (name.value, secret)));
        } else {
            let message = format!("the secret `{}` never stands in this file", name.value);
            let hint = "write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
            table.place().error(entry.span(), "secret", message, hint);
        }
    }
    read
}

/// `[upstream.once]`.
fn read_once(table: &Table<'_>, before: &Create) -> Create {
    let by = table.optional("by").map(|OneOf(once): OneOf<Once>| once);
    let confirm = table.optional("confirm").map(|OneOf(confirm): OneOf<Confirm>| confirm);
    Create {
        once: by.or(before.once),
        search_lag: table.or("search_lag", before.search_lag),
        confirm: confirm.unwrap_or(before.confirm),
        duplicate_id: extract(table, "duplicate_id").or_else(|| before.duplicate_id.clone()),
    }
}

fn read_rule(table: &Table<'_>) -> Option<ErrorRule> {
    let class = table.required("class").map(|OneOf(class): OneOf<Class>| class);
    let rule = ErrorRule {
        status: codes(table, "status"),
        when: conditions(table, "if"),
        operations: operations(table, "operations"),
        class: class?,
        wait: table.optional("wait"),
        hint: table.optional("hint"),
    };
    if rule.status.is_empty() && rule.when.is_empty() {
        let message = "a rule that fits every answer";
        let hint = "add `status = [403]` or `if = \"/code == 7\"`";
        table.place().error(table.span(), "missing-key", message, hint);
    }
    Some(rule)
}

fn read_limits(table: &Table<'_>, before: &Limits) -> Limits {
    let length = |key: &'static str, before: Option<Length>| {
        let read = table.table(key, |entry| {
            let chars = entry.optional::<u32>("chars").map(|most| Length::Chars(most as usize));
            let bytes = entry.optional::<u32>("bytes").map(|most| Length::Bytes(most as usize));
            chars.or(bytes)
        });
        read.or(before)
    };
    let mut rates = before.operations.clone();
    table.table("operations", |entry| {
        for (name, rate) in entry.entries() {
            let Some(op) = known_op(entry, &name) else { continue };
            let rate = rate.table(|rate| {
                let per_second = rate.or("per_second", 5.0).max(0.01);
                Some((per_second, rate.or("burst", 10.0).max(1.0)))
            });
            rates.extend(rate.map(|rate| (op, rate)));
        }
        Some(())
    });
    let names = |key: &'static str, before: &[String]| {
        let given = table.optional::<Vec<String>>(key);
        given.map_or_else(
            || before.to_vec(),
            |names| names.iter().map(|n| n.to_lowercase()).collect(),
        )
    };
    Limits {
        title: length("title", before.title),
        body: length("body", before.body),
        comment: length("comment", before.comment),
        operations: rates,
        critical_share: table.or("critical_share", before.critical_share).clamp(0.0, 0.9),
        reset_headers: names("reset_headers", &before.reset_headers),
        remaining_headers: names("remaining_headers", &before.remaining_headers),
        penalty: table.optional("penalty").or(before.penalty),
        timeout: table.optional("timeout").or(before.timeout),
    }
}

fn known_op(table: &Table<'_>, name: &Located<String>) -> Option<Op> {
    let found = Op::parse_word(&name.value);
    if found.is_none() {
        let words: Vec<&str> = Op::WORDS.iter().map(|(word, _)| *word).collect();
        let message = format!("there is no operation `{}`", name.value);
        let hint = did_you_mean(&name.value, &words);
        table.place().error(name.span.clone(), "wrong-value", message, hint);
    }
    found
}

fn operations(table: &Table<'_>, key: &'static str) -> BTreeSet<Op> {
    let names = table.optional::<Vec<Located<String>>>(key).unwrap_or_default();
    names.iter().filter_map(|name| known_op(table, name)).collect()
}

fn codes(table: &Table<'_>, key: &'static str) -> Vec<u16> {
    let codes = table.optional::<Vec<Located<u32>>>(key).unwrap_or_default();
    let read = codes.into_iter().filter_map(|code| match u16::try_from(code.value) {
        Ok(known @ 100..=599) => Some(known),
        Ok(_) | Err(_) => {
            let message = format!("{} is not a code of HTTP", code.value);
            table.place().error(code.span, "wrong-value", message, "from 100 to 599");
            None
        }
    });
    read.collect()
}

/// One condition, or several.
fn conditions(table: &Table<'_>, key: &'static str) -> Vec<Condition> {
    if table.is_text(key) {
        return table.optional(key).into_iter().collect();
    }
    table.optional(key).unwrap_or_default()
}

/// A value: one of the short forms, or a table.
fn extract(table: &Table<'_>, key: &'static str) -> Option<Extract> {
    if table.is_text(key) || !table.has(key) {
        return table.optional(key);
    }
    table.table(key, Extract::read)
}

/// One value, or several places that may have it.
fn extracts(table: &Table<'_>, key: &'static str) -> Vec<Extract> {
    if table.is_text(key) {
        return table.optional(key).into_iter().collect();
    }
    table.optional(key).unwrap_or_default()
}
