//! Texts in two languages, and cutting text without breaking a character.

use serde::{Deserialize, Serialize};

use super::document::{Context, FromToml, Word};

/// A language that tickets and messages speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    Chinese,
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
}

impl Word for Language {
    const WORDS: &'static [(&'static str, Self)] =
        &[("zh-CN", Language::Chinese), ("zh", Language::Chinese), ("en", Language::English)];
}

/// One text in both languages; at least one of them is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bilingual {
    zh: Option<String>,
    en: Option<String>,
}

impl Bilingual {
    /// Both languages.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Bilingual {
        Bilingual { zh: Some(zh.into()), en: Some(en.into()) }
    }

    /// The text in `language`, else in the other one.
    pub fn get(&self, language: Language) -> &str {
        let (first, second) = match language {
            Language::Chinese => (&self.zh, &self.en),
            Language::English => (&self.en, &self.zh),
        };
        first.as_deref().or(second.as_deref()).unwrap_or("")
    }

    /// Every text that is there.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.zh.iter().chain(self.en.iter()).map(String::as_str)
    }
}

/// Either `{ zh = "...", en = "..." }` (one may be missing) or one text for both.
impl<'a> FromToml<'a> for Bilingual {
    fn from_toml(
        value: &'a toml::Spanned<toml::de::DeValue<'a>>,
        context: &Context<'a>,
    ) -> Option<Self> {
        if let Some(text) = value.get_ref().as_str() {
            return Some(Bilingual { zh: None, en: Some(text.to_owned()) });
        }
        super::document::read_table(value, context, |table| {
            let read = Bilingual { zh: table.optional("zh"), en: table.optional("en") };
            if read.zh.is_none() && read.en.is_none() {
                let message = format!("`{}` has no text", context.name);
                table.place().error(table.span(), "missing-key", message, "add `zh = ` or `en = `");
                return None;
            }
            Some(read)
        })
    }
}

/// The longest head of `text` of at most `bytes_max` bytes that ends on a character boundary.
pub fn cut_bytes(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// The first `chars_max` characters of `text`.
pub fn cut_chars(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// `text` without control characters, on one line: device text is data wherever it is shown.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_is_cut_between_characters() {
        assert_eq!(cut_bytes("冷柜过热", 7), "冷柜");
        assert_eq!(cut_bytes("ab", 7), "ab");
        assert_eq!(cut_chars("冷柜过热", 3), "冷柜过");
    }

    #[test]
    fn a_text_in_one_language_serves_both() {
        let text = Bilingual { zh: Some("过热".into()), en: None };
        assert_eq!(text.get(Language::English), "过热");
    }
}
