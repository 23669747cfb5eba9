//! What an upstream tells by itself: `POST /hooks/<upstream>`, believed only when it is proven to
//! be from there, not too old and not told before.

use std::collections::BTreeMap;

use minijinja::Value;
use serde_json::Value as Json;

use super::HttpApi;
use super::answer::Answer;
use super::call::About;
use super::digest;
use super::run::item_names;
use super::spec::{Api, Proof};
use super::template::{Escape, Names};
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::secret::SecretError;
use crate::io::upstream::Change;
use crate::io::upstream::http::Attempt;
use crate::io::upstream::why;

/// Deliveries that are remembered so that none is taken twice.
const DELIVERIES_MAX: usize = 10_000;
/// How long a delivery is remembered of which no age is said.
const REMEMBER: TimeSpan = TimeSpan::from_secs(3_600);

/// One delivery, as it came.
#[derive(Clone, Debug)]
pub struct Hooked {
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// What follows the upstream's name in the path.
    pub path: Option<String>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// Taken; what it tells, if it tells anything.
    Taken(Option<Change>),
    /// To be sent back.
    Challenge(String),
    /// Not from there, too old, or taken before.
    Refused(&'static str),
    /// Cannot be taken now.
    Later(String),
    /// The upstream has no webhook.
    None,
}

/// What was taken, and when.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    taken: BTreeMap<String, Timestamp>,
}

impl Deliveries {
    /// True for a delivery that was not taken yet.
    fn take(&mut self, id: String, now: Timestamp, remember: TimeSpan) -> bool {
        self.taken.retain(|_, at| now.since(*at) <= remember);
        if self.taken.len() >= DELIVERIES_MAX {
            let oldest = self.taken.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.taken.remove(&oldest));
        }
        self.taken.insert(id, now).is_none()
    }

    fn forget(&mut self, id: &str) {
        self.taken.remove(id);
    }
}

/// The secret of the webhook of an API.
pub(super) fn secret(api: &Api) -> Result<Option<String>, SecretError> {
    let secret = api.webhook.as_ref().map(|webhook| match &webhook.proof {
        Proof::Signature { secret, .. }
        | Proof::Token { secret, .. }
        | Proof::SecretPath(secret) => secret.resolve(),
    });
    secret.transpose()
}

impl HttpApi {
    /// Takes a delivery.
    pub async fn hook(&self, hooked: &Hooked, now: Timestamp) -> HookAnswer {
        let Some(webhook) = &self.api.webhook else { return HookAnswer::None };
        let secret = self.hook_secret.as_deref().unwrap_or_default();
        let answer = Answer {
            status: 200,
            headers: hooked.headers.clone(),
            text: hooked.body.clone(),
            json: body(&hooked.body),
        };
        let proven = proven(&webhook.proof, secret, hooked, &answer, now, &self.caller.constants);
        let delivery = match proven {
            Ok(delivery) => delivery,
            Err(why) => return HookAnswer::Refused(why),
        };
        let names = self.with_constants(&Names::new());
        if let Some(challenge) = &webhook.challenge
            && let Some(challenge) = challenge.first(&answer, &names)
        {
            return HookAnswer::Challenge(challenge);
        }
        let Some(json) = answer.json.clone() else {
            return HookAnswer::Refused("the body is neither JSON nor a form");
        };
        if !self.deliveries.lock().await.take(delivery.clone(), now, age(&webhook.proof)) {
            return HookAnswer::Refused("it was taken before");
        }
        if webhook.ignore_if.iter().any(|ignore| ignore.holds_of_item(&json, &names)) {
            return HookAnswer::Taken(None);
        }
        match self.told_by(&json, &answer).await {
            Ok(change) => HookAnswer::Taken(change),
            Err(why) => {
                // The upstream sends it again.
                self.deliveries.lock().await.forget(&delivery);
                HookAnswer::Later(why)
            }
        }
    }

    async fn told_by(&self, json: &Json, answer: &Answer) -> Result<Option<Change>, String> {
        let Some(webhook) = &self.api.webhook else { return Ok(None) };
        let names = self.with_constants(&item_names(&Names::new(), json, None));
        let Some(ticket) = webhook.ticket.first(answer, &names) else { return Ok(None) };
        let (mut from, mut names) = (answer.clone(), names);
        if webhook.fetch {
            let mut of_ticket = names.clone();
            of_ticket.insert("ticket".to_owned(), Value::from(ticket.as_str()));
            let mut attempt = Attempt::default();
            let about = About { reads: true, ..About::default() };
            let fetched = self.fetch(&of_ticket, about, &mut attempt).await;
            let fetched = fetched.map_err(|failure| why(failure.outcome()))?;
            names = self.with_constants(&item_names(&Names::new(), json, fetched.as_ref()));
            from = fetched.unwrap_or(from);
        }
        let status = webhook.status.as_ref().and_then(|status| status.first(&from, &names));
        let Some(status) = status.and_then(|status| self.meaning(&status)) else { return Ok(None) };
        let by = webhook.by.as_ref().and_then(|by| by.first(&from, &names));
        let told = self.tell(&ticket, status, false).await;
        Ok(told.then(|| Change { ticket, status, by: self.person(by) }))
    }
}

fn age(proof: &Proof) -> TimeSpan {
    match proof {
        Proof::Signature { timestamp: Some((_, age)), .. } => *age + *age,
        Proof::Signature { timestamp: None, .. } | Proof::Token { .. } | Proof::SecretPath(_) => {
            REMEMBER
        }
    }
}

