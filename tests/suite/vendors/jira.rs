//! Jira, of the cloud and Data Center: two searches of which each edition has one, transitions whose
//! numbers depend on the status, fields that are refused where they are not on the screen.

use serde_json::{Value as Json, json};

use super::{Act, PERSON, Parts, Seen, System, TOKEN, basic, text, time};
use crate::fake::{Asked, Said, said};

const US: &str = "bot-1";
const PRIORITIES: [&str; 5] = ["Highest", "High", "Medium", "Low", "Lowest"];
const SUMMARY_CHARS_MAX: usize = 255;
const TEXT_CHARS_MAX: usize = 32_767;
/// Number, name, from where, to where.
const TRANSITIONS: [(&str, &str, &[&str], &str); 4] = [
    ("11", "Begin", &["To Do"], "In Progress"),
    ("21", "Finish", &["To Do", "In Progress"], "Done"),
    ("31", "Back to the list", &["Done", "In Progress"], "To Do"),
    ("41", "Shut", &["Done"], "Closed"),
];

#[derive(Default)]
struct Issue {
    fields: Json,
    status: String,
    comments: Vec<Json>,
    files: Vec<String>,
    histories: Vec<Json>,
    updated: usize,
}

pub struct Jira {
    cloud: bool,
    issues: Vec<Issue>,
    has_project: bool,
    second: usize,
}

fn refused(status: u16, field: &str, why: &str) -> Said {
    said(status, &json!({ "errorMessages": [], "errors": { field: why } }).to_string())
}

fn moment(second: usize) -> String {
    format!("{}.000+0000", time(second))
}

impl Jira {
    pub fn new(cloud: bool) -> Jira {
        Jira { cloud, issues: Vec::new(), has_project: true, second: 0 }
    }

    fn now(&mut self) -> usize {
        self.second += 1;
        self.second
    }

    /// A person as this edition calls it.
    fn author(&self, id: &str) -> Json {
        let key = if self.cloud { "accountId" } else { "name" };
        json!({ key: id, "displayName": id })
    }

    fn create(&mut self, asked: &Json) -> Said {
        let fields = &asked["fields"];
        let screen = ["project", "issuetype", "summary", "description", "priority", "labels"];
        for (name, _) in fields.as_object().into_iter().flatten() {
            if !screen.contains(&name.as_str()) {
                return refused(400, name, "Field cannot be set. It is not on the screen.");
            }
        }
        let (summary, labels) = (text(&fields["summary"]), fields["labels"].as_array());
        if summary.chars().count() > SUMMARY_CHARS_MAX || summary.contains('\n') {
            return refused(400, "summary", "Summary must not exceed 255 characters.");
        }
        if text(&fields["description"]).chars().count() > TEXT_CHARS_MAX {
            return refused(400, "description", "The entered text is too long.");
        }
        if !labels.into_iter().flatten().all(|label| !text(label).contains(' ')) {
            return refused(400, "labels", "The label contains spaces which is invalid.");
        }
        let whole = fields["project"]["key"] == "FAULT" && fields["issuetype"]["name"] == "Task";
        if !whole || !PRIORITIES.contains(&text(&fields["priority"]["name"]).as_str()) {
            return refused(400, "priority", "Specify a valid value");
        }
        let updated = self.now();
        let status = "To Do".to_owned();
        self.issues.push(Issue { fields: fields.clone(), status, updated, ..Issue::default() });
        let number = self.issues.len();
        let made = json!({ "id": format!("{}", 9_999 + number), "key": format!("FAULT-{number}") });
        said(201, &made.to_string())
    }

