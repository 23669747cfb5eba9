//! PagerDuty: events open and resolve alerts by their key, an alert opens an incident, and REST knows
//! incidents, which have no key of their own.

use serde_json::{Value as Json, json};

use super::{Act, PERSON, Parts, Seen, System, TOKEN, text, time};
use crate::fake::{Asked, Said, said};

const SUMMARY_CHARS_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 512 << 10;

/// An alert, and the incident that it has opened.
struct Incident {
    key: String,
    title: String,
    details: String,
    status: &'static str,
    urgency: String,
    notes: Vec<String>,
}

pub struct PagerDuty {
    incidents: Vec<Incident>,
    log: Vec<Json>,
    has_integration: bool,
    second: usize,
}

impl Default for PagerDuty {
    fn default() -> PagerDuty {
        PagerDuty { incidents: Vec::new(), log: Vec::new(), has_integration: true, second: 0 }
    }
}

fn invalid(why: &str) -> Said {
    let errors = [why];
    let told = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
    said(400, &told.to_string())
}

fn refused(status: u16, code: u32, message: &str) -> Said {
    said(status, &json!({ "error": { "message": message, "code": code } }).to_string())
}

impl PagerDuty {
    fn event(&mut self, asked: &Asked) -> Said {
        let event = asked.json();
        if event["routing_key"] != TOKEN || !self.has_integration {
            return invalid("'routing_key' is invalid");
        }
        if asked.body.len() > BODY_BYTES_MAX {
            return said(413, "");
        }
        let key = text(&event["dedup_key"]);
        let open =
            self.incidents.iter().rposition(|one| one.key == key && one.status != "resolved");
        match (event["event_action"].as_str(), open) {
            (Some("trigger"), open) => {
                let payload = &event["payload"];
                let summary = text(&payload["summary"]);
                let severity = text(&payload["severity"]);
                let words = ["critical", "error", "warning", "info"];
                if summary.is_empty() || summary.chars().count() > SUMMARY_CHARS_MAX {
                    return invalid("'payload.summary' is missing or too long");
                }
                if text(&payload["source"]).is_empty() || !words.contains(&severity.as_str()) {
                    return invalid("'payload.severity' is invalid (must be one of the following)");
                }
                if open.is_none() {
                    let high = severity == "critical" || severity == "error";
                    self.incidents.push(Incident {
                        key: key.clone(),
                        title: summary,
                        details: text(&payload["custom_details"]["details"]),
                        status: "triggered",
                        urgency: if high { "high" } else { "low" }.into(),
                        notes: Vec::new(),
                    });
                    self.logged(self.incidents.len() - 1, "trigger_log_entry", None);
                }
            }
            (Some("resolve"), Some(at)) => {
                self.incidents[at].status = "resolved";
                self.logged(at, "resolve_log_entry", None);
            }
            // Dropped.
            (Some("resolve"), None) => {}
            other => panic!("{other:?}"),
        }
        let done = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
        said(202, &done.to_string())
    }

    fn logged(&mut self, at: usize, kind: &str, person: Option<&str>) {
        self.second += 1;
        let agent = match person {
            Some(name) => json!({ "id": "PU1", "type": "user_reference", "summary": name }),
            None => json!({ "id": "PS1", "type": "service_reference", "summary": "Plant" }),
        };
        let entry = json!({
            "id": format!("R{}", self.second), "type": kind, "agent": agent,
            "created_at": format!("{}Z", time(self.second)),
            "incident": { "id": format!("P{at}"), "type": "incident_reference" },
            "service": { "id": "PS1", "type": "service_reference" },
        });
        // The newest first.
        self.log.insert(0, entry);
    }

