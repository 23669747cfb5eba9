//! Functions: of CEL, of the device, and of a metric's past.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the forms that mean something are listed; everything else is a mistake"
)]

use super::WINDOW_MAX;
use super::compile::{Compiler, NOTHING, Type};
use super::ir::{Constant, Conversion, Learning, LearningKind, Node, TextTest, WindowFunction};
use super::parse::{Expr, ExprKind};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::Word;
use crate::engine::types::names::{MetricId, RuleId};
use crate::engine::types::rule::Among;
use crate::engine::types::time::TimeSpan;

/// Functions on a metric, for hints.
const METHODS: [&str; 15] = [
    "avg",
    "min",
    "max",
    "sum",
    "count",
    "stddev",
    "rate",
    "delta",
    "prev",
    "changed",
    "age",
    "stuck",
    "ewma",
    "zscore",
    "deviation",
];
/// Functions that stand alone, for hints.
const FUNCTIONS: [&str; 9] =
    ["absent", "offline", "raised", "count_raised", "size", "double", "int", "string", "duration"];
/// Functions and macros of CEL that conditions do not have.
const OF_CEL: [&str; 29] = [
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
    "has",
    "matches",
    "type",
    "dyn",
    "bool",
    "bytes",
    "uint",
    "timestamp",
    "list",
    "null_type",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "charAt",
    "indexOf",
    "replace",
    "split",
];

impl Compiler<'_, '_> {
    /// Says that a function of CEL is missing; false for any other name.
    fn is_missing(&mut self, expr: &Expr, name: &str) -> bool {
        let missing = OF_CEL.contains(&name);
        if missing {
            let message = format!("`{name}` of CEL is not supported");
            let hint = match name {
                "matches" => "use `startsWith`, `endsWith` or `contains`",
                _ => "`docs/conditions.md` lists what is supported",
            };
            self.fault(&expr.span, "not-supported", message, hint);
        }
        missing
    }

    pub(super) fn function(&mut self, expr: &Expr, name: &str, arguments: &[Expr]) -> (Node, Type) {
        match (name, arguments) {
            ("absent", [span]) => {
                self.condition.reads_absence = true;
                self.condition.reads_time = true;
                (Node::Absent(self.window(span)), Type::Bool)
            }
            ("offline", []) => (Node::Offline, Type::Bool),
            ("raised", [rule]) => self.raised(rule),
            ("size", [text]) => (Node::Size(Box::new(self.typed(text, Type::Text))), Type::Number),
            ("double", [value]) => self.convert(Conversion::Double, value, Type::Number),
            ("int", [value]) => self.convert(Conversion::Int, value, Type::Number),
            ("string", [value]) => self.convert(Conversion::Text, value, Type::Text),
            ("duration", [span]) => (Node::Constant(Constant::Span(self.window(span))), Type::Span),
            ("count_raised", [rule, among]) => self.count_raised(rule, among),
            (name, _) if FUNCTIONS.contains(&name) => {
                let message = format!("`{name}` does not take {} arguments", arguments.len());
                self.fault(&expr.span, "wrong-arguments", message, "");
                NOTHING
            }
            (name, _) if self.is_missing(expr, name) => NOTHING,
            (name, _) => {
                let message = format!("there is no function `{name}`");
                let hint = if METHODS.contains(&name) {
                    format!("write it after a metric: `temp_c.{name}(...)`")
                } else {
                    did_you_mean(name, &FUNCTIONS)
                };
                self.fault(&expr.span, "unknown-function", message, hint);
                NOTHING
            }
        }
    }

    fn convert(&mut self, conversion: Conversion, value: &Expr, kind: Type) -> (Node, Type) {
        let (value, _) = self.node(value);
        (Node::Convert(conversion, Box::new(value)), kind)
    }

    fn raised(&mut self, rule: &Expr) -> (Node, Type) {
        let Some(rule) = self.rule(rule) else {
            return NOTHING;
        };
        self.condition.rules.push(rule);
        (Node::Raised(rule), Type::Bool)
    }

    fn count_raised(&mut self, rule: &Expr, among: &Expr) -> (Node, Type) {
        let named = match &among.kind {
            ExprKind::Text(word) => Among::parse_word(word),
            _ => None,
        };
        if named.is_none() {
            let message = "`count_raised` counts among the devices of a site, a region or a class";
            let hint = "write `\"site\"`, `\"region\"` or `\"class\"`";
            self.fault(&among.span, "wrong-value", message, hint);
        }
        let (Some(rule), Some(among)) = (self.rule(rule), named) else {
            return NOTHING;
        };
        self.condition.counts.push((rule, among));
        (Node::CountRaised(rule, among), Type::Number)
    }

    /// A rule that is named by its id.
    fn rule(&mut self, rule: &Expr) -> Option<RuleId> {
        let ExprKind::Text(id) = &rule.kind else {
            let hint = "for example `raised(\"site-power-lost\")`";
            self.fault(&rule.span, "wrong-type", "the id of a rule is a text", hint);
            return None;
        };
        let found = self.scope.rules.find(id);
        if found.is_none() {
            let known: Vec<&str> = self.scope.rules.texts().collect();
            let hint = did_you_mean(id, &known);
            let message = format!("there is no rule `{id}`");
            self.fault(&rule.span, "unknown-reference", message, hint);
        }
        found
    }

