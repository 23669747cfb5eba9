//! The life cycle of alarms and what it asks of tickets, written down a second time, plainly, from
//! what is promised and not from the engine. What both say must be the same after every turn.

use std::collections::{BTreeMap, BTreeSet};

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::rules::{Condition, Edition, Rule, rules};

/// A sample that is older than the newest by more than this decides nothing.
const LATENESS: TimeSpan = TimeSpan::from_secs(10);

/// Where an alarm stands. *Returned* counts as normal: nothing hangs on it but an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, or since when the condition holds.
    Normal {
        /// Since when it holds, not long enough yet.
        rising: Option<Timestamp>,
    },
    /// The fault is there.
    Raised {
        /// Somebody has taken it.
        taken: bool,
        /// Since when it seems to be over.
        clearing: Option<Timestamp>,
    },
    /// Over, and to be reset.
    Latched {
        /// Somebody has taken it.
        taken: bool,
        /// Since when the condition holds again.
        rising: Option<Timestamp>,
    },
}

/// One alarm.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// Where it stands.
    pub state: State,
    /// Number of its last episode, 0 before the first.
    pub episode: u32,
    ticket: Option<usize>,
    changed_at: Timestamp,
    due: Option<Timestamp>,
}

/// How a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody has taken it.
    Open,
    /// Somebody has.
    Taken,
    /// It is over.
    Over,
}

/// One ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Fingerprint of the episode that opened it.
    pub key: String,
    /// Where it is.
    pub upstream: &'static str,
    /// How it stands.
    pub status: Status,
    /// Alarms in it whose fault is not over.
    pub open: BTreeSet<AlarmId>,
    acked: bool,
    resolved_at: Option<Timestamp>,
    reopen_until: Option<Timestamp>,
}

/// A value that a device sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub i64);

#[derive(Clone, Debug, Default)]
struct Device {
    values: BTreeMap<&'static str, (Timestamp, Value)>,
    /// The newest event time, and when it was received.
    newest: Option<(Timestamp, Timestamp)>,
    /// The newest message of its own time: the same once more says nothing.
    last: Option<(Timestamp, String)>,
    alarms: BTreeMap<AlarmId, Alarm>,
}

impl Device {
    fn time(&self, now: Timestamp) -> Timestamp {
        self.newest.map_or(now, |(event, received)| event + now.since(received))
    }
}

/// What should be.
#[derive(Clone, Debug)]
pub struct Model {
    rules: Vec<Rule>,
    devices: BTreeMap<String, Device>,
    /// Every ticket, in the order in which they were opened.
    pub tickets: Vec<Ticket>,
    groups: BTreeMap<String, usize>,
}

enum Happened {
    Raised,
    RaisedAgain,
    Returned,
}

