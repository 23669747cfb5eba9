//! The console: alarms, devices, what could not be delivered, and figures, as pages that work without
//! scripts. What is pressed goes the way of the API, with the same record of who did it.

mod alarm;
mod alarms;
mod devices;
mod figures;
mod letters;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono_tz::Tz;
use minijinja::{Environment, Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::{Asker, BODY_BYTES_MAX};
use crate::engine::types::input::OperatorAction;
use crate::engine::types::question::{Question, Signer};
use crate::engine::types::text::{Language, cut_chars, one_line};
use crate::io::journal::Journal;
use crate::io::page;

/// Lines of a list on one page.
const LINES_MAX: usize = 200;
/// Characters of a name or a reason that are kept.
const SAID_CHARS_MAX: usize = 500;

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Console {
    asker: Asker,
    journal: Arc<Journal>,
    /// Name of the upstream that is the desk inside; empty for none.
    own_desk: Arc<str>,
    /// Of the times on the pages.
    zone: Tz,
    /// One look at all episodes in the store at a time.
    looks: Arc<Semaphore>,
}

impl Console {
    /// A console whose times are those of `zone`; tickets of the upstream `own_desk` are linked to.
    pub fn new(asker: Asker, journal: Arc<Journal>, own_desk: &str, zone: Tz) -> Console {
        let looks = Arc::new(Semaphore::new(1));
        Console { asker, journal, own_desk: own_desk.into(), zone, looks }
    }
}

/// The pages.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/", get(alarms::list))
        .route("/alarm", get(alarm::show).post(alarm::act))
        .route("/devices", get(devices::list))
        .route("/device", get(devices::show))
        .route("/dead-letters", get(letters::list).post(letters::act))
        .route("/figures", get(figures::show))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(console)
}

fn templates() -> &'static Environment<'static> {
    static TEMPLATES: OnceLock<Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        page::templates(&[
            ("alarms.html", include_str!("alarms.html")),
            ("alarm.html", include_str!("alarm.html")),
            ("rows.html", include_str!("rows.html")),
            ("kept.html", include_str!("kept.html")),
            ("turns.html", include_str!("turns.html")),
            ("devices.html", include_str!("devices.html")),
            ("device.html", include_str!("device.html")),
            ("letters.html", include_str!("letters.html")),
            ("figures.html", include_str!("figures.html")),
            ("message.html", include_str!("message.html")),
        ])
    })
}

/// Who looks, and how: what every page needs.
#[derive(Clone, Copy, Debug)]
struct Reader {
    language: Language,
    zone: Tz,
}

impl Reader {
    fn of(console: &Console, headers: &HeaderMap) -> Reader {
        Reader { language: page::language(headers), zone: console.zone }
    }

    fn say<'t>(self, chinese: &'t str, english: &'t str) -> &'t str {
        match self.language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    /// A page with its own values.
    fn page(self, name: &str, status: StatusCode, values: Value) -> Response {
        let zh = self.language == Language::Chinese;
        let values = context! { zh => zh, zone => self.zone.name(), ..values };
        page::render(templates(), name, status, values)
    }

    /// A page that says one thing.
    fn message(self, status: StatusCode, text: &str) -> Response {
        self.page("message.html", status, context! { text => text })
    }

    fn nothing_here(self) -> Response {
        self.message(StatusCode::NOT_FOUND, self.say("没有这一项", "there is nothing of this name"))
    }
}

/// The answer of the loop, or the page that says why there is none.
async fn ask(console: &Console, reader: Reader, question: Question) -> Result<Json, Box<Response>> {
    console.asker.ask(question).await.map_err(|error| {
        Box::new(reader.message(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))
    })
}

/// A part of an answer, as it was before it was JSON.
fn read<T: DeserializeOwned>(reader: Reader, part: Json) -> Result<T, Box<Response>> {
    serde_json::from_value(part).map_err(|error| {
        tracing::error!(%error, "An answer of the gateway does not fit its page.");
        Box::new(reader.message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
    })
}

/// What a form says, by the names of its fields.
struct Said(Vec<(String, String)>);

impl Said {
    fn get(&self, name: &str) -> &str {
        let named = self.0.iter().find(|(known, _)| known == name);
        named.map_or("", |(_, value)| value)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Who presses the button, and why; `None` where nobody is named.
    fn signer(&self) -> Option<Signer> {
        let line = |name| cut_chars(&one_line(self.get(name).trim()), SAID_CHARS_MAX).to_owned();
        let (by, reason) = (line("by"), line("reason"));
        (!by.is_empty()).then(|| Signer { by, via: "console".to_owned(), reason })
    }
}

/// Why nothing was done.
enum Refusal {
    /// In words, for the page that is shown again.
    Told(StatusCode, String),
    /// Another page says it.
    Page(Box<Response>),
}

/// A button was pressed: has the loop do what it means, where the form is whole and one of ours.
async fn press(
    console: &Console,
    reader: Reader,
    headers: &HeaderMap,
    said: &Said,
    action: Result<OperatorAction, String>,
) -> Result<(), Refusal> {
    // The form of another site is not taken: a page of ours always names its origin.
    if !page::is_same_origin(headers) {
        let told = reader.say("表单来自其他站点", "the form is from another site");
        return Err(Refusal::Page(Box::new(reader.message(StatusCode::FORBIDDEN, told))));
    }
    let wrong = |why| Refusal::Told(StatusCode::UNPROCESSABLE_ENTITY, why);
    let action = action.map_err(wrong)?;
    let told = reader.say("请填写姓名：操作会被记录", "say who you are: it is kept");
    let signer = said.signer().ok_or_else(|| wrong(told.to_owned()))?;
    let asked = ask(console, reader, Question::Act { action, signer }).await;
    let answer = asked.map_err(Refusal::Page)?;
    match answer["error"].as_str() {
        None => Ok(()),
        Some(why) => Err(Refusal::Told(StatusCode::CONFLICT, why.to_owned())),
    }
}

/// The browser asks for the page anew: a reload presses no button again.
fn back_to(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// `path?a=1&b=2` of what is not empty.
fn link(path: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<(&str, &str)> =
        fields.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
    whole_link(path, &fields)
}

/// The same of everything.
fn whole_link(path: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if fields.is_empty() { path.to_owned() } else { format!("{path}?{}", fields.join("&")) }
}

/// Where the parts of a list before and after this one are.
fn turns(path: &str, fields: &[(&str, &str)], skip: usize, found: usize) -> Value {
    let to = |skip: usize| {
        let skip = if skip == 0 { String::new() } else { skip.to_string() };
        let all: Vec<(&str, &str)> = fields.iter().copied().chain([("skip", &*skip)]).collect();
        link(path, &all)
    };
    let last = skip.saturating_add(LINES_MAX).min(found);
    context! {
        from => skip.saturating_add(1).min(found), to => last, found => found,
        before => (skip > 0).then(|| to(skip.saturating_sub(LINES_MAX))),
        after => (last < found).then(|| to(last)),
    }
}

#[cfg(test)]
mod tests;
