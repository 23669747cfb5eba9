//! The life cycle of alarms and what it asks of tickets, written down a second time, plainly, from
//! what is promised and not from the engine. What both say must be the same after every turn.

use std::collections::{BTreeMap, BTreeSet};

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::devices::Publication;
use crate::plan::Plan;
use crate::quiet::Quiet;
use crate::rules::{Condition, Files, Rule, rules};

mod alarm;
mod asks;
mod books;
mod design;
mod late;
mod money;
mod shelves;
mod storms;
mod tickets;
mod waits;

pub use alarm::{Alarm, Shelf, State};
use alarm::{BEFORE_ALL, Happened, Seen, Underneath, limits};
use asks::{Ask, What};
pub use asks::{Named, Said, Step, Told};
pub use books::Books;
use design::Source;
use late::Moment;
pub use money::Unpaid;
use storms::Storms;
pub use tickets::{Status, Ticket};

/// A value that a device sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub i64);

#[derive(Clone, Debug, Default)]
struct Device {
    /// Where it stands.
    site: &'static str,
    values: BTreeMap<&'static str, (Timestamp, Value)>,
    /// The newest event time, and when it was received.
    newest: Option<(Timestamp, Timestamp)>,
    /// Metrics that were not heard since a restart.
    recalled: BTreeSet<&'static str>,
    /// Up to when something was decided before a restart.
    decided: Option<Timestamp>,
    /// The messages of its own time since the start: the same once more says nothing.
    heard: BTreeSet<(Timestamp, String)>,
    /// What it said in the last moments.
    moments: Vec<Moment>,
    alarms: BTreeMap<AlarmId, Alarm>,
}

impl Device {
    fn time(&self, now: Timestamp) -> Timestamp {
        self.newest.map_or(now, |(event, received)| event + now.since(received))
    }

    /// What is known after a restart: by what each alarm was judged last.
    fn forget_what_changed_nothing(&mut self, rules: &[Rule]) {
        self.values.clear();
        for (id, alarm) in &self.alarms {
            let rule = rules.iter().find(|rule| rule.id == id.rule);
            if let (Some(rule), Some(seen)) = (rule, alarm.seen) {
                let known = self.values.entry(rule.metric).or_insert(seen);
                *known = if known.0 < seen.0 { seen } else { *known };
            }
        }
        self.recalled = self.values.keys().copied().collect();
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
    /// The ticket of each episode that has one.
    placed: BTreeMap<(AlarmId, u32), usize>,
    /// What the gateway must have done by the end of its step.
    asks: Vec<Ask>,
    /// Raised alarms without a ticket that nothing keeps back, and since when.
    idle: BTreeMap<AlarmId, Timestamp>,
    /// Tickets that somebody has ended, whose fault stands, and since when they should be open.
    unmended: BTreeMap<String, Timestamp>,
    /// Keys of the episodes that a person has paid for.
    pub approved: BTreeSet<String>,
    /// What is spent, where there are budgets.
    pub books: Option<Books>,
    /// Attempts that wait for money that is there, and when it must be taken.
    payable: BTreeMap<String, Timestamp>,
    /// What is suppressed by design.
    quiet: Option<Quiet>,
    /// Alarms that may keep others from people.
    sources: BTreeMap<AlarmId, Source>,
    /// Alarms that wait for others, at the latest until then.
    waiting: BTreeMap<AlarmId, Timestamp>,
    /// Where there are storms.
    storms: Option<Storms>,
    /// Until then all but safety alarms wait, after a start.
    settles_until: Option<Timestamp>,
    /// When the gateway was started again.
    started: Option<Timestamp>,
    has_moved: bool,
}

impl Model {
    /// Before anything has happened.
    pub fn new(in_force: Files, plan: &Plan) -> Model {
        Model {
            rules: rules(in_force.edition),
            devices: BTreeMap::new(),
            tickets: Vec::new(),
            groups: BTreeMap::new(),
            placed: BTreeMap::new(),
            asks: Vec::new(),
            idle: BTreeMap::new(),
            unmended: BTreeMap::new(),
            approved: BTreeSet::new(),
            books: plan.money.clone().map(Books::new),
            payable: BTreeMap::new(),
            quiet: plan.quiet.clone(),
            sources: BTreeMap::new(),
            waiting: BTreeMap::new(),
            storms: plan.storm.map(Storms::new),
            settles_until: None,
            started: None,
            has_moved: false,
        }
    }

    /// Every alarm that was ever anything.
    pub fn alarms(&self) -> impl Iterator<Item = (&AlarmId, &Alarm)> {
        self.devices.values().flat_map(|device| device.alarms.iter())
    }

