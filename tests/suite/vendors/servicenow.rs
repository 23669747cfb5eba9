//! ServiceNow: conditions that it does not know are ignored, fields that may not be written are
//! dropped, and what is closed is read-only; all of it with 200.

use serde_json::{Map, Value as Json, json};

use super::{Act, PERSON, Parts, Seen, System, basic, text, time};
use crate::fake::{Asked, Said, said};

const US: &str = "faultgate";
const TITLE_CHARS_MAX: usize = 160;
const TEXT_CHARS_MAX: usize = 4_000;
/// What the user may read and write, beside `work_notes`.
const FIELDS: [&str; 17] = [
    "sys_id",
    "number",
    "short_description",
    "description",
    "impact",
    "urgency",
    "priority",
    "state",
    "close_code",
    "close_notes",
    "assigned_to",
    "correlation_display",
    "sys_created_on",
    "sys_created_by",
    "sys_updated_on",
    "sys_updated_by",
    "correlation_id",
];

pub struct ServiceNow {
    incidents: Vec<Map<String, Json>>,
    /// By incident, and closing notes as the history of the field has them.
    notes: Vec<(usize, String)>,
    files: Vec<(String, String)>,
    may_use_key: bool,
    second: usize,
}

impl Default for ServiceNow {
    fn default() -> ServiceNow {
        let (incidents, notes, files) = (Vec::new(), Vec::new(), Vec::new());
        ServiceNow { incidents, notes, files, may_use_key: true, second: 0 }
    }
}

fn refused(status: u16, message: &str, detail: &str) -> Said {
    let error = json!({ "message": message, "detail": detail });
    said(status, &json!({ "error": error, "status": "failure" }).to_string())
}

fn sys_id(number: usize) -> String {
    format!("{number:032x}")
}

impl ServiceNow {
    fn knows(&self, field: &str) -> bool {
        FIELDS.contains(&field) && (self.may_use_key || field != "correlation_id")
    }

    fn write(&mut self, at: usize, asked: &Json) -> Result<(), Said> {
        let state = |json: &Json| json.get("state").map(text);
        let before = text(&self.incidents[at]["state"]);
        let resolves = state(asked).as_deref() == Some("6");
        if resolves && (asked["close_code"] != "Solution provided" || asked["close_notes"] == "") {
            let detail = "Data Policy Exception: the following fields are mandatory";
            return Err(refused(403, "Operation Failed", detail));
        }
        if before == "7" || before == "8" {
            return Ok(());
        }
        self.second += 1;
        for (name, value) in asked.as_object().into_iter().flatten() {
            if name == "work_notes" {
                self.notes.push((at, text(value)));
            }
            if !self.knows(name) {
                continue;
            }
            let most = if name == "short_description" { TITLE_CHARS_MAX } else { TEXT_CHARS_MAX };
            let value: String = text(value).chars().take(most).collect();
            if name == "close_notes" && self.incidents[at].get(name) != Some(&json!(value)) {
                self.notes.push((at, value.clone()));
            }
            self.incidents[at].insert(name.clone(), value.into());
        }
        let now = time(self.second).replace('T', " ");
        let incident = &mut self.incidents[at];
        let number = |name: &str| text(&incident[name]).parse::<u8>().unwrap_or(3);
        let priority = number("impact") + number("urgency") - 1;
        incident.insert("priority".into(), priority.to_string().into());
        incident.insert("sys_updated_on".into(), now.into());
        incident.insert("sys_updated_by".into(), US.into());
        Ok(())
    }

    fn create(&mut self, asked: &Json) -> usize {
        let at = self.incidents.len();
        let mut incident = Map::new();
        for (name, value) in [
            ("sys_id", sys_id(at + 1)),
            ("number", format!("INC{at:07}")),
            ("state", "1".into()),
            ("impact", "3".into()),
            ("urgency", "3".into()),
            ("assigned_to", String::new()),
            ("sys_created_by", US.into()),
        ] {
            incident.insert(name.into(), value.into());
        }
        self.incidents.push(incident);
        self.write(at, asked).ok().expect("written");
        at
    }

    fn list(&self, parts: &Parts) -> Said {
        let mut hits: Vec<usize> = (0..self.incidents.len()).collect();
        for condition in parts.query("sysparm_query").split('^') {
            let field =
                |at: usize, name: &str| self.incidents[at].get(name).map(text).unwrap_or_default();
            if let Some(name) = condition.strip_prefix("ORDERBY") {
                hits.sort_by_key(|at| field(*at, name));
            } else if let Some((name, value)) = condition.split_once(">=") {
                hits.retain(|at| field(*at, name).as_str() >= value);
            } else if let Some((name, value)) = condition.split_once('=')
                && self.knows(name)
            {
                hits.retain(|at| field(*at, name) == value);
            }
        }
        let first = parts.query("sysparm_offset").parse().unwrap_or(0);
        let size = parts.query("sysparm_limit").parse().unwrap_or(10_000);
        let page = hits.into_iter().skip(first).take(size);
        let page: Vec<Json> = page.map(|at| self.shown(at, parts)).collect();
        said(200, &json!({ "result": page }).to_string())
    }

