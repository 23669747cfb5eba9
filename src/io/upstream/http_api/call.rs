//! The only place that calls: limits, credentials, signature, the request, and what its answer
//! means.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use metrics::counter;
use minijinja::Value;
use reqwest::{Method, Url};

use super::answer::Answer;
use super::filters::percent;
use super::judge::{Verdict, judge};
use super::limits::{Limiter, Turn, asked_wait, is_used_up};
use super::proof::held;
use super::request::{Content, File, Request, Slip, compose};
use super::session::{self, Session};
use super::sign::sign;
use super::spec::{Api, Auth, Class, Op, Step, Text};
use super::template::{Escape, Names, Template};
use crate::engine::types::document::Scalar;
use crate::engine::types::job::Outcome;
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::upstream::UpstreamConfig;
use crate::io::upstream::http::{Attempt, ConnectError, SHORT, reason};
use crate::io::upstream::wire::{self, Wire, WireError};

/// Secrets shorter than this are too common to be looked for in texts.
const SECRET_CHARS_MIN: usize = 4;
/// Pause that a limit asks for of which nothing else is said.
const PENALTY: TimeSpan = TimeSpan::from_secs(10);
/// Secrets that are looked for in texts; sessions come and go.
const SECRETS_MAX: usize = 32;

/// Calls one upstream.
#[derive(Debug)]
pub(super) struct Caller {
    name: String,
    wire: Arc<dyn Wire>,
    /// Its address.
    pub base: Url,
    /// What is known of it.
    pub api: Arc<Api>,
    session: Session,
    limiter: Limiter,
    /// Names that every template may use.
    pub constants: Names,
    headers: Vec<(String, String)>,
    credential: Option<String>,
    bearer: Option<String>,
    secrets: Mutex<Vec<String>>,
}

/// What a call is about, beside its names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'f> {
    /// A critical ticket: it may use what is kept back for these.
    pub critical: bool,
    /// Header `Idempotency-Key`.
    pub key: Option<&'f str>,
    /// What is attached.
    pub file: Option<&'f File>,
    /// The step changes nothing, whatever its method.
    pub reads: bool,
}

/// What came of sending.
#[derive(Debug)]
pub(super) enum Sent {
    /// An answer.
    Answer(Answer),
    /// It was not sent.
    Not(String),
    /// It may have arrived.
    Lost(String),
}

/// Why a step has not succeeded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The attempt ends like this.
    Ended(Outcome),
    /// It is there already.
    Duplicate {
        /// The answer that says so.
        answer: Answer,
        /// What was said.
        reason: String,
    },
    /// The version was not the newest.
    Stale {
        /// What was said.
        reason: String,
    },
    /// A queue was read and is not as it should be.
    NotReady {
        /// What is wrong.
        reason: String,
    },
    /// The credential was refused.
    Auth {
        /// Number of the credential that was used; `None` for a fixed one.
        generation: Option<u64>,
        /// What was said.
        reason: String,
        /// How long to wait.
        wait: Option<TimeSpan>,
    },
}

impl Failure {
    /// What the attempt ends with, where the kind of failure makes no difference.
    pub fn outcome(self) -> Outcome {
        match self {
            Failure::Ended(outcome) => outcome,
            Failure::Duplicate { reason, .. } => Outcome::Rejected { reason },
            Failure::Stale { reason } => Outcome::Held { reason, after: None },
            Failure::NotReady { reason } => held(&reason),
            Failure::Auth { reason, wait, .. } => Outcome::Later { reason, after: wait },
        }
    }
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Failure {
        Failure::Ended(outcome)
    }
}

