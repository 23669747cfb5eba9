//! Pages for people, of the desk and of the console: one layout, in the language of the browser,
//! that needs no script. What devices and people say is text on them, never markup.

use std::collections::BTreeMap;

use axum::http::header::{CONTENT_SECURITY_POLICY, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use chrono_tz::Tz;
use minijinja::{Environment, Value};
use serde_json::Value as Json;

use crate::engine::types::text::Language;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Nothing comes from elsewhere, and no page of another site can put ours in a frame and have its
/// buttons pressed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The templates of some pages, with the layout that they extend; `.html` names make every value
/// escaped.
pub fn templates(own: &[(&'static str, &'static str)]) -> Environment<'static> {
    let mut templates = Environment::new();
    templates.add_filter("local", local);
    templates.add_filter("ago", ago);
    let frame = [("frame.html", include_str!("page/frame.html"))];
    for (name, source) in frame.into_iter().chain(own.iter().copied()) {
        // The templates are part of the binary; every page is rendered in a test.
        if let Err(error) = templates.add_template(name, source) {
            tracing::error!(name, %error, "A page is broken.");
        }
    }
    templates
}

/// A page as an answer.
pub fn render(
    templates: &Environment<'_>,
    name: &str,
    status: StatusCode,
    values: Value,
) -> Response {
    match templates.get_template(name).and_then(|template| template.render(values)) {
        Ok(html) => {
            let headers = [(CONTENT_SECURITY_POLICY, POLICY), (VARY, "accept-language")];
            (status, headers, Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!(name, %error, "A page is broken.");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// JSON as templates have it.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => values.iter().map(value).collect(),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), value(field)));
            Value::from(fields.collect::<BTreeMap<String, Value>>())
        }
    }
}

/// The language that the browser asks for.
pub fn language(headers: &HeaderMap) -> Language {
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok());
    let is_chinese = |text: &str| text.trim_start().to_ascii_lowercase().starts_with("zh");
    if accepted.is_some_and(is_chinese) { Language::Chinese } else { Language::English }
}

/// True for a form of a page of our own: another site's form names another origin, and browsers
/// always name one.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from == host)
        }
        _ => false,
    }
}

/// `{{ at|local(zone) }}`: a time as the clock on the wall shows it; what is no time stays as it is.
fn local(at: String, zone: String) -> String {
    let zone: Tz = zone.parse().unwrap_or(Tz::UTC);
    match Timestamp::parse_rfc3339(&at) {
        Some(at) => at.to_chrono().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string(),
        None => at,
    }
}

/// `{{ at|ago(now, zh) }}`: how long ago that was, as people say it.
fn ago(at: String, now: String, zh: bool) -> String {
    match (Timestamp::parse_rfc3339(&at), Timestamp::parse_rfc3339(&now)) {
        (Some(at), Some(now)) => lasted(now.since(at), zh),
        _ => String::new(),
    }
}

fn lasted(span: TimeSpan, zh: bool) -> String {
    let seconds = (span.micros() / 1_000_000).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let [second, minute, hour, day] =
        if zh { ["秒", "分钟", "小时", "天"] } else { ["s", "min", "h", "d"] };
    match seconds {
        ..60 => format!("{seconds} {second}"),
        60..3_600 => format!("{minutes} {minute}"),
        3_600..86_400 => format!("{hours} {hour} {} {minute}", minutes % 60),
        _ => format!("{days} {day} {} {hour}", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn times_are_those_of_the_wall_and_ages_those_of_people() {
        let at = || "2026-04-11T03:20:15.120Z".to_owned();
        assert_eq!(local(at(), "Asia/Shanghai".to_owned()), "2026-04-11 11:20:15");
        assert_eq!(local("-".to_owned(), "UTC".to_owned()), "-");
        let said = |now: &str, zh| ago(at(), now.to_owned(), zh);
        assert_eq!(said("2026-04-11T03:20:27.120Z", false), "12 s");
        assert_eq!(said("2026-04-11T06:32:15.120Z", true), "3 小时 12 分钟");
        assert_eq!(said("2026-04-15T05:32:15.120Z", false), "4 d 2 h");
    }
}
