//! Any HTTP API, from a TOML file alone.
//!
//! `spec` is what a file says, `read` reads it and `check` finds what cannot be meant. `template`,
//! `request`, `sign`, `condition`, `value`, `judge` and `limits` are functions over plain values;
//! only `call` calls. `run` makes the steps of an operation, `create` opens a ticket once (`proof`
//! finds it again), `effects` is the rest of its life, `changes` and `webhook` are what people do.

mod answer;
mod call;
mod changes;
mod check;
mod condition;
mod create;
mod digest;
mod effects;
mod filters;
mod judge;
mod limits;
mod place;
mod probe;
mod proof;
mod read;
mod request;
mod run;
mod session;
mod sign;
mod spec;
mod template;
mod value;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::config::UpstreamConfig;
use super::http::{Attempt, ConnectError};
use super::wire::Wire;
use crate::engine::types::job::{Allowance, Outcome};
use crate::engine::types::ticket::TicketStatus;
use call::{About, Caller, Failure};
use proof::Proof;
use spec::{Auth, Once, Operation, Step};

pub use changes::Watch;
pub use check::check;
pub use probe::Finding;
pub use read::read;
pub use spec::{Api, Op};

/// The closed sets of words of its keys, for the schema.
pub mod words {
    pub use super::digest::{Algorithm, Encoding};
    pub use super::spec::{Class, Confirm, Once, PagingStyle};
}

pub use webhook::{HookAnswer, Hooked};

/// A client of an API.
#[derive(Debug)]
pub(super) struct HttpApi {
    name: String,
    api: Arc<Api>,
    once: Once,
    /// New tickets get a plot.
    plots: bool,
    caller: Caller,
    /// By queue: whether what is opened there can be found again.
    proofs: Mutex<BTreeMap<String, Proof>>,
    /// The last status of a ticket that was told or that we have set.
    told: Mutex<BTreeMap<String, TicketStatus>>,
    /// Status words that nobody has named.
    strange: std::sync::Mutex<BTreeSet<String>>,
    me: Mutex<Option<String>>,
    /// Webhooks that were taken.
    deliveries: Mutex<webhook::Deliveries>,
    hook_secret: Option<String>,
}

impl HttpApi {
    /// Gets ready.
    pub fn new(
        wire: Arc<dyn Wire>,
        config: &UpstreamConfig,
        api: &Arc<Api>,
    ) -> Result<HttpApi, ConnectError> {
        Ok(HttpApi {
            name: config.name.clone(),
            once: api.once(),
            plots: config.plots && check::asks_for_plot(api),
            caller: Caller::new(wire, config, api)?,
            hook_secret: webhook::secret(api)?,
            api: Arc::clone(api),
            proofs: Mutex::default(),
            told: Mutex::default(),
            strange: std::sync::Mutex::default(),
            me: Mutex::default(),
            deliveries: Mutex::default(),
        })
    }

    /// Whether tickets of the default queue could be found again.
    pub async fn check(&self, attempt: &mut Attempt) -> Result<(), Outcome> {
        let mut names = template::Names::new();
        let about = About { reads: true, ..About::default() };
        let told = self.run(Op::Whoami, &mut names, about, false, attempt).await;
        told.map_err(Failure::outcome)?;
        self.guard(&self.queue(None), About::default(), attempt).await.map(|_| ())
    }
}

impl Api {
    /// What keeps a create from being carried out twice.
    pub fn once(&self) -> Once {
        let search = self.operations.contains_key(&Op::Find);
        match self.create.once {
            None if search => Once::Search,
            None => Once::Local,
            Some(said) => said,
        }
    }

    /// Requests that an attempt may make at first: what an ordinary one makes, with every look-up once
    /// and a new session. Pages past the first and changes that meet another one take a further attempt.
    pub fn allowance(&self) -> Allowance {
        let of =
            |op: Op| self.operations.get(&op).map_or(0, |operation| self.requests_of(operation));
        let session = match &self.auth {
            Some(Auth::OAuth2 { .. } | Auth::Login { .. }) => 2,
            Some(Auth::Key { .. } | Auth::Basic { .. }) | None => 0,
        };
        let once = [Op::Ready, Op::Twin, Op::Rekey, Op::Create, Op::Attach].map(of);
        // For a key that nobody has, for ours, and twice for a ticket that was opened just now.
        let open = once.into_iter().sum::<u32>() + 4 * of(Op::Find) + session;
        let follow = [Op::Comment, Op::Escalate, Op::Resolve, Op::Reopen].map(of);
        let follow = follow.into_iter().max().unwrap_or(0) + session;
        Allowance { open: open.max(1), follow: follow.max(1) }
    }

    fn requests_of(&self, operation: &Operation) -> u32 {
        let count = |steps: usize| u32::try_from(steps).unwrap_or(u32::MAX);
        let get = self.operations.get(&Op::Get).map_or(0, |get| count(get.steps.len()));
        let step = |step: &Step| {
            let looks = u32::from(step.already.is_some());
            1 + looks + if step.lock.is_some() { get } else { 0 }
        };
        let verify = if operation.verify.is_empty() { 0 } else { get };
        operation.steps.iter().map(step).sum::<u32>() + verify
    }

    /// False where a crash in the wrong moment can double a ticket.
    pub fn is_exactly_once(&self) -> bool {
        self.once() != Once::Local
    }
}
