//! Request Tracker 5 over REST 2.
//!
//! What it does that one would not expect (measured on 5.0.3): an unknown queue is 403; a change
//! that it does not accept is 200 with a text that says so; an unknown custom field is dropped
//! silently, so that a ticket without its key can come of a create (see `lookup`); a subject over
//! 200 characters is cut silently.

mod changes;
mod lookup;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

pub use changes::Watch;
use lookup::Proof;

use super::config::UpstreamConfig;
use super::http::{Answer, Attempt, Http, rejected};
use super::known_ticket;
use crate::engine::types::job::{Action, Call, Draft, Outcome};
use crate::engine::types::severity::Severity;
use crate::engine::types::text::{cut_bytes, cut_chars};

/// Longest subject that is not cut, in characters.
const SUBJECT_CHARS_MAX: usize = 200;
/// Longest content, in bytes.
const CONTENT_BYTES_MAX: usize = 256 << 10;

/// A client of Request Tracker.
#[derive(Debug)]
pub(super) struct RequestTracker {
    http: Http,
    queue: String,
    key_field: String,
    priority: BTreeMap<Severity, i64>,
    /// By queue: whether what is opened there can be found again.
    proofs: Mutex<BTreeMap<String, Proof>>,
}

impl RequestTracker {
    pub fn new(http: Http, config: &UpstreamConfig) -> RequestTracker {
        RequestTracker {
            http,
            queue: config.queue.clone(),
            key_field: config.key_field.clone(),
            priority: config.priority.clone(),
            proofs: Mutex::default(),
        }
    }

    /// Whether tickets of the default queue could be found again.
    pub async fn check(&self, attempt: &mut Attempt) -> Result<(), Outcome> {
        self.guard(&self.queue, attempt).await.map(|_| ())
    }

    pub async fn perform(&self, call: &Call, attempt: &mut Attempt) -> Result<Outcome, Outcome> {
        match &call.action {
            Action::Open(draft) => self.open(call, draft, attempt).await,
            Action::Comment { text } => {
                let ticket = known_ticket(call)?;
                self.comment(call, ticket, text, attempt).await?;
                done(ticket)
            }
            Action::Escalate { severity, assign, text } => {
                let ticket = known_ticket(call)?;
                let mut change = json!({});
                if let Some(priority) = severity.and_then(|severity| self.priority.get(&severity)) {
                    change["Priority"] = json!(priority);
                }
                if let Some(assign) = assign {
                    change["Owner"] = json!(assign);
                }
                if change.as_object().is_some_and(|change| !change.is_empty()) {
                    self.change(call, ticket, &change, attempt).await?;
                }
                self.comment(call, ticket, text, attempt).await?;
                done(ticket)
            }
            Action::Resolve { text } => self.set_status(call, "resolved", text, attempt).await,
            Action::Reopen { text } => self.set_status(call, "open", text, attempt).await,
        }
    }

    async fn open(
        &self,
        call: &Call,
        draft: &Draft,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Outcome> {
        let queue = draft.queue.as_ref().unwrap_or(&self.queue);
        let subject = cut_chars(&draft.title, SUBJECT_CHARS_MAX);
        let key = &call.fingerprint.0;
        let proven = self.guard(queue, attempt).await?;
        if call.uncertain {
            if let Some(external) = self.find_settled(key, attempt).await? {
                return Ok(Outcome::Done { external, found: true });
            }
            if !proven {
                self.no_lost_twin(queue, subject, attempt).await?;
            }
        }
        let body = json!({
            "Queue": queue,
            "Subject": subject,
            "Content": cut_bytes(&draft.body, CONTENT_BYTES_MAX),
            "ContentType": "text/plain",
            "Priority": self.priority.get(&draft.severity),
            "CustomFields": { &self.key_field: key },
        });
        let sent = Some(call.idempotency_key.as_str());
        let answer =
            self.http.send(attempt, Method::POST, "ticket", &[], sent, Some(&body)).await?;
        let Answer { body, .. } = answer.success()?;
        let external = id(&body["id"]).ok_or_else(|| Outcome::Unknown {
            reason: "Request Tracker named no ticket".to_owned(),
        })?;
        self.read_back(queue, &external, key, attempt).await?;
        Ok(Outcome::Done { external, found: false })
    }

    async fn set_status(
        &self,
        call: &Call,
        status: &str,
        text: &str,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Outcome> {
        let ticket = known_ticket(call)?;
        self.comment(call, ticket, text, attempt).await?;
        self.change(call, ticket, &json!({ "Status": status }), attempt).await?;
        done(ticket)
    }

    /// Changes a ticket. Request Tracker answers 200 with a text for each field; the texts for
    /// what it did not accept are told apart by their words.
    async fn change(
        &self,
        call: &Call,
        ticket: &str,
        change: &Json,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        let path = format!("ticket/{ticket}");
        let key = Some(call.idempotency_key.as_str());
        let answer = self.http.send(attempt, Method::PUT, &path, &[], key, Some(change)).await?;
        let texts = texts(answer.success()?.body)?;
        let refusals =
            ["isn't a valid", "Permission Denied", "Could not", "not found", "does not exist"];
        match texts.iter().find(|text| refusals.iter().any(|refusal| text.contains(refusal))) {
            Some(text) => Err(rejected(text)),
            None => Ok(()),
        }
    }

    /// Adds a comment once. Its subject carries the key, so that a comment that may have been
    /// added already can be looked up.
    async fn comment(
        &self,
        call: &Call,
        ticket: &str,
        text: &str,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        if text.is_empty() {
            return Ok(());
        }
        let subject = format!("[faultgate {}]", call.idempotency_key);
        if call.uncertain && self.has_comment(ticket, &subject, attempt).await? {
            return Ok(());
        }
        let body = json!({
            "Subject": subject,
            "Content": cut_bytes(text, CONTENT_BYTES_MAX),
            "ContentType": "text/plain",
        });
        let path = format!("ticket/{ticket}/comment");
        let key = Some(call.idempotency_key.as_str());
        let answer = self.http.send(attempt, Method::POST, &path, &[], key, Some(&body)).await?;
        texts(answer.success()?.body).map(|_| ())
    }
}

/// What it says of a change: a list of texts. Any other answer does not come from it, and says
/// nothing of what was done.
fn texts(body: Json) -> Result<Vec<String>, Outcome> {
    let Json::Array(texts) = body else {
        let reason = "Request Tracker answered a change without saying what was done".to_owned();
        return Err(Outcome::Unknown { reason });
    };
    Ok(texts.iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

fn done(ticket: &str) -> Result<Outcome, Outcome> {
    Ok(Outcome::Done { external: ticket.to_owned(), found: false })
}

/// An id, which is a text in some answers and a number in others.
fn id(value: &Json) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.as_u64().map(|number| number.to_string()))
}
