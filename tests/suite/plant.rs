//! The engine over virtual time with an upstream that does at once what it is asked, or is away.

use std::collections::BTreeMap;

use faultgate::engine::pipeline::{Engine, Settings, Snapshot};
use faultgate::engine::policy;
use faultgate::engine::types::alarm::{AlarmId, AlarmRecord, HeldBy, Signature};
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::effect::{Effects, Write};
use faultgate::engine::types::input::{Input, OperatorAction};
use faultgate::engine::types::job::{Action, Call, Delivered, JobKey, JobRecord, Outcome};
use faultgate::engine::types::message::{Reading, Value};
use faultgate::engine::types::text::Language;
use faultgate::engine::types::ticket::{TicketId, TicketRecord};
use faultgate::engine::types::time::{TimeSpan, Timestamp};

/// An engine, an upstream that does at once what it is asked, and what it was asked.
pub struct Plant {
    pub engine: Engine,
    pub effects: Effects,
    pub start: Timestamp,
    pub now: Timestamp,
    /// Second, ticket, word of the action and its text.
    pub calls: Vec<(i64, String, &'static str, String)>,
    /// Acts that were kept.
    pub acts: Vec<String>,
    /// Lines of the digest.
    pub digest: Vec<String>,
    /// The upstream does not answer.
    pub is_down: bool,
    /// Calls that were made while it did not.
    pub in_vain: usize,
    /// What is on disk.
    stored: Stored,
}

#[derive(Default)]
struct Stored {
    alarms: BTreeMap<AlarmId, AlarmRecord>,
    tickets: BTreeMap<TicketId, TicketRecord>,
    jobs: BTreeMap<JobKey, JobRecord>,
    devices: BTreeMap<String, DeviceFacts>,
}

pub fn settings() -> Settings {
    let settings = faultgate::config::defaults().and_then(|config| config.settings());
    let zone = "Asia/Shanghai".parse().expect("a zone");
    Settings { language: Language::English, zone, ..settings.expect("settings") }
}

pub fn rules(text: &str) -> policy::Policy {
    let (source, report) = (Source { file: "r.toml".into(), text: text.into() }, Report::default());
    let compiled = policy::compile(&[source], &["desk"], &report);
    compiled.unwrap_or_else(|| panic!("{:?}", report.into_sorted()))
}

impl Plant {
    pub fn new(text: &str) -> Plant {
        Plant::with(text, settings())
    }

    pub fn with(text: &str, settings: Settings) -> Plant {
        let start = Timestamp::parse_rfc3339("2026-04-11T03:00:00Z").expect("a time");
        Plant {
            engine: Engine::new(settings, rules(text), start),
            effects: Effects::default(),
            start,
            now: start,
            calls: Vec::new(),
            acts: Vec::new(),
            digest: Vec::new(),
            is_down: false,
            in_vain: 0,
            stored: Stored::default(),
        }
    }

    /// Goes on in another process from what is on disk.
    pub fn restart(&mut self, text: &str) {
        let stored = Snapshot {
            devices: self.stored.devices.values().cloned().collect(),
            alarms: self.stored.alarms.values().cloned().collect(),
            tickets: self.stored.tickets.values().cloned().collect(),
            jobs: self.stored.jobs.values().cloned().collect(),
            ..Snapshot::default()
        };
        let (settings, rules) = (self.engine.settings().clone(), rules(text));
        self.engine = Engine::restore(settings, rules, stored, self.now, &mut self.effects);
        self.carry_out();
    }

    fn second(&self) -> i64 {
        self.now.since(self.start).micros() / 1_000_000
    }

