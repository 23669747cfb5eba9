//! `/api/v1/...`, `/healthz`, `/readyz` and `/metrics`.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asker, NoAnswer, Reloader};
use crate::engine::types::alarm::AlarmId;
use crate::engine::types::input::OperatorAction;
use crate::engine::types::job::JobKey;
use crate::engine::types::question::{Question, Signer};
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::rule_history::Origin;

/// What the API promises, for machines.
const OPENAPI: &str = include_str!("openapi.json");

#[derive(Clone)]
struct Served {
    asker: Asker,
    reloader: Reloader,
    metrics: PrometheusHandle,
}

/// The routes.
pub(super) fn router(asker: Asker, reloader: Reloader, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "alive": true }))))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/alarms", get(async |state| ask(state, Question::Alarms).await))
        .route("/api/v1/tickets", get(async |state| ask(state, Question::Tickets).await))
        .route("/api/v1/devices", get(async |state| ask(state, Question::Devices).await))
        .route("/api/v1/devices/{*id}", get(device))
        .route(
            "/api/v1/dead-letters",
            get(async |state| ask(state, Question::ALL_DEAD_LETTERS).await),
        )
        .route("/api/v1/budgets", get(async |state| ask(state, Question::Budgets).await))
        .route("/api/v1/budgets/approve/{token}", post(approve))
        .route("/api/v1/rejected", get(async |state| ask(state, Question::Rejected).await))
        .route("/api/v1/explain/{*id}", get(explain))
        .route("/api/v1/alarms/ack", post(acknowledge))
        .route("/api/v1/alarms/reset", post(reset))
        .route("/api/v1/alarms/shelve", post(shelve))
        .route("/api/v1/alarms/unshelve", post(unshelve))
        .route("/api/v1/alarms/out-of-service", post(take_out_of_service))
        .route("/api/v1/alarms/in-service", post(put_into_service))
        .route("/api/v1/audit", get(audit))
        .route("/api/v1/digest", get(digest))
        .route("/api/v1/tickets/{id}/ack", post(acknowledge_ticket))
        .route("/api/v1/dead-letters/{ticket}/{number}/retry", post(retry))
        .route("/api/v1/dead-letters/{ticket}/{number}/drop", post(drop_letter))
        .route("/api/v1/rules/reload", post(reload))
        .with_state(Served { asker, reloader, metrics })
}

/// Why the rule files are to be read.
#[derive(Debug, Deserialize)]
struct Reload {
    /// They are those of this set of the history.
    rollback: Option<u64>,
}