impl Caller {
    /// Gets ready.
    pub fn new(
        wire: Arc<dyn Wire>,
        config: &UpstreamConfig,
        api: &Arc<Api>,
    ) -> Result<Caller, ConnectError> {
        let url = config.url.clone().unwrap_or_default();
        let base = Url::parse(&url).map_err(|_| ConnectError::Address(url.clone()))?;
        let mut known = Vec::new();
        let mut resolve = |secret: &crate::io::secret::Secret| {
            let value = secret.resolve();
            known.extend(value.iter().cloned());
            value
        };
        let mut secrets = Vec::new();
        for (name, secret) in &api.secrets {
            secrets.push((name.clone(), resolve(secret)?));
        }
        if let Some(token) = &config.token {
            secrets.push(("token".to_owned(), resolve(token)?));
        }
        let credential = match &api.auth {
            Some(Auth::Key { secret, .. } | Auth::Basic { password: secret, .. }) => {
                Some(resolve(secret)?)
            }
            Some(Auth::OAuth2 { client_secret, .. }) => {
                resolve(client_secret)?;
                None
            }
            Some(Auth::Login { .. }) | None => None,
        };
        let mut constants = constants(config, api);
        constants.insert(
            "secrets".to_owned(),
            Value::from_pairs(secrets.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        );
        let mut headers = Vec::new();
        for (name, text) in &api.headers {
            let value = match text {
                Text::Secret(secret) => resolve(secret)?,
                // What fails here fails in the check as well.
                Text::Template(text) => text.render(Escape::Raw, &constants).unwrap_or_default(),
            };
            headers.push((name.to_lowercase(), value));
        }
        known.sort_unstable();
        known.dedup();
        Ok(Caller {
            name: config.name.clone(),
            base,
            api: Arc::clone(api),
            session: Session::default(),
            limiter: Limiter::new(config.rate, &api.limits, wire.now()),
            wire,
            constants,
            headers,
            bearer: bearer(api, &secrets),
            credential,
            secrets: Mutex::new(known),
        })
    }

    /// Makes one step; a session that has ended is begun again once.
    pub async fn step(
        &self,
        op: Op,
        step: &Step,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Failure> {
        match self.once(op, step, names, about, None, attempt).await {
            Err(Failure::Auth { generation: Some(generation), .. }) => {
                let again = self.once(op, step, names, about, Some(generation), attempt).await;
                again.map_err(|failure| match failure {
                    Failure::Auth { reason, wait, .. } => {
                        Failure::Ended(Outcome::Later { reason, after: wait })
                    }
                    other @ (Failure::Ended(_)
                    | Failure::Duplicate { .. }
                    | Failure::NotReady { .. }
                    | Failure::Stale { .. }) => other,
                })
            }
            other => other,
        }
    }

    async fn once(
        &self,
        op: Op,
        step: &Step,
        names: &Names,
        about: About<'_>,
        stale: Option<u64>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Failure> {
        match self.limiter.turn(op, about.critical, self.wire.now()) {
            Turn::After(wait) if wait.is_zero() => {}
            // A timer rounds up to the next millisecond, even for no time at all.
            Turn::After(wait) => self.wire.pause(wait).await,
            Turn::Later(after) => {
                let reason = "the upstream asks to wait".to_owned();
                return Err(Failure::Ended(Outcome::Held { reason, after: Some(after) }));
            }
        }
        let mut all = self.constants.clone();
        all.insert("now".to_owned(), Value::from(clock::now().to_string()));
        all.extend(names.iter().map(|(name, value)| (name.clone(), value.clone())));
        let composed = compose(&self.base, step, &all, about.file);
        let mut request = composed.map_err(|slip| self.slipped(&slip))?;
        let generation = self.authorise(op, &mut request, &all, about, stale, attempt).await?;
        let writes = !(op.only_reads() || about.reads || step.method == "GET");
        let answer = match self.execute(op, &request, attempt).await {
            Sent::Answer(answer) => answer,
            Sent::Not(reason) => {
                return Err(Failure::Ended(Outcome::Later { reason, after: None }));
            }
            Sent::Lost(reason) => {
                attempt.sent(writes);
                return Err(Failure::Ended(Outcome::Unknown { reason }));
            }
        };
        attempt.sent(writes);
        let auth = self.api.auth.as_ref();
        if generation.is_some() && auth.is_some_and(|auth| session::is_stale(auth, &answer, &all)) {
            let reason = self.clean(&super::judge::said(&self.api.errors, &answer, &all));
            return Err(Failure::Auth { generation, reason, wait: None });
        }
        if step.lock.as_ref().is_some_and(|lock| lock.stale.contains(&answer.status)) {
            let reason = self.clean(&super::judge::said(&self.api.errors, &answer, &all));
            return Err(Failure::Stale { reason });
        }
        let verdict = judge(op, step, &self.api.errors, &answer, &all);
        if op == Op::Ready && verdict.class == Class::Permanent && answer.status < 300 {
            return Err(Failure::NotReady { reason: self.clean(&verdict.reason) });
        }
        self.after(verdict, answer, writes, generation, attempt)
    }

    /// What an answer means for the attempt and for the calls after it.
    fn after(
        &self,
        verdict: Verdict,
        answer: Answer,
        writes: bool,
        generation: Option<u64>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Failure> {
        let (limits, now) = (&self.api.limits, clock::now());
        let asked = asked_wait(limits, &answer, now);
        let limited =
            answer.status == 429 || (verdict.class != Class::Ok && verdict.wait.is_some());
        let wait = verdict.wait.or(asked);
        if limited {
            let penalty = limits.penalty.unwrap_or(PENALTY);
            self.limiter.pause(wait.unwrap_or(penalty), self.wire.now());
        } else if let Some(asked) = asked.filter(|_| is_used_up(limits, &answer)) {
            self.limiter.pause(asked, self.wire.now());
        }
        let reason = self.clean(&verdict.reason);
        Err(match verdict.class {
            Class::Ok => {
                attempt.succeeded(writes);
                return Ok(answer);
            }
            Class::Retry => Failure::Ended(Outcome::Later { reason, after: wait }),
            Class::Auth => Failure::Auth { generation, reason, wait },
            Class::Gone => Failure::Ended(Outcome::Gone { reason }),
            Class::Permanent => Failure::Ended(Outcome::Rejected { reason }),
            Class::Duplicate => Failure::Duplicate { answer, reason },
            Class::Unknown => Failure::Ended(Outcome::Unknown { reason }),
        })
    }

    /// Credentials, fixed headers and signature; the number of the credential that was fetched.
    /// Nothing of it goes to another server than the upstream's.
    async fn authorise(
        &self,
        op: Op,
        request: &mut Request,
        names: &Names,
        about: About<'_>,
        stale: Option<u64>,
        attempt: &mut Attempt,
    ) -> Result<Option<u64>, Outcome> {
        if request.url.origin() != self.base.origin() {
            return Ok(None);
        }
        for (name, value) in &self.headers {
            request.headers.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if let Some(key) = about.key {
            request.headers.entry("idempotency-key".to_owned()).or_insert_with(|| key.to_owned());
        }
        let mut generation = None;
        match &self.api.auth {
            Some(Auth::Key { carrier, .. }) => {
                request.carry(carrier, self.credential.as_deref().unwrap_or_default());
            }
            Some(Auth::Basic { user, .. }) => {
                let value = basic(user, self.credential.as_deref().unwrap_or_default());
                request.headers.insert("authorization".to_owned(), value);
            }
            Some(auth @ (Auth::OAuth2 { .. } | Auth::Login { .. })) => {
                let (token, number) = self.session.token(self, stale, attempt).await?;
                if let Some(carrier) = session::carrier(auth) {
                    request.carry(carrier, &token);
                }
                generation = Some(number);
            }
            None => {
                if let Some(token) = &self.bearer {
                    let value = || format!("Bearer {token}");
                    request.headers.entry("authorization".to_owned()).or_insert_with(value);
                }
            }
        }
        if let Some(rule) = &self.api.sign
            && (rule.operations.is_empty() || rule.operations.contains(&op))
        {
            let mut bytes = [0_u8; 8];
            let random = ring::rand::SystemRandom::new();
            ring::rand::SecureRandom::fill(&random, &mut bytes)
                .map_err(|_| self.rejected("the system has no randomness"))?;
            let nonce = super::digest::encode(super::digest::Encoding::Hex, &bytes);
            sign(rule, request, names, clock::now(), &nonce).map_err(|slip| self.slipped(&slip))?;
        }
        Ok(generation)
    }

    /// Sends a request as it is.
    pub async fn execute(&self, op: Op, request: &Request, attempt: &mut Attempt) -> Sent {
        if !attempt.may_send() {
            return Sent::Not(SHORT.to_owned());
        }
        let Ok(method) = Method::from_bytes(request.method.as_bytes()) else {
            return Sent::Not(format!("`{}` is not a method", request.method));
        };
        let mut sent = wire::Request::new(method, request.address());
        sent.timeout = self.api.limits.timeout.map(TimeSpan::to_std);
        for (name, value) in &request.headers {
            match name.as_str() {
                "idempotency-key" => sent.key = Some(value.clone()),
                _ => sent.headers.push((name.clone(), value.clone())),
            }
        }
        match &request.content {
            Content::Json(json) => sent.body = Some(json.clone()),
            Content::None | Content::Form(_) | Content::Bytes { .. } => {
                sent.content = request.body()
            }
        }
        let response = match self.wire.send(sent).await {
            Ok(response) => response,
            Err(WireError::NotSent(why)) => {
                self.count(op, "none");
                return Sent::Not(self.clean(&why));
            }
            Err(WireError::Lost(why)) => {
                self.count(op, "lost");
                attempt.requests += 1;
                return Sent::Lost(self.clean(&why));
            }
        };
        attempt.requests += 1;
        let status = response.status.as_u16();
        self.count(op, &status.to_string());
        match response.body {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let json = serde_json::from_slice(&bytes).ok();
                Sent::Answer(Answer { status, headers: response.headers, text, json })
            }
            Err(why) => Sent::Lost(self.clean(&why)),
        }
    }

    /// Lets time pass.
    pub async fn pause(&self, span: Duration) {
        if !span.is_zero() {
            self.wire.pause(span).await;
        }
    }

    fn count(&self, op: Op, status: &str) {
        let (name, status) = (self.name.clone(), status.to_owned());
        counter!(
            "faultgate_upstream_requests_total",
            "upstream" => name, "operation" => op.word(), "status" => status
        )
        .increment(1);
    }

    /// Refused for good.
    pub fn rejected(&self, said: &str) -> Outcome {
        Outcome::Rejected { reason: self.clean(said) }
    }

    /// A template that does not fit what it was given.
    pub fn slipped(&self, slip: &Slip<'_>) -> Outcome {
        let text = slip.template.map(|template| template.text.as_str()).unwrap_or_default();
        let text = crate::engine::types::text::cut_chars(text, 80);
        self.rejected(&format!("template `{text}`: {}", slip.message))
    }

    /// A text for logs and people: on one line, without secrets.
    pub fn clean(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for secret in secrets.iter().filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN) {
            text = text.replace(secret.as_str(), "***").replace(&percent(secret), "***");
        }
        reason(&text)
    }

    /// A credential that was fetched is a secret as well.
    pub fn learn_secret(&self, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
        }
        if secrets.len() > SECRETS_MAX {
            secrets.remove(SECRETS_MAX / 2);
        }
    }
}

/// The token that goes as `Authorization: Bearer`: one of which no header and no signature says
/// where it goes.
fn bearer(api: &Api, secrets: &[(String, String)]) -> Option<String> {
    let names = |template: &Template| template.text.contains("secrets.token");
    let placed = api.headers.values().any(|text| match text {
        Text::Template(template) => names(template),
        Text::Secret(_) => false,
    });
    let signs = api
        .sign
        .as_ref()
        .is_some_and(|sign| sign.key.as_ref().is_some_and(names) || names(&sign.over));
    let paths = api.operations.values().flat_map(|operation| &operation.steps);
    let mut paths = paths.flat_map(|step| step.query.values().chain([&step.path]));
    if placed || signs || paths.any(names) {
        return None;
    }
    secrets.iter().find(|(name, _)| name == "token").map(|(_, token)| token.clone())
}

/// `Authorization` of user and password.
pub(super) fn basic(user: &str, password: &str) -> String {
    let both = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
}

/// What every template may name, but the secrets.
pub(super) fn constants(config: &UpstreamConfig, api: &Api) -> Names {
    let vars = api.vars.iter().map(|(name, scalar)| (name.as_str(), scalar_value(scalar)));
    Names::from([
        ("vars".to_owned(), Value::from_pairs(vars)),
        ("key_field".to_owned(), Value::from(api.key_field.as_str())),
        ("url".to_owned(), Value::from(config.url.as_deref().unwrap_or_default())),
        ("timezone".to_owned(), Value::from(api.zone.map(chrono_tz::Tz::name).unwrap_or_default())),
    ])
}

/// A scalar of the file as a value of a template.
pub(super) fn scalar_value(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Bool(flag) => Value::from(*flag),
        Scalar::Int(number) => Value::from(*number),
        Scalar::Float(number) => Value::from(*number),
        Scalar::Text(text) => Value::from(text.as_str()),
    }
}
