//! What is read is what serde_json reads, and what it refuses is refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::*;

/// A document with everything that it has: repeated keys, and the order of members.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

fn read(text: &str) -> Result<Tree, Rejection> {
    let mut scan = Scan::new(text);
    let tree = tree(&mut scan).and_then(|tree| scan.end().map(|()| tree));
    tree.map_err(|Stop| scan.into_refusal().expect("a reason").reason)
}

fn tree(scan: &mut Scan<'_>) -> Result<Tree, Stop> {
    let close = match scan.begin()? {
        Begin::Scalar(Found::Null) => return Ok(Tree::Null),
        Begin::Scalar(Found::Bool(flag)) => return Ok(Tree::Bool(flag)),
        Begin::Scalar(Found::Int(number)) => return Ok(Tree::Int(number)),
        Begin::Scalar(Found::Float(number)) => return Ok(Tree::Float(number)),
        Begin::Scalar(Found::Text(text)) => return Ok(Tree::Text(text.to_owned())),
        Begin::Escaped(text) => return Ok(Tree::Text(unescape(text))),
        Begin::Object => Close::Object,
        Begin::Array => Close::Array,
    };
    let (mut list, mut map) = (Vec::new(), Vec::new());
    let mut more = scan.first(close);
    while more {
        match close {
            Close::Array => list.push(tree(scan)?),
            Close::Object => map.push((scan.key()?.into_owned(), tree(scan)?)),
        }
        more = scan.next(close)?;
    }
    Ok(if close == Close::Array { Tree::List(list) } else { Tree::Map(map) })
}

fn pass(text: &str) -> Result<(), Refusal> {
    let mut scan = Scan::new(text);
    let passed = scan.pass().and_then(|()| scan.end());
    passed.map_err(|Stop| scan.into_refusal().expect("a reason"))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Tree, D::Error> {
        json.deserialize_any(Oracle)
    }
}

struct Oracle;

impl<'de> Visitor<'de> for Oracle {
    type Value = Tree;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(flag))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Int(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Float(number as f64), Tree::Int))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Float(number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = seq.next_element()? {
            list.push(member);
        }
        Ok(Tree::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Tree::Map(map))
    }
}

/// serde_json may miss the nearest number by some of its last digits; this reader does not.
fn same(own: &Tree, other: &Tree) -> bool {
    match (own, other) {
        (Tree::Float(own), Tree::Float(other)) => {
            own == other || (own - other).abs() <= own.abs() * 1e-15
        }
        (Tree::List(own), Tree::List(other)) => {
            own.len() == other.len() && own.iter().zip(other).all(|(own, other)| same(own, other))
        }
        (Tree::Map(own), Tree::Map(other)) => {
            let pairs = own.iter().zip(other);
            own.len() == other.len()
                && pairs.into_iter().all(|(own, other)| own.0 == other.0 && same(&own.1, &other.1))
        }
        (own, other) => own == other,
    }
}

fn compare(text: &str) {
    let own = read(text);
    let passed = pass(text).map_err(|refusal| refusal.reason);
    assert_eq!(own.as_ref().err(), passed.as_ref().err(), "read and passed over: {text:?}");
    if own == Err(Rejection::TooDeep) {
        let opened = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        assert!(opened > JSON_DEPTH_MAX, "{text:?}");
        return;
    }
    match (&own, &serde_json::from_str::<Tree>(text)) {
        (Ok(own), Ok(other)) => assert!(same(own, other), "{text:?}: {own:?}, {other:?}"),
        (Err(_), Err(_)) => {}
        (own, other) => panic!("{text:?}: {own:?}, {other:?}"),
    }
}

/// xorshift64*
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) as usize % end.max(1)
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }
}

const DOCUMENTS: [&str; 8] = [
    r#"{"temp_c":21.5,"vib":{"rms":0.031,"peak":-1.2e-3},"state":"running","door":false,"n":null}"#,
    "[1, -2,\t3.0 ,[],{}, [[[\"深\"]]],\r\n true]",
    r#"{"a":"\u6e29\u5ea6 \ud83d\ude00 \"\\\/\b\f\n\r\t","a":2,"":{"":""}}"#,
    r#"{"big":18446744073709551615,"more":18446744073709551616,"less":-9223372036854775808}"#,
    r#"{"long text without any escape in it":"another one, longer than eight bytes","k":[0,-0,-0.0]}"#,
    "\"冷柜 3 号机组\"",
    "  1.7976931348623e307 ",
    r#"{"ts":"2026-04-11T03:20:15Z","values":[{"id":"x","v":1},{"id":"y","v":2.50}],"ok":true}"#,
];

