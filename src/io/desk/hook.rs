//! Webhooks as they are kept: who wants to hear of what, and what each has not been told yet.
//!
//! An event is written in the same batch as the change that it tells of, so that a crash loses
//! neither without the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::book::{Book, BookError};
use super::history::Entry;
use super::layout::put;
use super::ticket::Ticket;
use crate::engine::types::text::cut_bytes;
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Store, StoreError};

/// Webhooks that may be there.
pub const HOOKS_MAX: usize = 16;
/// Events that wait for one webhook; the oldest is dropped for one more.
pub const PENDING_MAX: usize = 1_000;
/// Text of a comment in an event, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// A ticket was opened.
    #[serde(rename = "ticket.opened")]
    Opened,
    /// Its state, severity, assignee or queue was changed.
    #[serde(rename = "ticket.changed")]
    Changed,
    /// A comment was added, and nothing else.
    #[serde(rename = "ticket.commented")]
    Commented,
    /// A file was attached.
    #[serde(rename = "ticket.attached")]
    Attached,
}

/// Something that happened to a ticket.
#[derive(Debug)]
pub struct News<'a> {
    pub event: Event,
    pub ticket: &'a Ticket,
    /// What is new in its history.
    pub entry: Option<&'a Entry>,
    pub at: Timestamp,
}

/// Who wants to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Number, from 1.
    pub id: u64,
    /// Where events are sent.
    pub url: String,
    /// Which; empty for all.
    pub events: BTreeSet<Event>,
    /// What signs them. Never answered.
    pub secret: String,
}

/// The webhooks and the numbers of the events that wait for each.
#[derive(Debug, Default)]
pub struct Hooks {
    hooks: BTreeMap<u64, Hook>,
    pending: BTreeMap<u64, BTreeSet<u64>>,
    last_hook: u64,
    last_event: u64,
}

/// What [`Hooks::tell`] has put into a batch.
#[derive(Debug, Default)]
pub struct Told {
    added: Vec<(u64, u64)>,
    dropped: Vec<(u64, u64)>,
}

impl Hooks {
    /// Reads what was kept.
    pub fn load(store: &Store) -> Result<Hooks, StoreError> {
        let mut hooks = Hooks::default();
        for record in store.scan(b"w/", b"") {
            let (_, value) = record?;
            match serde_json::from_slice::<Hook>(&value) {
                Ok(hook) => {
                    hooks.last_hook = hooks.last_hook.max(hook.id);
                    hooks.hooks.insert(hook.id, hook);
                }
                Err(error) => tracing::error!(%error, "A webhook of the desk cannot be read."),
            }
        }
        for record in store.scan(b"e/", b"") {
            let (key, _) = record?;
            let text = String::from_utf8_lossy(&key).into_owned();
            let numbers = text.split('/').skip(1).map(str::parse);
            if let [Ok(hook), Ok(event)] = numbers.collect::<Vec<Result<u64, _>>>()[..] {
                hooks.last_event = hooks.last_event.max(event);
                hooks.pending.entry(hook).or_default().insert(event);
            }
        }
        Ok(hooks)
    }

    /// Adds to `batch` what has to be told of a change.
    pub fn tell(&self, news: &News<'_>, batch: &mut Batch) -> Result<Told, StoreError> {
        let mut told = Told::default();
        let wants = |hook: &&Hook| hook.events.is_empty() || hook.events.contains(&news.event);
        for (number, hook) in (self.last_event + 1..).zip(self.hooks.values().filter(wants)) {
            let mut entry = news.entry.map_or(Json::Null, |entry| json!(entry));
            if let Some(text) = entry["text"].as_str() {
                entry["text"] = json!(cut_bytes(text, TEXT_BYTES_MAX));
            }
            let body = json!({
                "id": format!("{}-{number}", hook.id),
                "event": news.event,
                "at": news.at,
                "ticket": news.ticket.summary(),
                "entry": entry,
            });
            batch.push(put(event_key(hook.id, number), &body)?);
            told.added.push((hook.id, number));
            let waiting = self.pending.get(&hook.id);
            if let Some(waiting) = waiting.filter(|waiting| waiting.len() >= PENDING_MAX)
                && let Some(oldest) = waiting.first()
            {
                batch.push((event_key(hook.id, *oldest).into_bytes(), None));
                told.dropped.push((hook.id, *oldest));
            }
        }
        Ok(told)
    }

    /// The batch is on disk.
    pub fn told(&mut self, told: Told) {
        for (hook, event) in told.dropped {
            tracing::warn!(hook, event, "A webhook lags behind; its oldest event was dropped.");
            self.pending.entry(hook).or_default().remove(&event);
        }
        for (hook, event) in told.added {
            self.last_event = self.last_event.max(event);
            self.pending.entry(hook).or_default().insert(event);
        }
    }
}

impl Book {
    /// The webhooks.
    pub async fn hooks(&self) -> Vec<Hook> {
        self.shelf.lock().await.hooks.hooks.values().cloned().collect()
    }

    /// Adds a webhook; `None` when there are as many as may be.
    pub async fn add_hook(
        &self,
        url: String,
        events: BTreeSet<Event>,
        secret: String,
    ) -> Result<Option<Hook>, BookError> {
        let mut shelf = self.shelf.lock().await;
        if shelf.hooks.hooks.len() >= HOOKS_MAX {
            return Ok(None);
        }
        let hook = Hook { id: shelf.hooks.last_hook + 1, url, events, secret };
        self.store.commit_async(vec![put(hook_key(hook.id), &hook)?]).await?;
        shelf.hooks.last_hook = hook.id;
        shelf.hooks.hooks.insert(hook.id, hook.clone());
        Ok(Some(hook))
    }

    /// Removes a webhook with what it was not told; false when there is none.
    pub async fn remove_hook(&self, id: u64) -> Result<bool, BookError> {
        let mut shelf = self.shelf.lock().await;
        if !shelf.hooks.hooks.contains_key(&id) {
            return Ok(false);
        }
        let waiting = shelf.hooks.pending.get(&id).into_iter().flatten();
        let mut batch: Batch =
            waiting.map(|event| (event_key(id, *event).into_bytes(), None)).collect();
        batch.push((hook_key(id).into_bytes(), None));
        self.store.commit_async(batch).await?;
        shelf.hooks.hooks.remove(&id);
        shelf.hooks.pending.remove(&id);
        Ok(true)
    }

    /// The oldest event that a webhook has not been told: its number and what to send.
    pub async fn next_event(&self, hook: u64) -> Result<Option<(u64, Vec<u8>)>, BookError> {
        let shelf = self.shelf.lock().await;
        let Some(event) = shelf.hooks.pending.get(&hook).and_then(BTreeSet::first) else {
            return Ok(None);
        };
        let body = self.store.get(event_key(hook, *event).as_bytes())?.unwrap_or_default();
        Ok(Some((*event, body)))
    }

    /// A webhook has been told, or never will be.
    pub async fn event_done(&self, hook: u64, event: u64) -> Result<(), BookError> {
        let mut shelf = self.shelf.lock().await;
        self.store.commit_async(vec![(event_key(hook, event).into_bytes(), None)]).await?;
        if let Some(pending) = shelf.hooks.pending.get_mut(&hook) {
            pending.remove(&event);
        }
        Ok(())
    }
}

fn hook_key(hook: u64) -> String {
    format!("w/{hook:020}")
}

fn event_key(hook: u64, event: u64) -> String {
    format!("e/{hook:020}/{event:020}")
}
