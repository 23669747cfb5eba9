//! The rules that read one metric, found by what it reads now.

use crate::engine::detect::{Gate, Side};
use crate::engine::types::message::{Reading, Value};

/// The rules whose condition reads one metric. Those that compare it with a constant are sorted by
/// it: finding the few that a value can make true costs the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Readers {
    always: Vec<usize>,
    above: Vec<(f64, usize)>,
    below: Vec<(f64, usize)>,
    at: Vec<(f64, usize)>,
}

impl Readers {
    /// Adds a rule, with the gate that the metric has in it.
    pub fn add(&mut self, rule: usize, gate: Option<Gate>) {
        let Some(Gate { side, bound, .. }) = gate else {
            self.always.push(rule);
            return;
        };
        let sorted = match side {
            Side::Above => &mut self.above,
            Side::Below => &mut self.below,
            Side::At => &mut self.at,
        };
        let place = sorted.partition_point(|(known, _)| known.total_cmp(&bound).is_le());
        sorted.insert(place, (bound, rule));
    }

    /// The rules that must be looked at after this reading.
    pub fn concerned(&self, reading: &Reading, rules: &mut Vec<usize>) {
        rules.extend_from_slice(&self.always);
        let number = match reading {
            Reading::Good(value @ (Value::Int(_) | Value::Float(_))) => value.as_number(),
            Reading::Good(Value::Bool(_) | Value::Text(_)) | Reading::Bad => None,
        };
        let Some(number) = number else {
            // No comparison holds, but what cannot be told is counted by the look.
            let gated = self.above.iter().chain(&self.below).chain(&self.at);
            rules.extend(gated.map(|(_, rule)| *rule));
            return;
        };
        let under = |sorted: &[(f64, usize)]| sorted.partition_point(|(bound, _)| *bound < number);
        let up_to = |sorted: &[(f64, usize)]| sorted.partition_point(|(bound, _)| *bound <= number);
        let take = |found: Option<&[(f64, usize)]>, rules: &mut Vec<usize>| {
            rules.extend(found.into_iter().flatten().map(|(_, rule)| *rule));
        };
        take(self.above.get(..up_to(&self.above)), rules);
        take(self.below.get(under(&self.below)..), rules);
        take(self.at.get(under(&self.at)..up_to(&self.at)), rules);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::names::{Metric, Names};

    #[test]
    fn only_the_rules_on_whose_side_the_value_lies_are_concerned() {
        let metric = Names::<Metric>::default().intern("t");
        let mut readers = Readers::default();
        readers.add(0, None);
        let gates =
            [(Side::Above, 80.0), (Side::Above, -5.0), (Side::Below, 10.0), (Side::At, 7.0)];
        for (rule, (side, bound)) in gates.into_iter().enumerate() {
            readers.add(rule + 1, Some(Gate { metric, side, bound }));
        }
        let concerned = |reading: Reading| {
            let mut rules = Vec::new();
            readers.concerned(&reading, &mut rules);
            rules.sort_unstable();
            rules
        };
        let at = |number: f64| concerned(Reading::Good(Value::Float(number)));
        assert_eq!(at(79.9), [0, 2]);
        assert_eq!(at(80.0), [0, 1, 2], "the bound belongs to it");
        assert_eq!(at(7.0), [0, 2, 3, 4]);
        assert_eq!(at(-5.1), [0, 3]);
        assert_eq!(concerned(Reading::Good(Value::Int(7))), [0, 2, 3, 4]);
        assert_eq!(concerned(Reading::Bad), [0, 1, 2, 3, 4]);
        assert_eq!(concerned(Reading::Good(Value::Bool(true))), [0, 1, 2, 3, 4]);
        assert_eq!(concerned(Reading::Good(Value::Text("热".into()))), [0, 1, 2, 3, 4]);
    }
}
