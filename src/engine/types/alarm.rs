//! Edge -> Transition: an alarm, its states and its episodes, as ISA-18.2 names them.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::message::Reading;
use super::rule::OnRemove;
use super::severity::Severity;
use super::text::Language;
use super::ticket::TicketId;
use super::time::Timestamp;

/// Who an alarm is: one rule on one device, told apart by the values of the rule's `key` metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlarmId {
    /// The rule's id.
    pub rule: String,
    /// The device's id.
    pub device: String,
    /// Values of the rule's `key` metrics, in the order of the rule.
    pub key: Vec<String>,
}

impl AlarmId {
    /// The fingerprint of one episode: BLAKE3 over rule id, device id, key values and episode
    /// number, separated by 0x1F; the lower-case hex of its first 16 bytes. It is the same after
    /// a crash, a restore, and on another gateway.
    pub fn fingerprint(&self, episode: u32) -> Fingerprint {
        let mut text = format!("{}\u{1f}{}", self.rule, self.device);
        for value in &self.key {
            text.push('\u{1f}');
            text.push_str(value);
        }
        text.push('\u{1f}');
        text.push_str(&episode.to_string());
        let hash = blake3::hash(text.as_bytes()).to_hex();
        Fingerprint(hash.chars().take(32).collect())
    }

    /// Its page below the address of the console. An empty value of a key is one too, and says so by
    /// standing there.
    pub fn page(&self) -> String {
        let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let (rule, device) = (escape(&self.rule), escape(&self.device));
        let keys = self.key.iter().map(|value| format!("&key={}", escape(value)));
        format!("alarm?rule={rule}&device={device}{}", keys.collect::<String>())
    }
}

impl fmt::Display for AlarmId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.rule, self.device)?;
        self.key.iter().try_for_each(|value| write!(out, "/{value}"))
    }
}

/// The stable external key of one episode, 32 hex digits; see [`AlarmId::fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Who did something by hand, when, from where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Person or system.
    pub by: String,
    /// When (gateway time).
    pub at: Timestamp,
    /// `cli`, `api`, `upstream:NAME` ...
    pub via: String,
    /// Why; empty when nothing was said.
    pub reason: String,
}

/// Where an alarm stands. The letters are those of ISA-18.2.
///
/// `clearing` is when `clear_when` began to hold: the return is due `off_delay` later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum AlarmState {
    /// A: the rule does not hold.
    Normal,
    /// `when` holds since this event time, but not long or often enough yet.
    Pending {
        /// Event time at which `when` began to hold.
        since: Timestamp,
    },
    /// B: raised, nobody has taken it.
    Unacknowledged {
        /// Event time at which `clear_when` began to hold.
        clearing: Option<Timestamp>,
    },
    /// C: raised, somebody has taken it.
    Acknowledged {
        /// Who took it.
        ack: Signature,
        /// Event time at which `clear_when` began to hold.
        clearing: Option<Timestamp>,
    },
    /// D: back to normal, nobody has taken it.
    Returned {
        /// Event time at which `when` began to hold again.
        rising: Option<Timestamp>,
    },
    /// Back to normal, but an operator must reset it.
    Latched {
        /// Who had taken it, if anybody.
        ack: Option<Signature>,
        /// Event time at which `when` began to hold again.
        rising: Option<Timestamp>,
    },
}

impl AlarmState {
    /// True in B and C: the fault is there now.
    pub fn is_raised(&self) -> bool {
        matches!(self, AlarmState::Unacknowledged { .. } | AlarmState::Acknowledged { .. })
    }

    /// Since when `when` holds without having raised yet.
    pub fn rising(&self) -> Option<Timestamp> {
        match self {
            AlarmState::Pending { since } => Some(*since),
            AlarmState::Returned { rising } | AlarmState::Latched { rising, .. } => *rising,
            AlarmState::Normal
            | AlarmState::Unacknowledged { .. }
            | AlarmState::Acknowledged { .. } => None,
        }
    }

    /// Since when `clear_when` holds without having returned yet.
    pub fn clearing(&self) -> Option<Timestamp> {
        match self {
            AlarmState::Unacknowledged { clearing } | AlarmState::Acknowledged { clearing, .. } => {
                *clearing
            }
            AlarmState::Normal
            | AlarmState::Pending { .. }
            | AlarmState::Returned { .. }
            | AlarmState::Latched { .. } => None,
        }
    }

