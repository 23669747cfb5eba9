//! The simple test data of the CEL specification: what is supported says what the specification
//! says, and everything else is refused when it is compiled.
//!
//! The data is not part of this project. `FAULTGATE_CEL_SPEC` names the folder with its
//! `*.textproto` files; without it the test looks beside the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::engine::detect::DeviceMemory;
use crate::engine::types::device::DeviceFacts;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::time::Timestamp;

/// What a test of the specification expects.
#[derive(Debug, PartialEq)]
enum Expected {
    /// A value, as CEL writes it.
    Literal(String),
    Error,
    /// A value of a type that conditions do not have.
    Other,
}

/// What became of a test.
enum Outcome {
    Passed,
    Refused(String),
    Differs(String),
}

/// Tests that are answered otherwise on purpose, with the reason.
const DIFFERENT: [(&str, &str); 18] = [
    ("comparisons/not_eq_double_nan", DIVIDED_BY_ZERO),
    ("comparisons/not_ne_double_nan", DIVIDED_BY_ZERO),
    ("comparisons/ne_double_nan", DIVIDED_BY_ZERO),
    ("fp_math/divide_zero", DIVIDED_BY_ZERO),
    ("conversions/bool_denotation", A_METRIC),
    ("conversions/int_denotation", A_METRIC),
    ("conversions/uint_denotation", A_METRIC),
    ("conversions/double_denotation", A_METRIC),
    ("conversions/null_type_denotation", A_METRIC),
    ("conversions/string_denotation", A_METRIC),
    ("conversions/bytes_denotation", A_METRIC),
    ("conversions/list_denotation", A_METRIC),
    ("conversions/map_denotation", A_METRIC),
    ("conversions/type_denotation", A_METRIC),
    ("logic/short_circuit_type_left", A_WRONG_TYPE),
    ("logic/short_circuit_type_right", A_WRONG_TYPE),
    ("conversions/duration", A_WINDOW),
    ("timestamps/toString_duration", A_WINDOW),
];
const DIVIDED_BY_ZERO: &str = "a division by zero is unknown, of fractions too";
const A_METRIC: &str = "a bare name is a metric, also one that CEL gives to a type";

const A_WRONG_TYPE: &str = "a wrong type is refused when it is written, not when it is evaluated";
const A_WINDOW: &str = "a duration is written as a literal of at most 7 days";

/// Codes of refusals that name what is not supported.
const BY_NAME: [&str; 3] = ["not-supported", "unknown-function", "wrong-arguments"];

#[test]
fn conditions_say_what_the_specification_says_or_are_refused() {
    let Some(folder) = folder() else {
        println!("skipped: no CEL test data; set FAULTGATE_CEL_SPEC to its folder");
        return;
    };
    let (mut passed, mut refused, mut different) = (0, BTreeMap::<String, usize>::new(), 0);
    let mut wrong = Vec::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "textproto")) {
        for test in tests_of(file) {
            let on_purpose = DIFFERENT.iter().any(|(name, _)| *name == test.name);
            match run(&test) {
                Outcome::Passed if on_purpose => {
                    wrong.push(format!("{}: no longer differs", test.name))
                }
                Outcome::Passed => passed += 1,
                Outcome::Refused(why) => *refused.entry(why).or_default() += 1,
                Outcome::Differs(_) if on_purpose => different += 1,
                Outcome::Differs(how) => {
                    wrong.push(format!("{}: `{}` {how}", test.name, test.expr))
                }
            }
        }
    }
    let total_refused: usize = refused.values().sum();
    println!("{passed} passed, {different} differ on purpose, {total_refused} refused:");
    for (why, count) in &refused {
        println!("{count:>5} {why}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 300, "only {passed} tests were understood");
}

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cel-spec");
    let named = std::env::var_os("FAULTGATE_CEL_SPEC").map(PathBuf::from);
    named.or(Some(beside)).filter(|folder| folder.is_dir())
}

/// One test of the specification.
#[derive(Debug)]
struct SpecTest {
    name: String,
    expr: String,
    /// `None` for one of a type that no metric has.
    bindings: Vec<(String, Option<Value>)>,
    expected: Expected,
}

