//! The desk's tickets and the requests that it has already carried out.
//!
//! | key | value |
//! | --- | --- |
//! | `t/ID` | a ticket |
//! | `i/KEY` | idempotency key -> id of the ticket that its request was about |

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use tokio::sync::Mutex;

use super::ticket::{Change, NewTicket, Ticket};
use crate::engine::types::time::Timestamp;
use crate::io::store::{Batch, Store, StoreError, StoreOptions};

/// Tickets, in memory for reading and in the store for ever.
#[derive(Debug)]
pub struct Book {
    store: Store,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    tickets: BTreeMap<u64, Ticket>,
    by_key: BTreeMap<String, u64>,
    done: BTreeMap<String, u64>,
    created: u64,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ticket after it.
    pub ticket: Ticket,
    /// The request had been carried out before.
    pub replayed: bool,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// No such ticket.
    #[error("there is no ticket {0}")]
    Missing(String),
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
            let id = std::str::from_utf8(&value).ok().and_then(|id| id.parse().ok());
            shelf.done.extend(id.map(|id| (key, id)));
        }
        shelf.created = shelf.tickets.len() as u64;
        Ok(Book { store, shelf: Mutex::new(shelf) })
    }

    /// Opens a ticket, or finds the one that this key, or this external key, opened before.
    pub async fn open_ticket(
        &self,
        key: Option<&str>,
        new: NewTicket,
        at: Timestamp,
    ) -> Result<Written, BookError> {
        let mut shelf = self.shelf.lock().await;
        let known = key.and_then(|key| shelf.done.get(key)).or(shelf.by_key.get(&new.external_key));
        if let Some(ticket) = known.and_then(|id| shelf.tickets.get(id)) {
            return Ok(Written { ticket: ticket.clone(), replayed: true });
        }
        let id = shelf.tickets.last_key_value().map_or(1, |(last, _)| last + 1);
        let ticket = Ticket::new(id, new, at);
        self.write(&mut shelf, key, id, &ticket).await?;
        shelf.created += 1;
        shelf.by_key.insert(ticket.external_key.clone(), id);
        Ok(Written { ticket, replayed: false })
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
        let missing = || BookError::Missing(id.to_owned());
        let number: u64 = id.parse().map_err(|_| missing())?;
        let mut ticket = shelf.tickets.get(&number).cloned().ok_or_else(missing)?;
        if key.is_some_and(|key| shelf.done.contains_key(key)) {
            return Ok(Written { ticket, replayed: true });
        }
        ticket.apply(change, by, at);
        self.write(&mut shelf, key, number, &ticket).await?;
        Ok(Written { ticket, replayed: false })
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

    /// How many tickets were ever opened.
    pub async fn created(&self) -> u64 {
        self.shelf.lock().await.created
    }

    /// Ticket and key in one batch: what is answered is on disk.
    async fn write(
        &self,
        shelf: &mut Shelf,
        key: Option<&str>,
        id: u64,
        ticket: &Ticket,
    ) -> Result<(), BookError> {
        let mut batch: Batch = vec![put(format!("t/{id:020}"), ticket)?];
        if let Some(key) = key {
            batch.push((format!("i/{key}").into_bytes(), Some(id.to_string().into_bytes())));
        }
        self.store.commit_async(batch).await?;
        if let Some(key) = key {
            shelf.done.insert(key.to_owned(), id);
        }
        shelf.tickets.insert(id, ticket.clone());
        Ok(())
    }
}

fn put(
    key: String,
    record: &impl Serialize,
) -> Result<(Vec<u8>, Option<Vec<u8>>), serde_json::Error> {
    Ok((key.into_bytes(), Some(serde_json::to_vec(record)?)))
}
