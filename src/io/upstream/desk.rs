//! Our own desk, over its API. It keeps idempotency keys for ever: no look-up is needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::http::{Answer, Attempt, Http};
use super::{known_ticket, plot};
use crate::engine::types::job::{Action, Call, Draft, Outcome};

/// A client of a desk.
#[derive(Debug)]
pub(super) struct DeskClient {
    http: Http,
    plots: bool,
}

impl DeskClient {
    /// `plots`: new tickets get theirs.
    pub fn new(http: Http, plots: bool) -> DeskClient {
        DeskClient { http, plots }
    }

    pub async fn perform(&self, call: &Call, attempt: &mut Attempt) -> Result<Outcome, Outcome> {
        match &call.action {
            Action::Open(draft) => self.open(call, draft, attempt).await,
            Action::Comment { text } => {
                let body = json!({ "text": text });
                let path = format!("tickets/{}/comments", known_ticket(call)?);
                self.done(call, attempt, Method::POST, &path, &body).await
            }
            Action::Escalate { severity, assign, text } => {
                let mut body = json!({ "comment": text });
                if let Some(severity) = severity {
                    body["severity_at_least"] = json!(severity);
                }
                if let Some(assign) = assign {
                    body["assignee"] = json!(assign);
                }
                self.change(call, attempt, &body).await
            }
            Action::Resolve { text } => {
                self.change(call, attempt, &json!({ "status": "resolved", "comment": text })).await
            }
            Action::Reopen { severity, text } => {
                let mut body = json!({ "status": "reopened", "comment": text });
                if let Some(severity) = severity {
                    body["severity"] = json!(severity);
                }
                self.change(call, attempt, &body).await
            }
        }
    }

    async fn open(
        &self,
        call: &Call,
        draft: &Draft,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Outcome> {
        let mut body = json!({
            "external_key": call.fingerprint.0,
            "title": draft.title,
            "body": draft.body,
            "severity": draft.severity,
            "safety": draft.safety,
            "queue": draft.queue,
            "device": draft.device,
            "rule": draft.rule,
            "site": draft.site,
            "raised_at": draft.raised_at,
        });
        let plot = draft.plot.as_ref().filter(|_| self.plots);
        if let Some(content) = plot.and_then(plot::png) {
            let content = STANDARD.encode(content);
            body["attachments"] =
                json!([{ "name": plot::NAME, "content_type": plot::KIND, "content": content }]);
        }
        self.done(call, attempt, Method::POST, "tickets", &body).await
    }

    async fn change(
        &self,
        call: &Call,
        attempt: &mut Attempt,
        body: &Json,
    ) -> Result<Outcome, Outcome> {
        let path = format!("tickets/{}", known_ticket(call)?);
        self.done(call, attempt, Method::PATCH, &path, body).await
    }

    async fn done(
        &self,
        call: &Call,
        attempt: &mut Attempt,
        method: Method,
        path: &str,
        body: &Json,
    ) -> Result<Outcome, Outcome> {
        let key = Some(call.idempotency_key.as_str());
        let answer = self.http.send(attempt, method, path, &[], key, Some(body)).await?;
        let is_gone = call.external.is_some() && answer.status == StatusCode::NOT_FOUND;
        let Answer { body, .. } = answer.success().map_err(|outcome| match outcome {
            Outcome::Rejected { reason } if is_gone => Outcome::Gone { reason },
            other @ (Outcome::Done { .. }
            | Outcome::Gone { .. }
            | Outcome::Rejected { .. }
            | Outcome::Later { .. }
            | Outcome::Held { .. }
            | Outcome::Unknown { .. }) => other,
        })?;
        let external = body["id"]
            .as_str()
            .ok_or_else(|| Outcome::Unknown { reason: "the desk named no ticket".to_owned() })?;
        let found = body["replayed"] == Json::Bool(true);
        Ok(Outcome::Done { external: external.to_owned(), found })
    }
}
