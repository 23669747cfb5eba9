//! The compiled form against the plain reference, on conditions and samples made at random.
//!
//! `FAULTGATE_DIFFERENTIAL` says how many cases are run.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::reference::{Why, World};
use super::*;
use crate::engine::detect::When;
use crate::engine::detect::{DeviceMemory, RuleMemory};
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::Timestamp;

/// Cases of the ordinary test run.
const CASES: u32 = 20_000;
const SECOND: i64 = 1_000_000;

fn config() -> ProptestConfig {
    let named = std::env::var("FAULTGATE_DIFFERENTIAL").ok();
    let cases = named.and_then(|count| count.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(list).prop_map(str::to_owned)
}

/// Numbers whose value is the same in whatever order they are computed.
fn number() -> BoxedStrategy<String> {
    let function = one_of(&["avg", "sum", "count", "min", "max", "delta"]);
    let leaf = prop_oneof![
        3 => (-9_i64..10).prop_map(|n| format!("({n})")),
        2 => (-20_i64..20).prop_map(|n| format!("({:?})", n as f64 / 4.0)),
        1 => one_of(&["9223372036854775807", "1e300", "0x10", "x.age()", "size(text)", "size('温度')"]),
        5 => one_of(&["a", "a", "a", "b", "b", "x", "x", "x", "mix", "text", "gone"]),
        1 => one_of(&["x.prev()", "mix.prev()"]),
        3 => (one_of(&["x", "mix"]), function, span()).prop_map(|(m, f, d)| format!("{m}.{f}({d})")),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let operator = one_of(&["+", "-", "*", "/", "%"]);
        prop_oneof![
            6 => (inner.clone(), operator, inner.clone()).prop_map(|(l, o, r)| format!("({l} {o} {r})")),
            1 => inner.clone().prop_map(|inner| format!("(-{inner})")),
            1 => inner.clone().prop_map(|inner| format!("double({inner})")),
            1 => inner.clone().prop_map(|inner| format!("int({inner})")),
            1 => (condition_leaf(), inner.clone(), inner).prop_map(|(c, y, n)| format!("({c} ? {y} : {n})")),
        ]
    })
    .boxed()
}

fn span() -> impl Strategy<Value = String> {
    one_of(&["1s", "3s", "10s", "30s", "1m", "5m"])
}

fn text() -> impl Strategy<Value = String> {
    let leaf =
        one_of(&["text", "text", "mix", "'冷柜'", "'A'", "''", "string(a)", "string(b)", "gone"]);
    leaf.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), inner).prop_map(|(l, r)| format!("({l} + {r})"))
    })
}

fn comparison() -> impl Strategy<Value = String> {
    one_of(&["<", "<=", ">", ">=", "==", "!="])
}

fn condition_leaf() -> BoxedStrategy<String> {
    let metric = one_of(&["x", "mix", "gone"]);
    prop_oneof![
        3 => (one_of(&["a", "b", "x", "mix"]), comparison(), -9_i64..10)
            .prop_map(|(m, o, n)| format!("{m} {o} {n}")),
        1 => one_of(&["true", "false", "flag", "mix", "offline()", "raised('r')", "absent(20s)"]),
        1 => metric.clone().prop_map(|metric| format!("{metric}.changed()")),
        1 => (metric, span()).prop_map(|(metric, span)| format!("{metric}.stuck({span})")),
    ]
    .boxed()
}

