//! Interned names: text once at the door, small numbers inside.

use std::marker::PhantomData;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// A name interned by a [`Names`] table; compares and copies as a number.
#[derive(Debug)]
pub struct NameId<K> {
    index: u32,
    kind: PhantomData<fn() -> K>,
}

/// Kind of [`MetricId`].
#[derive(Debug)]
pub enum Metric {}
/// Kind of [`RuleId`].
#[derive(Debug)]
pub enum RuleKind {}
/// Kind of [`DeviceId`].
#[derive(Debug)]
pub enum DeviceKind {}

/// A metric's name, such as `temp_c`.
pub type MetricId = NameId<Metric>;
/// A rule's id, such as `freezer-too-warm`.
pub type RuleId = NameId<RuleKind>;
/// A device's id, such as `fz-1`.
pub type DeviceId = NameId<DeviceKind>;

impl<K> NameId<K> {
    /// Position in the table that made it; dense from 0.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<K> Clone for NameId<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for NameId<K> {}
impl<K> PartialEq for NameId<K> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<K> Eq for NameId<K> {}
impl<K> PartialOrd for NameId<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for NameId<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.cmp(&other.index)
    }
}

/// A table of names of one kind.
#[derive(Debug)]
pub struct Names<K> {
    texts: Vec<Arc<str>>,
    index: Index,
    kind: PhantomData<fn() -> K>,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Names { texts: Vec::new(), index: Index::default(), kind: PhantomData }
    }
}

impl<K> Names<K> {
    /// The id of `text`, made on first sight.
    pub fn intern(&mut self, text: &str) -> NameId<K> {
        if let Some(id) = self.find(text) {
            return id;
        }
        let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.index.insert(index, &self.texts);
        NameId { index, kind: PhantomData }
    }

    /// The id of `text` if it was seen before.
    pub fn find(&self, text: &str) -> Option<NameId<K>> {
        let index = self.index.find(text, &self.texts)?;
        Some(NameId { index, kind: PhantomData })
    }

    /// The text of an id of this table; empty for an id of another one.
    pub fn text(&self, id: NameId<K>) -> &str {
        self.texts.get(id.index()).map_or("", |text| text)
    }

    /// The shared text of an id of this table.
    pub fn shared(&self, id: NameId<K>) -> Arc<str> {
        self.texts.get(id.index()).cloned().unwrap_or_else(|| "".into())
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// True when no name was interned yet.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// All names in the order of their ids.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }
}

/// Places of texts by their hashes: open addressing, at most half full. Nothing ever depends on its
/// order.
#[derive(Debug, Default)]
struct Index {
    slots: Vec<u32>,
}

/// A slot that is free.
const FREE: u32 = u32::MAX;

impl Index {
    fn find(&self, text: &str, texts: &[Arc<str>]) -> Option<u32> {
        let mut slot = self.first_slot(text)?;
        loop {
            let found = *self.slots.get(slot)?;
            if found == FREE {
                return None;
            }
            if texts.get(found as usize).is_some_and(|known| **known == *text) {
                return Some(found);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds the text at `place` of `texts`, the newest of them.
    fn insert(&mut self, place: u32, texts: &[Arc<str>]) {
        if texts.len() * 2 > self.slots.len() {
            let slots = (texts.len() * 4).next_power_of_two();
            self.slots = vec![FREE; slots];
            for (place, text) in (0..).zip(texts) {
                self.put(place, text);
            }
        } else if let Some(text) = texts.get(place as usize) {
            self.put(place, text);
        }
    }

    fn put(&mut self, place: u32, text: &str) {
        let Some(mut slot) = self.first_slot(text) else {
            return;
        };
        while self.slots.get(slot).is_some_and(|found| *found != FREE) {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = place;
        }
    }

    fn first_slot(&self, text: &str) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        // Only the low bits count, so that a narrower word loses nothing.
        Some(xxh3_64(text.as_bytes()) as usize & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_text_and_no_other_is() {
        let mut names: Names<Metric> = Names::default();
        let text = |number: usize| format!("温度_{number}");
        assert_eq!(names.find(&text(0)), None);
        let ids: Vec<MetricId> = (0..5_000).map(|number| names.intern(&text(number))).collect();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!((id.index(), names.text(*id)), (number, text(number).as_str()));
            assert_eq!(names.find(&text(number)), Some(*id));
            assert_eq!(names.intern(&text(number)), *id);
        }
        assert_eq!(names.find(&text(5_000)), None);
        assert_eq!(names.len(), 5_000);
    }
}