fn run(test: &SpecTest) -> Outcome {
    let source = match &test.expected {
        Expected::Literal(text) if text == "true" => test.expr.clone(),
        Expected::Literal(text) if text == "inf" => format!("({}) > {:?}", test.expr, f64::MAX),
        Expected::Literal(text) if text == "-inf" => format!("({}) < {:?}", test.expr, f64::MIN),
        Expected::Literal(text) => format!("({}) == {text}", test.expr),
        Expected::Error | Expected::Other => format!("({}) == 0", test.expr),
    };
    let mut metrics = Names::default();
    let compiled = compile(&test.expr, &mut metrics).and_then(|_| compile(&source, &mut metrics));
    let condition = match compiled {
        Ok(condition) => condition,
        // What cannot be right is an error there when it is evaluated, and here before that.
        Err(faults) => {
            let fault = faults.first().unwrap();
            let told = format!("{}: {}", fault.code, fault.message);
            let wrong = matches!(fault.code, "wrong-type" | "out-of-range");
            return match test.expected {
                Expected::Error if wrong => Outcome::Passed,
                _ if BY_NAME.contains(&fault.code) || fault.message.contains("a list") => {
                    Outcome::Refused(told)
                }
                Expected::Literal(_) | Expected::Error | Expected::Other => {
                    Outcome::Differs(format!("is refused, but not by name: {told}"))
                }
            };
        }
    };
    let mut memory = DeviceMemory::new(&[&condition]);
    for (name, value) in &test.bindings {
        let Some(value) = value else {
            return Outcome::Refused("a metric is no list, map, message or null".to_owned());
        };
        let reading = Reading::Good(value.clone());
        memory.absorb(Timestamp::EPOCH, metrics.intern(name), &reading);
    }
    let truth = condition
        .evaluate(&Scene {
            memory: &memory,
            learned: &[],
            device: &DeviceFacts::default(),
            now: Timestamp::EPOCH,
            stale_after: TimeSpan::ZERO,
            raised: &|_| false,
            count_raised: &|_, _| None,
            last_message: Timestamp::EPOCH,
            offline: false,
            absence_held: false,
        })
        .truth;
    match (&test.expected, truth) {
        (Expected::Literal(_), Truth::True) | (Expected::Error, Truth::Unknown(_)) => {
            Outcome::Passed
        }
        (expected, truth) => Outcome::Differs(format!("is {truth:?}, not {expected:?}")),
    }
}

/// Compiles an expression of any type.
fn compile(text: &str, metrics: &mut Names<Metric>) -> Result<Condition, Vec<Fault>> {
    let (rules, params) = (Names::default(), BTreeMap::new());
    let mut scope = CompileScope { metrics, rules: &rules, params: &params };
    let compiled = Condition::compile(text, &mut scope);
    match compiled {
        // The expression alone is no condition, and need not be one.
        Err(faults) if faults.iter().all(|fault| fault.message.starts_with("a condition is")) => {
            Condition::compile("true", &mut scope)
        }
        compiled => compiled,
    }
}

/// A field of a text proto.
#[derive(Debug)]
enum Field {
    Scalar(String),
    Message(Vec<(String, Field)>),
}

impl Field {
    fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f Field> {
        let fields = match self {
            Field::Message(fields) => fields.as_slice(),
            Field::Scalar(_) => &[],
        };
        fields.iter().filter(move |(known, _)| known == name).map(|(_, field)| field)
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.all(name).next()? {
            Field::Scalar(text) => Some(text.clone()),
            Field::Message(_) => None,
        }
    }
}

fn tests_of(file: &Path) -> Vec<SpecTest> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut words = words(&text).into_iter().peekable();
    let whole = Field::Message(message(&mut words));
    let sections: Vec<&Field> = whole.all("section").collect();
    let tests = sections.iter().flat_map(|section| section.all("test"));
    let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
    tests
        .map(|test| SpecTest {
            name: format!("{stem}/{}", test.text("name").unwrap_or_default()),
            expr: test.text("expr").unwrap_or_default(),
            bindings: test
                .all("bindings")
                .map(|binding| {
                    let value = binding.all("value").flat_map(|value| value.all("value")).next();
                    (binding.text("key").unwrap_or_default(), value.and_then(metric_value))
                })
                .collect(),
            expected: expected(test),
        })
        .collect()
}

