//! Wiring: everything is built here once, in the order in which it works.

pub mod backtest;
pub mod billing;
pub mod cores;
mod dispatch;
mod figures;
mod gateway;
mod load;
pub mod observe;
mod own_thread;
mod poll;
mod reload;
mod reported;
mod retention;
pub mod suggest;
pub mod turn;
pub mod verify;
pub mod view;

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place};

use crate::config::Config;
use crate::config::rules::RuleSet;
use crate::engine::guard::LedgerEnd;
use crate::engine::pipeline::{Engine, Snapshot};
use crate::engine::policy::Policy;
use crate::engine::types::effect::Effects;
use crate::engine::types::time::Timestamp;
use crate::io::clock::{self, Clock};
use crate::io::desk::{self, Desk};
use crate::io::journal::{self, Journal};
use crate::io::mqtt::config::BrokerUrl;
use crate::io::mqtt::embedded::{Broker, LogBounds};
use crate::io::mqtt::external::Subscriber;
use crate::io::mqtt::host::Host;
use crate::io::mqtt::{self, Inbox};
use crate::io::rule_history::Origin;
use crate::io::secret::Secret;
use crate::io::store::{StoreError, StoreOptions};
use crate::io::telemetry;
use crate::io::upstream::{self, Upstream};
use crate::io::web::console::Console;
use crate::io::web::{self, Asker, Reloader};
use dispatch::Dispatcher;
use gateway::{Ended, Gateway, Inlets};
use observe::{Observer, Story};
use own_thread::{OwnThread, Work};
use retention::Early;
use view::Health;

/// Results of calls that may wait for the loop.
const RESULTS_MAX: usize = 256;
/// How long a stop waits for the loop, which may have a store that refuses to write.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API and the desk are.
    pub http: SocketAddr,
    /// Where devices connect; `None` without the embedded broker.
    pub mqtt: Option<SocketAddr>,
    /// What happens to tickets, for whoever wants to tell it.
    pub stories: broadcast::Sender<Story>,
    reloader: Reloader,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    ended: oneshot::Receiver<Ended>,
    brokers: Brokers,
}

/// Where messages come from. Dropped, it reads nothing more.
#[derive(Debug)]
struct Brokers {
    embedded: Option<Broker>,
    external: Vec<Subscriber>,
    /// By source; `None` for those that are no Sparkplug hosts.
    hosts: Vec<Option<Host>>,
}

impl Brokers {
    /// Starts them; what reads the sockets of external brokers runs on `runtime`.
    async fn start(config: &Config, inbox: &Inbox, runtime: &Handle) -> anyhow::Result<Brokers> {
        let max_payload = config.broker.max_payload;
        let mut embedded = if config.broker.enabled {
            let bounds = LogBounds::default();
            Some(Broker::start(&config.broker, bounds, inbox.clone()).await?)
        } else {
            None
        };
        let mut external = Vec::new();
        let mut hosts = Vec::new();
        for (index, source) in config.sources.iter().enumerate() {
            let name = &source.spec.name;
            if source.transport.url == BrokerUrl::Embedded {
                let broker = embedded.as_mut().with_context(|| {
                    format!("source `{name}` reads the embedded broker, which is switched off")
                })?;
                broker.subscribe(index, &source.transport);
                hosts.push(source.spec.host_id().map(|host_id| broker.host(index, host_id)));
                continue;
            }
            let password = source.password.as_ref().map(Secret::resolve).transpose();
            let password = password.with_context(|| format!("source `{name}`: password"))?;
            let subscriber = {
                let _entered = runtime.enter();
                let (transport, password) = (&source.transport, password.as_deref());
                Subscriber::start(index, transport, password, max_payload, inbox.clone())
            };
            external.push(subscriber.with_context(|| format!("source `{name}`"))?);
            let host = source.spec.host_id();
            let host = host.map(|id| Host::connect(&source.transport, password.as_deref(), id));
            hosts.push(host.transpose().with_context(|| format!("source `{name}`"))?);
        }
        if let Some(broker) = &mut embedded {
            broker.open().await?;
        }
        Ok(Brokers { embedded, external, hosts })
    }

    fn address(&self) -> Option<SocketAddr> {
        self.embedded.as_ref().map(Broker::address)
    }
}

