//! Zammad, as its source and its documentation say: attributes that are not there are dropped when
//! they are written, and an error when they are searched for.

use serde_json::{Map, Value as Json, json};

use super::{Act, PERSON, Parts, Seen, System, TOKEN, text, time};
use crate::fake::{Asked, Said, said};

const US: &str = "faultgate@example.com";
const TITLE_CHARS_MAX: usize = 250;
const STATES: [&str; 6] = ["new", "open", "pending reminder", "pending close", "closed", "merged"];
const PRIORITIES: [&str; 3] = ["1 low", "2 normal", "3 high"];
/// What every ticket has, beside the attributes that an administrator has added.
const ATTRIBUTES: [&str; 9] = [
    "title",
    "group",
    "state",
    "priority",
    "owner",
    "created_by_id",
    "updated_at",
    "id",
    "customer_id",
];

pub struct Zammad {
    tickets: Vec<Map<String, Json>>,
    articles: Vec<Json>,
    /// The attribute that was added under Objects.
    added: Option<&'static str>,
    second: usize,
}

impl Default for Zammad {
    fn default() -> Zammad {
        let (tickets, articles) = (Vec::new(), Vec::new());
        Zammad { tickets, articles, added: Some("faultgate_key"), second: 0 }
    }
}

fn refused(status: u16, why: &str) -> Said {
    said(status, &json!({ "error": why, "error_human": why }).to_string())
}

impl Zammad {
    fn knows(&self, name: &str) -> bool {
        ATTRIBUTES.contains(&name) || self.added == Some(name)
    }

    fn now(&mut self) -> Json {
        self.second += 1;
        format!("{}.000Z", time(self.second)).into()
    }

    fn create(&mut self, asked: &Json) -> Said {
        let customer = text(&asked["customer_id"]);
        let Some(("guess", mail)) = customer.split_once(':') else {
            return refused(422, "Missing required value for field 'customer_id'!");
        };
        if !mail.contains('@') {
            return refused(422, "Invalid email of customer");
        }
        if asked["group"] != "Users" {
            return refused(422, "No lookup value found for 'group'");
        }
        let now = self.now();
        let mut ticket = Map::new();
        ticket.insert("id".into(), json!(self.tickets.len() + 1));
        ticket.insert("state".into(), "new".into());
        ticket.insert("owner".into(), "-".into());
        ticket.insert("created_by".into(), US.into());
        ticket.insert("created_at".into(), now);
        self.tickets.push(ticket);
        let id = self.tickets.len();
        match self.write(id, asked) {
            Ok(()) => said(201, &self.shown(id, false).to_string()),
            Err(refusal) => {
                self.tickets.pop();
                refusal
            }
        }
    }

    fn write(&mut self, id: usize, asked: &Json) -> Result<(), Said> {
        let known = |name: &str, values: &[&str]| {
            asked.get(name).is_none_or(|value| values.contains(&text(value).as_str()))
        };
        if !known("state", &STATES) || !known("priority", &PRIORITIES) {
            return Err(refused(422, "No lookup value found for 'state': \"?\""));
        }
        if text(&asked["title"]).chars().count() > TITLE_CHARS_MAX {
            return Err(refused(422, "value too long for type character varying(250)"));
        }
        if let Some(article) = asked.get("article") {
            self.add_article(id, article)?;
        }
        let now = self.now();
        let added = self.added;
        let ticket = &mut self.tickets[id - 1];
        for (name, value) in asked.as_object().into_iter().flatten() {
            if ATTRIBUTES.contains(&name.as_str()) || added == Some(name) {
                ticket.insert(name.clone(), value.clone());
            }
        }
        ticket.insert("updated_at".into(), now);
        ticket.insert("updated_by".into(), US.into());
        Ok(())
    }

    fn add_article(&mut self, id: usize, article: &Json) -> Result<(), Said> {
        let plain = article["content_type"] == "text/plain" && article["type"] == "note";
        if text(&article["body"]).is_empty() || !plain {
            return Err(refused(422, "Need at least an 'article body' field."));
        }
        let mut article = article.clone();
        article["ticket_id"] = json!(id);
        self.articles.push(article);
        Ok(())
    }

    /// As `expand=true` shows it, or with numbers only.
    fn shown(&self, id: usize, expanded: bool) -> Json {
        let ticket = &self.tickets[id - 1];
        let named = ["state", "priority", "owner", "group", "created_by", "updated_by"];
        let all = ticket.iter().filter(|(name, _)| expanded || !named.contains(&name.as_str()));
        let mut shown: Map<_, _> = all.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(added) = self.added {
            shown.entry(added).or_insert(Json::Null);
        }
        Json::Object(shown)
    }

