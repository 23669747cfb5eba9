//! An answer, as plain values.

use serde_json::Value as Json;

use super::filters::from_json;
use super::template::Names;

/// An answer.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Answer {
    /// Code.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The whole body as text.
    pub text: String,
    /// The body as JSON, if it is that.
    pub json: Option<Json>,
}

impl Answer {
    /// From its parts.
    #[cfg(test)]
    pub fn of(status: u16, headers: &[(&str, &str)], text: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let json = serde_json::from_str(text).ok();
        Answer { status, headers: headers.collect(), text: text.to_owned(), json }
    }

    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What conditions and templates may name of it.
    pub fn names(&self) -> Names {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Names::from([
            ("status".to_owned(), minijinja::Value::from(self.status)),
            ("headers".to_owned(), minijinja::Value::from_pairs(headers)),
            ("text".to_owned(), minijinja::Value::from(self.text.as_str())),
            ("body".to_owned(), self.json.as_ref().map_or(minijinja::Value::from(()), from_json)),
        ])
    }
}