    /// True when an alarm has moved since the last question.
    pub fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Time has come to `now`.
    pub fn tick(&mut self, now: Timestamp) {
        for end in self.ends_of_shelves(now) {
            self.advance_all(end);
            self.end_shelves(end);
        }
        self.advance_all(now);
    }

    fn advance_all(&mut self, now: Timestamp) {
        let names: Vec<String> = self.devices.keys().cloned().collect();
        for name in names {
            let until = self.devices.get(&name).map_or(now, |device| device.time(now));
            self.advance(&name, until, true);
        }
    }

    /// A message was taken in for the first time: what the device measured at `event`, its own
    /// time if it sent one.
    pub fn hear(&mut self, now: Timestamp, said: &Publication, event: Option<Timestamp>) {
        let (name, values, payload) = (&said.device, &said.values, &said.payload);
        let device = self.devices.entry(name.to_owned()).or_default();
        device.site = said.site;
        if event.is_some_and(|event| !device.heard.insert((event, payload.to_owned()))) {
            return;
        }
        let newest = device.newest.map(|(newest, _)| newest);
        let own = event;
        // What comes after a restart comes after what was decided before it, whatever the clock says.
        let after = newest.max(device.decided).map(|before| before + TimeSpan::from_micros(1));
        let event = event.unwrap_or_else(|| after.map_or(now, |after| now.max(after)));
        if newest.is_some_and(|newest| event < newest) {
            self.hear_late(now, name, event, values);
            return;
        }
        self.advance(name, event, false);
        let Some(device) = self.devices.get_mut(name) else { return };
        if own.is_some() {
            device.keep_moment(event, values);
        }
        device.say(event, values);
        device.newest = Some((event, now));
        self.look_at_rules(name, event, values);
    }

    /// The gateway was started again. Delays that were under way go on, or begin again after a long
    /// time.
    pub fn restart(&mut self, now: Timestamp, resume: bool, settles_until: Timestamp) {
        self.wait_again(settles_until);
        if let Some(storms) = &mut self.storms {
            storms.restart();
        }
        self.idle.clear();
        self.unmended.clear();
        self.started = Some(now);
        self.payable.clear();
        self.recall_sources();
        for device in self.devices.values_mut() {
            device.newest = None;
            device.heard.clear();
            device.moments.clear();
            device.alarms.values_mut().for_each(|alarm| alarm.stood.clear());
            device.forget_what_changed_nothing(&self.rules);
            let seen_at = |alarm: &Alarm| alarm.seen.map(|(at, _)| at);
            let decided = device.alarms.values().flat_map(|a| [Some(a.changed_at), seen_at(a)]);
            device.decided = decided.max().flatten().filter(|at| *at > BEFORE_ALL);
            for shelf in device.alarms.values_mut().filter_map(|alarm| alarm.shelf.as_mut()) {
                // What ended meanwhile ends now, after the delays that ended meanwhile.
                shelf.until = shelf.until.map(|until| until.max(now));
            }
            for alarm in device.alarms.values_mut().filter(|_| !resume) {
                let again = |since: &mut Option<Timestamp>| *since = since.map(|_| now);
                match &mut alarm.state {
                    State::Normal { rising } | State::Latched { rising, .. } => again(rising),
                    State::Raised { clearing, .. } => again(clearing),
                }
                if let Some(Underneath::Down { rising }) = &mut alarm.flapping {
                    again(rising);
                }
            }
        }
        if !resume {
            self.set_due();
        }
    }

    /// It was started with these rules and budgets.
    pub fn use_files(&mut self, in_force: Files) {
        self.rules = rules(in_force.edition);
        if let Some(books) = &mut self.books {
            books.set_budgets(in_force.budget);
        }
        self.set_due();
    }

    /// Other rules or budgets are in force.
    pub fn reload(&mut self, now: Timestamp, in_force: Files) {
        self.tick(now);
        self.recall_sources();
        for alarm in self.devices.values_mut().flat_map(|device| device.alarms.values_mut()) {
            alarm.stood.clear();
        }
        self.rules = rules(in_force.edition);
        if let Some(books) = &mut self.books {
            books.set_budgets(in_force.budget);
        }
        let names: Vec<String> = self.devices.keys().cloned().collect();
        for name in names {
            let time = self.devices.get(&name).map_or(now, |device| device.time(now));
            self.look_at_rules(&name, time, &[]);
            self.note_limits(&name);
        }
        self.set_due();
    }

