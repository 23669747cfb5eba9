//! A device's own time: read in its unit, believed only near the time of receipt.

use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use serde_json::Value as Json;

use super::Refusal;
use crate::engine::types::decision::Rejection;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Where a payload keeps its time, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeField {
    /// JSON pointer.
    pub path: String,
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

/// The time that `found` tells.
///
/// # Errors
/// A time that cannot be read, or that is too far from the receipt.
pub(super) fn read(unit: TimeUnit, found: &Json, clock: Clock) -> Result<Timestamp, Refusal> {
    let refuse = |why: &str| Refusal::new(Rejection::Time, &format!("{found} {why}"));
    let at = parse(unit, found).ok_or_else(|| refuse("is not a time"))?;
    let lag = clock.received.since(at);
    if lag > clock.back_max || lag < TimeSpan::ZERO - clock.ahead_max {
        return Err(refuse("is too far from the time of receipt"));
    }
    Ok(at)
}

fn parse(unit: TimeUnit, found: &Json) -> Option<Timestamp> {
    match unit {
        TimeUnit::Rfc3339 => Timestamp::parse_rfc3339(found.as_str()?),
        TimeUnit::Local(zone) => parse_local(zone, found.as_str()?),
        TimeUnit::Seconds => scaled(found, 1_000_000),
        TimeUnit::Millis => scaled(found, 1_000),
        TimeUnit::Micros => scaled(found, 1),
        TimeUnit::Auto => match found.as_str().and_then(Timestamp::parse_rfc3339) {
            Some(at) => Some(at),
            None => {
                let size = number(found)?.abs();
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

/// A number, or a text that is one: devices quote them.
fn number(found: &Json) -> Option<f64> {
    found
        .as_f64()
        .or_else(|| found.as_str()?.trim().parse().ok())
        .filter(|number| number.is_finite())
}

fn scaled(found: &Json, micros_each: i64) -> Option<Timestamp> {
    if let Some(whole) = found.as_i64() {
        return whole.checked_mul(micros_each).map(Timestamp::from_micros);
    }
    let micros = number(found)? * micros_each as f64;
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
    use serde_json::json;

    #[test]
    fn every_unit_reads_the_same_moment() {
        let expected = Timestamp::parse_rfc3339("2026-04-11T03:20:15.5Z");
        let zone = chrono_tz::Asia::Shanghai;
        for (unit, found) in [
            (TimeUnit::Rfc3339, json!("2026-04-11T11:20:15.500+08:00")),
            (TimeUnit::Seconds, json!(1_775_877_615.5)),
            (TimeUnit::Millis, json!(1_775_877_615_500_i64)),
            (TimeUnit::Millis, json!("1775877615500")),
            (TimeUnit::Micros, json!(1_775_877_615_500_000_i64)),
            (TimeUnit::Local(zone), json!("2026-04-11 11:20:15.5")),
            (TimeUnit::Auto, json!(1_775_877_615.5)),
            (TimeUnit::Auto, json!(1_775_877_615_500_i64)),
            (TimeUnit::Auto, json!("2026-04-11T03:20:15.5Z")),
        ] {
            assert_eq!(parse(unit, &found), expected, "{unit:?} {found}");
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
        for wrong in [json!(0), json!(4_102_444_800_i64), json!(i64::MAX), json!("soon"), json!({})]
        {
            let refusal = read(TimeUnit::Seconds, &wrong, clock).expect_err("not believed");
            assert_eq!(refusal.reason, Rejection::Time);
        }
    }
}
