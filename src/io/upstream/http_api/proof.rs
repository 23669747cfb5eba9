//! Finding again what may have been sent, and the proof that it can be found.
//!
//! Many systems drop a field that they do not know, ignore a filter that they do not know, or match
//! parts of words, and say nothing. A ticket without its key cannot be looked up, so that a create
//! whose answer was lost would be sent twice; a search that was not understood would adopt somebody
//! else's ticket. Hence the key of every hit is compared here, a search for a key that no ticket has
//! must find none before anything is opened, and a new ticket is searched for by its key: after one
//! that was not found nothing more is opened until its key has been written after all.

use minijinja::Value;
use serde_json::Value as Json;

use super::HttpApi;
use super::call::{About, Failure};
use super::spec::{Confirm, List, Once, Op};
use super::template::{Escape, Names};
use crate::engine::types::job::Outcome;
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::upstream::http::Attempt;

/// How long a search may be behind of which nothing is said.
const SETTLE: TimeSpan = TimeSpan::from_secs(2);
/// Longest wait for a search inside a call.
const SETTLE_MAX: TimeSpan = TimeSpan::from_secs(10);

/// What is known of the look-up in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The queue is there and the search finds nothing where nothing is.
    Ready,
    /// A ticket was found by its key.
    Found,
    /// This ticket was opened and cannot be found by its key.
    Lost { ticket: String, key: String },
}

