//! What people do in the upstream, asked for again and again: a window that overlaps the last one,
//! and nothing told twice.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;
use serde_json::Value as Json;

use super::HttpApi;
use super::call::{About, Failure};
use super::run::item_names;
use super::spec::{Op, Operation};
use super::template::Names;
use crate::engine::types::job::Outcome;
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::io::upstream::Change;
use crate::io::upstream::http::Attempt;

/// How far a look goes back behind the last one, for clocks that differ and searches that are late.
const OVERLAP: TimeSpan = TimeSpan::from_secs(120);
/// Things that are remembered so that they are not told twice.
const SEEN_MAX: usize = 20_000;

/// How far an upstream has been read.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What was done before is not told.
    start: Timestamp,
    /// The newest change that was seen.
    newest: Timestamp,
    cursor: Option<String>,
    seen: BTreeSet<String>,
}

impl Watch {
    /// From a time on.
    pub fn since(since: Timestamp) -> Watch {
        Watch { start: since - OVERLAP, newest: since, cursor: None, seen: BTreeSet::new() }
    }

    /// True for something that was not told yet.
    fn take(&mut self, distinct: String, at: Option<Timestamp>) -> bool {
        if let Some(at) = at {
            self.newest = self.newest.max(at);
            if at < self.start {
                return false;
            }
        }
        self.seen.insert(distinct)
    }

    fn advance(&mut self, cursor: Option<String>) {
        let number = |text: &str| text.parse::<f64>().ok();
        let Some(cursor) = cursor else { return };
        let further =
            self.cursor.as_ref().is_none_or(|last| match (number(last), number(&cursor)) {
                (Some(last), Some(cursor)) => cursor > last,
                (Some(_), None) | (None, Some(_)) | (None, None) => cursor > *last,
            });
        if further {
            self.cursor = Some(cursor);
        }
    }

    /// Forgets what no look can bring again.
    fn forget(&mut self, listed: &BTreeSet<String>) {
        if self.seen.len() > SEEN_MAX {
            self.seen.retain(|seen| listed.contains(seen));
        }
    }

    fn names(&self, overlap: TimeSpan) -> Names {
        let since = (self.newest - overlap).max(self.start - overlap);
        let cursor = self.cursor.as_deref();
        let cursor = cursor.map_or_else(
            || Value::from(()),
            |cursor| match cursor.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(cursor),
            },
        );
        Names::from([
            ("since".to_owned(), Value::from(since.to_string())),
            ("cursor".to_owned(), cursor),
        ])
    }
}

impl HttpApi {
    /// What people have done since the last look, in order.
    pub async fn changes(
        &self,
        watch: &mut Watch,
        attempt: &mut Attempt,
    ) -> Result<Vec<Change>, Outcome> {
        let Some(operation) = self.api.operations.get(&Op::Changes) else { return Ok(Vec::new()) };
        let about = About { reads: true, ..About::default() };
        let mut names = watch.names(operation.list.overlap.unwrap_or(OVERLAP));
        names.insert("me".to_owned(), Value::from(self.me(attempt).await));
        let items = self.list(Op::Changes, &names, about, attempt).await;
        let items = items.map_err(Failure::outcome)?;
        // A look that fails in the middle is made again as a whole.
        let mut next = watch.clone();
        let mut listed = BTreeSet::new();
        let mut changes = Vec::new();
        for item in &items {
            if let Some(change) =
                self.change(operation, item, &names, &mut next, &mut listed, attempt).await?
            {
                changes.push(change);
            }
        }
        next.forget(&listed);
        *watch = next;
        Ok(changes)
    }

    async fn change(
        &self,
        operation: &Operation,
        item: &Json,
        names: &Names,
        watch: &mut Watch,
        listed: &mut BTreeSet<String>,
        attempt: &mut Attempt,
    ) -> Result<Option<Change>, Outcome> {
        let list = &operation.list;
        let mut all = self.with_constants(&item_names(names, item, None));
        let id = |all: &Names| operation.id.as_ref().and_then(|id| id.first_of_item(item, all));
        let Some(mut ticket) = id(&all) else { return Ok(None) };
        let updated = list.updated.as_ref().and_then(|place| place.first_of_item(item, &all));
        let distinct = list.distinct.as_ref().and_then(|place| place.first_of_item(item, &all));
        let event = distinct.is_some();
        // Many systems tell whole seconds, in which a ticket may be changed twice.
        let distinct = distinct.unwrap_or_else(|| {
            let status = list.status.as_ref().and_then(|place| place.first_of_item(item, &all));
            let (updated, status) = (updated.as_deref(), status.as_deref());
            format!("{ticket}@{} {}", updated.unwrap_or_default(), status.unwrap_or_default())
        });
        watch.advance(list.cursor.as_ref().and_then(|place| place.first_of_item(item, &all)));
        listed.insert(distinct.clone());
        let at = updated.as_deref().and_then(|text| parse_time(text, self.api.zone));
        // Without a time every look tells the status as it stands.
        let timeless = updated.is_none() && !event;
        if !watch.take(distinct, at) && !timeless {
            return Ok(None);
        }
        if list.fetch_if.as_ref().is_some_and(|fetch| fetch.holds_of_item(item, &all)) {
            let about = About { reads: true, ..About::default() };
            let mut of_ticket = all.clone();
            of_ticket.insert("ticket".to_owned(), Value::from(ticket.as_str()));
            let fetched = self.fetch(&of_ticket, about, attempt).await;
            let fetched = fetched.map_err(Failure::outcome)?;
            all = self.with_constants(&item_names(names, item, fetched.as_ref()));
            // Some systems call a ticket by another name in what they list.
            ticket = id(&all).unwrap_or(ticket);
        }
        if list.ignore_if.as_ref().is_some_and(|ignore| ignore.holds_of_item(item, &all)) {
            return Ok(None);
        }
        let status = list.status.as_ref().and_then(|place| place.first_of_item(item, &all));
        let Some(status) = status.and_then(|status| self.meaning(&status)) else { return Ok(None) };
        let by = list.by.as_ref().and_then(|place| place.first_of_item(item, &all));
        let told = self.tell(&ticket, status, event).await;
        Ok(told.then(|| Change { ticket, status, by: self.person(by) }))
    }

