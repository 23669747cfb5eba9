//! What breaks, and what people do to tickets where they are.

use faultgate::engine::types::ticket::TicketStatus;
use faultgate::engine::types::time::TimeSpan;

use super::{CRASH_WITHIN, Event, Told, World};
use crate::chance::Chance;
use crate::plan::{Fault, Trouble};
use crate::rules::Files;

impl World {
    /// Has the fault of this number happen, unless all is well already.
    pub(super) fn break_something(&mut self, number: usize) {
        let Some(Fault { number, what, .. }) = self.plan.faults.get(number).copied() else {
            return;
        };
        if self.healed {
            return;
        }
        self.tell("trouble", || format!("{number}: {what:?}"));
        match what {
            Trouble::Crash { stop, steps, down } => {
                self.crash = (stop, down);
                self.fuse.light(steps);
                self.turn_within(TimeSpan::ZERO);
                self.after(CRASH_WITHIN, Event::Blow(self.life));
            }
            Trouble::Clock { by } => {
                self.wall_ahead = self.wall_ahead + by;
                self.turn_within(TimeSpan::from_secs(1));
            }
            Trouble::Link { source, lasts } => {
                if let Some(broker) = self.brokers.get_mut(source) {
                    broker.disconnect();
                }
                self.after(lasts, Event::LinkBack(source));
            }
            Trouble::Upstream { upstream, outage, lasts } => {
                if let Some(known) = self.outages.get_mut(upstream) {
                    *known = Some((outage, self.now + lasts));
                }
            }
            Trouble::Disk { errors } => self.disk.borrow_mut().errors_left = errors,
            Trouble::Reload(edition) => {
                if edition > self.to_be_in_force().edition {
                    self.put_in_force(Files { edition, ..self.to_be_in_force() });
                }
            }
            Trouble::Budgets(percent) => {
                self.put_in_force(Files { budget: percent, ..self.to_be_in_force() });
            }
            Trouble::Operator(act) => {
                self.acts.push((number, act));
                self.turn_within(TimeSpan::ZERO);
            }
            Trouble::Person { upstream, status } => self.person(number, upstream, status),
        }
    }

    fn to_be_in_force(&self) -> Files {
        self.reload.unwrap_or(self.in_force)
    }

    fn put_in_force(&mut self, files: Files) {
        self.reload = Some(files);
        self.turn_within(TimeSpan::ZERO);
    }

    /// The budgets hold nothing back from now on, if there are any.
    pub(super) fn lift(&mut self) {
        self.put_in_force(Files { budget: Files::LIFTED, ..self.to_be_in_force() });
    }

    /// The budgets hold what they were meant to.
    pub(crate) fn put_budgets_back(&mut self) {
        let is_lifted = self.plan.money.as_ref().is_some_and(|money| money.is_lifted_early);
        self.in_force.budget = if is_lifted { Files::LIFTED } else { Files::FIRST.budget };
    }

    /// Somebody changes a ticket that the gateway knows.
    fn person(&mut self, number: usize, upstream: usize, status: TicketStatus) {
        let (Some(process), Some(server)) = (&self.process, self.servers.get_mut(upstream)) else {
            return;
        };
        let known = process.engine.tickets().filter(|ticket| ticket.upstream == server.name);
        let known = known.filter_map(|ticket| ticket.external.as_ref()?.parse().ok());
        let is_open = |number: &usize| server.tickets.get(number - 1).is_some_and(|t| !t.is_over);
        let known: Vec<usize> = known.filter(is_open).collect();
        let mut chance = Chance::of(self.plan.seed, "person", number);
        let Some(ticket) = chance.one(&known).copied() else { return };
        if server.person(ticket - 1, status) {
            let name = server.name;
            self.tell(name, || format!("somebody makes ticket {ticket} {}", status.word()));
            let told = Told { upstream, ticket, status };
            self.after(chance.secs(1, 60), Event::Told(told));
        }
    }
}
