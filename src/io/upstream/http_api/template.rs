//! Templates of requests: minijinja, strict, escaped for where the text goes.
//!
//! In JSON a value is escaped by its position: between quotes as a part of that text, elsewhere as
//! a whole JSON value. Device text can therefore never end a text early.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};
use serde_json::Value as Json;

use super::filters;
use crate::engine::types::document::{Context, FromToml};

/// Longest text that a template may make, in bytes.
const RENDERED_BYTES_MAX: usize = 8 << 20;

/// What templates may name.
pub(super) type Names = BTreeMap<String, Value>;

/// A template as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its text.
    pub text: String,
    /// The file.
    pub file: String,
    /// Where it stands there.
    pub span: Range<usize>,
}

impl<'a> FromToml<'a> for Template {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        let read = value.get_ref();
        let text = match (read.as_integer(), read.as_bool()) {
            (Some(_), _) => i64::from_toml(value, context)?.to_string(),
            (_, Some(flag)) => flag.to_string(),
            (None, None) => String::from_toml(value, context)?,
        };
        Some(Template { text, file: context.place.source.file.clone(), span: value.span() })
    }
}

/// Where a rendered text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// As it is: query, form, header, plain text, what is signed.
    Raw,
    /// Into JSON.
    Json,
    /// Into a path.
    Path,
    /// Into XML or HTML.
    Xml,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In the words of the template engine.
    pub message: String,
    /// Bytes of the template, where it is known.
    pub range: Option<Range<usize>>,
}

impl Template {
    /// A template of our own.
    pub fn ours(text: &str) -> Template {
        Template { text: text.to_owned(), file: String::new(), span: 0..0 }
    }

