//! A ticket of the desk.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::history::Entry;
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::Timestamp;

/// Longest external key, in bytes.
pub const EXTERNAL_KEY_BYTES_MAX: usize = 200;

/// One ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Number as text, from 1.
    pub id: String,
    /// The key under which whoever opened it finds it again; unique.
    pub external_key: String,
    /// Subject.
    pub title: String,
    /// What it is about.
    pub body: String,
    /// How bad.
    pub severity: Severity,
    /// Gas, fire, shock, overpressure, flood.
    pub safety: bool,
    /// Queue; empty for the general one.
    pub queue: String,
    /// Who has it; empty for nobody.
    pub assignee: String,
    /// State.
    pub status: TicketStatus,
    /// Device.
    pub device: String,
    /// Rule.
    pub rule: String,
    /// Site.
    pub site: String,
    /// When the fault began.
    pub raised_at: Option<Timestamp>,
    /// When the ticket was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Files, oldest first; what is in them is kept apart.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

/// A file of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Number in the ticket, from 1.
    pub number: u32,
    /// Name of the file.
    pub name: String,
    /// What kind of file, as whoever sent it says.
    pub content_type: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Who attached it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What opens a ticket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTicket {
    pub external_key: String,
    pub title: String,
    #[serde(default)]
    pub body: String,
    #[serde(default = "major")]
    pub severity: Severity,
    #[serde(default)]
    pub safety: bool,
    #[serde(default)]
    pub queue: Option<String>,
    #[serde(default)]
    pub device: String,
    #[serde(default)]
    pub rule: String,
    #[serde(default)]
    pub site: String,
    #[serde(default)]
    pub raised_at: Option<Timestamp>,
    /// Files that it begins with.
    #[serde(default)]
    pub attachments: Vec<NewFile>,
}

/// A file in the request that opens a ticket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    pub name: String,
    #[serde(default = "any_type")]
    pub content_type: String,
    /// In base64.
    #[serde(deserialize_with = "read_base64")]
    pub content: Vec<u8>,
}

fn any_type() -> String {
    "application/octet-stream".to_owned()
}

fn read_base64<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    STANDARD.decode(text.as_bytes()).map_err(|error| {
        serde::de::Error::custom(format!("`content` of an attachment is no base64: {error}"))
    })
}

fn major() -> Severity {
    Severity::Major
}

/// What changes a ticket; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub status: Option<TicketStatus>,
    pub severity: Option<Severity>,
    /// Sets the severity where it is lower: nobody's higher one is taken back.
    pub severity_at_least: Option<Severity>,
    pub assignee: Option<String>,
    pub queue: Option<String>,
    #[serde(default)]
    pub comment: String,
}

impl Change {
    /// Nothing but a comment.
    pub fn is_comment(&self) -> bool {
        self.status.is_none()
            && self.severity.is_none()
            && self.severity_at_least.is_none()
            && self.assignee.is_none()
            && self.queue.is_none()
    }
}

impl NewTicket {
    /// Why it cannot be opened, if so.
    pub fn refusal(&self) -> Option<String> {
        let bytes = self.external_key.trim().len();
        if bytes == 0 {
            return Some(
                "`external_key` is empty: give each fault a key of its own, under which its \
                 ticket is found again"
                    .to_owned(),
            );
        }
        (bytes > EXTERNAL_KEY_BYTES_MAX)
            .then(|| format!("`external_key` is longer than {EXTERNAL_KEY_BYTES_MAX} bytes"))
    }
}

impl Ticket {
    /// A new ticket.
    pub fn new(id: u64, new: NewTicket, at: Timestamp) -> Ticket {
        Ticket {
            id: id.to_string(),
            external_key: new.external_key,
            title: new.title,
            body: new.body,
            severity: new.severity,
            safety: new.safety,
            queue: new.queue.unwrap_or_default(),
            assignee: String::new(),
            status: TicketStatus::New,
            device: new.device,
            rule: new.rule,
            site: new.site,
            raised_at: new.raised_at,
            created_at: at,
            updated_at: at,
            attachments: Vec::new(),
        }
    }

    /// The ticket without its body, which may be long: what a change answers.
    pub fn summary(&self) -> Json {
        let mut summary = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = summary.as_object_mut() {
            fields.remove("body");
        }
        summary
    }

    /// Applies a change; what is to be remembered of it.
    pub fn apply(&mut self, change: Change, by: &str, at: Timestamp) -> Entry {
        let mut what = Vec::new();
        if let Some(status) = change.status {
            what.push(format!("status {} → {}", self.status.word(), status.word()));
            self.status = status;
        }
        let raised = change.severity_at_least.filter(|least| *least < self.severity);
        if let Some(severity) = change.severity.or(raised) {
            what.push(format!("severity {} → {}", self.severity.word(), severity.word()));
            self.severity = severity;
        }
        if let Some(assignee) = change.assignee {
            what.push(format!("assignee → {assignee}"));
            self.assignee = assignee;
        }
        if let Some(queue) = change.queue {
            what.push(format!("queue → {queue}"));
            self.queue = queue;
        }
        self.updated_at = at;
        Entry { at, by: by.to_owned(), what: what.join(", "), text: change.comment }
    }

    /// Adds a file, whose content is kept elsewhere; what is to be remembered of it.
    pub fn attach(&mut self, attachment: Attachment) -> Entry {
        let Attachment { number, name, by, at, .. } = &attachment;
        let what = format!("attachment {number}: {name}");
        let entry = Entry { at: *at, by: by.clone(), what, text: String::new() };
        self.updated_at = *at;
        self.attachments.push(attachment);
        entry
    }
}