    /// The word in JSON and tables.
    pub fn word(&self) -> &'static str {
        match self {
            AlarmState::Normal => "normal",
            AlarmState::Pending { .. } => "pending",
            AlarmState::Unacknowledged { .. } => "unacknowledged",
            AlarmState::Acknowledged { .. } => "acknowledged",
            AlarmState::Returned { .. } => "returned",
            AlarmState::Latched { .. } => "latched",
        }
    }

    /// The words for people.
    pub fn say(&self, language: Language) -> &'static str {
        match (language, self) {
            (Language::English, state) => state.word(),
            (Language::Chinese, AlarmState::Normal) => "正常",
            (Language::Chinese, AlarmState::Pending { .. }) => "待触发",
            (Language::Chinese, AlarmState::Unacknowledged { .. }) => "未确认",
            (Language::Chinese, AlarmState::Acknowledged { .. }) => "已确认",
            (Language::Chinese, AlarmState::Returned { .. }) => "已恢复未确认",
            (Language::Chinese, AlarmState::Latched { .. }) => "已锁存",
        }
    }
}

/// An alarm changes too often: it counts as raised, whatever it does underneath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// Event time at which it began.
    pub since: Timestamp,
    /// How often it has changed, those that made it flapping included.
    pub changes: u32,
    /// It has returned underneath.
    pub lull: Option<Lull>,
}

/// The fault is not there at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lull {
    /// Event time at which `when` began to hold again.
    pub rising: Option<Timestamp>,
}

/// Kept from people by an operator: it opens, notifies and escalates nothing meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// For how long.
    #[serde(flatten)]
    pub kind: ShelfKind,
    /// Who did it, when, from where and why.
    pub signature: Signature,
}

/// For how long an operator keeps an alarm from people. The letters are those of ISA-18.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ShelfKind {
    /// E: shelved.
    Shelved {
        /// At the latest until then (gateway time).
        until: Timestamp,
        /// It ends with the next return.
        one_shot: bool,
    },
    /// G: out of service, until an operator puts it back.
    OutOfService,
}

/// One life of an alarm, from raised to closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// From 1 for each alarm.
    pub number: u32,
    /// ULID made of the raise time and the fingerprint, so that a replay makes the same one.
    pub id: String,
    /// External key of the episode.
    pub fingerprint: Fingerprint,
    /// Class of the fault, where a code table tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Severity when it was raised.
    pub severity: Severity,
    /// Event time of the raise.
    pub raised_at: Timestamp,
    /// Event time of the return.
    pub returned_at: Option<Timestamp>,
    /// Event time of the close: the alarm is back in A.
    pub closed_at: Option<Timestamp>,
    /// The ticket that covers it.
    pub ticket: Option<TicketId>,
    /// Why it has no ticket of its own.
    pub held_by: Option<HeldBy>,
    /// Somebody has taken it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken: bool,
    /// The values that decided, `name = value`, at the raise.
    pub values: Vec<(String, String)>,
}

impl HeldBy {
    /// True while its ticket waits for the suppression to end.
    pub fn is_suppression(self) -> bool {
        match self {
            HeldBy::Inhibit
            | HeldBy::Maintenance
            | HeldBy::Shelved
            | HeldBy::OutOfService
            | HeldBy::Budget => true,
            HeldBy::Group | HeldBy::Storm | HeldBy::Shadow => false,
        }
    }

    /// True for what keeps an alarm from people altogether.
    pub fn hides(self) -> bool {
        match self {
            HeldBy::Inhibit
            | HeldBy::Maintenance
            | HeldBy::Shelved
            | HeldBy::OutOfService
            | HeldBy::Shadow => true,
            HeldBy::Group | HeldBy::Storm | HeldBy::Budget => false,
        }
    }

