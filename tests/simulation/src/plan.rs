//! What will happen in a run: what devices say, and what breaks when. All of it from the seed,
//! before anything runs.

use faultgate::engine::types::ticket::TicketStatus;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::chance::Chance;
use crate::devices::{Publication, publications};
use crate::disk::Stop;
use crate::money::Money;
use crate::quiet::Quiet;
use crate::rules::Edition;

/// Brokers, and so sources of the gateway.
pub const SOURCES: usize = 2;
/// Upstreams.
pub const UPSTREAMS: usize = 2;
/// When runs begin: a Sunday night.
const START: Timestamp = Timestamp::from_micros(1_772_323_200_000_000);

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// When it begins.
    pub start: Timestamp,
    /// When all that breaks has been broken.
    pub end: Timestamp,
    /// What devices say, in the order of time.
    pub publications: Vec<Publication>,
    /// What breaks, in the order of time.
    pub faults: Vec<Fault>,
    /// Size of a half of the log.
    pub epoch_bytes: usize,
    /// How long the search of the tracker is behind.
    pub index_delay: TimeSpan,
    /// When the backup is made that is put back after the run.
    pub backup_at: Timestamp,
    /// How long the gateway keeps tickets that are over; `None` for what it does by itself.
    pub closed_max: Option<TimeSpan>,
    /// How long nothing is sent after a start.
    pub settle: TimeSpan,
    /// When there is a storm at a site, where there are storms.
    pub storm: Option<Storm>,
    /// Prices and budgets, where there are any.
    pub money: Option<Money>,
    /// What is suppressed by design, if anything.
    pub quiet: Option<Quiet>,
}

/// When there is a storm at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// It begins with more raised alarms than this,
    pub enter: usize,
    /// and ends with fewer than this
    pub leave: usize,
    /// within this.
    pub window: TimeSpan,
}

impl Storm {
    /// In some runs; a few devices make a small one.
    fn of(seed: u64) -> Option<Storm> {
        let mut chance = Chance::of(seed, "storm", 0);
        let enter = 2 + chance.below(3);
        let (leave, window) = (1 + chance.below(enter), chance.secs(300, 1_800));
        chance.percent(40).then_some(Storm { enter, leave, window })
    }
}

/// Something that breaks, or that somebody does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Its number in the whole plan: stays the same when others are left out.
    pub number: usize,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Trouble,
}

/// What can break, or be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// The gateway stops after so many more things that it does, and starts again.
    Crash {
        /// How.
        stop: Stop,
        /// Writes, syncs, calls and acknowledgements before it.
        steps: u32,
        /// How long it is away.
        down: TimeSpan,
    },
    /// The wall clock is set.
    Clock {
        /// By how much.
        by: TimeSpan,
    },
    /// The connection to a broker is lost.
    Link {
        /// Which.
        source: usize,
        /// For how long.
        lasts: TimeSpan,
    },
    /// An upstream has troubles.
    Upstream {
        /// Which.
        upstream: usize,
        /// What kind.
        outage: Outage,
        /// For how long.
        lasts: TimeSpan,
    },
    /// The disk refuses so many times.
    Disk {
        /// How many.
        errors: u32,
    },
    /// The rules are changed.
    Reload(Edition),
    /// The budgets are set to so many percent of what they were meant to hold.
    Budgets(i64),
    /// An operator does something.
    Operator(Act),
    /// Somebody changes a ticket in an upstream.
    Person {
        /// Where.
        upstream: usize,
        /// To what.
        status: TicketStatus,
    },
}

/// What is wrong with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Nobody listens.
    Refused,
    /// Requests are lost on the way: no answer.
    Swallowed,
    /// Requests are carried out, and the answers are lost.
    Silent,
    /// The connection breaks, half of the times after the request was carried out.
    Cut,
    /// 429 with `Retry-After`.
    Busy,
    /// 503 before, 500 and 502 after the request was carried out.
    Broken,
    /// 200 with something that cannot be read, half of the times carried out.
    Garbled,
    /// 403 for everything that changes something.
    Forbidden,
}

const OUTAGES: [Outage; 8] = [
    Outage::Refused,
    Outage::Swallowed,
    Outage::Silent,
    Outage::Cut,
    Outage::Busy,
    Outage::Broken,
    Outage::Garbled,
    Outage::Forbidden,
];

