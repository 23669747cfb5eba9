//! The promises of `tickets.md`, held against a run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use faultgate::engine::types::alarm::{AlarmState, HeldBy};
use faultgate::engine::types::job::{Action, JobRecord, JobState, Owed};
use faultgate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use faultgate::engine::types::time::TimeSpan;
use faultgate::io::journal::Journal;
use faultgate::io::store::Records;
use rust_decimal::Decimal;

use crate::disk::SimStore;
use crate::left::{self, Left};
use crate::model::{State, Status, Unpaid};
use crate::upstream::System;
use crate::world::World;

/// The engine stands where the model stands: every alarm, every ticket (I6, I7).
///
/// # Errors
/// What differs.
pub fn same(world: &World) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    let mut known: BTreeMap<_, _> =
        process.engine.alarms().map(|alarm| (&alarm.id, alarm)).collect();
    for (id, alarm) in world.model.alarms() {
        let found = known.remove(id);
        let is_nothing = alarm.episode == 0 && alarm.state == State::Normal { rising: None };
        let Some(found) = found else {
            ensure!(is_nothing, "alarm {id}: the gateway does not know it, it should be {alarm:?}");
            continue;
        };
        let episode = found.episode.as_ref().map_or(0, |episode| episode.number);
        ensure!(
            episode == alarm.episode && state(&found.state) == alarm.state,
            "alarm {id}: {:?}, episode {episode}; it should be {alarm:?}",
            found.state
        );
    }
    if let Some((id, alarm)) = known.pop_first() {
        bail!("alarm {id}: nobody raised it, and it is {:?}", alarm.state);
    }
    let mut tickets: BTreeMap<_, _> =
        process.engine.tickets().map(|ticket| (ticket.fingerprint.0.as_str(), ticket)).collect();
    let may_go = world.plan.closed_max.map(|closed_max| process.turned_at - closed_max);
    for ticket in &world.model.tickets {
        let Some(found) = tickets.remove(ticket.key.as_str()) else {
            if may_go.is_some_and(|before| ticket.ended_before(before)) {
                continue;
            }
            bail!("ticket {}: the gateway does not know it, it should be {ticket:?}", ticket.key);
        };
        ensure!(
            found.status.is_over() == (ticket.status == Status::Over),
            "ticket {}: {:?}; it should be {ticket:?}",
            found.id,
            found.status
        );
    }
    if let Some((_, ticket)) = tickets.pop_first() {
        bail!("ticket {}: nothing has happened for it", ticket.id);
    }
    Ok(())
}

/// What is held for want of money is listed, and nothing else is.
///
/// # Errors
/// What is missing, or too much.
pub fn held(world: &World) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    let listed = process.engine.held_for_money();
    let listed: BTreeSet<_> = listed.into_iter().map(|held| held.alarm.id.clone()).collect();
    for alarm in process.engine.alarms().filter(|alarm| alarm.state.is_raised()) {
        let Some(episode) = &alarm.episode else { continue };
        let is_held = episode.held_by == Some(HeldBy::Budget);
        ensure!(
            is_held == listed.contains(&alarm.id) && !(is_held && episode.ticket.is_some()),
            "alarm {} is held for money: {is_held}, and not listed so (billing)",
            alarm.id
        );
    }
    Ok(())
}

/// What waits for money waits visibly, and not in vain.
///
/// # Errors
/// What does not.
pub fn unpaid(world: &mut World) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    let (engine, now) = (&process.engine, process.turned_at);
    let mut unpaid = Vec::new();
    for job in left::heads(engine).into_values().filter(|job| !job.funds.owed.is_nothing()) {
        let JobState::Waiting { not_before, sent, .. } = job.state else { continue };
        let effect = job.idempotency_key.clone();
        ensure!(!sent, "{effect} is under way, and was not paid for (billing)");
        ensure!(not_before > now, "{effect} is due, and nobody asked for its money (billing)");
        let is_told = job.reason().starts_with("the budget does not pay");
        ensure!(is_told, "{effect} waits for money, and says: {} (I6)", job.reason());
        let (ticket, owed) = (job.fingerprint.0.clone(), left::owed(job));
        unpaid.push(Unpaid { effect, ticket, owed, asks_at: not_before });
    }
    world.model.nothing_waits_in_vain(now, unpaid)
}

fn state(state: &AlarmState) -> State {
    match state {
        AlarmState::Normal => State::Normal { rising: None },
        AlarmState::Pending { since } => State::Normal { rising: Some(*since) },
        AlarmState::Returned { rising } => State::Normal { rising: *rising },
        AlarmState::Unacknowledged { clearing } => {
            State::Raised { taken: false, clearing: *clearing }
        }
        AlarmState::Acknowledged { clearing, .. } => {
            State::Raised { taken: true, clearing: *clearing }
        }
        AlarmState::Latched { ack, rising } => {
            State::Latched { taken: ack.is_some(), rising: *rising }
        }
    }
}

