//! `[upstream.create]` and the other operations.

use std::collections::BTreeMap;

use super::super::spec::{
    Already, Api, Body, List, Lock, Op, Operation, Paging, PagingStyle, Part, PartContent, Step,
};
use super::super::template::Template;
use super::{codes, conditions, extract, templates};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, OneOf, Table};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// `comment = "none"`.
pub(super) fn read_lack(table: &Table<'_>, op: Op, api: &mut Api) {
    let Some(word) = table.optional::<Located<String>>(op.word()) else { return };
    if word.value == "none" && op != Op::Create {
        api.operations.remove(&op);
        api.lacks.insert(op);
        return;
    }
    let message = format!("`{}` is a table", op.word());
    let hint = if op == Op::Create {
        "write [upstream.create] with `request = { ... }`".to_owned()
    } else {
        format!("write [upstream.{0}], or `{0} = \"none\"` if it cannot be done", op.word())
    };
    table.place().error(word.span, "wrong-value", message, hint);
}

/// One operation: its only step in the table itself, or several in `step`.
pub(super) fn read(table: &Table<'_>, op: Op) -> Option<Operation> {
    let mut steps = Vec::new();
    if table.has("step") {
        if table.has("request") {
            let message = "either `request` or steps";
            let hint = "move `request` into a [[step]] of its own";
            table.place().error(table.span(), "wrong-value", message, hint);
        }
        steps = table.tables("step", |entry| read_step(entry, op));
    } else {
        steps.extend(read_step(table, op));
    }
    let mut operation = Operation { steps, ..Operation::default() };
    operation.id = extract(table, "id");
    let verify = table.table("verify", |entry| {
        let entries = entry.entries().into_iter();
        let pairs = entries.filter_map(|(place, value)| {
            let file = table.place().source.file.clone();
            let place = Template { text: place.value, file, span: place.span };
            Some((place, value.read::<Template>()?))
        });
        Some(pairs.collect())
    });
    operation.verify = verify.unwrap_or_default();
    if matches!(op, Op::Find | Op::Twin | Op::Changes) {
        operation.list = read_list(table, op);
        if operation.list.items.is_none() {
            split_id(&mut operation);
        }
    }
    Some(operation)
}

fn read_list(table: &Table<'_>, op: Op) -> List {
    let mut list = List {
        items: table.optional("items"),
        empty_if: table.optional("empty_if"),
        paging: table.table("paging", |entry| Some(read_paging(entry))),
        ..List::default()
    };
    if op == Op::Changes {
        list.updated = extract(table, "updated");
        list.distinct = extract(table, "distinct");
        list.cursor = extract(table, "cursor");
        list.status = extract(table, "status");
        list.by = extract(table, "by");
        list.fetch_if = table.optional("fetch_if");
        list.ignore_if = table.optional("ignore_if");
        list.overlap = table.optional("overlap");
    } else {
        list.key = extract(table, "key");
    }
    list
}

/// `id = "/issues/0/id"` means every item of `/issues`, each with its `/id`.
fn split_id(operation: &mut Operation) {
    use super::super::value::From;
    let Some(id) = operation.id.as_mut() else { return };
    let From::Place(template) = &mut id.from else { return };
    if let Some((items, rest)) = template.text.split_once("/0/") {
        let items = Template { text: items.to_owned(), ..template.clone() };
        let rest = format!("/{rest}");
        operation.list.items = Some(items);
        template.text = rest;
    } else if let Some(items) = template.text.strip_suffix("/0") {
        operation.list.items = Some(Template { text: items.to_owned(), ..template.clone() });
        template.text = "/".to_owned();
    }
}

fn read_paging(table: &Table<'_>) -> Paging {
    let style = table.required("style").map(|OneOf(style)| style);
    Paging {
        style: style.unwrap_or(PagingStyle::Offset),
        size: table.or::<u32>("size", 100).max(1),
        pages_max: table.or::<u32>("pages_max", 20).clamp(1, 1_000),
        first: table.or("first", 1),
        next: extract(table, "next"),
    }
}

