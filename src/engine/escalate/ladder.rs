//! Ladders: their files, and which step is due.

use crate::engine::types::document::{Located, OneOf, Table, Word};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::{LadderProgress, TicketRecord, TicketStatus};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// The steps of an escalation policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Its id, which rules name.
    pub id: String,
    /// The steps, in the order of their times.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, counted from the raise.
    pub after: TimeSpan,
    /// The state of the ticket that makes the step needless.
    pub unless: Stop,
    /// What becomes of the priority.
    pub priority: Option<PriorityChange>,
    /// Whether a comment says so.
    pub comment: bool,
    /// Whom the ticket is assigned to.
    pub assign: Option<String>,
    /// Taken again while nothing happens.
    pub repeat: Option<Repeat>,
}

/// How often a step is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Time between two of them.
    pub every: TimeSpan,
    /// How many more times.
    pub times: u32,
}

/// What becomes of the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorityChange {
    /// One severity up.
    Raise,
    /// Critical.
    Highest,
}

impl Word for PriorityChange {
    const WORDS: &'static [(&'static str, Self)] =
        &[("raise", PriorityChange::Raise), ("highest", PriorityChange::Highest)];
}

impl PriorityChange {
    /// The severity after the change.
    pub fn apply(self, severity: Severity) -> Severity {
        match (self, severity) {
            (PriorityChange::Highest, _) => Severity::Critical,
            (PriorityChange::Raise, Severity::Info) => Severity::Warning,
            (PriorityChange::Raise, Severity::Warning) => Severity::Minor,
            (PriorityChange::Raise, Severity::Minor) => Severity::Major,
            (PriorityChange::Raise, Severity::Major | Severity::Critical) => Severity::Critical,
        }
    }
}

/// The state that makes a step needless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Somebody has taken the alarm.
    #[default]
    Acknowledged,
    /// Somebody has accepted the ticket.
    Accepted,
    /// Somebody is there.
    OnSite,
    /// The fault is over.
    Resolved,
}

impl Word for Stop {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("acknowledged", Stop::Acknowledged),
        ("accepted", Stop::Accepted),
        ("on_site", Stop::OnSite),
        ("resolved", Stop::Resolved),
    ];
}

impl Stop {
    /// True when `ticket` has come that far.
    pub fn is_reached(self, ticket: &TicketRecord) -> bool {
        let on_site = matches!(ticket.status, TicketStatus::OnSite | TicketStatus::Working);
        ticket.status.is_over()
            || match self {
                Stop::Acknowledged => ticket.ack.is_some() || ticket.status.is_taken(),
                Stop::Accepted => ticket.status.is_accepted(),
                Stop::OnSite => on_site,
                Stop::Resolved => false,
            }
    }
}

/// When the next step of a ticket is due; `None` when the ladder is at its end.
pub fn due(ladder: &Ladder, progress: &LadderProgress) -> Option<Timestamp> {
    if progress.repeats > 0 {
        let step = ladder.steps.get(progress.step.checked_sub(1)?)?;
        let repeat = step.repeat?;
        let nth = i64::from(repeat.times.checked_sub(progress.repeats)?) + 1;
        let waited = TimeSpan::from_micros(repeat.every.micros().saturating_mul(nth));
        return Some(progress.from + step.after + waited);
    }
    ladder.steps.get(progress.step).map(|step| progress.from + step.after)
}

/// Moves on by one due step: the step (from 0) and whether it is to be taken, or passed over.
pub fn take<'l>(
    ladder: &'l Ladder,
    progress: &mut LadderProgress,
    ticket: &TicketRecord,
) -> Option<(usize, &'l Step, bool)> {
    let repeating = progress.repeats > 0;
    let number = if repeating { progress.step.checked_sub(1)? } else { progress.step };
    let step = ladder.steps.get(number)?;
    let wanted = !step.unless.is_reached(ticket);
    if repeating {
        progress.repeats -= 1;
    } else {
        progress.step += 1;
        progress.repeats = step.repeat.filter(|_| wanted).map_or(0, |repeat| repeat.times);
    }
    Some((number, step, wanted))
}

