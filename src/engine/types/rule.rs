//! A rule as an operator wrote it, checked and typed: everything but its conditions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::code::{CodeTable, FaultCode, UNKNOWN_CLASS};
use super::device::DeviceFacts;
use super::document::{Scalar, Word};
use super::selector::Selector;
use super::severity::Severity;
use super::text::Bilingual;
use super::time::TimeSpan;

/// What a rule is, apart from when it fires: read by every stage after detection.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSpec {
    /// Identity of the rule.
    pub id: String,
    /// Which devices it looks at.
    pub selector: Selector,
    /// Metrics whose values are part of an alarm's identity.
    pub key: Vec<String>,
    /// Condition as written.
    pub when: String,
    /// Condition of the return as written; `None` for `not when`.
    pub clear_when: Option<String>,
    /// How long `when` must hold before the alarm is raised.
    pub on_delay: TimeSpan,
    /// How long the return must hold.
    pub off_delay: TimeSpan,
    /// How many rising edges it takes to raise.
    pub occurrences: u32,
    /// Within which time.
    pub occurrences_within: TimeSpan,
    /// A metric older than this makes the condition unknown; zero for never.
    pub stale_after: TimeSpan,
    /// How bad it is.
    pub severity: Severity,
    /// Gas, fire, shock, overpressure, flood.
    pub safety: bool,
    /// Stays raised until an operator resets it.
    pub latch: bool,
    /// When it changes too often.
    pub flapping: FlapLimits,
    /// Typed constants of the conditions.
    pub params: BTreeMap<String, Scalar>,
    /// Live, shadow or off.
    pub mode: Mode,
    /// What happens to its open tickets when it is no longer there.
    pub on_remove: OnRemove,
    /// The id that it had before; its alarms and tickets go on under the new one.
    pub renamed_from: Option<String>,
    /// Subject of the ticket, a template.
    pub title: Bilingual,
    /// What to do about it, a template.
    pub advice: Bilingual,
    /// Where its tickets go.
    pub ticket: TicketPolicy,
    /// What the values of its first key metric mean.
    pub code_table: Option<Arc<CodeTable>>,
    /// The fault code that one alarm of it is about; see [`RuleSpec::for_key`].
    pub code: Option<FaultCode>,
    /// Hash of the fields that decide when it fires, 16 hex digits.
    pub revision: String,
}

impl RuleSpec {
    /// The rule as it stands for the alarm with these key values: with a code table, severity,
    /// safety and texts are those of the code, as far as its entry has them.
    pub fn for_key(&self, key: &[String]) -> Cow<'_, RuleSpec> {
        let (Some(table), Some(code)) = (&self.code_table, key.first()) else {
            return Cow::Borrowed(self);
        };
        let mut spec = self.clone();
        let entry = table.entries.get(code);
        if let Some(entry) = entry {
            spec.severity = entry.severity.unwrap_or(self.severity);
            spec.safety = entry.safety.unwrap_or(self.safety);
            spec.title = entry.title.clone().unwrap_or_else(|| self.title.clone());
            spec.advice = entry.advice.clone().unwrap_or_else(|| self.advice.clone());
        }
        spec.code = Some(FaultCode {
            code: code.clone(),
            class: entry.map_or_else(|| UNKNOWN_CLASS.to_owned(), |entry| entry.class.clone()),
            reset: entry.and_then(|entry| entry.reset),
            table: format!("{} ({})", table.name, table.source),
        });
        Cow::Owned(spec)
    }
}

/// Scores at which flapping starts and stops, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlapLimits {
    /// Stops at this score or below.
    pub low: f64,
    /// Starts at this score or above; `None` for never.
    pub high: Option<f64>,
}

impl Default for FlapLimits {
    fn default() -> Self {
        FlapLimits { low: 20.0, high: Some(30.0) }
    }
}

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Opens tickets.
    #[default]
    Live,
    /// Evaluated, opens nothing.
    Shadow,
    /// Not evaluated.
    Off,
}

impl Word for Mode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("live", Mode::Live), ("shadow", Mode::Shadow), ("off", Mode::Off)];
}

/// The devices that `count_raised` counts among: those with the same site, region or class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Among {
    /// Of one site.
    Site,
    /// Of one region.
    Region,
    /// Of one class.
    Class,
}

impl Word for Among {
    const WORDS: &'static [(&'static str, Self)] =
        &[("site", Among::Site), ("region", Among::Region), ("class", Among::Class)];
}

impl Among {
    /// What the device has to be counted by; empty where it is not known.
    pub fn of(self, device: &DeviceFacts) -> &str {
        match self {
            Among::Site => &device.site,
            Among::Region => &device.region,
            Among::Class => &device.class,
        }
    }
}

/// What happens to the open tickets of a rule that is no longer there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRemove {
    /// They stay open.
    #[default]
    Keep,
    /// They are resolved.
    Resolve,
}

impl Word for OnRemove {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", OnRemove::Keep), ("resolve", OnRemove::Resolve)];
}

/// What one ticket collects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// One alarm.
    #[default]
    Alarm,
    /// All alarms of a device.
    Device,
    /// All alarms of a site.
    Site,
    /// All alarms of the rule.
    Rule,
}

impl Word for Per {
    const WORDS: &'static [(&'static str, Self)] =
        &[("alarm", Per::Alarm), ("device", Per::Device), ("site", Per::Site), ("rule", Per::Rule)];
}

/// Where a rule's tickets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketPolicy {
    /// What one ticket collects.
    pub per: Per,
    /// How long the first alarm of a group waits for others; `None` for what `per` and severity
    /// say.
    pub group_wait: Option<TimeSpan>,
    /// Later members are told in one comment at most this often.
    pub group_interval: TimeSpan,
    /// A new episode reopens the last ticket if it ended this recently; zero for never.
    pub reopen_within: TimeSpan,
    /// How long after somebody has resolved a ticket upstream it is looked whether its fault still
    /// stands; zero for never.
    pub verify_within: TimeSpan,
    /// A new ticket says that it is a repeat visit if the last one of the fault ended this recently;
    /// zero for never.
    pub recall_within: TimeSpan,
    /// Name of the upstream; `None` for the first.
    pub upstream: Option<String>,
    /// The upstream's queue; `None` for its default.
    pub queue: Option<String>,
    /// Id of the ladder; `None` for no escalation.
    pub ladder: Option<String>,
}

impl Default for TicketPolicy {
    fn default() -> Self {
        TicketPolicy {
            per: Per::Alarm,
            group_wait: None,
            group_interval: TimeSpan::from_secs(300),
            reopen_within: TimeSpan::from_secs(86_400),
            verify_within: TimeSpan::from_secs(1_800),
            recall_within: TimeSpan::from_secs(30 * 86_400),
            upstream: None,
            queue: None,
            ladder: None,
        }
    }
}
