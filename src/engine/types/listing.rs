//! What can be asked of the lists of alarms and devices, and a line of the answer.

use serde::{Deserialize, Serialize};

use super::alarm::{AlarmRecord, AlarmState, HeldBy};
use super::document::Word;
use super::severity::Severity;
use super::text::Language;
use super::ticket::TicketRecord;
use super::time::Timestamp;

/// Which alarms are listed, worst first and then the oldest first, and which part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// Where they stand.
    pub standing: Standing,
    /// Only these.
    pub severity: Option<Severity>,
    /// Only those of the devices of this site.
    pub site: Option<String>,
    /// Only those of this rule.
    pub rule: Option<String>,
    /// So many are left out.
    pub skip: usize,
    /// So many are listed at most.
    pub most: usize,
}

impl AlarmFilter {
    /// True for an alarm that is wanted, whatever its severity.
    pub fn wants(&self, record: &AlarmRecord, site: &str) -> bool {
        let is = |wanted: &Option<String>, known: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == known)
        };
        self.standing.includes(record) && is(&self.site, site) && is(&self.rule, &record.id.rule)
    }
}

/// Where an alarm stands, as it is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Anything but back to normal, and whatever is kept from people.
    #[default]
    Open,
    /// Raised, and nobody has taken it.
    Unacknowledged,
    /// Raised, and somebody has.
    Acknowledged,
    /// Back to normal, and nobody has taken it.
    Returned,
    /// Waits for a reset.
    Latched,
    /// Not long or often enough yet.
    Pending,
    /// Kept from people: shelved, out of service, inhibited, in maintenance.
    Suppressed,
    /// Back to normal.
    Normal,
    /// All that are kept.
    All,
}

impl Word for Standing {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("open", Standing::Open),
        ("unacknowledged", Standing::Unacknowledged),
        ("acknowledged", Standing::Acknowledged),
        ("returned", Standing::Returned),
        ("latched", Standing::Latched),
        ("pending", Standing::Pending),
        ("suppressed", Standing::Suppressed),
        ("normal", Standing::Normal),
        ("all", Standing::All),
    ];
}

impl Standing {
    /// True for an alarm that stands there.
    pub fn includes(self, record: &AlarmRecord) -> bool {
        let state = &record.state;
        match self {
            Standing::Open => *state != AlarmState::Normal || record.shelf.is_some(),
            Standing::Unacknowledged => matches!(state, AlarmState::Unacknowledged { .. }),
            Standing::Acknowledged => matches!(state, AlarmState::Acknowledged { .. }),
            Standing::Returned => matches!(state, AlarmState::Returned { .. }),
            Standing::Latched => matches!(state, AlarmState::Latched { .. }),
            Standing::Pending => matches!(state, AlarmState::Pending { .. }),
            Standing::Suppressed => {
                let held = record.episode.as_ref().and_then(|episode| episode.held_by);
                record.shelf.is_some() || state.is_raised() && held.is_some_and(HeldBy::hides)
            }
            Standing::Normal => *state == AlarmState::Normal,
            Standing::All => true,
        }
    }

    /// The words for people.
    pub fn say(self, language: Language) -> &'static str {
        let (chinese, english) = match self {
            Standing::Open => ("未结束", "open"),
            Standing::Unacknowledged => ("未确认", "unacknowledged"),
            Standing::Acknowledged => ("已确认", "acknowledged"),
            Standing::Returned => ("已恢复未确认", "returned"),
            Standing::Latched => ("已锁存", "latched"),
            Standing::Pending => ("待触发", "pending"),
            Standing::Suppressed => ("已抑制", "suppressed"),
            Standing::Normal => ("正常", "normal"),
            Standing::All => ("全部", "all"),
        };
        match language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }
}

/// A line of the list of alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmRow {
    /// The alarm, without its history.
    pub alarm: AlarmRecord,
    /// Site of its device; empty where it is not known.
    pub site: String,
    /// How bad it is, or would be.
    pub severity: Severity,
    /// Since when it stands where it does: raised, pending, returned, on its shelf.
    pub since: Timestamp,
    /// The ticket that covers it.
    pub ticket: Option<TicketRecord>,
}

/// A part of the list of alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmList {
    /// Gateway time.
    pub now: Timestamp,
    /// How many there are in all, by severity, worst first.
    pub found: Vec<(Severity, usize)>,
    /// Those that are listed.
    pub rows: Vec<AlarmRow>,
    /// Sites with open alarms.
    pub sites: Vec<String>,
    /// Rules with open alarms.
    pub rules: Vec<String>,
}

/// Which devices are listed, by their ids, and which part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only those with this in their id.
    pub like: Option<String>,
    /// Only those of this site.
    pub site: Option<String>,
    /// So many are left out.
    pub skip: usize,
    /// So many are listed at most.
    pub most: usize,
}