    /// The text for `names`.
    pub(super) fn render(&self, escape: Escape, names: &Names) -> Result<String, Fault> {
        let plain = !self.text.contains('{');
        if plain
            || (escape == Escape::Raw && !self.text.contains("{{") && !self.text.contains("{%"))
        {
            return Ok(self.text.clone());
        }
        let values =
            Value::from_pairs(names.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let name = match escape {
            Escape::Raw => "raw",
            Escape::Json => "json",
            Escape::Path => "path",
            Escape::Xml => "xml",
        };
        let text = ENVIRONMENT.render_named_str(name, &self.text, values).map_err(|e| fault(&e))?;
        if text.len() > RENDERED_BYTES_MAX {
            let message = "makes a text of more than 8 MiB".to_owned();
            return Err(Fault { message, range: None });
        }
        Ok(if escape == Escape::Json { settle(&text) } else { text })
    }

    /// The value of an expression, as a condition.
    pub(super) fn holds(&self, names: &Names) -> Result<bool, Fault> {
        let values =
            Value::from_pairs(names.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let expression = ENVIRONMENT.compile_expression(&self.text).map_err(|e| fault(&e))?;
        expression.eval(values).map(|value| value.is_true()).map_err(|e| fault(&e))
    }

    /// The names that it needs from outside, `vars.x` with their member.
    pub(super) fn needs(&self) -> Result<Vec<String>, Fault> {
        let parsed =
            ENVIRONMENT.template_from_named_str("raw", &self.text).map_err(|e| fault(&e))?;
        let mut names: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The same of an expression.
    pub(super) fn expression_needs(&self) -> Result<Vec<String>, Fault> {
        let parsed = ENVIRONMENT.compile_expression(&self.text).map_err(|e| fault(&e))?;
        let mut names: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// True for names that are always there.
pub(super) fn is_built_in(name: &str) -> bool {
    let head = name.split('.').next().unwrap_or(name);
    ["range", "dict", "namespace", "debug", "loop", "nonce"].contains(&head)
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_auto_escape_callback(|name| match name {
        "json" => AutoEscape::Json,
        "xml" => AutoEscape::Html,
        "path" => AutoEscape::Custom("path".into()),
        _ => AutoEscape::None,
    });
    environment.set_formatter(|out, state, value| {
        if value.kind() == ValueKind::String && value.is_safe() {
            return out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from);
        }
        let text = match state.auto_escape() {
            // Marked, so that `settle` can tell it from the text around it.
            AutoEscape::Json => format!("\u{1}{}\u{2}", filters::to_json(value)),
            AutoEscape::Html if !value.is_none() => filters::xml(&value.to_string()),
            AutoEscape::Custom(_) if !value.is_none() => filters::percent(&value.to_string()),
            AutoEscape::None | AutoEscape::Html | AutoEscape::Custom(_) | _ if value.is_none() => {
                String::new()
            }
            AutoEscape::None | AutoEscape::Html | AutoEscape::Custom(_) | _ => value.to_string(),
        };
        out.write_str(&text).map_err(Error::from)
    });
    filters::add(&mut environment);
    environment
});

/// Puts the marked values of a JSON text into their positions.
fn settle(marked: &str) -> String {
    let mut text = String::with_capacity(marked.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = marked;
    while let Some(c) = rest.chars().next() {
        let (_, after) = rest.split_at(c.len_utf8());
        rest = after;
        if c == '\u{1}' {
            let (value, after) = rest.split_once('\u{2}').unwrap_or((rest, ""));
            rest = after;
            text.push_str(&if quoted { inner(value) } else { value.to_owned() });
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        text.push(c);
    }
    text
}

/// A JSON value as a part of a JSON text.
fn inner(value: &str) -> String {
    let plain = match serde_json::from_str(value) {
        Ok(Json::String(text)) => text,
        Ok(Json::Null) => String::new(),
        Ok(Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) | Err(_) => {
            value.to_owned()
        }
    };
    let quoted = Json::String(plain).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or("").to_owned()
}

fn fault(error: &Error) -> Fault {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    Fault { message: format!("{}{detail}", error.kind()), range: error.range() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, escape: Escape) -> String {
        let mut names = Names::new();
        names.insert("title".into(), Value::from("泵 \"1\"\\ <b>\n第二行"));
        names.insert("priority".into(), Value::from(5));
        names.insert("assign".into(), Value::from(()));
        names.insert("key".into(), Value::from("a/b c"));
        Template::ours(text).render(escape, &names).expect("renders")
    }

    #[test]
    fn a_value_is_escaped_for_its_position_in_json() {
        for text in [
            r#"{"s": {{ title }}, "t": "x {{ title }} y", "p": {{ priority }}, "a": {{ assign }}, "b": "{{ assign }}"}"#,
            r#"{"s": {{ title | tojson }}, "t": "x {{ title }} y", "p": {{ priority }}, "a": {{ assign | tojson }}, "b": ""}"#,
        ] {
            let json: Json = serde_json::from_str(&render(text, Escape::Json)).expect("JSON");
            assert_eq!(json["s"], "泵 \"1\"\\ <b>\n第二行");
            assert_eq!(json["t"], "x 泵 \"1\"\\ <b>\n第二行 y");
            assert_eq!((&json["p"], &json["a"], &json["b"]), (&5.into(), &Json::Null, &"".into()));
        }
    }

    #[test]
    fn paths_and_xml_are_escaped_once_and_plain_text_is_not() {
        assert_eq!(render("t/{{ key }}", Escape::Path), "t/a%2Fb%20c");
        assert_eq!(render("t?k={{ key | urlencode }}", Escape::Path), "t?k=a%2Fb%20c");
        assert_eq!(render("{{ title }}", Escape::Xml), "泵 &quot;1&quot;\\ &lt;b&gt;\n第二行");
        assert_eq!(render("{{ key }}|{{ assign }}", Escape::Raw), "a/b c|");
    }

    #[test]
    fn an_unknown_name_is_an_error_and_is_found_before_anything_is_rendered() {
        let template = Template::ours("{{ titel }} {{ vars.x | upper }} {% set y = 1 %}{{ y }}");
        assert_eq!(template.needs(), Ok(vec!["titel".to_owned(), "vars.x".to_owned()]));
        assert!(template.render(Escape::Raw, &Names::new()).is_err());
        assert!(Template::ours("{{ title").needs().is_err());
    }
}
