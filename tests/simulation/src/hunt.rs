//! Many seeds, and what to tell of one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::plan::{Fault, Plan};
use crate::story::Story;
use crate::world::{Summary, World};

/// What many runs have come to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Runs that kept every promise.
    pub passed: u64,
    /// Seeds that did not, with what is wrong.
    pub failed: Vec<(u64, String)>,
    /// Of all runs.
    pub total: Summary,
}

/// Runs one plan.
///
/// # Errors
/// Which promise was broken.
pub fn run(plan: Plan, story: Story) -> Result<Summary, String> {
    let mut world = World::new(plan, story);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    match ended {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// The first of so many seeds in which a planted bug shows, and how.
#[cfg(feature = "seeded-bugs")]
pub fn unmask(bug: faultgate::seeded::Bug, count: u64, days: i64) -> Option<(u64, String)> {
    let fails = |seed, bug| {
        faultgate::seeded::plant(bug);
        let ended = run(Plan::of(seed, days), Story::default());
        faultgate::seeded::plant(None);
        ended.err()
    };
    // A seed that fails anyway shows nothing.
    (0..count).find_map(|seed| {
        let why = fails(seed, Some(bug))?;
        fails(seed, None).is_none().then_some((seed, why))
    })
}

/// Runs seeds `from..from + count` of so many days each, on so many threads; stops after
/// `failures_max` failures.
pub fn hunt(from: u64, count: u64, days: i64, threads: usize, failures_max: usize) -> Found {
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(count) {
                return;
            }
            let ended = run(Plan::of(seed, days), Story::default());
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match ended {
                Ok(summary) => {
                    found.passed += 1;
                    found.total.tickets += summary.tickets;
                    found.total.crashes += summary.crashes;
                    found.total.requests += summary.requests;
                    found.total.messages += summary.messages;
                    found.total.unpaid += summary.unpaid;
                }
                Err(why) => {
                    found.failed.push((seed, why));
                    enough.fetch_or(found.failed.len() >= failures_max, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.failed.sort();
    found
}

/// What kind of failure it is: the same with other names and numbers.
fn kind(why: &str) -> String {
    let end = why.rsplit('(').next().filter(|_| why.ends_with(')')).unwrap_or_default();
    format!("{}({end}", why.split([' ', ':']).next().unwrap_or_default())
}

/// The faults without which a run does not fail like this: one after another is left out, and
/// stays out where the run fails all the same.
pub fn shrink(plan: &Plan, why: &str) -> Vec<Fault> {
    let fails =
        |ended: Result<Summary, String>| ended.is_err_and(|other| kind(&other) == kind(why));
    let mut kept = plan.faults.clone();
    loop {
        let before = kept.len();
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.remove(at);
            if fails(run(plan.with(&fewer), Story::default())) {
                kept = fewer;
            } else {
                at += 1;
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}
