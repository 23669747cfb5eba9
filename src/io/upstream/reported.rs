//! What an upstream says itself of what was used: beside our own count, for whoever compares them.

use metrics::gauge;
use reqwest::header::HeaderMap;

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

/// Keeps `X-Usage-*` and rate limits of an answer of `host` as metrics.
pub(super) fn note(host: &str, headers: &HeaderMap) {
    for (name, value) in reported(headers) {
        gauge!("faultgate_upstream_reported", "host" => host.to_owned(), "header" => name)
            .set(value);
    }
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

    use super::{HEADERS_MAX, reported};

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
