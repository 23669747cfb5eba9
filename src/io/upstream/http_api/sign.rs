//! A signature over a request, made anew for each attempt: a nonce may be good only once.

use minijinja::Value;

use super::digest;
use super::request::{Request, Slip, render};
use super::spec::Sign;
use super::template::{Escape, Names};
use crate::engine::types::time::Timestamp;

/// Names that signatures may use beside `vars` and `secrets`.
pub(super) const NAMES: [&str; 9] =
    ["method", "path", "query", "parameters", "body", "timestamp", "timestamp_ms", "nonce", "sign"];

/// Signs.
pub(super) fn sign<'s>(
    sign: &'s Sign,
    request: &mut Request,
    names: &Names,
    now: Timestamp,
    nonce: &str,
) -> Result<(), Slip<'s>> {
    let mut names = names.clone();
    let body = request.body().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned());
    let address = request.address();
    let mut add = |name: &str, value: Value| names.insert(name.to_owned(), value);
    add("method", Value::from(request.method.as_str()));
    add("path", Value::from(address.path()));
    add("query", Value::from(address.query().unwrap_or_default()));
    add("parameters", Value::from(request.sorted_parameters()));
    add("body", Value::from(body.unwrap_or_default()));
    add("timestamp", Value::from(now.micros().div_euclid(1_000_000)));
    add("timestamp_ms", Value::from(now.micros().div_euclid(1_000)));
    add("nonce", Value::from(nonce));
    let over = render(&sign.over, Escape::Raw, &names)?;
    let key = sign.key.as_ref().map(|key| render(key, Escape::Raw, &names)).transpose()?;
    let key = key.unwrap_or_default();
    let bytes = digest::digest(sign.algorithm, key.as_bytes(), over.as_bytes());
    let signature = digest::encode(sign.encoding, &bytes);
    names.insert("sign".to_owned(), Value::from(signature));
    for (name, value) in &sign.query {
        request.query.push((name.clone(), render(value, Escape::Raw, &names)?));
    }
    for (name, value) in &sign.headers {
        request.headers.insert(name.to_lowercase(), render(value, Escape::Raw, &names)?);
    }
    for (place, value) in &sign.body {
        let value = render(value, Escape::Raw, &names)?;
        request.put(place, &value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::digest::{Algorithm, Encoding};
    use super::super::request::Content;
    use super::super::template::Template;
    use super::*;
    use serde_json::json;
    use std::collections::{BTreeMap, BTreeSet};

    fn request() -> Request {
        Request {
            method: "POST".into(),
            url: reqwest::Url::parse("https://oapi.example/robot/send?access_token=t")
                .expect("one"),
            query: Vec::new(),
            headers: BTreeMap::new(),
            content: Content::Json(json!({ "msgtype": "text" })),
        }
    }

    fn names() -> Names {
        let secrets = Value::from_pairs([("secret", "SEC1")]);
        Names::from([("secrets".to_owned(), secrets)])
    }

    fn all(pairs: &[(&str, &str)]) -> BTreeMap<String, Template> {
        pairs.iter().map(|(name, text)| ((*name).into(), Template::ours(text))).collect()
    }

    #[test]
    fn a_robot_of_dingtalk_is_signed_in_the_query_and_one_of_feishu_in_the_body() {
        let now = Timestamp::from_millis(1_767_225_600_123);
        let ding = Sign {
            algorithm: Algorithm::HmacSha256,
            encoding: Encoding::Base64,
            key: Some(Template::ours("{{ secrets.secret }}")),
            over: Template::ours("{{ timestamp_ms }}\n{{ secrets.secret }}"),
            headers: BTreeMap::new(),
            query: all(&[("sign", "{{ sign }}"), ("timestamp", "{{ timestamp_ms }}")]),
            body: BTreeMap::new(),
            operations: BTreeSet::new(),
        };
        let mut signed = request();
        sign(&ding, &mut signed, &names(), now, "n").expect("signed");
        let expected = digest::encode(
            Encoding::Base64,
            &digest::digest(Algorithm::HmacSha256, b"SEC1", b"1767225600123\nSEC1"),
        );
        let query: BTreeMap<String, String> = signed.address().query_pairs().into_owned().collect();
        assert_eq!(query["sign"], expected, "and escaped in the address");
        assert_eq!(query["timestamp"], "1767225600123");

        let feishu = Sign {
            key: Some(Template::ours("{{ timestamp }}\n{{ secrets.secret }}")),
            over: Template::ours(""),
            query: BTreeMap::new(),
            body: all(&[("/sign", "{{ sign }}"), ("/timestamp", "{{ timestamp }}")]),
            ..ding
        };
        let mut signed = request();
        sign(&feishu, &mut signed, &names(), now, "n").expect("signed");
        let Content::Json(body) = signed.content else { panic!("JSON") };
        assert_eq!(body["timestamp"], "1767225600");
        assert_eq!(body["sign"].as_str().map(str::len), Some(44));
    }
}
