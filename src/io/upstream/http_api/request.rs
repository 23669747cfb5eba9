//! A request, made of a step and the names: plain values, nothing is sent here.

use std::collections::BTreeMap;

use reqwest::Url;
use serde_json::{Map, Value as Json, json};

use super::filters::percent;
use super::spec::{Body, Carrier, Part, PartContent, Step};
use super::template::{Escape, Fault, Names, Template};
use crate::engine::types::text::one_line;

/// A file that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: String,
    /// Content.
    pub content: Vec<u8>,
}

/// A request that is ready to be authorised, signed and sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// Method.
    pub method: String,
    /// Address without what is added below.
    pub url: Url,
    /// Parameters of the query, in order.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub content: Content,
}

/// A body.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// None.
    None,
    /// JSON.
    Json(Json),
    /// A form.
    Form(BTreeMap<String, String>),
    /// Bytes of a type.
    Bytes {
        /// `Content-Type`.
        kind: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Why there is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slip<'s> {
    /// The template at fault, where it is one.
    pub template: Option<&'s Template>,
    /// What is wrong.
    pub message: String,
    /// Where in the template.
    pub range: Option<std::ops::Range<usize>>,
}

impl<'s> Slip<'s> {
    /// A fault of a template.
    pub fn of(template: &'s Template, fault: Fault) -> Slip<'s> {
        Slip { template: Some(template), message: fault.message, range: fault.range }
    }
}

/// Renders a template.
pub(super) fn render<'s>(
    template: &'s Template,
    escape: Escape,
    names: &Names,
) -> Result<String, Slip<'s>> {
    template.render(escape, names).map_err(|fault| Slip::of(template, fault))
}

/// Makes the request of a step.
pub(super) fn compose<'s>(
    base: &Url,
    step: &'s Step,
    names: &Names,
    file: Option<&File>,
) -> Result<Request, Slip<'s>> {
    let path = render(&step.path, Escape::Path, names)?;
    let url = base.join(&path).map_err(|error| Slip {
        template: Some(&step.path),
        message: format!("`{path}` is not a path: {error}"),
        range: None,
    })?;
    let mut query = Vec::new();
    for (name, value) in &step.query {
        query.push((name.clone(), render(value, Escape::Raw, names)?));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in &step.headers {
        headers.insert(name.to_lowercase(), one_line(&render(value, Escape::Raw, names)?));
    }
    let content = content(step, names, file)?;
    Ok(Request { method: step.method.clone(), url, query, headers, content })
}

fn content<'s>(step: &'s Step, names: &Names, file: Option<&File>) -> Result<Content, Slip<'s>> {
    Ok(match &step.body {
        Body::None => Content::None,
        Body::Text { text, kind } if kind.contains("json") => {
            Content::Json(as_json(text, names, step.keep_null)?)
        }
        Body::Text { text, kind } => {
            let xml = kind.contains("xml") || kind.contains("html");
            let escape = if xml { Escape::Xml } else { Escape::Raw };
            let bytes = render(text, escape, names)?.into_bytes();
            Content::Bytes { kind: kind.clone(), bytes }
        }
        Body::Form(fields) => {
            let mut form = BTreeMap::new();
            for (name, value) in fields {
                form.insert(name.clone(), render(value, Escape::Raw, names)?);
            }
            Content::Form(form)
        }
        Body::Multipart(parts) => multipart(parts, names, file)?,
        Body::GraphQl { query, variables } => {
            let variables = variables.as_ref().map(|text| as_json(text, names, step.keep_null));
            let variables = variables.transpose()?.unwrap_or_else(|| json!({}));
            Content::Json(json!({ "query": query, "variables": variables }))
        }
        Body::File => Content::Bytes {
            kind: "application/octet-stream".to_owned(),
            bytes: file.map(|file| file.content.clone()).unwrap_or_default(),
        },
    })
}

fn as_json<'s>(text: &'s Template, names: &Names, keep: bool) -> Result<Json, Slip<'s>> {
    let rendered = render(text, Escape::Json, names)?;
    let json = serde_json::from_str(&rendered).map_err(|error| Slip {
        template: Some(text),
        message: format!("what it makes is not JSON: {error}"),
        range: None,
    })?;
    Ok(if keep { json } else { without_null(json) })
}