/// `request`, body and what the answer must be.
pub(super) fn read_step(table: &Table<'_>, op: Op) -> Option<Step> {
    let has_body =
        ["body", "form", "multipart", "graphql", "file"].into_iter().any(|k| table.has(k));
    let method = if op.only_reads() && !has_body { "GET" } else { "POST" };
    let mut step = Step::new(method, Template::ours(""), Body::None);
    let given = table.table("request", |entry| {
        if let Some(method) = entry.optional::<Located<String>>("method") {
            if METHODS.contains(&method.value.as_str()) {
                step.method = method.value;
            } else {
                let message = format!("there is no method `{}`", method.value);
                let hint = did_you_mean(&method.value, &METHODS);
                entry.place().error(method.span, "wrong-value", message, hint);
            }
        }
        step.path = entry.required("path")?;
        step.query = entry.table("query", |query| Some(templates(query))).unwrap_or_default();
        step.headers = entry.table("headers", |all| Some(templates(all))).unwrap_or_default();
        Some(())
    });
    if given.is_none() && !table.has("request") {
        let hint = "add `request = { method = \"POST\", path = \"tickets\" }`";
        table.place().error(table.span(), "missing-key", "`request` is missing", hint);
    }
    step.body = read_body(table);
    step.keep_null = table.or("keep_null", false);
    step.ok = codes(table, "ok");
    step.ok_if = conditions(table, "ok_if");
    step.fail_if = conditions(table, "fail_if");
    step.hint = table.optional("hint");
    step.when = table.optional("when");
    step.optional = table.or("optional", false);
    step.already = table.table("already", read_already);
    step.capture = table.table("capture", |entry| Some(read_capture(entry))).unwrap_or_default();
    step.lock = table.table("lock", |entry| {
        let stale = codes(entry, "stale");
        let stale = if stale.is_empty() { vec![412] } else { stale };
        Some(Lock { version: extract(entry, "version")?, stale })
    });
    given.map(|()| step)
}

fn read_capture(table: &Table<'_>) -> BTreeMap<String, super::super::value::Extract> {
    let mut read = BTreeMap::new();
    for (name, entry) in table.entries() {
        let value = if entry.is_table() {
            entry.table(super::super::value::Extract::read)
        } else {
            entry.read()
        };
        read.extend(value.map(|value| (name.value, value)));
    }
    read
}

fn read_already(table: &Table<'_>) -> Option<Already> {
    Some(Already {
        path: table.required("path")?,
        query: table.table("query", |query| Some(templates(query))).unwrap_or_default(),
        items: table.required("items")?,
        place: table.required("place")?,
        contains: table.optional("contains").unwrap_or_else(|| Template::ours("{{ mark }}")),
    })
}

fn read_body(table: &Table<'_>) -> Body {
    let kind = table.or("type", "application/json".to_owned());
    let text = table.optional::<Template>("body").map(|text| Body::Text { text, kind });
    let form = table.table("form", |entry| Some(Body::Form(templates(entry))));
    let parts = table.tables("multipart", |entry| {
        Some(Part {
            name: entry.required("name")?,
            filename: entry.optional("filename"),
            kind: entry.optional("type"),
            content: if entry.optional("file") == Some(true) {
                PartContent::File
            } else {
                PartContent::Text(entry.required("value")?)
            },
        })
    });
    let multipart = (!parts.is_empty()).then_some(Body::Multipart(parts));
    let variables = table.optional("variables");
    let graphql = table.optional("graphql").map(|query| Body::GraphQl { query, variables });
    let file = (table.optional("file") == Some(true)).then_some(Body::File);
    let mut given = [text, form, multipart, graphql, file].into_iter().flatten();
    let first = given.next().unwrap_or_default();
    if given.next().is_some() {
        let message = "a request has one body";
        let hint = "keep one of `body`, `form`, `multipart`, `graphql`, `file`";
        table.place().error(table.span(), "wrong-value", message, hint);
    }
    first
}
