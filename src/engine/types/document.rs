//! A TOML file read key by key: every mistake is noted with its place, and reading goes on.
//!
//! serde stops at the first mistake and names no remedy; operators need all of them at once.
//! A [`Table`] remembers which keys were asked for, so that [`Table::finish`] can point at the
//! others and guess what was meant.

mod quantities;
mod scalar;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Report, Source, did_you_mean, position};
use super::time::TimeSpan;

pub use quantities::Bytes;
pub use scalar::Scalar;

/// A value and the bytes of the file that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// What was read.
    pub value: T,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// Where values are read from and where findings go.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub source: &'a Source,
    /// The findings.
    pub report: &'a Report,
}

impl Place<'_> {
    /// Notes an error at `span` of this file.
    pub fn error(
        &self,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report.error(self.source, span, code, message, hint);
    }

    /// Notes a warning at `span` of this file.
    pub fn warning(
        &self,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report.warning(self.source, span, code, message, hint);
    }
}

/// Reads the whole of `place.source`, hands its top table to `read`, and reports keys that `read`
/// did not ask for. Files that are not TOML give one error for each syntax mistake and `None`.
pub fn read_document<T>(place: Place<'_>, read: impl FnOnce(&Table<'_>) -> Option<T>) -> Option<T> {
    let (table, errors) = DeTable::parse_recoverable(&place.source.text);
    let mut last_line = 0;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let (line, _) = position(&place.source.text, span.start);
        // What follows on the same line is the parser finding its way back.
        if line != last_line {
            let hint = "one `key = value` a line; texts stand in double quotes";
            place.error(span, "syntax", format!("not valid TOML: {}", error.message()), hint);
        }
        last_line = line;
    }
    if !errors.is_empty() {
        return None;
    }
    let span = table.span();
    let table = Table::new(place, table.get_ref(), span, String::new());
    let value = read(&table);
    table.finish();
    value
}

/// Reads what can be made out of a file that may have syntax errors, and says whether it is whole.
pub fn read_recovered<T>(place: Place<'_>, read: impl FnOnce(&Table<'_>) -> T) -> (T, bool) {
    let (table, errors) = DeTable::parse_recoverable(&place.source.text);
    let span = table.span();
    (read(&Table::new(place, table.get_ref(), span, String::new())), errors.is_empty())
}

