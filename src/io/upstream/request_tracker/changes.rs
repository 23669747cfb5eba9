//! What people do at Request Tracker: who takes a ticket, and what becomes of it.
//!
//! Its transactions are numbered in the order in which they begin, and may show up a little out of
//! it: each look goes back over the last numbers and leaves out what it has told. What was done
//! while the gateway was down is found by its time, which Request Tracker compares in the zone of
//! the token's user: the search takes a day more, and the time in the answer decides.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value as Json;

use super::super::Change;
use super::super::http::{Answer, Attempt};
use super::{RequestTracker, id};
use crate::engine::types::job::Outcome;
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Numbers that are looked at again.
const OVERLAP: u64 = 100;
/// Time before the start that is looked at again, for clocks that differ.
const OVERLAP_TIME: TimeSpan = TimeSpan::from_secs(120);
/// What the zones of two clocks may differ by, and more.
const ZONES: TimeSpan = TimeSpan::from_secs(26 * 3_600);
/// Transactions of one answer.
const PAGE: usize = 100;
/// Answers that one look reads; the next one goes on.
const PAGES_MAX: usize = 20;
/// Who owns what nobody has taken.
const NOBODY: &str = "Nobody";
/// Who does what its own rules do.
const ITSELF: &str = "RT_System";

/// How far the transactions of an upstream have been read.
#[derive(Clone, Debug)]
pub struct Watch {
    since: Timestamp,
    last: Option<u64>,
    seen: BTreeSet<u64>,
}

impl Watch {
    /// From a time on.
    pub fn since(since: Timestamp) -> Watch {
        Watch { since: since - OVERLAP_TIME, last: None, seen: BTreeSet::new() }
    }

    /// The first number that is not looked at again.
    fn floor(&self) -> Option<u64> {
        self.last.map(|last| last.saturating_sub(OVERLAP))
    }

    /// True for a transaction that was not told yet.
    fn take(&mut self, number: u64, at: Option<Timestamp>) -> bool {
        self.last = self.last.max(Some(number));
        at.is_some_and(|at| at >= self.since) && self.seen.insert(number)
    }

    fn forget(&mut self) {
        if let Some(floor) = self.floor() {
            self.seen = self.seen.split_off(&floor);
        }
    }
}

impl RequestTracker {
    /// What people have done since the last look, in order.
    pub async fn changes(
        &self,
        watch: &mut Watch,
        attempt: &mut Attempt,
    ) -> Result<Vec<Change>, Outcome> {
        let mut changes = Vec::new();
        // A look that fails in the middle is made again as a whole.
        let mut next = watch.clone();
        let mut after = next.floor();
        for _ in 0..PAGES_MAX {
            let page = self.transactions(next.since, after, attempt).await?;
            for transaction in &page {
                let Some(number) = id(&transaction["id"]).and_then(|id| id.parse().ok()) else {
                    continue;
                };
                after = after.max(Some(number));
                let at = transaction["Created"].as_str().and_then(Timestamp::parse_rfc3339);
                if next.take(number, at) {
                    changes.extend(self.change_of(transaction, attempt).await?);
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        next.forget();
        *watch = next;
        Ok(changes)
    }

    async fn transactions(
        &self,
        since: Timestamp,
        after: Option<u64>,
        attempt: &mut Attempt,
    ) -> Result<Vec<Json>, Outcome> {
        let from = match after {
            Some(number) => format!("id > {number}"),
            None => format!("Created > '{}'", (since - ZONES).to_chrono().format("%F %T")),
        };
        let query = format!(
            "ObjectType = 'RT::Ticket' AND Creator != '__CurrentUser__' AND {from} \
             AND ( Type = 'Status' OR ( Type = 'Set' AND Field = 'Owner' ) )"
        );
        let page = PAGE.to_string();
        let query = [
            ("query", query.as_str()),
            ("fields", "Type,NewValue,Creator,Created,ObjectId"),
            ("orderby", "id"),
            ("order", "ASC"),
            ("per_page", &page),
        ];
        let answer =
            self.http.send(attempt, Method::GET, "transactions", &query, None, None).await?;
        let Answer { body, .. } = answer.success()?;
        Ok(body["items"].as_array().cloned().unwrap_or_default())
    }

    /// What a transaction says of its ticket; `None` when it says nothing to us.
    async fn change_of(
        &self,
        transaction: &Json,
        attempt: &mut Attempt,
    ) -> Result<Option<Change>, Outcome> {
        let Some(ticket) = id(&transaction["ObjectId"]) else { return Ok(None) };
        let by = transaction["Creator"]["id"].as_str().unwrap_or("somebody").to_owned();
        let status = if transaction["Type"].as_str() == Some("Status") {
            let status = transaction["NewValue"].as_str().and_then(meaning);
            // Its own rules open a ticket when a customer writes: nobody has taken it by that.
            status.filter(|status| *status != TicketStatus::Accepted || by != ITSELF)
        } else {
            let path = format!("ticket/{ticket}");
            let answer = self.http.send(attempt, Method::GET, &path, &[], None, None).await?;
            let owner = answer.success()?.body["Owner"]["id"].as_str().map(str::to_owned);
            owner.filter(|owner| owner != NOBODY).map(|_| TicketStatus::Accepted)
        };
        Ok(status.map(|status| Change { ticket, status, by }))
    }
}

/// The states of its default lifecycle in our words; `new` is nobody's doing.
fn meaning(status: &str) -> Option<TicketStatus> {
    match status {
        "open" => Some(TicketStatus::Accepted),
        "stalled" => Some(TicketStatus::OnHold),
        "resolved" => Some(TicketStatus::Resolved),
        "rejected" => Some(TicketStatus::Rejected),
        "deleted" => Some(TicketStatus::Cancelled),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_shows_up_late_is_told_and_none_is_told_twice() {
        let start = Timestamp::from_millis(1_767_225_600_000);
        let mut watch = Watch::since(start);
        assert!(watch.take(500, Some(start)));
        watch.forget();
        assert_eq!(watch.floor(), Some(400));
        assert!(watch.take(499, Some(start)) && !watch.take(500, Some(start)));
        assert!(!watch.take(501, Some(start - TimeSpan::from_secs(121))), "before the start");
        assert!(watch.take(700, Some(start)));
        watch.forget();
        assert_eq!(watch.seen.len(), 1, "what is not looked at again is forgotten");
    }
}
