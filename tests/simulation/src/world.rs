//! One run: everything around the gateway, on one clock, in one order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use faultgate::engine::types::effect::Effects;
use faultgate::engine::types::ticket::TicketStatus;
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use faultgate::io::upstream::Request;

use crate::broker::Broker;
use crate::chance::Chance;
use crate::check;
use crate::disk::{Disk, Fuse, Shared, Stop};
use crate::model::Model;
use crate::net::{Arrived, Begun, Net};
use crate::plan::{Act, Outage, Plan, SOURCES, UPSTREAMS};
use crate::process::{self, Process};
use crate::restored::Backup;
use crate::rules::Files;
use crate::story::Story;
use crate::upstream::{Server, System};

mod rest;
mod troubles;

/// How often the gateway takes a turn when nothing happens.
const IDLE: TimeSpan = TimeSpan::from_secs(600);
/// Shortest time to a timer that the clock has not reached although it should have.
const WAKE_MIN: TimeSpan = TimeSpan::from_millis(1);
/// A crash that nothing has set off comes by itself after this.
const CRASH_WITHIN: TimeSpan = TimeSpan::from_secs(120);
/// After all is well again everything must be quiet within this.
const QUIET_WITHIN: TimeSpan = TimeSpan::from_secs(4 * 3_600);
/// The least of it: what is delayed by rules comes to its end.
const QUIET_AFTER: TimeSpan = TimeSpan::from_secs(2_400);
/// How often an operator looks at dead letters once all is well.
const RETRY_EVERY: TimeSpan = TimeSpan::from_secs(900);

/// Something that happens at a time.
#[derive(Debug)]
pub(crate) enum Event {
    Publish(usize),
    Deliver(usize),
    Turn(u64),
    Idle,
    Arrive { life: u64, number: u64, upstream: usize, request: Box<Request> },
    Arrived { life: u64, number: u64, arrived: Arrived },
    Fault(usize),
    LinkBack(usize),
    Blow(u64),
    Start,
    Told(Told),
    Heal,
    RetryAll,
    Backup,
}

/// What somebody did to a ticket where it is, until the gateway knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub upstream: usize,
    pub ticket: usize,
    pub status: TicketStatus,
}

/// What a run has come to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Tickets in all upstreams.
    pub tickets: usize,
    /// Times that the gateway stopped in the middle of something.
    pub crashes: u32,
    /// Requests that reached an upstream.
    pub requests: u64,
    /// Messages that were taken in.
    pub messages: usize,
    /// Tickets that the gateway has let go.
    pub gone: usize,
    /// Attempts that waited for money when all else was done.
    pub unpaid: usize,
}

/// Everything.
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) story: Story,
    pub(crate) now: Timestamp,
    pub(crate) model: Model,
    /// Publications that the gateway has taken in, and those of which it would not know after a crash.
    pub(crate) seen: BTreeSet<usize>,
    pub(crate) seen_lately: Vec<usize>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) servers: Vec<Server>,
    pub(crate) outages: Vec<Option<(Outage, Timestamp)>>,
    pub(crate) disk: Shared,
    pub(crate) fuse: Fuse,
    pub(crate) net: Net,
    pub(crate) process: Option<Process>,
    pub(crate) life: u64,
    pub(crate) in_force: Files,
    pub(crate) reload: Option<Files>,
    pub(crate) acts: Vec<(usize, Act)>,
    pub(crate) told: Vec<Told>,
    /// Effects that an upstream has refused: what was sent again later is out of its order.
    pub(crate) refused: BTreeSet<String>,
    /// Requests that the gateway began.
    pub(crate) begun: u64,
    queue: BTreeMap<(Timestamp, u64), Event>,
    events: u64,
    wall_ahead: TimeSpan,
    turn_at: Option<Timestamp>,
    crash: (Stop, TimeSpan),
    healed: bool,
    rests_at: Timestamp,
    pub(crate) backup: Option<Backup>,
    /// The gateway goes on from a backup, and something was done to these tickets since.
    pub(crate) changed_since: Option<BTreeSet<String>>,
    pub(crate) summary: Summary,
}

impl World {
    /// Everything as it is before the run.
    pub fn new(plan: Plan, story: Story) -> World {
        let fuse = Fuse::default();
        let chance = Chance::of(plan.seed, "disk", 0);
        let disk = Disk::new(plan.epoch_bytes, chance, fuse.clone());
        let delay = plan.index_delay;
        World {
            story,
            now: plan.start,
            model: Model::new(Files::FIRST, &plan),
            seen: BTreeSet::new(),
            seen_lately: Vec::new(),
            brokers: (0..SOURCES).map(Broker::new).collect(),
            servers: vec![
                Server::new("desk", System::Desk, TimeSpan::ZERO),
                Server::new("rt", System::Tracker, delay),
            ],
            outages: vec![None; UPSTREAMS],
            disk: Rc::new(RefCell::new(disk)),
            fuse,
            net: Net::default(),
            process: None,
            life: 0,
            in_force: Files::FIRST,
            reload: None,
            acts: Vec::new(),
            told: Vec::new(),
            refused: BTreeSet::new(),
            begun: 0,
            queue: BTreeMap::new(),
            events: 0,
            wall_ahead: TimeSpan::ZERO,
            turn_at: None,
            crash: (Stop::PowerCut, TimeSpan::ZERO),
            healed: false,
            rests_at: plan.end + QUIET_AFTER,
            backup: None,
            changed_since: None,
            summary: Summary::default(),
            plan,
        }
    }