impl Running {
    /// Returns when the gateway has ended by itself.
    ///
    /// # Errors
    /// Why it has.
    pub async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.ended).await {
            Ok(Ended::BrokerLost) => anyhow::anyhow!("the embedded broker has died; start again"),
            Ok(Ended::Stopped) => anyhow::anyhow!("the gateway has stopped"),
            Err(error) => anyhow::anyhow!("the gateway's loop has failed: {error}"),
        }
    }

    /// Has the rule files read anew; what came of it is logged.
    pub async fn reload(&self) {
        if let Err(error) = self.reloader.reload(Origin::Signal).await {
            tracing::warn!(%error, "The rules are not read anew.");
        }
    }

    /// Takes nothing more in, commits what was taken, waits a little for calls that are under way.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            tell(task.await);
        }
        if !self.ended.is_terminated() {
            match tokio::time::timeout(STOP_WITHIN, self.ended).await {
                Ok(Ok(Ended::Stopped | Ended::BrokerLost)) => {}
                Ok(Err(error)) => tracing::error!(%error, "The gateway's loop has failed."),
                // What is not stored was neither acknowledged nor sent: it comes again.
                Err(_) => tracing::error!("The store refuses to write still; stopping without it."),
            }
        }
        // Only now: acknowledgements of the last batch went through it.
        drop(self.brokers);
    }
}

fn tell(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "A part of the gateway has failed.");
    }
}

/// How the gateway's time goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As the wall clock.
    Real,
    /// From a time of its own, so many times faster, to play a recording.
    Fast {
        /// Where it begins.
        origin: Timestamp,
        /// How many times as fast.
        speed: f64,
    },
}

/// Starts a gateway: store, desk, HTTP, upstreams, engine, brokers.
///
/// # Errors
/// What cannot be opened, bound or read, with what to do about it.
pub async fn start(
    config: &Config,
    rules: RuleSet,
    metrics: PrometheusHandle,
    pace: Pace,
) -> anyhow::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let (asker, asked) = Asker::new();
    let (standstill, mut tasks) = (asker.standstill(), Vec::new());

    let options = store_options(config);
    // Opening a store blocks, a large one for seconds.
    let (journal, stored) = block_in_place(|| open_store(config, &rules, options))?;
    let (journal, alive_at) = (Arc::new(journal), stored.alive_at);

    let (listener, http) = web::listen(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; set `[http] listen`", config.listen))?;
    let desk = open_desk(config, options)?;
    let changes = desk.changes();
    let client = upstream::plain_client().context("webhooks of the desk")?;
    tasks.push(tokio::spawn(desk.clone().tell_webhooks(client, stopped.clone())));
    let upstreams = upstreams(config, http)?;
    let (changes_told, changed) = mpsc::channel(RESULTS_MAX);
    let hooks = upstream::hooks(upstreams.clone(), changes_told.clone());
    let pages = pages(config, desk.clone(), &journal, &asker).merge(hooks);
    let hosts = config.hosts.clone();
    let (reloader, reloads) = Reloader::new();
    let asks = (asker.clone(), reloader.clone());
    tasks.push(tokio::spawn(telemetry::keep_small(metrics.clone(), stopped.clone())));
    tasks.push(tokio::spawn(web::serve(listener, asks, metrics, pages, hosts, stopped.clone())));
    let (taken, policies) = mpsc::channel(1);
    tasks.push(tokio::spawn(reload::run(config.clone(), reloads, taken, stopped.clone())));

    let own_thread = OwnThread::start().await?;
    let (results, delivered) = mpsc::channel(RESULTS_MAX);
    let since = alive_at.unwrap_or_else(clock::now);
    let polls = (&changes_told, &own_thread.runtime);
    watch_upstreams(config, &upstreams, since, polls, &stopped);
    let ((early_told, early), (sizes_told, sizes)) = (mpsc::channel(1), mpsc::channel(1));
    let told = (early_told, sizes_told);
    if pace == Pace::Real {
        tasks.extend(keep_books(config, (&journal, &upstreams), desk, told, &stopped));
    }
    let dispatcher = Dispatcher::new(upstreams, results, Handle::current());
    let clock = match pace {
        Pace::Real => Clock::starting_at(alive_at.unwrap_or_default()),
        Pace::Fast { origin, speed } => Clock::fast(origin, speed),
    };
    let (now, mut effects) = (clock.now(), Effects::default());
    let mut engine =
        Engine::restore(config.settings()?, rules.policy, snapshot(stored), now, &mut effects);
    block_in_place(|| rebook(&mut engine, &journal, now));

    let names: Vec<String> = config.sources.iter().map(|source| source.spec.name.clone()).collect();
    let observer = Observer::new(names.clone());
    let (stories, (inbox, arrivals)) = (observer.stories(), mqtt::inbox());
    tasks.push(tell_figures(&journal, asker, &observer, &stopped));
    let mut brokers = Brokers::start(config, &inbox, &own_thread.runtime).await?;
    let (hosts, subscribers) = (mem::take(&mut brokers.hosts), mem::take(&mut brokers.external));
    let mqtt = brokers.address();
    let gateway = Gateway {
        engine,
        journal,
        dispatcher,
        observer,
        clock,
        effects,
        health: Health::new(names),
        standstill,
        alive_at: now,
        cores: cores::count(),
        own_desk: own_desk(config),
        hosts,
    };
    let inlets =
        Inlets { arrivals, delivered, asked, desk: changes, changed, policies, early, sizes };
    let ended = own_thread.run(Work { gateway, inlets, stop: stopped, subscribers });
    Ok(Running { http, mqtt, stories, reloader, stop, tasks, ended, brokers })
}

