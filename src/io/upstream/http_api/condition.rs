//! What must hold of an answer: comparisons of places (`/errcode != 0`), or an expression over
//! `status`, `headers`, `body` and `text`.

use minijinja::Value;
use serde_json::Value as Json;

use super::answer::Answer;
use super::filters::from_json;
use super::place::{Place, plain};
use super::template::{Names, Template};
use crate::engine::types::document::{Context, FromToml};

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As it is written.
    pub template: Template,
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    /// One of these must hold, and all of its comparisons.
    Places(Vec<Vec<Comparison>>),
    /// An expression.
    Expression,
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    place: Place,
    /// `None`: the place must be there and not be empty, false or null.
    test: Option<(Operator, Json)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
    Contains,
}

const OPERATORS: [(&str, Operator); 7] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("contains", Operator::Contains),
];

impl<'a> FromToml<'a> for Condition {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let template = Template::from_toml(value, context)?;
        match Condition::parse(template) {
            Ok(condition) => Some(condition),
            Err(message) => {
                let hint = "for example \"/errcode != 0\", \"/errors\" or \"'not valid' in text\"";
                context.place.error(value.span(), "condition", message, hint);
                None
            }
        }
    }
}

impl Condition {
    /// Reads a condition.
    pub(super) fn parse(template: Template) -> Result<Condition, String> {
        if !template.text.trim_start().starts_with('/') {
            return match template.expression_needs() {
                Ok(_) => Ok(Condition { template, form: Form::Expression }),
                Err(fault) => Err(fault.message),
            };
        }
        let any = template.text.split("||").map(|all| all.split("&&").map(comparison).collect());
        let places = any.collect::<Result<Vec<Vec<Comparison>>, String>>()?;
        Ok(Condition { template, form: Form::Places(places) })
    }

    /// The names that an expression needs.
    pub(super) fn needs(&self) -> Vec<String> {
        match self.form {
            Form::Places(_) => Vec::new(),
            Form::Expression => self.template.expression_needs().unwrap_or_default(),
        }
    }

    /// Whether it holds of an answer.
    pub(super) fn holds(&self, answer: &Answer, names: &Names) -> bool {
        let body = answer.json.as_ref().unwrap_or(&Json::Null);
        self.holds_of(body, &|| {
            let mut names = names.clone();
            names.extend(answer.names());
            names
        })
    }

    /// Whether it holds of an item.
    pub(super) fn holds_of_item(&self, item: &Json, names: &Names) -> bool {
        self.holds_of(item, &|| {
            let mut names = names.clone();
            names.insert("item".to_owned(), from_json(item));
            names
        })
    }

    fn holds_of(&self, json: &Json, names: &dyn Fn() -> Names) -> bool {
        match &self.form {
            Form::Places(any) => {
                any.iter().any(|all| all.iter().all(|comparison| comparison.holds(json)))
            }
            // What an answer does not have makes a condition false, not an error.
            Form::Expression => self.template.holds(&names()).unwrap_or(false),
        }
    }
}

fn comparison(text: &str) -> Result<Comparison, String> {
    let text = text.trim();
    let found = OPERATORS.iter().filter_map(|(word, operator)| {
        let spaced = format!(" {word} ");
        text.split_once(&spaced).map(|(place, literal)| (place, *operator, literal))
    });
    // The first in the text: a literal may have the words of an operator.
    let Some((place, operator, literal)) = found.min_by_key(|(place, _, _)| place.len()) else {
        return Ok(Comparison { place: Place::parse(text)?, test: None });
    };
    let literal = literal.trim();
    let single = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let value = match single {
        Some(text) => Json::String(text.to_owned()),
        None => serde_json::from_str(literal).map_err(|_| {
            format!("`{literal}` is no number, text in quotes, true, false or null")
        })?,
    };
    Ok(Comparison { place: Place::parse(place.trim())?, test: Some((operator, value)) })
}

impl Comparison {
    fn holds(&self, json: &Json) -> bool {
        let found = self.place.all(json);
        match &self.test {
            None => found.iter().any(|value| is_something(value)),
            // A place that is not there is null.
            Some((Operator::Equal, Json::Null)) => found.iter().all(|value| value.is_null()),
            Some((Operator::NotEqual, wanted)) => {
                !found.is_empty() && found.iter().all(|value| !alike(value, wanted))
            }
            Some((operator, wanted)) => found.iter().any(|value| compare(value, *operator, wanted)),
        }
    }
}

fn is_something(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::Bool(true) => true,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
    }
}

/// Equal, where `"0"` is as good as `0`.
fn alike(value: &Json, wanted: &Json) -> bool {
    value == wanted || plain(value).is_some_and(|text| Some(text) == plain(wanted))
}

fn compare(value: &Json, operator: Operator, wanted: &Json) -> bool {
    let number = |value: &Json| plain(value).and_then(|text| text.parse::<f64>().ok());
    let numbers = number(value).zip(number(wanted));
    match operator {
        Operator::Equal => alike(value, wanted),
        Operator::NotEqual => !alike(value, wanted),
        Operator::AtMost => numbers.is_some_and(|(value, wanted)| value <= wanted),
        Operator::AtLeast => numbers.is_some_and(|(value, wanted)| value >= wanted),
        Operator::Less => numbers.is_some_and(|(value, wanted)| value < wanted),
        Operator::Greater => numbers.is_some_and(|(value, wanted)| value > wanted),
        Operator::Contains => match value {
            Json::Array(items) => items.iter().any(|item| compare(item, operator, wanted)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                let wanted = plain(wanted).unwrap_or_default();
                plain(value).is_some_and(|text| text.contains(&wanted))
            }
        },
    }
}

/// A place as a value, for names of templates.
pub(super) fn value_of(json: Option<&Json>) -> Value {
    json.map_or(Value::from(()), from_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, status: u16, body: &str) -> bool {
        let condition = Condition::parse(Template::ours(condition)).expect("a condition");
        condition.holds(&Answer::of(status, &[], body), &Names::new())
    }

    #[test]
    fn a_failure_with_a_good_code_is_told_by_the_body() {
        for (condition, body, expected) in [
            ("/errcode != 0", r#"{"errcode": 310000}"#, true),
            ("/errcode != 0", r#"{"errcode": 0}"#, false),
            ("/errcode != 0", r#"{"errcode": "0"}"#, false),
            ("/errcode != 0", "", false),
            ("/errors", r#"{"errors": []}"#, false),
            ("/errors", r#"{"data": null, "errors": [{"message": "x"}]}"#, true),
            ("/* contains \"isn't a valid\"", r#"["Status 'x' isn't a valid status"]"#, true),
            ("/a == 1 && /b == 'x' || /c > 5", r#"{"a": 1, "b": "y", "c": 6}"#, true),
            ("/a == 1 && /b == 'x' || /c > 5", r#"{"a": 1, "b": "y", "c": 5}"#, false),
            ("/id == null", "{}", true),
            ("status == 200 and 'full' in text", r#"{"message": "quota full"}"#, true),
            ("body.message is defined and body.code > 3", r#"{"code": 9}"#, false),
        ] {
            assert_eq!(holds(condition, 200, body), expected, "{condition} of {body}");
        }
    }

    #[test]
    fn a_condition_that_is_none_is_refused() {
        for text in ["/a == x", "status ==", "/a == 'x"] {
            assert!(Condition::parse(Template::ours(text)).is_err(), "{text}");
        }
    }
}
