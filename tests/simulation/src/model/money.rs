//! What budgets may do about tickets: the matrix of `billing.md`, as what is allowed.

use faultgate::engine::types::alarm::AlarmId;
use faultgate::engine::types::ledger::{LedgerRow, Rung};

use super::asks::Step;
use super::books::Pressure;
use super::{Model, Status};
use crate::rules::{Per, Rule};

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
    pub(super) fn book(&mut self, step: &Step<'_>) {
        let Some(mut books) = self.books.take() else { return };
        books.take(step.now, &step.rows, |row| self.is_excess(step, row));
        self.books = Some(books);
    }

    /// Holds what was booked against what the budgets hold.
    pub(super) fn check_books(&mut self, step: &Step<'_>) -> anyhow::Result<()> {
        if step.rows.is_empty() {
            return Ok(());
        }
        let Some(mut books) = self.books.take() else { return Ok(()) };
        let checked = books.check(|row| self.is_excess(step, row));
        self.books = Some(books);
        checked
    }

    /// True for what no budget holds back: what is done for safety, what a person has paid for, and
    /// what an upstream had refused.
    fn is_excess(&self, step: &Step<'_>, row: &LedgerRow) -> bool {
        let is_safe = |rule: &str| self.rules.iter().any(|known| known.id == rule && known.safety);
        let ticket = self.tickets.iter().find(|ticket| ticket.key == row.external_ref);
        let job = row.idem.split('/').next().unwrap_or_default();
        let is_approved = self.approved.contains(&row.external_ref);
        is_safe(&row.rule)
            || ticket.is_some_and(|ticket| ticket.safety)
            || is_approved && matches!(row.action.as_str(), "open" | "resolve")
            || step.refused.contains(job)
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
