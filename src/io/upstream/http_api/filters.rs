//! Filters of request templates, beside those of minijinja.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono_tz::Tz;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::SecureRandom;
use serde_json::{Map, Value as Json};

use super::digest::{self, Algorithm, Encoding};
use crate::engine::types::document::Word;
use crate::engine::types::text::{cut_bytes, cut_chars, one_line};
use crate::engine::types::time::Timestamp;

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Adds them.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", |value: Value| Value::from_safe_string(to_json(&value)));
    environment.add_filter("urlencode", |text: String| Value::from_safe_string(percent(&text)));
    environment.add_filter("xml", |text: String| Value::from_safe_string(xml(&text)));
    environment.add_filter("b64", |text: String| STANDARD.encode(text));
    environment.add_filter("b64url", |text: String| URL_SAFE_NO_PAD.encode(text));
    environment.add_filter("one_line", |text: String| one_line(&text));
    environment.add_filter("chars", |text: String, most: usize| cut_chars(&text, most).to_owned());
    environment.add_filter("bytes", |text: String, most: usize| cut_bytes(&text, most).to_owned());
    environment.add_filter("quote", |text: String, quote: Option<String>| {
        let quote = quote.unwrap_or_else(|| "'".to_owned());
        let text = text.replace('\\', "\\\\").replace(&quote, &format!("\\{quote}"));
        format!("{quote}{text}{quote}")
    });
    for name in ["md5", "sha1", "sha256", "sha512"] {
        environment.add_filter(name, move |text: String, encoding: Option<String>| {
            let algorithm = Algorithm::parse_word(name).unwrap_or(Algorithm::Sha256);
            hashed(algorithm, None, &text, encoding)
        });
    }
    environment.add_filter(
        "hmac",
        |text: String, algorithm: String, key: String, encoding: Option<String>| {
            let algorithm = Algorithm::parse_word(&format!("hmac-{algorithm}"))
                .ok_or_else(|| wrong("hmac takes \"md5\", \"sha1\", \"sha256\" or \"sha512\""))?;
            hashed(algorithm, Some(&key), &text, encoding)
        },
    );
    environment.add_filter("uuid", |text: String| uuid(&text));
    environment
        .add_filter("epoch", |text: String| at(&text).map(|at| at.micros().div_euclid(1_000_000)));
    environment
        .add_filter("epoch_ms", |text: String| at(&text).map(|at| at.micros().div_euclid(1_000)));
    environment.add_filter("rfc3339", |state: &State, text: String, zone: Option<String>| {
        Ok::<_, Error>(at(&text)?.to_chrono().with_timezone(&find_zone(state, zone)?).to_rfc3339())
    });
    environment.add_filter("time", time);
    environment.add_filter("minus", |text: String, seconds: i64| {
        let earlier = at(&text)?.micros() - seconds.saturating_mul(1_000_000);
        Ok::<_, Error>(Timestamp::from_micros(earlier).to_string())
    });
    environment
        .add_function("nonce", |rest: Rest<usize>| nonce(rest.first().copied().unwrap_or(16)));
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn hashed(
    algorithm: Algorithm,
    key: Option<&str>,
    text: &str,
    encoding: Option<String>,
) -> Result<String, Error> {
    let encoding = encoding.map_or(Some(Encoding::Hex), |word| Encoding::parse_word(&word));
    let encoding = encoding
        .ok_or_else(|| wrong("an encoding is \"hex\", \"HEX\", \"base64\" or \"base64url\""))?;
    let bytes = digest::digest(algorithm, key.unwrap_or_default().as_bytes(), text.as_bytes());
    Ok(digest::encode(encoding, &bytes))
}

fn at(text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| wrong("is not a time"))
}

/// A pattern of strftime, in a zone: that of the upstream without one.
fn time(
    state: &State,
    text: String,
    pattern: String,
    zone: Option<String>,
) -> Result<String, Error> {
    use std::fmt::Write as _;
    let at = at(&text)?.to_chrono().with_timezone(&find_zone(state, zone)?);
    let mut out = String::new();
    write!(out, "{}", at.format(&pattern)).map_err(|_| wrong("is not a pattern of strftime"))?;
    Ok(out)
}

fn find_zone(state: &State, zone: Option<String>) -> Result<Tz, Error> {
    let named = match zone {
        Some(zone) => Some(zone),
        None => state.lookup("timezone").and_then(|zone| zone.as_str().map(str::to_owned)),
    };
    let Some(named) = named.filter(|zone| !zone.is_empty()) else { return Ok(Tz::UTC) };
    named.parse().map_err(|_| wrong("is not a zone; for example \"Asia/Shanghai\""))
}