/// Reads every `[[ladder]]` of a file.
pub fn read_ladders(table: &Table<'_>) -> Vec<(Located<String>, Ladder)> {
    for (key, instead) in [
        ("rotation", "assign the step to a queue or a person of the ticket system"),
        ("calendar", "steps count around the clock"),
        ("person", "name people in the ticket system"),
        ("channel", "the ticket system tells its people"),
    ] {
        table.not_built(key, instead);
    }
    table.tables("ladder", |entry| {
        let id = entry.required::<Located<String>>("id");
        entry.not_built("pause_in", "steps count around the clock");
        let steps = entry.tables("step", read_step);
        if steps.is_empty() {
            entry.place().error(
                entry.span(),
                "missing-key",
                "a ladder needs a step",
                "add `[[ladder.step]]`",
            );
        }
        if steps.windows(2).any(|pair| pair[1].after < pair[0].after) {
            let message = "the steps of a ladder go up in time";
            entry.place().error(entry.span(), "wrong-value", message, "order them by `after`");
        }
        let id = id?;
        Some((id.clone(), Ladder { id: id.value, steps }))
    })
}

fn read_step(table: &Table<'_>) -> Option<Step> {
    let after = table.required::<TimeSpan>("after");
    table.not_built(
        "notify",
        "use `ticket = { priority = \"raise\", comment = true, assign = \"...\" }`",
    );
    let unless = table.optional("unless").map_or(Stop::default(), |OneOf(stop)| stop);
    let repeat = table.table("repeat", |entry| {
        let every = entry.required::<TimeSpan>("every");
        let times = entry.required::<u32>("times");
        Some(Repeat { every: every?, times: times? })
    });
    let (priority, comment, assign) = table
        .table("ticket", |entry| {
            let priority = entry.optional("priority").map(|OneOf(change)| change);
            Some((priority, entry.or("comment", false), entry.optional::<String>("assign")))
        })
        .unwrap_or_default();
    Some(Step { after: after?, unless, priority, comment, assign, repeat })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Ladder {
        let step = |after, unless, repeat| Step {
            after: TimeSpan::from_secs(after),
            unless,
            priority: None,
            comment: true,
            assign: None,
            repeat,
        };
        let again = Some(Repeat { every: TimeSpan::from_secs(5), times: 2 });
        Ladder {
            id: "l".into(),
            steps: vec![step(10, Stop::Acknowledged, None), step(20, Stop::Acknowledged, again)],
        }
    }

    #[test]
    fn steps_and_repeats_come_at_their_times_counted_from_the_raise() {
        let ladder = ladder();
        let ticket = ticket();
        let from = Timestamp::from_millis(0);
        let mut progress = LadderProgress { ladder: "l".into(), from, step: 0, repeats: 0 };
        let mut times = Vec::new();
        while let Some(at) = due(&ladder, &progress) {
            times.push(at.micros() / 1_000_000);
            let (_, _, wanted) = take(&ladder, &mut progress, &ticket).expect("a step is due");
            assert!(wanted);
        }
        assert_eq!(times, [10, 20, 25, 30]);
    }

    #[test]
    fn a_ticket_that_somebody_has_taken_is_not_escalated() {
        let ladder = ladder();
        let mut ticket = ticket();
        ticket.status = TicketStatus::Accepted;
        let from = Timestamp::from_millis(0);
        let mut progress = LadderProgress { ladder: "l".into(), from, step: 0, repeats: 0 };
        let mut wanted = Vec::new();
        while due(&ladder, &progress).is_some() {
            wanted.extend(take(&ladder, &mut progress, &ticket).map(|(_, _, wanted)| wanted));
        }
        assert_eq!(wanted, [false, false]);
    }

    fn ticket() -> TicketRecord {
        use crate::engine::types::alarm::Fingerprint;
        use crate::engine::types::ticket::TicketId;
        TicketRecord {
            id: TicketId(1),
            upstream: "desk".into(),
            external: None,
            fingerprint: Fingerprint("f".into()),
            group: "g".into(),
            device: "d".into(),
            rule: "r".into(),
            site: String::new(),
            customer: String::new(),
            title: "t".into(),
            severity: Severity::Minor,
            safety: false,
            status: TicketStatus::New,
            opened_at: Timestamp::EPOCH,
            resolved_at: None,
            reopen_until: None,
            verify_at: None,
            ack: None,
            raised: 0,
            told_at: None,
            untold: None,
            storm: None,
            earlier: None,
            repeats: None,
            alarms: 1,
            ladder: None,
            is_reopened: false,
            next_effect: 2,
            usage: Default::default(),
        }
    }
}
