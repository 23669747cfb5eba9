//! Stage 6: what the budgets allow is decided before anything is opened, booked with every row, and
//! looked at again when a rung falls or a period begins.

use std::sync::Arc;

use super::evidence::Entry;
use super::follow_ups::entering;
use super::suppression::Cause;
use super::{Engine, Timer};
use crate::engine::guard::{self, Admission, Course, Guard, LedgerEnd, Spender, Standing, Verdict};
use crate::engine::merge::{self, Placement};
use crate::engine::types::alarm::{AlarmRecord, Fingerprint, HeldBy};
use crate::engine::types::decision::Decision;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::job::JobState;
use crate::engine::types::ledger::{LedgerRow, Rung};
use crate::engine::types::names::DeviceId;
use crate::engine::types::rule::RuleSpec;
use crate::engine::types::tariff::{Quantities, Tariff};
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::Timestamp;

/// A raised alarm that has no ticket for want of money.
#[derive(Debug)]
pub struct HeldAlarm<'a> {
    /// The alarm.
    pub alarm: &'a AlarmRecord,
    /// What approves it, once, where a human is asked.
    pub token: Option<String>,
    /// When a human is told that it is held still.
    pub until: Timestamp,
}

impl Engine {
    /// Budgets and prices of the policy, nothing spent. The rows of the ledger follow with
    /// [`Engine::rebook`].
    pub(super) fn set_budgets(&mut self, now: Timestamp) {
        let tariff = self.policy.plan.clone().map(|plan| Arc::new(plan) as Arc<dyn Tariff>);
        let zone = self.policy.plan.as_ref().and_then(|plan| plan.plan().period);
        let zone = zone.map_or(self.settings.zone, |calendar| calendar.zone);
        let budgets = self.policy.budgets.iter();
        let ours = budgets.filter(|budget| budget.scope.is_on(&self.settings.gateway));
        self.guard = Guard::new(ours.cloned().collect(), tariff, zone, now);
        self.set_period_timer();
    }

    fn set_period_timer(&mut self) {
        self.timers.retain(|(_, timer)| *timer != Timer::Period);
        if let Some(at) = self.guard.next_period() {
            self.timers.insert((at, Timer::Period));
        }
    }

    /// From when on the budgets need the rows of the ledger; `None` where they have them. Until they
    /// have, only safety and critical faults are paid for.
    pub fn books_since(&self) -> Option<Timestamp> {
        self.guard.since().filter(|_| self.guard.is_blind())
    }

    /// Takes in what was booked before: rows from [`Engine::books_since`] on, and the outbox.
    pub fn rebook(&mut self, now: Timestamp, rows: impl Iterator<Item = LedgerRow>) {
        self.guard.restore(rows);
        let mut open = Vec::new();
        for job in self.outbox.jobs().filter(|job| matches!(job.state, JobState::Waiting { .. })) {
            if let Some(ticket) = self.tickets.get(&job.key.ticket) {
                // Only what they set aside matters: they are in the ledger already.
                let mut aside = LedgerEnd::default();
                open.extend(guard::set_aside(&mut aside, now, job, &self.account(ticket)));
            }
        }
        self.guard.restore(open.into_iter());
        let open = self.tickets.values().filter(|ticket| !ticket.status.is_over());
        let open: Vec<TicketRecord> = open.cloned().collect();
        open.iter().for_each(|ticket| self.keep_closing(ticket));
        self.guard.set_blind(false);
        self.guard.measure(now);
        self.timers.insert((now, Timer::Lift));
    }

    /// The ledger cannot be read: only safety and critical faults are paid for.
    pub fn close_books(&mut self) {
        self.guard.set_blind(true);
    }

    /// How the budgets stand.
    pub fn standings(&self) -> Vec<Standing> {
        self.guard.standings()
    }

    /// True while the budgets pay for safety and critical faults only.
    pub fn books_are_closed(&self) -> bool {
        self.guard.is_blind()
    }

    /// Writes rows of the ledger, and tells the rungs that are entered with them.
    pub(super) fn book(&mut self, now: Timestamp, rows: Vec<LedgerRow>, effects: &mut Effects) {
        let before = self.guard.rungs();
        for row in rows {
            let notices = self.guard.book(now, &row);
            effects.decisions.extend(notices.into_iter().map(Decision::Budget));
            effects.writes.push(Write::Ledger(Box::new(row)));
        }
        let after = self.guard.rungs();
        if before.iter().zip(&after).any(|(before, after)| after < before) {
            self.timers.insert((now, Timer::Lift));
        }
    }

    /// An engineer has come.
    pub(super) fn book_visit(
        &mut self,
        now: Timestamp,
        ticket: &TicketRecord,
        effects: &mut Effects,
    ) {
        let account = self.account(ticket);
        let row = guard::visit(&mut self.ledger, now, ticket, &account);
        self.book(now, vec![row], effects);
    }

