//! One request and what its end means.

use std::sync::Arc;

use reqwest::{Method, StatusCode, Url};
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::bucket::Bucket;
use super::config::Rate;
use super::wire::{Request, Response, Wire, WireError};
use crate::engine::types::job::Outcome;
use crate::engine::types::text::{cut_chars, one_line};
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::secret::SecretError;

/// Longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 300;
/// Why a request is not made.
pub(super) const SHORT: &str =
    "it takes more requests than are paid for; the next attempt may make more";

/// Why an upstream cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its secret is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The token cannot stand in a header.
    #[error("the token has characters that cannot be sent")]
    Token,
    /// The address is none.
    #[error("`{0}` is not the address of a server")]
    Address(String),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// What one attempt at a call has done so far.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Requests that were made: each of them is billable.
    pub requests: u32,
    /// Requests that may be made; `None` for those that belong to no ticket.
    allowed: Option<u32>,
    /// One more would have been made than may.
    pub is_short: bool,
    /// A request that changes something was sent.
    wrote: bool,
    /// One such was answered with a success.
    changed: bool,
}

impl Attempt {
    /// An attempt that may make so many requests.
    pub fn within(allowed: u32) -> Attempt {
        Attempt { allowed: Some(allowed), ..Attempt::default() }
    }

    /// What is left of it, for requests whose effects are looked at apart.
    pub fn aside(&self) -> Attempt {
        let allowed = self.allowed.map(|allowed| allowed.saturating_sub(self.requests));
        Attempt { allowed, ..Attempt::default() }
    }

    /// Takes in the requests that were made aside.
    pub fn join(&mut self, aside: &Attempt) {
        self.requests += aside.requests;
        self.is_short |= aside.is_short;
    }

    /// True while one more request may be made. To be asked before each.
    pub fn may_send(&mut self) -> bool {
        let may = self.allowed.is_none_or(|allowed| self.requests < allowed);
        self.is_short |= !may;
        may
    }

    /// A request has left; `writes` for one that changes something.
    pub fn sent(&mut self, writes: bool) {
        self.wrote |= writes;
    }

    /// A request has succeeded.
    pub fn succeeded(&mut self, writes: bool) {
        self.changed |= writes;
    }

    /// What the end of its last request means for the whole attempt. After a step that succeeded
    /// the rest is looked up before anything is sent again; before the first step nothing can
    /// have happened.
    pub fn end(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Later { reason, .. } | Outcome::Held { reason, .. } if self.changed => {
                Outcome::Unknown { reason }
            }
            Outcome::Unknown { reason } if !self.wrote => Outcome::Later { reason, after: None },
            other @ (Outcome::Done { .. }
            | Outcome::Rejected { .. }
            | Outcome::Gone { .. }
            | Outcome::Later { .. }
            | Outcome::Held { .. }
            | Outcome::Unknown { .. }) => other,
        }
    }
}

/// A client of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Http {
    wire: Arc<dyn Wire>,
    base: Url,
    bucket: Arc<Mutex<Bucket>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Json,
    text: String,
    retry_after: Option<TimeSpan>,
}

impl Http {
    /// A client whose requests go over `wire` to addresses below `base`.
    pub fn new(wire: Arc<dyn Wire>, base: &str, rate: Rate) -> Result<Http, ConnectError> {
        let base = Url::parse(base).map_err(|_| ConnectError::Address(base.to_owned()))?;
        Ok(Http { wire, base, bucket: Arc::new(Mutex::new(Bucket::new(rate, clock::monotonic()))) })
    }

    /// Sends one request. `Err` is the end of the attempt: certainly not carried out, or unknown.
    pub async fn send(
        &self,
        attempt: &mut Attempt,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        key: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer, Outcome> {
        if !attempt.may_send() {
            return Err(Outcome::Later { reason: SHORT.to_owned(), after: None });
        }
        let wait = self.bucket.lock().await.take(clock::monotonic(), 0.0);
        // A timer rounds up to the next millisecond, even for no time at all.
        if !wait.is_zero() {
            self.wire.pause(wait).await;
        }
        let mut url = self.base.join(path).map_err(|error| rejected(&error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let writes = method != Method::GET;
        let key = key.map(str::to_owned);
        let request = Request { key, body: body.cloned(), ..Request::new(method, url) };
        let response = match self.wire.send(request).await {
            Ok(response) => response,
            Err(WireError::NotSent(why)) => {
                return Err(Outcome::Later { reason: reason(&why), after: None });
            }
            Err(WireError::Lost(why)) => {
                attempt.requests += 1;
                attempt.wrote |= writes;
                return Err(Outcome::Unknown { reason: reason(&why) });
            }
        };
        attempt.requests += 1;
        attempt.wrote |= writes;
        attempt.changed |= writes && response.status.is_success();
        read_answer(response)
    }
}

fn read_answer(response: Response) -> Result<Answer, Outcome> {
    let retry_after = response.header("retry-after").and_then(read_retry_after);
    let Response { status, body, .. } = response;
    let bytes = body.map_err(|why| Outcome::Unknown { reason: reason(&why) })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        // It says that it was carried out, and not what: not ours to call it refused.
        Err(_) if status.is_success() => {
            let what = format!("{status}, and an answer that cannot be read: {text}");
            return Err(Outcome::Unknown { reason: reason(&what) });
        }
        Err(_) => Json::Null,
    };
    Ok(Answer { status, body, text, retry_after })
}

impl Answer {
    /// The answer when it is a success, else what its status means.
    pub fn success(self) -> Result<Answer, Outcome> {
        let said = format!("{}: {}", self.status, self.said());
        let reason = reason(&said);
        match self.status.as_u16() {
            200..=299 => Ok(self),
            // A wrong token is the operator's to mend; nothing is lost meanwhile.
            401 | 408 | 425 | 429 | 503 => Err(Outcome::Later { reason, after: self.retry_after }),
            // A proxy or a handler that broke in the middle: it may have been carried out.
            500..=599 => Err(Outcome::Unknown { reason }),
            _ => Err(Outcome::Rejected { reason }),
        }
    }

    /// What the upstream said, as one line.
    pub fn said(&self) -> String {
        let message = self.body.get("message").or_else(|| self.body.get("error"));
        let text = message.and_then(Json::as_str).unwrap_or(&self.text);
        one_line(cut_chars(text, REASON_CHARS_MAX))
    }
}

/// Refused for good.
fn rejected(said: &str) -> Outcome {
    Outcome::Rejected { reason: reason(said) }
}

pub(super) fn reason(text: &str) -> String {
    one_line(cut_chars(text, REASON_CHARS_MAX)).trim().to_owned()
}

/// `Retry-After` in seconds or as an HTTP date.
fn read_retry_after(text: &str) -> Option<TimeSpan> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(TimeSpan::from_secs(i64::from(seconds)));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let at = crate::engine::types::time::Timestamp::from_micros(at.timestamp_micros());
    Some(at.since(clock::now()).max(TimeSpan::ZERO))
}
