//! The pipeline, stated once: which stage sees what, in which order.
//!
//! ```text
//! message  -> decode -> device clock, lateness -> detect -> lifecycle -> suppress -> merge -> guard -> outbox
//! timer    ->                                     detect -> lifecycle -> suppress -> merge -> guard -> outbox
//! lift     ->                                               suppress  -> merge -> guard -> outbox
//! ladder   ->                                               escalate  -> suppress -> guard -> outbox
//! result   ->                                               guard (settle) -> outbox -> lifecycle
//! person   ->                                               lifecycle -> merge -> guard -> outbox
//! ```

mod alarm_past;
mod budgets;
mod calls;
mod catch_up;
mod clock;
mod counterfactual;
mod departed;
mod devices;
mod episodes;
mod evaluation;
mod evidence;
mod flaps;
mod follow_ups;
mod funds;
mod grouping;
mod incidents;
mod lanes;
mod late;
mod looks;
mod metering;
mod near_miss;
mod paths;
mod peers;
mod people;
mod plots;
mod profile;
mod readers;
mod redelivery;
mod rejected;
mod reload;
mod repeats;
mod restore;
mod restored;
mod retention;
mod samples;
mod shelves;
mod suppression;
mod topics;
mod verification;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;

use super::decode::{Decoders, Heard, SourceSpec};
use super::detect::Rule;
use super::guard::{Guard, LedgerEnd};
use super::merge::{Members, StormPolicy};
use super::outbox::{Backlog, Outbox};
use super::policy::Policy;
use super::register::UnknownDevices;
use super::types::alarm::{AlarmId, AlarmRecord};
use super::types::decision::Rejection;
use super::types::effect::Effects;
use super::types::input::Input;
use super::types::job::Allowance;
use super::types::message::Message;
use super::types::names::{DeviceId, DeviceKind, Names};
use super::types::restored::Restored;
use super::types::text::Language;
use super::types::ticket::{TicketId, TicketRecord};
use super::types::time::{TimeSpan, Timestamp};
use grouping::Grouping;
use metering::Measuring;
use paths::Paths;
use peers::Peers;
use profile::Profiles;
use redelivery::Redelivery;
use rejected::RejectedSamples;
use retention::Retention;
use samples::Told;
use suppression::Suppression;
use topics::Topics;

pub use budgets::HeldAlarm;
pub use counterfactual::Counterfactual;
pub use devices::{Alarm, Device};
pub use lanes::Lane;
pub use rejected::Rejected;
pub use restore::Snapshot;
pub use retention::{EARLY_MIN, GoneEarly, pass_every};

/// What of the configuration the engine depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Id of the gateway.
    pub gateway: String,
    /// Language of tickets.
    pub language: Language,
    /// Zone of the times in tickets.
    pub zone: Tz,
    /// Address of the console, ending with `/`, where tickets may name it.
    pub console: Option<String>,
    /// Upstream of rules that name none.
    pub upstream: String,
    /// When there is a storm.
    pub storm: StormPolicy,
    /// Longest time for which an alarm may be shelved.
    pub shelve_max: TimeSpan,
    /// Requests that an attempt may make at first, by upstream; one where nothing is said.
    pub allowances: BTreeMap<String, Allowance>,
    /// Calls that may be under way at a time, by upstream.
    pub in_flight_max: BTreeMap<String, usize>,
    /// Samples that are older than the newest by less than this are placed by their time; older
    /// ones only fill history.
    pub lateness: TimeSpan,
    /// How long after a start, or after a lost path is back, `absent` is held back.
    pub restart_grace: TimeSpan,
    /// How long nothing is sent after a restart, so that inhibition and groups see all of it.
    pub settle: TimeSpan,
    /// An upstream that was away for less than this gets everything as it was decided.
    pub catch_up_after: TimeSpan,
    /// After this much down-time pending delays start again.
    pub resume_max: TimeSpan,
    /// How long tickets are kept that are over.
    pub closed_max: TimeSpan,
    /// What happens to devices that are not registered, where the register does not say.
    pub unknown_devices: UnknownDevices,
    /// Most devices that are kept.
    pub devices_max: usize,
    /// Jobs that wait for the upstreams past which no message is taken in.
    pub backlog_max: usize,
    /// How messages are read, by source.
    pub sources: Vec<SourceSpec>,
}

