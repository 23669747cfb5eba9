//! JSON payloads by a declarative mapping.

use serde_json::Value as Json;

use super::mapping::{JsonMapping, MetricPath};
use super::time_field::{self, Clock};
use super::value::{TEXT_BYTES_MAX, utf8};
use super::{
    Captured, Decoded, JSON_DEPTH_MAX, METRIC_NAME_BYTES_MAX, METRICS_PER_MESSAGE_MAX, News,
    Refusal,
};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::text::cut_bytes;

/// Reads a payload; a time that is not believed is refused, and the sample counts as of receipt.
pub(super) fn read(
    mapping: &JsonMapping,
    captured: Captured,
    payload: &[u8],
    clock: Clock,
    out: &mut Vec<Decoded>,
    refused: &mut Vec<Refusal>,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    if depth(text) > JSON_DEPTH_MAX {
        let detail = format!("JSON nested past {JSON_DEPTH_MAX} levels");
        return Err(Refusal::new(Rejection::TooDeep, &detail));
    }
    let document: Json = serde_json::from_str(text)
        .map_err(|error| Refusal::new(Rejection::Undecodable, &error.to_string()))?;
    let Some(each) = &mapping.each else {
        out.push(read_element(mapping, captured, &document, clock, refused)?);
        return Ok(());
    };
    let elements = document
        .pointer(each)
        .and_then(Json::as_array)
        .ok_or_else(|| Refusal::new(Rejection::Undecodable, &format!("no array at `{each}`")))?;
    if elements.len() > METRICS_PER_MESSAGE_MAX {
        return Err(Refusal::new(
            Rejection::TooManyMetrics,
            &format!("{} elements", elements.len()),
        ));
    }
    for element in elements {
        out.push(read_element(mapping, captured.clone(), element, clock, refused)?);
    }
    Ok(())
}

fn read_element(
    mapping: &JsonMapping,
    mut captured: Captured,
    element: &Json,
    clock: Clock,
    refused: &mut Vec<Refusal>,
) -> Result<Decoded, Refusal> {
    if let Some(id) = mapping.device.as_ref().and_then(|path| element.pointer(path)) {
        captured.facts.id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    }
    let at = match &mapping.timestamp {
        None => None,
        Some(field) => time_field::read(field, element, clock).unwrap_or_else(|refusal| {
            refused.push(refusal);
            None
        }),
    };
    let good = mapping.quality.as_ref().is_none_or(|quality| {
        element.pointer(&quality.path).is_none_or(|found| quality.good.contains(found))
    });
    let mut readings = Readings { mapping, good, list: Vec::new(), refused };
    for (name, path) in &mapping.metrics {
        readings.add_mapped(name, path, element)?;
    }
    if mapping.rest {
        readings.add_rest(element)?;
    }
    let news = News::Readings { at, readings: readings.list };
    Ok(Decoded { facts: captured.facts, news })
}

/// The readings of one element, each metric once.
struct Readings<'a> {
    mapping: &'a JsonMapping,
    good: bool,
    list: Vec<(String, Reading)>,
    refused: &'a mut Vec<Refusal>,
}

impl Readings<'_> {
    fn add_mapped(&mut self, name: &str, path: &MetricPath, element: &Json) -> Result<(), Refusal> {
        let Some((head, tail)) = path.pointer.split_once("/*") else {
            return match element.pointer(&path.pointer) {
                Some(found) => self.add(name, found, path),
                None => Ok(()),
            };
        };
        match element.pointer(head) {
            Some(Json::Object(members)) => members.iter().try_for_each(|(key, member)| {
                let Some(found) = member.pointer(tail) else {
                    return Ok(());
                };
                self.add(&name.replace("{1}", key), found, path)
            }),
            Some(Json::Array(members)) => {
                members.iter().enumerate().try_for_each(|(at, member)| {
                    let Some(found) = member.pointer(tail) else {
                        return Ok(());
                    };
                    self.add(&name.replace("{1}", &at.to_string()), found, path)
                })
            }
            _ => Ok(()),
        }
    }

    fn add_rest(&mut self, element: &Json) -> Result<(), Refusal> {
        let mut open: Vec<(String, String, &Json)> = vec![(String::new(), String::new(), element)];
        while let Some((name, pointer, found)) = open.pop() {
            if self.mapping.is_named(&pointer) {
                continue;
            }
            match found {
                Json::Object(members) => open.extend(members.iter().rev().map(|(key, member)| {
                    let escaped = key.replace('~', "~0").replace('/', "~1");
                    (join(&name, key), format!("{pointer}/{escaped}"), member)
                })),
                Json::Array(members) => {
                    open.extend(members.iter().enumerate().rev().map(|(at, member)| {
                        (join(&name, &at.to_string()), format!("{pointer}/{at}"), member)
                    }));
                }
                Json::Null => {}
                Json::Bool(_) | Json::Number(_) | Json::String(_) if name.is_empty() => {}
                Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                    self.add(&name, found, &MetricPath::plain(""))?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, found: &Json, path: &MetricPath) -> Result<(), Refusal> {
        if self.list.len() >= METRICS_PER_MESSAGE_MAX {
            let detail = format!("more than {METRICS_PER_MESSAGE_MAX} metrics");
            return Err(Refusal::new(Rejection::TooManyMetrics, &detail));
        }
        if name.len() > METRIC_NAME_BYTES_MAX || self.list.iter().any(|(known, _)| known == name) {
            return Ok(());
        }
        let reading = match self.reading(found, path) {
            Some(reading) if self.good => reading,
            Some(_) => Reading::Bad,
            None => return Ok(()),
        };
        self.list.push((name.to_owned(), reading));
        Ok(())
    }

    fn reading(&mut self, found: &Json, path: &MetricPath) -> Option<Reading> {
        if self.mapping.bad.contains(found) {
            return Some(Reading::Bad);
        }
        let value = match found {
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) if path.is_identity() => Value::Int(whole),
                _ => {
                    let number = number.as_f64()?.mul_add(path.scale, path.offset);
                    if !number.is_finite() {
                        self.refused.push(Refusal::new(Rejection::Number, &found.to_string()));
                        return Some(Reading::Bad);
                    }
                    Value::Float(number)
                }
            },
            Json::String(text) if is_not_a_number(text) => {
                self.refused.push(Refusal::new(Rejection::Number, text));
                return Some(Reading::Bad);
            }
            Json::String(text) => Value::Text(cut_bytes(text, TEXT_BYTES_MAX).into()),
            Json::Null | Json::Array(_) | Json::Object(_) => return None,
        };
        Some(Reading::Good(value))
    }
}

