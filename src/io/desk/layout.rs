//! How a desk is kept, and how one of the first layout, whose tickets held their own history, becomes
//! one of today.
//!
//! | key | value |
//! | --- | --- |
//! | `t/ID` | a ticket, and which entries of its history are kept |
//! | `h/ID/NUMBER` | an entry of its history |
//! | `k/KEY` | external key -> `ID` |
//! | `i/KEY` | idempotency key -> `ID`, or `ID/NUMBER` of an attachment, that its request was about |
//! | `a/ID/NUMBER` | content of an attachment |
//! | `w/HOOK` | a webhook |
//! | `e/HOOK/NUMBER` | an event that it has not been told yet |
//! | `u/used` | what was used of the API so far |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::history::{Entry, Span};
use super::ticket::Ticket;
use crate::io::store::{Batch, Store, StoreError};

/// Where [`Used`] is kept.
pub(super) const USED: &str = "u/used";
/// Where the first layout counted calls.
const CALLS: &[u8] = b"u/calls";

/// A ticket as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub ticket: Ticket,
    pub history: Span,
}

/// What was used of the API so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Used {
    /// Requests. Written with every change: what was only read since the last one is forgotten by
    /// a crash.
    pub calls: u64,
    /// Tickets that were opened; the number of the last one.
    pub tickets: u64,
    /// Bytes that were attached.
    pub attached: u64,
}

/// A ticket of the first layout.
#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    ticket: Ticket,
    history: Vec<Entry>,
}

pub(super) fn ticket_key(ticket: u64) -> String {
    format!("t/{ticket:020}")
}

/// Key of an external key.
pub(super) fn external_key(key: &str) -> Vec<u8> {
    format!("k/{key}").into_bytes()
}

/// Key of an idempotency key.
pub(super) fn request_key(key: &str) -> Vec<u8> {
    format!("i/{key}").into_bytes()
}

/// Key of what is in an attachment.
pub(super) fn content_key(ticket: u64, number: u32) -> Vec<u8> {
    format!("a/{ticket:020}/{number:010}").into_bytes()
}

/// A record to be put.
pub(super) fn put(
    key: String,
    record: &impl Serialize,
) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
    let value = serde_json::to_vec(record).map_err(|cause| unreadable(key.as_bytes(), &cause))?;
    Ok((key.into_bytes(), Some(value)))
}

/// A record that was put.
pub(super) fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|cause| unreadable(key, &cause))
}

fn unreadable(key: &[u8], cause: &serde_json::Error) -> StoreError {
    let key = String::from_utf8_lossy(key).into_owned();
    StoreError::Unreadable { key, cause: cause.to_string() }
}

/// What was used so far; a desk of the first layout is brought up before. It may be cut off anywhere
/// and is made again: each ticket is changed in one commit, and what was used is written last.
pub(super) fn bring_up(store: &Store) -> Result<Used, StoreError> {
    if let Some(value) = store.get(USED.as_bytes())? {
        return read(USED.as_bytes(), &value);
    }
    let calls = store.get(CALLS)?.and_then(|value| String::from_utf8(value).ok());
    let calls = calls.and_then(|calls| calls.parse().ok()).unwrap_or(0);
    let mut used = Used { calls, ..Used::default() };
    for record in store.scan(b"t/", b"") {
        let (key, value) = record?;
        let ticket = match (read::<Kept>(&key, &value), read::<Whole>(&key, &value)) {
            (Ok(kept), _) => kept.ticket,
            (Err(_), Ok(whole)) => part(store, whole)?,
            // It is left for the load, which tells of it.
            (Err(_), Err(_)) => continue,
        };
        used.tickets = used.tickets.max(ticket.id.parse().unwrap_or(0));
        used.attached += ticket.attachments.iter().map(|file| file.bytes).sum::<u64>();
    }
    if used.tickets > 0 || used.calls > 0 {
        store.commit(vec![put(USED.to_owned(), &used)?, (CALLS.to_vec(), None)])?;
        tracing::info!(tickets = used.tickets, "The desk is of the newest layout now.");
    }
    Ok(used)
}

/// Parts a ticket from its history.
fn part(store: &Store, whole: Whole) -> Result<Ticket, StoreError> {
    let Whole { ticket, history } = whole;
    let id: u64 = ticket.id.parse().unwrap_or(0);
    let mut batch = Batch::new();
    let mut span = Span::default();
    for entry in &history {
        span.add(store, id, entry, &mut batch)?;
    }
    batch.push((external_key(&ticket.external_key), Some(ticket.id.clone().into_bytes())));
    let kept = Kept { ticket, history: span };
    batch.push(put(ticket_key(id), &kept)?);
    store.commit(batch)?;
    Ok(kept.ticket)
}