/// What an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Take an alarm.
    TakeAlarm,
    /// Take a ticket.
    TakeTicket,
    /// Reset a latched alarm.
    Reset,
    /// Have a dead letter sent again.
    Retry,
    /// Pay for what no budget holds.
    Approve,
    /// Shelve an alarm for some time.
    Shelve,
    /// Take an alarm out of service.
    TakeOut,
    /// Take an alarm from its shelf, or put it back into service.
    PutBack,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, days: i64) -> Plan {
        let mut chance = Chance::of(seed, "plan", 0);
        let end = START + TimeSpan::from_secs(days * 86_400);
        let mut faults: Vec<Fault> = Vec::new();
        // Some runs are calm, so that what is found there is found in a short story.
        let count = chance.below(28) * usize::try_from(days).unwrap_or(1);
        for number in 0..count {
            let mut chance = Chance::of(seed, "fault", number);
            let at = START + chance.secs(60, days * 86_400 - 60);
            faults.push(Fault { number, at, what: trouble(&mut chance) });
        }
        if chance.percent(40) {
            let at = START + chance.secs(3_600, days * 86_400 - 60);
            let reworded = Trouble::Reload(Edition::Reworded);
            faults.push(Fault { number: count, at, what: reworded });
        }
        if chance.percent(30) {
            let at = START + chance.secs(days * 43_200, days * 86_400 - 60);
            faults.push(Fault { number: count + 1, at, what: Trouble::Reload(Edition::Slower) });
        }
        let money = Chance::of(seed, "has money", 0).percent(45).then(|| Money::of(seed, START));
        if money.is_some() {
            faults.extend(budget_changes(seed, count + 2, days));
        }
        faults.sort_by_key(|fault| fault.at);
        Plan {
            seed,
            start: START,
            end,
            publications: publications(seed, START, end),
            faults,
            epoch_bytes: 1 << chance.between(17, 19),
            index_delay: TimeSpan::from_millis(chance.between(0, 1_900)),
            backup_at: START + chance.secs(600, days * 86_400),
            closed_max: None,
            storm: Storm::of(seed),
            settle: match Chance::of(seed, "settle", 0).below(3) {
                0 => TimeSpan::from_secs(15),
                _ => TimeSpan::ZERO,
            },
            money,
            quiet: Chance::of(seed, "has quiet", 0)
                .percent(50)
                .then(|| Quiet::of(seed, START, days)),
        }
    }

    /// The same run without the faults that are not in `kept`.
    pub fn with(&self, kept: &[Fault]) -> Plan {
        Plan { faults: kept.to_vec(), ..self.clone() }
    }
}

/// Budgets that are raised and lowered, in some runs.
fn budget_changes(seed: u64, first: usize, days: i64) -> Vec<Fault> {
    let mut chance = Chance::of(seed, "budget changes", 0);
    let count = if chance.percent(50) { 1 + chance.below(3) } else { 0 };
    let change = |number| {
        let at = START + chance.secs(3_600, days * 86_400 - 60);
        let percent = *chance.one(&[30, 50, 70, 100, 130, 200]).unwrap_or(&100);
        Fault { number: first + number, at, what: Trouble::Budgets(percent) }
    };
    (0..count).map(change).collect()
}

fn trouble(chance: &mut Chance) -> Trouble {
    match chance.below(100) {
        0..30 => Trouble::Crash {
            stop: if chance.percent(50) { Stop::Killed } else { Stop::PowerCut },
            steps: u32::try_from(chance.between(0, 9)).unwrap_or(0),
            down: match chance.below(10) {
                0 => chance.secs(4_300, 10_000),
                1..4 => chance.secs(60, 2_400),
                _ => chance.millis(500, 20_000),
            },
        },
        30..60 => Trouble::Upstream {
            upstream: chance.below(UPSTREAMS),
            outage: chance.one(&OUTAGES).copied().unwrap_or(Outage::Cut),
            lasts: if chance.percent(30) {
                chance.secs(1_800, 20_000)
            } else {
                chance.secs(1, 900)
            },
        },
        60..68 => {
            Trouble::Link { source: chance.below(SOURCES), lasts: chance.millis(50, 400_000) }
        }
        68..73 => Trouble::Disk { errors: u32::try_from(chance.between(1, 6)).unwrap_or(1) },
        73..79 => {
            let by = if chance.percent(50) { chance.secs(1, 120) } else { chance.secs(600, 7_200) };
            let back = TimeSpan::from_micros(-by.micros());
            Trouble::Clock { by: if chance.percent(50) { by } else { back } }
        }
        79..92 => Trouble::Operator(match chance.below(17) {
            0..3 => Act::TakeAlarm,
            3..5 => Act::TakeTicket,
            5..8 => Act::Reset,
            8..10 => Act::Retry,
            10..12 => Act::Shelve,
            12 => Act::TakeOut,
            13..15 => Act::Approve,
            _ => Act::PutBack,
        }),
        _ => Trouble::Person {
            upstream: chance.below(UPSTREAMS),
            status: if chance.percent(60) {
                TicketStatus::Accepted
            } else {
                TicketStatus::Resolved
            },
        },
    }
}
