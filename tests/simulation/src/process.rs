//! The gateway's process: the real engine, journal and connectors, and what is in its memory only.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;
use faultgate::engine::merge::StormPolicy;
use faultgate::engine::pipeline::{Engine, Settings};
use faultgate::engine::policy::{self, Policy};
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::effect::{Effects, Write};
use faultgate::engine::types::job::{Allowance, Call, Delivered};
use faultgate::engine::types::ledger::LedgerRow;
use faultgate::engine::types::text::Language;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::clock;
use faultgate::io::journal::Journal;
use faultgate::io::store::Records;
use faultgate::io::upstream::{Upstream, UpstreamConfig};
use faultgate::service::snapshot;
use faultgate::service::turn::{self, World};

use crate::broker::{Ack, Delivery};
use crate::disk::{Fuse, Shared, SimStore};
use crate::net::Net;
use crate::plan::{Plan, Storm};
use crate::quiet::Quiet;
use crate::rules::{self, Files};
use crate::upstream::{KEY_FIELD, QUEUE};

/// The upstreams: names and kinds.
pub const UPSTREAMS: [(&str, &str); 2] = [("desk", "desk"), ("rt", "request-tracker")];
/// Requests that an attempt may make at first, at most.
pub const ALLOWED: Allowance = Allowance { open: 12, follow: 6 };
/// Names of the sources.
const SOURCES: [&str; 2] = ["plant", "hall"];
/// Attempts at a commit before it is said that nothing goes on.
const COMMITS_MAX: u32 = 1_000;

/// A call that is under way.
type UnderWay = Pin<Box<dyn Future<Output = Delivered>>>;

/// One life of the gateway, from its start to its end.
pub struct Process {
    /// Decides.
    pub engine: Engine,
    /// What was decided and is not committed.
    pub effects: Effects,
    /// Keeps.
    pub journal: Journal<SimStore>,
    /// When the store was last told that the gateway runs.
    alive_at: Timestamp,
    /// What has arrived.
    pub inbox: Vec<Delivery>,
    /// What came of calls.
    pub results: Vec<Delivered>,
    upstreams: BTreeMap<String, Arc<Upstream>>,
    calls: Vec<UnderWay>,
    clock: (Timestamp, Timestamp),
    /// Before that nothing is to be sent.
    pub settles_until: Timestamp,
    /// When it was started, in its own time.
    pub started_at: Timestamp,
    /// When it last took a turn, in its own time.
    pub turned_at: Timestamp,
}

/// How a turn has ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Messages that were acknowledged.
    pub acked: Vec<Ack>,
    /// The turn's writes are durable, or there were none.
    pub is_committed: bool,
    /// It has written something durable.
    pub wrote: bool,
    /// The machine stopped in the middle of it.
    pub is_stopped: bool,
    /// What is wrong with it.
    pub wrong: Option<String>,
}

/// The settings of the gateway of a run.
///
/// # Errors
/// None, unless the built-in configuration is wrong.
pub fn settings(plan: &Plan) -> anyhow::Result<Settings> {
    let mut settings = faultgate::config::defaults()?.settings()?;
    let source = settings.sources.first().cloned().context("a source")?;
    settings.sources = SOURCES
        .map(|name| faultgate::engine::decode::SourceSpec {
            name: name.to_owned(),
            ..source.clone()
        })
        .into();
    settings.language = Language::Chinese;
    settings.storm.enabled = plan.storm.is_some();
    if let Some(Storm { enter, leave, window }) = plan.storm {
        settings.storm = StormPolicy { enter, leave, window, ..settings.storm };
    }
    settings.settle = plan.settle;
    settings.closed_max = plan.closed_max.unwrap_or(settings.closed_max);
    // What was decided is sent as it was decided.
    settings.catch_up_after = TimeSpan::from_secs(365 * 86_400);
    settings.in_flight_max = UPSTREAMS.map(|(name, _)| (name.to_owned(), 3)).into();
    for (name, kind) in UPSTREAMS {
        let allowance = upstream_config(name, kind)?.allowance();
        anyhow::ensure!(
            allowance.open <= ALLOWED.open && allowance.follow <= ALLOWED.follow,
            "{name}: {allowance:?}"
        );
        settings.allowances.insert(name.to_owned(), allowance);
    }
    Ok(settings)
}