    /// The newest are at the end; a page has as many as were asked for.
    fn search(&self, asked: &Json) -> Said {
        let own: &[&str] = match self.cloud {
            true => &["jql", "maxResults", "fields", "expand", "nextPageToken"],
            false => &["jql", "maxResults", "fields", "expand", "startAt"],
        };
        let strange =
            asked.as_object().into_iter().flatten().find(|(n, _)| !own.contains(&n.as_str()));
        if let Some((name, _)) = strange {
            return refused(400, name, "Unrecognized field");
        }
        let (jql, _) =
            asked["jql"].as_str().and_then(|jql| jql.split_once(" ORDER BY ")).expect("order");
        let (label, since) = jql.split_once(" AND ").unwrap_or((jql, ""));
        let label = label.strip_prefix("labels = ").expect("a label").trim_matches('"');
        let minutes =
            since.strip_prefix("updated >= \"-").and_then(|rest| rest.strip_suffix("m\""));
        assert!(since.is_empty() || minutes.is_some_and(|m| m.parse::<u32>().is_ok()), "{jql}");
        let has = |issue: &Issue| {
            issue.fields["labels"].as_array().is_some_and(|all| all.iter().any(|one| one == label))
        };
        let hits = (0..self.issues.len()).filter(|at| has(&self.issues[*at]));
        let hits: Vec<Json> = hits.map(|at| self.hit(at, asked)).collect();
        let first = asked["nextPageToken"].as_str().and_then(|token| token.parse().ok());
        let first = first.or(asked["startAt"].as_u64().map(|at| at as usize)).unwrap_or(0);
        let size = asked["maxResults"].as_u64().expect("a number") as usize;
        let page: Vec<&Json> = hits.iter().skip(first).take(size).collect();
        let more = first + page.len() < hits.len();
        let mut answer = match self.cloud {
            true => json!({ "issues": page, "isLast": !more }),
            false => {
                json!({ "issues": page, "startAt": first, "maxResults": size, "total": hits.len() })
            }
        };
        if self.cloud && more {
            answer["nextPageToken"] = json!((first + size).to_string());
        }
        said(200, &answer.to_string())
    }

    fn hit(&self, at: usize, asked: &Json) -> Json {
        let issue = &self.issues[at];
        let mut hit = json!({ "id": (10_000 + at).to_string(), "fields": {} });
        for field in asked["fields"].as_array().into_iter().flatten() {
            hit["fields"][text(field)] = match text(field).as_str() {
                "status" => json!({ "name": issue.status }),
                "updated" => moment(issue.updated).into(),
                name => issue.fields[name].clone(),
            };
        }
        let wanted = if self.cloud { json!("changelog") } else { json!(["changelog"]) };
        if asked["expand"] == wanted {
            let mut histories = issue.histories.clone();
            // Each edition has its own order.
            if self.cloud {
                histories.reverse();
            }
            hit["changelog"] = json!({ "histories": histories });
        }
        hit
    }

    fn transitions(&self, at: usize) -> Vec<Json> {
        let status = self.issues[at].status.as_str();
        let open = TRANSITIONS.iter().filter(|(_, _, from, _)| from.contains(&status));
        open.map(|(id, name, _, to)| json!({ "id": id, "name": name, "to": { "name": to } }))
            .collect()
    }

    fn go_to(&mut self, at: usize, status: &str, who: &str) {
        let (now, author) = (self.now(), self.author(who));
        let issue = &mut self.issues[at];
        let from = std::mem::replace(&mut issue.status, status.to_owned());
        let item = json!({ "field": "status", "fromString": from, "toString": status, "to": "3" });
        let id = (now + 500).to_string();
        let history =
            json!({ "id": id, "author": author, "created": moment(now), "items": [item] });
        issue.histories.push(history);
        issue.updated = now;
    }

    fn edit(&mut self, at: usize, fields: &Json) -> Said {
        let person = if self.cloud { "accountId" } else { "name" };
        for (name, value) in fields.as_object().into_iter().flatten() {
            let good = match name.as_str() {
                "priority" => PRIORITIES.contains(&text(&value["name"]).as_str()),
                "assignee" => value[person].is_string(),
                _ => false,
            };
            if !good {
                return refused(400, name, "data was not of the right kind");
            }
            self.issues[at].fields[name] = value.clone();
        }
        said(204, "")
    }

    fn attach(&mut self, at: usize, asked: &Asked) -> Said {
        if asked.header("x-atlassian-token") != "no-check" {
            return said(403, "XSRF check failed");
        }
        let parts = asked.header("content-type").starts_with("multipart/form-data; boundary=");
        let name = asked.body.split("name=\"file\"; filename=\"").nth(1);
        let name = name.and_then(|rest| rest.split('"').next());
        let Some(name) = name.filter(|_| parts) else { return said(400, "no file") };
        assert!(name != "plot.png" || asked.body.contains("PNG\r\n"), "the picture itself");
        self.issues[at].files.push(name.to_owned());
        said(200, &json!([{ "filename": name }]).to_string())
    }