/// Texts that devices put where a number has no value (IEEE 754 specials in JSON).
fn is_not_a_number(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "nan" | "inf" | "-inf" | "+inf" | "infinity" | "-infinity"
    )
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

/// Deepest nesting of brackets outside strings; a bound taken before the parser recurses.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::super::mapping::{MetricPath, Quality};
    use super::*;
    use crate::engine::types::time::{TimeSpan, Timestamp};
    use serde_json::json;

    /// `device name=value ...` for every element, and the words of what was refused.
    fn read_all(mapping: &JsonMapping, payload: &[u8]) -> (Vec<String>, Vec<&'static str>) {
        let received = Timestamp::parse_rfc3339("2026-04-11T03:20:15Z").expect("a time");
        let clock = Clock {
            received,
            back_max: TimeSpan::from_secs(86_400),
            ahead_max: TimeSpan::from_secs(300),
        };
        let (mut out, mut refused) = (Vec::new(), Vec::new());
        let end = read(mapping, Captured::default(), payload, clock, &mut out, &mut refused);
        refused.extend(end.err());
        let told = out
            .into_iter()
            .map(|decoded| match decoded.news {
                News::Presence { online } => format!("presence {online}"),
                News::Readings { readings, .. } => {
                    let mut line = decoded.facts.id;
                    for (name, reading) in readings {
                        match reading {
                            Reading::Good(value) => line.push_str(&format!(" {name}={value}")),
                            Reading::Bad => line.push_str(&format!(" {name}!")),
                        }
                    }
                    line
                }
            })
            .collect();
        (told, refused.into_iter().map(|refusal| refusal.reason.word()).collect())
    }

    #[test]
    fn every_scalar_becomes_a_metric_named_by_its_path() {
        let payload = json!({"ts": 1_775_877_615, "a": {"b": 1.5, "c": [true, "中文"]}, "n": null});
        let (told, refused) = read_all(&JsonMapping::default(), payload.to_string().as_bytes());
        assert_eq!(told, [" a.b=1.5 a.c.0=true a.c.1=中文"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn a_mapping_names_scales_and_repeats() {
        let mapping = JsonMapping {
            timestamp: None,
            device: Some("/id".into()),
            quality: Some(Quality { path: "/q".into(), good: vec![json!(192)] }),
            each: Some("/readings".into()),
            metrics: vec![
                ("vib".into(), MetricPath { scale: 2.0, offset: 1.0, ..MetricPath::plain("/v") }),
                ("{1}".into(), MetricPath::plain("/params/*/value")),
            ],
            bad: vec![json!("#VALUE!")],
            rest: false,
        };
        let payload = json!({"readings": [
            {"id": "冷柜-3", "v": 3, "params": {"p1": {"value": 7}, "p2": {"value": "#VALUE!"}}},
            {"id": 12, "q": 0, "v": 3},
        ]});
        let (told, refused) = read_all(&mapping, payload.to_string().as_bytes());
        assert_eq!(told, ["冷柜-3 vib=7 p1=7 p2!", "12 vib!"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn what_is_no_measurement_is_refused_with_its_reason() {
        let mapping = JsonMapping::default();
        let deep = "[".repeat(50_000);
        for (payload, expected) in [
            (&b"\xff\xfe"[..], "invalid-utf8"),
            (b"{\"a\": ", "undecodable"),
            (b"", "undecodable"),
            (deep.as_bytes(), "too-deep"),
            (b"{\"a\": NaN}", "undecodable"),
            (b"{\"a\": 1e999}", "undecodable"),
        ] {
            assert_eq!(read_all(&mapping, payload), (Vec::new(), vec![expected]));
        }
        let (told, refused) = read_all(&mapping, b"{\"a\": \"NaN\", \"b\": 1}");
        assert_eq!((told, refused), (vec![" a! b=1".to_owned()], vec!["number"]));
    }
}
