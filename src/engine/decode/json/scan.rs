//! JSON text (RFC 8259), read from front to back: nothing is built, nothing is copied but texts
//! with escapes.
//!
//! What a caller passes over is checked like what it reads, so that a payload is refused or taken
//! whatever the rules read of it.

use std::borrow::Cow;

use super::super::scalar::Found;
use super::super::{JSON_DEPTH_MAX, Refusal};
use crate::engine::types::decision::Rejection;

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Scan<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    refusal: Option<Refusal>,
}

/// The pass has ended early; [`Scan::into_refusal`] says why. Every call returns this: it has no
/// size, so that the rest fits into registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop;

/// What an object or array ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Object,
    Array,
}

/// What begins at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begin<'t> {
    Object,
    Array,
    /// A value without parts; that of a text with escapes is [`unescape`]d.
    Scalar(Found<'t>),
    /// A text that has escapes.
    Escaped(&'t str),
}

/// A text between its quotes.
#[derive(Clone, Copy, Debug)]
enum Quoted<'t> {
    Plain(&'t str),
    Escaped(&'t str),
}

impl<'t> Scan<'t> {
    pub fn new(text: &'t str) -> Scan<'t> {
        let mut scan = Scan { text, at: 0, depth: 0, refusal: None };
        scan.skip_space();
        scan
    }

    /// Ends the pass.
    #[cold]
    pub fn refuse(&mut self, refusal: Refusal) -> Stop {
        self.refusal.get_or_insert(refusal);
        Stop
    }

    /// Why the pass ended early.
    pub fn into_refusal(self) -> Option<Refusal> {
        self.refusal
    }

    /// The value that begins here: a scalar is read, an object or array only entered.
    #[inline(always)]
    pub fn begin(&mut self) -> Result<Begin<'t>, Stop> {
        Ok(match self.byte() {
            Some(b'"') => match self.string()? {
                Quoted::Plain(text) => Begin::Scalar(Found::Text(text)),
                Quoted::Escaped(text) => Begin::Escaped(text),
            },
            Some(b'-' | b'0'..=b'9') => Begin::Scalar(self.number()?),
            Some(b'{') => {
                self.enter()?;
                Begin::Object
            }
            Some(b'[') => {
                self.enter()?;
                Begin::Array
            }
            Some(b't') => self.word("true", Found::Bool(true))?,
            Some(b'f') => self.word("false", Found::Bool(false))?,
            Some(b'n') => self.word("null", Found::Null)?,
            Some(_) | None => return Err(self.broken("expected a value")),
        })
    }

    /// True when the object or array that was entered has a first member.
    #[inline]
    pub fn first(&mut self, close: Close) -> bool {
        self.skip_space();
        !self.leaves(close)
    }

    /// True when another member follows the one that was read.
    #[inline]
    pub fn next(&mut self, close: Close) -> Result<bool, Stop> {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
            return Ok(true);
        }
        if self.leaves(close) {
            return Ok(false);
        }
        Err(self.broken(match close {
            Close::Object => "expected `,` or `}`",
            Close::Array => "expected `,` or `]`",
        }))
    }

    /// The key of a member; its value is next.
    #[inline(always)]
    pub fn key(&mut self) -> Result<Cow<'t, str>, Stop> {
        if self.byte() != Some(b'"') {
            return Err(self.broken("expected a key in quotes"));
        }
        let key = self.string()?;
        self.skip_space();
        if !self.eat(b':') {
            return Err(self.broken("expected `:`"));
        }
        self.skip_space();
        Ok(match key {
            Quoted::Plain(key) => Cow::Borrowed(key),
            Quoted::Escaped(key) => Cow::Owned(unescape(key)),
        })
    }

    /// Passes over the value that begins here.
    pub fn pass(&mut self) -> Result<(), Stop> {
        match self.begin()? {
            Begin::Scalar(_) | Begin::Escaped(_) => Ok(()),
            Begin::Object => self.pass_members(Close::Object),
            Begin::Array => self.pass_members(Close::Array),
        }
    }

    fn pass_members(&mut self, close: Close) -> Result<(), Stop> {
        let mut more = self.first(close);
        while more {
            if close == Close::Object {
                self.key()?;
            }
            self.pass()?;
            more = self.next(close)?;
        }
        Ok(())
    }

    /// Nothing may follow the document.
    pub fn end(&mut self) -> Result<(), Stop> {
        self.skip_space();
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.broken("expected the end")),
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn enter(&mut self) -> Result<(), Stop> {
        self.at += 1;
        self.depth += 1;
        if self.depth <= JSON_DEPTH_MAX {
            return Ok(());
        }
        let detail = format!("JSON nested past {JSON_DEPTH_MAX} levels");
        Err(self.refuse(Refusal::new(Rejection::TooDeep, &detail)))
    }

    #[inline]
    fn leaves(&mut self, close: Close) -> bool {
        let leaves = self.eat(match close {
            Close::Object => b'}',
            Close::Array => b']',
        });
        self.depth -= usize::from(leaves);
        leaves
    }

    #[inline]
    fn word(&mut self, word: &str, found: Found<'t>) -> Result<Begin<'t>, Stop> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.broken("expected a value"));
        }
        self.at += word.len();
        Ok(Begin::Scalar(found))
    }

    /// The text whose opening quote is here.
    #[inline(always)]
    fn string(&mut self) -> Result<Quoted<'t>, Stop> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        let (text, end) = (self.text, self.at);
        let quoted = || text.get(start..end).unwrap_or("");
        if self.eat(b'"') { Ok(Quoted::Plain(quoted())) } else { self.escaped(start) }
    }

    /// The rest of a text that began at `start` and does not end here.
    #[cold]
    fn escaped(&mut self, start: usize) -> Result<Quoted<'t>, Stop> {
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.broken("a control character in a text")),
                None => return Err(self.broken("a text without end")),
            }
            self.skip_plain();
        }
        let quoted = self.text.get(start..self.at).unwrap_or("");
        self.at += 1;
        Ok(Quoted::Escaped(quoted))
    }

    /// Goes to the next quote, backslash or control character.
    #[inline(always)]
    fn skip_plain(&mut self) {
        self.at += plain_bytes(self.text.as_bytes().get(self.at..).unwrap_or_default());
    }

    fn escape(&mut self) -> Result<(), Stop> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let Some((_, length)) = escaped_char(rest) else {
            return Err(self.broken("an escape that JSON does not have"));
        };
        self.at += length;
        Ok(())
    }

    /// The number that begins here: whole where it is written so and fits, else the nearest `f64`.
    #[inline(always)]
    fn number(&mut self) -> Result<Found<'t>, Stop> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        let mut digits = Digits::default();
        if self.eat(b'0') {
            digits.count = 1;
        } else {
            self.digits(&mut digits)?;
        }
        let mut is_whole = true;
        let whole = digits.count;
        if self.eat(b'.') {
            is_whole = false;
            self.digits(&mut digits)?;
        }
        let fraction = digits.count - whole;
        let has_exponent = self.eat(b'e') || self.eat(b'E');
        if has_exponent {
            is_whole = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits(&mut Digits::default())?;
        }
        let exact = if has_exponent { None } else { digits.exact(is_whole, fraction, is_negative) };
        match exact {
            Some(number) => Ok(number),
            None => {
                let text = self.text.get(start..self.at).unwrap_or("");
                nearest(text, is_whole).ok_or_else(|| self.broken("number out of range"))
            }
        }
    }

    /// One digit at least.
    #[inline(always)]
    fn digits(&mut self, digits: &mut Digits) -> Result<(), Stop> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            digits.value = digits.value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(self.broken("expected a digit"));
        }
        digits.count += self.at - start;
        Ok(())
    }

    #[cold]
    fn broken(&mut self, what: &str) -> Stop {
        let read = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = 1 + read.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + read.iter().rev().take_while(|byte| **byte != b'\n').count();
        let detail = format!("{what} at line {line} column {column}");
        self.refuse(Refusal::new(Rejection::Undecodable, &detail))
    }
}