    fn on_issue(&mut self, asked: &Asked, line: &[&str]) -> Said {
        let id = line.get(5).and_then(|id| id.parse::<usize>().ok());
        let at = id.and_then(|id| id.checked_sub(10_000)).filter(|at| *at < self.issues.len());
        let Some(at) = at else {
            return said(404, "{\"errorMessages\":[\"Issue does not exist\"]}");
        };
        let (body, us) = (asked.json(), self.author(US));
        match *line {
            ["GET", .., "transitions"] => {
                said(200, &json!({ "transitions": self.transitions(at) }).to_string())
            }
            ["POST", .., "transitions"] => {
                let wanted = &body["transition"]["id"];
                let open = self.transitions(at).into_iter().find(|open| open["id"] == *wanted);
                let Some(open) = open.filter(|_| body.get("fields").is_none()) else {
                    return refused(400, "transition", "is not valid for the current state");
                };
                self.go_to(at, &text(&open["to"]["name"]), US);
                said(204, "")
            }
            ["GET", .., "comment"] => {
                said(200, &json!({ "comments": self.issues[at].comments }).to_string())
            }
            ["POST", .., "comment"] => {
                self.issues[at].updated = self.now();
                let comment = json!({ "body": body["body"], "author": us });
                self.issues[at].comments.insert(0, comment);
                said(201, "{\"id\": \"1\"}")
            }
            ["POST", .., "attachments"] => self.attach(at, asked),
            ["PUT", .., "issue", _] => self.edit(at, &body["fields"]),
            ["GET", .., "issue", _] => {
                let issue = &self.issues[at];
                let files = issue.files.iter().map(|name| json!({ "filename": name }));
                let files: Vec<Json> = files.collect();
                let fields = json!({ "status": { "name": issue.status }, "attachment": files });
                said(200, &json!({ "id": line[5], "fields": fields }).to_string())
            }
            _ => panic!("{line:?}"),
        }
    }
}

impl System for Jira {
    fn answer(&mut self, asked: &Asked) -> Said {
        let bearer = format!("Bearer {TOKEN}");
        let wanted = if self.cloud { basic("bot@example.com") } else { bearer };
        if asked.header("authorization") != wanted {
            return said(401, "Client must be authenticated to access this resource.");
        }
        let parts = Parts::of(asked);
        match parts.line()[..] {
            ["GET", "rest", "api", "2", "myself"] => said(200, &self.author(US).to_string()),
            ["GET", "rest", "api", "2", "project", key] if key == "FAULT" && self.has_project => {
                said(200, "{\"key\": \"FAULT\"}")
            }
            ["GET", "rest", "api", "2", "project", _] => {
                said(404, "{\"errorMessages\":[\"No project could be found with key 'FAULT'.\"]}")
            }
            ["POST", "rest", "api", "2", "issue"] => self.create(&asked.json()),
            ["POST", "rest", "api", "2", "search", "jql"] if self.cloud => {
                self.search(&asked.json())
            }
            ["POST", "rest", "api", "2", "search"] if !self.cloud => self.search(&asked.json()),
            ["POST", "rest", "api", "2", "search"] => {
                said(410, "{\"errorMessages\":[\"removed\"]}")
            }
            ["POST", "rest", "api", "2", "search", ..] => said(404, "null for uri"),
            ref line => self.on_issue(asked, line),
        }
    }

    fn tickets(&self) -> Vec<Seen> {
        let seen = |issue: &Issue| {
            // What devices say can neither link nor call anybody.
            let quoted = |text: String| {
                let inner = text.strip_prefix("{noformat}\n");
                let inner = inner.and_then(|text| text.strip_suffix("\n{noformat}"));
                inner.expect("quoted").to_owned()
            };
            Seen {
                title: text(&issue.fields["summary"]),
                body: quoted(text(&issue.fields["description"])),
                status: issue.status.clone(),
                priority: text(&issue.fields["priority"]["name"]),
                notes: issue.comments.iter().map(|c| quoted(text(&c["body"]))).collect(),
                files: issue.files.clone(),
                opened: 1,
            }
        };
        self.issues.iter().map(seen).collect()
    }

    fn act(&mut self, act: Act) {
        let status = match act {
            Act::Take => "In Progress",
            Act::Finish => "Done",
            Act::Close => "Closed",
        };
        self.go_to(0, status, PERSON);
    }

    fn break_setup(&mut self) {
        self.has_project = false;
    }
}
