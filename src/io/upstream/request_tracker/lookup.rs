//! Finding again what may have been sent, and the proof that it can be found.
//!
//! Request Tracker drops a custom field that it does not know, or that the token's user may not
//! set, and says nothing. A ticket without its key cannot be looked up, so that a create whose
//! answer was lost would be sent twice. Hence nothing is opened in a queue before the field was
//! seen there, every new ticket is searched for by its key, and after one that was not found
//! nothing more is opened until its key has been written after all.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::super::http::{Answer, Attempt, rejected};
use super::{RequestTracker, id};
use crate::engine::types::job::Outcome;
use crate::io::clock;

/// How long a search may be behind what was written.
const SETTLE: Duration = Duration::from_secs(2);
/// Attachments of a ticket that a look-up for a comment reads.
const ATTACHMENTS_MAX: &str = "100";

/// What is known of the look-up in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The field is there and the search understands it.
    Listed,
    /// A ticket was found by its key.
    Found,
    /// This ticket was opened and cannot be found by its key.
    Lost { ticket: String, key: String },
}

impl RequestTracker {
    /// Lets a create go only where it can be looked up; true when that is proven by a ticket.
    pub(super) async fn guard(&self, queue: &str, attempt: &mut Attempt) -> Result<bool, Outcome> {
        let mut proofs = self.proofs.lock().await;
        // Requests of this count, but what they change is not what the call is about.
        let mut aside = Attempt::default();
        let proof = match proofs.get(queue) {
            Some(Proof::Found) => Ok(Proof::Found),
            Some(Proof::Listed) => Ok(Proof::Listed),
            Some(Proof::Lost { ticket, key }) => self.recover(ticket, key, &mut aside).await,
            None => self.canary(queue, &mut aside).await,
        };
        attempt.requests += aside.requests;
        let proof = proof?;
        let proven = proof == Proof::Found;
        proofs.insert(queue.to_owned(), proof);
        Ok(proven)
    }