/// Digits of a number, without point and sign.
#[derive(Debug, Default)]
struct Digits {
    /// What they say, if there are at most [`Digits::FIT`].
    value: u64,
    count: usize,
}

impl Digits {
    /// So many digits always fit.
    const FIT: usize = 18;
    /// Whole numbers up to here are an `f64` each.
    const EXACT_MAX: u64 = 1 << 53;

    /// The number, where that takes no rounding but that of one division of two exact numbers.
    #[inline]
    fn exact(&self, is_whole: bool, fraction: usize, is_negative: bool) -> Option<Found<'static>> {
        if self.count > Digits::FIT {
            return None;
        }
        if is_whole && !(is_negative && self.value == 0) {
            let number = i64::try_from(self.value).ok()?;
            return Some(Found::Int(if is_negative { -number } else { number }));
        }
        if self.value > Digits::EXACT_MAX {
            return None;
        }
        let number = self.value as f64 / POWERS.get(fraction)?;
        Some(Found::Float(if is_negative { -number } else { number }))
    }
}

/// Powers of ten that are an `f64` each.
const POWERS: [f64; Digits::FIT + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Any other number; `None` past what an `f64` holds.
#[cold]
fn nearest(text: &str, is_whole: bool) -> Option<Found<'static>> {
    if is_whole
        && text != "-0"
        && let Ok(number) = text.parse()
    {
        return Some(Found::Int(number));
    }
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Found::Float)
}

/// What a text with right escapes says.
pub(super) fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((plain, _)) = rest.split_once('\\') {
        text.push_str(plain);
        let escape = rest.get(plain.len()..).unwrap_or("");
        let Some((escaped, length)) = escaped_char(escape) else { break };
        text.push(escaped);
        rest = escape.get(length..).unwrap_or("");
    }
    text.push_str(rest);
    text
}

/// The character that the escape at the beginning of `text` stands for, and its length.
fn escaped_char(text: &str) -> Option<(char, usize)> {
    let hex = |at: usize| {
        let digits = text.get(at..at + 4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let escaped = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex(2)?;
            if let Some(escaped) = char::from_u32(first) {
                return Some((escaped, 6));
            }
            // A character past U+FFFF is two halves.
            let second = hex(8).filter(|_| text.get(6..8) == Some("\\u"))?;
            let halves = (first.checked_sub(0xD800)?, second.checked_sub(0xDC00)?);
            let is_pair = halves.0 < 0x400 && halves.1 < 0x400;
            let code = 0x1_0000 + (halves.0 << 10) + halves.1;
            return char::from_u32(code).filter(|_| is_pair).map(|escaped| (escaped, 12));
        }
        _ => return None,
    };
    Some((escaped, 2))
}

/// How many bytes come before the first quote, backslash or control character: eight at a time.
#[inline(always)]
fn plain_bytes(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (place, eight) in eights.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*eight));
        if marks != 0 {
            return place * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    bytes.len() - rest.len() + in_rest.unwrap_or(rest.len())
}

/// The high bit of each byte that ends plain text. Bits above the first may be wrong: the
/// subtraction borrows from the next byte.
#[inline(always)]
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

#[cfg(test)]
mod tests;