    pub(super) fn method(
        &mut self,
        expr: &Expr,
        object: &Expr,
        name: &str,
        arguments: &[Expr],
    ) -> (Node, Type) {
        let test = match name {
            "startsWith" => Some(TextTest::StartsWith),
            "endsWith" => Some(TextTest::EndsWith),
            "contains" => Some(TextTest::Contains),
            _ => None,
        };
        if let (Some(test), [part]) = (test, arguments) {
            let text = self.typed(object, Type::Text);
            let part = self.typed(part, Type::Text);
            return (Node::TextTest(test, Box::new(text), Box::new(part)), Type::Bool);
        }
        if let ("size", []) = (name, arguments) {
            return (Node::Size(Box::new(self.typed(object, Type::Text))), Type::Number);
        }
        if self.is_missing(expr, name) {
            return NOTHING;
        }
        if !METHODS.contains(&name) {
            let message = format!("there is no function `{name}`");
            let mut known = METHODS.to_vec();
            known.extend(["startsWith", "endsWith", "contains", "size"]);
            self.fault(&expr.span, "unknown-function", message, did_you_mean(name, &known));
            return NOTHING;
        }
        let Some(metric) = self.object(object) else {
            let message = format!("`{name}` is a function of a metric");
            self.fault(&object.span, "wrong-type", message, "for example `temp_c.avg(5m)`");
            return NOTHING;
        };
        match self.history(metric, name, arguments) {
            Some(found) => found,
            None => {
                let message = format!("`{name}` does not take {} arguments", arguments.len());
                let hint = match name {
                    "prev" | "changed" | "age" => format!("write `{name}()`"),
                    "deviation" => "write `deviation(1m, 10m)`: short, then long".to_owned(),
                    _ => format!("write `{name}(5m)`"),
                };
                self.fault(&expr.span, "wrong-arguments", message, hint);
                NOTHING
            }
        }
    }

    /// The metric that a method is called on.
    fn object(&mut self, object: &Expr) -> Option<MetricId> {
        match self.node(object) {
            (Node::Metric(metric), _) => Some(metric),
            _ => None,
        }
    }

    fn history(
        &mut self,
        metric: MetricId,
        name: &str,
        arguments: &[Expr],
    ) -> Option<(Node, Type)> {
        let function = match (name, arguments) {
            ("prev", []) => {
                self.condition.looked_back.push(metric);
                return Some((Node::Previous(metric), Type::Open));
            }
            ("changed", []) => {
                self.condition.looked_back.push(metric);
                return Some((Node::Changed(metric), Type::Bool));
            }
            ("age", []) => {
                self.condition.reads_time = true;
                return Some((Node::Age(metric), Type::Number));
            }
            ("deviation", [short, long]) => {
                self.condition.reads_time = true;
                let (short, long) = (self.window(short), self.window(long));
                return Some(self.learn(metric, LearningKind::Band { short, long }));
            }
            ("zscore", [over]) => {
                let over = self.window(over);
                return Some(self.learn(metric, LearningKind::Score { over }));
            }
            ("ewma", [over]) => {
                let over = self.window(over);
                return Some(self.learn(metric, LearningKind::Mean { over }));
            }
            ("avg", [_]) => WindowFunction::Average,
            ("min", [_]) => WindowFunction::Minimum,
            ("max", [_]) => WindowFunction::Maximum,
            ("sum", [_]) => WindowFunction::Sum,
            ("count", [_]) => WindowFunction::Count,
            ("stddev", [_]) => WindowFunction::Deviation,
            ("rate", [_]) => WindowFunction::Rate,
            ("delta", [_]) => WindowFunction::Delta,
            ("stuck", [_]) => WindowFunction::Stuck,
            _ => return None,
        };
        let window = self.window(arguments.first()?);
        self.condition.windows.push((metric, window));
        self.condition.reads_time = true;
        let kind = if function == WindowFunction::Stuck { Type::Bool } else { Type::Number };
        Some((Node::Window(function, metric, window), kind))
    }

    fn learn(&mut self, metric: MetricId, kind: LearningKind) -> (Node, Type) {
        let place = self.condition.learning.len();
        self.condition.learning.push(Learning { metric, kind });
        (Node::Learned(metric, place), Type::Number)
    }

    /// A length of time that is known now: `10m` or `"10m"`, at most seven days.
    fn window(&mut self, expr: &Expr) -> TimeSpan {
        let span = match &expr.kind {
            ExprKind::Span(span) => Some(*span),
            ExprKind::Text(text) => TimeSpan::parse(text).ok(),
            _ => None,
        };
        match span {
            Some(span) if span > TimeSpan::ZERO && span <= WINDOW_MAX => span,
            Some(_) => {
                let message = "a window is longer than 0s and at most 7d";
                self.fault(&expr.span, "out-of-range", message, "");
                WINDOW_MAX
            }
            None => {
                let message = "a window is a duration that is written here";
                self.fault(&expr.span, "wrong-type", message, "for example `5m` or `1h30m`");
                WINDOW_MAX
            }
        }
    }
}