/// The store and what is in it. Only then is the data folder known to be ours, and the rules are
/// kept there.
fn open_store(
    config: &Config,
    rules: &RuleSet,
    options: StoreOptions,
) -> anyhow::Result<(Journal, journal::Snapshot)> {
    let (journal, notes) = Journal::open(&config.gateway.data.join("gateway"), options)?;
    tracing::info!(?notes, "The store is open.");
    reload::remember(config, Origin::Start, rules.policy.written, &rules.sources);
    let stored = journal.load()?;
    Ok((journal, stored))
}

/// What is served beside the API: the console, the desk, the books, a backup of both.
fn pages(config: &Config, desk: Desk, journal: &Arc<Journal>, asker: &Asker) -> axum::Router {
    let kept = web::backup::Kept {
        journal: Arc::clone(journal),
        desk: desk.clone(),
        data: config.gateway.data.clone(),
        gateway: config.gateway.id.clone(),
    };
    let books = web::books::router(Arc::clone(journal), asker.clone());
    let (own_desk, zone) = (own_desk(config), config.gateway.zone);
    let console = Console::new(asker.clone(), Arc::clone(journal), &own_desk, zone);
    let console = web::console::router(console);
    desk::router(desk, zone).merge(console).merge(books).merge(web::backup::router(kept))
}

fn store_options(config: &Config) -> StoreOptions {
    StoreOptions { min_free_bytes: config.store.disk_free_min, ..StoreOptions::default() }
}

fn open_desk(config: &Config, options: StoreOptions) -> anyhow::Result<Desk> {
    let token = config.desk_token.as_ref().map(Secret::resolve).transpose();
    let token = token.context("`[desk] token`")?;
    let folder = config.gateway.data.join("desk");
    Ok(block_in_place(|| Desk::open(&folder, options, token.as_deref()))?)
}

/// The upstreams by name; the desk inside is reached where it really listens.
fn upstreams(config: &Config, http: SocketAddr) -> anyhow::Result<BTreeMap<String, Arc<Upstream>>> {
    config
        .upstreams
        .iter()
        .map(|upstream| {
            let connected = Upstream::connect(upstream, http)
                .with_context(|| format!("upstream `{}`", upstream.name))?;
            Ok((upstream.name.clone(), Arc::new(connected)))
        })
        .collect()
}

/// Checks the upstreams, and asks those that are polled what people did there; what they did is
/// `told`. Ends with the runtime at the latest.
fn watch_upstreams(
    config: &Config,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    since: Timestamp,
    (told, runtime): (&mpsc::Sender<(String, upstream::Change)>, &Handle),
    stop: &watch::Receiver<bool>,
) {
    for upstream in upstreams.values() {
        runtime.spawn(check_upstream(Arc::clone(upstream)));
    }
    for upstream in &config.upstreams {
        if let (Some(every), Some(there)) = (upstream.poll, upstreams.get(&upstream.name)) {
            let (there, told) = (Arc::clone(there), told.clone());
            drop(runtime.spawn(poll::run(there, every, since, told, stop.clone())));
        }
    }
}

