//! Every page is rendered, and what devices and people say is text on it.

use serde_json::json;

use super::*;

/// What every field says that somebody else can fill.
const HOSTILE: &str = "<script>alert('冷柜')</script>\" onload='x";

fn line() -> Value {
    let kept = context! { until => HOSTILE, one_shot => true, by => HOSTILE, reason => HOSTILE };
    let ticket = context! { id => "tk-1", upstream => HOSTILE, external => HOSTILE, alarms => 2 };
    context! {
        href => "/alarm?rule=hot", rule => HOSTILE, device => HOSTILE, site => HOSTILE, key => HOSTILE,
        severity => "critical", level => "critical", state => "unacknowledged",
        since => "2026-04-11T03:20:15Z", now => "2026-04-11T03:25:15Z", values => HOSTILE,
        ticket => ticket, shelf => kept, held => "it is shelved",
    }
}

fn rendered(name: &str, zh: bool, values: Value) -> String {
    let turns = turns("/", &[("site", HOSTILE)], 200, 1_000);
    let values = context! { zh => zh, zone => "Asia/Shanghai", turns => turns, ..values };
    let template = templates().get_template(name).expect(name);
    template.render(values).unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

fn pages() -> Vec<(&'static str, Value)> {
    let hostile = |names: &[&str]| {
        let fields = names.iter().map(|name| ((*name).to_owned(), json!(HOSTILE)));
        page::value(&Json::Object(fields.collect()))
    };
    let device = json!({
        "id": HOSTILE, "site": HOSTILE, "labels": { HOSTILE: HOSTILE }, "rule_ids": [HOSTILE],
        "values": [{ "metric": HOSTILE, "value": HOSTILE, "at": HOSTILE }], "newest": null,
    });
    let device = page::value(&device);
    let alarm = context! {
        name => HOSTILE, row => line(), refused => HOSTILE,
        id => page::value(&json!({ "rule": HOSTILE, "device": HOSTILE, "key": [HOSTILE] })),
        values => [[HOSTILE, HOSTILE]],
        ack => hostile(&["by", "via", "reason"]),
        rule => hostile(&["when", "clear_when", "id"]),
        missing => [HOSTILE],
        history => [hostile(&["at", "known", "what"])],
        episodes => [hostile(&["severity", "held"])],
        may => context! { ack => true, shelve => true },
    };
    let figures = context! {
        aims => [hostile(&["name", "value"])], top => [hostile(&["name", "href"])],
        sites => [context! { name => HOSTILE, cells => [context! { value => "1" }] }],
        invalid => [hostile(&["rule"])],
    };
    let alarms =
        context! { rows => [line()], site => HOSTILE, rule => HOSTILE, sites => [HOSTILE] };
    vec![
        ("alarms.html", alarms),
        ("alarm.html", alarm),
        ("devices.html", context! { like => HOSTILE, devices => [device.clone()] }),
        ("device.html", context! { device => device, rows => [line()] }),
        (
            "letters.html",
            context! { letters => [hostile(&["ticket", "upstream", "reason", "text", "since"])] },
        ),
        ("figures.html", figures),
        ("message.html", context! { text => HOSTILE }),
    ]
}

#[test]
fn what_a_device_says_is_text_on_every_page_and_never_markup() {
    for (name, values) in pages() {
        for zh in [true, false] {
            let html = rendered(name, zh, values.clone());
            assert!(html.contains("冷柜"), "{name}: {html}");
            assert!(!html.contains("<script") && !html.contains("\" onload"), "{name}: {html}");
        }
    }
}

#[test]
fn links_carry_names_whole_and_lists_are_turned() {
    assert_eq!(link("/", &[("site", "a&b=冷"), ("rule", "")]), "/?site=a%26b%3D%E5%86%B7");
    let id = crate::engine::types::alarm::AlarmId {
        rule: "hot".to_owned(),
        device: "a/..".to_owned(),
        key: vec![String::new(), "E1".to_owned()],
    };
    assert_eq!(alarms::alarm_link(&id), "/alarm?rule=hot&device=a%2F%2E%2E&key=&key=E1");
    let first = turns("/", &[("rule", "hot")], 0, 201);
    assert_eq!(first.get_attr("after").expect("there").as_str(), Some("/?rule=hot&skip=200"));
    assert!(first.get_attr("before").expect("there").is_none());
}
