//! The desk's tickets and the requests that it has already carried out. `layout.rs` says how they are
//! kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::Mutex;

use super::history::Entry;
use super::hook::{Event, Hooks, News};
use super::layout::{
    Kept, USED, Used, bring_up, content_key, external_key, put, read, request_key, ticket_key,
};
use super::ticket::{Attachment, Change, NewFile, NewTicket, Ticket};
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Store, StoreError, StoreOptions};

/// Attachments of one ticket.
pub(super) const ATTACHMENTS_MAX: usize = 50;

/// Tickets, in the store; in memory is what they are looked for by.
#[derive(Debug)]
pub struct Book {
    pub(super) store: Store,
    pub(super) shelf: Mutex<Shelf>,
    calls: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    tickets: BTreeMap<u64, Facts>,
    used: Used,
    pub(super) hooks: Hooks,
}

/// What a ticket is looked for by.
#[derive(Debug)]
struct Facts {
    status: TicketStatus,
    device: Box<str>,
    updated_at: Timestamp,
}

/// What a request with an idempotency key was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub ticket: u64,
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

/// A ticket with all that has happened to it.
#[derive(Debug, Serialize)]
pub struct WholeTicket {
    /// The ticket.
    #[serde(flatten)]
    pub ticket: Ticket,
    /// What happened, oldest first.
    pub history: Vec<Entry>,
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
        let used = bring_up(&store)?;
        let mut shelf = Shelf { used, hooks: Hooks::load(&store)?, ..Shelf::default() };
        for record in store.scan(b"t/", b"") {
            let (key, value) = record?;
            match read::<Kept>(&key, &value) {
                Ok(Kept { ticket, .. }) => {
                    let id = ticket.id.parse().unwrap_or(0);
                    shelf.tickets.insert(id, Facts::of(&ticket));
                }
                Err(error) => tracing::error!(%error, "A ticket of the desk cannot be read."),
            }
        }
        let calls = AtomicU64::new(used.calls);
        Ok(Book { store, shelf: Mutex::new(shelf), calls })
    }

    /// Opens a ticket, or finds the one that this key, or this external key, opened before.
    pub async fn open_ticket(
        &self,
        key: Option<&str>,
        mut new: NewTicket,
        at: Timestamp,
    ) -> Result<Written, BookError> {
        let mut shelf = self.shelf.lock().await;
        let by_key = self.done(key)?.map(|done| done.ticket);
        let known = match by_key {
            Some(id) => Some(id),
            None => self.by_external_key(&new.external_key)?,
        };
        if let Some(Kept { ticket, .. }) = known.map(|id| self.kept(id)).transpose()?.flatten() {
            return Ok(Written { ticket, replayed: true, attachment: None });
        }
        let id = shelf.used.tickets + 1;
        let files = std::mem::take(&mut new.attachments);
        let mut kept = Kept { ticket: Ticket::new(id, new, at), history: Default::default() };
        let external_key = external_key(&kept.ticket.external_key);
        let mut batch = vec![(external_key, Some(id.to_string().into_bytes()))];
        let mut used = Used { tickets: id, ..shelf.used };
        for (number, file) in (1..).zip(files) {
            let NewFile { name, content_type, content } = file;
            let (bytes, by) = (content.len() as u64, "faultgate".to_owned());
            let file = Attachment { number, name, content_type, bytes, by, at };
            kept.ticket.attachments.push(file);
            used.attached += bytes;
            batch.push((content_key(id, number), Some(content)));
        }
        let done = Done { ticket: id, attachment: None };
        let news = News { event: Event::Opened, ticket: &kept.ticket, entry: None, at };
        self.write(&mut shelf, Request { key, done, used }, &kept, &news, batch).await?;
        Ok(Written { ticket: kept.ticket, replayed: false, attachment: None })
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
        let (number, mut kept) = self.find(id)?;
        if self.repeats(key, number)?.is_some() {
            return Ok(Written { ticket: kept.ticket, replayed: true, attachment: None });
        }
        let event = if change.is_comment() { Event::Commented } else { Event::Changed };
        let entry = kept.ticket.apply(change, by, at);
        let mut batch = Batch::new();
        kept.history.add(&self.store, number, &entry, &mut batch)?;
        let done = Done { ticket: number, attachment: None };
        let news = News { event, ticket: &kept.ticket, entry: Some(&entry), at };
        let used = shelf.used;
        self.write(&mut shelf, Request { key, done, used }, &kept, &news, batch).await?;
        Ok(Written { ticket: kept.ticket, replayed: false, attachment: None })
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
        let (number, mut kept) = self.find(id)?;
        if let Some(Done { attachment, .. }) = self.repeats(key, number)? {
            return Ok(Written { ticket: kept.ticket, replayed: true, attachment });
        }
        let files = &kept.ticket.attachments;
        if files.len() >= ATTACHMENTS_MAX {
            return Err(BookError::Full(id.to_owned()));
        }
        let NewAttachment { name, content_type, content } = file;
        let file = files.last().map_or(1, |last| last.number + 1);
        let bytes = content.len() as u64;
        let by = by.to_owned();
        let attachment = Attachment { number: file, name, content_type, bytes, by, at };
        let entry = kept.ticket.attach(attachment);
        let mut batch = vec![(content_key(number, file), Some(content))];
        kept.history.add(&self.store, number, &entry, &mut batch)?;
        let used = Used { attached: shelf.used.attached + bytes, ..shelf.used };
        let done = Done { ticket: number, attachment: Some(file) };
        let news = News { event: Event::Attached, ticket: &kept.ticket, entry: Some(&entry), at };
        self.write(&mut shelf, Request { key, done, used }, &kept, &news, batch).await?;
        Ok(Written { ticket: kept.ticket, replayed: false, attachment: Some(file) })
    }

    /// An attachment and what is in it.
    pub fn attachment(&self, id: &str, number: u32) -> Result<(Attachment, Vec<u8>), BookError> {
        let missing = || BookError::Missing(format!("{id} with an attachment {number}"));
        let (ticket_number, kept) = self.find(id)?;
        let known = kept.ticket.attachments.into_iter().find(|known| known.number == number);
        let known = known.ok_or_else(missing)?;
        let content = self.store.get(&content_key(ticket_number, number))?;
        Ok((known, content.ok_or_else(missing)?))
    }

    /// One ticket.
    pub fn ticket(&self, id: &str) -> Result<Ticket, BookError> {
        Ok(self.find(id)?.1.ticket)
    }

    /// One ticket with all that has happened to it.
    pub fn whole(&self, id: &str) -> Result<WholeTicket, BookError> {
        let (number, Kept { ticket, history }) = self.find(id)?;
        Ok(WholeTicket { ticket, history: history.read(&self.store, number)? })
    }

    /// The ids of tickets, the newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<String>, BookError> {
        let only = match &filter.external_key {
            Some(key) => match self.by_external_key(key)? {
                Some(id) => Some(id),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let equal = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let wanted = |(id, facts): &(&u64, &Facts)| {
            only.is_none_or(|only| only == **id)
                && equal(&filter.device, &facts.device)
                && equal(&filter.status, facts.status.word())
                && filter.updated_since.is_none_or(|since| facts.updated_at >= since)
        };
        let shelf = self.shelf.lock().await;
        let found = shelf.tickets.iter().rev().filter(wanted).take(filter.limit);
        Ok(found.map(|(id, _)| id.to_string()).collect())
    }

    /// How many tickets were ever opened, and how many bytes are attached to them.
    pub async fn totals(&self) -> (u64, u64) {
        let used = self.shelf.lock().await.used;
        (used.tickets, used.attached)
    }

    /// True when there are tickets that were over and last changed before a time.
    pub(super) async fn has_over_before(&self, before: Timestamp) -> bool {
        let shelf = self.shelf.lock().await;
        shelf.tickets.keys().any(|id| shelf.is_over_before(*id, before))
    }

    /// The tickets that were over and last changed before a time, the oldest first.
    pub(super) async fn over_before(&self, before: Timestamp) -> Vec<u64> {
        let shelf = self.shelf.lock().await;
        let old = shelf.tickets.keys().copied().filter(|id| shelf.is_over_before(*id, before));
        let mut old: Vec<u64> = old.collect();
        old.sort_by_key(|id| shelf.tickets.get(id).map(|facts| facts.updated_at));
        old
    }

    /// Counts a call; how many there have been with it.
    pub fn count_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ticket, key and events in one batch: what is answered is on disk.
    async fn write(
        &self,
        shelf: &mut Shelf,
        request: Request<'_>,
        kept: &Kept,
        news: &News<'_>,
        more: Batch,
    ) -> Result<(), BookError> {
        let Request { key, done, used } = request;
        let used = Used { calls: self.calls.load(Ordering::Relaxed), ..used };
        let mut batch = more;
        batch.push(put(ticket_key(done.ticket), kept)?);
        batch.push(put(USED.to_owned(), &used)?);
        if let Some(key) = key {
            batch.push((request_key(key), Some(done.to_string().into_bytes())));
        }
        let told = shelf.hooks.tell(news, &mut batch)?;
        self.store.commit_async(batch).await?;
        shelf.used = used;
        shelf.tickets.insert(done.ticket, Facts::of(&kept.ticket));
        shelf.hooks.told(told);
        Ok(())
    }

    fn find(&self, id: &str) -> Result<(u64, Kept), BookError> {
        let missing = || BookError::Missing(id.to_owned());
        let number: u64 = id.parse().map_err(|_| missing())?;
        Ok((number, self.kept(number)?.ok_or_else(missing)?))
    }

    pub(super) fn kept(&self, ticket: u64) -> Result<Option<Kept>, BookError> {
        let key = ticket_key(ticket).into_bytes();
        let value = self.store.get(&key)?;
        Ok(value.map(|value| read(&key, &value)).transpose()?)
    }

    fn by_external_key(&self, key: &str) -> Result<Option<u64>, BookError> {
        let id = self.store.get(&external_key(key))?;
        Ok(id.and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok()))
    }

    /// What the request with this key did before.
    fn done(&self, key: Option<&str>) -> Result<Option<Done>, BookError> {
        let Some(key) = key else { return Ok(None) };
        let done = self.store.get(&request_key(key))?;
        Ok(done.and_then(|done| Done::parse(std::str::from_utf8(&done).ok()?)))
    }

    /// What the request with this key did before, to this ticket.
    fn repeats(&self, key: Option<&str>, ticket: u64) -> Result<Option<Done>, BookError> {
        match self.done(key)? {
            Some(done) if done.ticket != ticket => Err(BookError::KeyUsed(done.ticket)),
            done => Ok(done),
        }
    }
}

/// A request that is carried out.
struct Request<'a> {
    key: Option<&'a str>,
    done: Done,
    /// What was used with it.
    used: Used,
}

impl Shelf {
    /// True for a ticket that was over, and last changed, before a time.
    pub(super) fn is_over_before(&self, id: u64, before: Timestamp) -> bool {
        let facts = self.tickets.get(&id);
        facts.is_some_and(|facts| facts.status.is_over() && facts.updated_at < before)
    }

    /// A ticket has gone.
    pub(super) fn forget(&mut self, id: u64) {
        self.tickets.remove(&id);
    }
}

impl Facts {
    fn of(ticket: &Ticket) -> Facts {
        Facts {
            status: ticket.status,
            device: ticket.device.as_str().into(),
            updated_at: ticket.updated_at,
        }
    }
}

impl Done {
    pub(super) fn parse(text: &str) -> Option<Done> {
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
