//! What is left in the outbox where there is no money for it.

use std::collections::{BTreeMap, BTreeSet};

use faultgate::engine::pipeline::Engine;
use faultgate::engine::types::job::{Action, JobRecord, JobState, Owed};
use faultgate::engine::types::ticket::TicketId;

use crate::money::Use;

/// What is left, by what it keeps from being as it should be.
#[derive(Debug, Default)]
pub struct Left {
    /// Keys of the effects.
    pub effects: BTreeSet<String>,
    /// Keys of tickets that are to be opened yet, or may be open and were not looked for.
    pub opens: BTreeSet<String>,
    /// Keys of tickets that are to be resolved or reopened yet.
    pub turns: BTreeSet<String>,
    /// Steps of ladders.
    pub steps: u64,
}

impl Left {
    /// All that is in the outbox.
    pub fn of(engine: &Engine) -> Left {
        let mut left = Left::default();
        for job in engine.outbox().jobs() {
            left.effects.insert(job.idempotency_key.clone());
            let ticket = job.fingerprint.0.clone();
            match &job.action {
                Action::Open(_) => drop(left.opens.insert(ticket)),
                Action::Resolve { .. } | Action::Reopen { .. } => drop(left.turns.insert(ticket)),
                Action::Escalate { .. } => left.steps += 1,
                Action::Comment { .. } => {}
            }
        }
        left
    }
}

/// What comes next of each ticket.
pub fn heads(engine: &Engine) -> BTreeMap<TicketId, &JobRecord> {
    let mut heads = BTreeMap::new();
    let is_dead = |job: &JobRecord| matches!(job.state, JobState::Dead { .. });
    for job in engine.outbox().jobs() {
        let is_open = matches!(job.action, Action::Open(_));
        // Without its ticket nothing comes.
        if !is_dead(job) || is_open {
            heads.entry(job.key.ticket).or_insert(job);
        }
    }
    heads.retain(|_, job| !is_dead(job));
    heads
}

/// The tickets whose next effect waits for money.
pub fn unpaid(engine: &Engine) -> BTreeSet<TicketId> {
    let heads = heads(engine).into_iter();
    heads.filter(|(_, job)| !job.funds.owed.is_nothing()).map(|(ticket, _)| ticket).collect()
}

/// What the next attempt of a job takes.
pub fn owed(job: &JobRecord) -> Use {
    let is_whole = job.funds.owed == Owed::Whole;
    let is = |is_it: bool| i64::from(is_whole && is_it);
    [
        is(matches!(job.action, Action::Open(_))),
        is(matches!(job.action, Action::Escalate { .. })),
        i64::from(job.funds.calls.max(1)),
    ]
}
