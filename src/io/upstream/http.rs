//! One request and what its end means.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::bucket::Bucket;
use super::config::{UpstreamConfig, own_url};
use crate::engine::types::job::Outcome;
use crate::engine::types::text::{cut_chars, one_line};
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::secret::SecretError;

/// Time to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Time without a byte.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Time for the whole request.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Connections that are kept where nobody says how many calls go at a time.
const KEPT_CONNECTIONS: usize = 8;
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 300;

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

/// A client with deadlines, for calls that are not to an upstream.
///
/// # Errors
/// When the system has no certificates, or no randomness.
pub fn plain_client() -> Result<Client, reqwest::Error> {
    client(HeaderMap::new(), KEPT_CONNECTIONS)
}

pub(super) fn client(headers: HeaderMap, kept: usize) -> Result<Client, reqwest::Error> {
    // The second call finds it installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_WITHIN)
        .read_timeout(IDLE_MAX)
        .timeout(CALL_WITHIN)
        .pool_max_idle_per_host(kept)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// What one attempt at a call has done so far.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Requests that were made: each of them is billable.
    pub requests: u32,
    /// A request that changes something was sent.
    wrote: bool,
    /// One such was answered with a success.
    changed: bool,
}

impl Attempt {
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
            Outcome::Later { reason, .. } if self.changed => Outcome::Unknown { reason },
            Outcome::Unknown { reason } if !self.wrote => Outcome::Later { reason, after: None },
            other @ (Outcome::Done { .. }
            | Outcome::Rejected { .. }
            | Outcome::Later { .. }
            | Outcome::Unknown { .. }) => other,
        }
    }
}

/// A client of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
    bucket: Arc<Mutex<Bucket>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    pub body: Json,
    text: String,
    retry_after: Option<TimeSpan>,
}

impl Http {
    pub fn for_desk(
        config: &UpstreamConfig,
        own: std::net::SocketAddr,
    ) -> Result<Http, ConnectError> {
        let base = config.url.clone().unwrap_or_else(|| own_url(own));
        Http::new(config, &format!("{base}desk/api/v1/"), "Bearer ")
    }

    fn new(config: &UpstreamConfig, base: &str, scheme: &str) -> Result<Http, ConnectError> {
        let base = Url::parse(base).map_err(|_| ConnectError::Address(base.to_owned()))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = &config.token {
            let value = format!("{scheme}{}", token.resolve()?);
            let mut value = HeaderValue::from_str(&value).map_err(|_| ConnectError::Token)?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let bucket = Arc::new(Mutex::new(Bucket::new(config.rate, clock::monotonic())));
        Ok(Http { client: client(headers, config.max_in_flight)?, base, bucket })
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
        let wait = self.bucket.lock().await.take(clock::monotonic(), 0.0);
        // A timer rounds up to the next millisecond, even for no time at all.
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut url = self.base.join(path).map_err(|error| rejected(&error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let writes = method != Method::GET;
        let mut request = self.client.request(method, url);
        if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
            request = request.header(HeaderName::from_static("idempotency-key"), key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            // Nothing was sent on a connection that never came about.
            Err(error) if error.is_connect() || error.is_builder() => {
                let reason = reason(&chain(&error));
                return Err(Outcome::Later { reason, after: None });
            }
            Err(error) => {
                attempt.requests += 1;
                attempt.wrote |= writes;
                return Err(Outcome::Unknown { reason: reason(&chain(&error)) });
            }
        };
        attempt.requests += 1;
        attempt.wrote |= writes;
        attempt.changed |= writes && response.status().is_success();
        read_answer(response).await
    }
}

/// The whole body of an answer, or why it cannot be had.
pub(super) async fn read_whole(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= ANSWER_BYTES_MAX => {
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err("the answer has more than 1 MiB".to_owned()),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(chain(&error)),
        }
    }
}

async fn read_answer(response: reqwest::Response) -> Result<Answer, Outcome> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let bytes = read_whole(response).await;
    let bytes = bytes.map_err(|why| Outcome::Unknown { reason: reason(&why) })?;
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

/// An error with its causes, without the address: it may hold a secret.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { "failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `Retry-After` in seconds or as an HTTP date.
fn retry_after(headers: &HeaderMap) -> Option<TimeSpan> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(TimeSpan::from_secs(i64::from(seconds)));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let at = crate::engine::types::time::Timestamp::from_micros(at.timestamp_micros());
    Some(at.since(clock::now()).max(TimeSpan::ZERO))
}
