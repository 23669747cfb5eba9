//! What the ticket systems refused for good, and the buttons to send it again or to give it up.

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::{Console, LINES_MAX, Reader, Refusal, Said, ask, back_to, press, read, turns};
use crate::engine::types::input::OperatorAction;
use crate::engine::types::job::{Action, JobKey, JobRecord, JobState};
use crate::engine::types::question::Question;
use crate::engine::types::text::Language;
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::Timestamp;

/// Where the list is.
const PATH: &str = "/dead-letters";

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    skip: usize,
}

pub(super) async fn list(
    State(console): State<Console>,
    Query(Wanted { skip }): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    page(&console, reader, skip, None).await.unwrap_or_else(|page| *page)
}

/// A button was pressed.
pub(super) async fn act(
    State(console): State<Console>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let reader = Reader::of(&console, &headers);
    let said = Said(fields);
    let (status, why) = match press(&console, reader, &headers, &said, action(&said)).await {
        Ok(()) => return back_to(PATH),
        Err(Refusal::Told(status, why)) => (status, why),
        Err(Refusal::Page(page)) => return *page,
    };
    page(&console, reader, 0, Some((status, &why))).await.unwrap_or_else(|page| *page)
}

/// What the button means, or why the form is not whole.
fn action(said: &Said) -> Result<OperatorAction, String> {
    let ticket: TicketId = said.get("ticket").parse()?;
    let number = said.get("number");
    let number = number.parse().map_err(|_| format!("`{number}` is no number of a job"))?;
    let key = JobKey { ticket, number };
    match said.get("act") {
        "retry" => Ok(OperatorAction::Retry(key)),
        "drop" => Ok(OperatorAction::Drop(key)),
        other => Err(format!("`{other}` is no act")),
    }
}

async fn page(
    console: &Console,
    reader: Reader,
    skip: usize,
    refused: Option<(StatusCode, &str)>,
) -> Result<Response, Box<Response>> {
    let asked = Question::DeadLetters { skip, most: LINES_MAX };
    let mut answer = ask(console, reader, asked).await?;
    let letters: Vec<JobRecord> = read(reader, answer["dead_letters"].take())?;
    let now: Timestamp = read(reader, answer["now"].take())?;
    let found = answer["found"].as_u64().and_then(|found| usize::try_from(found).ok());
    let letters = letters.iter().map(|letter| line(reader, letter));
    let values = context! {
        refused => refused.map(|(_, why)| why),
        now => now.to_string(),
        letters => letters.collect::<Vec<_>>(),
        turns => turns(PATH, &[], skip, found.unwrap_or(0)),
    };
    let status = refused.map_or(StatusCode::OK, |(status, _)| status);
    Ok(reader.page("letters.html", status, values))
}

fn line(reader: Reader, letter: &JobRecord) -> Value {
    let since = match &letter.state {
        JobState::Dead { at, .. } => *at,
        JobState::Waiting { not_before, .. } => *not_before,
    };
    context! {
        ticket => letter.key.ticket.to_string(),
        number => letter.key.number,
        upstream => letter.upstream.as_str(),
        severity => letter.severity.say(reader.language),
        level => letter.severity.word(),
        action => action_word(reader.language, &letter.action),
        text => text(&letter.action),
        since => since.to_string(),
        reason => letter.reason(),
    }
}

fn action_word(language: Language, action: &Action) -> &'static str {
    match (language, action) {
        (Language::English, action) => action.word(),
        (Language::Chinese, Action::Open(_)) => "建单",
        (Language::Chinese, Action::Comment { .. }) => "备注",
        (Language::Chinese, Action::Escalate { .. }) => "升级",
        (Language::Chinese, Action::Resolve { .. }) => "完工",
        (Language::Chinese, Action::Reopen { .. }) => "重开",
    }
}

/// What was to be said.
fn text(action: &Action) -> String {
    match action {
        Action::Open(draft) => format!("{}\n\n{}", draft.title, draft.body),
        Action::Comment { text }
        | Action::Escalate { text, .. }
        | Action::Resolve { text }
        | Action::Reopen { text, .. } => text.clone(),
    }
}
