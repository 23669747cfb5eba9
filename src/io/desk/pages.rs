//! The desk's pages: a list and a ticket, in the language of the browser.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use minijinja::{Environment, context};
use serde::Deserialize;

use super::attachments;
use super::book::{BookError, Filter, WholeTicket};
use super::ticket::{Change, Ticket};
use super::{Change as Told, Desk};
use crate::engine::types::text::Language;
use crate::engine::types::ticket::TicketStatus;
use crate::io::clock;

/// Tickets on the list.
const LIST_MAX: usize = 200;

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/desk", get(list))
        .route("/desk/tickets/{id}", get(show).post(act))
        .route("/desk/tickets/{id}/attachments/{number}", get(attachments::fetch))
        .with_state(desk)
}

/// The templates; `.html` names make every value escaped.
fn templates() -> &'static Environment<'static> {
    static TEMPLATES: OnceLock<Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut templates = Environment::new();
        for (name, source) in [
            ("frame.html", include_str!("frame.html")),
            ("list.html", include_str!("list.html")),
            ("ticket.html", include_str!("ticket.html")),
        ] {
            // The templates are part of the binary; every page is rendered in a test.
            if let Err(error) = templates.add_template(name, source) {
                tracing::error!(name, %error, "A page of the desk is broken.");
            }
        }
        templates
    })
}

fn page(name: &str, values: minijinja::Value) -> Response {
    match templates().get_template(name).and_then(|template| template.render(values)) {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(name, %error, "A page of the desk is broken.");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn is_chinese(headers: &HeaderMap) -> bool {
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok());
    accepted.is_some_and(|languages| languages.trim_start().to_ascii_lowercase().starts_with("zh"))
}

async fn list(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let zh = is_chinese(&headers);
    let filter = Filter { limit: LIST_MAX, ..Filter::default() };
    let found = desk.book.list(&filter).await;
    let tickets = |ids: Vec<String>| ids.iter().map(|id| desk.book.ticket(id)).collect();
    let tickets: Vec<Ticket> = match found.and_then(tickets) {
        Ok(tickets) => tickets,
        Err(error) => return unavailable(&error),
    };
    let rows: Vec<minijinja::Value> = tickets.iter().map(|ticket| row(ticket, zh)).collect();
    page("list.html", context! { zh => zh, tickets => rows, created => desk.book.totals().await.0 })
}

async fn show(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let zh = is_chinese(&headers);
    let WholeTicket { ticket, history } = match desk.book.whole(&id) {
        Ok(whole) => whole,
        Err(BookError::Missing(_)) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return unavailable(&error),
    };
    let history: Vec<minijinja::Value> = history
        .iter()
        .rev()
        .map(|entry| {
            context! {
                at => entry.at.to_string(),
                by => entry.by.as_str(),
                what => entry.what.as_str(),
                text => entry.text.as_str(),
            }
        })
        .collect();
    let files: Vec<minijinja::Value> = ticket
        .attachments
        .iter()
        .map(|file| {
            context! {
                number => file.number,
                name => file.name.as_str(),
                bytes => file.bytes,
                shown => file.content_type == "image/png",
            }
        })
        .collect();
    let body = ticket.body.as_str();
    let key = ticket.external_key.as_str();
    page(
        "ticket.html",
        context! {
            zh => zh, t => row(&ticket, zh), body => body, key => key, history => history,
            files => files,
        },
    )
}

fn row(ticket: &Ticket, zh: bool) -> minijinja::Value {
    let status = if zh { ticket.status.chinese() } else { ticket.status.word() };
    context! {
        id => ticket.id.as_str(),
        title => ticket.title.as_str(),
        severity => ticket.severity.say(if zh { Language::Chinese } else { Language::English }),
        level => ticket.severity.word(),
        safety => ticket.safety,
        status => status,
        over => ticket.status.is_over(),
        device => ticket.device.as_str(),
        site => ticket.site.as_str(),
        rule => ticket.rule.as_str(),
        assignee => ticket.assignee.as_str(),
        created => ticket.created_at.to_chrono().format("%Y-%m-%d %H:%M:%S").to_string(),
        updated => ticket.updated_at.to_chrono().format("%Y-%m-%d %H:%M:%S").to_string(),
    }
}

/// A button on a ticket.
#[derive(Debug, Deserialize)]
struct Act {
    status: TicketStatus,
    by: String,
    #[serde(default)]
    comment: String,
}

/// Takes the button only from a page of our own: another site's form names another origin.
async fn act(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(act): Form<Act>,
) -> Response {
    if !is_same_origin(&headers) {
        return (StatusCode::FORBIDDEN, "the form is from another site").into_response();
    }
    let by = if act.by.trim().is_empty() { "desk" } else { act.by.trim() };
    let change = Change { status: Some(act.status), comment: act.comment, ..Change::default() };
    match desk.book.change(None, &id, change, by, clock::now()).await {
        Ok(_) => {
            desk.news.send_replace(());
            desk.tell(Told { ticket: id.clone(), status: act.status, by: by.to_owned() });
            Redirect::to(&format!("/desk/tickets/{id}")).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &BookError) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from == host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_is_text_on_every_page_and_never_markup() {
        let hostile = "<script>alert('冷柜')</script>";
        let t = context! { id => "1", title => hostile, device => hostile, severity => "major" };
        for (name, values) in [
            ("list.html", context! { zh => true, tickets => [t.clone()], created => 1 }),
            (
                "ticket.html",
                context! { zh => false, t => t, body => hostile, key => "k", history => [
                    context! { at => "", by => hostile, what => hostile, text => hostile },
                ], files => [
                    context! { number => 1, name => hostile, bytes => 5, shown => true },
                ] },
            ),
        ] {
            let html = templates().get_template(name).expect(name).render(values).expect(name);
            assert!(html.contains("冷柜") && !html.contains("<script>alert"), "{html}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_not_taken() {
        let headers = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:8080".parse().expect("a header"));
            headers.insert("origin", origin.parse().expect("a header"));
            headers
        };
        assert!(is_same_origin(&headers("http://127.0.0.1:8080")));
        assert!(!is_same_origin(&headers("http://evil.example")));
        assert!(!is_same_origin(&HeaderMap::new()));
    }
}
