//! Where a value is in an answer.

use regex::Regex;
use serde_json::Value as Json;

use super::answer::Answer;
use super::filters::from_json;
use super::place::{Place, plain};
use super::template::{Escape, Names, Template};
use crate::engine::types::document::{Context, FromToml, Table};

/// Where a value is.
#[derive(Clone, Debug, PartialEq)]
pub struct Extract {
    /// Where the text comes from.
    pub from: From,
    /// The first group of this pattern in it, or the whole match.
    pub pattern: Option<Pattern>,
}

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// A place in the answer, or in an item.
    Place(Template),
    /// A header.
    Header(String),
    /// A template over `body`, `item`, `headers`, `status`, `text`.
    Template(Template),
    /// The whole text.
    Text,
    /// Our own key.
    Own,
}

/// A pattern; equal when the text is.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl<'a> FromToml<'a> for Extract {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let template = Template::from_toml(value, context)?;
        let found = short(template);
        if found.is_none() {
            let message = format!("`{}` does not say where the value is", context.name);
            let hint = "a place (\"/issue/id\"), a template (\"{{ body.id }}\"), \"location\" or \
                        \"own\"; or a table with `header` or `pattern`";
            context.place.error(value.span(), "wrong-value", message, hint);
        }
        found
    }
}

/// One of the short forms.
fn short(template: Template) -> Option<Extract> {
    let plain = |from| Some(Extract { from, pattern: None });
    match template.text.as_str() {
        "own" => plain(From::Own),
        "location" => Some(Extract {
            from: From::Header("location".to_owned()),
            pattern: Regex::new("([^/?#]+)/?(?:[?#].*)?$").ok().map(Pattern),
        }),
        text if text.starts_with('/') => plain(From::Place(template)),
        text if text.contains("{{") || text.contains("{%") => plain(From::Template(template)),
        _ => None,
    }
}

impl Extract {
    /// Reads `{ header = "Location", pattern = "(\\d+)$" }`, `{ place = "/x" }`, `{ pattern = ... }`.
    pub fn read(table: &Table<'_>) -> Option<Extract> {
        let header =
            table.optional::<String>("header").map(|name| From::Header(name.to_lowercase()));
        let place = table.optional::<Template>("place").map(From::Place);
        let pattern = table.optional::<Located>("pattern");
        let pattern = pattern.and_then(|pattern| match Regex::new(&pattern.value) {
            Ok(regex) => Some(Pattern(regex)),
            Err(_) => {
                let message = format!("`pattern`: \"{}\" is not a pattern", pattern.value);
                let hint = "for example \"/tickets/([0-9]+)$\"; in TOML write \\\\d or use '...'";
                table.place().error(pattern.span, "wrong-value", message, hint);
                None
            }
        });
        Some(Extract { from: header.or(place).unwrap_or(From::Text), pattern })
    }

    /// The templates in it.
    pub(super) fn template(&self) -> Option<&Template> {
        match &self.from {
            From::Place(template) | From::Template(template) => Some(template),
            From::Header(_) | From::Text | From::Own => None,
        }
    }

    /// The values in an answer.
    pub(super) fn all(&self, answer: &Answer, names: &Names) -> Vec<String> {
        let texts = match &self.from {
            From::Place(_) => self.at_place(answer.json.as_ref().unwrap_or(&Json::Null), names),
            From::Header(name) => answer.header(name).map(str::to_owned).into_iter().collect(),
            From::Template(template) => {
                let mut names = names.clone();
                names.extend(answer.names());
                template.render(Escape::Raw, &names).into_iter().collect()
            }
            From::Text => vec![answer.text.clone()],
            From::Own => own(names),
        };
        self.narrow(texts)
    }

    /// The first value in an answer that is not empty.
    pub(super) fn first(&self, answer: &Answer, names: &Names) -> Option<String> {
        self.all(answer, names).into_iter().find(|text| !text.is_empty())
    }

    /// The values in an item of an answer.
    pub(super) fn all_of_item(&self, item: &Json, names: &Names) -> Vec<String> {
        let texts = match &self.from {
            From::Place(_) => self.at_place(item, names),
            From::Template(template) => {
                let mut names = names.clone();
                names.insert("item".to_owned(), from_json(item));
                template.render(Escape::Raw, &names).into_iter().collect()
            }
            From::Text => vec![item.to_string()],
            From::Own => own(names),
            From::Header(_) => Vec::new(),
        };
        self.narrow(texts)
    }

    /// The first value in an item that is not empty.
    pub(super) fn first_of_item(&self, item: &Json, names: &Names) -> Option<String> {
        self.all_of_item(item, names).into_iter().find(|text| !text.trim().is_empty())
    }

    fn at_place(&self, json: &Json, names: &Names) -> Vec<String> {
        let From::Place(template) = &self.from else { return Vec::new() };
        let place = template.render(Escape::Raw, names).ok();
        let place = place.and_then(|text| Place::parse(&text).ok());
        let found = place.map(|place| place.all(json).into_iter().filter_map(plain).collect());
        found.unwrap_or_default()
    }

    fn narrow(&self, texts: Vec<String>) -> Vec<String> {
        let texts = texts.into_iter().map(|text| text.trim().to_owned());
        let Some(Pattern(pattern)) = &self.pattern else { return texts.collect() };
        let found = texts.filter_map(|text| {
            let groups = pattern.captures(&text)?;
            groups.get(1).or_else(|| groups.get(0)).map(|group| group.as_str().to_owned())
        });
        found.collect()
    }
}

fn own(names: &Names) -> Vec<String> {
    let key = names.get("key").and_then(|key| key.as_str().map(str::to_owned));
    key.into_iter().collect()
}

type Located = crate::engine::types::document::Located<String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_from_the_body_a_header_a_pattern_or_is_our_own() {
        let answer = Answer::of(
            201,
            &[("location", "https://x.example/api/tickets/42/")],
            r#"{"id": 7, "text": "created #88."}"#,
        );
        let mut names = Names::new();
        names.insert("key".into(), minijinja::Value::from("k1"));
        let take = |text: &str| short(Template::ours(text)).expect("one").first(&answer, &names);
        assert_eq!(take("/id").as_deref(), Some("7"));
        assert_eq!(take("location").as_deref(), Some("42"));
        assert_eq!(take("own").as_deref(), Some("k1"));
        assert_eq!(take("{{ body.text }}").as_deref(), Some("created #88."));
        assert_eq!(take("{{ body.nothing }}"), None);
        assert!(short(Template::ours("id")).is_none());
    }
}
