//! A device's own time: read in its unit, believed only near the time of receipt.

use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::Refusal;
use super::pointer::Pointer;
use super::scalar::Found;
use crate::engine::types::decision::Rejection;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Where a payload keeps its time, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeField {
    /// JSON pointer.
    pub path: Pointer,
    /// How it is written.
    pub unit: TimeUnit,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// RFC 3339 text.
    Rfc3339,
    /// Date and time without an offset, in this zone.
    Local(Tz),
    /// RFC 3339 text, or a number whose size tells seconds, milliseconds and microseconds apart:
    /// below 10^11 seconds (year 5138), below 10^14 milliseconds, else microseconds.
    Auto,
}

/// The time of receipt and how far from it a device's time is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub received: Timestamp,
    pub back_max: TimeSpan,
    pub ahead_max: TimeSpan,
}

impl Clock {
    /// True when `at` is near enough to the time of receipt.
    pub fn believes(self, at: Timestamp) -> bool {
        let lag = self.received.since(at);
        lag <= self.back_max && lag >= TimeSpan::ZERO - self.ahead_max
    }
}

/// The time that was found: `Ok(None)` for null.
///
/// # Errors
/// A time that cannot be read, or that is too far from the receipt.
pub(super) fn read(
    unit: TimeUnit,
    found: Found<'_>,
    clock: Clock,
) -> Result<Option<Timestamp>, Refusal> {
    if found == Found::Null {
        return Ok(None);
    }
    let refuse = |why: &str| Refusal::new(Rejection::Time, &format!("{found} {why}"));
    let at = parse(unit, found).ok_or_else(|| refuse("is not a time"))?;
    if clock.believes(at) {
        return Ok(Some(at));
    }
    Err(refuse("is too far from the time of receipt"))
}

fn parse(unit: TimeUnit, found: Found<'_>) -> Option<Timestamp> {
    match unit {
        TimeUnit::Rfc3339 => Timestamp::parse_rfc3339(text(found)?),
        TimeUnit::Local(zone) => parse_local(zone, text(found)?),
        TimeUnit::Seconds => scaled(found, 1_000_000),
        TimeUnit::Millis => scaled(found, 1_000),
        TimeUnit::Micros => scaled(found, 1),
        TimeUnit::Auto => match text(found).and_then(Timestamp::parse_rfc3339) {
            Some(at) => Some(at),
            None => {
                let size = found.as_number()?.abs();
                let micros_each = if size < 1e11 {
                    1_000_000
                } else if size < 1e14 {
                    1_000
                } else {
                    1
                };
                scaled(found, micros_each)
            }
        },
    }
}

fn text(found: Found<'_>) -> Option<&str> {
    match found {
        Found::Text(text) => Some(text),
        Found::Null | Found::Bool(_) | Found::Int(_) | Found::Float(_) => None,
    }
}

fn scaled(found: Found<'_>, micros_each: i64) -> Option<Timestamp> {
    if let Found::Int(whole) = found {
        return whole.checked_mul(micros_each).map(Timestamp::from_micros);
    }
    let micros = found.as_number()? * micros_each as f64;
    (micros.abs() < 9e18).then(|| Timestamp::from_micros(micros.round() as i64))
}

/// The earlier of the two times in an overlap; none in a gap.
fn parse_local(zone: Tz, text: &str) -> Option<Timestamp> {
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text.trim(), format).ok())?;
    let at = zone.from_local_datetime(&local).earliest()?;
    Some(Timestamp::from_micros(at.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_the_same_moment() {
        let expected = Timestamp::parse_rfc3339("2026-04-11T03:20:15.5Z");
        let zone = chrono_tz::Asia::Shanghai;
        for (unit, found) in [
            (TimeUnit::Rfc3339, Found::Text("2026-04-11T11:20:15.500+08:00")),
            (TimeUnit::Seconds, Found::Float(1_775_877_615.5)),
            (TimeUnit::Millis, Found::Int(1_775_877_615_500)),
            (TimeUnit::Millis, Found::Text("1775877615500")),
            (TimeUnit::Micros, Found::Int(1_775_877_615_500_000)),
            (TimeUnit::Local(zone), Found::Text("2026-04-11 11:20:15.5")),
            (TimeUnit::Auto, Found::Float(1_775_877_615.5)),
            (TimeUnit::Auto, Found::Int(1_775_877_615_500)),
            (TimeUnit::Auto, Found::Text("2026-04-11T03:20:15.5Z")),
        ] {
            assert_eq!(parse(unit, found), expected, "{unit:?} {found}");
        }
    }

    #[test]
    fn a_time_in_1970_or_2100_is_not_believed() {
        let received = Timestamp::parse_rfc3339("2026-04-11T03:20:15Z").expect("a time");
        let clock = Clock {
            received,
            back_max: TimeSpan::from_secs(86_400),
            ahead_max: TimeSpan::from_secs(300),
        };
        for wrong in [
            Found::Int(0),
            Found::Int(4_102_444_800),
            Found::Int(i64::MAX),
            Found::Text("soon"),
            Found::Bool(true),
        ] {
            let refusal = read(TimeUnit::Seconds, wrong, clock).expect_err("not believed");
            assert_eq!(refusal.reason, Rejection::Time);
        }
        assert_eq!(read(TimeUnit::Seconds, Found::Null, clock), Ok(None));
    }
}