/// What has no value is left out.
fn without_null(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let there = members.into_iter().filter(|(_, value)| !value.is_null());
            let there = there.map(|(name, value)| (name, without_null(value)));
            Json::Object(there.collect::<Map<_, _>>())
        }
        Json::Array(items) => items.into_iter().map(without_null).collect(),
        other @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => other,
    }
}

fn multipart<'s>(
    parts: &'s [Part],
    names: &Names,
    file: Option<&File>,
) -> Result<Content, Slip<'s>> {
    let mut rendered = Vec::new();
    for part in parts {
        let optional = |template: &'s Option<Template>| {
            template.as_ref().map(|template| render(template, Escape::Raw, names)).transpose()
        };
        rendered.push((
            quoted(&part.name),
            optional(&part.filename)?.map(|name| quoted(&name)),
            optional(&part.kind)?.map(|kind| one_line(&kind)),
            match &part.content {
                PartContent::Text(text) => render(text, Escape::Raw, names)?.into_bytes(),
                PartContent::File => file.map(|file| file.content.clone()).unwrap_or_default(),
            },
        ));
    }
    let mut all = blake3::Hasher::new();
    for (_, _, _, value) in &rendered {
        all.update(value);
    }
    // Made of the content, so that the content cannot have it.
    let boundary = format!("faultgate-{}", all.finalize().to_hex());
    let mut body = Vec::new();
    for (name, filename, kind, value) in rendered {
        let filename = filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n{kind}\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    Ok(Content::Bytes { kind, bytes: body })
}

/// A text in the quotes of a header of a part (WHATWG HTML, multipart/form-data).
fn quoted(text: &str) -> String {
    one_line(text).replace('"', "%22")
}

impl Request {
    /// Puts a credential where it goes.
    pub fn carry(&mut self, carrier: &Carrier, credential: &str) {
        match carrier {
            Carrier::Header { name, prefix } => {
                self.headers.insert(name.to_lowercase(), format!("{prefix}{credential}"));
            }
            Carrier::Query(name) => self.query.push((name.clone(), credential.to_owned())),
            Carrier::Cookie(name) => {
                let cookie = format!("{name}={credential}");
                let all = self.headers.get("cookie").map(|other| format!("{other}; {cookie}"));
                self.headers.insert("cookie".to_owned(), all.unwrap_or(cookie));
            }
            Carrier::Body(place) => self.put(place, credential),
        }
    }

    /// Puts a text into the body: a pointer into JSON, a field of a form.
    pub fn put(&mut self, place: &str, text: &str) {
        match &mut self.content {
            Content::Json(json) => put_json(json, place, text),
            Content::Form(form) => {
                form.insert(place.trim_start_matches('/').to_owned(), text.to_owned());
            }
            Content::None => {
                let mut json = json!({});
                put_json(&mut json, place, text);
                self.content = Content::Json(json);
            }
            Content::Bytes { .. } => {}
        }
    }