    pub fn step(&mut self, input: Input) {
        self.engine.step(self.now, input, &mut self.effects);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            for write in self.effects.writes.drain(..) {
                match write {
                    Write::Audit(act) => {
                        let by = &act.signature.by;
                        self.acts.push(format!("{} {} by {by}", act.act, act.subject));
                    }
                    Write::Digest(line) => self.digest.push(line.title),
                    Write::Alarm(alarm) => {
                        drop(self.stored.alarms.insert(alarm.id.clone(), *alarm))
                    }
                    Write::Ticket(ticket) => drop(self.stored.tickets.insert(ticket.id, *ticket)),
                    Write::TicketGone(ticket) => drop(self.stored.tickets.remove(&ticket)),
                    Write::Job(job) => drop(self.stored.jobs.insert(job.key, *job)),
                    Write::JobGone(key) => drop(self.stored.jobs.remove(&key)),
                    Write::Device(device) => {
                        self.stored.devices.insert(device.id.clone(), *device);
                    }
                    Write::AlarmGone(alarm) => drop(self.stored.alarms.remove(&alarm)),
                    Write::Ledger(_)
                    | Write::Alive(_)
                    | Write::Metering(_)
                    | Write::Spell(_)
                    | Write::Received { .. } => {}
                }
            }
            let calls: Vec<Call> = self.effects.calls.drain(..).collect();
            self.effects.clear();
            if calls.is_empty() {
                return;
            }
            for call in calls {
                if self.is_down {
                    self.in_vain += 1;
                    let outcome = Outcome::Later { reason: "503".into(), after: None };
                    let delivered = Delivered {
                        key: call.key,
                        attempt: call.attempt,
                        requests: 1,
                        is_short: false,
                        outcome,
                    };
                    let input = Input::Delivered(delivered);
                    self.engine.step(self.now, input, &mut self.effects);
                    continue;
                }
                let text = match &call.action {
                    Action::Open(draft) => format!("{}\n{}", draft.title, draft.body),
                    Action::Comment { text }
                    | Action::Escalate { text, .. }
                    | Action::Resolve { text }
                    | Action::Reopen { text, .. } => text.clone(),
                };
                let ticket = call.key.ticket.to_string();
                self.calls.push((self.second(), ticket.clone(), call.action.word(), text));
                let outcome = Outcome::Done { external: ticket, found: false };
                let delivered = Delivered {
                    key: call.key,
                    attempt: call.attempt,
                    requests: 1,
                    is_short: false,
                    outcome,
                };
                let input = Input::Delivered(delivered);
                self.engine.step(self.now, input, &mut self.effects);
            }
        }
    }

    /// Lets time pass, timers at their own times.
    pub fn until(&mut self, second: i64) {
        let end = self.start + TimeSpan::from_secs(second);
        while let Some(at) = self.engine.next_wakeup().filter(|at| *at < end) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = self.now.max(end);
        self.step(Input::Tick);
    }

    /// A device of a site says something.
    pub fn say(&mut self, second: i64, (site, device): (&str, &str), metric: &str, value: f64) {
        self.until(second);
        let facts = DeviceFacts {
            id: device.into(),
            site: site.into(),
            class: "freezer".into(),
            ..DeviceFacts::default()
        };
        let readings = vec![(metric.to_owned(), Reading::Good(Value::Float(value)))];
        self.step(Input::Readings { facts, at: self.now, readings });
    }

    pub fn act(&mut self, action: OperatorAction) -> Option<String> {
        let refusal = self.engine.refusal(&action);
        let signature = Signature {
            by: "王芳".into(),
            at: self.now,
            via: "cli".into(),
            reason: "换门封".into(),
        };
        self.step(Input::Operator { action, signature });
        refusal
    }

    pub fn words(&self) -> Vec<(i64, &str, &str)> {
        self.calls.iter().map(|(at, ticket, word, _)| (*at, ticket.as_str(), *word)).collect()
    }

    pub fn text(&self, at: usize) -> &str {
        &self.calls[at].3
    }

    pub fn held_by(&self, device: &str) -> Option<HeldBy> {
        let of_device = self.engine.alarms().find(|alarm| alarm.id.device == device);
        of_device.and_then(|alarm| alarm.episode.as_ref()?.held_by)
    }

    pub fn ticket(&self, number: usize) -> &TicketRecord {
        self.engine.tickets().nth(number - 1).expect("a ticket")
    }
}
