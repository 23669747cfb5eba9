//! The desk's API: `/desk/api/v1`.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::attachments::{self, ATTACHMENT_BYTES_MAX};
use super::book::{ATTACHMENTS_MAX, BookError, Filter, Written};
use super::request::{actor, failed, idempotency_key, refuse, unreadable};
use super::ticket::{Change, NewFile, NewTicket};
use super::usage::{Used, door};
use super::{Change as Told, Desk, webhooks};
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::Timestamp;
use crate::io::clock;

/// Largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Most tickets in one list.
const LIST_MAX: usize = 1_000;
/// What the API promises, for machines.
const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn router(desk: Desk) -> Router {
    let files = post(attachments::attach)
        .layer(DefaultBodyLimit::max(ATTACHMENT_BYTES_MAX))
        .get(attachments::list);
    Router::new()
        .route("/desk/api/v1/tickets", get(list).post(open))
        .route("/desk/api/v1/tickets/{id}", get(show).patch(change))
        .route("/desk/api/v1/tickets/{id}/comments", post(comment))
        .route("/desk/api/v1/tickets/{id}/attachments", files)
        .route("/desk/api/v1/tickets/{id}/attachments/{number}", get(attachments::fetch))
        .route("/desk/api/v1/webhooks", get(webhooks::list).post(webhooks::subscribe))
        .route("/desk/api/v1/webhooks/{id}", delete(webhooks::remove))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(desk.clone(), door))
        .route("/desk/api/v1/openapi.json", get(openapi))
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
    let found = desk.book.list(&filter).await;
    let whole = |ids: Vec<String>| ids.iter().map(|id| desk.book.whole(id)).collect();
    match found.and_then(whole) {
        Ok::<Vec<_>, _>(tickets) => Json(json!({ "tickets": tickets })).into_response(),
        Err(error) => failed(&error),
    }
}

async fn show(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    match desk.book.whole(&id) {
        Ok(ticket) => Json(ticket).into_response(),
        Err(error) => failed(&error),
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
    if let Some(refusal) = new.refusal() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "external_key", &refusal);
    }
    let wrong = |file: &NewFile| attachments::refusal(&file.name, &file.content);
    let many = format!("a ticket has at most {ATTACHMENTS_MAX} attachments");
    let many = (new.attachments.len() > ATTACHMENTS_MAX).then_some(many.as_str());
    if let Some(message) = new.attachments.iter().find_map(wrong).or(many) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "attachment", message);
    }
    let bytes = new.attachments.iter().map(|file| file.content.len() as u64).sum();
    let written = desk.book.open_ticket(key.as_deref(), new, clock::now()).await;
    reply(&desk, StatusCode::CREATED, bytes, written)
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

/// Applies a change. Who makes it stands in `X-Actor`; a gateway is known by its key without it.
async fn write(desk: &Desk, id: &str, headers: &HeaderMap, change: Change) -> Response {
    let (key, actor) = match (idempotency_key(headers), actor(headers)) {
        (Ok(key), Ok(actor)) => (key, actor),
        (Err(refusal), _) | (_, Err(refusal)) => return *refusal,
    };
    let (status, is_assigned) =
        (change.status, change.assignee.as_ref().is_some_and(|to| !to.is_empty()));
    let is_gateway = actor.is_none() && key.as_deref().is_some_and(is_of_gateway);
    let by = actor.unwrap_or_else(|| if is_gateway { "faultgate" } else { "api" }.to_owned());
    let written = desk.book.change(key.as_deref(), id, change, &by, clock::now()).await;
    if let (false, Ok(written)) = (is_gateway, &written) {
        // Whom it is given to has it, whatever its state says.
        let given = is_assigned && !written.ticket.status.is_taken();
        if let Some(status) = status.or(given.then_some(TicketStatus::Assigned)) {
            desk.tell(Told { ticket: id.to_owned(), status, by });
        }
    }
    reply(desk, StatusCode::OK, 0, written)
}

/// True for the key of an effect of a gateway: the fingerprint of an episode and a number.
fn is_of_gateway(key: &str) -> bool {
    key.split_once('-').is_some_and(|(fingerprint, number)| {
        fingerprint.len() == 32
            && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.parse::<u32>().is_ok()
    })
}

/// The ticket in short, and whether the request was a repeat. The answer stays small however long
/// the ticket's history is: a client that cuts it could not tell what has become of its request.
///
/// `bytes` are attached by it unless it was.
fn reply(
    desk: &Desk,
    fresh: StatusCode,
    bytes: u64,
    written: Result<Written, BookError>,
) -> Response {
    let (ticket, replayed) = match written {
        Ok(Written { ticket, replayed, .. }) => (ticket, replayed),
        Err(error) => return failed(&error),
    };
    desk.news.send_replace(());
    let status = if replayed { StatusCode::OK } else { fresh };
    let mut body = ticket.summary();
    body["replayed"] = json!(replayed);
    let headers = [("idempotent-replayed", if replayed { "true" } else { "false" })];
    let mut answer = (status, headers, Json(body)).into_response();
    let tickets = u64::from(status == StatusCode::CREATED);
    let attached = if replayed { 0 } else { bytes };
    answer.extensions_mut().insert(Used { tickets, attached });
    answer
}
