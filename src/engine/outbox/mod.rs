//! Stage 7, intent -> Job: what is still to be done upstream, in which order, and when again.
//!
//! Jobs of one ticket go one after another (I4); different tickets do not wait for each other.
//! Among the tickets that are ready the most severe goes first, then the oldest. A job that the
//! upstream refuses for good is set aside where an operator sees it and blocks nothing but what
//! cannot be done without it (I10).

mod backlog;
mod breaker;
mod retry;

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::types::job::{Action, Call, Delivered, JobKey, JobRecord, JobState, Outcome};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::Timestamp;
use crate::seeded::{self, Bug};

pub use backlog::Backlog;
use breaker::Breaker;
pub use retry::retry_at;

/// Calls that may be under way at a time to an upstream of which nothing else is said.
const IN_FLIGHT_DEFAULT: usize = 8;

/// The jobs that are not done yet.
#[derive(Debug, Default)]
pub struct Outbox {
    jobs: BTreeMap<JobKey, JobRecord>,
    lanes: BTreeMap<String, Lane>,
    delayed: BTreeSet<(Timestamp, JobKey)>,
    /// Those that were given up.
    dead: BTreeSet<JobKey>,
    in_flight: BTreeMap<JobKey, String>,
    /// Calls that may be under way at a time, by upstream.
    in_flight_max: BTreeMap<String, usize>,
    /// Nothing is sent before then.
    held_until: Option<Timestamp>,
    /// Upstreams that answer again, and since when they had not.
    back: Vec<(String, Timestamp)>,
}

/// What goes to one upstream.
#[derive(Debug, Default)]
struct Lane {
    /// The most severe first, then the oldest.
    ready: BTreeSet<(Severity, Timestamp, JobKey)>,
    /// Calls that are under way.
    in_flight: usize,
    breaker: Breaker,
}

/// What became of a job after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Carried out; it has left the outbox.
    Done(JobRecord),
    /// To be tried again; the record to store.
    Again(JobRecord, Timestamp),
    /// Given up; the record to store.
    Dead(JobRecord),
}

impl Outbox {
    /// With nothing to do yet, and so many calls at a time to each upstream.
    pub fn new(in_flight_max: BTreeMap<String, usize>) -> Outbox {
        Outbox { in_flight_max, ..Outbox::default() }
    }

    /// Puts back what was stored before a restart. What was handed over may have been carried out,
    /// so that it is looked up before it is sent again (I5); with `all`, so
    /// may have whatever waits.
    pub fn restore(&mut self, now: Timestamp, mut job: JobRecord, all: bool) {
        if let JobState::Waiting { in_doubt_since, sent, .. } = &mut job.state {
            // The attempt ended with the process at the latest.
            if (*sent || all) && !seeded::has(Bug::RestartForgets) {
                *in_doubt_since = Some(now);
            }
            *sent = false;
        }
        self.add(job);
    }

    /// Adds a job, or replaces the one with its key.
    pub fn add(&mut self, job: JobRecord) {
        let ticket = job.key.ticket;
        if matches!(job.state, JobState::Dead { .. }) {
            self.dead.insert(job.key);
        }
        self.jobs.insert(job.key, job);
        self.promote(ticket);
    }