impl HttpApi {
    /// Lets a create go only where it can be looked up; true when that is proven by a ticket.
    pub(super) async fn guard(
        &self,
        queue: &Value,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<bool, Outcome> {
        let mut proofs = self.proofs.lock().await;
        // Requests of this count, but what they change is not what the call is about.
        let mut aside = attempt.aside();
        let name = queue.to_string();
        let proof = match proofs.get(&name) {
            Some(Proof::Found) => Ok(Proof::Found),
            Some(Proof::Ready) => Ok(Proof::Ready),
            Some(Proof::Lost { ticket, key }) => {
                self.recover(queue, ticket, key, about, &mut aside).await
            }
            None => self.canary(queue, about, &mut aside).await,
        };
        attempt.join(&aside);
        let proof = proof?;
        let proven = proof == Proof::Found;
        proofs.insert(name, proof);
        Ok(proven)
    }

    /// The queue is ready, and a search for a key that no ticket has finds none.
    async fn canary(
        &self,
        queue: &Value,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Proof, Outcome> {
        let mut names = Names::from([("queue".to_owned(), queue.clone())]);
        let about = About { reads: true, key: None, ..about };
        let ready = self.run(Op::Ready, &mut names, about, false, attempt).await;
        ready.map_err(Failure::outcome)?;
        if self.once != Once::Search {
            return Ok(Proof::Ready);
        }
        let nobody = format!("canary{}", clock::now().micros());
        let names = find_names(&nobody, queue);
        let hits = self.list(Op::Find, &names, about, attempt).await;
        let hits = hits.map_err(Failure::outcome)?;
        // A search that answers with one object and no id in it has found nothing.
        let hits = hits.iter().filter(|hit| self.id_of(Op::Find, hit, &names).is_some());
        match hits.count() {
            0 => Ok(Proof::Ready),
            found => Err(held(&format!(
                "a search for a key that no ticket has finds {found} tickets; the upstream does \
                 not know the filter of `find`: look at its query, and at `key_field`"
            ))),
        }
    }

    /// Writes the key of a lost ticket once more.
    async fn recover(
        &self,
        queue: &Value,
        ticket: &str,
        key: &str,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Proof, Outcome> {
        let mut names = find_names(key, queue);
        names.insert("ticket".to_owned(), Value::from(ticket));
        let about = About { key: None, ..about };
        self.run(Op::Rekey, &mut names, about, false, attempt).await.map_err(Failure::outcome)?;
        match self.find(key, queue, about, attempt).await? {
            Some(_) => {
                tracing::info!(ticket, "The upstream keeps our keys now; tickets open again.");
                Ok(Proof::Found)
            }
            None => Err(held(&self.lost(ticket))),
        }
    }

    /// Searches for a ticket that was just opened, where that is asked for.
    pub(super) async fn confirm(
        &self,
        queue: &Value,
        ticket: &str,
        key: &str,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        let name = queue.to_string();
        let wanted = match self.api.create.confirm {
            Confirm::Always => true,
            Confirm::First => self.proofs.lock().await.get(&name) != Some(&Proof::Found),
            Confirm::Never => false,
        };
        let searches = matches!(self.once, Once::Search | Once::Scan);
        if !wanted || !searches || self.search_lag() > SETTLE_MAX {
            return Ok(());
        }
        let about = About { key: None, ..about };
        let mut found = self.find(key, queue, about, attempt).await?;
        if found.is_none() && self.settle().await {
            found = self.find(key, queue, about, attempt).await?;
        }
        let proof = if found.is_some() {
            Proof::Found
        } else {
            let upstream = &self.name;
            tracing::error!(upstream, ticket, "Tickets are held: {}.", self.lost(ticket));
            Proof::Lost { ticket: ticket.to_owned(), key: key.to_owned() }
        };
        self.proofs.lock().await.insert(name, proof);
        Ok(())
    }

    fn lost(&self, ticket: &str) -> String {
        let field = &self.api.key_field;
        let field = if field.is_empty() { String::new() } else { format!(" in `{field}`") };
        let steps = self.api.operations.get(&Op::Find).map(|find| find.steps.as_slice());
        let hint = steps.and_then(|steps| steps.last()).and_then(|step| step.hint.as_ref());
        let hint = hint.and_then(|hint| hint.render(Escape::Raw, &self.caller.constants).ok());
        let hint = hint.unwrap_or_else(|| {
            "look whether `create` writes the key where `find` searches for it".to_owned()
        });
        format!("ticket {ticket} was opened and is not found by its key{field}; {hint}")
    }

    /// How long after a create a search must know the ticket.
    pub(super) fn search_lag(&self) -> TimeSpan {
        self.api.create.search_lag.max(SETTLE)
    }

    /// Waits until a search must know what was opened just now, where that is soon; true then.
    pub(super) async fn settle(&self) -> bool {
        let lag = self.search_lag();
        if lag > SETTLE_MAX {
            return false;
        }
        self.caller.pause(lag.to_std()).await;
        true
    }

    /// The ticket that carries our key.
    pub(super) async fn find(
        &self,
        key: &str,
        queue: &Value,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Option<String>, Outcome> {
        let names = find_names(key, queue);
        let about = About { reads: true, key: None, ..about };
        let hits = self.list(Op::Find, &names, about, attempt).await.map_err(Failure::outcome)?;
        let all = self.with_constants(&names);
        let Some(find) = self.api.operations.get(&Op::Find) else { return Ok(None) };
        let ours = hits.iter().filter(|hit| carries(&find.list, hit, key, &all));
        Ok(ours.filter_map(|hit| self.id_of(Op::Find, hit, &names)).next())
    }

    /// Refuses to go on where an earlier attempt may have opened a ticket that lost its key.
    pub(super) async fn no_lost_twin(
        &self,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        let Some(twin) = self.api.operations.get(&Op::Twin) else { return Ok(()) };
        let about = About { reads: true, key: None, ..about };
        let hits = self.list(Op::Twin, names, about, attempt).await.map_err(Failure::outcome)?;
        let all = self.with_constants(names);
        let keyless = |hit: &&Json| {
            let keys = twin.list.key.as_ref().map(|key| key.all_of_item(hit, &all));
            keys.unwrap_or_default().iter().all(String::is_empty)
        };
        let lost = hits.iter().filter(keyless);
        match lost.filter_map(|hit| self.id_of(Op::Twin, hit, names)).next() {
            Some(ticket) => Err(held(&format!(
                "ticket {ticket} may be the one, without its key; write the ticket's fingerprint \
                 into its field `{}`, or delete it",
                self.api.key_field
            ))),
            None => Ok(()),
        }
    }

    /// The id of an item.
    pub(super) fn id_of(&self, op: Op, item: &Json, names: &Names) -> Option<String> {
        let id = self.api.operations.get(&op)?.id.as_ref()?;
        id.first_of_item(item, &self.with_constants(names))
    }
}

/// What a search may name.
pub(super) fn find_names(key: &str, queue: &Value) -> Names {
    Names::from([
        ("key".to_owned(), Value::from(key)),
        ("fingerprint".to_owned(), Value::from(key)),
        ("queue".to_owned(), queue.clone()),
    ])
}

/// Whether a hit has our key: where the file says, else as a word of any text in it.
pub(super) fn carries(list: &List, hit: &Json, key: &str, names: &Names) -> bool {
    match &list.key {
        Some(place) => place.all_of_item(hit, names).iter().any(|found| found == key),
        None => has_word(hit, key),
    }
}

fn has_word(json: &Json, word: &str) -> bool {
    match json {
        Json::String(text) => text
            .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'))
            .any(|found| found == word),
        Json::Array(items) => items.iter().any(|item| has_word(item, word)),
        Json::Object(members) => members.values().any(|member| has_word(member, word)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Held until somebody mends what is wrong; the outbox tries again by itself.
pub(super) fn held(why: &str) -> Outcome {
    Outcome::Held { reason: format!("held, since it could be sent twice: {why}"), after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hit_with_another_key_is_somebody_elses() {
        let list = List::default();
        let key = "01HZX3";
        for (hit, ours) in [
            (json!({ "subject": "冷柜 [01HZX3]" }), true),
            (json!({ "cf": [{ "value": "01HZX3" }] }), true),
            (json!({ "subject": "冷柜 [01HZX33]" }), false),
            (json!({ "subject": "x01HZX3" }), false),
            (json!({ "subject": "another" }), false),
        ] {
            assert_eq!(carries(&list, &hit, key, &Names::new()), ours, "{hit}");
        }
    }
}
