//! Interned names: text once at the door, small numbers inside.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

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
    ids: BTreeMap<Arc<str>, NameId<K>>,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Names { texts: Vec::new(), ids: BTreeMap::new() }
    }
}

impl<K> Names<K> {
    /// The id of `text`, made on first sight.
    pub fn intern(&mut self, text: &str) -> NameId<K> {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let id = NameId { index, kind: PhantomData };
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    /// The id of `text` if it was seen before.
    pub fn find(&self, text: &str) -> Option<NameId<K>> {
        self.ids.get(text).copied()
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
