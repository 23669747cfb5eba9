//! The list of alarms, and all that is known of one of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::engine::pipeline::Engine;
use crate::engine::types::alarm::{AlarmId, AlarmRecord, AlarmState};
use crate::engine::types::listing::{AlarmFilter, AlarmList, AlarmRow, Standing};
use crate::engine::types::severity::Severity;
use crate::engine::types::time::Timestamp;

/// Sites and rules that are offered to look for.
const CHOICES_MAX: usize = 200;

/// One alarm that fits.
struct Found<'a> {
    severity: Severity,
    since: Timestamp,
    record: &'a AlarmRecord,
    site: &'a str,
}

/// The worst first, then the oldest.
pub(super) fn list(now: Timestamp, filter: &AlarmFilter, engine: &Engine) -> AlarmList {
    let mut found = Vec::new();
    let mut by_severity: BTreeMap<Severity, usize> = BTreeMap::new();
    let (mut sites, mut rules) = (BTreeSet::new(), BTreeSet::new());
    for (device, record) in engine.placed_alarms() {
        let site = device.map_or("", |device| device.facts.site.as_str());
        if Standing::Open.includes(record) {
            add_choice(&mut sites, site);
            add_choice(&mut rules, &record.id.rule);
        }
        if !filter.wants(record, site) {
            continue;
        }
        let severity = severity(engine, record);
        if filter.severity.is_none_or(|wanted| wanted == severity) {
            *by_severity.entry(severity).or_default() += 1;
            found.push(Found { severity, since: since(record), record, site });
        }
    }
    found.sort_unstable_by(|a, b| {
        let order = |one: &Found<'_>| (one.severity, one.since);
        order(a).cmp(&order(b)).then_with(|| a.record.id.cmp(&b.record.id))
    });
    let rows = found.iter().skip(filter.skip).take(filter.most);
    AlarmList {
        now,
        found: by_severity.into_iter().collect(),
        rows: rows.map(|one| row(engine, one.record, one.site)).collect(),
        sites: sites.into_iter().map(str::to_owned).collect(),
        rules: rules.into_iter().map(str::to_owned).collect(),
    }
}

/// What `explain` tells of an alarm, and its line in the list.
pub(super) fn one(now: Timestamp, id: &AlarmId, engine: &Engine) -> Json {
    let Some((device, record)) = engine.placed_alarms().find(|(_, known)| known.id == *id) else {
        return Json::Null;
    };
    let mut told = super::explained(now, engine, (std::slice::from_ref(id), &[record]), None);
    let site = device.map_or("", |device| device.facts.site.as_str());
    told["row"] = json!(row(engine, record, site));
    told["time"] = json!(now);
    told
}

/// The line of an alarm.
pub(super) fn row(engine: &Engine, record: &AlarmRecord, site: &str) -> AlarmRow {
    let ticket = record.episode.as_ref().and_then(|episode| engine.ticket(episode.ticket?));
    AlarmRow {
        alarm: AlarmRecord {
            history: Vec::new(),
            seen: Vec::new(),
            edges: Vec::new(),
            changes: Vec::new(),
            ..record.clone()
        },
        site: site.to_owned(),
        severity: severity(engine, record),
        since: since(record),
        ticket: ticket.cloned(),
    }
}

fn add_choice<'a>(known: &mut BTreeSet<&'a str>, choice: &'a str) {
    if !choice.is_empty() && known.len() < CHOICES_MAX {
        known.insert(choice);
    }
}

/// How bad it was when it was raised, or would be.
fn severity(engine: &Engine, record: &AlarmRecord) -> Severity {
    if let Some(episode) = &record.episode {
        return episode.severity;
    }
    let rule = engine.policy().rule(&record.id.rule);
    rule.map_or(Severity::Info, |rule| rule.spec.for_key(&record.id.key).severity)
}

fn since(record: &AlarmRecord) -> Timestamp {
    let episode = record.episode.as_ref();
    let raised = episode.map(|episode| episode.raised_at);
    let returned = episode.and_then(|episode| episode.returned_at);
    let known = match &record.state {
        AlarmState::Pending { since } => Some(*since),
        AlarmState::Unacknowledged { .. } | AlarmState::Acknowledged { .. } => raised,
        AlarmState::Returned { .. } | AlarmState::Latched { .. } => returned,
        AlarmState::Normal => record.shelf.as_ref().map(|shelf| shelf.signature.at).or(returned),
    };
    known.unwrap_or(record.changed_at)
}
