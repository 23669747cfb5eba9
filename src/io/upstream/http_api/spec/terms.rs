//! What answers mean, how a create is made once, and how much is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::super::condition::Condition;
use super::super::template::Template;
use super::super::value::Extract;
use super::Op;
use crate::engine::types::document::Word;
use crate::engine::types::time::TimeSpan;

/// What answers mean.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Errors {
    /// Failures whatever the code says.
    pub fail_if: Vec<Condition>,
    /// Where answers say what is wrong.
    pub message: Vec<Extract>,
    /// The first that fits decides.
    pub rules: Vec<ErrorRule>,
}

/// What one kind of answer means.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRule {
    /// Codes; all when empty.
    pub status: Vec<u16>,
    /// What must hold.
    pub when: Vec<Condition>,
    /// Operations; all when empty.
    pub operations: BTreeSet<Op>,
    /// What it means.
    pub class: Class,
    /// How long to wait before the next attempt.
    pub wait: Option<TimeSpan>,
    /// What to do, for people.
    pub hint: Option<Template>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Carried out.
    Ok,
    /// Not carried out; worth another attempt.
    Retry,
    /// Not carried out: the credential is not good.
    Auth,
    /// There is no such ticket any more.
    Gone,
    /// Refused for good.
    Permanent,
    /// It is there already.
    Duplicate,
    /// Nobody knows.
    Unknown,
}

impl Word for Class {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ok", Class::Ok),
        ("retry", Class::Retry),
        ("auth", Class::Auth),
        ("gone", Class::Gone),
        ("permanent", Class::Permanent),
        ("duplicate", Class::Duplicate),
        ("unknown", Class::Unknown),
    ];
}

/// How a create is made once.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// In which way; `None`: `Search` where there is a `find`, else `Local`.
    pub once: Option<Once>,
    /// How far the search may be behind.
    pub search_lag: TimeSpan,
    /// Whether a new ticket is searched for by its key.
    pub confirm: Confirm,
    /// The id of the ticket that is there, in the answer that says so.
    pub duplicate_id: Option<Extract>,
}

impl Default for Create {
    fn default() -> Create {
        Create {
            once: None,
            search_lag: TimeSpan::ZERO,
            confirm: Confirm::First,
            duplicate_id: None,
        }
    }
}

/// What keeps a create from being carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// The upstream keeps the header `Idempotency-Key`.
    Header,
    /// The body has a key that the upstream keeps.
    Key,
    /// The request writes the ticket of this key, whether it is there or not.
    Upsert,
    /// A second one is refused as a duplicate.
    Unique,
    /// It goes to an address that works once.
    OneTimeUrl,
    /// What may have been sent is searched for by its key.
    Search,
    /// What may have been sent is looked for among the newest tickets.
    Scan,
    /// Nothing: a crash in the wrong moment can double a ticket.
    Local,
}

impl Word for Once {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("header", Once::Header),
        ("key", Once::Key),
        ("upsert", Once::Upsert),
        ("unique", Once::Unique),
        ("one-time-url", Once::OneTimeUrl),
        ("search", Once::Search),
        ("scan", Once::Scan),
        ("local", Once::Local),
    ];
}

/// Whether a new ticket is searched for by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Every one.
    Always,
    /// Until one was found, for each queue.
    First,
    /// None.
    Never,
}

impl Word for Confirm {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Confirm::Always), ("first", Confirm::First), ("never", Confirm::Never)];
}

/// Bounds on texts and on calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Longest title.
    pub title: Option<Length>,
    /// Longest body.
    pub body: Option<Length>,
    /// Longest comment.
    pub comment: Option<Length>,
    /// Calls a second and at once, by operation.
    pub operations: BTreeMap<Op, (f64, f64)>,
    /// Share of `rate.burst` that only critical tickets may use.
    pub critical_share: f64,
    /// Headers that say when calls are let in again.
    pub reset_headers: Vec<String>,
    /// Headers that say how many calls are left.
    pub remaining_headers: Vec<String>,
    /// Pause after a 429 that says nothing.
    pub penalty: Option<TimeSpan>,
    /// Time for one request.
    pub timeout: Option<TimeSpan>,
}

impl Default for Limits {
    fn default() -> Limits {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Limits {
            title: None,
            body: None,
            comment: None,
            operations: BTreeMap::new(),
            critical_share: 0.0,
            reset_headers: names(&["retry-after", "ratelimit-reset", "x-ratelimit-reset"]),
            remaining_headers: names(&["ratelimit-remaining", "x-ratelimit-remaining"]),
            penalty: None,
            timeout: None,
        }
    }
}

/// A length in the unit that the upstream counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Characters.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}
