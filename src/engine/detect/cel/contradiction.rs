//! Comparisons with constants that cannot hold together, or hold together and should not.

use super::Condition;
use super::ir::{Comparison, Constant, Node, Number};

/// A value that is compared with a constant, as the tree has it.
#[derive(Clone, Debug, PartialEq)]
struct Bound {
    /// What is compared: equal texts are equal values.
    subject: String,
    comparison: Comparison,
    number: f64,
}

impl Bound {
    fn of(node: &Node) -> Option<Bound> {
        #[allow(clippy::wildcard_enum_match_arm, reason = "everything else is no bound")]
        match node {
            Node::Test(metric, comparison, number) => Some(Bound {
                subject: format!("{:?}", Node::Metric(*metric)),
                comparison: *comparison,
                number: number.nearest(),
            }),
            Node::Compare(comparison, left, right) => {
                let (subject, comparison, number) = match (constant(left), constant(right)) {
                    (None, Some(number)) => (left, *comparison, number),
                    (Some(number), None) => (right, comparison.mirrored(), number),
                    _ => return None,
                };
                Some(Bound { subject: format!("{subject:?}"), comparison, number })
            }
            _ => None,
        }
    }

    /// The values for which it holds: from, to, and whether the ends belong to them.
    fn range(&self) -> Option<((f64, bool), (f64, bool))> {
        let number = self.number;
        let (none, all) = ((f64::NEG_INFINITY, false), (f64::INFINITY, false));
        Some(match self.comparison {
            Comparison::Greater => ((number, false), all),
            Comparison::GreaterOrEqual => ((number, true), all),
            Comparison::Less => (none, (number, false)),
            Comparison::LessOrEqual => (none, (number, true)),
            Comparison::Equal => ((number, true), (number, true)),
            Comparison::NotEqual => return None,
        })
    }

    /// True when some value satisfies both.
    fn meets(&self, other: &Bound) -> Option<bool> {
        let ((a, a_in), (b, b_in)) = self.range()?;
        let ((c, c_in), (d, d_in)) = other.range()?;
        let (low, low_in) =
            if a == c { (a, a_in && c_in) } else { (a.max(c), if a > c { a_in } else { c_in }) };
        let (high, high_in) =
            if b == d { (b, b_in && d_in) } else { (b.min(d), if b < d { b_in } else { d_in }) };
        Some(low < high || low == high && low_in && high_in)
    }

    fn side(&self) -> &'static str {
        match self.comparison {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
        }
    }
}

fn constant(node: &Node) -> Option<f64> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "everything else is no number")]
    match node {
        Node::Constant(Constant::Int(number)) => Some(Number::Int(*number).nearest()),
        Node::Constant(Constant::Float(number)) => Some(*number),
        _ => None,
    }
}

impl Condition {
    /// Its value, where no device changes it.
    pub fn constant(&self) -> Option<bool> {
        let Node::Constant(Constant::Bool(flag)) = self.root else {
            return None;
        };
        Some(flag)
    }

    /// Two comparisons of one value that must both hold, and never do.
    pub fn contradiction(&self) -> Option<String> {
        let Node::All(members) = &self.root else {
            return None;
        };
        let bounds: Vec<Bound> = members.iter().filter_map(Bound::of).collect();
        let pairs = bounds.iter().enumerate();
        let mut pairs =
            pairs.flat_map(|(at, one)| bounds.iter().skip(at + 1).map(move |b| (one, b)));
        let (one, other) =
            pairs.find(|(a, b)| a.subject == b.subject && a.meets(b) == Some(false))?;
        Some(format!(
            "nothing is {} {} and {} {}",
            one.side(),
            one.number,
            other.side(),
            other.number
        ))
    }

    /// A value for which this condition and the one of its return both hold, where both compare
    /// the same value with a constant.
    pub fn overlap(&self, clear: &Condition) -> Option<String> {
        let (when, clear) = (Bound::of(&self.root)?, Bound::of(&clear.root)?);
        let meets = when.subject == clear.subject && when.meets(&clear)?;
        meets.then(|| {
            format!("{} {} and {} {}", when.side(), when.number, clear.side(), clear.number)
        })
    }
}
