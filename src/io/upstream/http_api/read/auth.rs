//! `[upstream.auth]`, `[upstream.sign]` and `[upstream.webhook]`.

use super::super::digest::{Algorithm, Encoding};
use super::super::spec::{Auth, Carrier, Op, Proof, Sign, Webhook};
use super::super::template::Template;
use super::operation::read_step;
use super::{codes, conditions, extract, operations, templates};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::time::TimeSpan;
use crate::io::secret::Secret;

const KINDS: [&str; 7] = ["header", "basic", "query", "body", "cookie", "oauth2", "login"];
/// How long a session is good of which nothing is said.
const LASTS: TimeSpan = TimeSpan::from_secs(1_800);
/// Greatest age of a webhook of which nothing is said.
const AGE: TimeSpan = TimeSpan::from_secs(300);

/// `[upstream.auth]`.
pub(super) fn read(table: &Table<'_>) -> Option<Auth> {
    let kind = table.required::<Located<String>>("kind")?;
    match kind.value.as_str() {
        "header" | "query" | "body" | "cookie" => {
            let carrier = read_carrier(table, &kind.value)?;
            Some(Auth::Key { secret: required_secret(table, "secret")?, carrier })
        }
        "basic" => {
            let user = table.required("user");
            Some(Auth::Basic { password: required_secret(table, "password")?, user: user? })
        }
        "oauth2" => {
            let fields = table.table("fields", |entry| {
                let entries = entry.entries().into_iter();
                Some(
                    entries.filter_map(|(name, value)| Some((name.value, value.read()?))).collect(),
                )
            });
            let client_secret = required_secret(table, "client_secret");
            Some(Auth::OAuth2 {
                carrier: read_carrier(table, "header")?,
                token_url: table.required("token_url")?,
                client_id: table.required("client_id")?,
                client_secret: client_secret?,
                fields: fields.unwrap_or_default(),
                basic: table.or("basic", false),
            })
        }
        "login" => {
            let stale = codes(table, "stale");
            let via = table.or("carrier", "header".to_owned());
            let step = table.table("login", |entry| read_step(entry, Op::Comment));
            if !table.has("login") {
                let hint = "add [upstream.auth.login] with `request` and `body`";
                table.place().error(table.span(), "missing-key", "`login` is missing", hint);
            }
            let token = extract(table, "token");
            if !table.has("token") {
                let hint = "add `token = \"/token\"`: where the answer has it";
                table.place().error(table.span(), "missing-key", "`token` is missing", hint);
            }
            Some(Auth::Login {
                lasts: table.or("lasts", LASTS),
                stale: if stale.is_empty() { vec![401] } else { stale },
                stale_if: conditions(table, "stale_if"),
                carrier: read_carrier(table, &via)?,
                step: Box::new(step?),
                token: token?,
            })
        }
        other => {
            let message = format!("there is no kind of auth `{other}`");
            table.place().error(kind.span, "wrong-value", message, did_you_mean(other, &KINDS));
            None
        }
    }
}

fn read_carrier(table: &Table<'_>, kind: &str) -> Option<Carrier> {
    let name = table.optional::<String>("name");
    let prefix = table.optional::<String>("prefix");
    let named = |what: &str| {
        if name.is_none() {
            let hint = format!("add `name = ...`: the name of the {what}");
            table.place().error(table.span(), "missing-key", "`name` is missing", hint);
        }
        name.clone()
    };
    match kind {
        "query" => named("parameter").map(Carrier::Query),
        "body" => named("member, such as \"/auth/token\"").map(Carrier::Body),
        "cookie" => named("cookie").map(Carrier::Cookie),
        _ => {
            let usual = name.is_none();
            let prefix =
                prefix.unwrap_or_else(|| if usual { "Bearer ".into() } else { String::new() });
            Some(Carrier::Header { name: name.unwrap_or_else(|| "Authorization".into()), prefix })
        }
    }
}

fn required_secret(table: &Table<'_>, key: &'static str) -> Option<Secret> {
    if table.has(key) && !table.is_text(key) {
        return table.table(key, Secret::read);
    }
    let message = if table.has(key) {
        format!("`{key}` never stands in this file")
    } else {
        format!("`{key}` is missing")
    };
    let hint = "write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
    table.place().error(table.span(), "secret", message, hint);
    None
}

/// `[upstream.sign]`.
pub(super) fn read_sign(table: &Table<'_>) -> Option<Sign> {
    let algorithm = table.required("algorithm").map(|OneOf(algorithm)| algorithm);
    let encoding = table.optional("encoding").map(|OneOf(encoding)| encoding);
    let put =
        |key: &'static str| table.table(key, |entry| Some(templates(entry))).unwrap_or_default();
    let sign = Sign {
        headers: put("headers"),
        query: put("query"),
        body: put("body"),
        operations: operations(table, "operations"),
        key: table.optional("key"),
        over: table.required("over")?,
        encoding: encoding.unwrap_or(Encoding::Hex),
        algorithm: algorithm?,
    };
    if sign.headers.is_empty() && sign.query.is_empty() && sign.body.is_empty() {
        let hint = "add `headers = { X-Sign = \"{{ sign }}\" }`, `query` or `body`";
        table.place().error(table.span(), "missing-key", "the signature goes nowhere", hint);
    }
    Some(sign)
}

/// `[upstream.webhook]`.
pub(super) fn read_webhook(table: &Table<'_>) -> Option<Webhook> {
    let (token, path) = (table.has("token"), table.has("secret_path"));
    let proof = if path {
        required_secret(table, "secret_path").map(Proof::SecretPath)
    } else if token {
        required_secret(table, "token").map(|secret| Proof::Token {
            header: table.or("header", "authorization".to_owned()),
            prefix: table.or("prefix", String::new()),
            secret,
        })
    } else {
        read_signature(table)
    };
    let webhook = Webhook {
        ticket: extract(table, "ticket")?,
        status: extract(table, "status"),
        by: extract(table, "by"),
        ignore_if: conditions(table, "ignore_if"),
        fetch: table.or("fetch", path),
        challenge: extract(table, "challenge"),
        proof: proof?,
    };
    Some(webhook)
}

fn read_signature(table: &Table<'_>) -> Option<Proof> {
    let algorithm = table.optional("algorithm").map(|OneOf(algorithm)| algorithm);
    let encoding = table.optional("encoding").map(|OneOf(encoding)| encoding);
    let timestamp = table.optional::<String>("timestamp");
    let age = table.or("max_age", AGE);
    let secret = required_secret(table, "secret");
    Some(Proof::Signature {
        algorithm: algorithm.unwrap_or(Algorithm::HmacSha256),
        encoding: encoding.unwrap_or(Encoding::Hex),
        header: table.required::<String>("header")?.to_lowercase(),
        prefix: table.or("prefix", String::new()),
        over: table.optional("over").unwrap_or_else(|| Template::ours("{{ body }}")),
        timestamp: timestamp.map(|header| (header.to_lowercase(), age)),
        delivery: table.optional::<String>("delivery").map(|header| header.to_lowercase()),
        secret: secret?,
    })
}
