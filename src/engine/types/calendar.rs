//! Dates and points in time as they stand in TOML files.

use chrono::NaiveDate;
use chrono_tz::Tz;
use toml::Spanned;
use toml::de::DeValue;

use super::document::{Context, FromToml, Located, Table};
use super::time::Timestamp;

/// `2027-01-31`, with or without quotes.
impl<'a> FromToml<'a> for NaiveDate {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let date = written(value).and_then(|text| text.parse().ok());
        if date.is_none() {
            tell(value, context, "a date", "for example 2027-01-31");
        }
        date
    }
}

/// `2026-04-11T03:20:15+08:00`, with or without quotes.
impl<'a> FromToml<'a> for Timestamp {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let time = written(value).and_then(|text| Timestamp::parse_rfc3339(&text));
        if time.is_none() {
            let hint = "with its offset, for example 2026-04-11T03:20:15+08:00";
            tell(value, context, "a point in time", hint);
        }
        time
    }
}

/// Reads the time zone under `key`, by its name in the IANA list.
pub fn read_zone(table: &Table<'_>, key: &'static str) -> Option<Tz> {
    let named = table.optional::<Located<String>>(key)?;
    let zone = named.value.parse::<Tz>().ok();
    if zone.is_none() {
        let message = format!("`{key}`: \"{}\" is not a time zone", named.value);
        let hint = "a name of the IANA list, e.g. \"Asia/Shanghai\"";
        table.place().error(named.span, "wrong-value", message, hint);
    }
    zone
}

fn written(value: &Spanned<DeValue<'_>>) -> Option<String> {
    let value = value.get_ref();
    value.as_str().map(str::to_owned).or_else(|| value.as_datetime().map(ToString::to_string))
}

fn tell(value: &Spanned<DeValue<'_>>, context: &Context<'_>, wanted: &str, hint: &str) {
    let message = format!("`{}` must be {wanted}", context.name);
    context.place.error(value.span(), "wrong-type", message, hint);
}
