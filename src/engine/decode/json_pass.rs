//! One pass over a JSON text: what the parser meets is told to the walk.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::METRICS_PER_MESSAGE_MAX;
use super::json::{Leaf, Walk};
use crate::engine::types::decision::Rejection;

/// Reads whatever stands at the walk's path.
pub(super) struct Node<'a, 'w>(pub &'a mut Walk<'w>);

impl Node<'_, '_> {
    fn told<E: serde::de::Error>(self, leaf: &Leaf<'_>) -> Result<(), E> {
        self.0.leaf(leaf);
        match &self.0.fault {
            Some(fault) => Err(E::custom(&fault.detail)),
            None => Ok(()),
        }
    }
}

/// Reads a key and goes down to its member.
struct Key<'a, 'w>(&'a mut Walk<'w>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        self.0.path.push(key);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.told(&Leaf::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<(), E> {
        self.told(&Leaf::Bool(flag))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.told(&Leaf::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.told(&i64::try_from(number).map_or(Leaf::Float(number as f64), Leaf::Int))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.told(&Leaf::Float(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.told(&Leaf::Text(Cow::Borrowed(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let walk = self.0;
        walk.enter()?;
        while members.next_key_seed(Key(walk))?.is_some() {
            members.next_value_seed(Node(walk))?;
            walk.path.pop();
        }
        walk.depth -= 1;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let walk = self.0;
        walk.enter()?;
        let is_each =
            !walk.inside && walk.mapping.each.as_ref().is_some_and(|each| walk.path.is_at(each));
        let mut at = 0_usize;
        loop {
            walk.path.push(&at.to_string());
            let base = is_each.then(|| walk.begin_element());
            let more = members.next_element_seed(Node(walk))?.is_some();
            if let Some(base) = base {
                walk.end_element(base, more);
            }
            walk.path.pop();
            if !more {
                walk.depth -= 1;
                return Ok(());
            }
            at += 1;
            if is_each && at > METRICS_PER_MESSAGE_MAX {
                let detail = format!("more than {METRICS_PER_MESSAGE_MAX} elements");
                return Err(walk.end(Rejection::TooManyMetrics, &detail));
            }
        }
    }
}
