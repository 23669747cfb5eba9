//! `POST /hooks/<upstream>`: what ticket systems tell by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use metrics::counter;
use serde_json::json;
use tokio::sync::mpsc;
use tower_http::limit::RequestBodyLimitLayer;

use super::{Change, HookAnswer, Hooked, Upstream};

/// Largest delivery, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

type Served = (Arc<BTreeMap<String, Arc<Upstream>>>, mpsc::Sender<(String, Change)>);

/// The routes; what is told goes to `told`.
pub fn router(
    upstreams: BTreeMap<String, Arc<Upstream>>,
    told: mpsc::Sender<(String, Change)>,
) -> Router {
    Router::new()
        .route("/hooks/{upstream}", post(take))
        .route("/hooks/{upstream}/{secret}", post(take_secret))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .with_state((Arc::new(upstreams), told))
}

async fn take(
    State(served): State<Served>,
    Path(upstream): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    answer(&served, &upstream, None, &headers, body).await
}

async fn take_secret(
    State(served): State<Served>,
    Path((upstream, secret)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    answer(&served, &upstream, Some(secret), &headers, body).await
}

async fn answer(
    (upstreams, told): &Served,
    name: &str,
    path: Option<String>,
    headers: &HeaderMap,
    body: String,
) -> Response {
    let Some(upstream) = upstreams.get(name) else {
        return refuse(StatusCode::NOT_FOUND, "there is no webhook here");
    };
    let headers = headers.iter().filter_map(|(name, value)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    });
    let hooked = Hooked { headers: headers.collect(), body, path };
    let answered = upstream.hook(&hooked).await;
    let count = |ended: &'static str| {
        let name = name.to_owned();
        counter!("faultgate_hooks_total", "upstream" => name, "outcome" => ended).increment(1);
    };
    match answered {
        HookAnswer::Taken(change) => {
            count("taken");
            if let Some(change) = change {
                // The loop ends before this listener only when the gateway stops.
                drop(told.send((name.to_owned(), change)).await);
            }
            StatusCode::NO_CONTENT.into_response()
        }
        HookAnswer::Challenge(challenge) => Json(json!({ "challenge": challenge })).into_response(),
        HookAnswer::Refused(why) => {
            count("refused");
            tracing::warn!(upstream = name, why, "A webhook is refused.");
            refuse(StatusCode::FORBIDDEN, why)
        }
        HookAnswer::Later(why) => {
            count("later");
            tracing::warn!(upstream = name, why, "A webhook cannot be taken now.");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the ticket cannot be read now; send it again")
        }
        HookAnswer::None => refuse(StatusCode::NOT_FOUND, "there is no webhook here"),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
