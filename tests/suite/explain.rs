//! What was missing: for an alarm to be raised, for its return, and of messages that were refused.

use std::process::Command;

use faultgate::engine::pipeline::Counterfactual;
use faultgate::engine::policy;
use faultgate::engine::rehearsal::Rehearsal;
use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Reading, Value};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use serde_json::Value as Json;

use crate::gateway::{HOT, Home, binary};

const RULES: &str = r#"
[[rule]]
id = "slow"
when = "temp_c > 80"
clear_when = "temp_c < 70"
on_delay = "1m"
off_delay = "30s"
[[rule]]
id = "often"
when = "door == 1"
occurrences = 3
[[rule]]
id = "blind"
when = "pressure > 3 || temp_c.rate(5m) > 100"
stale_after = "10m"
[[rule]]
id = "elsewhere"
match = { class = "pump" }
when = "temp_c > 80"
"#;

/// An engine with these rules, and the time of its first message.
struct Bench {
    rehearsal: Rehearsal,
    start: Timestamp,
}

impl Bench {
    fn new() -> Bench {
        let source = Source { file: "r.toml".into(), text: RULES.into() };
        let policy = policy::compile(&[source], &["desk"], &Report::default()).expect("right");
        let settings = faultgate::config::defaults().and_then(|config| config.settings());
        let start = Timestamp::from_millis(1_767_225_600_000);
        let rehearsal = Rehearsal::new(settings.expect("settings"), policy, start);
        Bench { rehearsal, start }
    }

    fn after(&self, seconds: i64) -> Timestamp {
        self.start + TimeSpan::from_secs(seconds)
    }

    fn report(&mut self, seconds: i64, metric: &str, reading: Reading) {
        let facts = DeviceFacts { id: "冷柜-1".into(), ..DeviceFacts::default() };
        let at = self.after(seconds);
        let readings = vec![(metric.to_owned(), reading)];
        self.rehearsal.receive(at, Input::Readings { facts, at, readings });
    }

    fn number(&mut self, seconds: i64, metric: &str, number: i64) {
        self.report(seconds, metric, Reading::Good(Value::Int(number)));
    }

    fn ask(&self, seconds: i64, rule: &str) -> Counterfactual {
        let alarm = AlarmId { rule: rule.into(), device: "冷柜-1".into(), key: Vec::new() };
        let asked = self.rehearsal.engine().counterfactual(self.after(seconds), &alarm);
        asked.expect("known")
    }

    fn history(&self, rule: &str) -> Vec<String> {
        let alarm = self.rehearsal.engine().alarms().find(|record| record.id.rule == rule);
        alarm.expect("it began").history.iter().map(|entry| entry.what.clone()).collect()
    }
}

#[test]
fn a_pending_alarm_says_how_much_longer_and_one_that_gave_up_how_much_was_missing() {
    let mut bench = Bench::new();
    bench.number(0, "temp_c", 90);
    let told = bench.ask(20, "slow");
    assert_eq!((told.when, told.missing), ("true", vec!["held 20s of 1m: 40s more needed".into()]));
    bench.number(20, "temp_c", 75);
    assert_eq!(bench.ask(21, "slow").missing, ["`when` does not hold"]);
    assert_eq!(bench.history("slow"), ["`when` held 20s of 1m: 40s more needed"]);
    // Of chatter only the last is kept.
    for second in [30, 50, 70] {
        bench.number(second, "temp_c", 90);
        bench.number(second + 5, "temp_c", 75);
    }
    assert_eq!(bench.history("slow"), ["`when` held 5s of 1m: 55s more needed"]);
    assert_eq!(
        bench.ask(90, "elsewhere").missing,
        ["the rule does not look at this device: `match` does not fit"]
    );
}

