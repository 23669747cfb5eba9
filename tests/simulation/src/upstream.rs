//! The ticket systems: a desk that keeps idempotency keys, and a Request Tracker that ignores them
//! and whose search is behind what was written.

use std::collections::BTreeMap;

use faultgate::engine::types::ticket::TicketStatus;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::Request;
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

/// Custom field of Request Tracker with the external key.
pub const KEY_FIELD: &str = "faultgate_key";
/// Queue of Request Tracker.
pub const QUEUE: &str = "field";

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Ours.
    Desk,
    /// Request Tracker 5.
    Tracker,
}

/// A ticket there.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Our external key.
    pub key: String,
    /// Subject.
    pub title: String,
    /// True while it is over.
    pub is_over: bool,
    /// Keys of the effects that were carried out, in order: `FINGERPRINT-NUMBER`.
    pub effects: Vec<String>,
    created: Timestamp,
}

/// One ticket system, with everything that it was ever asked.
#[derive(Debug)]
pub struct Server {
    /// Name in the configuration.
    pub name: &'static str,
    /// Which system.
    pub system: System,
    /// Its tickets, from number 1.
    pub tickets: Vec<Ticket>,
    /// How long the search is behind.
    pub index_delay: TimeSpan,
    /// Requests that came in.
    pub requests: u64,
    /// Steps of ladders that were carried out.
    pub escalated: u64,
    answers: BTreeMap<String, Json>,
}

/// What a system answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In one number.
    pub status: StatusCode,
    /// In words.
    pub body: Json,
}

impl Answer {
    fn ok(body: Json) -> Answer {
        Answer { status: StatusCode::OK, body }
    }

    fn refused(status: StatusCode, why: &str) -> Answer {
        Answer { status, body: json!({ "message": why }) }
    }
}

impl Server {
    /// One without tickets.
    pub fn new(name: &'static str, system: System, index_delay: TimeSpan) -> Server {
        Server {
            name,
            system,
            tickets: Vec::new(),
            index_delay,
            requests: 0,
            escalated: 0,
            answers: BTreeMap::new(),
        }
    }

    /// Carries out a request.
    pub fn take(&mut self, now: Timestamp, request: &Request) -> Answer {
        self.requests += 1;
        match self.system {
            System::Desk => self.desk(now, request),
            System::Tracker => self.tracker(now, request),
        }
    }

    /// A person changes a ticket; false for one that is over.
    pub fn person(&mut self, ticket: usize, status: TicketStatus) -> bool {
        let Some(ticket) = self.tickets.get_mut(ticket) else { return false };
        let changes = !ticket.is_over;
        ticket.is_over |= status.is_over();
        changes
    }

    fn open(&mut self, now: Timestamp, key: &str, title: &str, effect: &str) -> usize {
        self.tickets.push(Ticket {
            key: key.to_owned(),
            title: title.to_owned(),
            is_over: false,
            effects: vec![effect.to_owned()],
            created: now,
        });
        self.tickets.len()
    }