fn metric_value(value: &Field) -> Option<Value> {
    let read = |name: &str| value.text(name);
    if let Some(text) = read("bool_value") {
        return text.parse().ok().map(Value::Bool);
    }
    if let Some(text) = read("int64_value") {
        return text.parse().ok().map(Value::Int);
    }
    if let Some(text) = read("double_value") {
        return text.parse().ok().map(Value::Float);
    }
    read("string_value").map(|text| Value::Text(text.as_str().into()))
}

fn expected(test: &Field) -> Expected {
    let Some(value) = test.all("value").next() else {
        let fails = test.all("eval_error").next().is_some();
        return if fails { Expected::Error } else { Expected::Literal("true".to_owned()) };
    };
    match metric_value(value) {
        Some(Value::Bool(flag)) => Expected::Literal(flag.to_string()),
        Some(Value::Int(number)) => Expected::Literal(number.to_string()),
        Some(Value::Float(number)) => Expected::Literal(format!("{number:?}")),
        Some(Value::Text(text)) => Expected::Literal(quoted(&text)),
        None => Expected::Other,
    }
}

/// A text as CEL writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// A word of a text proto; texts are kept apart from names.
#[derive(Debug, PartialEq)]
enum Word {
    Text(String),
    Name(String),
    Sign(char),
}

fn words(text: &str) -> Vec<Word> {
    let mut list = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                let (bytes, length) = unescaped(rest, first);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                match list.last_mut() {
                    Some(Word::Text(before)) => before.push_str(&text),
                    _ => list.push(Word::Text(text)),
                }
                length
            }
            c if c.is_alphanumeric() || "_-+.".contains(c) => {
                let inside = |c: char| c.is_alphanumeric() || "_-+.".contains(c);
                let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
                list.push(Word::Name(rest.split_at(end).0.to_owned()));
                end
            }
            '[' => {
                // The name of an extension or of a type.
                let end = rest.find(']').unwrap_or(rest.len() - 1) + 1;
                list.push(Word::Name(rest.split_at(end).0.to_owned()));
                end
            }
            c => {
                if "{}:<>".contains(c) {
                    list.push(Word::Sign(c));
                }
                c.len_utf8()
            }
        };
        rest = rest.split_at(length).1;
    }
    list
}

/// The bytes of a quoted text, and its length with the quotes.
fn unescaped(rest: &str, quote: char) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return (bytes, at + 1);
        }
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let (_, escaped) = chars.next().unwrap();
        let mut digits = |first: Option<char>, count: usize, radix: u32| {
            let mut text: String = first.into_iter().collect();
            while text.len() < count && chars.peek().is_some_and(|(_, c)| c.is_digit(radix)) {
                text.push(chars.next().unwrap().1);
            }
            u32::from_str_radix(&text, radix).unwrap()
        };
        let code = match escaped {
            'n' => u32::from('\n'),
            't' => u32::from('\t'),
            'r' => u32::from('\r'),
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'v' => 11,
            'x' => {
                bytes.push(digits(None, 2, 16) as u8);
                continue;
            }
            '0'..='7' => {
                bytes.push(digits(Some(escaped), 3, 8) as u8);
                continue;
            }
            'u' => digits(None, 4, 16),
            'U' => digits(None, 8, 16),
            other => u32::from(other),
        };
        bytes.extend(char::from_u32(code).unwrap().to_string().bytes());
    }
    (bytes, rest.len())
}

fn message(words: &mut std::iter::Peekable<std::vec::IntoIter<Word>>) -> Vec<(String, Field)> {
    let mut fields = Vec::new();
    while let Some(Word::Name(name)) = words.next_if(|word| matches!(word, Word::Name(_))) {
        words.next_if_eq(&Word::Sign(':'));
        let field = match words.next().unwrap() {
            Word::Sign(_) => {
                let inner = message(words);
                words.next();
                Field::Message(inner)
            }
            Word::Text(text) | Word::Name(text) => Field::Scalar(text),
        };
        fields.push((name, field));
    }
    fields
}
