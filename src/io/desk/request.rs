//! What every request of the API may carry, and what a refusal looks like.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode;
use serde_json::json;

use super::book::BookError;

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 200;
/// Longest name of a person or a file, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// `Idempotency-Key`, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Box<Response>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_BYTES_MAX => Ok(Some(key.to_owned())),
        _ => {
            let message = format!("an idempotency key has 1 to {KEY_BYTES_MAX} ASCII characters");
            Err(Box::new(refuse(StatusCode::BAD_REQUEST, "idempotency-key", &message)))
        }
    }
}

/// `X-Actor`, if there is one: UTF-8 as it is, or percent-encoded, also as RFC 8187 writes it
/// (`UTF-8''%E7%8E%8B`), for clients that send ASCII only.
pub(super) fn actor(headers: &HeaderMap) -> Result<Option<String>, Box<Response>> {
    let Some(actor) = headers.get("x-actor") else { return Ok(None) };
    let bytes = actor.as_bytes();
    let bytes = match bytes.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"UTF-8''") => bytes.get(7..).unwrap_or(bytes),
        _ => bytes,
    };
    match percent_decode(bytes).decode_utf8() {
        Ok(name) if is_name(name.trim()) => Ok(Some(name.trim().to_owned())),
        _ => {
            let message = format!(
                "`X-Actor` is a name of 1 to {NAME_BYTES_MAX} bytes, in UTF-8 or percent-encoded"
            );
            Err(Box::new(refuse(StatusCode::BAD_REQUEST, "x-actor", &message)))
        }
    }
}

/// True for the name of a person or a file: not empty, not long, without control characters.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

pub(super) fn unreadable(wrong: &JsonRejection) -> Response {
    refuse(wrong.status(), "body", &wrong.body_text())
}

pub(super) fn failed(error: &BookError) -> Response {
    let (status, word) = match error {
        BookError::Missing(_) => (StatusCode::NOT_FOUND, "missing"),
        BookError::KeyUsed(_) => (StatusCode::CONFLICT, "idempotency-key"),
        BookError::Full(_) => (StatusCode::CONFLICT, "full"),
        BookError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store"),
    };
    refuse(status, word, &error.to_string())
}

pub(super) fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_the_same_person_however_the_name_is_written() {
        let names = ["王工".as_bytes(), b"%E7%8E%8B%E5%B7%A5", b"UTF-8''%E7%8E%8B%E5%B7%A5"];
        for name in names {
            let mut headers = HeaderMap::new();
            headers.insert("x-actor", name.try_into().expect("a header"));
            assert_eq!(actor(&headers).expect("a name").as_deref(), Some("王工"));
        }
    }

    #[test]
    fn an_actor_that_is_no_text_is_refused_and_not_left_out() {
        for name in [b"\xb4\xf3".as_slice(), b"%B4%F3", b" ", &[b'a'; 201]] {
            let mut headers = HeaderMap::new();
            headers.insert("x-actor", name.try_into().expect("a header"));
            let refusal = actor(&headers).expect_err("no name");
            assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
        }
    }
}
