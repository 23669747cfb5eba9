//! What budgets may do about tickets: the matrix of `billing.md`, as what is allowed.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::ledger::{LedgerRow, Rung};
use faultgate::engine::types::severity::Severity;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use super::asks::Step;
use super::books::{Class, Pressure};
use super::{Model, Status};
use crate::money::Use;
use crate::rules::{Per, Rule};

/// An attempt that waits for money.
#[derive(Clone, Debug)]
pub struct Unpaid {
    /// Key of the effect.
    pub effect: String,
    /// Key of its ticket.
    pub ticket: String,
    /// What it takes.
    pub owed: Use,
    /// When the budgets are asked next.
    pub asks_at: Timestamp,
}

/// What may be done about a raised alarm whose own ticket is not open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// A ticket of its own.
    pub own: bool,
    /// Joins an open ticket of its device.
    pub device: bool,
    /// Joins the digest of its site, or opens it.
    pub digest: bool,
    /// No ticket for now.
    pub held: bool,
}

impl Model {
    /// Takes in what was booked in a step.
    pub(super) fn book(&mut self, step: &Step) {
        if let Some(books) = &mut self.books {
            books.take(step.now, &step.rows);
        }
    }

    /// Holds what was booked against what the budgets hold.
    pub(super) fn check_books(&mut self, step: &Step) -> anyhow::Result<()> {
        if step.rows.is_empty() {
            return Ok(());
        }
        let Some(mut books) = self.books.take() else { return Ok(()) };
        let checked = books.check(|row| self.class(row));
        self.books = Some(books);
        checked
    }

    /// No budget holds back what is done for safety, and what a person has paid for: the first
    /// attempt to open a ticket and to close it.
    fn class(&self, row: &LedgerRow) -> Class {
        let is_safe = |rule: &str| self.rules.iter().any(|known| known.id == rule && known.safety);
        let ticket = self.tickets.iter().find(|ticket| ticket.key == row.external_ref);
        let is_first = row.idem.ends_with("#1") || !row.idem.contains('#');
        let is_approved = self.approved.contains(&row.external_ref) && is_first;
        Class {
            is_excess: is_safe(&row.rule)
                || ticket.is_some_and(|ticket| ticket.safety)
                || is_approved && matches!(row.action.as_str(), "open" | "resolve"),
            is_critical: row.severity == Severity::Critical
                || ticket.is_some_and(|ticket| ticket.severity == 0),
        }
    }

    /// No attempt waits for money that is there, nor one for safety for any money.
    ///
    /// # Errors
    /// One that does.
    pub fn nothing_waits_in_vain(
        &mut self,
        now: Timestamp,
        unpaid: Vec<Unpaid>,
    ) -> anyhow::Result<()> {
        let mut due = BTreeMap::new();
        for Unpaid { effect, ticket, owed, asks_at } in unpaid {
            let books = self.books.as_ref();
            let books = books.with_context(|| format!("{effect} waits, and there is no budget"))?;
            let ticket = self.tickets.iter().find(|known| known.key == ticket);
            let ticket = ticket.with_context(|| format!("{effect} is of no ticket"))?;
            let (site, is_critical) = (self.site_of(&ticket.device), ticket.severity == 0);
            if ticket.safety || books.must_pay(site, is_critical, owed, self.open_tickets()) {
                let by = self.payable.get(&effect).copied().unwrap_or(asks_at);
                ensure!(
                    now <= by + TimeSpan::from_secs(1),
                    "{effect} waits for money that was there at {by} (billing)"
                );
                due.insert(effect, by);
            }
        }
        self.payable = due;
        Ok(())
    }

    /// What the budgets allow for an alarm of this rule.
    pub(super) fn allowed(&self, rule: &Rule, id: &AlarmId) -> Allowed {
        let own = Allowed { own: true, ..Allowed::default() };
        let key = self.devices.get(&id.device).and_then(|device| device.alarms.get(id));
        let key = key.map(|alarm| id.fingerprint(alarm.episode).0).unwrap_or_default();
        let Some(Pressure { rungs, may_refuse }) = self.pressure(id) else { return own };
        if self.approved.contains(&key) {
            return own;
        }
        let has_device = self.tickets.iter().any(|ticket| {
            ticket.status != Status::Over
                && (ticket.device == id.device || rule.per == Per::Site)
                && ticket.upstream == rule.upstream
        });
        let has_digest = self.last_of(&self.digest_of(rule, id)).is_some_and(|at| self.is_open(at));
        let any =
            |rung: Rung| rungs.0 <= rung && rung <= rungs.1 || rung == Rung::Stop && may_refuse;
        let mut allowed = Allowed::default();
        for rung in
            [Rung::Green, Rung::Amber, Rung::Red, Rung::Stop].into_iter().filter(|r| any(*r))
        {
            // The first alarm of a site decides for the others, and which is the first is not known.
            for has_device in [has_device, has_device && rule.per != Per::Site] {
                let one = on_rung(rule, rung, has_device, has_digest);
                allowed.own |= one.own;
                allowed.device |= one.device;
                allowed.digest |= one.digest;
                allowed.held |= one.held;
            }
        }
        allowed
    }

    fn pressure(&self, id: &AlarmId) -> Option<Pressure> {
        Some(self.books.as_ref()?.pressure(self.site_of(&id.device), self.open_tickets()))
    }

    fn open_tickets(&self) -> i64 {
        let open = self.tickets.iter().filter(|ticket| ticket.status != Status::Over);
        i64::try_from(open.count()).unwrap_or(0) + 4
    }

    pub(super) fn may_hold_for_money(&self, id: &AlarmId) -> bool {
        let rule = self.rules.iter().find(|rule| rule.id == id.rule);
        rule.is_some_and(|rule| self.allowed(rule, id).held)
    }

    /// True while an alarm may be held for want of money.
    pub(super) fn is_short_of_money(&self, id: &AlarmId) -> bool {
        let (site, open) = (self.site_of(&id.device), self.open_tickets());
        !self.is_safety(id) && self.books.as_ref().is_some_and(|books| !books.is_easy(site, open))
    }

    pub(super) fn digest_of(&self, rule: &Rule, id: &AlarmId) -> String {
        format!("{}/digest/{}", rule.upstream, self.site_of(&id.device))
    }
}

/// A row of the matrix.
fn on_rung(rule: &Rule, rung: Rung, has_device: bool, has_digest: bool) -> Allowed {
    let own = Allowed { own: true, ..Allowed::default() };
    let device = Allowed { device: true, ..Allowed::default() };
    let digest = Allowed { digest: true, ..Allowed::default() };
    let held = Allowed { held: true, ..Allowed::default() };
    match (rule.severity, rung) {
        _ if rule.safety => Allowed { device: has_device, ..own },
        ("critical", Rung::Green | Rung::Amber) | (_, Rung::Green) => own,
        ("critical", _) if has_device => device,
        ("critical", Rung::Stop) => Allowed { held: true, ..own },
        ("critical", Rung::Red) => own,
        ("major", Rung::Amber) if has_device => device,
        ("major", Rung::Amber) => own,
        ("major", Rung::Stop) if !has_digest => held,
        ("major", _) => digest,
        (_, Rung::Amber) => digest,
        (_, Rung::Red | Rung::Stop) => held,
    }
}