    fn list(&self, parts: &Parts) -> Said {
        assert_eq!((parts.query("date_range"), parts.query("limit")), ("all", "1"));
        assert_eq!(parts.query("sort_by"), "created_at:desc");
        let key = parts.query("incident_key");
        let found = self.incidents.iter().enumerate().rfind(|(_, one)| one.key == key);
        let shown = |(at, one): (usize, &Incident)| {
            json!({
                "id": format!("P{at}"), "title": one.title, "status": one.status,
                "urgency": one.urgency, "incident_key": null,
            })
        };
        let newest: Vec<Json> = found.map(shown).into_iter().collect();
        said(200, &json!({ "incidents": newest, "limit": 1, "more": false }).to_string())
    }

    fn on_incident(&mut self, asked: &Asked, line: &[&str]) -> Said {
        let at = line.get(2).and_then(|id| id.strip_prefix('P')?.parse::<usize>().ok());
        let Some(one) = at.and_then(|at| self.incidents.get_mut(at)) else {
            return refused(404, 2_100, "Not Found");
        };
        let body = asked.json();
        match line {
            [.., "alerts"] => {
                said(200, &json!({ "alerts": [{ "id": "A1", "alert_key": one.key }] }).to_string())
            }
            ["GET", .., "notes"] => {
                let notes: Vec<Json> = one.notes.iter().map(|n| json!({ "content": n })).collect();
                said(200, &json!({ "notes": notes }).to_string())
            }
            ["POST", .., "notes"] => {
                one.notes.push(text(&body["note"]["content"]));
                said(200, &json!({ "note": body["note"] }).to_string())
            }
            ["PUT", ..] if one.status == "resolved" => {
                refused(400, 1_001, "Incident Already Resolved")
            }
            ["PUT", ..] => {
                let change = &body["incident"];
                if change["type"] != "incident_reference" {
                    return refused(400, 2_001, "Invalid Input Provided");
                }
                if let Some(urgency) = change["urgency"].as_str() {
                    one.urgency = urgency.to_owned();
                }
                said(200, "{\"incident\": {}}")
            }
            other => panic!("{other:?}"),
        }
    }
}

impl System for PagerDuty {
    fn answer(&mut self, asked: &Asked) -> Said {
        let parts = Parts::of(asked);
        let line = parts.line();
        if line == ["POST", "v2", "enqueue"] {
            return self.event(asked);
        }
        if asked.header("authorization") != format!("Token token={TOKEN}") {
            return refused(401, 2_006, "Authentication failed");
        }
        if parts.method != "GET" && !asked.header("from").contains('@') {
            return refused(400, 1_008, "Requester User Not Found");
        }
        match line[..] {
            ["GET", "abilities"] => said(200, "{\"abilities\": []}"),
            ["GET", "incidents"] => self.list(&parts),
            ["GET", "log_entries"] => {
                let page = json!({ "log_entries": self.log, "more": false });
                said(200, &page.to_string())
            }
            ref line => self.on_incident(asked, line),
        }
    }

    fn tickets(&self) -> Vec<Seen> {
        let mut all: Vec<(&str, Seen)> = Vec::new();
        for one in &self.incidents {
            let mut seen = match all.iter().position(|(key, _)| *key == one.key) {
                Some(at) => all.remove(at).1,
                None => Seen { body: one.details.clone(), ..Seen::default() },
            };
            if seen.opened > 0 {
                assert_eq!(seen.title, one.title, "a fault that is back keeps its name");
                seen.notes.push(one.details.clone());
            }
            seen.title = one.title.clone();
            seen.status = one.status.to_owned();
            seen.priority = one.urgency.clone();
            seen.notes.extend(one.notes.iter().cloned());
            seen.opened += 1;
            all.push((&one.key, seen));
        }
        all.sort_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, seen)| seen).collect()
    }

    fn act(&mut self, act: Act) {
        let newest = self.incidents.len() - 1;
        let (status, kind) = match act {
            Act::Take => ("acknowledged", "acknowledge_log_entry"),
            Act::Finish | Act::Close => ("resolved", "resolve_log_entry"),
        };
        self.incidents[newest].status = status;
        self.logged(newest, kind, Some(PERSON));
    }

    fn break_setup(&mut self) {
        self.has_integration = false;
    }
}