    fn desk(&mut self, now: Timestamp, request: &Request) -> Answer {
        let key = request.key.clone().unwrap_or_default();
        if let Some(known) = self.answers.get(&key) {
            let mut body = known.clone();
            body["replayed"] = json!(true);
            return Answer::ok(body);
        }
        let body = request.body.clone().unwrap_or_default();
        let path = request.url.path().split("/desk/api/v1/").nth(1).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let id = match (request.method.clone(), parts.as_slice()) {
            (Method::POST, ["tickets"]) => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                self.open(now, &text("external_key"), &text("title"), &key)
            }
            (Method::POST | Method::PATCH, ["tickets", id, ..]) => {
                let Some(number) = self.number(id) else {
                    return Answer::refused(StatusCode::NOT_FOUND, "there is no such ticket");
                };
                let is_step =
                    ["assignee", "severity_at_least"].iter().any(|key| body.get(key).is_some());
                self.escalated += u64::from(is_step);
                if let Some(ticket) = self.tickets.get_mut(number - 1) {
                    match body["status"].as_str() {
                        Some("resolved") => ticket.is_over = true,
                        Some("reopened") => ticket.is_over = false,
                        _ => {}
                    }
                    ticket.effects.push(key.clone());
                }
                number
            }
            _ => return Answer::refused(StatusCode::NOT_FOUND, "there is no such path"),
        };
        let body = json!({ "id": id.to_string() });
        self.answers.insert(key, body.clone());
        Answer::ok(body)
    }

    fn tracker(&mut self, now: Timestamp, request: &Request) -> Answer {
        let body = request.body.clone().unwrap_or_default();
        let path = request.url.path().split("/REST/2.0/").nth(1).unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.clone(), parts.as_slice()) {
            (Method::GET, ["queue", _]) => {
                Answer::ok(json!({ "TicketCustomFields": [{ "name": KEY_FIELD }] }))
            }
            (Method::GET, ["tickets"]) => {
                let query = request.url.query_pairs().find(|(name, _)| name == "query");
                let query = query.map(|(_, value)| value.into_owned()).unwrap_or_default();
                Answer::ok(json!({ "items": self.search(now, &query) }))
            }
            (Method::POST, ["ticket"]) => {
                let key = body["CustomFields"][KEY_FIELD].as_str().unwrap_or_default();
                let title = body["Subject"].as_str().unwrap_or_default();
                let effect = format!("{key}-1");
                let id = self.open(now, key, title, &effect);
                let created = json!({ "id": id.to_string(), "type": "ticket" });
                Answer { status: StatusCode::CREATED, body: created }
            }
            (Method::GET, ["ticket", id, "attachments"]) => match self.ticket(id) {
                Some(ticket) => {
                    let subjects = ticket.effects.iter().rev().take(100);
                    let items = subjects.map(|key| json!({ "Subject": subject(key) }));
                    Answer::ok(json!({ "items": items.collect::<Vec<_>>() }))
                }
                None => Answer::refused(StatusCode::NOT_FOUND, "no such ticket"),
            },
            (Method::POST, ["ticket", id, "comment"]) => {
                let said = body["Subject"].as_str().unwrap_or_default();
                let key = said.trim_start_matches("[faultgate ").trim_end_matches(']').to_owned();
                match self.ticket(id) {
                    Some(ticket) => {
                        ticket.effects.push(key);
                        let done = json!(["Comments added"]);
                        Answer { status: StatusCode::CREATED, body: done }
                    }
                    None => Answer::refused(StatusCode::NOT_FOUND, "no such ticket"),
                }
            }
            (Method::PUT, ["ticket", id]) => self.change(id, &body),
            _ => Answer::refused(StatusCode::NOT_FOUND, "no such resource"),
        }
    }

    fn change(&mut self, id: &str, body: &Json) -> Answer {
        let Some(ticket) = self.ticket(id) else {
            return Answer::refused(StatusCode::NOT_FOUND, "no such ticket");
        };
        match body["Status"].as_str() {
            Some("resolved") => ticket.is_over = true,
            Some("open") => ticket.is_over = false,
            _ => {}
        }
        Answer::ok(json!(["Ticket changed"]))
    }

    /// What the search knows by now.
    fn search(&self, now: Timestamp, query: &str) -> Vec<Json> {
        let known = self.tickets.iter().enumerate();
        let known = known.filter(|(_, ticket)| ticket.created + self.index_delay <= now);
        let wanted = known.filter(|(_, ticket)| match query.strip_prefix("CF.{") {
            Some(_) => query.contains(&format!("'{}'", ticket.key)),
            None => query.contains(&format!("Subject = '{}'", ticket.title)),
        });
        let item = |(at, ticket): (usize, &Ticket)| {
            json!({
                "id": (at + 1).to_string(),
                "CustomFields": [{ "name": KEY_FIELD, "values": [ticket.key] }],
            })
        };
        wanted.map(item).collect()
    }

    fn number(&self, id: &str) -> Option<usize> {
        id.parse().ok().filter(|number| (1..=self.tickets.len()).contains(number))
    }

    fn ticket(&mut self, id: &str) -> Option<&mut Ticket> {
        let number = self.number(id)?;
        self.tickets.get_mut(number - 1)
    }
}

fn subject(key: &str) -> String {
    format!("[faultgate {key}]")
}
