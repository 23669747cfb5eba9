//! What conditions mean, through their public face.

use std::collections::BTreeMap;

use proptest::strategy::Strategy;

use super::*;
use crate::engine::detect::{DeviceMemory, RuleMemory};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::Timestamp;

fn compile(text: &str, metrics: &mut Names<Metric>) -> Result<Condition, Vec<Fault>> {
    let mut rules = Names::default();
    rules.intern("power-lost");
    let params = BTreeMap::from([
        ("high".to_owned(), Scalar::Float(-12.0)),
        ("name".to_owned(), Scalar::Text("冷柜".to_owned())),
    ]);
    Condition::compile(text, &mut CompileScope { metrics, rules: &rules, params: &params })
}

/// Evaluates on `a = 3` (whole), `b = 2.5`, `text = "冷柜 A"`, `flag = true`, `bad` of bad
/// quality, `old` two hours old; everything else was never seen.
fn truth(text: &str) -> Truth {
    let mut metrics = Names::default();
    let condition =
        compile(text, &mut metrics).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let mut memory = DeviceMemory::new(&[&condition]);
    let now = Timestamp::from_millis(10_000_000);
    let readings = [
        ("a", Reading::Good(Value::Int(3))),
        ("b", Reading::Good(Value::Float(2.5))),
        ("text", Reading::Good(Value::Text("冷柜 A".into()))),
        ("flag", Reading::Good(Value::Bool(true))),
        ("Motor Temp 1", Reading::Good(Value::Int(99))),
        ("x.y", Reading::Good(Value::Int(7))),
        ("bad", Reading::Bad),
    ];
    for (name, reading) in &readings {
        memory.absorb(now, metrics.intern(name), reading);
    }
    let old = Reading::Good(Value::Int(1));
    memory.absorb(Timestamp::from_millis(2_000_000), metrics.intern("old"), &old);
    let learned = RuleMemory::new(&condition, None);
    let device =
        DeviceFacts { id: "fz-1".into(), site: "上海-1".into(), ..DeviceFacts::default() };
    let scene = Scene {
        memory: &memory,
        learned: learned.of_when(),
        device: &device,
        now,
        stale_after: TimeSpan::from_secs(3_600),
        raised: &|_| false,
        count_raised: &|_, _| None,
        last_message: now - TimeSpan::from_secs(60),
        offline: false,
        absence_held: false,
    };
    condition.evaluate(&scene).truth
}