/// One TOML table being read.
#[derive(Debug)]
pub struct Table<'a> {
    place: Place<'a>,
    map: &'a DeTable<'a>,
    span: Range<usize>,
    name: String,
    asked: RefCell<Vec<&'static str>>,
    /// The operator chooses the keys: none is unknown.
    open: Cell<bool>,
    #[cfg(test)]
    refused: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    fn new(place: Place<'a>, map: &'a DeTable<'a>, span: Range<usize>, name: String) -> Self {
        Table {
            place,
            map,
            span,
            name,
            asked: RefCell::new(Vec::new()),
            open: Cell::new(false),
            #[cfg(test)]
            refused: RefCell::default(),
        }
    }

    /// File and findings, for checks of the caller's own.
    pub fn place(&self) -> Place<'a> {
        self.place
    }

    /// The bytes of the table's head (or of the whole inline table).
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// True when the file has this key.
    pub fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// True when the value under this key is a text.
    pub fn is_text(&self, key: &'static str) -> bool {
        self.find(key).is_some_and(|(_, value)| value.get_ref().is_str())
    }

    /// The value under `key`; `None` when absent or wrong (then noted).
    pub fn optional<T: FromToml<'a>>(&self, key: &'static str) -> Option<T> {
        let (_, value) = self.find(key)?;
        T::from_toml(value, &self.context(key))
    }

    /// The value under `key`; absence is an error at the table's head.
    pub fn required<T: FromToml<'a>>(&self, key: &'static str) -> Option<T> {
        if self.find(key).is_none() {
            let message = format!("{}`{key}` is missing", self.prefix());
            self.place.error(self.span(), "missing-key", message, format!("add `{key} = ...`"));
            return None;
        }
        self.optional(key)
    }

    /// The value under `key`, or `default`.
    pub fn or<T: FromToml<'a>>(&self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Reads a sub-table with `read`; unknown keys in it are reported.
    pub fn table<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Table<'a>) -> Option<T>,
    ) -> Option<T> {
        let (_, value) = self.find(key)?;
        read_table(value, &self.context(key), read)
    }

    /// Reads an array of tables (`[[key]]`, or an array of inline tables) with `read`.
    pub fn tables<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&Table<'a>) -> Option<T>,
    ) -> Vec<T> {
        let Some((_, value)) = self.find(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            wrong_type(value, &self.context(key), "an array of tables", "");
            return Vec::new();
        };
        items.iter().filter_map(|item| read_table(item, &self.context(key), &mut read)).collect()
    }

    /// All keys and values, for tables whose keys the operator chooses.
    pub fn entries(&self) -> Vec<(Located<String>, Entry<'a>)> {
        self.open.set(true);
        self.map
            .iter()
            .map(|(key, value)| {
                let name = Located { value: key.get_ref().to_string(), span: key.span() };
                let context = self.context_of(key.get_ref());
                (name, Entry { value, context })
            })
            .collect()
    }

    /// Refuses `key` by name: part of the format, but not built in this version.
    pub fn not_built(&self, key: &'static str, instead: &str) {
        #[cfg(test)]
        self.refused.borrow_mut().push(key);
        if let Some((span, _)) = self.find(key) {
            let message = format!("{}`{key}` is not supported in this version", self.prefix());
            self.place.error(span, "not-supported", message, instead);
        }
    }

    /// Notes every key that was never asked for. [`read_document`], [`Table::table`] and
    /// [`Table::tables`] call it themselves.
    fn finish(&self) {
        #[cfg(test)]
        self.place.report.asked.borrow_mut().push(super::diagnostic::Asked {
            table: self.name.clone(),
            keys: self.asked.borrow().clone(),
            refused: self.refused.borrow().clone(),
            open: self.open.get(),
        });
        if self.open.get() {
            return;
        }
        let asked = self.asked.borrow();
        for key in self.map.keys() {
            if !asked.contains(&key.get_ref().as_ref()) {
                let message = format!("{}unknown key `{}`", self.prefix(), key.get_ref());
                let hint = did_you_mean(key.get_ref(), &asked);
                self.place.error(key.span(), "unknown-key", message, hint);
            }
        }
    }

    fn find(&self, key: &'static str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        let (name, value) = self.map.get_key_value(key)?;
        Some((name.span(), value))
    }

    fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) }
    }

    fn context(&self, key: &str) -> Context<'a> {
        self.context_of(key)
    }

    fn context_of(&self, key: &str) -> Context<'a> {
        let name = if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) };
        Context { place: self.place, name }
    }
}

/// A value under a key that the operator chose.
#[derive(Debug)]
pub struct Entry<'a> {
    value: &'a Spanned<DeValue<'a>>,
    context: Context<'a>,
}

impl<'a> Entry<'a> {
    /// The value as a `T`; `None` when it is something else (then noted).
    pub fn read<T: FromToml<'a>>(&self) -> Option<T> {
        T::from_toml(self.value, &self.context)
    }

    /// The value as a table read by `read`.
    pub fn table<T>(&self, read: impl FnOnce(&Table<'a>) -> Option<T>) -> Option<T> {
        read_table(self.value, &self.context, read)
    }

    /// True when the value is a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Where the value stands.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }
}

/// Where a value stands, for messages about it.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// File and findings.
    pub place: Place<'a>,
    /// Dotted name of the key, e.g. `rule.on_delay`.
    pub name: String,
}

/// What can be read from one TOML value.
pub trait FromToml<'a>: Sized {
    /// The value, or `None` after a finding has been noted.
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self>;
}