impl Model {
    /// Before anything has happened.
    pub fn new(edition: Edition) -> Model {
        Model {
            rules: rules(edition),
            devices: BTreeMap::new(),
            tickets: Vec::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Every alarm that was ever anything.
    pub fn alarms(&self) -> impl Iterator<Item = (&AlarmId, &Alarm)> {
        self.devices.values().flat_map(|device| device.alarms.iter())
    }

    /// Time has come to `now`.
    pub fn tick(&mut self, now: Timestamp) {
        let names: Vec<String> = self.devices.keys().cloned().collect();
        for name in names {
            let until = self.devices.get(&name).map_or(now, |device| device.time(now));
            self.advance(&name, until, true);
        }
    }

    /// A message was taken in for the first time: what the device measured at `event`, its own
    /// time if it sent one.
    pub fn hear(
        &mut self,
        now: Timestamp,
        name: &str,
        event: Option<Timestamp>,
        values: &[(&'static str, Value)],
        payload: &str,
    ) {
        let device = self.devices.entry(name.to_owned()).or_default();
        if let Some(event) = event {
            if device.last.as_ref().is_some_and(|last| last.0 == event && last.1 == payload) {
                return;
            }
            if device.last.as_ref().is_none_or(|last| event >= last.0) {
                device.last = Some((event, payload.to_owned()));
            }
        }
        let newest = device.newest.map(|(newest, _)| newest);
        let after = newest.map(|newest| newest + TimeSpan::from_micros(1));
        let event = event.unwrap_or_else(|| after.map_or(now, |after| now.max(after)));
        let is_late = newest.is_some_and(|newest| newest.since(event) > LATENESS);
        let look_at = newest.map_or(event, |newest| newest.max(event));
        if !is_late {
            self.advance(name, look_at, false);
        }
        let Some(device) = self.devices.get_mut(name) else { return };
        for (metric, value) in values {
            let known = device.values.entry(metric).or_insert((event, *value));
            if known.0 <= event {
                *known = (event, *value);
            }
        }
        if !is_late {
            if newest.is_none_or(|newest| look_at >= newest) {
                device.newest = Some((look_at, now));
            }
            self.look_at_rules(name, look_at, values);
        }
    }

    /// The gateway was started again. Delays that were under way go on, or begin again after a long
    /// time.
    pub fn restart(&mut self, now: Timestamp, resume: bool) {
        for device in self.devices.values_mut() {
            device.newest = None;
            device.last = None;
            for alarm in device.alarms.values_mut().filter(|_| !resume) {
                let again = |since: &mut Option<Timestamp>| *since = since.map(|_| now);
                match &mut alarm.state {
                    State::Normal { rising } | State::Latched { rising, .. } => again(rising),
                    State::Raised { clearing, .. } => again(clearing),
                }
            }
        }
        if !resume {
            self.set_due();
        }
    }

    /// Other rules are in force.
    pub fn reload(&mut self, now: Timestamp, edition: Edition) {
        self.tick(now);
        self.rules = rules(edition);
        let names: Vec<String> = self.devices.keys().cloned().collect();
        for name in names {
            let time = self.devices.get(&name).map_or(now, |device| device.time(now));
            self.look_at_rules(&name, time, &[]);
        }
        self.set_due();
    }

    /// Somebody takes an alarm.
    pub fn take(&mut self, alarm: &AlarmId) {
        let device = self.devices.get_mut(&alarm.device);
        let Some(alarm) = device.and_then(|device| device.alarms.get_mut(alarm)) else { return };
        match &mut alarm.state {
            State::Raised { taken, .. } | State::Latched { taken, .. } if !*taken => *taken = true,
            State::Raised { .. } | State::Latched { .. } | State::Normal { .. } => return,
        }
        if let Some(ticket) = alarm.ticket.and_then(|at| self.tickets.get_mut(at)) {
            ticket.acked = true;
        }
    }

    /// Somebody takes a ticket here: once.
    pub fn take_ticket(&mut self, key: &str) {
        if self.tickets.iter().any(|ticket| ticket.key == key && !ticket.acked) {
            self.take_members(key);
        }
    }

    fn take_members(&mut self, key: &str) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if !ticket.acked {
            ticket.acked = true;
            if ticket.status == Status::Open {
                ticket.status = Status::Taken;
            }
        }
        for alarm in ticket.open.clone() {
            self.take(&alarm);
        }
    }

    /// Somebody changes a ticket where it is.
    pub fn change_ticket(&mut self, key: &str, to: Status) {
        let Some(ticket) = self.tickets.iter_mut().find(|ticket| ticket.key == key) else { return };
        if ticket.status == to || ticket.resolved_at.is_some() {
            return;
        }
        ticket.status = to;
        self.take_members(key);
    }

    /// Somebody resets an alarm.
    pub fn reset(&mut self, now: Timestamp, id: &AlarmId) {
        let Some(device) = self.devices.get_mut(&id.device) else { return };
        let time = device.time(now);
        let Some(alarm) = device.alarms.get_mut(id) else { return };
        if let State::Latched { rising, .. } = alarm.state {
            alarm.state = State::Normal { rising };
            let (ticket, at) = (alarm.ticket, time.max(alarm.changed_at));
            self.leave(id, ticket, at);
        }
    }

    fn advance(&mut self, name: &str, until: Timestamp, included: bool) {
        loop {
            let Some(device) = self.devices.get(name) else { return };
            let due = device.alarms.iter().filter_map(|(id, alarm)| {
                let at = self.rules.iter().position(|rule| rule.id == id.rule)?;
                Some((alarm.due?, at))
            });
            let is_due = |(due, _): &(Timestamp, usize)| *due < until || included && *due == until;
            let Some((due, rule)) = due.min().filter(is_due) else { return };
            if let Some(device) = self.devices.get_mut(name) {
                let id = self.rules.get(rule).map_or("", |rule| rule.id);
                let of_rule = device.alarms.iter_mut().filter(|(known, _)| known.rule == id);
                of_rule.filter(|(_, a)| a.due == Some(due)).for_each(|(_, a)| a.due = None);
            }
            self.look(name, rule, due);
        }
    }

    /// Looks at the rules that read one of these values, and at those whose alarm is under way.
    fn look_at_rules(&mut self, name: &str, at: Timestamp, values: &[(&'static str, Value)]) {
        for index in 0..self.rules.len() {
            let Some(rule) = self.rules.get(index) else { continue };
            let reads = values.iter().any(|(metric, _)| *metric == rule.metric);
            let is_active = self.devices.get(name).is_some_and(|device| {
                let mut alarms = device.alarms.iter().filter(|(known, _)| known.rule == rule.id);
                alarms.any(|(_, alarm)| alarm.state != State::Normal { rising: None })
            });
            if reads || is_active {
                self.look(name, index, at);
            }
        }
    }

    /// Looks at a rule of a device.
    fn look(&mut self, name: &str, rule: usize, at: Timestamp) {
        let (Some(device), Some(rule)) = (self.devices.get(name), self.rules.get(rule).cloned())
        else {
            return;
        };
        let Some((_, Value(value))) = device.values.get(rule.metric).copied() else { return };
        let (when, clear) = match rule.condition {
            Condition::Above(high, low) if high == low => (value > high, value <= high),
            Condition::Above(high, low) => (value > high, value < low),
            Condition::Closed => (value != 0, value == 0),
            Condition::Code => (value != 0, value == 0),
        };
        let id =
            |key: Vec<String>| AlarmId { rule: rule.id.to_owned(), device: name.to_owned(), key };
        let own = match rule.condition {
            Condition::Code => id(vec![value.to_string()]),
            Condition::Above(..) | Condition::Closed => id(Vec::new()),
        };
        let others = device.alarms.keys().filter(|known| known.rule == rule.id && **known != own);
        for other in others.cloned().collect::<Vec<_>>() {
            self.observe(&rule, &other, at, false, true);
        }
        self.observe(&rule, &own, at, when, clear);
    }

    fn observe(&mut self, rule: &Rule, id: &AlarmId, at: Timestamp, when: bool, clear: bool) {
        let Some(device) = self.devices.get_mut(&id.device) else { return };
        if !when && !device.alarms.contains_key(id) {
            return;
        }
        let alarm = device.alarms.entry(id.clone()).or_insert_with(|| Alarm {
            state: State::Normal { rising: None },
            episode: 0,
            ticket: None,
            changed_at: Timestamp::from_micros(i64::MIN),
            due: None,
        });
        if at < alarm.changed_at {
            return;
        }
        let (next, happened) = step(alarm.state, rule, at, when, clear);
        if next != alarm.state {
            alarm.state = next;
            alarm.changed_at = at;
        }
        alarm.due = due(rule, next).filter(|due| *due > at);
        let ticket = alarm.ticket;
        match happened {
            Some(Happened::Raised) => {
                alarm.episode += 1;
                let key = id.fingerprint(alarm.episode).0;
                let ticket = self.place(rule, id, key, at);
                if let Some(device) = self.devices.get_mut(&id.device)
                    && let Some(alarm) = device.alarms.get_mut(id)
                {
                    alarm.ticket = Some(ticket);
                }
            }
            Some(Happened::Returned) if !rule.latch => self.leave(id, ticket, at),
            Some(Happened::Returned | Happened::RaisedAgain) | None => {}
        }
    }

    /// The ticket of a new episode.
    fn place(&mut self, rule: &Rule, id: &AlarmId, key: String, at: Timestamp) -> usize {
        let upstream = rule.upstream;
        let group = match rule.per_device {
            true => format!("{upstream}/{}", id.device),
            false => format!("{upstream}//{id}"),
        };
        let last = self.groups.get(&group).copied();
        if let Some((index, last)) = last.and_then(|at| Some((at, self.tickets.get_mut(at)?))) {
            if last.status != Status::Over {
                last.open.insert(id.clone());
                return index;
            }
            if last.reopen_until.is_some_and(|until| at <= until) {
                last.status = Status::Open;
                last.acked = false;
                last.resolved_at = None;
                last.open.insert(id.clone());
                return index;
            }
        }
        let index = self.tickets.len();
        self.tickets.push(Ticket {
            key,
            upstream,
            status: Status::Open,
            open: BTreeSet::from([id.clone()]),
            acked: false,
            resolved_at: None,
            reopen_until: None,
        });
        self.groups.insert(group, index);
        index
    }

    /// The fault of an alarm is over.
    fn leave(&mut self, id: &AlarmId, ticket: Option<usize>, at: Timestamp) {
        let Some(ticket) = ticket.and_then(|at| self.tickets.get_mut(at)) else { return };
        if !ticket.open.remove(id) || !ticket.open.is_empty() {
            return;
        }
        let within = self.rules.iter().find(|rule| rule.id == id.rule);
        let within = within.map_or(TimeSpan::ZERO, |rule| rule.reopen_within);
        ticket.status = Status::Over;
        ticket.resolved_at = Some(at);
        ticket.reopen_until = (within > TimeSpan::ZERO).then_some(at + within);
    }

    fn set_due(&mut self) {
        for (id, alarm) in self.devices.values_mut().flat_map(|device| &mut device.alarms) {
            if let Some(rule) = self.rules.iter().find(|rule| rule.id == id.rule) {
                alarm.due = due(rule, alarm.state).filter(|due| *due > alarm.changed_at);
            }
        }
    }
}

/// When an alarm must be looked at again.
fn due(rule: &Rule, state: State) -> Option<Timestamp> {
    match state {
        State::Normal { rising } | State::Latched { rising, .. } => {
            rising.map(|since| since + rule.on_delay)
        }
        State::Raised { clearing, .. } => clearing.map(|since| since + rule.off_delay),
    }
}

/// What an alarm does on what it sees.
fn step(
    state: State,
    rule: &Rule,
    at: Timestamp,
    when: bool,
    clear: bool,
) -> (State, Option<Happened>) {
    let raised = State::Raised { taken: false, clearing: None };
    let rise = |rising: Option<Timestamp>| {
        let since = rising.unwrap_or(at);
        (when && at.since(since) >= rule.on_delay, when.then_some(since))
    };
    match state {
        State::Normal { rising } => match rise(rising) {
            (true, _) => (raised, Some(Happened::Raised)),
            (false, rising) => (State::Normal { rising }, None),
        },
        State::Latched { taken, rising } => match rise(rising) {
            (true, _) => (raised, Some(Happened::RaisedAgain)),
            (false, rising) => (State::Latched { taken, rising }, None),
        },
        State::Raised { taken, clearing } => {
            let since = clearing.unwrap_or(at);
            if !clear {
                (State::Raised { taken, clearing: None }, None)
            } else if at.since(since) < rule.off_delay {
                (State::Raised { taken, clearing: Some(since) }, None)
            } else if rule.latch {
                (State::Latched { taken, rising: None }, Some(Happened::Returned))
            } else {
                (State::Normal { rising: None }, Some(Happened::Returned))
            }
        }
    }
}
