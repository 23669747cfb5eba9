//! The desk's pages: a list and a ticket, in the layout of every page.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::{Form, FromRef, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono_tz::Tz;
use minijinja::{Environment, context};
use serde::Deserialize;

use super::attachments;
use super::book::{BookError, Filter, WholeTicket};
use super::ticket::{Change, Ticket};
use super::{Change as Told, Desk};
use crate::engine::types::text::Language;
use crate::engine::types::ticket::TicketStatus;
use crate::io::{clock, page};

/// Tickets on the list.
const LIST_MAX: usize = 200;

pub(super) fn router(desk: Desk, zone: Tz) -> Router {
    Router::new()
        .route("/desk", get(list))
        .route("/desk/tickets/{id}", get(show).post(act))
        .route("/desk/tickets/{id}/attachments/{number}", get(attachments::fetch))
        .with_state(Served { desk, zone: zone.name() })
}

/// What the handlers share.
#[derive(Clone)]
struct Served {
    desk: Desk,
    /// Of the times on the pages.
    zone: &'static str,
}

impl FromRef<Served> for Desk {
    fn from_ref(served: &Served) -> Desk {
        served.desk.clone()
    }
}

fn page(name: &str, values: minijinja::Value) -> Response {
    page::render(templates(), name, StatusCode::OK, values)
}

fn templates() -> &'static Environment<'static> {
    static TEMPLATES: OnceLock<Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        page::templates(&[
            ("list.html", include_str!("list.html")),
            ("ticket.html", include_str!("ticket.html")),
        ])
    })
}

fn is_chinese(headers: &HeaderMap) -> bool {
    page::language(headers) == Language::Chinese
}

async fn list(State(Served { desk, zone }): State<Served>, headers: HeaderMap) -> Response {
    let zh = is_chinese(&headers);
    let filter = Filter { limit: LIST_MAX, ..Filter::default() };
    let found = desk.book.list(&filter).await;
    let tickets = |ids: Vec<String>| ids.iter().map(|id| desk.book.ticket(id)).collect();
    let tickets: Vec<Ticket> = match found.and_then(tickets) {
        Ok(tickets) => tickets,
        Err(error) => return unavailable(&error),
    };
    let rows: Vec<minijinja::Value> = tickets.iter().map(|ticket| row(ticket, zh)).collect();
    let created = desk.book.totals().await.0;
    page("list.html", context! { zh => zh, zone => zone, tickets => rows, created => created })
}

async fn show(
    State(Served { desk, zone }): State<Served>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
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
            zh => zh, zone => zone, t => row(&ticket, zh), body => body, key => key,
            history => history, files => files,
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
        created => ticket.created_at.to_string(),
        updated => ticket.updated_at.to_string(),
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
    if !page::is_same_origin(&headers) {
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
}