pub(super) fn read_table<'a, T>(
    value: &'a Spanned<DeValue<'a>>,
    context: &Context<'a>,
    read: impl FnOnce(&Table<'a>) -> Option<T>,
) -> Option<T> {
    let Some(map) = value.get_ref().as_table() else {
        wrong_type(value, context, "a table", "");
        return None;
    };
    let table = Table::new(context.place, map, value.span(), context.name.clone());
    let value = read(&table);
    table.finish();
    value
}

fn wrong_type(value: &Spanned<DeValue<'_>>, context: &Context<'_>, wanted: &str, hint: &str) {
    let message = format!(
        "`{}` must be {wanted}, but it is a TOML {}",
        context.name,
        value.get_ref().type_str()
    );
    context.place.error(value.span(), "wrong-type", message, hint);
}

impl<'a> FromToml<'a> for String {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            wrong_type(value, context, "a text", "put it in double quotes");
        }
        text
    }
}

impl<'a> FromToml<'a> for bool {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(value, context, "true or false", "write it without quotes");
        }
        flag
    }
}

impl<'a> FromToml<'a> for i64 {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let Some(number) = value.get_ref().as_integer() else {
            wrong_type(value, context, "a whole number", "");
            return None;
        };
        let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
        if parsed.is_none() {
            let message = format!("`{}` is too large a number", context.name);
            context.place.error(value.span(), "out-of-range", message, "at most 2^63 - 1");
        }
        parsed
    }
}

impl<'a> FromToml<'a> for u32 {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let number = i64::from_toml(value, context)?;
        let parsed = u32::try_from(number).ok();
        if parsed.is_none() {
            let message = format!("`{}` must be from 0 to 4294967295", context.name);
            context.place.error(value.span(), "out-of-range", message, "");
        }
        parsed
    }
}

/// Measurements and thresholds: whole numbers are taken as well. Never for money.
impl<'a> FromToml<'a> for f64 {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        if value.get_ref().is_integer() {
            return i64::from_toml(value, context).map(|number| number as f64);
        }
        let number = value.get_ref().as_float().and_then(|number| number.as_str().parse().ok());
        match number {
            Some(number) if f64::is_finite(number) => Some(number),
            _ => {
                wrong_type(value, context, "a finite number", "");
                None
            }
        }
    }
}

impl<'a> FromToml<'a> for TimeSpan {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            wrong_type(value, context, "a duration as text", "write it in quotes: \"30s\"");
            return None;
        };
        match TimeSpan::parse(text) {
            Ok(span) => Some(span),
            Err(error) => {
                let message = format!("`{}`: \"{text}\" is not a duration", context.name);
                let hint = error.to_string().replace("not a duration; ", "");
                context.place.error(value.span(), "wrong-value", message, hint);
                None
            }
        }
    }
}

impl<'a, T: FromToml<'a>> FromToml<'a> for Located<T> {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        T::from_toml(value, context).map(|read| Located { value: read, span: value.span() })
    }
}

/// An array; members that are wrong are noted and left out.
impl<'a, T: FromToml<'a>> FromToml<'a> for Vec<T> {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let Some(items) = value.get_ref().as_array() else {
            wrong_type(value, context, "an array", "put it in square brackets");
            return None;
        };
        Some(items.iter().filter_map(|item| T::from_toml(item, context)).collect())
    }
}

/// A closed set of words in a file, such as a severity.
pub trait Word: Sized + Copy + 'static {
    /// Every word and what it means, in the order in which they are listed to the operator.
    const WORDS: &'static [(&'static str, Self)];

    /// The member that `text` names.
    fn parse_word(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, member)| *member)
    }
}

/// Reads one [`Word`]; implemented once for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneOf<T>(pub T);

impl<'a, T: Word> FromToml<'a> for OneOf<T> {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let text = String::from_toml(value, context)?;
        let member = T::parse_word(&text);
        if member.is_none() {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            let message =
                format!("`{}`: \"{text}\" is not one of {}", context.name, words.join(", "));
            context.place.error(value.span(), "wrong-value", message, did_you_mean(&text, &words));
        }
        member.map(OneOf)
    }
}

#[cfg(test)]
mod tests;