    fn search(&self, asked: &Json, expanded: bool) -> Said {
        let conditions = asked["condition"].as_object().expect("a condition: else it is late");
        let mut hits: Vec<usize> = (1..=self.tickets.len()).collect();
        for (name, condition) in conditions {
            let name = name.strip_prefix("ticket.").expect("an attribute of tickets");
            if !self.knows(name) {
                return refused(422, "Error ID a1b2: Please contact your administrator.");
            }
            let (value, operator) = (&condition["value"], text(&condition["operator"]));
            let fits = |ticket: &Map<String, Json>| match (name, operator.as_str()) {
                ("created_by_id", "is") => condition["pre_condition"] == "current_user.id",
                (_, "is") => ticket.get(name) == Some(value),
                (_, "after (absolute)") => text(&ticket[name]) >= text(value),
                other => panic!("{other:?}"),
            };
            hits.retain(|id| fits(&self.tickets[id - 1]));
        }
        if asked["sort_by"] == "updated_at" {
            hits.sort_by_key(|id| text(&self.tickets[id - 1]["updated_at"]));
        }
        if !expanded {
            return said(200, &json!({ "tickets": hits, "assets": {} }).to_string());
        }
        let hits: Vec<Json> = hits.into_iter().map(|id| self.shown(id, true)).collect();
        said(200, &Json::from(hits).to_string())
    }

    fn on_ticket(&mut self, asked: &Asked, line: &[&str], expanded: bool) -> Said {
        let body = asked.json();
        let id = match line {
            [.., "ticket_articles"] => text(&body["ticket_id"]),
            [.., id] => (*id).to_owned(),
            [] => String::new(),
        };
        let id = id.parse().ok().filter(|id| (1..=self.tickets.len()).contains(id));
        let Some(id) = id else { return refused(404, "Couldn't find Ticket") };
        let done = match line {
            ["GET", .., "tickets", _] => return said(200, &self.shown(id, expanded).to_string()),
            ["GET", .., "by_ticket", _] => {
                let own = self.articles.iter().filter(|article| article["ticket_id"] == id);
                let own: Vec<&Json> = own.collect();
                return said(200, &json!(own).to_string());
            }
            ["PUT", .., "tickets", _] => self.write(id, &body),
            ["POST", .., "ticket_articles"] => {
                self.add_article(id, &body).and_then(|()| self.write(id, &json!({})))
            }
            other => panic!("{other:?}"),
        };
        let code = if line[0] == "PUT" { 200 } else { 201 };
        done.map_or_else(|refusal| refusal, |()| said(code, &self.shown(id, expanded).to_string()))
    }
}

impl System for Zammad {
    fn answer(&mut self, asked: &Asked) -> Said {
        if asked.header("authorization") != format!("Token token={TOKEN}") {
            return refused(401, "Authentication required");
        }
        let parts = Parts::of(asked);
        let expanded = parts.query("expand") == "true";
        match parts.line()[..] {
            ["GET", "api", "v1", "users", "me"] => {
                said(200, &json!({ "id": 5, "login": US }).to_string())
            }
            ["POST", "api", "v1", "tickets"] => self.create(&asked.json()),
            ["POST", "api", "v1", "tickets", "search"] => self.search(&asked.json(), expanded),
            ref line => self.on_ticket(asked, line, expanded),
        }
    }

    fn tickets(&self) -> Vec<Seen> {
        let seen = |ticket: &Map<String, Json>| {
            let own = self.articles.iter().filter(|article| article["ticket_id"] == ticket["id"]);
            let files = own.clone().flat_map(|article| article["attachments"].as_array());
            Seen {
                title: text(&ticket["title"]),
                body: own.clone().map(|article| text(&article["body"])).next().unwrap_or_default(),
                status: text(&ticket["state"]),
                priority: text(&ticket["priority"]),
                notes: own.skip(1).map(|article| text(&article["body"])).collect(),
                files: files.flatten().map(|file| text(&file["filename"])).collect(),
                opened: 1,
            }
        };
        self.tickets.iter().map(seen).collect()
    }

    fn act(&mut self, act: Act) {
        let state = match act {
            Act::Take => "open",
            Act::Finish | Act::Close => "closed",
        };
        self.write(1, &json!({ "state": state, "owner": PERSON })).ok().expect("written");
        self.tickets[0].insert("updated_by".into(), PERSON.into());
    }

    fn break_setup(&mut self) {
        self.added = None;
    }
}