    /// Whether a status is news. What says only how a ticket stands is told when that changes.
    pub(super) async fn tell(&self, ticket: &str, status: TicketStatus, event: bool) -> bool {
        let mut told = self.told.lock().await;
        let before = told.insert(ticket.to_owned(), status);
        event || before != Some(status)
    }

    /// Their status in our words; one that nobody has named is told once.
    pub(super) fn meaning(&self, theirs: &str) -> Option<TicketStatus> {
        let theirs = theirs.trim();
        if let Some(known) = self.api.status.get(theirs) {
            return Some(*known);
        }
        if let Some(ours) = TicketStatus::ALL.into_iter().find(|ours| ours.word() == theirs) {
            return Some(ours);
        }
        let mut strange = self.strange.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if strange.len() < SEEN_MAX && strange.insert(theirs.to_owned()) {
            let upstream = &self.name;
            tracing::warn!(
                upstream,
                status = theirs,
                "The upstream has a status that is not in `[upstream.status]`; add it there."
            );
        }
        self.api.unknown_status
    }

    /// Whom a name of theirs is.
    pub(super) fn person(&self, theirs: Option<String>) -> String {
        let theirs = theirs.unwrap_or_else(|| "somebody".to_owned());
        let inverse: BTreeMap<String, &str> = self
            .api
            .people
            .iter()
            .map(|(ours, scalar)| (super::call::scalar_value(scalar).to_string(), ours.as_str()))
            .collect();
        inverse.get(&theirs).map_or_else(|| theirs.clone(), |ours| (*ours).to_owned())
    }

    /// Who our credentials belong to; empty where that is not said.
    pub(super) async fn me(&self, attempt: &mut Attempt) -> String {
        let mut me = self.me.lock().await;
        if me.is_none() {
            let mut names = Names::new();
            let about = About { reads: true, ..About::default() };
            let told = self.run(Op::Whoami, &mut names, about, false, attempt).await;
            let id = self.api.operations.get(&Op::Whoami).and_then(|whoami| whoami.id.as_ref());
            if let Ok(Some(answer)) = told {
                *me = id.and_then(|id| id.first(&answer, &self.with_constants(&names)));
            }
        }
        me.clone().unwrap_or_default()
    }
}

/// RFC 3339, seconds or milliseconds since 1970, or a local time without its zone.
fn parse_time(text: &str, zone: Option<chrono_tz::Tz>) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    if let Ok(number) = text.parse::<i64>() {
        let micros = if number > 100_000_000_000 { 1_000 } else { 1_000_000 };
        return Some(Timestamp::from_micros(number.saturating_mul(micros)));
    }
    let text = text.replace('T', " ");
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M"];
    let local =
        local.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(&text, form).ok())?;
    let zone = zone.unwrap_or(chrono_tz::Tz::UTC);
    let at = local.and_local_timezone(zone).earliest()?;
    Some(Timestamp::from_micros(at.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_up_late_is_told_and_nothing_is_told_twice() {
        let start = Timestamp::from_millis(1_767_225_600_000);
        let mut watch = Watch::since(start);
        assert!(watch.take("500".into(), Some(start)));
        assert!(watch.take("499".into(), Some(start)) && !watch.take("500".into(), Some(start)));
        assert!(!watch.take("501".into(), Some(start - TimeSpan::from_secs(121))), "before");
        watch.advance(Some("99".into()));
        watch.advance(Some("100".into()));
        watch.advance(Some("98".into()));
        assert_eq!(watch.cursor.as_deref(), Some("100"));
    }

    #[test]
    fn times_of_upstreams_are_read_in_every_form() {
        let at = Some(Timestamp::from_millis(1_767_225_600_000));
        let shanghai = "Asia/Shanghai".parse().ok();
        for text in [
            "2026-01-01T00:00:00Z",
            "1767225600",
            "1767225600000",
            "2026-01-01 08:00:00",
            "2026/01/01 08:00:00",
        ] {
            assert_eq!(parse_time(text, shanghai), at, "{text}");
        }
        assert_eq!(parse_time("yesterday", None), None);
    }
}