    /// Runs to the end, and until all is quiet.
    ///
    /// # Errors
    /// Which promise was broken, and how.
    pub fn run(&mut self) -> anyhow::Result<Summary> {
        let Plan { money, quiet, .. } = &self.plan;
        self.tell("world", || format!("{money:?} {quiet:?}"));
        self.at(self.plan.start, Event::Start);
        self.at(self.plan.start + IDLE, Event::Idle);
        self.at(self.plan.end, Event::Heal);
        self.at(self.plan.backup_at, Event::Backup);
        for number in 0..self.plan.publications.len() {
            let at = self.plan.publications.get(number).map_or(self.now, |said| said.at);
            self.at(at, Event::Publish(number));
        }
        for number in 0..self.plan.faults.len() {
            let at = self.plan.faults.get(number).map_or(self.now, |fault| fault.at);
            self.at(at, Event::Fault(number));
        }
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.net.set_time(at.since(self.plan.start).to_std());
            self.take(event)?;
            if self.healed && at > self.rests_at && self.is_quiet() {
                if self.lifts_budgets()? {
                    continue;
                }
                let Some(backup) = self.backup.take() else { return self.finish() };
                self.finish()?;
                self.put_back(backup)?;
                self.rests_at = at + QUIET_AFTER;
            }
            if at > self.rests_at + QUIET_WITHIN {
                anyhow::bail!("it is never quiet again: {}", check::unrest(self));
            }
        }
        anyhow::bail!("nothing happens any more")
    }

    fn finish(&mut self) -> anyhow::Result<Summary> {
        match &self.changed_since {
            Some(changed) => self.check_restored(changed)?,
            None => check::after_all(self)?,
        }
        self.summary.tickets = self.servers.iter().map(|server| server.tickets.len()).sum();
        self.summary.requests = self.servers.iter().map(|server| server.requests).sum();
        self.summary.messages = self.seen.len();
        if self.changed_since.is_none() {
            let kept = self.process.as_ref().map_or(0, |process| process.engine.tickets().count());
            self.summary.gone = self.model.tickets.len().saturating_sub(kept);
        }
        Ok(self.summary.clone())
    }

    pub(crate) fn at(&mut self, at: Timestamp, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), event);
    }

    pub(crate) fn after(&mut self, time: TimeSpan, event: Event) {
        self.at(self.now + time, event);
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.now + self.wall_ahead
    }

    pub(crate) fn tell(&self, who: &str, what: impl FnOnce() -> String) {
        self.story.tell(self.now, who, what);
    }

    /// A turn no later than in `time`.
    pub(crate) fn turn_within(&mut self, time: TimeSpan) {
        let at = self.now + time;
        if self.process.is_some() && self.turn_at.is_none_or(|known| at < known) {
            self.turn_at = Some(at);
            self.at(at, Event::Turn(self.life));
        }
    }

    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Publish(number) => self.publish(number),
            Event::Deliver(source) => self.deliver(source),
            Event::Turn(life) => {
                if life == self.life && self.turn_at == Some(self.now) {
                    self.turn_at = None;
                    self.take_turn()?;
                }
            }
            Event::Idle => {
                self.turn_within(TimeSpan::ZERO);
                self.after(IDLE, Event::Idle);
            }
            Event::Arrive { life, number, upstream, request } => {
                self.arrive(life, number, upstream, &request);
            }
            Event::Arrived { life, number, arrived } => {
                if life == self.life {
                    self.net.bring(number, arrived);
                    self.go_on();
                }
            }
            Event::Fault(number) => self.break_something(number),
            Event::LinkBack(source) => self.connect(source),
            Event::Blow(life) => {
                if life == self.life && self.fuse.is_lit() {
                    self.fuse.blow();
                    self.stop(false);
                }
            }
            // Two crashes while it is down have it started twice: a second process would be refused.
            Event::Start if self.process.is_some() => {}
            Event::Start => self.start()?,
            Event::Told(told) => {
                self.told.push(told);
                self.turn_within(TimeSpan::ZERO);
            }
            Event::Heal => self.heal(),
            Event::Backup => self.back_up()?,
            Event::RetryAll => {
                check::nothing_is_held_up(self, RETRY_EVERY)?;
                self.acts.push((usize::MAX, Act::Retry));
                self.turn_within(TimeSpan::ZERO);
                self.after(RETRY_EVERY, Event::RetryAll);
            }
        }
        Ok(())
    }

    fn publish(&mut self, number: usize) {
        let Some(said) = self.plan.publications.get(number) else { return };
        let source = said.source;
        self.tell(&said.device, || format!("#{number} says {}", said.payload));
        if let Some(broker) = self.brokers.get_mut(source) {
            broker.take(number);
        }
        self.after(TimeSpan::from_millis(1), Event::Deliver(source));
    }

    fn deliver(&mut self, source: usize) {
        let Some(broker) = self.brokers.get_mut(source) else { return };
        let sent = broker.send();
        self.receive(sent);
    }

    fn receive(&mut self, sent: Vec<crate::broker::Delivery>) {
        if let (Some(process), false) = (&mut self.process, sent.is_empty()) {
            process.inbox.extend(sent);
            self.turn_within(TimeSpan::from_millis(2));
        }
    }

    fn connect(&mut self, source: usize) {
        let Some(broker) = self.brokers.get_mut(source).filter(|_| self.process.is_some()) else {
            return;
        };
        if broker.is_connected() {
            return;
        }
        let again = broker.connect();
        self.story.tell(self.now, "broker", || {
            format!("{source}: connected, sends {} messages again", again.len())
        });
        self.receive(again);
        self.deliver(source);
    }

    fn heal(&mut self) {
        self.tell("world", || "all is well from now on".to_owned());
        self.healed = true;
        self.fuse.replace();
        self.outages.fill(None);
        if self.plan.money.as_ref().is_some_and(|money| money.is_lifted_early) {
            self.lift();
        }
        self.disk.borrow_mut().errors_left = 0;
        for source in 0..self.brokers.len() {
            self.connect(source);
        }
        self.turn_within(TimeSpan::ZERO);
        self.after(RETRY_EVERY, Event::RetryAll);
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        // What was changed meanwhile is what it starts with.
        self.in_force = self.reload.take().unwrap_or(self.in_force);
        let policy = process::policy(self.in_force, &self.plan)?;
        let wall = self.wall();
        let settings = process::settings(&self.plan)?;
        let (disk, net, fuse) = (&self.disk, &self.net, &self.fuse);
        let started = Process::start(wall, self.now, disk, net, fuse, policy, settings)?;
        let Some((process, resume)) = started else {
            self.process = None;
            self.stop(false);
            return Ok(());
        };
        self.model.restart(process.turned_at, resume, process.settles_until);
        self.model.use_files(self.in_force);
        self.tell("gateway", || {
            let again = if resume { "" } else { "; delays begin again" };
            format!("starts; its clock says {}{again}", process.turned_at)
        });
        check::ledger(&process.journal)?;
        self.process = Some(process);
        self.turn_at = None;
        if self.changed_since.is_none() {
            check::same(self)?;
        }
        self.turn_within(TimeSpan::ZERO);
        for source in 0..self.brokers.len() {
            self.after(TimeSpan::from_millis(100), Event::LinkBack(source));
        }
        Ok(())
    }

    /// The gateway has stopped. True when what its last commit wrote is on the disk although it
    /// was never told.
    pub(crate) fn stop(&mut self, in_doubt: bool) -> bool {
        let (how, down) = self.crash;
        let kept = self.disk.borrow_mut().stop(how) && in_doubt;
        self.tell("gateway", || {
            let last = match (in_doubt, kept) {
                (false, _) => "",
                (true, true) => "; the commit that was under way is on the disk",
                (true, false) => "; the commit that was under way is lost",
            };
            format!("stops ({how:?}){last}")
        });
        self.summary.crashes += 1;
        self.process = None;
        self.life += 1;
        self.turn_at = None;
        self.fuse.replace();
        self.net.forget();
        self.brokers.iter_mut().for_each(Broker::disconnect);
        self.after(down, Event::Start);
        kept
    }

    /// Lets calls go on, and puts on the network what they begin.
    pub(crate) fn go_on(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.go_on();
        if !process.results.is_empty() {
            self.turn_within(TimeSpan::from_millis(1));
        }
        self.dispatch();
    }

    /// Puts on the network what was begun.
    pub(crate) fn dispatch(&mut self) {
        let life = self.life;
        for (number, begun) in self.net.begun() {
            match begun {
                Begun::Request(upstream, request) => {
                    self.begun += 1;
                    let mut chance = Chance::of(self.plan.seed, "way", number as usize);
                    let event = Event::Arrive { life, number, upstream, request };
                    self.after(chance.millis(1, 150), event);
                }
                Begun::Pause(time) => {
                    let time = TimeSpan::from_micros(time.as_micros() as i64);
                    let arrived = Arrived::PauseOver;
                    self.after(time, Event::Arrived { life, number, arrived });
                }
            }
        }
    }

    /// When the gateway wakes by itself.
    pub(crate) fn sleep(&mut self, given: Timestamp) {
        let Some(process) = &self.process else { return };
        if let Some(at) = process.engine.next_wakeup() {
            self.turn_within(at.since(given).max(WAKE_MIN));
        }
    }

    /// What the engine has decided, for the story.
    pub(crate) fn tell_decisions(&self, effects: &Effects) {
        for decision in &effects.decisions {
            self.tell("gateway", || format!("decides {decision:?}"));
        }
    }
}
