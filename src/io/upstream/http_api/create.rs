//! Opening a ticket once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::Value;

use super::HttpApi;
use super::answer::Answer;
use super::call::{About, Failure, scalar_value};
use super::request::File;
use super::spec::{Length, Once, Op};
use super::template::Names;
use crate::engine::types::job::{Call, Draft, Outcome};
use crate::engine::types::severity::Severity;
use crate::engine::types::text::{cut_bytes, cut_chars};
use crate::engine::types::time::TimeSpan;
use crate::io::upstream::http::Attempt;
use crate::io::upstream::plot;

impl HttpApi {
    /// Opens a ticket, or finds the one that an earlier attempt has opened.
    pub(super) async fn open(
        &self,
        call: &Call,
        draft: &Draft,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Outcome> {
        let key = call.fingerprint.0.as_str();
        let queue = self.queue(draft.queue.as_deref());
        let critical = call.severity == Severity::Critical;
        let about =
            About { critical, key: Some(call.idempotency_key.as_str()), ..About::default() };
        let (title, _) = cut(&draft.title, self.api.limits.title);
        let (body, rest) = cut(&draft.body, self.api.limits.body);
        let mut names = self.names_of_draft(call, draft, &queue, title, body);
        let plot = self.drawn(draft);
        names.insert("plot".to_owned(), plot_names(plot.as_ref()));
        let proven = self.guard(&queue, about, attempt).await?;
        if let Some(age) = call.in_doubt
            && matches!(self.once, Once::Search | Once::Scan)
        {
            if let Some(external) = self.find(key, &queue, about, attempt).await? {
                self.attach_rest(call, draft, rest, &external, attempt).await?;
                return Ok(Outcome::Done { external, found: true });
            }
            self.wait_for_search(age)?;
            if !proven {
                self.no_lost_twin(&names, about, attempt).await?;
            }
        }
        let file = About { file: plot.as_ref(), ..about };
        let answer =
            match self.run(Op::Create, &mut names, file, call.in_doubt.is_some(), attempt).await {
                Ok(answer) => answer,
                Err(Failure::Duplicate { answer, reason }) => {
                    return self.adopt(key, &queue, &names, &answer, &reason, attempt).await;
                }
                Err(other) => return Err(other.outcome()),
            };
        let external = self.opened_id(answer.as_ref(), &names).ok_or_else(|| Outcome::Unknown {
            reason: "the upstream named no ticket; look at `id` of `create`".to_owned(),
        })?;
        self.confirm(&queue, &external, key, about, attempt).await?;
        self.attach_rest(call, draft, rest, &external, attempt).await?;
        Ok(Outcome::Done { external, found: false })
    }

    /// The plot of a ticket, where `create` asks for it.
    fn drawn(&self, draft: &Draft) -> Option<File> {
        let plot = draft.plot.as_ref().filter(|_| self.plots)?;
        let (name, kind) = (plot::NAME.to_owned(), plot::KIND.to_owned());
        Some(File { name, kind, content: plot::png(plot)? })
    }

    fn opened_id(&self, answer: Option<&Answer>, names: &Names) -> Option<String> {
        let id = self.api.operations.get(&Op::Create)?.id.as_ref()?;
        id.first(answer.unwrap_or(&Answer::default()), &self.with_constants(names))
    }

    /// Puts a create off that was not found, until a search must know what was sent so long ago.
    fn wait_for_search(&self, age: TimeSpan) -> Result<(), Outcome> {
        let lag = self.search_lag();
        if age >= lag {
            return Ok(());
        }
        let reason = format!("not found so far; the search of the upstream may be {lag} behind");
        Err(Outcome::Held { reason, after: Some(lag - age) })
    }

    /// The upstream says that it is there already.
    async fn adopt(
        &self,
        key: &str,
        queue: &Value,
        names: &Names,
        answer: &Answer,
        reason: &str,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Outcome> {
        let about = About::default();
        let mut external = None;
        if self.api.operations.contains_key(&Op::Find) {
            external = self.find(key, queue, about, attempt).await?;
        }
        if external.is_none() {
            let id = self.api.create.duplicate_id.as_ref();
            external = id.and_then(|id| id.first(answer, &self.with_constants(names)));
        }
        if external.is_none() {
            let own = self.api.operations.get(&Op::Create).and_then(|create| create.id.as_ref());
            let own = own.filter(|id| id.from == super::value::From::Own);
            external = own.map(|_| key.to_owned());
        }
        match external {
            Some(external) => Ok(Outcome::Done { external, found: true }),
            // Its search may be behind.
            None if self.api.operations.contains_key(&Op::Find) => Err(Outcome::Held {
                reason: format!("{reason}; it is there already and not found so far"),
                after: Some(self.api.create.search_lag),
            }),
            None => Err(Outcome::Rejected {
                reason: format!("{reason}; it is there already: set `duplicate_id`, or add `find`"),
            }),
        }
    }

    /// Attaches the whole text where it was too long.
    async fn attach_rest(
        &self,
        call: &Call,
        draft: &Draft,
        cut: bool,
        ticket: &str,
        attempt: &mut Attempt,
    ) -> Result<(), Outcome> {
        if !cut || !self.api.operations.contains_key(&Op::Attach) {
            return Ok(());
        }
        let file = File {
            name: format!("faultgate-{}.txt", call.fingerprint.0),
            kind: "text/plain; charset=utf-8".to_owned(),
            content: draft.body.clone().into_bytes(),
        };
        let mut names = self.names_of_call(call, ticket);
        names.insert(
            "file".to_owned(),
            Value::from_pairs([
                ("name", Value::from(file.name.as_str())),
                ("type", Value::from(file.kind.as_str())),
                ("content", Value::from(draft.body.as_str())),
                ("size", Value::from(file.content.len())),
            ]),
        );
        let about = About { file: Some(&file), ..About::default() };
        match self.run(Op::Attach, &mut names, about, call.in_doubt.is_some(), attempt).await {
            Ok(_) => Ok(()),
            // The ticket is there and says what matters: it is not given up for its attachment.
            Err(failure) => match failure.outcome() {
                Outcome::Rejected { reason } | Outcome::Gone { reason } => {
                    tracing::warn!(ticket, reason, "The rest of a long text is not attached.");
                    Ok(())
                }
                other @ (Outcome::Done { .. }
                | Outcome::Later { .. }
                | Outcome::Held { .. }
                | Outcome::Unknown { .. }) => Err(other),
            },
        }
    }

    /// A queue in the upstream's words.
    pub(super) fn queue(&self, queue: Option<&str>) -> Value {
        let queue = queue.unwrap_or(&self.api.queue);
        self.api.queues.get(queue).map_or_else(|| Value::from(queue), scalar_value)
    }

    fn names_of_draft(
        &self,
        call: &Call,
        draft: &Draft,
        queue: &Value,
        title: &str,
        body: &str,
    ) -> Names {
        let mut names = key_names(call);
        let mut add = |name: &str, value: Value| names.insert(name.to_owned(), value);
        add("title", Value::from(title));
        add("body", Value::from(body));
        add("severity", Value::from(draft.severity.word()));
        add("priority", self.priority(draft.severity));
        add("safety", Value::from(draft.safety));
        add("queue", queue.clone());
        add("device", Value::from(draft.device.as_str()));
        add("rule", Value::from(draft.rule.as_str()));
        add("site", Value::from(draft.site.as_str()));
        add("raised_at", Value::from(draft.raised_at.to_string()));
        names
    }

    /// Our severity in the upstream's words; the word itself where none are given.
    pub(super) fn priority(&self, severity: Severity) -> Value {
        let found = self.api.severity.get(&severity);
        found.map_or_else(|| Value::from(severity.word()), scalar_value)
    }

    /// What every effect on a ticket may name.
    pub(super) fn names_of_call(&self, call: &Call, ticket: &str) -> Names {
        let mut names = key_names(call);
        names.insert("ticket".to_owned(), Value::from(ticket));
        names
    }
}

/// What `create` names of the plot; none where there is none.
fn plot_names(plot: Option<&File>) -> Value {
    let Some(File { name, kind, content }) = plot else { return Value::from(()) };
    Value::from_pairs([
        ("name", Value::from(name.as_str())),
        ("type", Value::from(kind.as_str())),
        ("base64", Value::from(STANDARD.encode(content))),
        ("size", Value::from(content.len())),
    ])
}

fn key_names(call: &Call) -> Names {
    let key = call.fingerprint.0.as_str();
    Names::from([
        ("key".to_owned(), Value::from(key)),
        ("fingerprint".to_owned(), Value::from(key)),
        ("idempotency_key".to_owned(), Value::from(call.idempotency_key.as_str())),
        ("mark".to_owned(), Value::from(format!("[faultgate {}]", call.idempotency_key))),
    ])
}

/// A text of at most this length, and whether it was longer.
pub(super) fn cut(text: &str, most: Option<Length>) -> (&str, bool) {
    let short = match most {
        Some(Length::Chars(most)) => cut_chars(text, most),
        Some(Length::Bytes(most)) => cut_bytes(text, most),
        None => text,
    };
    (short, short.len() < text.len())
}
