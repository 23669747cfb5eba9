//! The ledger and the statements, for programs: rows in pages, as they are kept.

use std::sync::Arc;

use axum::extract::{FromRef, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::Asker;
use crate::engine::types::input::OperatorAction;
use crate::engine::types::ledger::LedgerRow;
use crate::engine::types::question::{Question, Signer};
use crate::engine::types::time::Timestamp;
use crate::io::journal::Journal;
use crate::io::store::StoreError;

/// Rows of a page.
const PAGE: usize = 5_000;

/// The routes.
pub fn router(journal: Arc<Journal>, asker: Asker) -> Router {
    Router::new()
        .route("/api/v1/ledger", get(ledger))
        .route("/api/v1/statements", get(statements))
        .route("/api/v1/usage/reported", get(reported))
        .route("/api/v1/alarms/spells", get(spells))
        .route("/api/v1/ledger/{sequence}/take-back", post(take_back))
        .with_state(Served { journal, asker })
}

/// What the handlers share.
#[derive(Clone)]
struct Served {
    journal: Arc<Journal>,
    asker: Asker,
}

impl FromRef<Served> for Arc<Journal> {
    fn from_ref(served: &Served) -> Self {
        Arc::clone(&served.journal)
    }
}

/// Who takes a row back, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    by: String,
    #[serde(default)]
    via: String,
    #[serde(default)]
    reason: String,
}

/// Takes a committed row back, once.
async fn take_back(
    State(Served { journal, asker }): State<Served>,
    Path(sequence): Path<u64>,
    Json(Act { by, via, reason }): Json<Act>,
) -> Response {
    let found = tokio::task::spawn_blocking(move || row_to_take(&journal, sequence)).await;
    let row = match found {
        Ok(Ok(Ok(row))) => row,
        Ok(Ok(Err(why))) => {
            return (StatusCode::CONFLICT, Json(json!({ "error": why }))).into_response();
        }
        Ok(Err(error)) => return refuse(&error.to_string()),
        Err(error) => return refuse(&error.to_string()),
    };
    let signer = Signer { by, via, reason };
    let action = OperatorAction::TakeBack(Box::new(row));
    super::api::answer(asker.ask(Question::Act { action, signer }).await)
}

/// The row, or why it cannot be taken back.
fn row_to_take(journal: &Journal, sequence: u64) -> Result<Result<LedgerRow, String>, StoreError> {
    let mut rows = journal.ledger(sequence);
    let row = rows.next().transpose()?.filter(|row| row.sequence == sequence);
    let Some(row) = row else { return Ok(Err(format!("the ledger has no row {sequence}"))) };
    for later in rows {
        if later?.reverses == Some(sequence) {
            return Ok(Err(format!("row {sequence} was taken back before")));
        }
    }
    Ok(Ok(row))
}

/// Where a page begins.
#[derive(Debug, Deserialize)]
struct From {
    /// At this row.
    from: Option<u64>,
    /// At the first row that was written then or later.
    since: Option<Timestamp>,
}

/// Rows as JSON Lines; an empty page is the end.
async fn ledger(State(journal): State<Arc<Journal>>, Query(asked): Query<From>) -> Response {
    let page = tokio::task::spawn_blocking(move || page(&journal, &asked)).await;
    match page {
        Ok(Ok(lines)) => ([("content-type", "application/jsonl")], lines).into_response(),
        Ok(Err(error)) => refuse(&error.to_string()),
        Err(error) => refuse(&error.to_string()),
    }
}

fn page(journal: &Journal, asked: &From) -> Result<Vec<u8>, StoreError> {
    let mut from = asked.from.unwrap_or(1);
    if let Some(since) = asked.since {
        match journal.ledger_since(since)?.next() {
            Some(row) => from = row?.sequence.max(from),
            None => return Ok(Vec::new()),
        }
    }
    let mut lines = Vec::new();
    for row in journal.ledger_bytes(from).take(PAGE) {
        lines.extend_from_slice(&row?.1);
        lines.push(b'\n');
    }
    Ok(lines)
}

async fn statements(State(journal): State<Arc<Journal>>) -> Response {
    match tokio::task::spawn_blocking(move || journal.statements()).await {
        Ok(Ok(statements)) => Json(json!({ "statements": statements })).into_response(),
        Ok(Err(error)) => refuse(&error.to_string()),
        Err(error) => refuse(&error.to_string()),
    }
}

/// What the upstreams said of use, a record a day and counter.
async fn reported(State(journal): State<Arc<Journal>>, Query(asked): Query<From>) -> Response {
    let since = asked.since.unwrap_or(Timestamp::EPOCH);
    match tokio::task::spawn_blocking(move || journal.reported(since)).await {
        Ok(Ok(reported)) => Json(json!({ "reported": reported })).into_response(),
        Ok(Err(error)) => refuse(&error.to_string()),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Episodes of alarms, a page of them, from a time on.
async fn spells(State(journal): State<Arc<Journal>>, Query(asked): Query<From>) -> Response {
    let since = asked.since.unwrap_or(Timestamp::EPOCH);
    match tokio::task::spawn_blocking(move || journal.spells(since, PAGE)).await {
        Ok(Ok(spells)) => Json(json!({ "spells": spells })).into_response(),
        Ok(Err(error)) => refuse(&error.to_string()),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(message: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": message }))).into_response()
}
