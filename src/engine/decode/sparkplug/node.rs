//! What a host remembers of one edge node: its births, its sequence, what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::payload::Metric;
use super::sequence::Sequence;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// A node is asked for a rebirth at most once in this time ...
const ASK_EVERY: TimeSpan = TimeSpan::from_secs(30);
/// ... which doubles up to this one while its births cure nothing.
const ASK_EVERY_MAX: TimeSpan = TimeSpan::from_secs(3_600);
/// How often a node is asked that does not answer.
const ASKS_MAX: u8 = 3;

/// One edge node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The bdSeq of its birth, if it has one; `None` while it is not born.
    pub born: Option<Option<u64>>,
    pub sequence: Sequence,
    /// The tags of the node itself under the empty name, and those of its devices.
    pub tags: BTreeMap<String, Tags>,
    /// A death certificate of another session came: it is believed then, unless the node speaks.
    pub doubt: Option<Timestamp>,
    ask: Ask,
    /// The timer that is set for it.
    pub timer: Option<Timestamp>,
}

/// A request for a rebirth.
#[derive(Clone, Copy, Debug, Default)]
struct Ask {
    last: Option<Timestamp>,
    next: Option<Timestamp>,
    left: u8,
    every: TimeSpan,
}

impl Node {
    /// A rebirth is wanted, as soon as the node may be asked again.
    pub fn want_rebirth(&mut self, now: Timestamp) {
        self.ask.left = ASKS_MAX;
        if self.ask.next.is_none() {
            let every = self.ask.every;
            self.ask.next = Some(self.ask.last.map_or(now, |last| now.max(last + every)));
        }
    }

    /// True when the node is to be asked now; counted as asked.
    pub fn take_ask(&mut self, now: Timestamp) -> bool {
        if self.ask.next.is_none_or(|next| next > now) {
            return false;
        }
        let twice = self.ask.every + self.ask.every;
        let is_soon = self.ask.last.is_some_and(|last| now.since(last) <= twice);
        self.ask.every = if is_soon { twice.min(ASK_EVERY_MAX) } else { ASK_EVERY };
        self.ask.last = Some(now);
        self.ask.left = self.ask.left.saturating_sub(1);
        self.ask.next = (self.ask.left > 0).then(|| now + self.ask.every);
        true
    }

    /// The node has answered.
    pub fn answered(&mut self) {
        self.ask.next = None;
        self.ask.left = 0;
    }

    /// When something is due.
    pub fn due(&self) -> Option<Timestamp> {
        [self.sequence.deadline(), self.doubt, self.ask.next].into_iter().flatten().min()
    }
}

/// The metrics of a node or device as its birth named them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tags {
    /// It has a birth.
    pub born: bool,
    aliases: BTreeMap<u64, Arc<str>>,
    /// Name and datatype.
    names: BTreeMap<Arc<str>, Option<u64>>,
}

/// Which metric a value belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolved {
    /// The one of this name.
    Named(Arc<str>, Option<u64>),
    /// The one of this name; the birth gave its alias to another.
    OtherAlias(Arc<str>, Option<u64>),
    /// The one that the birth wrote like this, in other letters.
    Misspelt(Arc<str>, Option<u64>),
    /// A name that the birth did not have.
    NotInBirth(Arc<str>, Option<u64>),
    /// An alias that no birth has given.
    UnknownAlias(u64),
    /// It has neither.
    Nameless,
}

impl Tags {
    /// Entries of the tables.
    pub fn len(&self) -> usize {
        self.aliases.len().max(self.names.len())
    }

    /// Takes the metrics of a birth in. Returns the aliases that it gave to more than one of them:
    /// they mean none, since a value under a wrong name is worse than none.
    pub fn take_birth(&mut self, metrics: &[Metric<'_>]) -> BTreeSet<u64> {
        self.forget();
        self.born = true;
        let mut shared = BTreeSet::new();
        for metric in metrics {
            let Some(name) = metric.name else { continue };
            let name: Arc<str> = name.into();
            if let Some(alias) = metric.alias {
                let other = self.aliases.insert(alias, name.clone());
                if other.is_some_and(|other| other != name) {
                    shared.insert(alias);
                }
            }
            self.names.insert(name, metric.datatype);
        }
        self.aliases.retain(|alias, _| !shared.contains(alias));
        shared
    }

    /// Forgets the birth: what it named may be another thing after the next one.
    pub fn forget(&mut self) {
        *self = Tags::default();
    }

    /// Which metric a value of a data message belongs to. A name in the message is believed before
    /// an alias: it cannot be out of date. `searches` bounds the looks for misspelt names.
    pub fn resolve(&self, metric: &Metric<'_>, searches: &mut u8) -> Resolved {
        let own = |name: &str| metric.datatype.or_else(|| self.names.get(name).copied().flatten());
        match (metric.name, metric.alias) {
            (None, None) => Resolved::Nameless,
            (None, Some(alias)) => match self.aliases.get(&alias) {
                Some(name) => Resolved::Named(name.clone(), own(name)),
                None => Resolved::UnknownAlias(alias),
            },
            (Some(name), alias) => {
                let by_alias = alias.and_then(|alias| self.aliases.get(&alias));
                let agrees = by_alias.is_none_or(|known| **known == *name);
                match self.names.get_key_value(name) {
                    Some((name, _)) if agrees => Resolved::Named(name.clone(), own(name)),
                    Some((name, _)) => Resolved::OtherAlias(name.clone(), own(name)),
                    None => match self.written_otherwise(name, searches) {
                        Some(known) => {
                            let datatype = own(&known);
                            Resolved::Misspelt(known, datatype)
                        }
                        None if self.born => Resolved::NotInBirth(name.into(), metric.datatype),
                        None => Resolved::Named(name.into(), metric.datatype),
                    },
                }
            }
        }
    }

    /// The one name of the birth that differs only in case and outer space.
    fn written_otherwise(&self, name: &str, searches: &mut u8) -> Option<Arc<str>> {
        *searches = searches.checked_sub(1)?;
        let fold = |name: &str| name.trim().to_lowercase();
        let wanted = fold(name);
        let mut alike = self.names.keys().filter(|known| fold(known) == wanted);
        let found = alike.next()?;
        alike.next().is_none().then(|| found.clone())
    }
}
