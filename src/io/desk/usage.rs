//! The door of the API: who may come in, and what is counted.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Desk;
use super::request::refuse;

/// What a call has used, told by its handler as an extension of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Tickets that it opened.
    pub tickets: u64,
    /// Bytes that it attached.
    pub attached: u64,
}

/// Lets in who has the token, counts the call, and tells what it used and what was used in all.
pub(super) async fn door(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if !is_let_in(&desk, request.headers()) {
        let message = "this desk has a token: send `Authorization: Bearer TOKEN` (`[desk] token`)";
        let mut refusal = refuse(StatusCode::UNAUTHORIZED, "token", message);
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refusal;
    }
    let calls = desk.book.count_call();
    let mut answer = next.run(request).await;
    let (tickets, attached) = desk.book.totals().await;
    let used = answer.extensions().get::<Used>().copied().unwrap_or_default();
    let call =
        format!("api-calls=1, tickets-created={}, bytes-attached={}", used.tickets, used.attached);
    for (name, value) in [
        ("x-usage-call", call),
        ("x-usage-api-calls", calls.to_string()),
        ("x-usage-tickets-created", tickets.to_string()),
        ("x-usage-bytes-attached", attached.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Hashes are compared: blake3 compares them in constant time.
fn is_let_in(desk: &Desk, headers: &HeaderMap) -> bool {
    let Some(wanted) = desk.token else { return true };
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let scheme = given.and_then(|given| given.split_at_checked(7));
    scheme.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case(b"Bearer ") && blake3::hash(token) == wanted
    })
}
