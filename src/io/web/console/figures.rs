//! The figures of alarms, each beside its target.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::alarms::alarm_link;
use super::{Console, Reader, ask, link, read};
use crate::engine::figures::{Aim, Figures, Frequent, Invalid, Report, Rolling};
use crate::engine::types::question::Question;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::journal::Journal;
use crate::io::store::StoreError;

/// Days that can be asked for; episodes are kept no longer.
const DAYS: [u16; 4] = [1, 7, 30, 40];
/// Days that are looked at, unless somebody says otherwise.
const DAYS_USUAL: u16 = 30;
/// Sites and rules that have a line of their own, those with the most alarms or tickets.
const LINES_MAX: usize = 100;

/// How many days are looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    days: Option<u16>,
}

pub(super) async fn show(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    let days = wanted.days.unwrap_or(DAYS_USUAL).clamp(1, 40);
    page(&console, reader, days).await.unwrap_or_else(|page| *page)
}

async fn page(console: &Console, reader: Reader, days: u16) -> Result<Response, Box<Response>> {
    let span = TimeSpan::from_secs(i64::from(days) * 86_400);
    let mut answer = ask(console, reader, Question::Invalid { span }).await?;
    let now: Timestamp = read(reader, answer["now"].take())?;
    let invalid: BTreeMap<String, Invalid> = read(reader, answer["invalid"].take())?;
    let Ok(_one) = console.looks.acquire().await else { return Ok(reader.nothing_here()) };
    let journal = Arc::clone(&console.journal);
    let looked = tokio::task::spawn_blocking(move || look(&journal, span, now)).await;
    let looked = looked.map_err(|error| error.to_string());
    let report = looked.and_then(|looked| looked.map_err(|error| error.to_string()));
    let report = report
        .map_err(|error| Box::new(reader.message(StatusCode::INTERNAL_SERVER_ERROR, &error)))?;
    let choices = DAYS.map(|choice| {
        let href = link("/figures", &[("days", &choice.to_string())]);
        context! { days => choice, href => href, chosen => choice == days }
    });
    let values = context! {
        days => days,
        choices => choices.to_vec(),
        from => report.from.to_string(), to => report.to.to_string(),
        aims => report.all.as_ref().map(|all| aims(reader, all)),
        top => report.all.as_ref().map(top),
        sites => sites(reader, &report),
        heads => Aim::ALL.map(|aim| short(reader, aim)).to_vec(),
        targets => Aim::ALL.map(Aim::target).to_vec(),
        invalid => rules(&invalid),
    };
    Ok(reader.page("figures.html", StatusCode::OK, values))
}

/// The figures of what is kept.
fn look(journal: &Journal, span: TimeSpan, now: Timestamp) -> Result<Report, StoreError> {
    let mut rolling = Rolling::new(span);
    journal.each_spell(|spell| rolling.take(Arc::new(spell)))?;
    Ok(rolling.report(now))
}

/// Each figure of all, and whether it keeps to its target.
fn aims(reader: Reader, all: &Figures) -> Vec<Value> {
    let aim = |aim: &Aim| {
        context! {
            name => aim.say(reader.language), value => aim.value(all),
            target => aim.target(), missed => aim.is_met(all) == Some(false),
        }
    };
    Aim::ALL.iter().map(aim).collect()
}

fn top(all: &Figures) -> Vec<Value> {
    let one = |one: &Frequent| {
        context! {
            name => one.alarm.to_string(), href => alarm_link(&one.alarm), raised => one.raised,
        }
    };
    all.top_10.iter().map(one).collect()
}

/// The sites with the most alarms.
fn sites(reader: Reader, report: &Report) -> Vec<Value> {
    let mut sites: Vec<(&String, &Figures)> = report.sites.iter().collect();
    sites.sort_by_key(|(_, figures)| Reverse(figures.raised));
    let line = |(site, figures): &(&String, &Figures)| {
        let cell = |aim: Aim| {
            context! { value => aim.value(figures), missed => aim.is_met(figures) == Some(false) }
        };
        let name = reader.say("（无站点）", "(no site)");
        let name = if site.is_empty() { name } else { site.as_str() };
        context! { name => name, raised => figures.raised, cells => Aim::ALL.map(cell).to_vec() }
    };
    sites.iter().take(LINES_MAX).map(line).collect()
}

/// The rules with the most tickets that are over.
fn rules(invalid: &BTreeMap<String, Invalid>) -> Vec<Value> {
    let mut rules: Vec<(&String, &Invalid)> = invalid.iter().collect();
    rules.sort_by_key(|(_, invalid)| Reverse(invalid.over));
    let line = |(rule, invalid): &(&String, &Invalid)| {
        context! {
            rule => rule.as_str(), over => invalid.over, duplicate => invalid.duplicate,
            recovered => invalid.recovered_by_itself, no_fault_found => invalid.no_fault_found,
            percent => invalid.percent().map(|percent| format!("{percent:.1} %")),
        }
    };
    rules.iter().take(LINES_MAX).map(line).collect()
}

/// The head of a narrow column.
fn short(reader: Reader, aim: Aim) -> &'static str {
    match aim {
        Aim::Rate => reader.say("每 10 分钟", "per 10 min"),
        Aim::Worst => reader.say("最多", "most"),
        Aim::Flood => reader.say("洪泛", "flood"),
        Aim::Chattering => reader.say("抖动", "chatter"),
        Aim::Fleeting => reader.say("瞬时", "fleeting"),
        Aim::Stale => reader.say("陈旧", "stale"),
        Aim::TopTen => reader.say("前十", "top 10"),
        Aim::Priorities => reader.say("紧急/重要/其余", "crit/major/rest"),
    }
}