/// What an operator has in force, compiled.
///
/// # Errors
/// Files that have errors.
pub fn policy(in_force: Files, plan: &Plan) -> anyhow::Result<Policy> {
    let report = Report::default();
    let files = ["rules.toml", "plan.toml", "budgets.toml"];
    let quiet = plan.quiet.as_ref().map(Quiet::text).unwrap_or_default();
    let texts = [rules::text(in_force.edition) + &quiet].into_iter();
    let texts =
        texts.chain(plan.money.iter().flat_map(|money| money.holding(in_force.budget).texts()));
    let sources = files.into_iter().zip(texts);
    let sources = sources.map(|(file, text)| Source { file: file.to_owned(), text });
    let policy =
        policy::compile(&sources.collect::<Vec<_>>(), &UPSTREAMS.map(|(name, _)| name), &report);
    policy.with_context(|| format!("rules: {:#?}", report.into_sorted()))
}

/// An upstream as an operator would write it; nothing waits for real time.
fn upstream_config(name: &str, kind: &str) -> anyhow::Result<UpstreamConfig> {
    let more = match kind {
        "request-tracker" => {
            format!(
                "queue = \"{QUEUE}\"\nkey_field = \"{KEY_FIELD}\"\nheaders = {{ Authorization = \"none\" }}\n"
            )
        }
        _ => String::new(),
    };
    let text = format!(
        "name = \"{name}\"\nkind = \"{kind}\"\nurl = \"http://{name}.invalid/\"\n\
         rate = {{ per_second = 1e9, burst = 1e9 }}\nmax_in_flight = 3\n{more}"
    );
    let (source, report) = (Source { file: "upstream.toml".to_owned(), text }, Report::default());
    let place = Place { source: &source, report: &report };
    let config = read_document(place, UpstreamConfig::read).filter(|_| !report.has_errors());
    config.with_context(|| format!("upstream `{name}`: {:#?}", report.into_sorted()))
}

impl Process {
    /// Starts it on what is on the disk. `None` when the machine stops meanwhile, or the disk
    /// refuses.
    ///
    /// # Errors
    /// What must not be: a store that cannot be opened or read.
    pub fn start(
        wall: Timestamp,
        now: Timestamp,
        disk: &Shared,
        net: &Net,
        fuse: &Fuse,
        policy: Policy,
        settings: Settings,
    ) -> anyhow::Result<Option<(Process, bool)>> {
        disk.borrow_mut().has_refused = false;
        let opened = SimStore::open(disk).map_err(anyhow::Error::from);
        let opened = opened.and_then(|store| Ok(Journal::over(store, Path::new("simulated"))?));
        let journal = match opened {
            Ok(journal) => journal,
            Err(_) if fuse.is_blown() || disk.borrow().has_refused => return Ok(None),
            Err(error) => return Err(error.context("the store does not open")),
        };
        let stored = journal.load()?;
        if let Some(lost) = stored.quarantined.first() {
            anyhow::bail!("a record cannot be read: {lost:?}");
        }
        let begins = stored.alive_at.map_or(wall, |alive| alive.max(wall));
        let down = stored.alive_at.map_or(TimeSpan::ZERO, |alive| begins.since(alive));
        let resume = down <= settings.resume_max;
        let settles = stored.alive_at.map_or(TimeSpan::ZERO, |_| settings.settle);
        let snapshot = snapshot(stored);
        let mut effects = Effects::default();
        let mut engine = Engine::restore(settings, policy, snapshot, begins, &mut effects);
        rebook(&mut engine, &journal, begins)?;
        let mut upstreams = BTreeMap::new();
        for (number, (name, kind)) in UPSTREAMS.into_iter().enumerate() {
            let upstream = Upstream::over(net.to(number), &upstream_config(name, kind)?, "")?;
            upstreams.insert(name.to_owned(), Arc::new(upstream));
        }
        let process = Process {
            engine,
            effects,
            journal,
            alive_at: begins,
            inbox: Vec::new(),
            results: Vec::new(),
            upstreams,
            calls: Vec::new(),
            clock: (begins, now),
            settles_until: begins + settles,
            started_at: begins,
            turned_at: begins,
        };
        Ok(Some((process, resume)))
    }

    /// Takes in other rules.
    ///
    /// # Errors
    /// A ledger that cannot be read.
    pub fn reload(&mut self, now: Timestamp, policy: Policy) -> anyhow::Result<()> {
        self.engine.reload(now, policy, &mut self.effects);
        rebook(&mut self.engine, &self.journal, now)
    }

