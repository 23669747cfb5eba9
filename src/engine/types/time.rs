//! Points in time and lengths of time, as the engine counts them: whole microseconds.
//!
//! The engine never reads a clock; both types arrive as arguments or in messages.

use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A length of time in microseconds; negative when it points back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(i64);

impl Timestamp {
    /// Before every message.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// From milliseconds since the Unix epoch, saturating at the ends of the range.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 text such as `2026-04-11T03:20:15.120Z` or with an offset.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        parse_usual(text.as_bytes()).or_else(|| {
            DateTime::parse_from_rfc3339(text).ok().map(|at| Timestamp(at.timestamp_micros()))
        })
    }

    /// This point as a chrono time in UTC; ends of the range saturate.
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The length from `earlier` to this point; negative when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> TimeSpan {
        TimeSpan(self.0.saturating_sub(earlier.0))
    }
}

/// The time as devices write it, `2026-04-11T03:20:15` with a fraction or without and `Z` or `+08:00`,
/// in a fifth of the time that a parser for everything takes; `None` for what that one must decide.
fn parse_usual(text: &[u8]) -> Option<Timestamp> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let (head, tail) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', clock @ ..] = head else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let year = i32::try_from(number(&[*y1, *y2, *y3, *y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?);
    let whole = date.and_hms_opt(hour, minute, number(&[*s1, *s2])?)?;
    let (fraction, zone) = match tail {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (fraction, zone) = rest.split_at_checked(digits)?;
            let scale = 10_u32.checked_pow(9_u32.checked_sub(u32::try_from(digits).ok()?)?)?;
            (number(fraction).filter(|_| digits > 0)? * scale / 1_000, zone)
        }
        zone => (0, zone),
    };
    let ahead = match zone {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let minutes = i64::from((hours < 24 && minutes < 60).then(|| hours * 60 + minutes)?);
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let micros = whole.and_utc().timestamp_micros() + i64::from(fraction) - ahead * 60_000_000;
    Some(Timestamp(micros))
}

impl TimeSpan {
    /// No time at all.
    pub const ZERO: TimeSpan = TimeSpan(0);

    /// A whole number of microseconds.
    pub const fn from_micros(micros: i64) -> TimeSpan {
        TimeSpan(micros)
    }

    /// A whole number of milliseconds.
    pub const fn from_millis(millis: i64) -> TimeSpan {
        TimeSpan(millis.saturating_mul(1_000))
    }

    /// A whole number of seconds.
    pub const fn from_secs(secs: i64) -> TimeSpan {
        TimeSpan(secs.saturating_mul(1_000_000))
    }

    /// The length in microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The length in seconds, for arithmetic on measurements (never for money).
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This length as a standard duration; negative lengths become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.max(0).unsigned_abs())
    }

    /// Reads `90s`, `10m`, `1h30m`, `7d`, `2w`, `250ms`. The whole text must be consumed.
    ///
    /// # Errors
    /// Text without a unit, with an unknown unit, negative, empty, or past 292,000 years.
    pub fn parse(text: &str) -> Result<TimeSpan, TimeSpanError> {
        let mut total: i64 = 0;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(TimeSpanError);
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or(TimeSpanError)?;
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at_checked(letters).ok_or(TimeSpanError)?;
            let number: i64 = number.parse().map_err(|_| TimeSpanError)?;
            let part = number.checked_mul(unit_micros(unit)?).ok_or(TimeSpanError)?;
            total = total.checked_add(part).ok_or(TimeSpanError)?;
            rest = tail;
        }
        Ok(TimeSpan(total))
    }
}

/// Text that is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a number and a unit such as \"30s\", \"10m\", \"1h30m\" or \"7d\"")]
pub struct TimeSpanError;

fn unit_micros(unit: &str) -> Result<i64, TimeSpanError> {
    match unit {
        "us" => Ok(1),
        "ms" => Ok(1_000),
        "s" => Ok(1_000_000),
        "m" => Ok(60_000_000),
        "h" => Ok(3_600_000_000),
        "d" => Ok(86_400_000_000),
        "w" => Ok(604_800_000_000),
        _ => Err(TimeSpanError),
    }
}

impl Add<TimeSpan> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: TimeSpan) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Sub<TimeSpan> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: TimeSpan) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl Add for TimeSpan {
    type Output = TimeSpan;
    fn add(self, other: TimeSpan) -> TimeSpan {
        TimeSpan(self.0.saturating_add(other.0))
    }
}

impl Sub for TimeSpan {
    type Output = TimeSpan;
    fn sub(self, other: TimeSpan) -> TimeSpan {
        TimeSpan(self.0.saturating_sub(other.0))
    }
}

/// RFC 3339 in UTC: whole seconds as `...:15Z`, otherwise as many digits as are needed (3 or 6).
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// The longest units first, as an operator would write it: `1h30m`, `45s`, `250ms`, `0s`.
impl fmt::Display for TimeSpan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return out.write_str("0s");
        }
        let mut rest = self.0.unsigned_abs();
        if self.0 < 0 {
            out.write_str("-")?;
        }
        for (name, size) in [
            ("d", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
            ("us", 1),
        ] {
            if rest >= size {
                write!(out, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeSpan, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix('-') {
            Some(text) => TimeSpan::parse(text).map(|span| TimeSpan(-span.0)),
            None => TimeSpan::parse(&text),
        }
        .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_operators_write_them() {
        assert_eq!(TimeSpan::parse("1h30m"), Ok(TimeSpan::from_secs(5_400)));
        assert_eq!(TimeSpan::parse("0s"), Ok(TimeSpan::ZERO));
        assert_eq!(TimeSpan::parse("250ms"), Ok(TimeSpan::from_millis(250)));
        for wrong in ["", "10", "30 sec", "-5s", "m", "5x", "99999999999999w", "五分"] {
            assert_eq!(TimeSpan::parse(wrong), Err(TimeSpanError), "{wrong}");
        }
    }

    #[test]
    fn times_and_durations_survive_a_round_trip_through_text() {
        for micros in [0, 1, -1, 1_774_668_015_120_000, 1_774_668_015_000_000] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Some(at));
        }
        let span = TimeSpan::from_millis(93_784_005);
        assert_eq!(span.to_string(), "1d2h3m4s5ms");
        assert_eq!(TimeSpan::parse(&span.to_string()), Ok(span));
    }

    proptest::proptest! {
        #[test]
        fn a_time_is_read_as_chrono_reads_it(
            text in "(19|20|00)[0-9]{2}-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])[Tt ]([01][0-9]|2[0-4]):[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,11})?(Z|z|[+-](0[0-9]|2[34]):[0-6][0-9])?x{0,1}"
        ) {
            let expected = DateTime::parse_from_rfc3339(&text).ok();
            let expected = expected.map(|at| at.timestamp_micros());
            proptest::prop_assert_eq!(Timestamp::parse_rfc3339(&text).map(Timestamp::micros), expected);
        }
    }
}
