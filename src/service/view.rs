//! The read model: questions about the state, answered between two batches of the loop.

mod alarms;
mod devices;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::engine::figures;
use crate::engine::pipeline::Engine;
use crate::engine::types::alarm::{AlarmId, AlarmRecord};
use crate::engine::types::job::{JobRecord, JobState};
use crate::engine::types::question::Question;
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::Timestamp;
use crate::io::journal::Journal;
use crate::io::store::StoreError;

/// Whether each part can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The embedded broker carries messages (true where it is switched off).
    pub broker: bool,
    /// The store can be written.
    pub store: bool,
    /// Messages are taken in: less waits for the upstreams than `max_backlog`.
    pub intake: bool,
    /// Name of each source and whether messages can arrive.
    pub sources: Vec<(String, bool)>,
}

impl Health {
    /// Nothing is connected yet.
    pub fn new(sources: Vec<String>) -> Health {
        let sources = sources.into_iter().map(|name| (name, false)).collect();
        Health { broker: true, store: true, intake: true, sources }
    }

    /// A gateway that does not run.
    pub fn stopped() -> Health {
        Health { broker: false, store: false, intake: false, sources: Vec::new() }
    }

    /// Messages of a source can arrive, or cannot.
    pub fn set_source(&mut self, index: usize, up: bool) {
        if let Some((_, state)) = self.sources.get_mut(index) {
            *state = up;
        }
    }

    /// Everything can do its work.
    pub fn is_ready(&self) -> bool {
        self.broker && self.store && self.intake && self.sources.iter().all(|(_, up)| *up)
    }
}

/// What is looked at.
#[derive(Debug)]
pub struct Sight<'a> {
    /// The state.
    pub engine: &'a Engine,
    /// What is on disk.
    pub journal: &'a Journal,
    /// How the gateway is.
    pub health: &'a Health,
}

/// The answer to a question; null for an id that nothing has.
pub fn answer(now: Timestamp, question: &Question, sight: &Sight<'_>) -> Json {
    let Sight { engine, journal, health } = *sight;
    match question {
        Question::Alarms => json!({ "alarms": engine.alarms().collect::<Vec<_>>() }),
        Question::Tickets => json!({ "tickets": engine.tickets().collect::<Vec<_>>() }),
        Question::Devices => {
            let devices = engine.devices().iter().map(|device| devices::line(device, engine));
            json!({ "devices": devices.collect::<Vec<_>>() })
        }
        Question::DeviceList(filter) => devices::list(now, filter, engine),
        Question::Device(id) => devices::one(now, id, engine),
        Question::AlarmList(filter) => json!(alarms::list(now, filter, engine)),
        Question::Alarm(id) => alarms::one(now, id, engine),
        Question::DeadLetters { skip, most } => {
            let dead: Vec<&JobRecord> = engine.outbox().jobs().filter(|job| is_dead(job)).collect();
            let told: Vec<&&JobRecord> = dead.iter().skip(*skip).take(*most).collect();
            json!({ "dead_letters": told, "found": dead.len(), "now": now })
        }
        Question::Invalid { span } => {
            let newest = engine.newest_tickets().take(TICKETS_LOOKED_AT_MAX);
            json!({ "now": now, "invalid": figures::invalid(newest, now - *span, now) })
        }
        Question::Explain(id) => explain(now, id, engine),
        Question::Rejected => {
            let name = |source: usize| engine.settings().sources.get(source).map(|s| &s.name);
            let rejected = engine.rejected().map(|(source, reason, first)| {
                json!({ "source": name(source), "reason": reason.word(), "first": first })
            });
            json!({ "rejected": rejected.collect::<Vec<_>>() })
        }
        Question::Health => {
            let sources = health.sources.iter().map(|(name, up)| json!({ "name": name, "up": up }));
            json!({
                "ready": health.is_ready(),
                "broker": health.broker,
                "sources": sources.collect::<Vec<_>>(),
                "store": health.store,
                "intake": health.intake,
                "rules": engine.policy().written,
                "devices": engine.devices().len(),
                "outbox": engine.outbox().depth(),
                "quarantined": journal.quarantined(RECORDS_MAX).map(|keys| keys.len()).ok(),
            })
        }
        Question::Budgets => budgets(engine),
        Question::Audit { since } => kept("audit", journal.audit(*since, RECORDS_MAX)),
        Question::Digest { since } => kept("digest", journal.digest(*since, RECORDS_MAX)),
        Question::Act { .. } => Json::Null,
    }
}

