//! The list of alarms.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::{Console, LINES_MAX, Reader, ask, link, read, turns};
use crate::engine::types::alarm::{AlarmId, ShelfKind};
use crate::engine::types::document::Word;
use crate::engine::types::listing::{AlarmFilter, AlarmList, AlarmRow, Standing};
use crate::engine::types::question::Question;
use crate::engine::types::severity::Severity;
use crate::engine::types::text::Language;
use crate::engine::types::time::Timestamp;

/// Seconds after which a page that is to be kept up to date is asked for again.
const REFRESH_SECONDS: u32 = 30;

/// What is looked for; empty for all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    state: String,
    severity: String,
    site: String,
    rule: String,
    /// Something where the page is to be kept up to date.
    live: String,
    skip: usize,
}

pub(super) async fn list(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    page(&console, reader, &wanted).await.unwrap_or_else(|page| *page)
}

async fn page(
    console: &Console,
    reader: Reader,
    wanted: &Wanted,
) -> Result<Response, Box<Response>> {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let standing = Standing::parse_word(&wanted.state).unwrap_or_default();
    let severity = Severity::parse_word(&wanted.severity);
    let filter = AlarmFilter {
        standing,
        severity,
        site: text(&wanted.site),
        rule: text(&wanted.rule),
        skip: wanted.skip,
        most: LINES_MAX,
    };
    let answer = ask(console, reader, Question::AlarmList(filter)).await?;
    let list: AlarmList = read(reader, answer)?;
    let found: usize = list.found.iter().map(|(_, count)| count).sum();
    let counts = list.found.iter().map(|(severity, count)| {
        let name = severity.say(reader.language);
        context! { level => severity.word(), name => name, count => *count }
    });
    let choice = |word: &'static str, name: &'static str, chosen: bool| {
        context! { word => word, name => name, chosen => chosen }
    };
    let standings = Standing::WORDS
        .iter()
        .map(|(word, known)| choice(word, known.say(reader.language), *known == standing));
    let severities = Severity::ALL
        .iter()
        .map(|known| choice(known.word(), known.say(reader.language), Some(*known) == severity));
    let fields = [
        ("state", wanted.state.as_str()),
        ("severity", wanted.severity.as_str()),
        ("site", wanted.site.as_str()),
        ("rule", wanted.rule.as_str()),
    ];
    let live = [("live", wanted.live.as_str())];
    let turns = turns("/", &[&fields[..], &live].concat(), wanted.skip, found);
    let is_live = !wanted.live.is_empty();
    let other = if is_live { "" } else { "1" };
    let values = context! {
        refresh => is_live.then_some(REFRESH_SECONDS),
        now => list.now.to_string(),
        rows => rows(console, reader, &list.rows, list.now),
        counts => counts.collect::<Vec<_>>(),
        standings => standings.collect::<Vec<_>>(),
        severities => severities.collect::<Vec<_>>(),
        site => wanted.site.as_str(), sites => list.sites,
        rule => wanted.rule.as_str(), rules => list.rules,
        turns => turns,
        live => is_live,
        seconds => REFRESH_SECONDS,
        other => link("/", &[&fields[..], &[("live", other)]].concat()),
    };
    Ok(reader.page("alarms.html", StatusCode::OK, values))
}

/// The lines of alarms as the templates have them.
pub(super) fn rows(
    console: &Console,
    reader: Reader,
    rows: &[AlarmRow],
    now: Timestamp,
) -> Vec<Value> {
    rows.iter().map(|one| row(console, reader, one, now)).collect()
}

/// One line.
pub(super) fn row(console: &Console, reader: Reader, row: &AlarmRow, now: Timestamp) -> Value {
    let AlarmRow { alarm, site, severity, since, ticket } = row;
    let (id, episode) = (&alarm.id, alarm.episode.as_ref());
    // What kept an episode that is over is no news.
    let held = episode.filter(|episode| episode.closed_at.is_none());
    let held = held.and_then(|episode| episode.held_by);
    let values = episode.map(|episode| episode.values.as_slice()).unwrap_or_default();
    let values: Vec<String> =
        values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let ticket = ticket.as_ref().map(|ticket| {
        let external = ticket.external.as_deref().unwrap_or("");
        let is_ours = ticket.upstream == *console.own_desk && !external.is_empty();
        context! {
            id => ticket.id.to_string(),
            upstream => ticket.upstream.as_str(),
            external => external,
            href => is_ours.then(|| format!("/desk/tickets/{external}")),
            status => match reader.language {
                Language::Chinese => ticket.status.chinese(),
                Language::English => ticket.status.word(),
            },
            alarms => ticket.alarms,
            is_storm => ticket.storm.is_some(),
        }
    });
    context! {
        href => alarm_link(id),
        rule => id.rule.as_str(),
        device => id.device.as_str(),
        device_href => link("/device", &[("id", &id.device)]),
        key => id.key.join(" / "),
        site => site.as_str(),
        severity => severity.say(reader.language),
        level => severity.word(),
        state => alarm.state.say(reader.language),
        over => !Standing::Open.includes(alarm),
        flapping => alarm.flapping.as_ref().map(|flapping| flapping.since.to_string()),
        since => since.to_string(),
        now => now.to_string(),
        values => values.join(", "),
        ticket => ticket,
        shelf => alarm.shelf.as_ref().map(|shelf| {
            let (until, one_shot) = match &shelf.kind {
                ShelfKind::Shelved { until, one_shot } => (Some(until.to_string()), *one_shot),
                ShelfKind::OutOfService => (None, false),
            };
            context! {
                until => until, one_shot => one_shot,
                by => shelf.signature.by.as_str(), reason => shelf.signature.reason.as_str(),
            }
        }),
        held => held.map(|held| held.say(reader.language)),
    }
}

/// The page of an alarm.
pub(super) fn alarm_link(id: &AlarmId) -> String {
    format!("/{}", id.page())
}
