//! What comes late or twice counts as what comes in order and once.

use faultgate::config;
use faultgate::engine::policy;
use faultgate::engine::rehearsal::{Rehearsal, event_word};
use faultgate::engine::types::decision::Decision;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// When it was measured and received, in milliseconds from the start, and what was measured.
type Said = (i64, i64, &'static str, i64);

/// What happened to alarms, as `15.0 raised hot`, in the order of decision.
fn play(rules: &str, said: &[Said], until: i64) -> Vec<String> {
    let settings = config::defaults().expect("defaults").settings().expect("settings");
    let source = Source { file: "r.toml".into(), text: rules.into() };
    let report = Report::default();
    let policy = policy::compile(&[source], &["desk"], &report);
    let policy = policy.unwrap_or_else(|| panic!("{:?}", report.into_sorted()));
    let mut rehearsal = Rehearsal::new(settings, policy, START);
    let after = |millis: i64| START + TimeSpan::from_micros(millis * 1_000);
    for (measured, received, metric, value) in said {
        let ts = after(*measured).micros() / 1_000;
        let message = Message {
            source: 0,
            topic: "plant/上海/machine/冷柜-1/telemetry".into(),
            payload: format!("{{\"ts\": {ts}, \"{metric}\": {value}}}").into_bytes(),
            retain: false,
            delivery: Delivery::Once,
        };
        rehearsal.receive(after(*received), Input::Message(message));
    }
    rehearsal.advance(after(until));
    let told = rehearsal.decisions.iter().filter_map(|decision| {
        let Decision::Alarm { id, event, at, .. } = decision else { return None };
        let second = at.since(START).as_secs_f64();
        Some(format!("{second:.1} {} {}", event_word(*event)?, id.rule))
    });
    told.filter(|line| !line.contains("closed")).collect()
}

fn rule(id: &str, when: &str, more: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\nwhen = \"{when}\"\n{more}\n")
}

/// `t` of these seconds, each received half a second after the one before.
fn in_turn(said: &[(i64, i64)]) -> Vec<Said> {
    let from = said.iter().map(|(second, _)| *second).min().unwrap_or(0) * 1_000;
    let received = (0..).map(|number| from.max(0) + 500 * number);
    said.iter().zip(received).map(|((s, value), rx)| (s * 1_000, rx, "t", *value)).collect()
}

#[test]
fn a_delay_counts_from_where_a_late_sample_belongs() {
    let hot = rule("hot", "t > 80", "on_delay = \"10s\"\noff_delay = \"10s\"");
    let raised = |said: &[(i64, i64)]| play(&hot, &in_turn(said), 40_000);
    assert_eq!(raised(&[(0, 90), (5, 90), (3, 50)]), ["15.0 raised hot"]);
    assert_eq!(raised(&[(0, 50), (2, 90), (4, 90), (3, 50)]), ["14.0 raised hot"]);
    assert_eq!(raised(&[(0, 50), (8, 90), (5, 90)]), ["15.0 raised hot"]);
    assert_eq!(raised(&[(0, 50), (8, 90), (6, 50), (5, 90)]), ["18.0 raised hot"]);
    assert!(raised(&[(0, 90), (5, 50), (3, 90)]).is_empty());
    let returned = play(
        &hot,
        &[
            (0, 0, "t", 90),
            (20_000, 20_000, "t", 50),
            (25_000, 25_000, "t", 50),
            (23_000, 25_500, "t", 90),
        ],
        50_000,
    );
    assert_eq!(returned, ["10.0 raised hot", "35.0 returned hot"]);
}

#[test]
fn what_somebody_was_told_stands() {
    let hot = rule("hot", "t > 80", "on_delay = \"4s\"");
    // In order this would have begun at 9: it was raised before anybody could know.
    let said = [(0, 0, "t", 90), (9_000, 9_000, "t", 90), (3_000, 9_100, "t", 50)];
    assert_eq!(play(&hot, &said, 30_000), ["4.0 raised hot"]);
    // A return that was missed, and the fault again, are told of.
    let said = [(0, 0, "t", 90), (9_000, 9_000, "t", 90), (6_000, 9_100, "t", 50)];
    let told = ["4.0 raised hot", "6.0 returned hot", "13.0 raised hot"];
    assert_eq!(play(&hot, &said, 30_000), told);
}

#[test]
fn what_is_later_than_that_starts_no_delay_at_its_time() {
    let hot = rule("hot", "t > 80", "on_delay = \"1m\"");
    let said = [(0, 0, "t", 50), (30_000, 30_000, "t", 90), (19_000, 30_500, "t", 90)];
    assert_eq!(play(&hot, &said, 120_000), ["90.0 raised hot"]);
    let said = [(0, 0, "t", 90), (30_000, 30_000, "t", 50), (19_000, 30_500, "t", 90)];
    assert!(play(&hot, &said, 120_000).is_empty());
    // It is the newest that is known of `t`, and told only once.
    let said = [(30_000, 30_000, "u", 1), (19_000, 30_500, "t", 90)];
    assert_eq!(play(&hot, &said, 120_000), ["90.0 raised hot"]);
}

#[test]
fn rising_edges_are_counted_where_they_belong() {
    let hot = rule("hot", "t > 80", "occurrences = 3\noccurrences_within = \"1m\"");
    // 0, 4 and 8 are one rise each once the late ones have parted them.
    let said = in_turn(&[(0, 90), (4, 90), (2, 50), (8, 90), (6, 50)]);
    assert_eq!(play(&hot, &said, 40_000), ["8.0 raised hot"]);
    assert!(play(&hot, &in_turn(&[(0, 90), (4, 90), (2, 50), (8, 90)]), 40_000).is_empty());
}