/// Has the rule files read anew; a set with errors is 422 and changes nothing.
async fn reload(State(served): State<Served>, Query(asked): Query<Reload>) -> Response {
    let origin = asked.rollback.map_or(Origin::Api, |to| Origin::Rollback { to });
    match served.reloader.reload(origin).await {
        Ok(told) if told["accepted"] == Value::Bool(true) => Json(told).into_response(),
        Ok(told) => (StatusCode::UNPROCESSABLE_ENTITY, Json(told)).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// Body of every act.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    /// Who does it.
    by: String,
    /// From where; the API by default.
    #[serde(default = "api")]
    via: String,
    /// Why.
    #[serde(default)]
    reason: String,
    /// The alarm, where the path does not say what is meant.
    rule: Option<String>,
    device: Option<String>,
    #[serde(default)]
    key: Vec<String>,
    /// How long it is shelved: `2h`.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Shelved until it returns, if that is sooner.
    #[serde(default)]
    one_shot: bool,
}

fn api() -> String {
    "api".to_owned()
}

impl Act {
    fn signer(&self) -> Signer {
        Signer { by: self.by.clone(), via: self.via.clone(), reason: self.reason.clone() }
    }

    fn alarm(&self) -> Option<AlarmId> {
        let (rule, device) = (self.rule.clone()?, self.device.clone()?);
        Some(AlarmId { rule, device, key: self.key.clone() })
    }
}

async fn ask(State(served): State<Served>, question: Question) -> Response {
    answer(served.asker.ask(question).await)
}

pub(super) fn answer(answered: Result<Value, NoAnswer>) -> Response {
    match answered {
        Ok(Value::Null) => refuse(StatusCode::NOT_FOUND, "nothing has this id"),
        Ok(answer) if answer["done"] == Value::Bool(false) => {
            refuse(StatusCode::CONFLICT, answer["error"].as_str().unwrap_or("nothing to do"))
        }
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

async fn openapi() -> Response {
    ([("content-type", "application/json")], OPENAPI).into_response()
}

async fn render_metrics(State(served): State<Served>) -> Response {
    ([("content-type", "text/plain; version=0.0.4")], served.metrics.render()).into_response()
}

async fn explain(State(served): State<Served>, Path(id): Path<String>) -> Response {
    answer(served.asker.ask(Question::Explain(id)).await)
}

async fn device(State(served): State<Served>, Path(id): Path<String>) -> Response {
    answer(served.asker.ask(Question::Device(id)).await)
}

/// Ready: every part can do its work. The parts are told one by one.
async fn ready(State(served): State<Served>) -> Response {
    match served.asker.ask(Question::Health).await {
        Ok(health) if health["ready"] == Value::Bool(true) => Json(health).into_response(),
        Ok(health) => (StatusCode::SERVICE_UNAVAILABLE, Json(health)).into_response(),
        Err(NoAnswer::Standstill(why)) => {
            let health = json!({ "ready": false, "store": false, "error": why });
            (StatusCode::SERVICE_UNAVAILABLE, Json(health)).into_response()
        }
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn acknowledge(served: State<Served>, act: Json<Act>) -> Response {
    act_on_alarm(served, act, OperatorAction::Acknowledge).await
}

async fn reset(served: State<Served>, act: Json<Act>) -> Response {
    act_on_alarm(served, act, OperatorAction::Reset).await
}

async fn unshelve(served: State<Served>, act: Json<Act>) -> Response {
    act_on_alarm(served, act, OperatorAction::Unshelve).await
}

async fn put_into_service(served: State<Served>, act: Json<Act>) -> Response {
    act_on_alarm(served, act, OperatorAction::PutIntoService).await
}

async fn take_out_of_service(served: State<Served>, act: Json<Act>) -> Response {
    if act.reason.trim().is_empty() {
        return no_reason();
    }
    act_on_alarm(served, act, OperatorAction::TakeOutOfService).await
}

async fn shelve(served: State<Served>, act: Json<Act>) -> Response {
    if act.reason.trim().is_empty() {
        return no_reason();
    }
    let span = act.span.as_deref().ok_or("`for` is missing: how long, e.g. \"2h\"".to_owned());
    match span.and_then(|span| TimeSpan::parse(span).map_err(|wrong| wrong.to_string())) {
        Ok(span) => {
            let one_shot = act.one_shot;
            let make = |alarm| OperatorAction::Shelve { alarm, span, one_shot };
            act_on_alarm(served, act, make).await
        }
        Err(wrong) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &wrong),
    }
}

async fn act_on_alarm(
    State(served): State<Served>,
    Json(act): Json<Act>,
    make: impl FnOnce(AlarmId) -> OperatorAction,
) -> Response {
    let Some(alarm) = act.alarm() else { return no_alarm() };
    answer(served.asker.ask(Question::Act { action: make(alarm), signer: act.signer() }).await)
}

fn no_reason() -> Response {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "`reason` says why; it is kept")
}

/// From when on.
#[derive(Debug, Deserialize)]
struct Since {
    /// RFC 3339; the beginning by default.
    since: Option<String>,
}

async fn audit(served: State<Served>, asked: Query<Since>) -> Response {
    ask_since(served, asked, |since| Question::Audit { since }).await
}

async fn digest(served: State<Served>, asked: Query<Since>) -> Response {
    ask_since(served, asked, |since| Question::Digest { since }).await
}

async fn ask_since(
    State(served): State<Served>,
    Query(asked): Query<Since>,
    make: impl FnOnce(Timestamp) -> Question,
) -> Response {
    let since = match asked.since.as_deref() {
        Some(since) => Timestamp::parse_rfc3339(since),
        None => Some(Timestamp::EPOCH),
    };
    match since {
        Some(since) => answer(served.asker.ask(make(since)).await),
        None => refuse(StatusCode::UNPROCESSABLE_ENTITY, "`since` is no time in RFC 3339"),
    }
}

fn no_alarm() -> Response {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "`rule` and `device` say which alarm is meant")
}

async fn acknowledge_ticket(
    State(served): State<Served>,
    Path(id): Path<String>,
    Json(act): Json<Act>,
) -> Response {
    match id.parse::<TicketId>() {
        Ok(id) => {
            let action = OperatorAction::AcknowledgeTicket(id);
            answer(served.asker.ask(Question::Act { action, signer: act.signer() }).await)
        }
        Err(wrong) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &wrong),
    }
}

async fn approve(
    State(served): State<Served>,
    Path(token): Path<String>,
    Json(act): Json<Act>,
) -> Response {
    let action = OperatorAction::Approve(token);
    answer(served.asker.ask(Question::Act { action, signer: act.signer() }).await)
}

async fn retry(
    State(served): State<Served>,
    Path((ticket, number)): Path<(String, u32)>,
    Json(act): Json<Act>,
) -> Response {
    handle_letter(&served, &ticket, number, &act, OperatorAction::Retry).await
}

async fn drop_letter(
    State(served): State<Served>,
    Path((ticket, number)): Path<(String, u32)>,
    Json(act): Json<Act>,
) -> Response {
    handle_letter(&served, &ticket, number, &act, OperatorAction::Drop).await
}

async fn handle_letter(
    served: &Served,
    ticket: &str,
    number: u32,
    act: &Act,
    make: fn(JobKey) -> OperatorAction,
) -> Response {
    match ticket.parse::<TicketId>() {
        Ok(ticket) => {
            let action = make(JobKey { ticket, number });
            answer(served.asker.ask(Question::Act { action, signer: act.signer() }).await)
        }
        Err(wrong) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &wrong),
    }
}
