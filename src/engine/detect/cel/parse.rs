//! Tokens -> tree, by the precedence of CEL: `?:`, `||`, `&&`, relations, `+ -`, `* / %`, unary.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the grammar names what may come next; everything else is a mistake"
)]

use std::ops::Range;

use super::token::{Kind, Token, tokens};
use super::{Fault, NESTING_MAX, NODES_MAX, SOURCE_BYTES_MAX};
use crate::engine::types::time::TimeSpan;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub kind: ExprKind,
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ExprKind {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Span(TimeSpan),
    Name(String),
    Member(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Call(Option<Box<Expr>>, String, Vec<Expr>),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
}

/// Parses a whole condition.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > SOURCE_BYTES_MAX {
        return Err(Fault {
            span: 0..text.len(),
            code: "too-long",
            message: format!("a condition has at most {SOURCE_BYTES_MAX} bytes"),
            hint: "split it into several rules".to_owned(),
        });
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, nodes: 0 };
    let expr = parser.choice()?;
    match parser.peek() {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("the condition should end here")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    nodes: usize,
}

/// Binary operators by precedence, loosest first.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["<", "<=", ">", ">=", "==", "!=", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |token| &token.kind)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0..0, |token| token.span.clone())
    }

    fn next(&mut self) -> (Kind, Range<usize>) {
        let token = (self.peek().clone(), self.span());
        self.at += 1;
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Kind::Sign(found) if *found == sign);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<Range<usize>, Fault> {
        let span = self.span();
        if self.takes(sign) {
            Ok(span)
        } else {
            Err(self.unexpected(&format!("`{sign}` is missing")))
        }
    }

    fn unexpected(&self, message: &str) -> Fault {
        let hint = match self.peek() {
            Kind::Name(name) if name == "and" => "write `&&`".to_owned(),
            Kind::Name(name) if name == "or" => "write `||`".to_owned(),
            Kind::Name(name) if name == "not" => "write `!`".to_owned(),
            _ => String::new(),
        };
        Fault { span: self.span(), code: "syntax", message: message.to_owned(), hint }
    }

    fn not_supported(&self, span: Range<usize>, what: &str, hint: &str) -> Fault {
        let be = if what.ends_with('s') { "are" } else { "is" };
        let message = format!("{what} {be} not supported");
        Fault { span, code: "not-supported", message, hint: hint.to_owned() }
    }

    /// Every nested part passes here: the bound that keeps the stack safe.
    fn choice(&mut self) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(Fault {
                span: self.span(),
                code: "too-deep",
                message: format!("a condition is nested at most {NESTING_MAX} levels deep"),
                hint: "split it into several rules".to_owned(),
            });
        }
        let condition = self.binary(0)?;
        let expr = if self.takes("?") {
            let yes = self.choice()?;
            self.expect(":")?;
            let no = self.choice()?;
            let span = condition.span.start..no.span.end;
            let kind = ExprKind::Choice(Box::new(condition), Box::new(yes), Box::new(no));
            Expr { kind, span }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Fault> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            self.count()?;
            self.at += 1;
            let right = self.binary(level + 1)?;
            let span = left.span.start..right.span.end;
            left = Expr { kind: ExprKind::Binary(operator, Box::new(left), Box::new(right)), span };
        }
        Ok(left)
    }

    /// A chain without brackets makes a deep tree too: it ends before the stack does.
    fn count(&mut self) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let message = format!("the condition has more than {NODES_MAX} parts");
        let hint = "split it into several rules".to_owned();
        Err(Fault { span: self.span(), code: "too-dear", message, hint })
    }

    fn operator(&self, operators: &[&'static str]) -> Option<&'static str> {
        let word = match self.peek() {
            Kind::Sign(sign) => *sign,
            Kind::Name(name) if name == "in" => "in",
            _ => return None,
        };
        operators.iter().find(|operator| **operator == word).copied()
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let mut signs = Vec::new();
        while signs.len() < NESTING_MAX {
            if self.takes("!") {
                signs.push("!");
            } else if self.takes("-") {
                signs.push("-");
            } else {
                break;
            }
            self.count()?;
        }
        let least =
            signs.last() == Some(&"-") && *self.peek() == Kind::Int(i64::MIN.unsigned_abs());
        let mut expr = if least {
            signs.pop();
            Expr { kind: ExprKind::Int(i64::MIN), span: self.next().1 }
        } else {
            self.postfix()?
        };
        while let Some(sign) = signs.pop() {
            let span = start..expr.span.end;
            expr = Expr { kind: ExprKind::Unary(sign, Box::new(expr)), span };
        }
        Ok(expr)
    }

    fn postfix(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.primary()?;
        for _ in 0..NESTING_MAX {
            if self.takes(".") {
                let (kind, span) = self.next();
                let Kind::Name(name) = kind else {
                    self.at -= 1;
                    return Err(self.unexpected("a name is missing after the dot"));
                };
                let start = expr.span.start;
                if self.takes("(") {
                    let (arguments, end) = self.arguments(")")?;
                    let kind = ExprKind::Call(Some(Box::new(expr)), name, arguments);
                    expr = Expr { kind, span: start..end };
                } else {
                    if matches!(self.peek(), Kind::Sign("{")) {
                        return Err(self.not_supported(span, "messages", ""));
                    }
                    let kind = ExprKind::Member(Box::new(expr), name);
                    expr = Expr { kind, span: start..span.end };
                }
            } else if self.takes("[") {
                let index = self.choice()?;
                let end = self.expect("]")?.end;
                let span = expr.span.start..end;
                expr = Expr { kind: ExprKind::Index(Box::new(expr), Box::new(index)), span };
            } else {
                return Ok(expr);
            }
        }
        Err(self.unexpected("too many parts"))
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        self.count()?;
        let (kind, span) = self.next();
        let kind = match kind {
            Kind::Int(number) => match i64::try_from(number) {
                Ok(number) => ExprKind::Int(number),
                Err(_) => {
                    let message = format!("`{number}` is too large for a whole number");
                    let hint = format!("write `{number}.0`");
                    return Err(Fault { span, code: "out-of-range", message, hint });
                }
            },
            Kind::Float(number) => ExprKind::Float(number),
            Kind::Text(text) => ExprKind::Text(text),
            Kind::Span(time) => ExprKind::Span(time),
            Kind::Name(name) if name == "true" => ExprKind::Bool(true),
            Kind::Name(name) if name == "false" => ExprKind::Bool(false),
            Kind::Name(name) if name == "null" => {
                return Err(self.not_supported(span, "`null`", "a metric always has a value"));
            }
            Kind::Name(_) if matches!(self.peek(), Kind::Sign("{")) => {
                return Err(self.not_supported(span, "messages", ""));
            }
            Kind::Sign("{") => return Err(self.not_supported(span, "maps", "")),
            Kind::Sign(".") => {
                return Err(self.not_supported(span, "a dot before a name", "leave it away"));
            }
            Kind::Name(name) if self.takes("(") => {
                let (arguments, end) = self.arguments(")")?;
                let kind = ExprKind::Call(None, name, arguments);
                return Ok(Expr { kind, span: span.start..end });
            }
            Kind::Name(name) => ExprKind::Name(name),
            Kind::Sign("(") => {
                let inner = self.choice()?;
                let end = self.expect(")")?.end;
                return Ok(Expr { kind: inner.kind, span: span.start..end });
            }
            Kind::Sign("[") => {
                let (members, end) = self.arguments("]")?;
                return Ok(Expr { kind: ExprKind::List(members), span: span.start..end });
            }
            Kind::Sign(_) | Kind::End => {
                self.at -= 1;
                return Err(self.unexpected("a value is missing here"));
            }
        };
        Ok(Expr { kind, span })
    }

    fn arguments(&mut self, end: &'static str) -> Result<(Vec<Expr>, usize), Fault> {
        let mut list = Vec::new();
        let close = self.span();
        if self.takes(end) {
            return Ok((list, close.end));
        }
        loop {
            list.push(self.choice()?);
            if !self.takes(",") {
                return Ok((list, self.expect(end)?.end));
            }
        }
    }
}