    /// What its clock says when the wall clock says `wall`, at the true time `now`.
    pub fn read_clock(&mut self, wall: Timestamp, now: Timestamp) -> Timestamp {
        let (last, at) = self.clock;
        let given = clock::forward(last, wall, now.since(at));
        self.clock = (given, now);
        given
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Goes on with the calls that are under way, as far as they come.
    pub fn go_on(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        // One may wait for another.
        loop {
            let before = self.calls.len();
            let results = &mut self.results;
            self.calls.retain_mut(|call| match call.as_mut().poll(&mut context) {
                Poll::Ready(delivered) => {
                    results.push(delivered);
                    false
                }
                Poll::Pending => true,
            });
            if self.calls.len() == before {
                return;
            }
        }
    }

    /// Ends a turn as the gateway does.
    pub fn settle(&mut self, now: Timestamp, acks: Vec<Ack>, disk: &Shared, fuse: &Fuse) -> Ended {
        let mut world = Ends {
            journal: &self.journal,
            disk,
            fuse,
            needs_commit: false,
            sent: Vec::new(),
            ended: Ended::default(),
        };
        let settled = {
            let (engine, effects) = (&mut self.engine, &mut self.effects);
            let turn = turn::settle(now, engine, &mut self.alive_at, effects, acks, &mut world);
            let mut turn = pin!(turn);
            let mut context = Context::from_waker(Waker::noop());
            loop {
                match turn.as_mut().poll(&mut context) {
                    Poll::Ready(()) => break true,
                    Poll::Pending if fuse.is_blown() => break false,
                    // It lets others go first.
                    Poll::Pending => {}
                }
            }
        };
        let Ends { sent, mut ended, needs_commit, .. } = world;
        ended.is_committed = !needs_commit;
        ended.is_stopped = !settled || fuse.is_blown();
        if !sent.is_empty() && now < self.settles_until {
            ended.wrong.get_or_insert("a call went out before all had settled".to_owned());
        }
        for call in sent {
            if let Some(upstream) = self.upstreams.get(&call.upstream).cloned() {
                self.calls.push(Box::pin(async move { upstream.perform(&call).await }));
            }
        }
        // What was sent before the end is on its way.
        self.go_on();
        self.turned_at = now;
        ended
    }
}

/// Gives the budgets what was spent in their periods, as the gateway does.
fn rebook(engine: &mut Engine, journal: &Journal<SimStore>, now: Timestamp) -> anyhow::Result<()> {
    if let Some(since) = engine.books_since() {
        let mut rows: Vec<LedgerRow> = Vec::new();
        for found in journal.store().scan(b"l/", b"") {
            rows.push(serde_json::from_slice(&found?.1)?);
        }
        engine.rebook(now, rows.into_iter().filter(|row| row.recorded >= since));
    }
    Ok(())
}

/// Where a turn ends: the disk, the upstreams, the brokers.
struct Ends<'a> {
    journal: &'a Journal<SimStore>,
    disk: &'a Shared,
    fuse: &'a Fuse,
    /// A commit has begun and has not returned.
    needs_commit: bool,
    sent: Vec<Call>,
    ended: Ended,
}

impl Ends<'_> {
    fn check(&mut self, what: &str) {
        if self.needs_commit || !self.disk.borrow().is_synced() {
            self.ended.wrong.get_or_insert(format!("{what} before its turn was durable (I2, I3)"));
        }
    }
}

impl World for Ends<'_> {
    type Ack = Ack;

    async fn commit(&mut self, writes: &[Write]) {
        self.needs_commit = true;
        if !self.ended.acked.is_empty() || !self.sent.is_empty() {
            self.check("a message was acknowledged, or a call went out,");
        }
        for _ in 0..COMMITS_MAX {
            if self.fuse.burns() {
                break;
            }
            if self.journal.commit(writes).is_ok() && !self.fuse.is_blown() {
                self.needs_commit = false;
                self.ended.wrote = true;
                return;
            }
            if self.fuse.is_blown() {
                break;
            }
        }
        if !self.fuse.is_blown() {
            self.ended.wrong = Some("a commit never ends".to_owned());
            self.fuse.blow();
        }
        std::future::pending().await
    }

    fn send(&mut self, call: Call) {
        if !self.fuse.burns() {
            self.check("a call went out");
            self.sent.push(call);
        }
    }

    fn acknowledge(&mut self, ack: Ack) {
        if !self.fuse.burns() {
            self.check("a message was acknowledged");
            self.ended.acked.push(ack);
        }
    }
}
