//! The list of devices, and one of them.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::context;
use serde::Deserialize;
use serde_json::Value as Json;

use super::alarms::rows;
use super::{Console, LINES_MAX, Reader, ask, link, read, turns};
use crate::engine::types::listing::{AlarmRow, DeviceFilter};
use crate::engine::types::question::Question;
use crate::engine::types::time::Timestamp;
use crate::io::page;

/// What is looked for; empty for all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    like: String,
    site: String,
    skip: usize,
}

/// The device of a page.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    id: String,
}

pub(super) async fn list(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = DeviceFilter {
        like: text(&wanted.like),
        site: text(&wanted.site),
        skip: wanted.skip,
        most: LINES_MAX,
    };
    let mut answer = match ask(&console, reader, Question::DeviceList(filter)).await {
        Ok(answer) => answer,
        Err(page) => return *page,
    };
    let found = answer["found"].as_u64().and_then(|found| usize::try_from(found).ok());
    let mut devices = answer["devices"].take();
    for device in devices.as_array_mut().into_iter().flatten() {
        let href = link("/device", &[("id", device["id"].as_str().unwrap_or(""))]);
        device["href"] = Json::String(href);
    }
    let fields = [("like", wanted.like.as_str()), ("site", wanted.site.as_str())];
    let values = context! {
        devices => page::value(&devices),
        like => wanted.like.as_str(), site => wanted.site.as_str(),
        turns => turns("/devices", &fields, wanted.skip, found.unwrap_or(0)),
    };
    reader.page("devices.html", StatusCode::OK, values)
}

pub(super) async fn show(
    State(console): State<Console>,
    Query(Named { id }): Query<Named>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(&console, &headers);
    page(&console, reader, id).await.unwrap_or_else(|page| *page)
}

async fn page(console: &Console, reader: Reader, id: String) -> Result<Response, Box<Response>> {
    let mut device = ask(console, reader, Question::Device(id)).await?;
    if device.is_null() {
        return Ok(reader.nothing_here());
    }
    let alarms: Vec<AlarmRow> = read(reader, device["alarms"].take())?;
    let now: Timestamp = read(reader, device["now"].clone())?;
    let rows = rows(console, reader, &alarms, now);
    let values = context! { device => page::value(&device), rows => rows };
    Ok(reader.page("device.html", StatusCode::OK, values))
}