fn condition() -> impl Strategy<Value = String> {
    // Rounding differs between two ways to compute these: they are compared with what they never
    // exactly are.
    let rounded = prop_oneof![
        (one_of(&["stddev", "rate", "ewma", "zscore"]), span())
            .prop_map(|(f, d)| format!("x.{f}({d})")),
        (span(), span()).prop_map(|(short, long)| format!("x.deviation({short}, {long})")),
    ];
    let time = one_of(&["now", "now - 5s", "now + 1m"]);
    let test = one_of(&["startsWith", "endsWith", "contains"]);
    let leaf = prop_oneof![
        6 => (number(), comparison(), number()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
        4 => condition_leaf(),
        3 => (rounded, one_of(&["<", ">"]), -20_i64..20)
            .prop_map(|(l, o, n)| format!("{l} {o} ({:?})", n as f64 / 3.7 + 0.0123)),
        2 => (text(), comparison(), text()).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
        1 => (text(), test, text()).prop_map(|(l, f, r)| format!("{l}.{f}({r})")),
        2 => (number(), prop::collection::vec(prop_oneof![3 => number(), 1 => text()], 0..4))
            .prop_map(|(value, list)| format!("{value} in [{}]", list.join(", "))),
        1 => (time.clone(), comparison(), time).prop_map(|(l, o, r)| format!("{l} {o} {r}")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let three = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l}) && ({r})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l}) || ({r})")),
            1 => three.prop_map(|(c, y, n)| format!("(({c}) ? ({y}) : ({n}))")),
            1 => inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn quarter() -> impl Strategy<Value = Reading> {
    (-12_i64..12).prop_map(|n| Reading::Good(Value::Float(n as f64 / 4.0)))
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        3 => quarter(),
        2 => (-5_i64..5).prop_map(|n| Reading::Good(Value::Int(n))),
        1 => any::<bool>().prop_map(|flag| Reading::Good(Value::Bool(flag))),
        1 => one_of(&["A", "冷柜 A", "7", "2.5"]).prop_map(|t| Reading::Good(Value::Text(t.as_str().into()))),
        1 => Just(Reading::Bad),
    ]
}

/// Samples that come in order, at once, or up to ten seconds late.
fn history(
    name: &'static str,
    reading: BoxedStrategy<Reading>,
    most: usize,
) -> BoxedStrategy<Vec<(&'static str, i64, Reading)>> {
    let step = prop_oneof![6 => 0_i64..5, 1 => 20_i64..60, 2 => -10_i64..0];
    prop::collection::vec((step, reading), 0..most)
        .prop_map(move |steps| {
            let mut newest = 1_000;
            let place = |(step, reading)| {
                newest = newest.max(newest + step);
                let second = if step < 0 { newest + step } else { newest };
                (name, second * SECOND, reading)
            };
            steps.into_iter().map(place).collect()
        })
        .boxed()
}

fn world() -> impl Strategy<Value = World> {
    let x = prop_oneof![19 => quarter(), 1 => any_reading()].boxed();
    let fixed = (-5_i64..5, quarter(), one_of(&["冷柜 A", "A", ""]), any::<bool>());
    let (x, mix) = (history("x", x, 60), history("mix", any_reading().boxed(), 6));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (x, mix, fixed, flags, 0_i64..40, prop::sample::select(&[0_i64, 0, 0, 30][..])).prop_map(
        |(x, mix, (a, b, text, flag), (offline, absence_held, raised), idle, stale_after)| {
            let mut samples = x;
            samples.extend(mix);
            let newest = samples.iter().map(|(_, at, _)| *at).max().unwrap_or(1_000 * SECOND);
            samples.push(("a", newest, Reading::Good(Value::Int(a))));
            samples.push(("b", newest, b));
            samples.push(("text", newest, Reading::Good(Value::Text(text.as_str().into()))));
            samples.push(("flag", newest, Reading::Good(Value::Bool(flag))));
            World {
                samples,
                now: newest + idle * SECOND,
                stale_after: stale_after * SECOND,
                last_message: newest,
                offline,
                absence_held,
                raised,
            }
        },
    )
}

/// The compiled condition and all that it knows of the world.
struct Compiled {
    condition: Condition,
    memory: DeviceMemory,
    learned: RuleMemory,
}

impl Compiled {
    fn new(source: &str, world: &World) -> Option<Compiled> {
        let mut metrics = Names::default();
        let mut rules = Names::default();
        rules.intern("r");
        let params = BTreeMap::new();
        let mut scope = CompileScope { metrics: &mut metrics, rules: &rules, params: &params };
        let condition = Condition::compile(source, &mut scope).ok()?;
        let mut memory = DeviceMemory::new(&[&condition]);
        let mut learned = RuleMemory::new(&condition, None);
        for (name, at, reading) in &world.samples {
            let (at, metric) = (Timestamp::from_micros(*at), metrics.intern(name));
            memory.absorb(at, metric, reading);
            learned.absorb(When::only(at), metric, reading, false);
        }
        Some(Compiled { condition, memory, learned })
    }