#[test]
fn messages_that_are_sent_again_are_counted_once() {
    let often = rule("often", "t.count(1h) > 60", "");
    let sum = rule("sum", "t.sum(1h) > 6000", "");
    let rules = often + &sum;
    let mut said: Vec<Said> = (0..50).map(|n| (n * 1_000, n * 1_000, "t", 100)).collect();
    // After a reconnect the device sends everything once more, the newest included.
    said.extend((0..50).map(|n| (n * 1_000, 60_000 + n * 10, "t", 100)));
    assert!(play(&rules, &said, 120_000).is_empty());
    said.extend((0..11).map(|n| (100_000 + n * 1_000, 121_000 + n, "t", 100)));
    assert_eq!(play(&rules, &said, 140_000), ["110.0 raised often", "110.0 raised sum"]);
}

#[test]
fn the_operator_says_what_is_late_and_when_nobody_is_silent() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = rule("hot", "t > 80", "on_delay = \"1m\"") + &rule("gone", "absent(2m)", "");
    std::fs::write(folder.path().join("r.toml"), rules).expect("written");
    let line = |second: i64, value: i64| {
        let measured = 1_775_877_600 + second;
        let received = 1_775_877_600_000 + 1_000 * second.max(40);
        let payload = format!("{{\\\"ts\\\": {measured}, \\\"t\\\": {value}}}");
        format!(
            "{{\"rx_ms\": {received}, \"topic\": \"plant/a/machine/m-1/telemetry\", \"payload\": \"{payload}\"}}\n"
        )
    };
    let said = [(0, 50), (40, 90), (20, 90), (101, 90), (102, 90), (400, 50)];
    let lines: String = said.iter().map(|(second, value)| line(*second, *value)).collect();
    std::fs::write(folder.path().join("day.jsonl"), lines).expect("written");
    let raised = |gateway: &str| {
        let source = "[[source]]\nname = \"plant\"\nurl = \"embedded\"\ntopics = [\"plant/#\"]\n\
                      topic = \"plant/{site}/{class}/{device}/telemetry\"\n";
        let config = format!("[gateway]\n{gateway}\n{source}");
        std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
        let output = std::process::Command::new(crate::gateway::binary())
            .args(["backtest", "--input", "day.jsonl", "--rules", "r.toml", "--format", "json"])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let alarms = told["alarms"].as_array().expect("a list").iter();
        alarms
            .map(|alarm| {
                let at = alarm["raised_at"].as_str().unwrap_or_default().to_owned();
                format!("{} {}", alarm["rule"].as_str().unwrap_or_default(), at)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(raised(""), ["hot 2026-04-11T03:21:40Z"]);
    assert_eq!(raised("lateness = \"30s\""), ["hot 2026-04-11T03:21:20Z"]);
    let both = raised("restart_grace = \"1m\"");
    assert_eq!(both, ["hot 2026-04-11T03:21:40Z", "gone 2026-04-11T03:23:42Z"]);
}

const RULES: &str = r#"
[[rule]]
id = "hot"
when = "t > 8"
clear_when = "t < 6"
on_delay = "30s"
off_delay = "30s"
[[rule]]
id = "both"
when = "t > 6 && u > 6"
on_delay = "30s"
off_delay = "30s"
[[rule]]
id = "mean"
when = "t.avg(1h) > 6"
on_delay = "30s"
off_delay = "30s"
[[rule]]
id = "often"
when = "u > 7"
on_delay = "30s"
off_delay = "30s"
occurrences = 3
occurrences_within = "10m"
[[rule]]
id = "moved"
when = "t.changed() && t > 5"
on_delay = "30s"
off_delay = "30s"
[[rule]]
id = "code"
when = "u > 4"
key = ["u"]
on_delay = "30s"
off_delay = "30s"
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    /// Within a burst no delay ends: whatever the order, and whatever comes twice, what is decided
    /// after it is the same.
    #[test]
    fn samples_in_any_order_come_to_the_same_as_in_their_own(
        bursts in prop::collection::vec(
            prop::collection::vec((0_i64..90, any::<bool>(), 0_i64..12, 0_u32..1_000, 0_u8..5), 1..14),
            1..6,
        ),
    ) {
        let (mut in_order, mut shuffled) = (Vec::new(), Vec::new());
        for (number, burst) in (0_i64..).zip(&bursts) {
            let from = number * 100_000;
            let mut samples: Vec<(Said, u32, u8)> = Vec::new();
            for (tenth, of_t, value, order, twice) in burst {
                let metric = if *of_t { "t" } else { "u" };
                let at = from + tenth * 100;
                if samples.iter().all(|(known, ..)| known.0 != at) {
                    samples.push(((at, at, metric, *value), *order, *twice));
                }
            }
            samples.sort_by_key(|(said, ..)| said.0);
            in_order.extend(samples.iter().map(|(said, ..)| *said));
            samples.sort_by_key(|(_, order, _)| *order);
            let again: Vec<(Said, u32, u8)> =
                samples.iter().filter(|(.., twice)| *twice == 0).copied().collect();
            let received = (0_i64..).map(|n| from + 9_000 + n);
            let all = samples.iter().chain(&again).zip(received);
            shuffled.extend(all.map(|((said, ..), rx)| (said.0, rx, said.2, said.3)));
        }
        let until = i64::try_from(bursts.len()).expect("few") * 100_000;
        let mut told = [play(RULES, &in_order, until), play(RULES, &shuffled, until)];
        told.iter_mut().for_each(|told| told.sort());
        prop_assert_eq!(&told[0], &told[1]);
    }
}
