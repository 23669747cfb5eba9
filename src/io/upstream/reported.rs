//! What an upstream says itself of what was used: beside our own count, for whoever compares them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::gauge;
use reqwest::header::HeaderMap;
use rust_decimal::Decimal;

/// Headers of one answer that are kept.
const HEADERS_MAX: usize = 16;
/// Longest name of one, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Headers of rate limits, by the names in use.
const LIMITS: [&str; 6] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "ratelimit-limit",
    "ratelimit-remaining",
];

/// Counters of one upstream, as they were told since they were last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Arc<Mutex<BTreeMap<String, Told>>>);

/// What was told of a counter since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// At first.
    pub first: Decimal,
    /// The newest.
    pub value: Decimal,
    /// The greatest.
    pub most: Decimal,
}

impl Counters {
    /// Keeps `X-Usage-*` of an answer of `host`; these and rate limits are metrics as well.
    pub fn note(&self, host: &str, headers: &HeaderMap) {
        for (name, value) in reported(headers) {
            gauge!("faultgate_upstream_reported", "host" => host.to_owned(), "header" => name)
                .set(value);
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in used(headers) {
            if let Some(known) = told.get_mut(name) {
                (known.value, known.most) = (value, known.most.max(value));
            } else if told.len() < HEADERS_MAX {
                told.insert(name.to_owned(), Told { first: value, value, most: value });
            }
        }
    }

    /// What was told since the last time.
    pub fn take(&self) -> BTreeMap<String, Told> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Names and values of the counters of use.
fn used(headers: &HeaderMap) -> impl Iterator<Item = (&str, Decimal)> {
    let counters = headers.iter().filter(|(name, _)| {
        name.as_str().len() <= NAME_BYTES_MAX && name.as_str().starts_with("x-usage-")
    });
    counters.filter_map(|(name, value)| {
        let number = Decimal::from_str_exact(value.to_str().ok()?.trim()).ok()?;
        Some((name.as_str(), number))
    })
}

/// Names and numbers of the headers that count something.
fn reported(headers: &HeaderMap) -> impl Iterator<Item = (String, f64)> {
    let counting = headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        name.len() <= NAME_BYTES_MAX && (name.starts_with("x-usage-") || LIMITS.contains(&name))
    });
    let numbers = counting.filter_map(|(name, value)| {
        let number: f64 = value.to_str().ok()?.trim().parse().ok()?;
        number.is_finite().then(|| (name.as_str().to_owned(), number))
    });
    numbers.take(HEADERS_MAX)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Counters, HEADERS_MAX, Told, reported};

    #[test]
    fn counters_are_kept_exactly_from_the_first_to_the_newest_until_they_are_taken() {
        let counters = Counters::default();
        for value in ["10", "12.5", "3"] {
            let mut headers = HeaderMap::new();
            headers.insert("x-usage-tickets", HeaderValue::from_static(value));
            headers.insert("x-ratelimit-remaining", HeaderValue::from_static("17"));
            headers.insert("x-usage-plan", HeaderValue::from_static("gold"));
            counters.note("desk", &headers);
        }
        let number = |text: &str| text.parse().expect("a number");
        let told = Told { first: number("10"), value: number("3"), most: number("12.5") };
        assert_eq!(counters.take(), [("x-usage-tickets".to_owned(), told)].into());
        assert_eq!(counters.take(), [].into());
    }

    #[test]
    fn usage_and_limits_are_kept_and_nothing_else_and_never_too_many() {
        let mut headers = HeaderMap::new();
        headers.insert("x-usage-tickets", HeaderValue::from_static(" 5123 "));
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("17"));
        headers.insert("x-usage-plan", HeaderValue::from_static("gold"));
        headers.insert("content-length", HeaderValue::from_static("12"));
        let mut found: Vec<(String, f64)> = reported(&headers).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            found,
            [("x-ratelimit-remaining".into(), 17.0), ("x-usage-tickets".into(), 5123.0)]
        );
        for n in 0..100 {
            let name: HeaderName = format!("x-usage-{n}").parse().unwrap();
            headers.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(reported(&headers).count(), HEADERS_MAX);
    }
}
