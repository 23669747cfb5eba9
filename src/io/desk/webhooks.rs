//! Webhooks over the API: who wants to hear what happens to tickets.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::hook::{Event, HOOKS_MAX, Hook};
use super::request::{failed, refuse, unreadable};

/// Shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 16;
/// Longest secret or address, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHook {
    url: String,
    secret: String,
    #[serde(default)]
    events: BTreeSet<Event>,
}

impl NewHook {
    fn refusal(&self) -> Option<String> {
        let url = reqwest::Url::parse(&self.url);
        let right = url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !right || self.url.len() > TEXT_BYTES_MAX {
            return Some("`url` is not an http or https address".to_owned());
        }
        let bytes = SECRET_BYTES_MIN..=TEXT_BYTES_MAX;
        (!bytes.contains(&self.secret.len()))
            .then(|| format!("`secret` has {SECRET_BYTES_MIN} to {TEXT_BYTES_MAX} bytes"))
    }
}

pub(super) async fn subscribe(
    State(desk): State<Desk>,
    body: Result<Json<NewHook>, JsonRejection>,
) -> Response {
    let new = match body {
        Ok(Json(new)) => new,
        Err(wrong) => return unreadable(&wrong),
    };
    if let Some(refusal) = new.refusal() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "webhook", &refusal);
    }
    match desk.book.add_hook(new.url, new.events, new.secret).await {
        Ok(Some(hook)) => {
            desk.news.send_replace(());
            (StatusCode::CREATED, Json(shown(&hook))).into_response()
        }
        Ok(None) => {
            let message = format!("there are {HOOKS_MAX} webhooks already; remove one first");
            refuse(StatusCode::CONFLICT, "full", &message)
        }
        Err(error) => failed(&error),
    }
}

pub(super) async fn list(State(desk): State<Desk>) -> Response {
    let hooks = desk.book.hooks().await;
    Json(json!({ "webhooks": hooks.iter().map(shown).collect::<Vec<_>>() })).into_response()
}

pub(super) async fn remove(State(desk): State<Desk>, Path(id): Path<u64>) -> Response {
    match desk.book.remove_hook(id).await {
        Ok(true) => {
            desk.news.send_replace(());
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => refuse(StatusCode::NOT_FOUND, "missing", &format!("there is no webhook {id}")),
        Err(error) => failed(&error),
    }
}

/// A webhook without its secret.
fn shown(hook: &Hook) -> Value {
    json!({ "id": hook.id, "url": hook.url, "events": hook.events })
}
