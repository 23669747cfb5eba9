//! The desk's API: `/desk/api/v1`.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::book::{BookError, Filter, Written};
use super::ticket::{Change, NewTicket, Ticket};
use super::{Change as Told, Desk};
use crate::engine::types::time::Timestamp;
use crate::io::clock;

/// Largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 200;
/// Most tickets in one list.
const LIST_MAX: usize = 1_000;
/// What the API promises, for machines.
const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/desk/api/v1/openapi.json", get(openapi))
        .route("/desk/api/v1/tickets", get(list).post(open))
        .route("/desk/api/v1/tickets/{id}", get(show).patch(change))
        .route("/desk/api/v1/tickets/{id}/comments", post(comment))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    external_key: Option<String>,
    device: Option<String>,
    status: Option<String>,
    updated_since: Option<Timestamp>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Comment {
    text: String,
}

async fn openapi() -> Response {
    ([("content-type", "application/json")], OPENAPI).into_response()
}

async fn list(State(desk): State<Desk>, Query(search): Query<Search>) -> Response {
    let filter = Filter {
        external_key: search.external_key,
        device: search.device,
        status: search.status,
        updated_since: search.updated_since,
        limit: search.limit.unwrap_or(100).min(LIST_MAX),
    };
    let tickets = desk.book.list(&filter).await;
    Json(json!({ "tickets": tickets })).into_response()
}

async fn show(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    match desk.book.ticket(&id).await {
        Some(ticket) => Json(ticket).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "missing", &format!("there is no ticket {id}")),
    }
}

async fn open(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Result<Json<NewTicket>, JsonRejection>,
) -> Response {
    let (key, new) = match (idempotency_key(&headers), body) {
        (Ok(key), Ok(Json(new))) => (key, new),
        (Err(refusal), _) => return *refusal,
        (_, Err(wrong)) => return unreadable(&wrong),
    };
    let written = desk.book.open_ticket(key.as_deref(), new, clock::now()).await;
    reply(&desk, StatusCode::CREATED, written).await
}

async fn comment(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Comment>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(Comment { text })) => {
            let change = Change { comment: text, ..Change::default() };
            write(&desk, &id, &headers, change).await
        }
        Err(wrong) => unreadable(&wrong),
    }
}

async fn change(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Change>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(change)) => write(&desk, &id, &headers, change).await,
        Err(wrong) => unreadable(&wrong),
    }
}

/// Applies a change. Who makes it stands in `X-Actor`; without it, it is the gateway.
async fn write(desk: &Desk, id: &str, headers: &HeaderMap, change: Change) -> Response {
    let key = match idempotency_key(headers) {
        Ok(key) => key,
        Err(refusal) => return *refusal,
    };
    let actor = headers.get("x-actor").and_then(|actor| actor.to_str().ok());
    let status = change.status;
    let by = actor.unwrap_or("faultgate");
    let written = desk.book.change(key.as_deref(), id, change, by, clock::now()).await;
    if let (Some(by), Some(status), Ok(_)) = (actor, status, &written) {
        desk.tell(Told { ticket: id.to_owned(), status, by: by.to_owned() });
    }
    reply(desk, StatusCode::OK, written).await
}

/// The ticket, whether it was a repeat, and what has been used so far.
async fn reply(desk: &Desk, fresh: StatusCode, written: Result<Written, BookError>) -> Response {
    match written {
        Ok(Written { ticket, replayed }) => {
            let status = if replayed { StatusCode::OK } else { fresh };
            let created = desk.book.created().await.to_string();
            let repeat = if replayed { "true" } else { "false" };
            let headers = [
                ("x-usage-tickets-created", created),
                ("x-usage-api-calls", "1".to_owned()),
                ("idempotent-replayed", repeat.to_owned()),
            ];
            (status, headers, Json(body(&ticket, replayed))).into_response()
        }
        Err(error @ BookError::Missing(_)) => {
            refuse(StatusCode::NOT_FOUND, "missing", &error.to_string())
        }
        Err(error @ (BookError::Store(_) | BookError::Json(_))) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "store", &error.to_string())
        }
    }
}

fn body(ticket: &Ticket, replayed: bool) -> Value {
    let mut body = serde_json::to_value(ticket).unwrap_or_default();
    body["replayed"] = json!(replayed);
    body
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Box<Response>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_BYTES_MAX => Ok(Some(key.to_owned())),
        _ => {
            let message = format!("an idempotency key has 1 to {KEY_BYTES_MAX} ASCII characters");
            Err(Box::new(refuse(StatusCode::BAD_REQUEST, "idempotency-key", &message)))
        }
    }
}

fn unreadable(wrong: &JsonRejection) -> Response {
    refuse(wrong.status(), "body", &wrong.body_text())
}

fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}
