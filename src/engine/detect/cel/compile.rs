//! Tree -> operations: names become slots, types are checked as far as they are known.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the forms that mean something are listed; everything else is a mistake"
)]

use std::ops::Range;

use super::fold;
use super::ir::{Arithmetic, Attribute, Comparison, Constant, Node};
use super::parse::{Expr, ExprKind};
use super::{CompileScope, Condition, Fault, NODES_MAX};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::Scalar;
use crate::engine::types::names::MetricId;

/// What is known of a value before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Number,
    Text,
    Time,
    Span,
    /// A metric: any of the above, told when it is read.
    Open,
}

impl Type {
    fn word(self) -> &'static str {
        match self {
            Type::Bool => "true or false",
            Type::Number => "a number",
            Type::Text => "a text",
            Type::Time => "a time",
            Type::Span => "a duration",
            Type::Open => "a metric",
        }
    }
}

/// Attributes of a device, for hints.
const ATTRIBUTES: [&str; 6] = ["id", "class", "site", "region", "customer", "labels"];

pub(super) fn compile(tree: &Expr, scope: &mut CompileScope<'_>) -> Result<Condition, Vec<Fault>> {
    let mut compiler = Compiler {
        scope,
        faults: Vec::new(),
        nodes: 0,
        condition: Condition {
            root: Node::Constant(Constant::Bool(false)),
            metrics: Vec::new(),
            looked_back: Vec::new(),
            windows: Vec::new(),
            learning: Vec::new(),
            rules: Vec::new(),
            counts: Vec::new(),
            reads_absence: false,
            reads_time: false,
            parts: 0,
        },
    };
    let (root, kind) = compiler.node(tree);
    if !matches!(kind, Type::Bool | Type::Open) {
        let message = format!("a condition is true or false, but this is {}", kind.word());
        compiler.fault(&tree.span, "wrong-type", message, "compare it, e.g. `> 80`");
    }
    if compiler.nodes > NODES_MAX {
        let message = format!("the condition has {} parts, more than {NODES_MAX}", compiler.nodes);
        compiler.fault(&tree.span, "too-dear", message, "split it into several rules");
    }
    if compiler.faults.is_empty() {
        Ok(Condition { root, parts: compiler.nodes, ..compiler.condition })
    } else {
        Err(compiler.faults)
    }
}

pub(super) struct Compiler<'a, 'b> {
    pub(super) scope: &'a mut CompileScope<'b>,
    faults: Vec<Fault>,
    nodes: usize,
    pub(super) condition: Condition,
}

/// Stands where a mistake was; a condition with a mistake is never evaluated.
pub(super) const NOTHING: (Node, Type) = (Node::Now, Type::Open);

impl Compiler<'_, '_> {
    pub(super) fn fault(
        &mut self,
        span: &Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let span = span.clone();
        self.faults.push(Fault { span, code, message: message.into(), hint: hint.into() });
    }

    pub(super) fn node(&mut self, expr: &Expr) -> (Node, Type) {
        self.nodes += 1;
        let (node, kind) = self.plain_node(expr);
        (fold::fold(node), kind)
    }

    fn plain_node(&mut self, expr: &Expr) -> (Node, Type) {
        match &expr.kind {
            ExprKind::Bool(flag) => (Node::Constant(Constant::Bool(*flag)), Type::Bool),
            ExprKind::Int(number) => (Node::Constant(Constant::Int(*number)), Type::Number),
            ExprKind::Float(number) => (Node::Constant(Constant::Float(*number)), Type::Number),
            ExprKind::Text(text) => {
                (Node::Constant(Constant::Text(text.as_str().into())), Type::Text)
            }
            ExprKind::Span(span) => (Node::Constant(Constant::Span(*span)), Type::Span),
            ExprKind::Name(name) => self.name(expr, name),
            ExprKind::Member(object, name) => self.member(expr, object, name),
            ExprKind::Index(object, index) => self.index(expr, object, index),
            ExprKind::Call(None, name, arguments) => self.function(expr, name, arguments),
            ExprKind::Call(Some(object), name, arguments) => {
                self.method(expr, object, name, arguments)
            }
            ExprKind::Unary("!", inner) => {
                let inner = self.typed(inner, Type::Bool);
                (Node::Not(Box::new(inner)), Type::Bool)
            }
            ExprKind::Unary(_, inner) => {
                let inner = self.typed(inner, Type::Number);
                (Node::Negate(Box::new(inner)), Type::Number)
            }
            ExprKind::Binary(operator, left, right) => self.binary(expr, operator, left, right),
            ExprKind::Choice(condition, yes, no) => {
                let condition = self.typed(condition, Type::Bool);
                let (yes, kind) = self.node(yes);
                let (no, other) = self.node(no);
                let kind = if kind == other { kind } else { Type::Open };
                (Node::Choice(Box::new(condition), Box::new(yes), Box::new(no)), kind)
            }
            ExprKind::List(_) => {
                self.fault(&expr.span, "wrong-type", "a list stands only after `in`", "");
                NOTHING
            }
        }
    }

