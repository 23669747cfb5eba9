//! Text of a condition -> tokens with their places.

use std::ops::Range;

use super::Fault;
use crate::engine::types::time::TimeSpan;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Int(i64),
    Float(f64),
    Text(String),
    Span(TimeSpan),
    Sign(&'static str),
    End,
}

/// A token and the bytes of the condition that it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

/// Longest signs first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    "[", "]", "{", "}", ",", ".",
];

/// All tokens of `text`, ended by [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut list = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let space = rest.len() - rest.trim_start().len();
        if space > 0 {
            at += space;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (kind, length) = token(rest, at)?;
        list.push(Token { kind, span: at..at + length });
        at += length;
    }
    list.push(Token { kind: Kind::End, span: text.len()..text.len() });
    Ok(list)
}

fn token(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if first == '"' || first == '\'' {
        return text(rest, first, at);
    }
    if first == '_' || first.is_alphabetic() {
        let end = rest.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or(rest);
        return Ok((Kind::Name(name.to_owned()), end));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(Fault {
            span: at..at + first.len_utf8(),
            code: "syntax",
            message: format!("`{first}` has no meaning here"),
            hint: match first {
                '=' => "write `==` to compare".to_owned(),
                '&' => "write `&&`".to_owned(),
                '|' => "write `||`".to_owned(),
                '≥' => "write `>=`".to_owned(),
                '≤' => "write `<=`".to_owned(),
                _ => String::new(),
            },
        }),
    }
}

/// An integer, a float, or a length of time such as `10m` and `1h30m`.
fn number(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len());
    let mut end = word;
    let head = rest.get(..end).unwrap_or(rest);
    // An exponent may carry a sign: `1e-3`.
    if head.ends_with(['e', 'E'])
        && let Some(tail) = rest.get(end..).and_then(|tail| tail.strip_prefix(['+', '-']))
    {
        end += 1 + tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    }
    let mut word = rest.get(..end).unwrap_or(rest);
    // `1.method()` is no number that anybody writes, but `5.` would swallow the dot.
    if let Some(bare) = word.strip_suffix('.') {
        word = bare;
        end -= 1;
    }
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let parsed = if let Some(digits) = hexadecimal {
        i64::from_str_radix(digits, 16).ok().map(Kind::Int)
    } else if word.bytes().all(|b| b.is_ascii_digit()) {
        word.parse().ok().map(Kind::Int)
    } else if let Ok(span) = TimeSpan::parse(word) {
        Some(Kind::Span(span))
    } else {
        word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Kind::Float)
    };
    match parsed {
        Some(kind) => Ok((kind, end)),
        None => Err(Fault {
            span: at..at + end,
            code: "syntax",
            message: format!("`{word}` is neither a number nor a duration"),
            hint: "for example 80, -12.5, 1e-3, 10m, 1h30m".to_owned(),
        }),
    }
}

/// A text in single or double quotes, with the escapes of CEL.
fn text(rest: &str, quote: char, at: usize) -> Result<(Kind, usize), Fault> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Kind::Text(value), index + 1)),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, escaped @ ('\\' | '"' | '\'' | '`' | '?'))) => value.push(escaped),
                _ => {
                    return Err(Fault {
                        span: at + index..at + index + 1,
                        code: "syntax",
                        message: "this escape is not supported".to_owned(),
                        hint: "use \\n, \\t, \\r, \\\\, \\\" or \\'".to_owned(),
                    });
                }
            },
            _ => value.push(c),
        }
    }
    Err(Fault {
        span: at..at + 1,
        code: "syntax",
        message: "the text is not closed".to_owned(),
        hint: format!("add a {quote}"),
    })
}
