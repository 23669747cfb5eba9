//! The ledger and the statements, for programs: rows in pages, as they are kept.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::engine::types::time::Timestamp;
use crate::io::journal::Journal;
use crate::io::store::StoreError;

/// Rows of a page.
const PAGE: usize = 5_000;

/// The routes.
pub fn router(journal: Arc<Journal>) -> Router {
    Router::new()
        .route("/api/v1/ledger", get(ledger))
        .route("/api/v1/statements", get(statements))
        .with_state(journal)
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

fn refuse(message: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": message }))).into_response()
}
