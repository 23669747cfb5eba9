//! When nothing more happens by itself, and the budgets that still hold something back.

use super::{QUIET_AFTER, World};
use crate::broker::Broker;
use crate::rules::Files;
use crate::{check, left};

impl World {
    /// Nothing is under way or waits, but for what there is no money for.
    pub(super) fn is_quiet(&self) -> bool {
        let is_lifted = self.in_force.budget == Files::LIFTED;
        let quiet = self.process.as_ref().is_some_and(|process| {
            let unpaid = left::unpaid(&process.engine);
            let mut jobs = process.engine.outbox().jobs();
            jobs.all(|job| !is_lifted && unpaid.contains(&job.key.ticket))
                && process.calls() == 0
                && process.inbox.is_empty()
                && process.results.is_empty()
                && process.effects.writes.is_empty()
        });
        quiet && self.brokers.iter().all(Broker::is_empty) && self.told.is_empty()
    }

    /// Lifts the budgets where something waits for money still; first all else must be as it should.
    pub(super) fn lifts_budgets(&mut self) -> anyhow::Result<bool> {
        let Some(process) = &self.process else { return Ok(false) };
        let unpaid = left::unpaid(&process.engine).len();
        let waits = unpaid > 0 || !process.engine.held_for_money().is_empty();
        if !waits || self.reload.is_some() || self.in_force.budget == Files::LIFTED {
            return Ok(false);
        }
        if self.changed_since.is_none() {
            check::after_all(self)?;
        }
        self.tell("world", || format!("the budgets are lifted; {unpaid} attempts wait for them"));
        self.summary.unpaid += unpaid;
        self.lift();
        self.rests_at = self.now + QUIET_AFTER;
        Ok(true)
    }
}