/// A UUID that is always the same for a text (RFC 9562, version 8).
fn uuid(text: &str) -> String {
    let mut bytes = [0_u8; 16];
    for (byte, hash) in bytes.iter_mut().zip(blake3::hash(text.as_bytes()).as_bytes()) {
        *byte = *hash;
    }
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xf << 76 | 0x3 << 62)) | 0x8 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// Random letters of a length, new each time.
fn nonce(length: usize) -> Result<String, Error> {
    let mut bytes = vec![0_u8; length.min(64).div_ceil(2)];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| wrong("the system has no randomness"))?;
    let text = digest::encode(Encoding::Hex, &bytes);
    Ok(cut_chars(&text, length.min(64)).to_owned())
}

/// A value as JSON.
pub(super) fn to_json(value: &Value) -> String {
    json(value).to_string()
}

fn json(value: &Value) -> Json {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => number(value),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()
            .map(|items| items.map(|item| json(&item)).collect())
            .unwrap_or_default(),
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter().into_iter().flatten() {
                let member = value.get_item(&key).map(|member| json(&member)).unwrap_or_default();
                map.insert(key.to_string(), member);
            }
            Json::Object(map)
        }
        ValueKind::String | ValueKind::Bytes | ValueKind::Plain | ValueKind::Invalid | _ => {
            Json::String(value.to_string())
        }
    }
}

fn number(value: &Value) -> Json {
    match i64::try_from(value.clone()) {
        Ok(whole) if !value.to_string().contains('.') => whole.into(),
        Ok(_) | Err(_) => serde_json::from_str(&value.to_string()).unwrap_or_default(),
    }
}

/// JSON as a value of a template.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Value::from(whole),
            (None, Some(whole), _) => Value::from(whole),
            (None, None, float) => Value::from(float.unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(members) => Value::from_pairs(
            members.iter().map(|(name, member)| (name.as_str(), from_json(member))),
        ),
    }
}

/// Percent-encoded, everything but the unreserved characters.
pub(super) fn percent(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Escaped for XML and HTML.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::template::{Escape, Names, Template};
    use super::*;

    fn render(text: &str) -> String {
        let mut names = Names::new();
        names.insert("t".into(), Value::from("冷柜-3 过热"));
        names.insert("at".into(), Value::from("2026-01-01T00:00:00.5Z"));
        names.insert("timezone".into(), Value::from("Asia/Shanghai"));
        Template::ours(text).render(Escape::Raw, &names).expect("renders")
    }

    #[test]
    fn chinese_is_cut_in_the_unit_that_is_asked_for() {
        assert_eq!(render("{{ t | chars(4) }}|{{ t | bytes(7) }}"), "冷柜-3|冷柜-");
        assert_eq!(render("{{ t | bytes(5) }}"), "冷");
    }

    #[test]
    fn times_are_written_in_every_form() {
        assert_eq!(render("{{ at | epoch }} {{ at | epoch_ms }}"), "1767225600 1767225600500");
        assert_eq!(render("{{ at | time('%Y-%m-%d %H:%M:%S') }}"), "2026-01-01 08:00:00");
        assert_eq!(render("{{ at | time('%H:%M', 'UTC') }}"), "00:00");
        assert_eq!(render("{{ at | rfc3339 }}"), "2026-01-01T08:00:00.500+08:00");
        assert_eq!(render("{{ at | minus(60) | time('%H:%M', 'UTC') }}"), "23:59");
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(render("{{ 'abc' | md5 }}"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(render("{{ 'abc' | sha1 }}"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        // RFC 4231, test case 2, and RFC 2202, test case 2.
        assert_eq!(
            render("{{ 'what do ya want for nothing?' | hmac('sha256', 'Jefe') }}"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            render("{{ 'what do ya want for nothing?' | hmac('md5', 'Jefe') }}"),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        assert_eq!(render("{{ 'a?>' | b64 }} {{ 'a?>' | b64url }}"), "YT8+ YT8-");
    }

    #[test]
    fn a_uuid_is_the_same_for_the_same_text_and_a_nonce_never_is() {
        assert_eq!(render("{{ t | uuid }}"), render("{{ t | uuid }}"));
        assert_eq!(render("{{ t | uuid }}").len(), 36);
        assert_ne!(render("{{ nonce(32) }}"), render("{{ nonce(32) }}"));
        assert_eq!(render("{{ \"a'b\\\\\" | quote }}"), "'a\\'b\\\\'");
    }
}
