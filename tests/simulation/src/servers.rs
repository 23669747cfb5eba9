//! What becomes of a request at an upstream, in good times and in bad.

use faultgate::engine::types::time::TimeSpan;
use faultgate::io::upstream::{Request, Response, WireError};
use reqwest::{Method, StatusCode};

use crate::chance::Chance;
use crate::net::Arrived;
use crate::plan::Outage;
use crate::upstream::Answer;
use crate::world::{Event, World};

/// How long the gateway waits for an answer.
const PATIENCE: TimeSpan = TimeSpan::from_secs(30);

type Reply = Result<Response, WireError>;

impl World {
    /// A request has come to an upstream.
    pub(crate) fn arrive(&mut self, life: u64, number: u64, upstream: usize, request: &Request) {
        let mut chance = Chance::of(self.plan.seed, "request", number as usize);
        let now = self.now;
        let outage = self.outages.get(upstream).copied().flatten();
        let outage = outage.filter(|(_, until)| now < *until).map(|(outage, _)| outage);
        let Some(server) = self.servers.get_mut(upstream) else { return };
        let name = server.name;
        let before = server.tickets.len();
        let mut done = false;
        let (reply, within) = {
            let mut take = || {
                done = true;
                server.take(now, request)
            };
            reply(outage, &request.method, &mut chance, &mut take)
        };
        let created = server.tickets.len() > before;
        self.story.tell(now, name, || {
            let what = if created { " (a new ticket)" } else { "" };
            let done = if done { "carried out" } else { "not carried out" };
            let said = match &reply {
                Ok(response) => response.status.to_string(),
                Err(error) => format!("{error:?}"),
            };
            let key = request.key.as_deref().unwrap_or("-");
            let (method, path) = (&request.method, request.url.path());
            format!("{method} {path} [{key}]: {done}{what}; answers {said}")
        });
        let arrived = Arrived::Answer(reply);
        let way = chance.millis(1, 150);
        self.after(within.max(way), Event::Arrived { life, number, arrived });
    }
}

/// The reply, and how long it takes at least.
fn reply(
    outage: Option<Outage>,
    method: &Method,
    chance: &mut Chance,
    take: &mut dyn FnMut() -> Answer,
) -> (Reply, TimeSpan) {
    let lost = |why: &str| Err(WireError::Lost(why.to_owned()));
    let at_once = TimeSpan::ZERO;
    match outage {
        None => (said(take()), at_once),
        Some(Outage::Refused) => {
            (Err(WireError::NotSent("connection refused".to_owned())), at_once)
        }
        Some(Outage::Swallowed) => (lost("timed out"), PATIENCE),
        Some(Outage::Silent) => {
            take();
            (lost("timed out"), PATIENCE)
        }
        Some(Outage::Cut) => {
            if chance.percent(50) {
                take();
            }
            (lost("connection reset"), at_once)
        }
        Some(Outage::Busy) => {
            let after = chance.percent(70).then(|| chance.between(1, 600).to_string());
            let headers =
                after.map(|after| ("retry-after".to_owned(), after)).into_iter().collect();
            let status = StatusCode::TOO_MANY_REQUESTS;
            (Ok(Response { status, headers, body: Ok(b"slow down".to_vec()) }), at_once)
        }
        Some(Outage::Broken) => {
            let status = match chance.below(3) {
                0 => StatusCode::SERVICE_UNAVAILABLE,
                1 => {
                    take();
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                _ => {
                    take();
                    StatusCode::BAD_GATEWAY
                }
            };
            (Ok(plain(status, "broken")), at_once)
        }
        Some(Outage::Garbled) => {
            if chance.percent(50) {
                take();
            }
            let what = chance.one(&["<html>", "{}", "", "{\"id\": null"]).copied();
            (Ok(plain(StatusCode::OK, what.unwrap_or_default())), at_once)
        }
        Some(Outage::Forbidden) if *method == Method::GET => (said(take()), at_once),
        Some(Outage::Forbidden) => {
            (Ok(plain(StatusCode::FORBIDDEN, "{\"message\": \"no right\"}")), at_once)
        }
    }
}

fn said(answer: Answer) -> Reply {
    let body = Ok(answer.body.to_string().into_bytes());
    Ok(Response { status: answer.status, headers: Vec::new(), body })
}

fn plain(status: StatusCode, text: &str) -> Response {
    Response { status, headers: Vec::new(), body: Ok(text.as_bytes().to_vec()) }
}
