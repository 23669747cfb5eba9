//! Stage 6, for a ticket that is open: the call that closes it is paid for when it is opened, and
//! what is done on it in between is done when the budgets pay for it, and when the upstreams keep up.
//! Else it is folded into one follow-up, which is tried again until it may go; safety excepted.

use rust_decimal::Decimal;

use super::{Engine, Timer};
use crate::engine::guard::{Account, Admission, Spender};
use crate::engine::merge::Placement;
use crate::engine::outbox::Backlog;
use crate::engine::ticket;
use crate::engine::types::decision::{Decision, TicketEvent};
use crate::engine::types::effect::Effects;
use crate::engine::types::job::{Action, Allowance};
use crate::engine::types::ledger::Meter;
use crate::engine::types::severity::Severity;
use crate::engine::types::tariff::Quantities;
use crate::engine::types::ticket::{TicketId, TicketRecord, Untold, Withheld};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// How often it is looked whether what was folded may go.
pub(super) const LOOK_AGAIN: TimeSpan = TimeSpan::from_secs(60);

/// What it takes at most to open, join or reopen a ticket, with the requests that close it.
pub(super) fn entering(placement: Placement, allowance: Allowance) -> Quantities {
    let Allowance { open, follow } = allowance;
    let calls = |first: u32| {
        Quantities::ZERO.with(Meter::ApiCall, Decimal::from(first) + Decimal::from(follow))
    };
    match placement {
        Placement::Open => calls(open).with(Meter::TicketCreated, Decimal::ONE),
        Placement::Reopen(_) => calls(follow),
        Placement::Join(_) => Quantities::ZERO,
    }
}

fn following(action: &Action, allowance: Allowance) -> Quantities {
    let call = Quantities::ZERO.with(Meter::ApiCall, Decimal::from(allowance.of(action)));
    match action {
        Action::Escalate { .. } => call.with(Meter::TicketEscalated, Decimal::ONE),
        Action::Open(_)
        | Action::Comment { .. }
        | Action::Resolve { .. }
        | Action::Reopen { .. } => call,
    }
}

impl Account {
    pub(super) fn spender(&self) -> Spender<'_> {
        Spender {
            customer: &self.customer,
            site: &self.site,
            region: &self.region,
            device_class: &self.device_class,
            rule: &self.rule,
        }
    }
}

impl Engine {
    /// Comments on a ticket or escalates it, or keeps that for later.
    pub(super) fn follow_up(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        action: Action,
        effects: &mut Effects,
    ) {
        match self.holds_back(ticket, &action) {
            None => self.add_job(now, ticket, action, effects),
            Some(why) => self.withhold(now, ticket, action, why, effects),
        }
    }

    /// Why a comment or an escalation of this ticket is not due now; `None` when it is.
    pub(super) fn holds_back(
        &self,
        ticket: &TicketRecord,
        action: &Action,
    ) -> Option<&'static str> {
        let is_urgent = ticket.safety || ticket.severity == Severity::Critical;
        if !is_urgent && self.backlog != Backlog::Free {
            return Some("too much waits for the upstreams (`max_backlog`)");
        }
        (!self.pays_for(ticket, action)).then_some("the budget does not pay for it")
    }

    /// True when the budgets hold a comment or an escalation of this ticket.
    fn pays_for(&self, ticket: &TicketRecord, action: &Action) -> bool {
        self.pays(ticket, &following(action, self.allowance(&ticket.upstream)))
    }

    /// True when the budgets hold so much more for an open ticket; safety is never held.
    pub(super) fn pays(&self, ticket: &TicketRecord, moves: &Quantities) -> bool {
        if ticket.safety || !self.guard.is_on() {
            return true;
        }
        match self.guard.admission(self.account(ticket).spender(), moves) {
            Admission::Ordinary => true,
            Admission::Reserve | Admission::Blind => ticket.severity == Severity::Critical,
            Admission::Refused => false,
        }
    }

    fn withhold(
        &mut self,
        now: Timestamp,
        ticket: &mut TicketRecord,
        action: Action,
        why: &str,
        effects: &mut Effects,
    ) {
        let id = ticket.id;
        let untold = ticket.untold.get_or_insert_with(|| Untold {
            joined: 0,
            first_at: now,
            names: Vec::new(),
            returned: 0,
            due: now + LOOK_AGAIN,
            withheld: Withheld::default(),
        });
        self.timers.insert((untold.due, Timer::Untold(id)));
        if untold.withheld.is_nothing() {
            let reason = why.to_owned();
            let event = TicketEvent::Delayed { action: action.word(), reason, until: untold.due };
            effects.decisions.push(Decision::Ticket { id, event, at: now });
        }
        untold.withheld.count = untold.withheld.count.saturating_add(1);
        if let Action::Escalate { severity, assign, .. } = action {
            untold.withheld.raises |= severity.is_some();
            untold.withheld.assign = assign.or(untold.withheld.assign.take());
        }
    }

    /// Tells what has happened to the members of a ticket since it was last told, and does what
    /// was folded, as one; later, where it may not go still.
    pub(super) fn fire_untold(&mut self, now: Timestamp, id: TicketId, effects: &mut Effects) {
        let Some(mut ticket) = self.tickets.get(&id).cloned() else { return };
        let Some(mut untold) = ticket.untold.take() else { return };
        if !ticket.status.is_over() {
            let text = ticket::comment_members(self.speech(), &untold, ticket.raised);
            let Withheld { raises, assign, .. } = untold.withheld.clone();
            let action = if raises || assign.is_some() {
                Action::Escalate { severity: raises.then_some(ticket.severity), assign, text }
            } else {
                Action::Comment { text }
            };
            if self.holds_back(&ticket, &action).is_none() {
                ticket.told_at = Some(now);
                self.add_job(now, &mut ticket, action, effects);
            } else {
                untold.due = now + LOOK_AGAIN;
                self.timers.insert((untold.due, Timer::Untold(id)));
                ticket.untold = Some(untold);
            }
        }
        self.put_ticket(ticket, effects);
    }

    /// Keeps back, or frees, what closes a ticket, as it stands.
    pub(super) fn keep_closing(&mut self, ticket: &TicketRecord) {
        if !self.guard.is_on() {
            return;
        }
        if ticket.status.is_over() && !ticket.is_reopened {
            self.guard.free_closing(ticket.id);
        } else {
            let (account, calls) = (self.account(ticket), self.allowance(&ticket.upstream).follow);
            self.guard.keep_closing(ticket.id, calls, account.spender());
        }
    }
}