/// What keeps the gateway from being quiet.
pub fn unrest(world: &World) -> String {
    let Some(process) = &world.process else { return "the gateway does not run".to_owned() };
    let jobs = process.engine.outbox().jobs();
    let jobs: Vec<String> = jobs.map(|job| format!("{:?} {:?}", job.key, job.state)).collect();
    let (calls, inbox) = (process.calls(), process.inbox.len());
    format!("{calls} calls, {inbox} messages, jobs {jobs:?}, told {:?}", world.told)
}

/// When all has been well for `time`, only what an upstream refused is left in the outbox, and what
/// cannot be done without it: the rest of a ticket that was never opened (I10); and what waits for
/// money, with what comes after it.
///
/// # Errors
/// What waits.
pub fn nothing_is_held_up(world: &World, time: TimeSpan) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    let now = process.turned_at;
    if now.since(process.started_at) < time {
        return Ok(());
    }
    let jobs: Vec<_> = process.engine.outbox().jobs().collect();
    let unopened: BTreeSet<_> = jobs
        .iter()
        .filter(|job| matches!(job.action, Action::Open(_)))
        .map(|job| job.key.ticket)
        .collect();
    let unpaid = left::unpaid(&process.engine);
    for job in jobs {
        let waits = matches!(job.state, JobState::Waiting { .. });
        let is_old = now.since(job.created_at) >= time;
        ensure!(
            !waits
                || !is_old
                || unopened.contains(&job.key.ticket)
                || unpaid.contains(&job.key.ticket),
            "job {} waits although all is well (I10)",
            job.idempotency_key
        );
    }
    Ok(())
}

/// What must be true once all is quiet; of what waits for money, all that can be without it.
///
/// # Errors
/// What is not.
pub fn after_all(world: &World) -> anyhow::Result<()> {
    same(world)?;
    let left = world.process.as_ref().map(|process| Left::of(&process.engine)).unwrap_or_default();
    for engine in world.process.iter().map(|process| &process.engine) {
        for alarm in engine.alarms() {
            let ticket = alarm.episode.as_ref().and_then(|episode| engine.ticket(episode.ticket?));
            let is_left = ticket.is_some_and(|t| left.turns.contains(&t.fingerprint.0));
            let is_over = ticket.is_none_or(|ticket| ticket.status.is_over()) && !is_left;
            let waits = matches!(alarm.state, AlarmState::Returned { .. }) && is_over;
            ensure!(!waits, "alarm {} waits for a resolve that was carried out (I6)", alarm.id);
        }
    }
    for server in &world.servers {
        let mut wanted: BTreeMap<&str, Status> = BTreeMap::new();
        for ticket in world.model.tickets.iter().filter(|t| t.upstream == server.name) {
            wanted.insert(&ticket.key, ticket.status);
        }
        for (at, ticket) in server.tickets.iter().enumerate() {
            let (name, number) = (server.name, at + 1);
            let Some(status) = wanted.remove(ticket.key.as_str()) else {
                let twin = server.tickets.iter().take(at).any(|other| other.key == ticket.key);
                let why = if twin { "doubled (I1)" } else { "for no fault (I7)" };
                bail!("{name}: ticket {number} with key {} is {why}", ticket.key);
            };
            ensure!(
                ticket.is_over == (status == Status::Over) || left.turns.contains(&ticket.key),
                "{name}: ticket {number} with key {} is over: {}, should be {status:?} (I6)",
                ticket.key,
                ticket.is_over
            );
        }
        wanted.retain(|key, _| !left.opens.contains(*key));
        if let Some((key, _)) = wanted.pop_first() {
            bail!("{}: there is no ticket with key {key} (I1)", server.name);
        }
    }
    effects(world, &left)?;
    bills(world, &left)
}

/// Every effect of a ticket was carried out once, in its order (I4); what an upstream had refused
/// holds nothing up and comes later (I10).
fn effects(world: &World, left: &Left) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    for ticket in process.engine.tickets() {
        let servers = world.servers.iter().filter(|server| server.name == ticket.upstream);
        let there = servers.flat_map(|server| &server.tickets);
        let there = there.into_iter().find(|there| there.key == ticket.fingerprint.0);
        let wanted: Vec<String> =
            (1..ticket.next_effect).map(|n| format!("{}-{n}", ticket.fingerprint)).collect();
        let found = there.map(|there| there.effects.clone()).unwrap_or_default();
        // What is left may have been carried out: nobody has the money to look.
        let is_there = |key: &String| !left.effects.contains(key) || found.contains(key);
        let wanted: Vec<String> = wanted.into_iter().filter(is_there).collect();
        let in_order = |keys: &[String]| -> Vec<String> {
            keys.iter().filter(|key| !world.refused.contains(*key)).cloned().collect()
        };
        let once = |keys: &[String]| -> Vec<String> {
            let mut keys = keys.to_vec();
            keys.sort_unstable();
            keys
        };
        ensure!(
            in_order(&found) == in_order(&wanted) && once(&found) == once(&wanted),
            "ticket {}: carried out {found:?}, should be {wanted:?} (I4)",
            ticket.id
        );
    }
    Ok(())
}