/// How the budgets stand, and what waits for money: alarms that are held, attempts that are not paid for.
fn budgets(engine: &Engine) -> Json {
    let held = engine.held_for_money();
    let held = held.iter().map(|held| {
        let episode = held.alarm.episode.as_ref();
        json!({
            "alarm": held.alarm.id, "severity": episode.map(|episode| episode.severity),
            "raised_at": episode.map(|episode| episode.raised_at),
            "until": held.until, "token": held.token,
        })
    });
    let unpaid = engine.outbox().jobs().filter(|job| !job.funds.owed.is_nothing());
    let unpaid = unpaid.map(|job| {
        json!({
            "ticket": job.key.ticket, "action": job.action.word(), "severity": job.severity,
            "reason": job.reason(),
        })
    });
    json!({
        "budgets": engine.standings(), "closed": engine.books_are_closed(),
        "held": held.collect::<Vec<_>>(), "unpaid": unpaid.collect::<Vec<_>>(),
    })
}

/// The answer to an act: done, or why not.
pub fn acted(refusal: Option<String>) -> Json {
    json!({ "done": refusal.is_none(), "error": refusal })
}

/// Tickets that figures are made of, the newest: the loop stands still meanwhile.
const TICKETS_LOOKED_AT_MAX: usize = 20_000;
/// Most records of the store in one answer.
const RECORDS_MAX: usize = 1_000;

/// What the store has kept, under its name.
fn kept<T: Serialize>(name: &str, records: Result<Vec<T>, StoreError>) -> Json {
    match records {
        Ok(records) => json!({ name: records }),
        Err(error) => json!({ name: [], "error": error.to_string() }),
    }
}

fn is_dead(job: &JobRecord) -> bool {
    matches!(job.state, JobState::Dead { .. })
}

/// An alarm (`rule/device`), a ticket (`tk-1`), an episode (its ULID), a fingerprint, or the
/// upstream's id of a ticket.
fn explain(now: Timestamp, id: &str, engine: &Engine) -> Json {
    let ticket = engine.tickets().find(|ticket| {
        ticket.id.to_string() == id
            || ticket.fingerprint.0 == id
            || ticket.external.as_deref() == Some(id)
    });
    let of_ticket = |record: &&AlarmRecord| {
        let member = ticket.is_some_and(|ticket| {
            record.episode.as_ref().is_some_and(|episode| episode.ticket == Some(ticket.id))
        });
        member
            || record.id.to_string() == id
            || record.episode.as_ref().is_some_and(|e| e.id == id || e.fingerprint.0 == id)
    };
    let alarms: Vec<&AlarmRecord> = engine.alarms().filter(of_ticket).collect();
    let mut asked: Vec<AlarmId> = alarms.iter().map(|record| record.id.clone()).collect();
    if ticket.is_none() && alarms.is_empty() {
        // An alarm that never began: what is missing is all that can be told of it.
        let Some((rule, device)) = id.split_once('/') else { return Json::Null };
        asked.push(AlarmId { rule: rule.to_owned(), device: device.to_owned(), key: Vec::new() });
    }
    let told = explained(now, engine, (&asked, &alarms), ticket);
    let is_nothing = ["alarms", "now", "tickets"]
        .iter()
        .all(|part| told[*part].as_array().is_none_or(Vec::is_empty));
    if is_nothing { Json::Null } else { told }
}

/// What there is to be told of these alarms, and of one ticket or of theirs.
fn explained(
    now: Timestamp,
    engine: &Engine,
    (asked, alarms): (&[AlarmId], &[&AlarmRecord]),
    ticket: Option<&TicketRecord>,
) -> Json {
    let now_missing: Vec<_> =
        asked.iter().filter_map(|alarm| engine.counterfactual(now, alarm)).collect();
    let tickets: Vec<&TicketRecord> = match ticket {
        Some(ticket) => vec![ticket],
        None => alarms
            .iter()
            .filter_map(|record| engine.ticket(record.episode.as_ref()?.ticket?))
            .collect(),
    };
    let jobs = engine.outbox().jobs();
    let jobs = jobs.filter(|job| tickets.iter().any(|ticket| ticket.id == job.key.ticket));
    let rules = engine.policy().rules.iter();
    let rules = rules.filter(|rule| asked.iter().any(|alarm| alarm.rule == rule.spec.id));
    let rules = rules.map(|rule| {
        let spec = &rule.spec;
        json!({
            "id": spec.id, "revision": spec.revision, "when": spec.when,
            "clear_when": spec.clear_when, "on_delay": spec.on_delay, "off_delay": spec.off_delay,
        })
    });
    json!({
        "alarms": alarms,
        "now": now_missing,
        "tickets": tickets,
        "waiting": jobs.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
    })
}