    /// The whole address.
    pub fn address(&self) -> Url {
        let mut url = self.url.clone();
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    /// The parameters of query and form, `a=1&b=2` by name, as many signatures want them.
    pub fn sorted_parameters(&self) -> String {
        let mut all: Vec<(String, String)> = self.query.clone();
        all.extend(self.url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())));
        if let Content::Form(form) = &self.content {
            all.extend(form.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all.sort();
        let pairs: Vec<String> =
            all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// Type and bytes of the body.
    pub fn body(&self) -> Option<(String, Vec<u8>)> {
        match &self.content {
            Content::None => None,
            Content::Json(json) => {
                Some(("application/json".to_owned(), json.to_string().into_bytes()))
            }
            Content::Form(form) => {
                let pairs: Vec<String> = form
                    .iter()
                    .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
                    .collect();
                let kind = "application/x-www-form-urlencoded".to_owned();
                Some((kind, pairs.join("&").into_bytes()))
            }
            Content::Bytes { kind, bytes } => Some((kind.clone(), bytes.clone())),
        }
    }
}

fn put_json(json: &mut Json, place: &str, text: &str) {
    let mut at = json;
    for name in place.trim_start_matches('/').split('/') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name.replace("~1", "/").replace("~0", "~")];
    }
    *at = Json::String(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::Value;

    fn names() -> Names {
        Names::from([
            ("title".to_owned(), Value::from("冷柜 \"3\"")),
            ("assign".to_owned(), Value::from(())),
            ("ticket".to_owned(), Value::from("a/b")),
        ])
    }

    fn compose_step(step: &Step) -> Request {
        let base = Url::parse("https://x.example/api/").expect("an address");
        compose(&base, step, &names(), None).expect("composed")
    }

    #[test]
    fn a_member_without_a_value_is_left_out_unless_it_is_to_be_kept() {
        let text =
            Template::ours(r#"{"s": {{ title }}, "owner": {{ assign }}, "l": [{"a": null}]}"#);
        let body = Body::Text { text, kind: "application/json".to_owned() };
        let step = Step::new("POST", Template::ours("t/{{ ticket }}"), body);
        let request = compose_step(&step);
        assert_eq!(request.url.as_str(), "https://x.example/api/t/a%2Fb");
        assert_eq!(request.content, Content::Json(json!({ "s": "冷柜 \"3\"", "l": [{}] })));
        let kept = compose_step(&Step { keep_null: true, ..step });
        assert!(
            matches!(kept.content, Content::Json(json) if json["owner"].is_null() && json.get("owner").is_some())
        );
    }

    #[test]
    fn credentials_go_into_header_query_body_and_cookie() {
        let step = Step::new("POST", Template::ours("x?a=1"), Body::None);
        let mut request = compose_step(&step);
        request.carry(&Carrier::Query("key".into()), "s &");
        request.carry(&Carrier::Body("/auth/token".into()), "t");
        request.carry(&Carrier::Cookie("sid".into()), "1");
        request.carry(&Carrier::Cookie("b".into()), "2");
        request.carry(&Carrier::Header { name: "X-Key".into(), prefix: "Token ".into() }, "k");
        assert_eq!(request.address().as_str(), "https://x.example/api/x?a=1&key=s+%26");
        assert_eq!(request.content, Content::Json(json!({ "auth": { "token": "t" } })));
        assert_eq!(request.headers["cookie"], "sid=1; b=2");
        assert_eq!(request.headers["x-key"], "Token k");
        assert_eq!(request.sorted_parameters(), "a=1&key=s &");
    }

    #[test]
    fn a_form_and_parts_are_written_as_a_browser_writes_them() {
        let title = || Template::ours("{{ title }}");
        let form = Body::Form([("标题".to_owned(), title())].into());
        let request = compose_step(&Step::new("POST", Template::ours("x"), form));
        let (_, bytes) = request.body().expect("a body");
        assert_eq!(bytes, b"%E6%A0%87%E9%A2%98=%E5%86%B7%E6%9F%9C%20%223%22");
        let part =
            |content| Part { name: "file".into(), filename: Some(title()), kind: None, content };
        let parts = vec![part(PartContent::Text(title())), part(PartContent::File)];
        let step = Step::new("POST", Template::ours("x"), Body::Multipart(parts));
        assert!(step.sends_file());
        let file = File { name: "f".into(), kind: "image/png".into(), content: b"\x89PNG".into() };
        let base = Url::parse("https://x.example/api/").expect("an address");
        let request = compose(&base, &step, &names(), Some(&file)).expect("composed");
        let (kind, mut bytes) = request.body().expect("a body");
        let at = bytes.iter().position(|byte| *byte == 0x89).expect("the bytes of the file");
        bytes[at] = b'.';
        let text = String::from_utf8(bytes).expect("text");
        let boundary = kind.rsplit('=').next().expect("a boundary");
        assert!(text.starts_with(&format!("--{boundary}\r\n")), "{text}");
        assert!(text.contains("filename=\"冷柜 %223%22\"\r\n\r\n冷柜 \"3\"\r\n"), "{text}");
    }
}
