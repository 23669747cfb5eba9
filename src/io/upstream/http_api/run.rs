//! The steps of an operation, one after another, and the lists that some of them read.

use minijinja::Value;
use serde_json::Value as Json;

use super::HttpApi;
use super::answer::Answer;
use super::call::{About, Failure};
use super::condition::value_of;
use super::filters::from_json;
use super::place::{Place, plain};
use super::spec::{Already, Body, List, Lock, Op, Operation, Paging, PagingStyle, Step};
use super::template::{Escape, Names, Template};
use crate::engine::types::job::Outcome;
use crate::io::upstream::http::Attempt;

/// How often a change is made again after somebody else's.
const LOCK_TRIES: u32 = 3;
/// Pages of an operation that says nothing about pages.
const ONE_PAGE: Paging =
    Paging { style: PagingStyle::Offset, size: 0, pages_max: 1, first: 1, next: None };

impl HttpApi {
    /// Makes the steps; the answer to the last one that was made. A step that may have been made
    /// already (`uncertain`) is looked for first.
    pub(super) async fn run(
        &self,
        op: Op,
        names: &mut Names,
        about: About<'_>,
        uncertain: bool,
        attempt: &mut Attempt,
    ) -> Result<Option<Answer>, Failure> {
        let Some(operation) = self.api.operations.get(&op) else { return Ok(None) };
        let mut last = None;
        for step in &operation.steps {
            if let Some(when) = &step.when {
                let all = self.with_constants(names);
                let holds = when.holds(&all).map_err(|fault| {
                    self.caller.rejected(&format!("`when = \"{}\"`: {}", when.text, fault.message))
                })?;
                if !holds {
                    capture_none(step, names);
                    continue;
                }
            }
            if let Some(already) = step.already.as_ref().filter(|_| uncertain)
                && self.was_made(already, names, about, attempt).await?
            {
                continue;
            }
            if step.optional {
                last = self.try_step(op, step, names, about, attempt).await.or(last);
                continue;
            }
            let answer = match &step.lock {
                Some(lock) => self.locked(op, step, lock, names, about, attempt).await?,
                None => self.caller.step(op, step, names, about, attempt).await?,
            };
            self.capture(step, &answer, names)?;
            last = Some(answer);
        }
        self.verify(operation, names, about, attempt).await?;
        Ok(last)
    }

    /// Makes a step without which the others do as well. It leaves the ticket as it is, so that its
    /// end says nothing of what has become of it.
    async fn try_step(
        &self,
        op: Op,
        step: &Step,
        names: &mut Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Option<Answer> {
        let about = About { reads: true, key: None, ..about };
        let made = match self.caller.step(op, step, names, about, attempt).await {
            Ok(answer) => self.capture(step, &answer, names).map(|()| answer),
            Err(failure) => Err(failure),
        };
        made.inspect_err(|failure| {
            capture_none(step, names);
            let reason = super::super::why(failure.clone().outcome());
            tracing::warn!(upstream = self.name, op = op.word(), reason, "A step is left out.");
        })
        .ok()
    }

    fn capture(&self, step: &Step, answer: &Answer, names: &mut Names) -> Result<(), Failure> {
        if step.capture.is_empty() {
            return Ok(());
        }
        let mut got = captured(names);
        for (name, extract) in &step.capture {
            let all = self.with_constants(names);
            let value = extract.first(answer, &all).ok_or_else(|| Outcome::Unknown {
                reason: format!("the answer has no `{name}` to go on with"),
            })?;
            got.push((name.clone(), Value::from(value)));
        }
        names.insert("got".to_owned(), Value::from_pairs(got));
        Ok(())
    }

    /// Reads the version, and makes the change on it; again when somebody was faster.
    async fn locked(
        &self,
        op: Op,
        step: &Step,
        lock: &Lock,
        names: &mut Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            let before = self.fetch(names, about, attempt).await?;
            let all = self.with_constants(names);
            let version = before.and_then(|answer| lock.version.first(&answer, &all));
            let version = version.ok_or_else(|| Outcome::Later {
                reason: "`lock`: the ticket has no version; look at `version` and `get`".to_owned(),
                after: None,
            })?;
            names.insert("etag".to_owned(), Value::from(version.as_str()));
            let mut step = step.clone();
            if !step.headers.contains_key("If-Match") {
                step.headers.insert("If-Match".to_owned(), Template::ours("{{ etag }}"));
            }
            tries += 1;
            match self.caller.step(op, &step, names, about, attempt).await {
                Err(Failure::Stale { .. }) if tries < LOCK_TRIES => {}
                other => return other,
            }
        }
    }