/// The ledger has one committed row for each billable thing that was carried out (I9).
fn bills(world: &World, left: &Left) -> anyhow::Result<()> {
    let Some(process) = &world.process else { return Ok(()) };
    let rows = ledger(&process.journal)?;
    if let Some(books) = &world.model.books {
        books.check_all(&rows)?;
    }
    let committed = |meter: Meter| {
        let rows = rows.iter().filter(move |row| row.state == LedgerState::Committed);
        rows.filter(move |row| row.meter == meter)
    };
    let mut created: Vec<&str> =
        committed(Meter::TicketCreated).map(|row| row.external_ref.as_str()).collect();
    created.sort_unstable();
    let tickets = world.servers.iter().flat_map(|server| &server.tickets);
    let there = tickets.map(|ticket| ticket.key.as_str());
    let mut there: Vec<&str> = there.filter(|key| !left.opens.contains(*key)).collect();
    there.sort_unstable();
    ensure!(created == there, "the ledger has {created:?} created, the upstreams {there:?} (I9)");
    let steps: Vec<&str> = committed(Meter::TicketEscalated).map(|row| row.idem.as_str()).collect();
    let once: BTreeSet<&str> = steps.iter().copied().collect();
    ensure!(once.len() == steps.len(), "a step is in the ledger twice: {steps:?} (I9)");
    let done: BTreeSet<&str> = world
        .servers
        .iter()
        .flat_map(|server| &server.tickets)
        .flat_map(|ticket| ticket.effects.iter().map(String::as_str))
        .collect();
    for step in &once {
        let key = step.split('/').next().unwrap_or_default();
        ensure!(done.contains(key), "the step {step} is in the ledger and was not taken (I9)");
    }
    let desk = world.servers.iter().find(|server| server.system == System::Desk);
    let of_desk = committed(Meter::TicketEscalated).filter(|row| {
        desk.is_some_and(|desk| desk.tickets.iter().any(|ticket| ticket.key == row.external_ref))
    });
    let (counted, taken) = (of_desk.count() as u64, desk.map_or(0, |desk| desk.escalated));
    ensure!(
        counted <= taken && taken <= counted + left.steps,
        "{taken} steps were taken at the desk, {counted} are booked (I9)"
    );
    requests(world, &rows)
}

/// Every request that was carried out is booked: as made, or as perhaps made where the process was
/// killed meanwhile; and none that was never begun.
fn requests(world: &World, rows: &[LedgerRow]) -> anyhow::Result<()> {
    let calls = |state: LedgerState| {
        let rows = rows.iter().filter(|row| row.meter == Meter::ApiCall && row.state == state);
        rows.map(|row| row.qty).sum::<Decimal>()
    };
    let made = calls(LedgerState::Committed);
    let most = made + calls(LedgerState::Ambiguous);
    let there: u64 = world.servers.iter().map(|server| server.requests).sum();
    ensure!(
        Decimal::from(there) <= most && made <= Decimal::from(world.begun),
        "{there} requests were carried out, {} begun; {made} to {most} are booked (I9)",
        world.begun
    );
    Ok(())
}

/// The ledger: a chain without a gap, and nothing in the outbox that it does not know (I3).
///
/// # Errors
/// What is wrong with it.
pub fn ledger(journal: &Journal<SimStore>) -> anyhow::Result<Vec<LedgerRow>> {
    let mut rows: Vec<LedgerRow> = Vec::new();
    for found in journal.store().scan(b"l/", b"") {
        let row: LedgerRow = serde_json::from_slice(&found?.1)?;
        let (number, hash) = rows.last().map_or((0, ""), |row| (row.sequence, row.hash.as_str()));
        ensure!(
            row.sequence == number + 1 && row.prev_hash == hash && row.is_intact(),
            "row {} of the ledger does not follow row {number} (I3)",
            row.sequence
        );
        rows.push(row);
    }
    let reserved: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.state == LedgerState::Reserved)
        .filter_map(|row| row.idem.split('/').next())
        .collect();
    // What was not paid for has set nothing aside.
    let is_paid = |job: &JobRecord| job.funds.owed != Owed::Whole;
    for job in journal.load()?.jobs.into_iter().filter(is_paid) {
        let key = job.idempotency_key.as_str();
        ensure!(reserved.contains(key), "job {key} is in the outbox without a reservation (I3)");
    }
    Ok(rows)
}
