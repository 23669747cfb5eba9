//! What the templates of each operation may name, and values to try them with.

use std::collections::BTreeSet;

use minijinja::Value;

use super::super::call::scalar_value;
use super::super::spec::{Api, Op};
use super::super::template::Names;
use crate::engine::types::severity::Severity;

/// What templates of an answer, or of an item of it, may name besides.
pub(in super::super) const ITEM: [&str; 7] =
    ["status", "headers", "body", "text", "item", "fetched", "me"];

const ALWAYS: [&str; 1] = ["now"];
const KEY: [&str; 4] = ["key", "fingerprint", "idempotency_key", "mark"];

/// The names of an operation, beside `vars`, `secrets`, `key_field`, `url` and `timezone`.
pub(in super::super) fn known(op: Op) -> Vec<&'static str> {
    let own: &[&str] = match op {
        Op::Create => &[
            "title",
            "body",
            "severity",
            "priority",
            "safety",
            "queue",
            "device",
            "rule",
            "site",
            "raised_at",
            "plot",
            "page",
        ],
        Op::Twin => &[
            "title",
            "body",
            "severity",
            "priority",
            "safety",
            "queue",
            "device",
            "rule",
            "site",
            "raised_at",
            "page",
        ],
        Op::Find => &["key", "fingerprint", "queue", "page"],
        Op::Comment => &["ticket", "text"],
        Op::Escalate => &["ticket", "text", "severity", "priority", "assign"],
        Op::Resolve => &["ticket", "text", "status", "wanted"],
        Op::Reopen => &["ticket", "text", "status", "wanted", "severity", "priority"],
        Op::Attach => &["ticket", "file"],
        Op::Get => &["ticket"],
        Op::Changes => &["since", "cursor", "page", "me"],
        Op::Ready => &["queue"],
        Op::Rekey => &["ticket", "key", "fingerprint", "queue"],
        Op::Whoami => &[],
    };
    let keyed = matches!(
        op,
        Op::Create | Op::Twin | Op::Comment | Op::Escalate | Op::Resolve | Op::Reopen | Op::Attach
    );
    let key: &[&str] = if keyed { &KEY } else { &[] };
    [own, key, &ALWAYS].concat()
}

/// Sets of values: as full as can be, and with nothing where there may be nothing.
pub(in super::super) fn samples(api: &Api, op: Op, names: &BTreeSet<String>) -> Vec<Names> {
    let full: Names =
        known(op).into_iter().map(|name| (name.to_owned(), sample(api, name))).collect();
    let mut full = full;
    let got = names.iter().filter_map(|name| name.strip_prefix("got."));
    let got: Vec<(&str, Value)> = got.map(|name| (name, Value::from("7"))).collect();
    full.insert("got".to_owned(), Value::from_pairs(got.clone()));
    if names.contains("etag") {
        full.insert("etag".to_owned(), Value::from("W/\"1\""));
    }
    let steps = api.operations.get(&op).into_iter().flat_map(|operation| &operation.steps);
    let unsure = steps.filter(|step| step.when.is_some() || step.optional);
    let unsure: BTreeSet<&str> =
        unsure.flat_map(|step| step.capture.keys()).map(String::as_str).collect();
    let empty = match op {
        Op::Create => ["plot"].as_slice(),
        Op::Escalate => ["severity", "priority", "assign"].as_slice(),
        Op::Reopen => ["severity", "priority"].as_slice(),
        Op::Changes => ["cursor"].as_slice(),
        Op::Find
        | Op::Comment
        | Op::Resolve
        | Op::Attach
        | Op::Get
        | Op::Ready
        | Op::Twin
        | Op::Rekey
        | Op::Whoami
            if unsure.is_empty() =>
        {
            return vec![full];
        }
        Op::Find
        | Op::Comment
        | Op::Resolve
        | Op::Attach
        | Op::Get
        | Op::Ready
        | Op::Twin
        | Op::Rekey
        | Op::Whoami => &[],
    };
    let mut sparse = full.clone();
    let sparse_got = got.into_iter().map(|(name, value)| match unsure.contains(name) {
        true => (name, Value::from(())),
        false => (name, value),
    });
    sparse.insert("got".to_owned(), Value::from_pairs(sparse_got));
    for name in empty {
        sparse.insert((*name).to_owned(), Value::from(()));
    }
    vec![full, sparse]
}

fn sample(api: &Api, name: &str) -> Value {
    let queue = api.queues.get(&api.queue).map(scalar_value);
    match name {
        "title" => Value::from("冷柜 \"3\" 过热 \\ <b>"),
        "body" | "text" => Value::from("第一行 \"引号\" \\\n第二行\t<b>&"),
        "severity" => Value::from(Severity::Critical.word()),
        "priority" => {
            api.severity.get(&Severity::Critical).map_or(Value::from("critical"), scalar_value)
        }
        "safety" => Value::from(false),
        "queue" => queue.unwrap_or_else(|| Value::from(api.queue.as_str())),
        "raised_at" | "now" | "since" => Value::from("2026-01-31T08:00:00Z"),
        "cursor" => Value::from(7),
        "assign" => api.people.values().next().map_or(Value::from("li"), scalar_value),
        "status" | "wanted" => {
            api.set_status.values().next().map_or(Value::from("resolved"), scalar_value)
        }
        "page" => Value::from_pairs([
            ("number", Value::from(1)),
            ("offset", Value::from(0)),
            ("size", Value::from(100)),
            ("cursor", Value::from("")),
        ]),
        "plot" => Value::from_pairs([
            ("name", Value::from("plot.png")),
            ("type", Value::from("image/png")),
            ("base64", Value::from("iVBORw0KGgo=")),
            ("size", Value::from(8)),
        ]),
        "file" => Value::from_pairs([
            ("name", Value::from("全文.txt")),
            ("type", Value::from("text/plain")),
            ("content", Value::from("第一行\n\"2\"")),
            ("size", Value::from(16)),
        ]),
        _ => Value::from("01HZX3-1"),
    }
}