    /// The ticket as it is.
    pub(super) async fn fetch(
        &self,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Option<Answer>, Failure> {
        let Some(get) = self.api.operations.get(&Op::Get) else { return Ok(None) };
        let mut last = None;
        for step in &get.steps {
            let about = About { reads: true, ..about };
            last = Some(self.caller.step(Op::Get, step, names, about, attempt).await?);
        }
        Ok(last)
    }

    /// Reads back what some upstreams answer with success and do not do.
    async fn verify(
        &self,
        operation: &Operation,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<(), Failure> {
        if operation.verify.is_empty() {
            return Ok(());
        }
        let Some(answer) = self.fetch(names, about, attempt).await? else { return Ok(()) };
        let all = self.with_constants(names);
        for (place, wanted) in &operation.verify {
            let render = |template: &Template| {
                template
                    .render(Escape::Raw, &all)
                    .map_err(|fault| self.caller.rejected(&format!("`verify`: {}", fault.message)))
            };
            let (place, wanted) = (render(place)?, render(wanted)?);
            if wanted.is_empty() {
                continue;
            }
            let found = Place::parse(&place).ok();
            let found = found.and_then(|at| at.first(answer.json.as_ref()?).and_then(plain));
            if found.as_deref() != Some(wanted.as_str()) {
                let found = found.unwrap_or_else(|| "nothing".to_owned());
                let reason = format!(
                    "the upstream answered with success and did not do it: `{place}` is {found}, \
                     not {wanted}"
                );
                return Err(Failure::Ended(self.caller.rejected(&reason)));
            }
        }
        Ok(())
    }

    /// Whether a step has left its mark.
    async fn was_made(
        &self,
        already: &Already,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<bool, Failure> {
        let step = Step {
            query: already.query.clone(),
            ..Step::new("GET", already.path.clone(), Body::None)
        };
        let about = About { reads: true, key: None, ..about };
        let answer = self.caller.step(Op::Get, &step, names, about, attempt).await?;
        let all = self.with_constants(names);
        let list = List { items: Some(already.items.clone()), ..List::default() };
        let items = items(&list, &answer, &all)
            .map_err(|why| Outcome::Unknown { reason: format!("`already`: {why}") })?;
        let render = |template: &Template| template.render(Escape::Raw, &all).unwrap_or_default();
        let (place, mark) = (render(&already.place), render(&already.contains));
        let place = Place::parse(&place).map_err(|why| self.caller.rejected(&why))?;
        let mut texts = items.iter().flat_map(|item| place.all(item)).filter_map(plain);
        Ok(!mark.is_empty() && texts.any(|text| text.contains(&mark)))
    }

    /// The items of an operation that lists, page by page.
    pub(super) async fn list(
        &self,
        op: Op,
        names: &Names,
        about: About<'_>,
        attempt: &mut Attempt,
    ) -> Result<Vec<Json>, Failure> {
        let Some(operation) = self.api.operations.get(&op) else { return Ok(Vec::new()) };
        let paging = operation.list.paging.as_ref().unwrap_or(&ONE_PAGE);
        let mut names = names.clone();
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for page in 0..paging.pages_max.max(1) {
            let at = page_names(paging, page, next.as_deref());
            names.insert("page".to_owned(), at);
            let mut last = None;
            for step in &operation.steps {
                let link = next.as_deref().filter(|_| paging.style == PagingStyle::Link);
                let step = link.map_or_else(|| step.clone(), |link| follow(step, link));
                let answer = self.caller.step(op, &step, &names, about, attempt).await?;
                self.capture(&step, &answer, &mut names)?;
                last = Some(answer);
            }
            let Some(answer) = last else { break };
            let all_names = self.with_constants(&names);
            let items = items(&operation.list, &answer, &all_names)
                .map_err(|why| Outcome::Unknown { reason: format!("{}: {why}", op.word()) })?;
            let count = items.len();
            all.extend(items);
            next = paging.next.as_ref().and_then(|next| next.first(&answer, &all_names));
            let more = match paging.style {
                PagingStyle::Offset | PagingStyle::Number => {
                    count > 0 && count >= paging.size as usize
                }
                PagingStyle::Cursor | PagingStyle::Link => next.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// The names with those that are always there.
    pub(super) fn with_constants(&self, names: &Names) -> Names {
        let mut all = self.caller.constants.clone();
        all.extend(names.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

/// What was captured so far.
fn captured(names: &Names) -> Vec<(String, Value)> {
    let before = names.get("got").cloned().unwrap_or_default();
    let keys = before.try_iter().into_iter().flatten();
    keys.map(|key| (key.to_string(), before.get_item(&key).unwrap_or_default())).collect()
}

/// A step that is left out captures nothing, which later steps may ask.
fn capture_none(step: &Step, names: &mut Names) {
    let none = step.capture.keys().map(|name| (name.clone(), Value::from(())));
    let got = captured(names).into_iter().chain(none);
    names.insert("got".to_owned(), Value::from_pairs(got));
}

fn page_names(paging: &Paging, page: u32, cursor: Option<&str>) -> Value {
    Value::from_pairs([
        ("number", Value::from(paging.first + page)),
        ("offset", Value::from(u64::from(page) * u64::from(paging.size))),
        ("size", Value::from(paging.size)),
        ("cursor", Value::from(cursor.unwrap_or_default())),
    ])
}

/// The request for a page whose address was told.
fn follow(step: &Step, link: &str) -> Step {
    let path = link.replace("{{", "%7B%7B").replace("{%", "%7B%25");
    Step { path: Template::ours(&path), query: Default::default(), ..step.clone() }
}

/// The items of an answer. A list that is not where it should be is an error: taking it for an
/// empty one would open a ticket twice.
pub(super) fn items(list: &List, answer: &Answer, names: &Names) -> Result<Vec<Json>, String> {
    let empty = list.empty_if.as_ref().is_some_and(|empty| empty.holds(answer, names));
    if empty || matches!(answer.status, 204 | 404) {
        return Ok(Vec::new());
    }
    let Some(json) = &answer.json else {
        return Err("the answer is not JSON; look at the path, or set `empty_if`".to_owned());
    };
    let Some(template) = &list.items else { return Ok(vec![json.clone()]) };
    let place = template.render(Escape::Raw, names).map_err(|fault| fault.message)?;
    let found = Place::parse(&place)?.all(json).into_iter().next();
    match found {
        Some(Json::Array(items)) => Ok(items.clone()),
        Some(Json::Object(members)) => Ok(members.values().cloned().collect()),
        Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Bool(_) | Json::Number(_) | Json::String(_)) | None => {
            Err(format!("the answer has no list at `{place}`; look at `items`, or set `empty_if`"))
        }
    }
}

/// What templates of an item name.
pub(super) fn item_names(names: &Names, item: &Json, fetched: Option<&Answer>) -> Names {
    let mut names = names.clone();
    names.insert("item".to_owned(), from_json(item));
    names.insert("fetched".to_owned(), value_of(fetched.and_then(|answer| answer.json.as_ref())));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_missing_is_an_error_and_an_empty_one_is_not() {
        let list = List { items: Some(Template::ours("/issues")), ..List::default() };
        let take = |status, text| items(&list, &Answer::of(status, &[], text), &Names::new());
        assert_eq!(take(200, r#"{"issues": []}"#), Ok(vec![]));
        assert_eq!(take(200, r#"{"issues": null}"#), Ok(vec![]));
        assert_eq!(take(404, "not found"), Ok(vec![]));
        assert!(take(200, r#"{"error": "unknown filter"}"#).is_err());
        assert!(take(200, "<html>").is_err());
        assert_eq!(take(200, r#"{"issues": [{"id": 1}]}"#).map(|items| items.len()), Ok(1));
    }
}
