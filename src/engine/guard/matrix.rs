//! What may be done about a fault on each rung of the budgets.

use crate::engine::types::ledger::Rung;
use crate::engine::types::severity::Severity;

use super::admit::Admission;

/// What is done about a fault that has no ticket yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A ticket of its own.
    Create,
    /// A ticket of its own, over the budget: told to the owner.
    CreateOverspent,
    /// Joins an open ticket of its device and class, else a ticket of its own.
    Merge,
    /// Joins an open ticket of its device and class; there is one.
    Join,
    /// Joins the digest ticket of its site and class, made if there is none.
    Digest,
    /// Joins the digest ticket of its site and class; there is one.
    DigestJoin,
    /// Held until a human approves it, with a token that counts once.
    Ask,
    /// Held until the rung falls or a period begins.
    Hold,
    /// Told, with no ticket.
    Notify,
    /// Counted only.
    Count,
}

/// Open tickets that a fault could join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// One of its device and class.
    pub same_device: bool,
    /// The digest of its site and class.
    pub digest: bool,
}

/// The first course that the rung allows and the money admits.
pub fn decide(
    severity: Severity,
    safety: bool,
    rung: Rung,
    admission: Admission,
    open: Course,
) -> Verdict {
    if safety {
        return match admission {
            Admission::Ordinary => Verdict::Create,
            Admission::Reserve | Admission::Refused | Admission::Blind => Verdict::CreateOverspent,
        };
    }
    // What cannot be paid is not created, whatever the rung says.
    let rung = if admission == Admission::Ordinary { rung } else { Rung::Stop };
    match severity {
        Severity::Critical => critical(rung, admission, open),
        Severity::Major => major(rung, open),
        Severity::Minor | Severity::Warning => match rung {
            Rung::Green => Verdict::Create,
            Rung::Amber if open.digest => Verdict::DigestJoin,
            Rung::Amber => Verdict::Digest,
            Rung::Red | Rung::Stop => Verdict::Notify,
        },
        Severity::Info => match rung {
            Rung::Green => Verdict::Create,
            Rung::Amber => Verdict::Notify,
            Rung::Red | Rung::Stop => Verdict::Count,
        },
    }
}

fn critical(rung: Rung, admission: Admission, open: Course) -> Verdict {
    match (rung, admission) {
        (Rung::Green | Rung::Amber, _) => Verdict::Create,
        (Rung::Red, _) => Verdict::Merge,
        (Rung::Stop, _) if open.same_device => Verdict::Join,
        (Rung::Stop, Admission::Ordinary | Admission::Reserve | Admission::Blind) => {
            Verdict::Create
        }
        (Rung::Stop, Admission::Refused) => Verdict::Ask,
    }
}

fn major(rung: Rung, open: Course) -> Verdict {
    match rung {
        Rung::Green => Verdict::Create,
        Rung::Amber => Verdict::Merge,
        Rung::Red if open.digest => Verdict::DigestJoin,
        Rung::Red => Verdict::Digest,
        Rung::Stop if open.digest => Verdict::DigestJoin,
        Rung::Stop => Verdict::Hold,
    }
}

#[cfg(test)]
mod tests;
