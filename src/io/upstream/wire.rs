//! How requests travel: over the network, or through a simulation.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value as Json;

use super::config::UpstreamConfig;
use super::http::ConnectError;
use super::reported::Counters;

use crate::io::clock;

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

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does.
    pub method: Method,
    /// To what.
    pub url: Url,
    /// Header `Idempotency-Key`.
    pub key: Option<String>,
    /// What it says, where that is JSON.
    pub body: Option<Json>,
    /// Type and bytes of what it says, where that is anything else.
    pub content: Option<(String, Vec<u8>)>,
    /// Other headers.
    pub headers: Vec<(String, String)>,
    /// Time for it, in place of the usual one.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request that says nothing yet.
    pub fn new(method: Method, url: Url) -> Request {
        let headers = Vec::new();
        Request { method, url, key: None, body: None, content: None, headers, timeout: None }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// What it says in one number.
    pub status: StatusCode,
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// What it says, or why that was lost on the way.
    pub body: Result<Vec<u8>, String>,
}

impl Response {
    /// The first header of a name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Nothing was sent: the connection never came about.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

/// What is under way.
pub type UnderWay<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries requests to one upstream.
pub trait Wire: fmt::Debug + Send + Sync {
    /// Sends a request and waits for its answer.
    fn send(&self, request: Request) -> UnderWay<'_, Result<Response, WireError>>;

    /// Lets time pass.
    fn pause(&self, time: Duration) -> UnderWay<'_, ()>;

    /// A clock that only goes on: that by which pauses are measured.
    fn now(&self) -> Instant {
        clock::monotonic()
    }
}

/// The network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    client: Client,
    counters: Counters,
}

impl Network {
    /// With the upstream's token after `scheme`; without one the token is sent some other way.
    pub fn new(
        config: &UpstreamConfig,
        scheme: Option<&str>,
        counters: Counters,
    ) -> Result<Network, ConnectError> {
        let mut headers = HeaderMap::new();
        if let (Some(token), Some(scheme)) = (&config.token, scheme) {
            let value = format!("{scheme}{}", token.resolve()?);
            let mut value = HeaderValue::from_str(&value).map_err(|_| ConnectError::Token)?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        Ok(Network { client: client(headers, config.max_in_flight)?, counters })
    }

    async fn exchange(&self, request: Request) -> Result<Response, WireError> {
        let mut sent = self.client.request(request.method, request.url);
        if let Some(key) = request.key.and_then(|key| HeaderValue::from_str(&key).ok()) {
            sent = sent.header(HeaderName::from_static("idempotency-key"), key);
        }
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        if let Some(timeout) = request.timeout {
            sent = sent.timeout(timeout);
        }
        let typed = request.headers.iter().any(|(name, _)| name == "content-type");
        if let Some((kind, bytes)) = request.content {
            sent = if typed { sent } else { sent.header(CONTENT_TYPE, kind) }.body(bytes);
        } else if let Some(body) = &request.body {
            let kind = "application/json";
            let bytes = body.to_string();
            sent = if typed { sent } else { sent.header(CONTENT_TYPE, kind) }.body(bytes);
        }
        let mut response = sent.send().await.map_err(|error| {
            // Nothing was sent on a connection that never came about.
            let unsent = error.is_connect() || error.is_builder();
            if unsent { WireError::NotSent(chain(&error)) } else { WireError::Lost(chain(&error)) }
        })?;
        let host = response.url().host_str().unwrap_or_default();
        self.counters.note(host, response.headers());
        let headers = response.headers().iter().filter_map(|(name, value)| {
            value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect();
        Ok(Response { status: response.status(), headers, body: read(&mut response).await })
    }
}

impl Wire for Network {
    fn send(&self, request: Request) -> UnderWay<'_, Result<Response, WireError>> {
        Box::pin(self.exchange(request))
    }

    fn pause(&self, time: Duration) -> UnderWay<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

async fn read(response: &mut reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("the answer has more than 1 MiB".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A client with deadlines, for calls that are not to an upstream.
///
/// # Errors
/// When the system has no certificates, or no randomness.
pub fn plain_client() -> Result<Client, reqwest::Error> {
    client(HeaderMap::new(), KEPT_CONNECTIONS)
}

fn client(headers: HeaderMap, kept: usize) -> Result<Client, reqwest::Error> {
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

/// An error with its causes, without the address: it may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { "failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
