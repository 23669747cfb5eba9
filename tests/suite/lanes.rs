//! Messages taken in side by side come to the same as one after the other.

use std::collections::BTreeMap;

use faultgate::config;
use faultgate::engine::pipeline::{Engine, Lane};
use faultgate::engine::policy;
use faultgate::engine::types::alarm::AlarmRecord;
use faultgate::engine::types::decision::Decision;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::effect::Effects;
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Delivery, Message};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// One of each kind: at once, delayed, by a window, learned, keyed, asking about other rules. Those
/// that count over devices are left out: what another device says in the same batch may be heard
/// before their number changes.
const RULES: &str = r#"
[[rule]]
id = "hot"
when = "t > 8"
clear_when = "t < 6"
[[rule]]
id = "long-hot"
when = "t > 7"
on_delay = "3s"
off_delay = "2s"
[[rule]]
id = "mean-hot"
when = "t.avg(4s) > 7"
[[rule]]
id = "off-band"
when = "t.deviation(2s, 10s) > 3"
[[rule]]
id = "code"
when = "c != 0"
key = ["c"]
[[rule]]
id = "both"
when = 'raised("hot") && c > 1'
[[rule]]
id = "wrong"
when = "10 / c > 2"
[[rule]]
id = "silent"
when = "absent(5s)"
"#;

/// What a device says: `t`, `c`, and whether the message is broken.
type Said = (u8, i64, i64, bool);

fn engine() -> Engine {
    let settings = config::defaults().expect("defaults").settings().expect("settings");
    let source = Source { file: "r.toml".into(), text: RULES.into() };
    let report = Report::default();
    let policy = policy::compile(&[source], &["desk"], &report);
    let mut settings = settings;
    settings.restart_grace = TimeSpan::ZERO;
    Engine::new(settings, policy.unwrap_or_else(|| panic!("{:?}", report.into_sorted())), START)
}

fn message(number: usize, (device, t, c, broken): Said) -> Message {
    let payload = match broken {
        true => "{\"t\": ".to_owned(),
        // Every third device sends its time, and not in order.
        false if device % 3 == 0 => {
            let (place, early) = (number / 10, number % 7);
            let at = i64::try_from(500 * place).expect("small")
                - i64::try_from(300 * early).expect("small");
            let at = START.micros() / 1_000 + at;
            format!("{{\"ts\": {at}, \"t\": {t}, \"c\": {c}}}")
        }
        false => format!("{{\"t\": {t}, \"c\": {c}, \"n\": {number}}}"),
    };
    Message {
        source: 0,
        topic: format!("plant/上海/machine/m-{device}/telemetry"),
        payload: payload.into_bytes(),
        retain: number % 23 == 22,
        delivery: Delivery::UntilAcknowledged { packet: 1, again: number % 17 == 16 },
    }
}

/// What was decided of each alarm, in order, and where everything stands in the end.
#[derive(Debug, PartialEq)]
struct Story {
    decisions: BTreeMap<String, Vec<String>>,
    alarms: Vec<AlarmRecord>,
    tickets: usize,
    unknown: Vec<u64>,
    refused: usize,
}

fn play(batches: &[Vec<Said>], lanes: Option<usize>) -> Story {
    let mut engine = engine();
    let mut effects = Effects::default();
    let mut number = 0;
    for (second, batch) in batches.iter().enumerate() {
        let now = START + TimeSpan::from_secs(i64::try_from(second).expect("small"));
        engine.step(now, Input::Tick, &mut effects);
        let mut messages = Vec::new();
        for said in batch {
            messages.push(message(number, *said));
            number += 1;
        }
        match lanes {
            Some(count) => {
                let run = |lanes: &mut [Lane<'_>]| {
                    std::thread::scope(|scope| {
                        for lane in lanes {
                            scope.spawn(|| lane.run());
                        }
                    });
                };
                engine.step_together(now, &messages, count, run, &mut effects);
            }
            None => {
                for message in messages {
                    engine.step(now, Input::Message(message), &mut effects);
                }
            }
        }
    }
    let mut decisions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut refused = 0;
    for decision in &effects.decisions {
        match decision {
            Decision::Alarm { id, episode, event, at, .. } => {
                let line = format!("{episode} {event:?} {at}");
                decisions.entry(id.to_string()).or_default().push(line);
            }
            Decision::Rejected { .. } => refused += 1,
            Decision::Ticket { .. }
            | Decision::RuleError { .. }
            | Decision::Repeated { .. }
            | Decision::Budget(_)
            | Decision::Overspent { .. }
            | Decision::HeldTooLong { .. } => {}
        }
    }
    let mut alarms: Vec<AlarmRecord> = engine.alarms().cloned().collect();
    alarms.sort_by(|a, b| a.id.cmp(&b.id));
    // Which number a ticket gets is the order of the raises of different devices.
    for record in &mut alarms {
        record.history.clear();
        if let Some(episode) = &mut record.episode {
            episode.ticket = episode.ticket.map(|_| faultgate::engine::types::ticket::TicketId(0));
        }
    }
    let tickets = engine.tickets().count();
    Story { decisions, alarms, tickets, unknown: engine.unknown().to_vec(), refused }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn side_by_side_comes_to_the_same_as_one_after_the_other(
        batches in prop::collection::vec(
            prop::collection::vec((0_u8..7, 0_i64..11, 0_i64..4, prop::bool::weighted(0.05)), 0..90),
            1..12,
        )
    ) {
        let alone = play(&batches, None);
        for lanes in [1, 3] {
            let together = play(&batches, Some(lanes));
            for (alarm, events) in &alone.decisions {
                prop_assert_eq!(together.decisions.get(alarm), Some(events), "{}", alarm);
            }
            prop_assert_eq!(&together, &alone, "{} lanes", lanes);
        }
    }
}
