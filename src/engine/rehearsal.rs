//! The engine on a virtual clock, with an upstream that does at once whatever it is asked.
//!
//! `faultgate test` and `faultgate backtest` run the same engine as the gateway: only time and the
//! upstream are replaced.

use super::pipeline::{Engine, Settings};
use super::policy::Policy;
use super::types::decision::{AlarmEvent, Decision, Rejection};
use super::types::effect::{Effects, Write};
use super::types::input::Input;
use super::types::job::{Call, Delivered, Outcome};
use super::types::ledger::{LedgerState, Meter};
use super::types::time::Timestamp;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// An engine and everything that it has decided.
#[derive(Debug)]
pub struct Rehearsal {
    engine: Engine,
    now: Timestamp,
    effects: Effects,
    /// What was decided, in order.
    pub decisions: Vec<Decision>,
    /// Refused messages, by reason.
    pub rejected: BTreeMap<Rejection, u64>,
    /// Committed quantities, by meter.
    pub usage: BTreeMap<Meter, Decimal>,
}

impl Rehearsal {
    /// An engine that knows nothing, at `start`.
    pub fn new(settings: Settings, policy: Policy, start: Timestamp) -> Rehearsal {
        Rehearsal {
            engine: Engine::new(settings, policy, start),
            now: start,
            effects: Effects::default(),
            decisions: Vec::new(),
            rejected: BTreeMap::new(),
            usage: BTreeMap::new(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Lets time pass until `now`, firing every timer at its own time.
    pub fn advance(&mut self, now: Timestamp) {
        self.advance_before(now);
        self.now = self.now.max(now);
        self.step(Input::Tick);
    }

    fn advance_before(&mut self, now: Timestamp) {
        while let Some(at) = self.engine.next_wakeup().filter(|at| *at < now) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
    }

    /// Something arrives at `now`.
    pub fn receive(&mut self, now: Timestamp, input: Input) {
        self.advance_before(now);
        self.now = self.now.max(now);
        self.step(input);
    }

    fn step(&mut self, input: Input) {
        self.engine.step(self.now, input, &mut self.effects);
        self.take_effects();
        loop {
            let calls = std::mem::take(&mut self.effects.calls);
            if calls.is_empty() {
                break;
            }
            for call in calls {
                let delivered = Input::Delivered(accept(&call));
                self.engine.step(self.now, delivered, &mut self.effects);
                self.take_effects();
            }
        }
    }

    fn take_effects(&mut self) {
        // There is nobody to ask.
        self.effects.publish.clear();
        for decision in self.effects.decisions.drain(..) {
            if let Decision::Rejected { reason, .. } = &decision {
                *self.rejected.entry(*reason).or_default() += 1;
            } else {
                self.decisions.push(decision);
            }
        }
        for write in self.effects.writes.drain(..) {
            if let Write::Ledger(row) = write
                && row.state == LedgerState::Committed
            {
                *self.usage.entry(row.meter).or_default() += row.qty;
            }
        }
    }
}

fn accept(call: &Call) -> Delivered {
    let external = call.external.clone().unwrap_or_else(|| call.key.ticket.to_string());
    let outcome = Outcome::Done { external, found: false };
    Delivered { key: call.key, attempt: call.attempt, requests: 1, is_short: false, outcome }
}

/// `raised`, `returned` or `closed`; `None` for what tests do not tell apart.
pub fn event_word(event: AlarmEvent) -> Option<&'static str> {
    match event {
        AlarmEvent::Raised { .. } => Some("raised"),
        AlarmEvent::Returned => Some("returned"),
        AlarmEvent::Closed => Some("closed"),
        AlarmEvent::Acknowledged
        | AlarmEvent::Released { .. }
        | AlarmEvent::Unsteady
        | AlarmEvent::Steady => None,
    }
}
