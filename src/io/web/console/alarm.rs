//! One alarm: what it is, why, what it was, and the buttons.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::{Value, context};
use serde_json::json;

use super::alarms::{alarm_link, row};
use super::{Console, Reader, Refusal, Said, ask, back_to, press, read};
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState, HistoryEntry, ShelfKind};
use crate::engine::types::input::OperatorAction;
use crate::engine::types::listing::AlarmRow;
use crate::engine::types::question::Question;
use crate::engine::types::spell::Spell;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::page;

/// Episodes that are shown, the newest.
const EPISODES_MAX: u32 = 20;
/// What was known so much later than it happened is told with both times.
const LATE: TimeSpan = TimeSpan::from_secs(60);
/// How long an alarm is shelved, unless somebody says otherwise.
const SHELVED_FOR: &str = "8h";

/// `?rule=...&device=...&key=...`
pub(super) async fn show(
    State(console): State<Console>,
    Query(named): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    let id = alarm_id(&Said(named));
    shown(&console, reader, &id, None).await.unwrap_or_else(|page| *page)
}

/// A button was pressed.
pub(super) async fn act(
    State(console): State<Console>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let reader = Reader::of(&console, &headers);
    let said = Said(fields);
    let id = alarm_id(&said);
    let action = action(reader, &said, &id);
    let (status, why) = match press(&console, reader, &headers, &said, action).await {
        Ok(()) => return back_to(&alarm_link(&id)),
        Err(Refusal::Told(status, why)) => (status, why),
        Err(Refusal::Page(page)) => return *page,
    };
    shown(&console, reader, &id, Some((status, &why))).await.unwrap_or_else(|page| *page)
}

fn alarm_id(said: &Said) -> AlarmId {
    AlarmId {
        rule: said.get("rule").to_owned(),
        device: said.get("device").to_owned(),
        key: said.all("key").map(str::to_owned).collect(),
    }
}

/// What the button means, or why the form is not whole.
fn action(reader: Reader, said: &Said, alarm: &AlarmId) -> Result<OperatorAction, String> {
    let alarm = alarm.clone();
    let has_reason = !said.get("reason").trim().is_empty();
    let no_reason = || reader.say("请填写原因：操作会被记录", "say why: it is kept").to_owned();
    match said.get("act") {
        "ack" => Ok(OperatorAction::Acknowledge(alarm)),
        "reset" => Ok(OperatorAction::Reset(alarm)),
        "unshelve" => Ok(OperatorAction::Unshelve(alarm)),
        "in-service" => Ok(OperatorAction::PutIntoService(alarm)),
        "shelve" | "out-of-service" if !has_reason => Err(no_reason()),
        "out-of-service" => Ok(OperatorAction::TakeOutOfService(alarm)),
        "shelve" => {
            let span = TimeSpan::parse(said.get("for")).map_err(|wrong| wrong.to_string())?;
            let one_shot = !said.get("one_shot").is_empty();
            Ok(OperatorAction::Shelve { alarm, span, one_shot })
        }
        other => Err(format!("`{other}` is no act")),
    }
}

async fn shown(
    console: &Console,
    reader: Reader,
    id: &AlarmId,
    refused: Option<(StatusCode, &str)>,
) -> Result<Response, Box<Response>> {
    let mut answer = ask(console, reader, Question::Alarm(id.clone())).await?;
    if answer.is_null() {
        return Ok(reader.nothing_here());
    }
    let line: AlarmRow = read(reader, answer["row"].take())?;
    let now: Timestamp = read(reader, answer["time"].take())?;
    let spells = episodes(console, &line.alarm).await;
    let episodes: Vec<Value> = spells.iter().rev().map(|spell| past(reader, spell)).collect();
    let episode = line.alarm.episode.as_ref();
    let history: Vec<HistoryEntry> = read(reader, answer["alarms"][0]["history"].take())?;
    let history: Vec<Value> = history.iter().rev().map(happened).collect();
    let values = context! {
        refused => refused.map(|(_, why)| why),
        row => row(console, reader, &line, now),
        id => page::value(&json!(line.alarm.id)),
        name => line.alarm.id.to_string(),
        values => episode.map(|episode| page::value(&json!(episode.values))),
        number => episode.map(|episode| episode.number),
        fingerprint => episode.map(|episode| episode.fingerprint.to_string()),
        ack => ack(&line.alarm.state),
        may => buttons(&line.alarm),
        shelved_for => SHELVED_FOR,
        rule => page::value(&answer["rules"][0]),
        missing => page::value(&answer["now"][0]["missing"]),
        waiting => page::value(&answer["waiting"]),
        history => history,
        episodes => episodes,
    };
    let status = refused.map_or(StatusCode::OK, |(status, _)| status);
    Ok(reader.page("alarm.html", status, values))
}