    /// Why there is no ticket of its own, for people.
    pub fn say(self, language: Language) -> &'static str {
        let (chinese, english) = match self {
            HeldBy::Inhibit => ("被上级告警抑制", "an alarm that suppresses it is raised"),
            HeldBy::Maintenance => ("处于维护窗口", "its device is in a maintenance window"),
            HeldBy::Shelved => ("已搁置", "it is shelved"),
            HeldBy::OutOfService => ("已停用", "it is out of service"),
            HeldBy::Group => (
                "并入同组工单，或等待同组告警",
                "it joins the ticket of its group, or waits for it",
            ),
            HeldBy::Storm => ("并入告警风暴工单", "it joins the ticket of an alarm storm"),
            HeldBy::Shadow => ("规则为影子模式", "its rule is in shadow mode"),
            HeldBy::Budget => {
                ("预算不足，等待额度", "the budget does not hold a ticket of its own")
            }
        };
        match language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }
}

/// Why an episode opened no ticket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldBy {
    /// A source alarm that suppresses it is raised.
    Inhibit,
    /// Its device is in a maintenance window.
    Maintenance,
    /// An operator has shelved it.
    Shelved,
    /// An operator has taken it out of service.
    OutOfService,
    /// Joined a ticket that was open already, or waits for others of its group.
    Group,
    /// Joined the ticket of a storm.
    Storm,
    /// The rule is in shadow mode.
    Shadow,
    /// The budget does not hold a ticket of its own.
    Budget,
}

impl AlarmRecord {
    /// An alarm of which nothing is known yet.
    pub fn new(id: AlarmId, revision: String) -> AlarmRecord {
        AlarmRecord {
            id,
            revision,
            state: AlarmState::Normal,
            episode: None,
            changed_at: Timestamp::from_micros(i64::MIN),
            seen: Vec::new(),
            on_remove: OnRemove::Keep,
            edges: Vec::new(),
            changes: Vec::new(),
            flapping: None,
            shelf: None,
            history: Vec::new(),
        }
    }

    /// Remembers a decision, forgetting the oldest past [`HISTORY_MAX`].
    pub fn remember(&mut self, at: Timestamp, now: Timestamp, what: String) {
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(HistoryEntry { at, now, what });
    }
}

/// What is kept of an alarm: enough to go on after a restart as if nothing had happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmRecord {
    /// Identity.
    #[serde(flatten)]
    pub id: AlarmId,
    /// Revision of the rule that last decided.
    pub revision: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: AlarmState,
    /// The current or last episode.
    pub episode: Option<Episode>,
    /// Event time of the last change of state: older samples change nothing any more.
    pub changed_at: Timestamp,
    /// What the rule's metrics read at the last change, so that a delay outlives a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SeenReading>,
    /// What happens to its ticket when the rule is no longer there.
    #[serde(default, skip_serializing_if = "is_keep")]
    pub on_remove: OnRemove,
    /// Event times of the last rising edges, for rules with `occurrences` above 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Timestamp>,
    /// Event times of the raises and returns of the last hour, oldest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Timestamp>,
    /// It changes too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<Flapping>,
    /// An operator keeps it from people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf: Option<Shelf>,
    /// The last decisions, oldest first, at most [`HISTORY_MAX`]; `explain` prints them.
    pub history: Vec<HistoryEntry>,
}

fn is_keep(on_remove: &OnRemove) -> bool {
    *on_remove == OnRemove::Keep
}

/// One reading that a decision was made on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenReading {
    /// Name of the metric.
    pub metric: String,
    /// Event time of the reading.
    pub at: Timestamp,
    /// The reading.
    pub reading: Reading,
}

/// How many decisions an alarm remembers.
pub const HISTORY_MAX: usize = 40;

/// One decision about an alarm, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Event time.
    pub at: Timestamp,
    /// Gateway time, where it differs.
    pub now: Timestamp,
    /// What happened and why, in one line of English.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_rule_device_key_and_episode_and_on_nothing_else() {
        let id = |key: &[&str]| AlarmId {
            rule: "freezer-too-warm".into(),
            device: "冷柜-3".into(),
            key: key.iter().map(|value| value.to_string()).collect(),
        };
        let expected = blake3::hash("freezer-too-warm\u{1f}冷柜-3\u{1f}1".as_bytes());
        let expected: String = expected.to_hex().chars().take(32).collect();
        assert_eq!(id(&[]).fingerprint(1).0, expected);
        assert_ne!(id(&[]).fingerprint(1), id(&[]).fingerprint(2));
        assert_ne!(id(&["E1"]).fingerprint(1), id(&["E2"]).fingerprint(1));
    }
}