/// The whole state of the gateway's deciding.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    policy: Policy,
    profiles: Profiles,
    decoders: Decoders,
    names: Names<DeviceKind>,
    devices: Vec<Device>,
    tickets: BTreeMap<TicketId, TicketRecord>,
    /// The last ticket of each group.
    groups: BTreeMap<String, TicketId>,
    /// Alarms of rules or devices that are no longer there, kept for their tickets.
    departed: BTreeMap<AlarmId, AlarmRecord>,
    members: Members,
    grouping: Grouping,
    suppression: Suppression,
    peers: Peers,
    outbox: Outbox,
    backlog: Backlog,
    ledger: LedgerEnd,
    guard: Guard,
    measuring: Measuring,
    ticket_last: u64,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// The timer that is set for each ladder.
    ladder_timers: BTreeMap<TicketId, Timestamp>,
    paths: Paths,
    /// When this engine began: what was heard before, and changed nothing, is not known.
    started: Timestamp,
    /// What is raised before then waits until then.
    settles_until: Timestamp,
    /// From when the state is, where it was put back from a backup.
    restored: Option<Restored>,
    retention: Retention,
    redelivery: Redelivery,
    /// How often the condition of each rule was unknown when it was looked at.
    unknown: Vec<u64>,
    rejected: RejectedSamples,
    /// How often each rule was looked at.
    looks: Vec<u64>,
    topics: Topics,
    /// The rules that a message concerns, and what it says: kept for their memory only.
    scratch: Vec<usize>,
    heard: Heard,
}

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An alarm's conditions are to be looked at again.
    Alarm(DeviceId, usize),
    /// A step of a ticket's ladder.
    Ladder(TicketId),
    /// Some suppression may be over.
    Lift,
    /// Some group has waited long enough.
    Groups,
    /// The members of a ticket are to be told.
    Untold(TicketId),
    /// Whether the fault of a ticket stands that somebody has resolved upstream.
    Verify(TicketId),
    /// Rules of many devices ask for a number that has changed.
    Askers,
    /// A period of a budget begins.
    Period,
    /// The tickets of a restored state are to be confirmed.
    Confirm,
    /// What is over for long may go.
    Retention,
    /// A stretch of time ends in which something is measured.
    Measuring,
}

impl Engine {
    /// An engine that knows nothing yet, started at `now`.
    pub fn new(settings: Settings, policy: Policy, now: Timestamp) -> Engine {
        let paths = Paths::new(now, settings.restart_grace);
        let unknown = vec![0; policy.rules.len()];
        let looks = unknown.clone();
        let decoders = Decoders::new(&settings.sources);
        let outbox = Outbox::new(settings.in_flight_max.clone());
        let topics = Topics::new(&settings.sources);
        let mut engine = Engine {
            settings,
            policy,
            profiles: Profiles::default(),
            decoders,
            names: Names::default(),
            devices: Vec::new(),
            tickets: BTreeMap::new(),
            groups: BTreeMap::new(),
            departed: BTreeMap::new(),
            members: Members::default(),
            grouping: Grouping::default(),
            suppression: Suppression::default(),
            peers: Peers::default(),
            outbox,
            backlog: Backlog::default(),
            ledger: LedgerEnd::default(),
            guard: Guard::default(),
            measuring: Measuring::default(),
            ticket_last: 0,
            timers: BTreeSet::new(),
            ladder_timers: BTreeMap::new(),
            paths,
            started: now,
            settles_until: now,
            restored: None,
            retention: Retention::default(),
            redelivery: Redelivery::default(),
            unknown,
            rejected: RejectedSamples::default(),
            looks,
            topics,
            scratch: Vec::new(),
            heard: Heard::default(),
        };
        engine.set_budgets(now);
        engine.recount_peers();
        engine.add_registered(now);
        engine
    }