    /// A period begins: its money is there, and what was held is looked at again.
    pub(super) fn begin_period(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.guard.roll(now) {
            let notices = self.guard.measure(now);
            effects.decisions.extend(notices.into_iter().map(Decision::Budget));
            self.timers.insert((now, Timer::Lift));
        }
        self.set_period_timer();
    }

    /// Where the ticket of a raised alarm goes that would be opened in a group: `Ok` with a group
    /// in its place, if any, or why nothing is opened.
    pub(super) fn course(
        &self,
        id: DeviceId,
        spec: &RuleSpec,
        raised_at: Timestamp,
        group: &str,
    ) -> Result<Option<String>, Cause> {
        let Some(device) = self.devices.get(id.index()).filter(|_| self.guard.is_on()) else {
            return Ok(None);
        };
        let facts = &device.facts;
        let upstream = self.upstream_of(spec);
        let placement = merge::place(self.last_of(group), raised_at);
        if matches!(placement, Placement::Join(_)) {
            return Ok(None);
        }
        let spender = Spender::of(facts, &spec.id);
        let rung = self.guard.rung(spender).unwrap_or_default();
        let admission =
            self.guard.admission(spender, &entering(placement, self.allowance(upstream)));
        // A ticket that is there is reopened on any rung, while there is money for it.
        let is_reopened = matches!(placement, Placement::Reopen(_));
        if (rung == Rung::Green || is_reopened) && admission == Admission::Ordinary {
            return Ok(None);
        }
        let same = self.open_ticket_of(&facts.id, upstream);
        let digest = format!("{upstream}/digest/{}/{}", facts.site, facts.class);
        let open = Course { same_device: same.is_some(), digest: self.is_open(&digest) };
        let same = same.map(|ticket| ticket.group.clone());
        let why = |what: &str| Cause {
            held_by: HeldBy::Budget,
            why: format!("{what}: the budget is at {}", rung.word()),
            until: Some(raised_at + self.guard.hold_max(spender)),
        };
        match guard::decide(spec.severity, spec.safety, rung, admission, open) {
            Verdict::Create => Ok(None),
            Verdict::CreateOverspent | Verdict::Merge | Verdict::Join => Ok(same),
            Verdict::Digest | Verdict::DigestJoin => Ok(Some(digest)),
            Verdict::Ask => Err(why("waits for an approval")),
            Verdict::Hold => Err(why("held")),
            Verdict::Notify => Err(why("told only")),
            Verdict::Count => Err(why("counted only")),
        }
    }

    /// The newest open ticket of a device.
    fn open_ticket_of(&self, device: &str, upstream: &str) -> Option<&TicketRecord> {
        let open = self.tickets.values().rev().filter(|ticket| !ticket.status.is_over());
        open.into_iter().find(|ticket| ticket.device == device && ticket.upstream == upstream)
    }

    /// Tells the owner of the budget when a ticket is opened that the money is not there for.
    pub(super) fn tell_overspent(
        &self,
        ticket: &TicketRecord,
        moves: &Quantities,
        effects: &mut Effects,
    ) {
        if !self.guard.is_on() {
            return;
        }
        let account = self.account(ticket);
        if self.guard.admission(account.spender(), moves) > Admission::Reserve {
            effects
                .decisions
                .push(Decision::Overspent { ticket: ticket.id, safety: ticket.safety });
        }
    }

    /// The alarms that have no ticket for want of money.
    pub fn held_for_money(&self) -> Vec<HeldAlarm<'_>> {
        let mut held = Vec::new();
        for device in &self.devices {
            for alarm in device.alarms.iter().filter(|alarm| alarm.is_raised()) {
                let Some(record) = alarm.record.as_deref() else { continue };
                let Some(episode) = record.episode.as_ref() else { continue };
                if episode.held_by != Some(HeldBy::Budget) {
                    continue;
                }
                let spender = Spender::of(&device.facts, &record.id.rule);
                let asked = episode.severity == crate::engine::types::severity::Severity::Critical;
                held.push(HeldAlarm {
                    alarm: record,
                    token: asked.then(|| token(&episode.fingerprint)),
                    until: episode.raised_at + self.guard.hold_max(spender),
                });
            }
        }
        held
    }

    /// A human pays for what the budget does not hold. The token is gone with the ticket.
    pub(super) fn approve(&mut self, now: Timestamp, given: &str, by: &str, effects: &mut Effects) {
        let asked =
            self.held_for_money().into_iter().find(|held| held.token.as_deref() == Some(given));
        let Some(alarm) = asked.map(|held| held.alarm.id.clone()) else { return };
        if let Some((id, index)) = self.find_alarm(&alarm) {
            if let Some(record) = self.record_mut(id, index) {
                record.remember(now, now, format!("approved by {by}"));
            }
            self.enter_held(now, (id, index), &alarm, Entry::Approved, effects);
        }
    }
}

/// Approves one episode; another one has another token.
fn token(fingerprint: &Fingerprint) -> String {
    let hash = blake3::hash(format!("approve {}", fingerprint.0).as_bytes()).to_hex();
    hash.chars().take(12).collect()
}
