//! Text of a condition -> tokens with their places.

use std::ops::Range;

use super::Fault;
use crate::engine::types::time::TimeSpan;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Name(String),
    /// Without its sign: the least whole number has one digit more to it than the greatest.
    Int(u64),
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
    if let Some(found) = quoted(rest, at)? {
        return Ok(found);
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
                '`' => "write `m[\"any name\"]`".to_owned(),
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
        u64::from_str_radix(digits, 16).ok().map(Kind::Int)
    } else if word.bytes().all(|b| b.is_ascii_digit()) {
        word.parse().ok().map(Kind::Int)
    } else if let Ok(span) = TimeSpan::parse(word) {
        Some(Kind::Span(span))
    } else {
        word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Kind::Float)
    };
    if parsed.is_none() && word.ends_with(['u', 'U']) {
        return Err(Fault {
            span: at..at + end,
            code: "not-supported",
            message: "unsigned numbers are not supported".to_owned(),
            hint: format!("write `{}`", word.trim_end_matches(['u', 'U'])),
        });
    }
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

/// A text in single, double or triple quotes; `r` before it turns escapes off.
fn quoted(rest: &str, at: usize) -> Result<Option<(Kind, usize)>, Fault> {
    let Some(prefix) = rest.find(['"', '\'']) else {
        return Ok(None);
    };
    let raw = match rest.get(..prefix).unwrap_or(rest) {
        "" => false,
        "r" | "R" => true,
        "b" | "B" | "br" | "bR" | "Br" | "BR" | "rb" | "rB" | "Rb" | "RB" => {
            return Err(Fault {
                span: at..at + prefix,
                code: "not-supported",
                message: "bytes are not supported".to_owned(),
                hint: "leave the `b` away: a text".to_owned(),
            });
        }
        _ => return Ok(None),
    };
    let Some(quote) = rest.get(prefix..).and_then(|rest| rest.chars().next()) else {
        return Ok(None);
    };
    let triple = quote.to_string().repeat(3);
    let is_triple = rest.get(prefix..).is_some_and(|rest| rest.starts_with(&triple));
    let end = if is_triple { triple } else { quote.to_string() };
    let inside = prefix + end.len();
    let mut value = String::new();
    let mut place = inside;
    while let Some(tail) = rest.get(place..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with(&end) {
            return Ok(Some((Kind::Text(value), place + end.len())));
        }
        let first = tail.chars().next().unwrap_or(' ');
        if first == '\n' && !is_triple {
            break;
        }
        let (character, length) = match first {
            '\\' if !raw => escaped(tail).ok_or_else(|| Fault {
                span: at + place..at + place + 1,
                code: "syntax",
                message: "this escape is not supported".to_owned(),
                hint: "use \\n, \\t, \\r, \\\\, \\\", \\' or \\u6e29".to_owned(),
            })?,
            other => (other, other.len_utf8()),
        };
        value.push(character);
        place += length;
    }
    Err(Fault {
        span: at..at + 1,
        code: "syntax",
        message: "the text is not closed".to_owned(),
        hint: format!("add a {end}"),
    })
}

/// The character that an escape at the beginning of `tail` stands for, and the escape's length.
fn escaped(tail: &str) -> Option<(char, usize)> {
    let code = |from: usize, digits: usize, radix: u32| {
        let text = tail.get(from..from + digits)?;
        let all = text.chars().all(|digit| digit.is_digit(radix));
        let code = u32::from_str_radix(text, radix).ok().filter(|_| all)?;
        Some((char::from_u32(code)?, from + digits))
    };
    let plain = |character: char| Some((character, 2));
    match tail.chars().nth(1)? {
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'v' => plain('\u{b}'),
        'f' => plain('\u{c}'),
        same @ ('\\' | '"' | '\'' | '`' | '?') => plain(same),
        'x' | 'X' => code(2, 2, 16),
        'u' => code(2, 4, 16),
        'U' => code(2, 8, 16),
        '0'..='3' => code(1, 3, 8),
        _ => None,
    }
}