    /// The queue has the field, and a search by a key that no ticket has finds none.
    async fn canary(&self, queue: &str, attempt: &mut Attempt) -> Result<Proof, Outcome> {
        let field = &self.key_field;
        let path = format!("queue/{}", segment(queue));
        let answer = self.http.send(attempt, Method::GET, &path, &[], None, None).await?;
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) {
            return Err(rejected(&format!(
                "there is no queue `{queue}`, or the token's user lacks the right SeeQueue on it"
            )));
        }
        let Answer { body, .. } = answer.success()?;
        let mut fields = body["TicketCustomFields"].as_array().into_iter().flatten();
        if !fields.any(|known| known["name"].as_str() == Some(field)) {
            return Err(held(&format!(
                "queue `{queue}` has no custom field `{field}` for tickets, or the token's user \
                 lacks the right SeeCustomField; add it there or set `key_field`"
            )));
        }
        let nobody = format!("canary-{}", clock::now().micros());
        let hits = self.search(&self.by_key(&nobody), attempt).await?;
        if !hits.is_empty() {
            return Err(held(&format!(
                "a search for a key that no ticket has finds {} tickets; set `key_field` to a \
                 custom field that can be searched",
                hits.len()
            )));
        }
        Ok(Proof::Listed)
    }

    /// Writes the key of a lost ticket once more.
    async fn recover(
        &self,
        ticket: &str,
        key: &str,
        attempt: &mut Attempt,
    ) -> Result<Proof, Outcome> {
        let change = json!({ "CustomFields": { &self.key_field: key } });
        let path = format!("ticket/{ticket}");
        self.http.send(attempt, Method::PUT, &path, &[], None, Some(&change)).await?.success()?;
        match self.find(key, attempt).await? {
            Some(_) => {
                tracing::info!(ticket, "Request Tracker keeps our keys now; tickets open again.");
                Ok(Proof::Found)
            }
            None => Err(held(&self.lost(ticket))),
        }
    }

    /// Searches for a ticket that an earlier attempt may have opened just now.
    pub(super) async fn find_settled(
        &self,
        key: &str,
        attempt: &mut Attempt,
    ) -> Result<Option<String>, Outcome> {
        let found = self.find(key, attempt).await?;
        if found.is_some() {
            return Ok(found);
        }
        self.http.pause(SETTLE).await;
        self.find(key, attempt).await
    }

    /// Searches for a ticket that was just opened.
    pub(super) async fn read_back(
        &self,
        queue: &str,
        ticket: &str,
        key: &str,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        let proof = if self.find_settled(key, attempt).await?.is_some() {
            Proof::Found
        } else {
            tracing::error!(ticket, "Tickets to Request Tracker are held: {}.", self.lost(ticket));
            Proof::Lost { ticket: ticket.to_owned(), key: key.to_owned() }
        };
        self.proofs.lock().await.insert(queue.to_owned(), proof);
        Ok(())
    }

    fn lost(&self, ticket: &str) -> String {
        let field = &self.key_field;
        format!(
            "ticket {ticket} was opened and is not found by its key in `{field}`; give the \
             token's user SeeCustomField, ModifyCustomField, SetInitialCustomField and ShowTicket"
        )
    }

    /// The ticket that carries our key. Every hit is compared here: a search that was not
    /// understood must not adopt somebody else's ticket.
    pub(super) async fn find(
        &self,
        key: &str,
        attempt: &mut Attempt,
    ) -> Result<Option<String>, Outcome> {
        let hits = self.search(&self.by_key(key), attempt).await?;
        let ours = hits.iter().filter(|hit| self.keys(hit).any(|found| found == key));
        Ok(ours.filter_map(|hit| id(&hit["id"])).next())
    }

    /// Refuses to go on where an earlier attempt may have opened a ticket that lost its key: one
    /// of the same subject, opened by us, without any key.
    pub(super) async fn no_lost_twin(
        &self,
        queue: &str,
        subject: &str,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        let query = format!(
            "Queue = {} AND Subject = {} AND Creator = '__CurrentUser__'",
            quoted(queue),
            quoted(subject)
        );
        let hits = self.search(&query, attempt).await?;
        let lost = hits.iter().filter(|hit| self.keys(hit).next().is_none());
        match lost.filter_map(|hit| id(&hit["id"])).next() {
            Some(ticket) => Err(held(&format!(
                "ticket {ticket} may be the one, without its key; write the ticket's fingerprint \
                 into its field `{}`, or delete it",
                self.key_field
            ))),
            None => Ok(()),
        }
    }

    fn by_key(&self, key: &str) -> String {
        format!("CF.{{{}}} = {}", self.key_field, quoted(key))
    }

    async fn search(&self, query: &str, attempt: &mut Attempt) -> Result<Vec<Json>, Outcome> {
        let query =
            [("query", query), ("fields", "CustomFields"), ("orderby", "id"), ("order", "ASC")];
        let answer = self.http.send(attempt, Method::GET, "tickets", &query, None, None).await?;
        items(answer.success()?.body)
    }

    /// The keys that a ticket carries.
    pub(super) fn keys<'a>(&'a self, ticket: &'a Json) -> impl Iterator<Item = &'a str> {
        let fields = ticket["CustomFields"].as_array().into_iter().flatten();
        let ours = fields.filter(|field| field["name"].as_str() == Some(&self.key_field));
        ours.flat_map(|field| field["values"].as_array().into_iter().flatten())
            .filter_map(Json::as_str)
    }

    pub(super) async fn has_comment(
        &self,
        ticket: &str,
        subject: &str,
        attempt: &mut Attempt,
    ) -> Result<bool, Outcome> {
        let path = format!("ticket/{ticket}/attachments");
        let query = [
            ("fields", "Subject"),
            ("per_page", ATTACHMENTS_MAX),
            ("orderby", "id"),
            ("order", "DESC"),
        ];
        let answer = self.http.send(attempt, Method::GET, &path, &query, None, None).await?;
        let items = items(answer.success()?.body)?;
        Ok(items.iter().any(|item| item["Subject"].as_str() == Some(subject)))
    }
}

/// The hits of a search. An answer without a list says nothing: it must not pass for none.
fn items(mut body: Json) -> Result<Vec<Json>, Outcome> {
    let Some(Json::Array(items)) = body.get_mut("items").map(Json::take) else {
        return Err(Outcome::Unknown {
            reason: "Request Tracker answered a search without a list".to_owned(),
        });
    };
    Ok(items)
}

/// Held until somebody mends what is wrong; the outbox tries again by itself.
fn held(why: &str) -> Outcome {
    Outcome::Later { reason: format!("held, since it could be sent twice: {why}"), after: None }
}

/// A text in a query.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_list_does_not_pass_for_a_search_that_found_nothing() {
        assert_eq!(items(json!({ "items": [] })), Ok(Vec::new()));
        for answer in [json!({}), json!([]), json!("ok"), Json::Null, json!({ "items": null })] {
            assert!(matches!(items(answer), Err(Outcome::Unknown { .. })));
        }
    }
}