    fn evaluate(&self, world: &World) -> Evaluation {
        self.condition.evaluate(&Scene {
            memory: &self.memory,
            learned: self.learned.of_when(),
            device: &DeviceFacts::default(),
            now: Timestamp::from_micros(world.now),
            stale_after: TimeSpan::from_micros(world.stale_after),
            raised: &|_| world.raised,
            count_raised: &|_, _| None,
            last_message: Timestamp::from_micros(world.last_message),
            offline: world.offline,
            absence_held: world.absence_held,
        })
    }
}

fn plain(truth: &Truth) -> Result<bool, Why> {
    match truth {
        Truth::True => Ok(true),
        Truth::False => Ok(false),
        Truth::Unknown(Unknown::Missing(_)) => Err(Why::Missing),
        Truth::Unknown(Unknown::Stale(_)) => Err(Why::Stale),
        Truth::Unknown(Unknown::Bad(_)) => Err(Why::Bad),
        Truth::Unknown(Unknown::NotEnough(_)) => Err(Why::NotEnough),
        Truth::Unknown(Unknown::PathDown) => Err(Why::PathDown),
        Truth::Unknown(Unknown::Error(_)) => Err(Why::Error),
    }
}

/// What must hold between a condition's answers, whatever the condition.
fn check(source: &str, world: &World) -> Result<(), TestCaseError> {
    // Some are of types that do not fit, and are refused.
    let Some(compiled) = Compiled::new(source, world) else {
        return Ok(());
    };
    let found = compiled.evaluate(world);
    let tree = parse::parse(source).unwrap();
    prop_assert_eq!(plain(&found.truth), world.truth(&tree), "{}", source);

    let gate = compiled.condition.gate();
    if let Some((gate, (at, reading))) =
        gate.and_then(|gate| Some((gate, compiled.memory.latest(gate.metric)?)))
        && (world.stale_after == 0 || world.now - at.micros() <= world.stale_after)
        && gate.is_shut_by(reading)
    {
        prop_assert_eq!(&found.truth, &Truth::False, "the gate of {} is shut", source);
    }

    let fresh = World { stale_after: 0, ..world.clone() };
    let never_stale = compiled.evaluate(&fresh);
    let stale = matches!(found.truth, Truth::Unknown(_));
    prop_assert!(stale || found.truth == never_stale.truth, "{source} learns from staleness");

    // Until it is looked at again, nothing changes. Ages are looked at every second.
    if !source.contains("age()") && !source.contains("now") {
        let until = never_stale.recheck_at.map_or(world.now + 1_000 * SECOND, Timestamp::micros);
        for later in [world.now + (until - world.now) / 2, until - 1] {
            let later = World { now: later.max(world.now), ..fresh.clone() };
            let truth = compiled.evaluate(&later).truth;
            prop_assert_eq!(&truth, &never_stale.truth, "{} changes at {}", source, later.now);
        }
        let recheck = never_stale.recheck_at.is_some();
        prop_assert!(compiled.condition.reads_time() || !recheck, "{source} reads time");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn compiled_conditions_say_what_the_plain_reference_says(
        source in condition(),
        world in world(),
    ) {
        check(&source, &world)?;
    }
}

#[test]
fn what_is_made_at_random_has_every_answer_there_is() {
    let mut runner = TestRunner::deterministic();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..4_000 {
        let (source, world) = (condition(), world()).new_tree(&mut runner).unwrap().current();
        let answer = match Compiled::new(&source, &world) {
            Some(compiled) => format!("{:?}", plain(&compiled.evaluate(&world).truth)),
            None => "refused".to_owned(),
        };
        *answers.entry(answer).or_default() += 1;
    }
    println!("{answers:?}");
    for (answer, least) in [
        ("Ok(true)", 500),
        ("Ok(false)", 500),
        ("Err(Error)", 100),
        ("Err(NotEnough)", 30),
        ("Err(Stale)", 10),
        ("Err(Missing)", 30),
        ("Err(Bad)", 10),
        ("Err(PathDown)", 5),
    ] {
        assert!(answers.get(answer).is_some_and(|count| *count >= least), "{answer}: {answers:?}");
    }
}