/// What a change puts in.
const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\\x",
    "\\\"",
    "0",
    "1",
    "9",
    "-",
    "+",
    ".",
    "e",
    "E",
    "e5",
    "1e999",
    "-1E-400",
    "0.1",
    "01",
    "NaN",
    "true",
    "tru",
    "null",
    "false",
    " ",
    "\n",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "\u{feff}",
    "温",
    "é",
    "\"a\":",
    "[[[[[[[[[[[[[[[[[[[[[[",
    "99999999999999999999",
    "{\"b\":[",
];

fn mutated(chance: &mut Chance) -> String {
    let mut chars: Vec<char> = chance.pick(&DOCUMENTS).chars().collect();
    for _ in 0..chance.below(4) {
        let at = chance.below(chars.len() + 1);
        let end = (at + chance.below(6)).min(chars.len());
        match chance.below(5) {
            0 => chars.truncate(at),
            1 => drop(chars.drain(at..end)),
            2 => {
                let again: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, again);
            }
            3 => drop(chars.splice(at..end, chance.pick(&PIECES).chars())),
            _ => drop(chars.splice(at..at, chance.pick(&PIECES).chars())),
        }
    }
    chars.into_iter().collect()
}

/// `FAULTGATE_JSON_CASES=1000000` tries as many.
fn cases() -> usize {
    std::env::var("FAULTGATE_JSON_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(20_000)
}

#[test]
fn a_document_with_changes_is_read_or_refused_as_serde_json_does() {
    DOCUMENTS.into_iter().for_each(compare);
    let mut chance = Chance(0x5eed);
    for _ in 0..cases() {
        compare(&mutated(&mut chance));
    }
}

#[test]
fn tokens_in_any_order_are_read_or_refused_as_serde_json_does() {
    let mut chance = Chance(0x7eed);
    for _ in 0..cases() {
        let count = 1 + chance.below(12);
        let text: String = (0..count).map(|_| chance.pick(&PIECES)).collect();
        compare(&text);
    }
}

#[test]
fn a_number_is_the_nearest_one() {
    let mut chance = Chance(0xfeed);
    for _ in 0..cases() {
        let digits = |chance: &mut Chance, most: usize| -> String {
            (0..=chance.below(most)).map(|_| char::from(b'0' + chance.below(10) as u8)).collect()
        };
        let mut text = format!("{}{}", chance.pick(&["", "-"]), 1 + chance.below(9));
        text.push_str(&digits(&mut chance, 20));
        if chance.below(3) > 0 {
            text = format!("{text}.{}", digits(&mut chance, 22));
        }
        if chance.below(3) == 0 {
            text = format!("{text}e{}{}", chance.pick(&["", "-", "+"]), chance.below(300));
        }
        let nearest: f64 = text.parse().expect("a number");
        match read(&text) {
            Ok(Tree::Float(own)) => assert_eq!(own.to_bits(), nearest.to_bits()),
            Ok(Tree::Int(own)) => assert_eq!(Ok(own), text.parse()),
            Err(Rejection::Undecodable) => assert!(nearest.is_infinite(), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_refused_is_told_with_its_place() {
    for (text, expected) in [
        ("{\"a\": 1,\n \"b\": nope}", "expected a value at line 2 column 7"),
        ("{\"a\": \"b\nc\"}", "a control character in a text at line 1 column 9"),
        ("[1 2]", "expected `,` or `]` at line 1 column 4"),
        ("{\"a\" 1}", "expected `:` at line 1 column 6"),
        ("{1}", "expected a key in quotes at line 1 column 2"),
        ("[1e999]", "number out of range at line 1 column 7"),
        ("1 1", "expected the end at line 1 column 3"),
    ] {
        assert_eq!(pass(text).expect_err("refused").detail, expected);
    }
}
