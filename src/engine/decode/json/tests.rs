use super::super::mapping::{JsonMapping, Quality};
use super::super::pointer::Pointer;
use super::super::{Decoded, News};
use super::*;
use crate::engine::types::document::Scalar;
use crate::engine::types::time::{TimeSpan, Timestamp};
use serde_json::json;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).expect("a pointer")
}

fn at(places: &[&str], scale: f64, offset: f64) -> MetricSource {
    let pointers = places.iter().map(|place| pointer(place)).collect();
    MetricSource::At { pointers, scale, offset, unit: String::new(), absent: None }
}

/// `device name=value ...` for every element, and the words of what was refused.
fn read_all(
    mapping: &JsonMapping,
    metrics: &[&str],
    payload: &[u8],
) -> (Vec<String>, Vec<&'static str>) {
    let received = Timestamp::parse_rfc3339("2026-04-11T03:20:15Z").expect("a time");
    let clock = Clock {
        received,
        back_max: TimeSpan::from_secs(86_400),
        ahead_max: TimeSpan::from_secs(300),
    };
    let mut names = Names::default();
    for metric in metrics {
        names.intern(metric);
    }
    let mut heard = Heard::default();
    let plan = JsonPlan::new(mapping.clone());
    let end = read(&plan, &names, Captured::default(), payload, clock, &mut heard);
    heard.refused.extend(end.err());
    let told = heard.decoded.into_iter().map(|Decoded { facts, news }| {
        let News::Readings { readings, .. } = news else {
            panic!("{news:?}");
        };
        readings.into_iter().fold(facts.id, |line, (id, reading)| match reading {
            Reading::Good(value) => format!("{line} {}={value}", names.text(id)),
            Reading::Bad => format!("{line} {}!", names.text(id)),
        })
    });
    let words = heard.refused.into_iter().map(|refusal| refusal.reason.word());
    (told.collect(), words.collect())
}

#[test]
fn every_scalar_that_a_rule_reads_is_named_by_its_path() {
    let payload = json!({"ts": 1_775_877_615, "a": {"b": 1.5, "c": [true, "中文"]}, "n": null});
    let metrics = ["a.c.1", "a.b", "n", "ts"];
    let (told, refused) =
        read_all(&JsonMapping::default(), &metrics, payload.to_string().as_bytes());
    assert_eq!(told, [" a.b=1.5 a.c.1=中文"]);
    assert!(refused.is_empty());
}

#[test]
fn a_mapping_names_scales_and_repeats() {
    let mapping = JsonMapping {
        device: Some(pointer("/id")),
        quality: Some(Quality { path: pointer("/q"), good: vec![Scalar::Int(192)] }),
        each: Some(pointer("/readings")),
        metrics: vec![
            ("vib".into(), at(&["/v"], 2.0, 1.0)),
            ("{1}".into(), at(&["/params/*/value", "/params/*"], 1.0, 0.0)),
        ],
        bad: vec![Scalar::Text("#VALUE!".into())],
        ..JsonMapping::empty()
    };
    let payload = json!({"readings": [
        {"id": "冷柜-3", "v": 3, "params": {"p1": {"value": 7}, "p2": {"value": "#VALUE!"}}},
        {"id": 12, "v": 3, "params": {"p1": 8}, "q": 0},
        {"id": "x", "q": 192.0, "v": 1},
    ]});
    let metrics = ["vib", "p1", "p2"];
    let (told, refused) = read_all(&mapping, &metrics, payload.to_string().as_bytes());
    assert_eq!(told, ["冷柜-3 p1=7 p2! vib=7", "12 p1! vib!", "x vib=3"]);
    assert!(refused.is_empty());
}

#[test]
fn members_of_an_array_are_counted_and_an_absent_value_has_its_own() {
    let absent = Some(Value::Text("".into()));
    let first = MetricSource::At {
        pointers: vec![pointer("/errors/0/type")],
        scale: 1.0,
        offset: 0.0,
        unit: String::new(),
        absent,
    };
    let only = Some((
        pointer("/errors").below_members(&pointer("/level")),
        vec![Scalar::Text("FATAL".into())],
    ));
    let mapping = JsonMapping {
        metrics: vec![
            ("errors".into(), MetricSource::Count { array: pointer("/errors"), only: None }),
            ("fatal".into(), MetricSource::Count { array: pointer("/errors"), only }),
            ("first".into(), first),
        ],
        ..JsonMapping::empty()
    };
    let metrics = ["errors", "fatal", "first"];
    let two = json!({"errors": [{"type": "急停", "level": "FATAL"}, {"level": "WARNING"}]});
    let (told, _) = read_all(&mapping, &metrics, two.to_string().as_bytes());
    assert_eq!(told, [" first=急停 errors=2 fatal=1"]);
    let (told, _) = read_all(&mapping, &metrics, b"{\"errors\": []}");
    assert_eq!(told, [" errors=0 fatal=0 first="]);
}

#[test]
fn what_is_no_measurement_is_refused_with_its_reason() {
    let mapping = JsonMapping::default();
    let deep = "[".repeat(50_000);
    for (payload, expected) in [
        (&b"\xff\xfe"[..], "invalid-utf8"),
        (b"{\"a\": ", "undecodable"),
        (b"{\"a\": 1} 2", "undecodable"),
        (b"", "undecodable"),
        (deep.as_bytes(), "too-deep"),
        (b"{\"a\": NaN}", "undecodable"),
        (b"{\"a\": 1e999}", "undecodable"),
    ] {
        assert_eq!(read_all(&mapping, &["a"], payload), (Vec::new(), vec![expected]));
    }
    let (told, refused) = read_all(&mapping, &["a", "b"], b"{\"a\": \"NaN\", \"b\": 1}");
    assert_eq!((told, refused), (vec![" a! b=1".to_owned()], vec!["number"]));
    let many: Vec<String> = (0..1_001).map(|n| format!("\"m{n}\": 1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let (told, refused) = read_all(&mapping, &["a"], many.as_bytes());
    assert_eq!((told.len(), refused), (0, vec!["too-many-metrics"]));
}