#[test]
fn conditions_hold_as_cel_says() {
    for text in [
        "a > 2",
        "2.0 < b",
        "a == 3.0 && b != 3",
        "a + b * 2.0 == 8.0",
        "a / 2 == 1 && a % 2 == 1 && -a < 0",
        "(a > 5 ? b : a) == 3",
        "a in [1, 2, 3]",
        "text.startsWith(\"冷柜\") && text.contains('A') && size(text) == 4",
        "params.name + \" A\" == text",
        "b < 100 && b > params.high",
        "device.site == \"上海-1\" && device.labels.floor == \"\"",
        "flag && !false",
        "m[\"Motor Temp 1\"] == 99 && x.y == 7",
        "!raised(\"power-lost\") && !offline()",
        "absent(1m) && !absent(61s)",
        "double(\"1.5\") == 1.5 && int(2.9) == 2 && string(a) == \"3\"",
        "int(string(a) + string(a)) == 33 && double(string(a) + \".5\") == 3.5",
        "now - duration(\"1m\") < now",
        "old.age() > 7000.0",
        "a.count(5m) == 1 && a.avg(\"5m\") == 3.0",
    ] {
        assert_eq!(truth(text), Truth::True, "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_unknown_and_a_side_that_decides_absorbs_it() {
    for text in [
        "never > 1",
        "!(never > 1)",
        "bad > 1",
        "old > 0",
        "a.prev() > 1",
        "a.deviation(1m, 5m) > 3.0",
        "a / 0 > 1",
        "text > 1",
        "9223372036854775807 + a > 0",
        "never > 1 && flag",
        "never > 1 || !flag",
        "never > 1 ? true : true",
    ] {
        assert!(matches!(truth(text), Truth::Unknown(_)), "{text}: {:?}", truth(text));
    }
    assert_eq!(truth("never > 1 || flag"), Truth::True);
    assert_eq!(truth("never > 1 && !flag"), Truth::False);
    assert_eq!(truth("text > 1 || flag"), Truth::True);
}

/// `start..end code` and the hint of every mistake.
fn faults(text: &str) -> Vec<String> {
    let faults = compile(text, &mut Names::default()).expect_err(text);
    faults
        .into_iter()
        .map(|fault| format!("{:?} {} {}", fault.span, fault.code, fault.hint))
        .collect()
}

#[test]
fn every_mistake_is_told_at_its_place_with_a_hint() {
    assert_eq!(faults("temp_c.avrg(5m) > 80"), ["0..15 unknown-function did you mean `avg`?"]);
    assert_eq!(faults("a > params.hihg"), ["4..15 unknown-param did you mean `high`?"]);
    assert_eq!(faults("a = 3"), ["2..3 syntax write `==` to compare"]);
    assert_eq!(faults("a > 3 and b > 2"), ["6..9 syntax write `&&`"]);
    assert_eq!(faults("a > \"x\" + 1")[0], "4..11 wrong-type ");
    assert_eq!(faults("device.stie == \"x\""), ["0..11 unknown-attribute did you mean `site`?"]);
    assert_eq!(
        faults("raised(\"power-lots\")"),
        ["7..19 unknown-reference did you mean `power-lost`?"]
    );
    assert_eq!(faults("text == \"冷柜"), ["8..9 syntax add a \""]);
    assert_eq!(faults("a + 1"), ["0..5 wrong-type compare it, e.g. `> 80`"]);
    assert_eq!(faults("a.avg(8d) > 1"), ["6..8 out-of-range "]);
    assert_eq!(faults("a.avg(b) > 1"), ["6..7 wrong-type for example `5m` or `1h30m`"]);
    assert_eq!(
        faults("count_raised(\"power-lost\", \"hall\") > 1"),
        ["27..33 wrong-value write `\"site\"`, `\"region\"` or `\"class\"`"]
    );
    assert_eq!(faults("a > 1 && b >"), ["12..12 syntax "]);
}

#[test]
fn sources_are_bounded_in_length_nesting_and_cost() {
    let nested = format!("{}a > 1{}", "(".repeat(33), ")".repeat(33));
    assert!(faults(&nested)[0].contains("too-deep"));
    assert!(
        compile(&format!("{}a > 1{}", "(".repeat(30), ")".repeat(30)), &mut Names::default())
            .is_ok()
    );
    assert!(faults(&format!("a > {}", "1".repeat(5_000)))[0].contains("too-long"));
    let dear = vec!["a > 1"; 200].join("||");
    assert!(faults(&dear)[0].contains("too-dear"));
    assert!(faults(&format!("1{} > 0", "+1".repeat(2_000)))[0].contains("too-dear"));
    for hostile in ["!".repeat(4_000), "-".repeat(4_000), "[".repeat(4_000), "a.b".repeat(1_300)] {
        assert!(compile(&hostile, &mut Names::default()).is_err());
    }
}

/// A published interpreter says the same, wherever both know the words. It serves as an oracle
/// here and nowhere else. Known differences are left out of what is generated: it refuses to
/// compare whole numbers with fractions, and we compare them as numbers.
mod oracle {
    use proptest::prelude::*;

    use super::truth;
    use crate::engine::detect::Truth;

    fn number(whole: bool) -> impl Strategy<Value = String> {
        let literal = if whole {
            (0..20_i64).prop_map(|n| n.to_string()).boxed()
        } else {
            (0..40_i64).prop_map(|n| format!("{:?}", n as f64 / 4.0)).boxed()
        };
        let name = Just(if whole { "a" } else { "b" }.to_owned());
        let leaf = prop_oneof![2 => literal, 1 => name];
        let operators: &'static [&'static str] =
            if whole { &["+", "-", "*", "/", "%"] } else { &["+", "-", "*"] };
        leaf.prop_recursive(3, 12, 2, move |inner| {
            let operator = prop::sample::select(operators);
            prop_oneof![
                4 => (inner.clone(), operator, inner.clone())
                    .prop_map(|(l, o, r)| format!("({l} {o} {r})")),
                1 => inner.prop_map(|inner| format!("(-{inner})")),
            ]
        })
    }

    fn text() -> impl Strategy<Value = String> {
        prop::sample::select(&["text", "\"冷柜\"", "\"A\"", "\"\"", "'x'"][..])
            .prop_map(str::to_owned)
    }

    fn condition() -> impl Strategy<Value = String> {
        let comparison = prop::sample::select(&["<", "<=", ">", ">=", "==", "!="][..]);
        let compare = move |whole| {
            (number(whole), comparison.clone(), number(whole))
                .prop_map(|(l, o, r)| format!("{l} {o} {r}"))
        };
        let test = prop::sample::select(&["startsWith", "endsWith", "contains"][..]);
        let leaf = prop_oneof![
            compare(true),
            compare(false),
            (text(), test, text()).prop_map(|(l, f, r)| format!("{l}.{f}({r})")),
            (number(true), number(true), number(true))
                .prop_map(|(a, b, c)| format!("{a} in [{b}, {c}]")),
            Just("flag".to_owned()),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            let three = (inner.clone(), inner.clone(), inner.clone());
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l}) && ({r})")),
                (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l}) || ({r})")),
                three.prop_map(|(c, y, n)| format!("(({c}) ? ({y}) : ({n}))")),
                inner.prop_map(|inner| format!("!({inner})")),
            ]
        })
    }

    /// `None` for an error.
    fn told_by_the_oracle(source: &str) -> Option<bool> {
        let program = cel::Program::compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
        let mut context = cel::Context::default();
        context.add_variable_from_value("a", 3_i64);
        context.add_variable_from_value("b", 2.5_f64);
        context.add_variable_from_value("text", "冷柜 A");
        context.add_variable_from_value("flag", true);
        match program.execute(&context) {
            Ok(cel::Value::Bool(flag)) => Some(flag),
            _ => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn conditions_mean_what_a_published_interpreter_says(source in condition()) {
            let ours = match truth(&source) {
                Truth::True => Some(true),
                Truth::False => Some(false),
                Truth::Unknown(_) => None,
            };
            prop_assert_eq!(ours, told_by_the_oracle(&source), "{}", source);
        }
    }
}

