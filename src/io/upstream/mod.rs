//! Ticket systems: what the engine wants done, carried out over HTTP, with one of four ends.
//!
//! Done, refused for good, worth another attempt, or unknown. An unknown end is looked up before
//! anything is sent again: a ticket by its external key, a comment by the key in its subject.

mod bucket;
mod config;
mod desk;
mod hooks;
mod http;
mod http_api;
mod plot;
mod reported;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::types::job::{Call, Delivered, Outcome};
use crate::engine::types::ticket::TicketStatus;

pub use config::{KINDS, Kind, Rate, UpstreamConfig};
pub use hooks::router as hooks;
pub use http::ConnectError;
pub use http_api::{Api, Finding, HookAnswer, Hooked, Op, Watch, words};
pub use reported::Told;
pub use wire::{Request, Response, UnderWay, Wire, WireError, plain_client};

use config::own_url;
use desk::DeskClient;
use http::{Attempt, Http};
use http_api::HttpApi;
use reported::Counters;
use wire::Network;

/// One ticket system.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    kind: Connector,
    counters: Counters,
}

#[derive(Debug)]
enum Connector {
    Desk(DeskClient),
    Http(Box<HttpApi>),
}

/// A ticket was changed by a person in its system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The system's id of the ticket.
    pub ticket: String,
    /// Its state now.
    pub status: TicketStatus,
    /// Who changed it.
    pub by: String,
}

impl Upstream {
    /// Gets ready to call a ticket system; `own` is where this gateway's own desk listens.
    ///
    /// # Errors
    /// A token that is not to be had, or an address that is none.
    pub fn connect(config: &UpstreamConfig, own: SocketAddr) -> Result<Upstream, ConnectError> {
        // Any other kind says in its file how the token goes.
        let scheme = matches!(config.kind, Kind::Desk).then_some("Bearer ");
        let own = own_url(own);
        let counters = Counters::default();
        let wire = Arc::new(Network::new(config, scheme, counters.clone())?);
        Ok(Upstream { counters, ..Upstream::over(wire, config, &own)? })
    }

    /// A ticket system that is reached over `wire`; `own` is the address of this gateway's own
    /// desk.
    ///
    /// # Errors
    /// An address that is none, or a secret that is not to be had.
    pub fn over(
        wire: Arc<dyn Wire>,
        config: &UpstreamConfig,
        own: &str,
    ) -> Result<Upstream, ConnectError> {
        let kind = match &config.kind {
            Kind::Desk => {
                let url = config.url.as_deref().unwrap_or(own);
                let base = format!("{url}desk/api/v1/");
                let http = Http::new(wire, &base, config.rate)?;
                Connector::Desk(DeskClient::new(http, config.plots))
            }
            Kind::Http(api) => Connector::Http(Box::new(HttpApi::new(wire, config, api)?)),
        };
        Ok(Upstream { name: config.name.clone(), kind, counters: Counters::default() })
    }

    /// Name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it said of use since the last time that it was asked, by header.
    pub fn take_reported(&self) -> BTreeMap<String, Told> {
        self.counters.take()
    }

    /// Whether a create that was lost on the way could be looked up.
    ///
    /// # Errors
    /// Why not, and what to do about it. Creates are held until it can.
    pub async fn check(&self) -> Result<(), String> {
        let mut attempt = Attempt::default();
        let checked = match &self.kind {
            // A desk keeps idempotency keys.
            Connector::Desk(_) => Ok(()),
            Connector::Http(api) => api.check(&mut attempt).await,
        };
        checked.map_err(why)
    }

    /// What people have done to tickets since the last look.
    ///
    /// # Errors
    /// Why it cannot be told; the next look goes on where this one began.
    pub async fn changes(&self, watch: &mut Watch) -> Result<Vec<Change>, String> {
        let mut attempt = Attempt::default();
        match &self.kind {
            // A desk tells by itself.
            Connector::Desk(_) => Ok(Vec::new()),
            Connector::Http(api) => api.changes(watch, &mut attempt).await.map_err(why),
        }
    }

    /// Takes what the ticket system tells by itself.
    pub async fn hook(&self, hooked: &Hooked) -> HookAnswer {
        match &self.kind {
            Connector::Desk(_) => HookAnswer::None,
            Connector::Http(api) => api.hook(hooked, crate::io::clock::now()).await,
        }
    }

    /// Tries the connection; with `probe`, a ticket is opened and resolved.
    pub async fn probe(&self, probe: bool) -> Vec<Finding> {
        match &self.kind {
            Connector::Desk(_) => Vec::new(),
            Connector::Http(api) => api.probe(probe).await,
        }
    }

    /// Makes one attempt at a call.
    pub async fn perform(&self, call: &Call) -> Delivered {
        let mut attempt = Attempt::within(call.requests_max);
        let ended = match &self.kind {
            Connector::Desk(desk) => desk.perform(call, &mut attempt).await,
            Connector::Http(api) => api.perform(call, &mut attempt).await,
        };
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(outcome) => attempt.end(outcome),
        };
        let outcome = match outcome {
            // The upstream is well.
            Outcome::Later { reason, after } if attempt.is_short => Outcome::Held { reason, after },
            other @ (Outcome::Done { .. }
            | Outcome::Rejected { .. }
            | Outcome::Gone { .. }
            | Outcome::Later { .. }
            | Outcome::Held { .. }
            | Outcome::Unknown { .. }) => other,
        };
        let Attempt { requests, is_short, .. } = attempt;
        Delivered { key: call.key, attempt: call.attempt, requests, is_short, outcome }
    }
}

/// Why a request has failed.
fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done { .. } => String::new(),
        Outcome::Rejected { reason }
        | Outcome::Gone { reason }
        | Outcome::Later { reason, .. }
        | Outcome::Held { reason, .. }
        | Outcome::Unknown { reason } => reason,
    }
}

/// The upstream's id of a ticket that must be known by now.
fn known_ticket(call: &Call) -> Result<&str, Outcome> {
    call.external.as_deref().ok_or_else(|| Outcome::Rejected {
        reason: "the ticket has never been opened in the upstream".to_owned(),
    })
}
