//! Credentials that are good for a while: fetched once, by one call at a time, and again when the
//! upstream says that they are not good any more.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::answer::Answer;
use super::call::{Caller, Sent};
use super::condition::Condition;
use super::judge::said;
use super::request::{Content, Request, compose};
use super::spec::{Auth, Carrier, Op};
use super::template::Names;
use crate::engine::types::job::Outcome;
use crate::io::clock;
use crate::io::upstream::http::Attempt;

/// How long before its end a credential is fetched anew.
const EARLY: Duration = Duration::from_secs(30);
/// How long one is good of which nothing is said.
const LASTS: Duration = Duration::from_secs(3_600);

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Session {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    generation: u64,
    good: Option<(String, Instant)>,
}

impl Session {
    /// The credential and its number; `stale` is the number of one that was refused.
    pub async fn token(
        &self,
        caller: &Caller,
        stale: Option<u64>,
        attempt: &mut Attempt,
    ) -> Result<(String, u64), Outcome> {
        // Held while it is fetched: the others wait for this one.
        let mut held = self.held.lock().await;
        if stale == Some(held.generation) {
            held.good = None;
        }
        let now = clock::monotonic();
        if let Some((token, until)) = &held.good
            && now < *until
        {
            return Ok((token.clone(), held.generation));
        }
        let (token, lasts) = fetch(caller, attempt).await?;
        let early = EARLY.min(lasts / 10);
        held.good = Some((token.clone(), clock::monotonic() + lasts.saturating_sub(early)));
        held.generation += 1;
        Ok((token, held.generation))
    }
}

/// True when an answer says that the credential is not good any more.
pub(super) fn is_stale(auth: &Auth, answer: &Answer, names: &Names) -> bool {
    match auth {
        Auth::Key { .. } | Auth::Basic { .. } => false,
        Auth::OAuth2 { .. } => answer.status == 401,
        Auth::Login { stale, stale_if, .. } => {
            let said = |condition: &Condition| condition.holds(answer, names);
            stale.contains(&answer.status) || stale_if.iter().any(said)
        }
    }
}

/// Where a credential that is fetched goes; `None` for those that are fixed.
pub(super) fn carrier(auth: &Auth) -> Option<&Carrier> {
    match auth {
        Auth::OAuth2 { carrier, .. } | Auth::Login { carrier, .. } => Some(carrier),
        Auth::Key { .. } | Auth::Basic { .. } => None,
    }
}

async fn fetch(caller: &Caller, attempt: &mut Attempt) -> Result<(String, Duration), Outcome> {
    let names = caller.constants.clone();
    let (request, lasts) = match &caller.api.auth {
        Some(Auth::OAuth2 { .. }) => (oauth2_request(caller)?, LASTS),
        Some(Auth::Login { step, lasts, .. }) => {
            let composed = compose(&caller.base, step, &names, None);
            (composed.map_err(|slip| caller.slipped(&slip))?, lasts.to_std())
        }
        Some(Auth::Key { .. } | Auth::Basic { .. }) | None => {
            return Err(caller.rejected("there is nothing to log in with"));
        }
    };
    let answer = match caller.execute(Op::Whoami, &request, attempt).await {
        Sent::Answer(answer) => answer,
        Sent::Not(reason) | Sent::Lost(reason) => {
            return Err(Outcome::Later { reason: format!("log in: {reason}"), after: None });
        }
    };
    let found = match &caller.api.auth {
        Some(Auth::Login { token, .. }) => token.first(&answer, &names),
        _ => answer.json.as_ref().and_then(|json| json["access_token"].as_str()).map(str::to_owned),
    };
    let good = (200..400).contains(&answer.status);
    let Some(token) = found.filter(|_| good) else {
        let said = caller.clean(&said(&caller.api.errors, &answer, &names));
        let reason = format!("log in: {said}; look at `auth` and its secrets");
        return Err(Outcome::Later { reason, after: None });
    };
    caller.learn_secret(&token);
    let expires = answer.json.as_ref().and_then(|json| json["expires_in"].as_f64());
    let expires = expires.filter(|_| matches!(caller.api.auth, Some(Auth::OAuth2 { .. })));
    let expires =
        expires.filter(|seconds| *seconds >= 1.0).map(|s| Duration::from_secs_f64(s.min(1e7)));
    Ok((token, expires.unwrap_or(lasts)))
}

fn oauth2_request(caller: &Caller) -> Result<Request, Outcome> {
    let Some(Auth::OAuth2 { token_url, client_id, client_secret, fields, basic, .. }) =
        &caller.api.auth
    else {
        return Err(caller.rejected("there is nothing to log in with"));
    };
    let secret = client_secret
        .resolve()
        .map_err(|error| Outcome::Later { reason: format!("log in: {error}"), after: None })?;
    caller.learn_secret(&secret);
    let url = caller.base.join(token_url).map_err(|error| caller.rejected(&error.to_string()))?;
    let mut form = fields.clone();
    form.insert("grant_type".to_owned(), "client_credentials".to_owned());
    let mut request = Request {
        method: "POST".to_owned(),
        url,
        query: Vec::new(),
        headers: [("accept".to_owned(), "application/json".to_owned())].into(),
        content: Content::None,
    };
    if *basic {
        request.headers.insert("authorization".to_owned(), super::call::basic(client_id, &secret));
    } else {
        form.insert("client_id".to_owned(), client_id.clone());
        form.insert("client_secret".to_owned(), secret);
    }
    request.content = Content::Form(form);
    Ok(request)
}