/// Tells an operator at the start what would otherwise show with the first fault.
async fn check_upstream(upstream: Arc<Upstream>) {
    let name = upstream.name();
    if let Err(reason) = upstream.check().await {
        tracing::error!(
            upstream = name,
            reason,
            "An upstream is not ready for tickets; they wait."
        );
    }
}

/// What looks after the store beside the loop: statements, what is old, what the upstreams say of use.
fn keep_books(
    config: &Config,
    (journal, upstreams): (&Arc<Journal>, &BTreeMap<String, Arc<Upstream>>),
    desk: Desk,
    to_loop: (mpsc::Sender<Early>, mpsc::Sender<u64>),
    stop: &watch::Receiver<bool>,
) -> [JoinHandle<()>; 3] {
    let its = || (config.clone(), Arc::clone(journal));
    let (its_config, its_journal) = its();
    let billing = tokio::spawn(billing::run(its_config, its_journal, stop.clone()));
    let (its_config, its_journal) = its();
    let retention = retention::run(its_config, its_journal, desk, to_loop, stop.clone());
    let (its_config, its_journal) = its();
    let zone = its_config.gateway.zone;
    let reported = reported::run(upstreams.clone(), its_journal, zone, stop.clone());
    [billing, tokio::spawn(retention), tokio::spawn(reported)]
}

/// Starts what makes figures of the episodes that the loop tells.
fn tell_figures(
    journal: &Arc<Journal>,
    asker: Asker,
    observer: &Observer,
    stop: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let spells = observer.spells();
    tokio::spawn(figures::run(Arc::clone(journal), asker, spells, stop.clone()))
}

/// Name of the upstream that is the desk inside; empty for none.
fn own_desk(config: &Config) -> String {
    let own = config.upstreams.iter().find(|upstream| upstream.is_own_desk());
    own.map(|upstream| upstream.name.clone()).unwrap_or_default()
}

/// What the engine starts from, of what was stored.
pub fn snapshot(stored: journal::Snapshot) -> Snapshot {
    Snapshot {
        devices: stored.devices,
        alarms: stored.alarms,
        tickets: stored.tickets,
        jobs: stored.jobs,
        ledger: stored.last_ledger_row.map_or_else(LedgerEnd::default, |row| LedgerEnd {
            sequence: row.sequence,
            hash: row.hash,
        }),
        ticket_last: stored.last_ticket,
        received: stored.received,
        metering: stored.metering,
        alive_at: stored.alive_at,
        restored: stored.restored,
    }
}

/// Gives the budgets what was spent in their periods. Where it cannot be read, they stay closed to
/// all but safety and critical faults.
fn rebook(engine: &mut Engine, journal: &Journal, now: Timestamp) {
    let Some(since) = engine.books_since() else { return };
    let mut broken = None;
    let rows = match journal.ledger_since(since) {
        Ok(rows) => rows,
        Err(error) => return tell_closed(&error),
    };
    let rows = rows.map_while(|row| row.map_err(|error| broken = Some(error)).ok());
    engine.rebook(now, rows);
    if let Some(error) = broken {
        engine.close_books();
        tell_closed(&error);
    }
}

fn tell_closed(error: &StoreError) {
    tracing::error!(
            %error,
            "The ledger cannot be read: the budgets pay for safety and critical faults only. Run `faultgate ledger verify`."
    );
}

/// The engine and the store of a gateway that does not run, for commands that look at them.
///
/// # Errors
/// A store that is in use or cannot be read.
pub fn restore_stopped(config: &Config, policy: Policy) -> anyhow::Result<(Engine, Journal)> {
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let (journal, _) = Journal::open(&config.gateway.data.join("gateway"), options)?;
    let stored = snapshot(journal.load()?);
    let (mut effects, now) = (Effects::default(), clock::now());
    let mut engine = Engine::restore(config.settings()?, policy, stored, now, &mut effects);
    rebook(&mut engine, &journal, now);
    Ok((engine, journal))
}
