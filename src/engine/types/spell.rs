//! What is kept of every raise of an alarm, for figures: when it came, when it went, who did something.

use serde::{Deserialize, Serialize};

use super::alarm::{AlarmId, Episode, Fingerprint, HeldBy};
use super::severity::Severity;
use super::time::Timestamp;

/// One episode of an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spell {
    /// The alarm.
    pub alarm: AlarmId,
    /// The episode.
    pub fingerprint: Fingerprint,
    /// Site of the device; empty where it is not known.
    pub site: String,
    /// Severity when it was raised.
    pub severity: Severity,
    /// Why it opened no ticket of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<HeldBy>,
    /// Event time of the raise.
    pub raised_at: Timestamp,
    /// Event time of the return; `None` while it is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<Timestamp>,
    /// Somebody has taken it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken: bool,
}

impl Spell {
    /// What is to be kept of an episode as it stands.
    pub fn of(alarm: &AlarmId, episode: &Episode, site: &str) -> Spell {
        Spell {
            alarm: alarm.clone(),
            fingerprint: episode.fingerprint.clone(),
            site: site.to_owned(),
            severity: episode.severity,
            held_by: episode.held_by,
            raised_at: episode.raised_at,
            returned_at: episode.returned_at,
            is_taken: episode.is_taken,
        }
    }

    /// True for one that people were to see: nothing kept it from them.
    pub fn is_shown(&self) -> bool {
        !self.held_by.is_some_and(HeldBy::hides)
    }
}
