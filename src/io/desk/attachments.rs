//! Attachments: files of a ticket, sent and fetched as they are.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::book::{NewAttachment, Written};
use super::request::{actor, failed, idempotency_key, is_name, refuse};
use super::usage::Used;
use crate::io::clock;

/// Largest file, in bytes.
pub(super) const ATTACHMENT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

/// Attaches the body of the request.
pub(super) async fn attach(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(Named { name }): Query<Named>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (key, by) = match (idempotency_key(&headers), actor(&headers)) {
        (Ok(key), Ok(by)) => (key, by),
        (Err(refusal), _) | (_, Err(refusal)) => return *refusal,
    };
    let content = match body {
        Ok(content) => content,
        Err(wrong) if wrong.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("an attachment has at most {ATTACHMENT_BYTES_MAX} bytes");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "size", &message);
        }
        Err(wrong) => return refuse(wrong.status(), "body", &wrong.body_text()),
    };
    if let Some(message) = refusal(&name, &content) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "attachment", message);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let content_type = kind.unwrap_or("application/octet-stream").to_owned();
    let bytes = content.len() as u64;
    let file = NewAttachment { name, content_type, content: content.to_vec() };
    let by = by.as_deref().unwrap_or("faultgate");
    let written = desk.book.attach(key.as_deref(), &id, file, by, clock::now()).await;
    match written {
        Ok(Written { ticket, replayed, attachment }) => {
            desk.news.send_replace(());
            let known = ticket.attachments.iter().find(|known| Some(known.number) == attachment);
            let mut body = json!(known);
            body["ticket"] = json!(ticket.id);
            body["replayed"] = json!(replayed);
            let (status, attached) =
                if replayed { (StatusCode::OK, 0) } else { (StatusCode::CREATED, bytes) };
            let mut answer = (status, Json(body)).into_response();
            answer.extensions_mut().insert(Used { attached, ..Used::default() });
            answer
        }
        Err(error) => failed(&error),
    }
}

/// Why a file cannot be attached, if so.
pub(super) fn refusal(name: &str, content: &[u8]) -> Option<&'static str> {
    let is_wrong = content.is_empty() || !is_name(name) || name.contains(['/', '\\']);
    is_wrong.then_some("an attachment has content, and a `name` of 1 to 200 bytes without a path")
}

/// The attachments of a ticket, without their content.
pub(super) async fn list(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    match desk.book.ticket(&id) {
        Ok(ticket) => Json(json!({ "attachments": ticket.attachments })).into_response(),
        Err(error) => failed(&error),
    }
}

/// The content of an attachment: to be saved, whatever it says that it is.
pub(super) async fn fetch(
    State(desk): State<Desk>,
    Path((id, number)): Path<(String, u32)>,
) -> Response {
    let (known, content) = match desk.book.attachment(&id, number) {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let name = utf8_percent_encode(&known.name, NON_ALPHANUMERIC);
    let mut answer = content.into_response();
    let disposition = format!("attachment; filename*=UTF-8''{name}");
    let headers: [(HeaderName, &str); 3] = [
        (CONTENT_TYPE, &known.content_type),
        (CONTENT_DISPOSITION, &disposition),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (header, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(header, value);
        }
    }
    answer
}
