//! The constants that a condition compares metrics with, for the lines of a plot.

use super::linear::{self, Params};
use super::outline::Outline;
use super::parse::ExprKind;

/// Functions of a metric's past that are in the metric's own unit.
const SAME_UNIT: [&str; 5] = ["avg", "min", "max", "prev", "ewma"];

/// A constant that a metric, or its recent mean, least or greatest value, is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Name of the metric.
    pub metric: String,
    /// The constant.
    pub level: f64,
}

impl Outline {
    /// What metrics are compared with by `<`, `<=`, `>` and `>=`, in the order in which it stands
    /// there: `2 * t + 1 > 9` has `t` at 4. What is compared with another metric has no level.
    pub fn limits(&self, params: &Params) -> Vec<Limit> {
        let metrics: Vec<String> = self.metrics().into_iter().map(|(name, _)| name).collect();
        let mut limits: Vec<Limit> = Vec::new();
        self.visit(&mut |expr| {
            if let ExprKind::Binary("<" | "<=" | ">" | ">=", left, right) = &expr.kind
                && let (Some(left), Some(right)) =
                    (linear::sum(left, params), linear::sum(right, params))
                && let sum = left.less(right)
                && let Some((varying, factor)) = sum.terms.first_key_value()
                && sum.terms.len() == 1
                && let Some(metric) = metrics.iter().find(|metric| is_of(varying, metric))
            {
                let limit = Limit { metric: metric.clone(), level: -sum.constant / factor };
                if !limits.contains(&limit) {
                    limits.push(limit);
                }
            }
            true
        });
        limits
    }
}

/// True for the metric itself, and for what is in its unit.
fn is_of(varying: &str, metric: &str) -> bool {
    let Some(rest) = varying.strip_prefix(metric) else { return false };
    let call = rest.strip_prefix('.').and_then(|rest| rest.split_once('('));
    rest.is_empty() || call.is_some_and(|(name, _)| SAME_UNIT.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::types::document::Scalar;

    fn limits(text: &str) -> Vec<(String, f64)> {
        let params = BTreeMap::from([("high".to_owned(), Scalar::Float(80.0))]);
        let limits = Outline::of(text).expect("a condition").limits(&params);
        limits.into_iter().map(|limit| (limit.metric, limit.level)).collect()
    }

    #[test]
    fn the_constants_that_a_metric_is_compared_with_are_found() {
        for (text, level) in [
            ("t > 80", 80.0),
            ("mode == 1 && t >= params.high - 2.0", 78.0),
            ("80 < t || raised(\"x\")", 80.0),
            ("!(2 * t + 1 < 9)", 4.0),
            ("t.avg(5m) > 3.5 && p > q", 3.5),
            ("-t > 5 && t > -t.avg(5m)", -5.0),
            ("t > 7 && t > 7.0", 7.0),
        ] {
            assert_eq!(limits(text), [("t".to_owned(), level)], "{text}");
        }
        assert_eq!(limits("m[\"温 度\"] < -12"), [("温 度".to_owned(), -12.0)]);
        assert_eq!(limits("t > 80 || t < 10 ? p > 1 : true").len(), 3);
    }

    #[test]
    fn what_is_no_level_of_the_metric_is_none() {
        for text in
            ["t > p", "t == 3", "t.rate(5m) > 2", "t.stddev(5m) > 1", "t.age() > 60", "absent(5m)"]
        {
            assert_eq!(limits(text), [], "{text}");
        }
    }
}
