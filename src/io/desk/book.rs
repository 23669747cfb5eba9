//! The desk's tickets and the requests that it has already carried out.
//!
//! | key | value |
//! | --- | --- |
//! | `t/ID` | a ticket |
//! | `i/KEY` | idempotency key -> `ID`, or `ID/NUMBER` of an attachment, that its request was about |
//! | `a/ID/NUMBER` | content of an attachment |
//! | `w/HOOK` | a webhook |
//! | `e/HOOK/NUMBER` | an event that it has not been told yet |
//! | `u/calls` | calls of the API so far |

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::Mutex;

use super::hook::{Event, Hooks, News};
use super::ticket::{Attachment, Change, NewTicket, Ticket};
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Store, StoreError, StoreOptions};

/// Attachments of one ticket.
const ATTACHMENTS_MAX: usize = 50;

/// Tickets, in memory for reading and in the store for ever.
#[derive(Debug)]
pub struct Book {
    pub(super) store: Store,
    pub(super) shelf: Mutex<Shelf>,
    /// Calls of the API. Written with every change: what was only read since the last one is
    /// forgotten by a crash.
    calls: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    tickets: BTreeMap<u64, Ticket>,
    by_key: BTreeMap<String, u64>,
    done: BTreeMap<String, Done>,
    created: u64,
    pub(super) hooks: Hooks,
}

/// What a request with an idempotency key was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    ticket: u64,
    attachment: Option<u32>,
}

/// A file to be attached.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    /// Name of the file.
    pub name: String,
    /// What kind of file.
    pub content_type: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ticket after it.
    pub ticket: Ticket,
    /// The request had been carried out before.
    pub replayed: bool,
    /// The attachment that the request was about.
    pub attachment: Option<u32>,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// No such ticket.
    #[error("there is no ticket {0}")]
    Missing(String),
    /// The key belongs to another request.
    #[error("this idempotency key was used for ticket {0}; give every request its own")]
    KeyUsed(u64),
    /// It has as many attachments as it may.
    #[error("ticket {0} has {ATTACHMENTS_MAX} attachments, which is as many as are kept")]
    Full(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record could not be made into JSON.
    #[error("a record cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Which tickets to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub external_key: Option<String>,
    pub device: Option<String>,
    pub status: Option<String>,
    pub updated_since: Option<Timestamp>,
    pub limit: usize,
}