    /// Takes one thing in. `now` never goes back from one call to the next.
    ///
    /// What is due before `now` happens first. What is due at `now` itself waits for a tick: a
    /// sample of the same instant speaks before a delay ends or a window forgets.
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Effects) {
        let is_tick = matches!(input, Input::Tick);
        let until = if is_tick { now } else { now - TimeSpan::from_micros(1) };
        self.fire_timers(now, until, effects);
        self.wake_decoders(now, until, effects);
        match input {
            Input::Message(message) => self.take_message(now, &message, effects),
            Input::Readings { facts, at, readings } => {
                let readings = self.known_metrics(readings);
                if let Some(device) = self.find_device(now, 0, facts, effects) {
                    let told =
                        Told { event: at, own_time: true, retained: false, maybe_again: false };
                    self.take_readings(now, device, told, &readings, effects);
                }
            }
            Input::Tick => {}
            Input::Delivered(delivered) => {
                self.take_delivered(now, &delivered, effects);
                self.catch_up(now, effects);
            }
            Input::Operator { action, signature } => {
                self.take_operator(now, action, &signature, effects);
            }
            Input::Ticket { id, status, signature } => {
                self.take_ticket(now, id, status, &signature, effects);
            }
            Input::Measured { kept_bytes } => self.take_measured(now, kept_bytes, effects),
            Input::Path { source, up } => self.take_path(now, source, up, effects),
        }
        self.look_at_askers(now, effects);
        self.take_calls(now, effects);
    }

    /// How much waits for the upstreams. While it is full, no message is to be taken in.
    pub fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// When [`Engine::step`] must be called with a tick at the latest.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.outbox.next_wakeup(), self.decoders.next_wakeup()].into_iter().flatten().min()
    }

    /// What the operators' files say.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it was told by the configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The first message of each source that was refused for each reason, since the start.
    pub fn rejected(&self) -> impl Iterator<Item = (usize, Rejection, &Rejected)> {
        self.rejected.all()
    }

    /// A message was too large to be taken in at all.
    pub fn note_oversized(&mut self, now: Timestamp, message: &Message, bytes: usize) {
        let detail = format!("{bytes} bytes");
        let reason = Rejection::Oversized;
        self.rejected.note(now, message.source, reason, &detail, Some(message));
    }

    /// The devices that are known, in the order in which they were first seen.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// One device.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.get(self.names.find(id)?.index())
    }

    /// Every alarm that was ever pending or raised and is kept.
    pub fn alarms(&self) -> impl Iterator<Item = &AlarmRecord> {
        self.placed_alarms().map(|(_, record)| record)
    }

    /// The same, each with its device, where that is known.
    pub fn placed_alarms(&self) -> impl Iterator<Item = (Option<&Device>, &AlarmRecord)> {
        let live = self.devices.iter().flat_map(|device| {
            let records = device.alarms.iter().filter_map(|alarm| alarm.record.as_deref());
            records.map(move |record| (Some(device), record))
        });
        let departed = self.departed.values();
        live.chain(departed.map(move |record| (self.device(&record.id.device), record)))
    }

    /// Every ticket that is kept, in the order of their numbers.
    pub fn tickets(&self) -> impl Iterator<Item = &TicketRecord> {
        self.tickets.values()
    }

    /// The same, the newest first.
    pub fn newest_tickets(&self) -> impl Iterator<Item = &TicketRecord> {
        self.tickets.values().rev()
    }

    /// One ticket.
    pub fn ticket(&self, id: TicketId) -> Option<&TicketRecord> {
        self.tickets.get(&id)
    }

    /// How often the condition of each rule was unknown when it was looked at, in the order of the
    /// rules.
    pub fn unknown(&self) -> &[u64] {
        &self.unknown
    }

    /// How often each rule was looked at, on whatever device, in the order of the rules.
    pub fn looks(&self) -> &[u64] {
        &self.looks
    }

    /// What is still to be done upstream.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn fire_timers(&mut self, now: Timestamp, until: Timestamp, effects: &mut Effects) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= until) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Alarm(device, alarm) => {
                    self.fire_alarm(now, until, (device, alarm), effects);
                }
                Timer::Ladder(ticket) => self.fire_ladder(now, ticket, effects),
                Timer::Lift => self.lift(now, effects),
                Timer::Groups => self.release_groups(now, effects),
                Timer::Untold(ticket) => self.fire_untold(now, ticket, effects),
                Timer::Verify(ticket) => self.verify(now, ticket, effects),
                Timer::Askers => self.fire_askers(now, effects),
                Timer::Period => self.begin_period(now, effects),
                Timer::Confirm => self.confirm_restored(now, effects),
                Timer::Retention => self.fire_retention(now, effects),
                // What is heard from this instant on belongs to the next stretch.
                Timer::Measuring => self.measure(now, at, effects),
            }
        }
    }

    /// A rule as it stands for a device: with its own constants, where it has some.
    fn rule_of(&self, id: DeviceId, index: usize) -> Option<Arc<Rule>> {
        let device = self.devices.get(id.index())?;
        device.profile.rule(&self.policy, index).cloned()
    }
}