    /// The jobs, by ticket and number.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.values()
    }

    /// One job.
    pub fn job(&self, key: JobKey) -> Option<&JobRecord> {
        self.jobs.get(&key)
    }

    /// How many jobs wait or are under way (dead letters not counted).
    pub fn depth(&self) -> usize {
        self.jobs.len() - self.dead.len()
    }

    /// When the next job is due that waits for a time.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let delayed = self.delayed.first().map(|(at, _)| *at);
        let ready = self.lanes.values().filter(|lane| !lane.ready.is_empty());
        let open = ready.clone().filter_map(|lane| lane.breaker.opens_at()).min();
        let held = self.held_until.filter(|_| ready.count() > 0);
        let first = [delayed, open].into_iter().flatten().min();
        match self.held_until {
            Some(until) => first.map(|at| at.max(until)).into_iter().chain(held).min(),
            None => first,
        }
    }

    /// Sends nothing before `until`: what is known after a restart is not all yet.
    pub fn hold(&mut self, until: Timestamp) {
        self.held_until = Some(until);
    }

    /// Upstreams that have begun to answer again since the last question, with the time since which
    /// they had not.
    pub fn take_back(&mut self) -> Vec<(String, Timestamp)> {
        std::mem::take(&mut self.back)
    }

    /// Jobs that are due and whose next attempt is not paid for.
    pub fn owing(&self, now: Timestamp) -> Vec<JobKey> {
        let due = self.delayed.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key);
        due.filter(|key| self.jobs.get(key).is_some_and(|job| !job.funds.owed.is_nothing()))
            .collect()
    }

    /// The calls to make now; their jobs are to be stored before that, as they are by now.
    /// `external` tells the upstream's id of a ticket.
    pub fn take_ready(
        &mut self,
        now: Timestamp,
        external: impl Fn(TicketId) -> Option<String>,
    ) -> Vec<Call> {
        if self.held_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.held_until = None;
        while let Some((at, key)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, key));
            if let Some(job) = self.jobs.get(&key) {
                let order = (job.severity, job.created_at, key);
                self.lanes.entry(job.upstream.clone()).or_default().ready.insert(order);
            }
        }
        let mut calls = Vec::new();
        for (upstream, lane) in &mut self.lanes {
            let most = self.in_flight_max.get(upstream).copied().unwrap_or(IN_FLIGHT_DEFAULT);
            while lane.in_flight < most
                && lane.breaker.may_call(now)
                && let Some((_, _, key)) = lane.ready.pop_first()
            {
                if let Some(job) = self.jobs.get_mut(&key) {
                    self.in_flight.insert(key, upstream.clone());
                    lane.in_flight += 1;
                    lane.breaker.called();
                    calls.push(call(now, job, external(key.ticket)));
                    if let JobState::Waiting { sent, .. } = &mut job.state {
                        *sent = true;
                    }
                }
            }
        }
        calls
    }

    /// Takes in what came of a call. `None` for a job that is not under way.
    pub fn delivered(&mut self, now: Timestamp, delivered: &Delivered) -> Option<Fate> {
        let upstream = self.in_flight.remove(&delivered.key)?;
        if let Some(lane) = self.lanes.get_mut(&upstream) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            match &delivered.outcome {
                Outcome::Done { .. } | Outcome::Rejected { .. } | Outcome::Gone { .. } => {
                    let down = lane.breaker.answered();
                    self.back.extend(down.map(|since| (upstream.clone(), since)));
                }
                // It says nothing of the upstream.
                Outcome::Held { .. } => {
                    lane.breaker.answered();
                }
                Outcome::Later { after, .. } => lane.breaker.failed(now, &upstream, *after),
                Outcome::Unknown { .. } => lane.breaker.failed(now, &upstream, None),
            }
        }
        let mut job = self.jobs.remove(&delivered.key)?;
        let ticket = job.key.ticket;
        let fate = match &delivered.outcome {
            Outcome::Done { .. } => Fate::Done(job),
            Outcome::Rejected { reason } | Outcome::Gone { reason } => {
                let (reason, attempts) = (reason.clone(), delivered.attempt);
                job.state = JobState::Dead { at: now, reason, attempts };
                self.dead.insert(job.key);
                self.jobs.insert(job.key, job.clone());
                Fate::Dead(job)
            }
            Outcome::Later { reason, after } | Outcome::Held { reason, after } => {
                let at = retry_at(now, &job.idempotency_key, delivered.attempt, *after);
                self.again(job, now, delivered, reason, at, false)
            }
            Outcome::Unknown { reason } => {
                let at = retry_at(now, &job.idempotency_key, delivered.attempt, None);
                self.again(job, now, delivered, reason, at, true)
            }
        };
        self.promote(ticket);
        Some(fate)
    }

    /// Sends a dead letter again, as what `becomes` makes of it by now; the record to store.
    pub fn retry(
        &mut self,
        now: Timestamp,
        key: JobKey,
        becomes: impl FnOnce(Action) -> Action,
    ) -> Option<JobRecord> {
        let job = self.jobs.get_mut(&key)?;
        let JobState::Dead { at, reason, attempts } = &job.state else {
            return None;
        };
        let (in_doubt_since, reason, attempts) = (Some(*at), reason.clone(), *attempts);
        job.action = becomes(job.action.clone());
        job.state =
            JobState::Waiting { attempts, not_before: now, in_doubt_since, sent: false, reason };
        let job = job.clone();
        self.dead.remove(&key);
        self.promote(key.ticket);
        Some(job)
    }

    /// Gives a dead letter up. Without its ticket nothing else of the ticket can be done, so that
    /// dropping an open drops what follows it; all that was dropped.
    pub fn drop_dead(&mut self, key: JobKey) -> Vec<JobRecord> {
        let dead = |job: &JobRecord| matches!(job.state, JobState::Dead { .. });
        let Some(job) = self.jobs.get(&key).filter(|job| dead(job)) else {
            return Vec::new();
        };
        let keys: Vec<JobKey> = if matches!(job.action, Action::Open(_)) {
            self.of_ticket(key.ticket).map(|job| job.key).collect()
        } else {
            vec![key]
        };
        keys.iter().for_each(|key| {
            self.dead.remove(key);
        });
        let dropped = keys.iter().filter_map(|key| self.jobs.remove(key)).collect();
        self.promote(key.ticket);
        dropped
    }

    /// The jobs to an upstream that wait, by ticket; tickets with a call under way are left out.
    pub fn waiting(&self, upstream: &str) -> BTreeMap<TicketId, Vec<JobRecord>> {
        let busy: BTreeSet<TicketId> = self.in_flight.keys().map(|key| key.ticket).collect();
        let mut waiting: BTreeMap<TicketId, Vec<JobRecord>> = BTreeMap::new();
        for job in self.jobs.values().filter(|job| job.upstream == upstream) {
            let waits = matches!(job.state, JobState::Waiting { .. });
            if waits && !busy.contains(&job.key.ticket) {
                waiting.entry(job.key.ticket).or_default().push(job.clone());
            }
        }
        waiting
    }

    /// Takes out a job that waits: there is no need for it any more.
    pub fn withdraw(&mut self, key: JobKey) -> Option<JobRecord> {
        let job = self.jobs.remove(&key)?;
        self.dequeue(&job);
        self.promote(key.ticket);
        Some(job)
    }

    /// Puts a job in place of the one with its key, which waits.
    pub fn replace(&mut self, job: JobRecord) {
        if let Some(old) = self.jobs.get(&job.key).cloned() {
            self.dequeue(&old);
        }
        let ticket = job.key.ticket;
        self.jobs.insert(job.key, job);
        self.promote(ticket);
    }

    fn dequeue(&mut self, job: &JobRecord) {
        if let Some(lane) = self.lanes.get_mut(&job.upstream) {
            lane.ready.remove(&(job.severity, job.created_at, job.key));
        }
        if let JobState::Waiting { not_before, .. } = &job.state {
            self.delayed.remove(&(*not_before, job.key));
        }
    }

    fn again(
        &mut self,
        mut job: JobRecord,
        now: Timestamp,
        delivered: &Delivered,
        reason: &str,
        at: Timestamp,
        unknown: bool,
    ) -> Fate {
        let before = match &job.state {
            JobState::Waiting { in_doubt_since, .. } => *in_doubt_since,
            JobState::Dead { .. } => None,
        };
        job.state = JobState::Waiting {
            attempts: delivered.attempt,
            not_before: at.max(now),
            in_doubt_since: if unknown { Some(now) } else { before },
            sent: false,
            reason: reason.to_owned(),
        };
        self.jobs.insert(job.key, job.clone());
        Fate::Again(job, at)
    }

    /// The jobs of a ticket, dead letters among them.
    pub fn of_ticket(&self, ticket: TicketId) -> impl Iterator<Item = &JobRecord> {
        let first = JobKey { ticket, number: 0 };
        let last = JobKey { ticket, number: u32::MAX };
        self.jobs.range(first..=last).map(|(_, job)| job)
    }

    /// Lets the first job of a ticket go, unless one is under way or the open was given up.
    fn promote(&mut self, ticket: TicketId) {
        let mut head = None;
        for job in self.of_ticket(ticket) {
            if self.in_flight.contains_key(&job.key) {
                if seeded::has(Bug::JobsOutOfOrder) {
                    continue;
                }
                return;
            }
            match (&job.state, &job.action) {
                (JobState::Dead { .. }, Action::Open(_)) => return,
                (JobState::Dead { .. }, _) if seeded::has(Bug::RefusedBlocks) => return,
                (JobState::Dead { .. }, _) => {}
                (JobState::Waiting { not_before, .. }, _) => {
                    let waits = *not_before > job.created_at || !job.funds.owed.is_nothing();
                    head = Some((job.severity, job.created_at, job.key, *not_before, waits));
                    break;
                }
            }
        }
        if let Some((severity, created_at, key, not_before, waits)) = head {
            if waits {
                self.delayed.insert((not_before, key));
            } else {
                let upstream =
                    self.jobs.get(&key).map(|job| job.upstream.clone()).unwrap_or_default();
                let lane = self.lanes.entry(upstream).or_default();
                lane.ready.insert((severity, created_at, key));
            }
        }
    }
}

fn call(now: Timestamp, job: &JobRecord, external: Option<String>) -> Call {
    let (attempts, in_doubt_since) = match &job.state {
        JobState::Waiting { attempts, in_doubt_since, .. } => (*attempts, *in_doubt_since),
        JobState::Dead { at, attempts, .. } => (*attempts, Some(*at)),
    };
    let in_doubt_since = in_doubt_since.filter(|_| !seeded::has(Bug::NoLookUp));
    Call {
        key: job.key,
        upstream: job.upstream.clone(),
        external,
        fingerprint: job.fingerprint.clone(),
        idempotency_key: job.idempotency_key.clone(),
        attempt: attempts + 1,
        requests_max: job.funds.calls.max(1),
        in_doubt: in_doubt_since.map(|since| now.since(since)),
        severity: job.severity,
        action: job.action.clone(),
    }
}

#[cfg(test)]
mod tests;
