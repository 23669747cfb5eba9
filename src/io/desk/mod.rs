//! The desk: a small, real ticket desk in the same binary, so that a new user needs nothing else.
//!
//! It is an upstream like any other: the gateway reaches it over its HTTP API, and it keeps its
//! tickets in a store of its own.

mod api;
mod attachments;
mod book;
mod deliver;
mod history;
mod hook;
mod layout;
mod pages;
mod request;
mod retention;
mod ticket;
mod usage;
mod webhooks;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use chrono_tz::Tz;
use tokio::sync::{broadcast, watch};

use crate::engine::types::ticket::TicketStatus;
use crate::io::store::{StoreError, StoreOptions};

use book::Book;
pub use book::BookError;

/// Changes that a slow listener may miss.
const CHANGES_MAX: usize = 1_024;

/// The desk; clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    book: Arc<Book>,
    changes: broadcast::Sender<Change>,
    /// Something was written: webhooks may have to be told.
    news: watch::Sender<()>,
    /// What the API asks for; `None` for nothing.
    token: Option<blake3::Hash>,
}

/// A ticket was changed by a person at the desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The desk's id of the ticket.
    pub ticket: String,
    /// Its state now.
    pub status: TicketStatus,
    /// Who changed it.
    pub by: String,
}

impl Desk {
    /// Opens the desk in a folder of its own. With a token its API takes nothing without it.
    ///
    /// # Errors
    /// See [`crate::io::store::Store::open`].
    pub fn open(
        folder: &Path,
        options: StoreOptions,
        token: Option<&str>,
    ) -> Result<Desk, StoreError> {
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (news, _) = watch::channel(());
        let token = token.map(|token| blake3::hash(token.as_bytes()));
        Ok(Desk { book: Arc::new(Book::open(folder, options)?), changes, news, token })
    }

    /// Tells the webhooks until `stop` says so.
    pub async fn tell_webhooks(self, client: reqwest::Client, stop: watch::Receiver<bool>) {
        deliver::run(self, client, stop).await;
    }

    /// What people change at the desk.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Hands every record of the desk to `take`; see [`crate::io::store::Store::copy`]. Blocks.
    ///
    /// # Errors
    /// Those of [`crate::io::store::Store::copy`].
    pub fn copy<E: From<StoreError>>(
        &self,
        take: impl FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.book.store.copy(take)
    }

    fn tell(&self, change: Change) {
        // Nobody may be listening.
        drop(self.changes.send(change));
    }
}

/// The desk's API and pages, which have their times in a zone.
pub fn router(desk: Desk, zone: Tz) -> Router {
    api::router(desk.clone()).merge(pages::router(desk, zone))
}