#[test]
fn a_return_says_how_much_longer_and_one_that_was_broken_off_how_much_was_missing() {
    let mut bench = Bench::new();
    bench.number(0, "temp_c", 90);
    bench.number(60, "temp_c", 90);
    assert_eq!(bench.ask(61, "slow").missing, ["`clear_when` does not hold"]);
    bench.number(70, "temp_c", 60);
    let told = bench.ask(80, "slow");
    assert_eq!(told.clear_when, Some("true"));
    assert_eq!(told.missing, ["the return has held 10s of 30s: 20s more needed"]);
    bench.number(82, "temp_c", 75);
    assert_eq!(
        bench.history("slow"),
        ["raised: tk-1", "the return held 12s of 30s: 18s more needed"]
    );
}

#[test]
fn rising_edges_are_counted_out_loud() {
    let mut bench = Bench::new();
    for second in [0, 10] {
        bench.number(second, "door", 1);
        bench.number(second + 5, "door", 0);
    }
    let told = bench.ask(20, "often");
    assert_eq!(
        told.missing,
        ["`when` does not hold", "2 of 3 rising edges within 1h: 1 more needed"]
    );
    assert_eq!(bench.history("often"), ["rising edge 2 of 3 within 1h: 1 more needed"]);
}

#[test]
fn what_is_unknown_says_which_metric_is_missing_stale_or_bad() {
    let mut bench = Bench::new();
    bench.number(0, "temp_c", 20);
    let unknown = |bench: &Bench, seconds| {
        let told = bench.ask(seconds, "blind");
        assert_eq!(told.when, "unknown");
        told.missing.join("; ")
    };
    assert!(unknown(&bench, 1).contains("`pressure` was never seen"));
    bench.number(2, "pressure", 1);
    let history = unknown(&bench, 3);
    assert_eq!(history, "`when` is unknown: there is too little history of `temp_c`");
    bench.report(4, "pressure", Reading::Bad);
    assert!(unknown(&bench, 5).contains("the newest `pressure` is of bad quality"));
    bench.number(6, "pressure", 1);
    assert!(unknown(&bench, 906).contains("`pressure` is 15m old, and stale after 10m"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_refused_message_of_each_kind_is_shown() {
    let home = Home::new(HOT, "");
    let gateway = home.start();
    let topic = "plant/上海-1/machine/m-1/telemetry".to_owned();
    for payload in [b"{\"temp_c\": ".as_slice(), b"not json", b"\xff\xfe", b"{\"temp_c\": 20}"] {
        gateway.publish(&[(topic.clone(), payload.to_vec())]).await;
    }
    let told = gateway.get("/api/v1/rejected").await;
    let all = told["rejected"].as_array().expect("a list");
    assert_eq!(all.len(), 2, "{told:#}");
    assert_eq!((&all[0]["source"], &all[0]["reason"]), (&"plant".into(), &"undecodable".into()));
    let first = &all[0]["first"];
    assert_eq!((&first["payload"], &first["count"]), (&"{\"temp_c\": ".into(), &2.into()));
    assert_eq!(all[1]["first"]["payload"], "\\xff\\xfe");
    let file = home.path().join("faultgate.toml");
    let config = std::fs::read_to_string(&file).expect("there");
    let here = format!("[http]\nlisten = \"{}\"", gateway.http);
    std::fs::write(&file, config.replace("[http]\nlisten = \"127.0.0.1:0\"", &here))
        .expect("written");
    let shown = |arguments: &[&str]| {
        let command = Command::new(binary()).args(arguments).current_dir(home.path()).output();
        String::from_utf8(command.expect("it runs").stdout).expect("text")
    };
    let rejected = shown(&["explain", "rejected"]);
    assert!(
        rejected.contains("plant: undecodable, 2 times") && rejected.contains(&topic),
        "{rejected}"
    );
    let never = shown(&["explain", "hot/m-1"]);
    assert!(
        never.contains("alarm hot/m-1: never began") && never.contains("`when` does not hold"),
        "{never}"
    );
    let known: Json =
        serde_json::from_str(&shown(&["explain", "hot/m-1", "--format", "json"])).expect("JSON");
    assert_eq!(known["now"][0]["when"], "false");
}