/// The acts that would change something.
fn buttons(alarm: &AlarmRecord) -> Value {
    let (ack, reset) = match &alarm.state {
        AlarmState::Unacknowledged { .. } | AlarmState::Returned { .. } => (true, false),
        AlarmState::Latched { ack, .. } => (ack.is_none(), true),
        AlarmState::Normal | AlarmState::Pending { .. } | AlarmState::Acknowledged { .. } => {
            (false, false)
        }
    };
    let (unshelve, into_service) = match alarm.shelf.as_ref().map(|shelf| &shelf.kind) {
        None => (false, false),
        Some(ShelfKind::Shelved { .. }) => (true, false),
        Some(ShelfKind::OutOfService) => (false, true),
    };
    context! {
        ack => ack, reset => reset, unshelve => unshelve, into_service => into_service,
        shelve => alarm.shelf.is_none(),
    }
}

/// Who has taken it.
fn ack(state: &AlarmState) -> Option<Value> {
    let ack = match state {
        AlarmState::Acknowledged { ack, .. } | AlarmState::Latched { ack: Some(ack), .. } => ack,
        AlarmState::Normal
        | AlarmState::Pending { .. }
        | AlarmState::Unacknowledged { .. }
        | AlarmState::Returned { .. }
        | AlarmState::Latched { ack: None, .. } => return None,
    };
    let (by, via, reason) = (ack.by.as_str(), ack.via.as_str(), ack.reason.as_str());
    Some(context! { by => by, at => ack.at.to_string(), via => via, reason => reason })
}

fn happened(entry: &HistoryEntry) -> Value {
    // What was known within moments of its time has one time on the page.
    let known = (entry.now.since(entry.at) >= LATE).then(|| entry.now.to_string());
    context! { at => entry.at.to_string(), known => known, what => entry.what.as_str() }
}

fn past(reader: Reader, spell: &Spell) -> Value {
    context! {
        raised => spell.raised_at.to_string(),
        returned => spell.returned_at.map(|at| at.to_string()),
        severity => spell.severity.say(reader.language),
        level => spell.severity.word(),
        taken => spell.is_taken,
        held => spell.held_by.map(|held| held.say(reader.language)),
    }
}

/// The newest episodes of an alarm that are kept, oldest first. They are found by their
/// fingerprints: the numbers of the episodes are known.
async fn episodes(console: &Console, alarm: &AlarmRecord) -> Vec<Spell> {
    let Some(newest) = alarm.episode.as_ref() else { return Vec::new() };
    let numbers = newest.number.saturating_sub(EPISODES_MAX - 1).max(1)..=newest.number;
    let mut wanted: BTreeSet<_> = numbers.map(|number| alarm.id.fingerprint(number)).collect();
    // Its rule may have had another name when it was raised.
    wanted.insert(newest.fingerprint.clone());
    let Ok(_one) = console.looks.acquire().await else { return Vec::new() };
    let journal = Arc::clone(&console.journal);
    let found = tokio::task::spawn_blocking(move || journal.spells_of(&wanted)).await;
    match found {
        Ok(Ok(spells)) => spells,
        Ok(Err(error)) => {
            tracing::warn!(%error, "The episodes of an alarm cannot be read.");
            Vec::new()
        }
        Err(error) => {
            tracing::warn!(%error, "The episodes of an alarm were not read.");
            Vec::new()
        }
    }
}