    /// A part that must be of a type, or a metric that may be.
    pub(super) fn typed(&mut self, expr: &Expr, wanted: Type) -> Node {
        let (node, kind) = self.node(expr);
        if kind != wanted && kind != Type::Open {
            let message = format!("this is {}, but {} is needed", kind.word(), wanted.word());
            self.fault(&expr.span, "wrong-type", message, "");
        }
        node
    }

    fn name(&mut self, expr: &Expr, name: &str) -> (Node, Type) {
        match name {
            "now" => {
                self.condition.reads_time = true;
                (Node::Now, Type::Time)
            }
            "device" | "params" | "m" => {
                let message = format!("`{name}` alone is no value");
                let hint = match name {
                    "device" => "write `device.id`, `device.site` ...",
                    "params" => "write `params.NAME`",
                    _ => "write `m[\"Name of the metric\"]`",
                };
                self.fault(&expr.span, "syntax", message, hint);
                NOTHING
            }
            _ => {
                let metric = self.metric(name);
                (Node::Metric(metric), Type::Open)
            }
        }
    }

    fn metric(&mut self, name: &str) -> MetricId {
        let metric = self.scope.metrics.intern(name);
        if !self.condition.metrics.contains(&metric) {
            self.condition.metrics.push(metric);
        }
        metric
    }

    fn member(&mut self, expr: &Expr, object: &Expr, name: &str) -> (Node, Type) {
        match &object.kind {
            ExprKind::Name(root) if root == "params" => return self.param(expr, name),
            ExprKind::Name(root) if root == "device" => {
                let attribute = match name {
                    "id" => Attribute::Id,
                    "class" => Attribute::Class,
                    "site" => Attribute::Site,
                    "region" => Attribute::Region,
                    "customer" => Attribute::Customer,
                    _ => {
                        let message = format!("a device has no `{name}`");
                        let hint = did_you_mean(name, &ATTRIBUTES);
                        self.fault(&expr.span, "unknown-attribute", message, hint);
                        return NOTHING;
                    }
                };
                return (Node::Attribute(attribute), Type::Text);
            }
            ExprKind::Member(root, labels) if labels == "labels" && is_device(root) => {
                return (Node::Attribute(Attribute::Label(name.into())), Type::Text);
            }
            _ => {}
        }
        // A metric that is named by its path, `a.b.c`.
        if let Some(path) = path(expr) {
            let metric = self.metric(&path);
            return (Node::Metric(metric), Type::Open);
        }
        let hint = "metrics are `name`, `a.b` or `m[\"any name\"]`";
        self.fault(&expr.span, "syntax", format!("`.{name}` has no meaning here"), hint);
        NOTHING
    }

    fn param(&mut self, expr: &Expr, name: &str) -> (Node, Type) {
        match self.scope.params.get(name) {
            Some(Scalar::Bool(flag)) => (Node::Constant(Constant::Bool(*flag)), Type::Bool),
            Some(Scalar::Int(number)) => (Node::Constant(Constant::Int(*number)), Type::Number),
            Some(Scalar::Float(number)) => (Node::Constant(Constant::Float(*number)), Type::Number),
            Some(Scalar::Text(text)) => {
                (Node::Constant(Constant::Text(text.as_str().into())), Type::Text)
            }
            None => {
                let known: Vec<&str> = self.scope.params.keys().map(String::as_str).collect();
                let hint = match known.is_empty() {
                    true => format!("add `params = {{ {name} = 1.0 }}`"),
                    false => did_you_mean(name, &known),
                };
                let message = format!("the rule has no parameter `{name}`");
                self.fault(&expr.span, "unknown-param", message, hint);
                NOTHING
            }
        }
    }

