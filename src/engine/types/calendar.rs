//! Dates and points in time as they stand in TOML files.

use chrono::NaiveDate;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::CronParser;
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

/// Reads when something comes again under `key`: five fields, or six with seconds first; weekdays
/// by name, since a number means another day to other programs.
pub fn read_cron(table: &Table<'_>, key: &'static str) -> Option<Located<Cron>> {
    let text = table.optional::<Located<String>>(key)?;
    let tell = |message: String, hint: &str| {
        table.place().error(text.span.clone(), "wrong-value", message, hint);
    };
    match CronParser::new().parse(&text.value) {
        Ok(_) if names_weekday_by_number(&text.value) => {
            let message = format!("`{key}`: \"{}\" has a number for a weekday", text.value);
            let hint = "write SUN, MON, TUE, WED, THU, FRI or SAT: 1 is Sunday to some programs and Monday to others";
            tell(message, hint);
            None
        }
        Ok(cron) => Some(Located { value: cron, span: text.span }),
        Err(error) => {
            let message = format!("`{key}`: \"{}\": {error}", text.value);
            tell(message, "minute, hour, day of month, month, weekday: \"0 2 * * SUN\"");
            None
        }
    }
}

/// The second Monday (`MON#2`) and every second day (`*/2`) are no numbers of weekdays.
fn names_weekday_by_number(cron: &str) -> bool {
    let weekdays = cron.split_whitespace().nth_back(0).filter(|_| cron.contains(' '));
    let mut days = weekdays.into_iter().flat_map(|field| field.split([',', '-']));
    days.any(|day| {
        let name = day.split(['#', '/']).next().unwrap_or(day);
        name.contains(|letter: char| letter.is_ascii_digit())
    })
}

fn written(value: &Spanned<DeValue<'_>>) -> Option<String> {
    let value = value.get_ref();
    value.as_str().map(str::to_owned).or_else(|| value.as_datetime().map(ToString::to_string))
}

fn tell(value: &Spanned<DeValue<'_>>, context: &Context<'_>, wanted: &str, hint: &str) {
    let message = format!("`{}` must be {wanted}", context.name);
    context.place.error(value.span(), "wrong-type", message, hint);
}
