//! What can be said of a condition from its text alone: what it names, and when it can hold.

use std::collections::BTreeSet;
use std::ops::Range as Bytes;

use super::linear::{self, Params};
use super::parse::{self, Expr, ExprKind};
use super::reach;
use super::way::{Range, Setting};

/// The tree of a condition.
#[derive(Debug)]
pub struct Outline {
    tree: Expr,
}

/// A condition that is nothing but a metric beyond a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Name of the metric.
    pub metric: String,
    /// The constant.
    pub bound: f64,
    /// It holds above the bound, else below.
    pub above: bool,
    /// The metric as it is written.
    written: String,
    /// The constant as it is written; `None` for a plain number.
    reference: Option<String>,
}

impl Threshold {
    /// The condition that holds once the metric is back past the bound by `band`.
    pub fn back_by(&self, band: f64) -> String {
        let (sign, less) = if self.above { ("-", "<") } else { ("+", ">") };
        let metric = &self.written;
        match &self.reference {
            Some(constant) => format!("{metric} {less} {constant} {sign} {}", plain(band)),
            None => {
                let bound = if self.above { self.bound - band } else { self.bound + band };
                format!("{metric} {less} {}", plain(bound))
            }
        }
    }
}

/// A number without the dust of binary fractions.
fn plain(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Outline {
    /// Reads a condition; `None` for one with a syntax error, which the compiler tells.
    pub fn of(text: &str) -> Option<Outline> {
        parse::parse(text).ok().map(|tree| Outline { tree })
    }

    /// Why it can never hold; `None` where it may.
    pub fn never(&self, setting: &Setting<'_>) -> Option<String> {
        reach::never(&self.tree, setting)
    }

    /// True when its constants alone make it hold.
    pub fn always(&self, setting: &Setting<'_>) -> bool {
        reach::always(&self.tree, setting)
    }

    /// Where it holds together with `clear`: what is compared, and its range. Only where a part of
    /// `clear` says nothing but that range.
    pub fn overlap(&self, clear: &Outline, setting: &Setting<'_>) -> Option<(String, Range)> {
        reach::overlap(&self.tree, &clear.tree, setting)
    }

    /// The threshold that it is, where it is nothing else. `text` is what the outline was made of.
    pub fn threshold(&self, text: &str, params: &Params) -> Option<Threshold> {
        let ExprKind::Binary(operator @ ("<" | "<=" | ">" | ">="), left, right) = &self.tree.kind
        else {
            return None;
        };
        let above = operator.starts_with('>');
        let ((side, metric), constant, above) = match (linear::metric(left), linear::metric(right))
        {
            (Some(metric), None) => ((left, metric), right, above),
            (None, Some(metric)) => ((right, metric), left, !above),
            _ => return None,
        };
        let sum = linear::sum(constant, params).filter(|sum| sum.terms.is_empty())?;
        let is_number = linear::names_no_param(constant);
        let reference = (!is_number).then(|| text.get(constant.span.clone())).flatten();
        Some(Threshold {
            metric,
            bound: sum.constant,
            above,
            written: text.get(side.span.clone())?.to_owned(),
            reference: reference.map(str::to_owned),
        })
    }

    /// Goes through its parts; `enter` says whether to look into one.
    pub(super) fn visit<'e>(&'e self, enter: &mut impl FnMut(&'e Expr) -> bool) {
        visit(&self.tree, enter);
    }

    /// The parameters that it reads.
    pub fn params(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        visit(&self.tree, &mut |expr| {
            names.extend(linear::param(expr));
            true
        });
        names
    }

    /// The rules that it asks about with `raised()` and `count_raised()`, and where.
    pub fn asked(&self) -> Vec<(&str, Bytes<usize>)> {
        let mut asked = Vec::new();
        visit(&self.tree, &mut |expr| {
            if let ExprKind::Call(None, name, arguments) = &expr.kind
                && ["raised", "count_raised"].contains(&name.as_str())
                && let Some(Expr { kind: ExprKind::Text(rule), span }) = arguments.first()
            {
                asked.push((rule.as_str(), span.clone()));
            }
            true
        });
        asked
    }

    /// The metrics that it reads, and where.
    pub fn metrics(&self) -> Vec<(String, Bytes<usize>)> {
        let mut metrics = Vec::new();
        visit(&self.tree, &mut |expr| match linear::metric(expr) {
            Some(name) => {
                metrics.push((name, expr.span.clone()));
                // The parts of `a.b.c` are no metrics of their own.
                false
            }
            None => true,
        });
        metrics
    }
}

/// Goes through the tree; `enter` says whether to look below a node.
fn visit<'e>(expr: &'e Expr, enter: &mut impl FnMut(&'e Expr) -> bool) {
    if !enter(expr) {
        return;
    }
    match &expr.kind {
        ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Text(_)
        | ExprKind::Span(_)
        | ExprKind::Name(_) => {}
        ExprKind::Member(inner, _) | ExprKind::Unary(_, inner) => visit(inner, enter),
        ExprKind::Index(left, right) | ExprKind::Binary(_, left, right) => {
            visit(left, enter);
            visit(right, enter);
        }
        ExprKind::Call(object, _, arguments) => {
            object.iter().for_each(|object| visit(object, enter));
            arguments.iter().for_each(|argument| visit(argument, enter));
        }
        ExprKind::Choice(condition, yes, no) => {
            [condition, yes, no].into_iter().for_each(|part| visit(part, enter));
        }
        ExprKind::List(members) => members.iter().for_each(|member| visit(member, enter)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::types::document::Scalar;
    use crate::engine::types::time::TimeSpan;

    fn params() -> Params {
        BTreeMap::from([
            ("high".to_owned(), Scalar::Float(80.0)),
            ("mode".to_owned(), Scalar::Text("冷".to_owned())),
            ("on".to_owned(), Scalar::Bool(false)),
        ])
    }

    /// A rule about freezers in Shanghai; the rule `off` is off.
    fn with_setting<T>(look: impl FnOnce(&Setting<'_>) -> T) -> T {
        look(&Setting {
            params: &params(),
            selector: &[
                ("class".to_owned(), "freezer".to_owned()),
                ("site".to_owned(), "sh-*".to_owned()),
                ("labels.floor".to_owned(), "1".to_owned()),
            ],
            off: &BTreeSet::from(["off".to_owned()]),
            stale_after: TimeSpan::from_secs(600),
            delay: TimeSpan::from_secs(60),
        })
    }

    fn never(text: &str) -> bool {
        with_setting(|setting| Outline::of(text).expect("a condition").never(setting)).is_some()
    }

    fn overlap(when: &str, clear: &str) -> Option<String> {
        let (when, clear) = (Outline::of(when)?, Outline::of(clear)?);
        let found = with_setting(|setting| when.overlap(&clear, setting));
        found.map(|(name, range)| format!("{name} {range}"))
    }

    #[test]
    fn a_condition_that_contradicts_itself_can_never_hold() {
        for text in [
            "t > 80 && t < 10",
            "10 > t && t > params.high",
            "2 * t + 1 > 9 && t <= 4.0",
            "-t > 5 && t > -5",
            "a - b > 3 && b - a > 0",
            "!(t < 80 || p > 3) && t < 70",
            "t.avg(5m) > 5 && t.avg(\"5m\") < 5 && absent(1h)",
            "m[\"温 度\"] == 3 && m[\"温 度\"] == 4",
            "state == \"run\" && state == \"stop\"",
            "t > 1 && params.on",
            "params.mode == \"热\"",
            "params.high < 50 || (t >= 3 && t < 3)",
            "1 > 2",
            "state == \"run\" && state != \"run\"",
            "mode in [\"a\", \"b\"] && mode == \"c\"",
            "!(mode in [\"a\", \"b\"]) && mode == \"b\"",
        ] {
            assert!(never(text), "{text}");
        }
    }

    #[test]
    fn what_no_device_of_the_rule_can_say_is_told() {
        for text in [
            "t.stddev(5m) < 0",
            "t.count(1h) <= -1 || 0 > t.age()",
            "device.class == \"pump\"",
            "device.class != \"freezer\" && t > 1",
            "device.site in [\"bj-1\", \"bj-2\"]",
            "device.labels.floor == \"2\" || device.labels[\"floor\"] == \"3\"",
            "raised(\"off\")",
            "absent(10m) && t > 1",
            "absent(\"1h\") && t.avg(5m) > 1",
            "absent(1h) && state.contains(\"x\")",
            "t.age() > 600 && t > 1",
        ] {
            assert!(never(text), "{text}");
        }
        for text in [
            "t.stddev(5m) <= 0",
            "t.count(1h) < 1",
            "t.delta(1h) < 0",
            "device.class == \"freezer\" && device.site == \"sh-3\"",
            "device.class != \"pump\" && device.site != \"sh-1\"",
            "device.region == \"east\"",
            "!raised(\"off\") && t > 1",
            "raised(\"on\")",
            "absent(9m) && t > 1",
            "absent(1h) || t > 1",
            "!absent(1h) && t > 1",
            "absent(1h) && t.age() > 1",
            "absent(1h) && (offline() ? t > 1 : true)",
            "t.age() >= 600 && t > 1",
            "t.age() > 600 && u > 1",
        ] {
            assert!(!never(text), "{text}");
        }
    }

    #[test]
    fn a_condition_that_may_hold_is_left_alone() {
        for text in [
            "t > 10 && t < 80",
            "t >= 3 && t <= 3",
            "t > 80 || t < 10",
            "t > 80 && p < 10",
            "t > 80 && t.avg(5m) < 10",
            "t.avg(5m) > 80 && t.avg(1h) < 10",
            "t / 2 > 3 && t < 7",
            "t != 3 && t != 4",
            "t > x && t < 10",
            "state == \"run\" && state != \"stop\"",
            "params.on || t > 1",
            "raised(\"a\") && !raised(\"a\")",
            "t",
        ] {
            assert!(!never(text), "{text}");
        }
    }

    #[test]
    fn a_dead_band_of_the_wrong_sign_is_told_with_its_range() {
        for (when, clear, range) in [
            ("t > 80", "t < 90", "t between 80 and 90"),
            ("t < -12", "t > -14", "t between -14 and -12"),
            ("t > params.high", "t < params.high + 2.0", "t between 80 and 82"),
            ("params.high < t", "t > 70", "t above 80"),
            ("t > 80 && p > 1", "t < 85 || p < 1", "t between 80 and 85"),
            ("a > b + 4", "a < b + 6.0", "a - b between 4 and 6"),
            ("t >= 3", "t < 5", "t between 3 and 5"),
            ("t > 8 || t < 2", "t < 9 && t > 1", "t between 8 and 9"),
        ] {
            assert_eq!(overlap(when, clear).as_deref(), Some(range), "{when} | {clear}");
        }
    }

    #[test]
    fn a_dead_band_that_is_right_or_cannot_be_told_is_left_alone() {
        for (when, clear) in [
            ("t > 80", "t < 75"),
            ("t > 80", "t <= 80"),
            ("n > 3", "n < 4"),
            ("n > 8 || n < 2", "n <= 8 && n > 1"),
            ("t > 80 || t < 10", "t > 15 && t < 75"),
            ("t > 80", "t < 90 && p < 3"),
            ("t > 80", "p < 3"),
            ("t > 80", "t.max(10m) < 90"),
            ("mode == 1 && t > 80", "mode != 1 || t < 70"),
            ("a > b + 4", "a < b + 2"),
        ] {
            assert_eq!(overlap(when, clear), None, "{when} | {clear}");
        }
    }

    #[test]
    fn the_return_past_a_band_is_written_as_the_threshold_is() {
        for (when, back) in [
            ("t > 80", "t < 79.7"),
            ("80.5 < t", "t < 80.2"),
            ("m[\"温 度\"] <= -12", "m[\"温 度\"] > -11.7"),
            ("t >= params.high", "t < params.high - 0.3"),
            ("t < params.high - 2", "t > params.high - 2 + 0.3"),
        ] {
            let threshold =
                Outline::of(when).and_then(|when_of| when_of.threshold(when, &params()));
            assert_eq!(threshold.map(|found| found.back_by(0.3)).as_deref(), Some(back), "{when}");
        }
        for other in ["t > 80 && p > 1", "t.avg(5m) > 3", "t > p", "t == 3", "t + 1 > 3"] {
            let threshold = Outline::of(other).and_then(|of| of.threshold(other, &params()));
            assert_eq!(threshold, None, "{other}");
        }
    }

    #[test]
    fn metrics_and_parameters_are_found_where_they_stand() {
        let outline =
            Outline::of("a.b > params.high && m[\"温\"].avg(5m) > 1 ? device.id == x : y")
                .expect("a condition");
        let names: Vec<String> = outline.metrics().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a.b", "温", "x", "y"]);
        assert_eq!(outline.metrics()[0].1, 0..3);
        assert_eq!(outline.params().into_iter().collect::<Vec<_>>(), ["high"]);
    }
}