    /// What is under way is judged by the new limits from now on, also after a restart.
    fn note_limits(&mut self, name: &str) {
        for rule in self.rules.clone() {
            if self.awaits_word(name, &rule) {
                continue;
            }
            let Some(device) = self.devices.get_mut(name) else { return };
            let under_way = device
                .alarms
                .iter_mut()
                .filter(|(id, alarm)| id.rule == rule.id && alarm.is_under_way());
            let seen = device.values.get(rule.metric).copied();
            under_way.filter(|(_, alarm)| alarm.judged_by != Some(limits(&rule))).for_each(
                |(_, alarm)| {
                    alarm.judged_by = Some(limits(&rule));
                    alarm.seen = seen;
                },
            );
        }
    }

    /// A reading that changed nothing may be forgotten by a restart. What is known then decides by
    /// the limits by which it was judged, and by no others.
    fn awaits_word(&self, name: &str, rule: &Rule) -> bool {
        let Some(device) = self.devices.get(name) else { return false };
        let by_others = |(id, alarm): (&AlarmId, &Alarm)| {
            id.rule == rule.id && alarm.is_under_way() && alarm.judged_by != Some(limits(rule))
        };
        device.recalled.contains(rule.metric) && device.alarms.iter().any(by_others)
    }

    /// Somebody resets an alarm.
    pub fn reset(&mut self, now: Timestamp, id: &AlarmId) {
        let Some(device) = self.devices.get_mut(&id.device) else { return };
        let time = device.time(now);
        let Some(alarm) = device.alarms.get_mut(id) else { return };
        if matches!(alarm.state, State::Latched { .. }) {
            alarm.act(|state| match state {
                State::Latched { rising, .. } => State::Normal { rising },
                State::Normal { .. } | State::Raised { .. } => state,
            });
            let at = time.max(alarm.changed_at);
            self.ask(id, at, What::Leave);
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
        self.look_at_undone(name, at, values, &[]);
    }

    /// Looks at a rule of a device.
    fn look(&mut self, name: &str, rule: usize, at: Timestamp) {
        let (Some(device), Some(rule)) = (self.devices.get(name), self.rules.get(rule).cloned())
        else {
            return;
        };
        if self.awaits_word(name, &rule) {
            let of_rule = device.alarms.keys().filter(|known| known.rule == rule.id);
            for id in of_rule.cloned().collect::<Vec<_>>() {
                self.observe(&rule, &id, at, None);
            }
            return;
        }
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
            self.observe(&rule, &other, at, Some((false, true)));
        }
        self.observe(&rule, &own, at, Some((when, clear)));
    }

    fn observe(&mut self, rule: &Rule, id: &AlarmId, at: Timestamp, seen: Seen) {
        let Some(device) = self.devices.get_mut(&id.device) else { return };
        let known = device.values.get(rule.metric).copied();
        if seen.is_none_or(|(when, _)| !when) && !device.alarms.contains_key(id) {
            return;
        }
        let alarm = device.alarms.entry(id.clone()).or_insert_with(Alarm::new);
        if device.newest.is_some_and(|(newest, _)| at < newest) && at < alarm.changed_at {
            // What was decided since stands.
            return;
        }
        // What was measured before a delay ended counts from its end on.
        let at = at.max(alarm.changed_at);
        let before = alarm.flapping;
        if alarm.stood.is_empty() {
            alarm.stood.push(alarm.standing());
        }
        let (next, happened) = alarm.go_on(rule, at, seen);
        if next != alarm.state || before != alarm.flapping {
            alarm.state = next;
            alarm.changed_at = at;
            self.has_moved = true;
            alarm.judged_by = Some(limits(rule));
            alarm.seen = known;
            if happened.is_some() || before.is_some() != alarm.flapping.is_some() {
                alarm.stood.clear();
            }
            alarm.stood.push(alarm.standing());
        }
        alarm.due = alarm.due_by(rule).filter(|due| *due > at);
        let shelved = alarm.shelf.is_some();
        match happened {
            Some(Happened::Raised) => {
                alarm.episode += 1;
                self.ask(id, at, What::Enter { shelved });
            }
            Some(Happened::RaisedAgain) => self.ask(id, at, What::Enter { shelved }),
            Some(Happened::Returned) => {
                alarm.shelf = alarm.shelf.filter(|shelf| !shelf.one_shot);
                if rule.latch {
                    alarm.held_since = None;
                } else {
                    // It may have been released before, in the same turn: a period began.
                    self.ask(id, at, What::Leave);
                }
            }
            None => {}
        }
    }

    fn set_due(&mut self) {
        for (id, alarm) in self.devices.values_mut().flat_map(|device| &mut device.alarms) {
            if let Some(rule) = self.rules.iter().find(|rule| rule.id == id.rule) {
                alarm.due = alarm.due_by(rule).filter(|due| *due > alarm.changed_at);
            }
        }
    }
}