proptest::proptest! {
    /// Whatever the rest of it says, and whatever the metric is.
    #[test]
    fn a_condition_whose_gate_is_shut_is_false(
        first in proptest::sample::select(&["a > 3", "a >= 4.5", "2 < a", "a < -1", "a <= 0", "a == 2", "2.0 == a", "!(a > 3)", "a != 2", "a == 9007199254740993"][..]),
        second in proptest::sample::select(&["b > 1", "b == 2.5", "unseen > 0", "b < 0", "text == 'x'", "1 / 0 > 1"][..]),
        join in proptest::sample::select(&["&&", "||", "&& unseen == 1 &&"][..]),
        swapped in proptest::bool::ANY,
        value in proptest::prop_oneof![
            (-3_i64..7).prop_map(Value::Int),
            (-6_i64..14).prop_map(|n| Value::Float(n as f64 / 2.0)),
            proptest::sample::select(vec![Value::Bool(true), Value::Text("9".into()), Value::Int(9_007_199_254_740_993)]),
        ],
    ) {
        let (first, second) = if swapped { (second, first) } else { (first, second) };
        let text = format!("{first} {join} {second}");
        let mut metrics = Names::default();
        let condition = compile(&text, &mut metrics).unwrap();
        let readings = [("a", value), ("b", Value::Float(2.5)), ("text", Value::Text("x".into()))];
        let readings: Vec<(MetricId, Value)> =
            readings.into_iter().map(|(name, value)| (metrics.intern(name), value)).collect();
        let read = |metric| readings.iter().find(|(known, _)| *known == metric).map(|(_, v)| v.clone());
        let is_shut = condition.gate().is_some_and(|gate| {
            read(gate.metric).is_some_and(|value| gate.is_shut_by(&Reading::Good(value)))
        });
        if is_shut {
            proptest::prop_assert_eq!(truth_of(&condition, &readings), Truth::False, "{}", text);
        }
    }
}

#[test]
fn a_gate_is_the_term_that_lets_least_through() {
    let gate = |text: &str| {
        let mut metrics = Names::default();
        let condition = compile(text, &mut metrics).unwrap();
        condition.gate().map(|gate| (metrics.text(gate.metric).to_owned(), gate.side, gate.bound))
    };
    assert_eq!(gate("a > 5 && b == 3"), Some(("b".to_owned(), Side::At, 3.0)));
    assert_eq!(gate("flag && (80 <= a && b > c)"), Some(("a".to_owned(), Side::Above, 80.0)));
    assert_eq!(gate("a < params.high - 2.0"), Some(("a".to_owned(), Side::Below, -14.0)));
    for text in
        ["a > 5 || b > 3", "a > b", "a != 5", "!(a > 5)", "a.avg(1m) > 5.0", "a > 5 ? flag : flag"]
    {
        assert_eq!(gate(text), None, "{text}");
    }
}