    /// The fields that were asked for; the notes only as they are displayed.
    fn shown(&self, at: usize, parts: &Parts) -> Json {
        let mut shown = Map::new();
        for name in parts.query("sysparm_fields").split(',').filter(|name| self.knows(name)) {
            let value = self.incidents[at].get(name).cloned().unwrap_or_else(|| "".into());
            shown.insert(name.to_owned(), value);
        }
        if parts.query("sysparm_fields") == "work_notes" {
            let own = self.notes.iter().rev().filter(|(of, _)| *of == at);
            let own = own.map(|(_, note)| format!("2026-06-01 - {US} (Work notes)\n{note}\n\n"));
            let all = own.filter(|_| parts.query("sysparm_display_value") == "true");
            shown.insert("work_notes".into(), all.collect::<String>().into());
        }
        Json::Object(shown)
    }

    fn on_incident(&mut self, asked: &Asked, parts: &Parts, id: &str) -> Said {
        let at = self.incidents.iter().position(|incident| incident["sys_id"] == id);
        let Some(at) = at else {
            let detail = "Record doesn't exist or ACL restricts the record retrieval";
            return refused(404, "No Record found", detail);
        };
        if parts.method == "PATCH"
            && let Err(refusal) = self.write(at, &asked.json())
        {
            return refusal;
        }
        said(200, &json!({ "result": self.shown(at, parts) }).to_string())
    }

    fn attach(&mut self, asked: &Asked, parts: &Parts) -> Said {
        let (ticket, name) = (parts.query("table_sys_id"), parts.query("file_name"));
        let kind = if name == "plot.png" { "image/png" } else { "text/plain" };
        if asked.header("content-type") != kind || parts.query("table_name") != "incident" {
            return refused(400, "Failed to create the attachment", name);
        }
        assert!(kind == "text/plain" || asked.body.contains("PNG\r\n"), "the picture itself");
        self.files.push((ticket.to_owned(), name.to_owned()));
        said(201, &json!({ "result": { "file_name": name } }).to_string())
    }
}

impl System for ServiceNow {
    fn answer(&mut self, asked: &Asked) -> Said {
        if asked.header("authorization") != basic(US) {
            return refused(401, "User Not Authenticated", "Required to provide Auth information");
        }
        let parts = Parts::of(asked);
        match parts.line()[..] {
            ["GET", "api", "now", "table", "incident"] => self.list(&parts),
            ["POST", "api", "now", "table", "incident"] => {
                let at = self.create(&asked.json());
                said(201, &json!({ "result": self.shown(at, &parts) }).to_string())
            }
            ["GET" | "PATCH", "api", "now", "table", "incident", id] => {
                self.on_incident(asked, &parts, id)
            }
            ["POST", "api", "now", "attachment", "file"] => self.attach(asked, &parts),
            ["GET", "api", "now", "attachment"] => {
                let ticket = parts.query("sysparm_query").rsplit('=').next().unwrap_or_default();
                let own = self.files.iter().filter(|(of, _)| of == ticket);
                let own: Vec<Json> = own.map(|(_, name)| json!({ "file_name": name })).collect();
                said(200, &json!({ "result": own }).to_string())
            }
            ref other => panic!("{other:?}"),
        }
    }

    fn tickets(&self) -> Vec<Seen> {
        let seen = |(at, incident): (usize, &Map<String, Json>)| {
            let own = self.notes.iter().filter(|(of, _)| *of == at);
            let files = self.files.iter().filter(|(of, _)| *of == sys_id(at + 1));
            Seen {
                title: text(&incident["short_description"]),
                body: text(&incident["description"]),
                status: text(&incident["state"]),
                priority: text(&incident["priority"]),
                notes: own.map(|(_, note)| note.clone()).collect(),
                files: files.map(|(_, name)| name.clone()).collect(),
                opened: 1,
            }
        };
        self.incidents.iter().enumerate().map(seen).collect()
    }

    fn act(&mut self, act: Act) {
        let (state, code) = match act {
            Act::Take => ("2", ""),
            Act::Finish => ("6", "Solution provided"),
            Act::Close => ("7", "Solution provided"),
        };
        let change = json!({ "state": state, "assigned_to": PERSON, "close_code": code });
        self.write(0, &change).ok().expect("written");
        self.incidents[0].insert("sys_updated_by".into(), PERSON.into());
    }

    fn break_setup(&mut self) {
        self.may_use_key = false;
    }
}