    fn index(&mut self, expr: &Expr, object: &Expr, index: &Expr) -> (Node, Type) {
        match (&object.kind, &index.kind) {
            (ExprKind::Name(root), ExprKind::Text(name)) if root == "m" => {
                let metric = self.metric(name);
                (Node::Metric(metric), Type::Open)
            }
            (ExprKind::Member(root, labels), ExprKind::Text(name))
                if labels == "labels" && is_device(root) =>
            {
                (Node::Attribute(Attribute::Label(name.as_str().into())), Type::Text)
            }
            _ => {
                let hint = "write `m[\"Name of the metric\"]` or `device.labels[\"name\"]`";
                self.fault(&expr.span, "not-supported", "only `m` and labels take brackets", hint);
                NOTHING
            }
        }
    }

    fn binary(&mut self, expr: &Expr, operator: &str, left: &Expr, right: &Expr) -> (Node, Type) {
        match operator {
            "&&" | "||" => {
                let left = self.typed(left, Type::Bool);
                let right = self.typed(right, Type::Bool);
                (fold::join(operator == "&&", left, right), Type::Bool)
            }
            "in" => self.within(left, right),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => self.compare(expr, operator, left, right),
            _ => self.arithmetic(expr, operator, left, right),
        }
    }

    fn within(&mut self, left: &Expr, right: &Expr) -> (Node, Type) {
        let (value, _) = self.node(left);
        let ExprKind::List(members) = &right.kind else {
            self.fault(&right.span, "wrong-type", "`in` needs a list", "for example `in [1, 2]`");
            return NOTHING;
        };
        let members = members.iter().map(|member| self.node(member).0).collect();
        (Node::In(Box::new(value), members), Type::Bool)
    }

    fn compare(&mut self, expr: &Expr, operator: &str, left: &Expr, right: &Expr) -> (Node, Type) {
        let (left, a) = self.node(left);
        let (right, b) = self.node(right);
        if a != b && a != Type::Open && b != Type::Open {
            let message = format!("{} cannot be compared with {}", a.word(), b.word());
            self.fault(&expr.span, "wrong-type", message, "");
        }
        let comparison = match operator {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "==" => Comparison::Equal,
            _ => Comparison::NotEqual,
        };
        (Node::Compare(comparison, Box::new(left), Box::new(right)), Type::Bool)
    }

    fn arithmetic(
        &mut self,
        expr: &Expr,
        operator: &str,
        left: &Expr,
        right: &Expr,
    ) -> (Node, Type) {
        let (left, a) = self.node(left);
        let (right, b) = self.node(right);
        let operation = match operator {
            "+" => Arithmetic::Add,
            "-" => Arithmetic::Subtract,
            "*" => Arithmetic::Multiply,
            "/" => Arithmetic::Divide,
            _ => Arithmetic::Remainder,
        };
        let kind = match (operation, a, b) {
            (_, Type::Number, Type::Number | Type::Open) | (_, Type::Open, Type::Number) => {
                Type::Number
            }
            (_, Type::Open, Type::Open) => Type::Open,
            (Arithmetic::Add, Type::Text, Type::Text | Type::Open)
            | (Arithmetic::Add, Type::Open, Type::Text) => Type::Text,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Time | Type::Open, Type::Span) => a,
            (Arithmetic::Subtract, Type::Time, Type::Time | Type::Open) => Type::Span,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Span, Type::Span) => Type::Span,
            _ => {
                let message = format!("`{operator}` does not take {} and {}", a.word(), b.word());
                self.fault(&expr.span, "wrong-type", message, "");
                Type::Open
            }
        };
        (Node::Arithmetic(operation, Box::new(left), Box::new(right)), kind)
    }
}

fn is_device(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Name(name) if name == "device")
}

/// `a.b.c` as text, where it is nothing but names.
fn path(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Member(object, name) => Some(format!("{}.{name}", path(object)?)),
        _ => None,
    }
}