#[test]
fn what_time_alone_can_change_is_told() {
    let reads_time = |text: &str| compile(text, &mut Names::default()).unwrap().reads_time();
    for text in
        ["a.age() > 5.0", "absent(1m)", "now > now", "a.sum(1m) > 5.0", "a.deviation(1m, 1h) > 3.0"]
    {
        assert!(reads_time(text), "{text}");
    }
    for text in ["a > 5", "a.prev() > 5", "a.changed()", "a.ewma(1m) > 5.0", "offline()"] {
        assert!(!reads_time(text), "{text}");
    }
}

#[test]
fn what_a_condition_keeps_for_a_device_is_bounded() {
    let bytes = |text: &str| compile(text, &mut Names::default()).unwrap().bytes_per_device();
    assert!(bytes("a > 5") < 1_024);
    let window = bytes("a.avg(1m) > 5.0");
    assert!(window < 400 * 1_024, "{window}");
    assert_eq!(bytes("a.avg(1m) > 5.0 && a.max(7d) > 9.0"), window, "windows share their samples");
    assert!(bytes("a.zscore(1h) > 5.0") < 4 * 1_024);
    assert!(bytes("a.deviation(1m, 1d) > 5.0") < 800 * 1_024);
}

/// None of these may take long, or memory that its length does not account for.
#[test]
fn hostile_sources_are_refused_or_answered_within_bounds() {
    // The text doubles at each bracket: 2^24 bytes if it were made.
    let doubling = (0..20).fold("text".to_owned(), |text, _| format!("({text} + text)"));
    assert!(matches!(truth(&format!("size({doubling}) > 0")), Truth::True));
    let long = vec!["text"; 240].join(" + ");
    assert!(matches!(truth(&format!("size({long}) > 0")), Truth::True));
    let constant = format!("'{}'", "x".repeat(900));
    let joined = [constant.as_str(); 4].join(" + ");
    assert_eq!(truth(&format!("size({joined}) == 3600")), Truth::True);
    let name = vec!["params.name"; 248].join(" + ");
    assert_eq!(truth(&format!("size({name}) == 496")), Truth::True);
    let lists = "[".repeat(31) + &"]".repeat(31);
    for source in [
        format!("a in {lists}"),
        "[0,0,0,0].map(x, [0,0,0,0].map(y, [0,0,0,0].map(z, [0,0,0,0])))".to_owned(),
        "-".repeat(32) + &format!("{}a", "(-".repeat(32)) + &")".repeat(32),
        "!".repeat(600) + "flag",
        "a?".repeat(2_000),
        "a[".repeat(1_300),
        "a.b(".repeat(1_000),
        "'\\U0010FFFF".repeat(350),
        "(".repeat(4_096),
        "\u{6e29}".repeat(1_366),
    ] {
        let faults = compile(&source, &mut Names::default());
        assert!(faults.is_err(), "{source}");
    }
    // As deep and as long as is allowed: the stack holds, and an answer comes.
    let deep = "(!".repeat(31) + "flag" + &")".repeat(31);
    assert_eq!(truth(&deep), Truth::False);
    let list: Vec<String> = (0..490).map(|number| number.to_string()).collect();
    assert_eq!(truth(&format!("a in [{}]", list.join(","))), Truth::True);
}

#[test]
fn a_text_that_would_be_too_long_is_not_made() {
    let source = format!("size({}) > 0", ["long"; 5].join(" + "));
    let mut metrics = Names::default();
    let condition = compile(&source, &mut metrics).unwrap();
    let long = Value::Text("温".repeat(500).into());
    let truth = truth_of(&condition, &[(metrics.intern("long"), long)]);
    assert!(matches!(truth, Truth::Unknown(Unknown::Error(_))), "{truth:?}");
}

/// Evaluates on these readings alone.
fn truth_of(condition: &Condition, readings: &[(MetricId, Value)]) -> Truth {
    let now = Timestamp::from_millis(10_000_000);
    let mut memory = DeviceMemory::new(&[condition]);
    for (metric, value) in readings {
        memory.absorb(now, *metric, &Reading::Good(value.clone()));
    }
    let scene = Scene {
        memory: &memory,
        learned: &[],
        device: &DeviceFacts::default(),
        now,
        stale_after: TimeSpan::ZERO,
        raised: &|_| false,
        count_raised: &|_, _| None,
        last_message: now,
        offline: false,
        absence_held: false,
    };
    condition.evaluate(&scene).truth
}