impl Book {
    /// Opens the book in a folder of its own.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Book, StoreError> {
        let (store, _) = Store::open(folder, options)?;
        let mut shelf = Shelf::default();
        for record in store.scan(b"t/", b"") {
            let (key, value) = record?;
            match serde_json::from_slice::<Ticket>(&value) {
                Ok(ticket) => {
                    let id = ticket.id.parse().unwrap_or(0);
                    shelf.by_key.insert(ticket.external_key.clone(), id);
                    shelf.tickets.insert(id, ticket);
                }
                Err(error) => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    tracing::error!(key, %error, "A ticket of the desk cannot be read.");
                }
            }
        }
        for record in store.scan(b"i/", b"") {
            let (key, value) = record?;
            let key = String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned();
            let done = std::str::from_utf8(&value).ok().and_then(Done::parse);
            shelf.done.extend(done.map(|done| (key, done)));
        }
        shelf.created = shelf.tickets.len() as u64;
        shelf.hooks = Hooks::load(&store)?;
        let calls = store.get(CALLS)?.and_then(|value| String::from_utf8(value).ok());
        let calls = calls.and_then(|calls| calls.parse().ok()).unwrap_or(0);
        Ok(Book { store, shelf: Mutex::new(shelf), calls: AtomicU64::new(calls) })
    }

    /// Opens a ticket, or finds the one that this key, or this external key, opened before.
    pub async fn open_ticket(
        &self,
        key: Option<&str>,
        new: NewTicket,
        at: Timestamp,
    ) -> Result<Written, BookError> {
        let mut shelf = self.shelf.lock().await;
        let by_key = key.and_then(|key| shelf.done.get(key)).map(|done| done.ticket);
        let known = by_key.or(shelf.by_key.get(&new.external_key).copied());
        if let Some(ticket) = known.and_then(|id| shelf.tickets.get(&id)) {
            return Ok(Written { ticket: ticket.clone(), replayed: true, attachment: None });
        }
        let id = shelf.tickets.last_key_value().map_or(1, |(last, _)| last + 1);
        let ticket = Ticket::new(id, new, at);
        let done = Done { ticket: id, attachment: None };
        let news = News { event: Event::Opened, ticket: &ticket, at };
        self.write(&mut shelf, key, done, &news, Batch::new()).await?;
        shelf.created += 1;
        shelf.by_key.insert(ticket.external_key.clone(), id);
        Ok(Written { ticket, replayed: false, attachment: None })
    }

    /// Changes a ticket once for each key.
    pub async fn change(
        &self,
        key: Option<&str>,
        id: &str,
        change: Change,
        by: &str,
        at: Timestamp,
    ) -> Result<Written, BookError> {
        let mut shelf = self.shelf.lock().await;
        let (number, mut ticket) = shelf.find(id)?;
        if shelf.repeats(key, number)?.is_some() {
            return Ok(Written { ticket, replayed: true, attachment: None });
        }
        let event = if change.is_comment() { Event::Commented } else { Event::Changed };
        ticket.apply(change, by, at);
        let done = Done { ticket: number, attachment: None };
        let news = News { event, ticket: &ticket, at };
        self.write(&mut shelf, key, done, &news, Batch::new()).await?;
        Ok(Written { ticket, replayed: false, attachment: None })
    }

    /// Attaches a file to a ticket once for each key.
    pub async fn attach(
        &self,
        key: Option<&str>,
        id: &str,
        file: NewAttachment,
        by: &str,
        at: Timestamp,
    ) -> Result<Written, BookError> {
        let mut shelf = self.shelf.lock().await;
        let (ticket_number, mut ticket) = shelf.find(id)?;
        if let Some(done) = shelf.repeats(key, ticket_number)? {
            return Ok(Written { ticket, replayed: true, attachment: done.attachment });
        }
        if ticket.attachments.len() >= ATTACHMENTS_MAX {
            return Err(BookError::Full(id.to_owned()));
        }
        let NewAttachment { name, content_type, content } = file;
        let number = ticket.attachments.last().map_or(1, |last| last.number + 1);
        let bytes = content.len() as u64;
        ticket.attach(Attachment { number, name, content_type, bytes, by: by.to_owned(), at });
        let done = Done { ticket: ticket_number, attachment: Some(number) };
        let news = News { event: Event::Attached, ticket: &ticket, at };
        let content = vec![(content_key(ticket_number, number), Some(content))];
        self.write(&mut shelf, key, done, &news, content).await?;
        Ok(Written { ticket, replayed: false, attachment: Some(number) })
    }

    /// An attachment and what is in it.
    pub async fn attachment(
        &self,
        id: &str,
        number: u32,
    ) -> Result<(Attachment, Vec<u8>), BookError> {
        let missing = || BookError::Missing(format!("{id} with an attachment {number}"));
        let (ticket_number, ticket) = self.shelf.lock().await.find(id)?;
        let known = ticket.attachments.into_iter().find(|known| known.number == number);
        let known = known.ok_or_else(missing)?;
        let content = self.store.get(&content_key(ticket_number, number))?;
        Ok((known, content.ok_or_else(missing)?))
    }

    /// One ticket.
    pub async fn ticket(&self, id: &str) -> Option<Ticket> {
        let id = id.parse().ok()?;
        self.shelf.lock().await.tickets.get(&id).cloned()
    }

    /// Tickets, the newest first.
    pub async fn list(&self, filter: &Filter) -> Vec<Ticket> {
        let wanted = |ticket: &&Ticket| {
            let equal = |wanted: &Option<String>, found: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted == found)
            };
            equal(&filter.external_key, &ticket.external_key)
                && equal(&filter.device, &ticket.device)
                && equal(&filter.status, ticket.status.word())
                && filter.updated_since.is_none_or(|since| ticket.updated_at >= since)
        };
        let shelf = self.shelf.lock().await;
        shelf.tickets.values().rev().filter(wanted).take(filter.limit).cloned().collect()
    }

    /// How many tickets were ever opened, and how many bytes are attached to them.
    pub async fn totals(&self) -> (u64, u64) {
        let shelf = self.shelf.lock().await;
        let files = shelf.tickets.values().flat_map(|ticket| &ticket.attachments);
        (shelf.created, files.map(|file| file.bytes).sum())
    }

    /// Counts a call; how many there have been with it.
    pub fn count_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ticket, key and events in one batch: what is answered is on disk.
    async fn write(
        &self,
        shelf: &mut Shelf,
        key: Option<&str>,
        done: Done,
        news: &News<'_>,
        more: Batch,
    ) -> Result<(), BookError> {
        let mut batch = more;
        batch.push(put(format!("t/{:020}", done.ticket), news.ticket)?);
        let calls = self.calls.load(Ordering::Relaxed).to_string();
        batch.push((CALLS.to_vec(), Some(calls.into_bytes())));
        if let Some(key) = key {
            batch.push((format!("i/{key}").into_bytes(), Some(done.to_string().into_bytes())));
        }
        let told = shelf.hooks.tell(news, &mut batch)?;
        self.store.commit_async(batch).await?;
        if let Some(key) = key {
            shelf.done.insert(key.to_owned(), done);
        }
        shelf.tickets.insert(done.ticket, news.ticket.clone());
        shelf.hooks.told(told);
        Ok(())
    }
}

/// Key of [`Book::count_call`].
const CALLS: &[u8] = b"u/calls";

fn content_key(ticket: u64, number: u32) -> Vec<u8> {
    format!("a/{ticket:020}/{number:010}").into_bytes()
}

impl Shelf {
    fn find(&self, id: &str) -> Result<(u64, Ticket), BookError> {
        let missing = || BookError::Missing(id.to_owned());
        let number: u64 = id.parse().map_err(|_| missing())?;
        let ticket = self.tickets.get(&number).cloned().ok_or_else(missing)?;
        Ok((number, ticket))
    }

    /// What the request with this key did before, to this ticket.
    fn repeats(&self, key: Option<&str>, ticket: u64) -> Result<Option<Done>, BookError> {
        match key.and_then(|key| self.done.get(key)) {
            Some(done) if done.ticket != ticket => Err(BookError::KeyUsed(done.ticket)),
            done => Ok(done.copied()),
        }
    }
}

impl Done {
    fn parse(text: &str) -> Option<Done> {
        let (ticket, attachment) = match text.split_once('/') {
            Some((ticket, attachment)) => (ticket, Some(attachment.parse().ok()?)),
            None => (text, None),
        };
        Some(Done { ticket: ticket.parse().ok()?, attachment })
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.ticket)?;
        self.attachment.map_or(Ok(()), |number| write!(out, "/{number}"))
    }
}

pub(super) fn put(
    key: String,
    record: &impl Serialize,
) -> Result<(Vec<u8>, Option<Vec<u8>>), serde_json::Error> {
    Ok((key.into_bytes(), Some(serde_json::to_vec(record)?)))
}