/// What tells the delivery from others, once it is proven to be from the upstream.
fn proven(
    proof: &Proof,
    secret: &str,
    hooked: &Hooked,
    answer: &Answer,
    now: Timestamp,
    constants: &Names,
) -> Result<String, &'static str> {
    if secret.is_empty() {
        return Err("the webhook's secret is empty");
    }
    let digest_of = || blake3::hash(hooked.body.as_bytes()).to_hex().to_string();
    match proof {
        Proof::SecretPath(_) => match &hooked.path {
            Some(path) if digest::same(secret, path) => {
                Ok(format!("{}{}", digest_of(), now.micros()))
            }
            Some(_) | None => Err("the path is not the secret one"),
        },
        Proof::Token { header, prefix, .. } => {
            let given = answer.header(header).and_then(|given| given.strip_prefix(prefix.as_str()));
            match given {
                Some(given) if digest::same(secret, given) => {
                    Ok(format!("{}{}", digest_of(), now.micros()))
                }
                Some(_) | None => Err("the token is not right"),
            }
        }
        Proof::Signature {
            algorithm, encoding, header, prefix, over, timestamp, delivery, ..
        } => {
            let at = timestamp.as_ref().map(|(header, age)| (answer.header(header), *age));
            let delivery = delivery.as_ref().map(|header| answer.header(header));
            let mut names = constants.clone();
            let mut add = |name: &str, text: &str| names.insert(name.to_owned(), Value::from(text));
            add("body", &hooked.body);
            add("timestamp", at.and_then(|(at, _)| at).unwrap_or_default());
            add("delivery", delivery.flatten().unwrap_or_default());
            add("secret", secret);
            let over = over.render(Escape::Raw, &names).map_err(|_| "`over` cannot be rendered")?;
            let bytes = digest::digest(*algorithm, secret.as_bytes(), over.as_bytes());
            let ours = digest::encode(*encoding, &bytes);
            let given = answer.header(header).unwrap_or_default();
            // Several signatures may stand there while a secret is changed.
            let mut given =
                given.split([',', ' ']).filter_map(|one| one.strip_prefix(prefix.as_str()));
            if !given.any(|given| digest::same(&ours, given.trim())) {
                return Err("the signature is not right");
            }
            if let Some((at, age)) = at {
                let at = at.and_then(moment).ok_or("the time of signing is missing")?;
                if now.since(at) > age || at.since(now) > age {
                    return Err("it is too old, or from the future");
                }
            }
            Ok(delivery.flatten().map_or(ours, str::to_owned))
        }
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let number = text.trim().parse::<i64>().ok();
    let micros = number.map(|number| match number > 100_000_000_000 {
        true => number.saturating_mul(1_000),
        false => number.saturating_mul(1_000_000),
    });
    micros.map(Timestamp::from_micros).or_else(|| Timestamp::parse_rfc3339(text))
}

/// JSON, or a form as JSON.
fn body(text: &str) -> Option<Json> {
    if let Ok(json) = serde_json::from_str(text) {
        return Some(json);
    }
    let base = reqwest::Url::parse("http://localhost/").ok()?;
    let url = base.join(&format!("?{text}")).ok()?;
    let pairs =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into()));
    Some(Json::Object(pairs.collect())).filter(|_| text.contains('='))
}

#[cfg(test)]
mod tests {
    use super::super::digest::{Algorithm, Encoding};
    use super::super::template::Template;
    use super::*;
    use crate::io::secret::Secret;

    fn proof() -> Proof {
        Proof::Signature {
            algorithm: Algorithm::HmacSha256,
            encoding: Encoding::Hex,
            secret: Secret::Env("S".into()),
            header: "X-Signature".into(),
            prefix: "sha256=".into(),
            over: Template::ours("{{ timestamp }}.{{ body }}"),
            timestamp: Some(("X-Timestamp".into(), TimeSpan::from_secs(300))),
            delivery: Some("X-Delivery".into()),
        }
    }

    fn try_it(body: &str, at: &str, signed: &str, now: Timestamp) -> Result<String, &'static str> {
        let bytes = digest::digest(Algorithm::HmacSha256, b"secret", signed.as_bytes());
        let signature = format!("sha256={}", digest::encode(Encoding::Hex, &bytes));
        let headers =
            [("x-signature", signature.as_str()), ("x-timestamp", at), ("x-delivery", "7")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let hooked = Hooked { headers: headers.clone(), body: body.to_owned(), path: None };
        let answer = Answer { headers, ..Answer::default() };
        proven(&proof(), "secret", &hooked, &answer, now, &Names::new())
    }

    #[test]
    fn only_a_delivery_that_is_signed_and_new_is_believed() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(try_it("{}", "1767225590", "1767225590.{}", now), Ok("7".to_owned()));
        assert!(try_it("{\"a\":1}", "1767225590", "1767225590.{}", now).is_err(), "changed");
        assert!(try_it("{}", "1767225591", "1767225590.{}", now).is_err(), "another time");
        assert!(try_it("{}", "1767220000", "1767220000.{}", now).is_err(), "too old");
        assert!(try_it("{}", "", ".{}", now).is_err(), "no time");
    }

    #[test]
    fn a_delivery_is_taken_once_while_it_could_be_sent_again() {
        let (mut taken, now) = (Deliveries::default(), Timestamp::from_millis(0));
        let hour = TimeSpan::from_secs(3_600);
        assert!(taken.take("a".into(), now, hour) && !taken.take("a".into(), now, hour));
        assert!(
            taken.take("a".into(), now + hour + hour, hour),
            "its signature is too old by then"
        );
        assert_eq!(body("a=1&b=%E6%B3%B5"), serde_json::from_str(r#"{"a":"1","b":"泵"}"#).ok());
    }
}
