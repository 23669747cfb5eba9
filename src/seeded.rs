//! Bugs that the simulation must find, one at a time, to show that it would find them.
//!
//! Only with the feature `seeded-bugs`, which no release has; without it nothing of this is there.

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Messages are acknowledged before their turn is durable.
    AckBeforeFlush,
    /// What may have been carried out is sent again without a look.
    NoLookUp,
    /// A call that nobody answered is booked as carried out.
    BookedBeforeDone,
    /// The job that resolves a ticket is kept in memory only.
    ResolveInMemory,
    /// A sample is taken in before what was due before it.
    SampleBeforeDue,
    /// What was said lately counts as said once.
    DedupByWindow,
    /// The jobs of a ticket do not wait for each other.
    JobsOutOfOrder,
    /// A start does not know that what was waiting may have been sent.
    RestartForgets,
    /// Delays that are under way are lost when rules change.
    TimerLostAtReload,
    /// The number of an episode is used again after a start.
    EpisodeReused,
    /// A frame of the log that was torn is read as if it were whole.
    TornFrameRead,
    /// What an upstream has refused holds up everything after it.
    RefusedBlocks,
    /// A restart forgets that an alarm changes too often.
    FlapsForgotten,
    /// The end of a shelf is forgotten over a restart.
    ShelfEndForgotten,
    /// What is set aside does not count against the budgets.
    InFlightUncounted,
    /// A further attempt does not ask the budgets.
    AttemptUnasked,
    /// An attempt that ended with the process is not booked.
    CutOffUnbooked,
    /// An attempt that waits for money is never asked for again.
    UnpaidForgotten,
    /// A restart forgets which alarms suppress others.
    InhibitForgotten,
    /// A restart forgets that a ticket was resolved while its fault stands.
    VerificationForgotten,
    /// After a start everything is sent at once.
    SettleForgotten,
    /// What comes late starts no delay and breaks none off.
    LateForgotten,
    /// A gateway that was put back from a backup does not know that it was.
    RestoreUnknown,
}

impl Bug {
    /// Every bug with its name on the command line.
    pub const ALL: [(&'static str, Bug); 23] = [
        ("ack-before-flush", Bug::AckBeforeFlush),
        ("no-look-up", Bug::NoLookUp),
        ("booked-before-done", Bug::BookedBeforeDone),
        ("resolve-in-memory", Bug::ResolveInMemory),
        ("sample-before-due", Bug::SampleBeforeDue),
        ("dedup-by-window", Bug::DedupByWindow),
        ("jobs-out-of-order", Bug::JobsOutOfOrder),
        ("restart-forgets", Bug::RestartForgets),
        ("timer-lost-at-reload", Bug::TimerLostAtReload),
        ("episode-reused", Bug::EpisodeReused),
        ("torn-frame-read", Bug::TornFrameRead),
        ("refused-blocks", Bug::RefusedBlocks),
        ("flaps-forgotten", Bug::FlapsForgotten),
        ("shelf-end-forgotten", Bug::ShelfEndForgotten),
        ("in-flight-uncounted", Bug::InFlightUncounted),
        ("attempt-unasked", Bug::AttemptUnasked),
        ("cut-off-unbooked", Bug::CutOffUnbooked),
        ("unpaid-forgotten", Bug::UnpaidForgotten),
        ("inhibit-forgotten", Bug::InhibitForgotten),
        ("verification-forgotten", Bug::VerificationForgotten),
        ("settle-forgotten", Bug::SettleForgotten),
        ("late-forgotten", Bug::LateForgotten),
        ("restore-unknown", Bug::RestoreUnknown),
    ];
}

#[cfg(feature = "seeded-bugs")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Puts a bug into everything that runs on this thread, or takes it out.
#[cfg(feature = "seeded-bugs")]
pub fn plant(bug: Option<Bug>) {
    ACTIVE.set(bug);
}

/// True while a bug is planted.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn has(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}

/// There are no bugs to plant.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}
