//! The figures of the last hours or days, kept up while alarms come and go: no look at the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Report, of_spells};
use crate::engine::types::alarm::Fingerprint;
use crate::engine::types::spell::Spell;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Episodes that are over and are counted at most, the newest; some 300 bytes each. With more the
/// figures are those of the time in which these were raised.
pub const EPISODES_MAX: usize = 10_000;

/// The episodes that were raised lately, and those that are raised still.
#[derive(Debug)]
pub struct Rolling {
    span: TimeSpan,
    /// When the first was raised that was ever kept.
    first: Option<Timestamp>,
    /// Since then no episode was left out for want of room.
    whole_since: Timestamp,
    raised: BTreeMap<Fingerprint, Arc<Spell>>,
    over: BTreeMap<(Timestamp, Fingerprint), Arc<Spell>>,
}

impl Rolling {
    /// Nothing is known yet. Figures will be those of the last `span`.
    pub fn new(span: TimeSpan) -> Rolling {
        Rolling {
            span,
            first: None,
            whole_since: Timestamp::EPOCH,
            raised: BTreeMap::new(),
            over: BTreeMap::new(),
        }
    }

    /// Takes an episode as it stands now, in place of how it stood.
    pub fn take(&mut self, spell: Arc<Spell>) {
        let at = spell.raised_at;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        let place = (at, spell.fingerprint.clone());
        self.raised.remove(&spell.fingerprint);
        self.over.remove(&place);
        if spell.returned_at.is_none() {
            self.raised.insert(place.1, spell);
            return;
        }
        self.over.insert(place, spell);
        if self.over.len() > EPISODES_MAX
            && let Some(((gone, _), _)) = self.over.pop_first()
        {
            self.whole_since = self.whole_since.max(gone + TimeSpan::from_micros(1));
        }
    }

    /// The figures now, without those of tickets; what is too old is forgotten.
    pub fn report(&mut self, now: Timestamp) -> Report {
        let from = (now - self.span).max(self.whole_since);
        while let Some(oldest) = self.over.first_entry().filter(|oldest| oldest.key().0 < from) {
            oldest.remove();
        }
        let spells = self.raised.values().chain(self.over.values());
        of_spells(spells.map(|spell| &**spell), self.first, from, now)
    }
}
