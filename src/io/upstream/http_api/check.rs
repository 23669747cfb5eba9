//! What cannot be meant, found before anything is called: names that are not there, templates that
//! make no JSON, operations that do not fit each other. Every template is rendered with values that
//! have what device texts may have.

mod names;

use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::Value;
use reqwest::Url;

use super::call::constants;
use super::condition::Condition;
use super::request::{File, Slip, compose};
use super::sign;
use super::spec::{Api, Auth, Body, Confirm, Once, Op, Operation, PartContent, Proof, Step, Text};
use super::template::{Fault, Names, Template, is_built_in};
use super::value::Extract;
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::Place;
use crate::io::upstream::UpstreamConfig;
use names::{ITEM, known, samples};

/// One check: what is checked, and where findings go.
struct Checker<'c> {
    api: &'c Api,
    config: &'c UpstreamConfig,
    place: Place<'c>,
    head: Range<usize>,
    constants: Names,
}

/// Checks a whole API.
pub fn check(api: &Api, config: &UpstreamConfig, place: Place<'_>, head: Range<usize>) {
    let mut constants = constants(config, api);
    let mut secrets: Vec<&str> = api.secrets.keys().map(String::as_str).collect();
    if config.token.is_some() {
        secrets.push("token");
    }
    let secrets = secrets.into_iter().map(|name| (name, Value::from("s3cr\"et")));
    constants.insert("secrets".to_owned(), Value::from_pairs(secrets));
    constants.insert("now".to_owned(), Value::from("2026-01-31T08:00:00Z"));
    let checker = Checker { api, config, place, head, constants };
    checker.fit();
    checker.warn();
    for (op, operation) in &api.operations {
        checker.operation(*op, operation);
    }
    checker.rest();
}

impl Checker<'_> {
    /// Operations that need each other.
    fn fit(&self) {
        let has = |op: Op| self.api.operations.contains_key(&op);
        let error = |message: &str, hint: &str| {
            self.place.error(self.head.clone(), "upstream", message, hint);
        };
        if !has(Op::Create) {
            error("`create` is missing", "add [upstream.create] with `request`, `body` and `id`");
        }
        for (op, operation) in &self.api.operations {
            let needs_id = matches!(op, Op::Create | Op::Find | Op::Twin | Op::Changes);
            if needs_id && operation.id.is_none() {
                let message = format!("`{}` does not say where the ticket's id is", op.word());
                error(&message, "add `id = \"/id\"` (or \"location\", or \"own\" for none)");
            }
            if !operation.verify.is_empty() && !has(Op::Get) {
                let message = format!("`verify` of `{}` needs `get`", op.word());
                error(&message, "add [upstream.get]");
            }
            let skipped = |step: &&Step| step.already.is_some() && !step.capture.is_empty();
            if operation.steps.iter().any(|step| skipped(&step)) {
                let message = format!("`already` and `capture` of one step of `{}`", op.word());
                error(&message, "a step that was made already captures nothing: keep one of them");
            }
            let locked = operation.steps.iter().any(|step| step.lock.is_some());
            if locked && !has(Op::Get) {
                let message = format!("`lock` of `{}` needs `get`", op.word());
                error(&message, "add [upstream.get]");
            }
        }
        if matches!(self.api.once(), Once::Search | Once::Scan) && !has(Op::Find) {
            error("`once` needs `find`", "add [upstream.find], or choose another `by`");
        }
        if let Some(changes) = self.api.operations.get(&Op::Changes) {
            if changes.list.status.is_none() {
                error("`changes` does not say where the status is", "add `status = \"/status\"`");
            }
            if changes.list.fetch_if.is_some() && !has(Op::Get) {
                error("`fetch_if` needs `get`", "add [upstream.get]");
            }
        }
        if let Some(webhook) = &self.api.webhook {
            if webhook.fetch && !has(Op::Get) {
                error("`fetch` of `webhook` needs `get`", "add [upstream.get]");
            }
            if !webhook.fetch && matches!(webhook.proof, Proof::SecretPath(_)) {
                let hint = "leave `fetch` out: what is not signed is a hint, never believed";
                error("a webhook with only a secret path must fetch", hint);
            }
            if webhook.status.is_none() {
                error("`webhook` does not say where the status is", "add `status = \"/status\"`");
            }
        }
    }

    /// What works, and not as well as it could.
    fn warn(&self) {
        let api = self.api;
        let warning = |code, message: &str, hint: &str| {
            self.place.warning(self.head.clone(), code, message, hint);
        };
        if !api.is_exactly_once() {
            let message = format!(
                "upstream `{}` is not exactly once: a crash in the wrong moment can double a ticket",
                self.config.name
            );
            let hint = "add [upstream.find], or [upstream.once] with `by`; `by = \"local\"` says \
                        that there is nothing";
            warning("not-exactly-once", &message, hint);
        }
        for op in [Op::Comment, Op::Escalate, Op::Resolve, Op::Reopen] {
            if !api.operations.contains_key(&op) && !api.lacks.contains(&op) {
                let message = format!("upstream `{}` has no `{}`", self.config.name, op.word());
                let comment = api.operations.contains_key(&Op::Comment);
                let instead = if comment { "a comment is added instead" } else { "it is left out" };
                let hint = format!("{instead}; write `{} = \"none\"` if that is meant", op.word());
                warning("missing-operation", &message, &hint);
            }
        }
        let find = api.operations.get(&Op::Find);
        if find.is_some_and(|find| find.list.key.is_none()) {
            let message = "`find` does not say where the key is in a hit";
            let hint =
                "any text of the hit that has the key as a word counts; add `key = \"/...\"`";
            warning("unnamed-key", message, hint);
        }
        let late = crate::engine::types::time::TimeSpan::from_secs(10);
        if api.create.confirm == Confirm::Always && api.create.search_lag > late {
            let message = "`confirm` cannot wait for a search that is more than 10 s behind";
            warning("search-lag", message, "leave `confirm` out");
        }
    }

    fn operation(&self, op: Op, operation: &Operation) {
        let mut names: BTreeSet<String> = known(op).iter().map(|name| (*name).to_owned()).collect();
        for step in &operation.steps {
            if step.lock.is_some() {
                names.insert("etag".to_owned());
            }
            self.step(op, step, &names);
            names.extend(step.capture.keys().map(|name| format!("got.{name}")));
        }
        let places =
            |from: &Option<Extract>| from.iter().filter_map(Extract::template).cloned().collect();
        let list = &operation.list;
        let extracts: [Vec<Template>; 8] = [
            places(&operation.id),
            places(&list.key),
            places(&list.updated),
            places(&list.distinct),
            places(&list.cursor),
            places(&list.status),
            places(&list.by),
            list.paging.as_ref().map(|paging| places(&paging.next)).unwrap_or_default(),
        ];
        let with_item: BTreeSet<String> =
            names.iter().cloned().chain(ITEM.iter().map(|name| (*name).to_owned())).collect();
        for template in extracts.iter().flatten().chain(&list.items) {
            self.known_names(template, template.needs(), &with_item);
        }
        for condition in [&list.fetch_if, &list.ignore_if, &list.empty_if].into_iter().flatten() {
            self.condition(condition, &with_item);
        }
        for (place, wanted) in &operation.verify {
            self.known_names(place, place.needs(), &names);
            self.known_names(wanted, wanted.needs(), &names);
        }
    }

    fn step(&self, op: Op, step: &Step, names: &BTreeSet<String>) {
        let with_item: BTreeSet<String> =
            names.iter().cloned().chain(ITEM.iter().map(|name| (*name).to_owned())).collect();
        let mut good = true;
        for template in templates_of(step) {
            good &= self.known_names(template, template.needs(), names);
        }
        if let Some(when) = &step.when {
            good &= self.known_names(when, when.expression_needs(), names);
        }
        for condition in step.ok_if.iter().chain(&step.fail_if) {
            self.condition(condition, &with_item);
        }
        for extract in step.capture.values().chain(step.lock.as_ref().map(|lock| &lock.version)) {
            if let Some(template) = extract.template() {
                self.known_names(template, template.needs(), &with_item);
            }
        }
        if good {
            self.rehearse(op, step, names);
        }
    }

    /// Renders the step with every kind of value that it may be given.
    fn rehearse(&self, op: Op, step: &Step, names: &BTreeSet<String>) {
        let base = self.config.url.as_deref().and_then(|url| Url::parse(url).ok());
        let base = base.or_else(|| Url::parse("http://localhost/").ok());
        let Some(base) = base else { return };
        let file = File {
            name: "全文.txt".to_owned(),
            kind: "text/plain".to_owned(),
            content: "第一行\n\"2\"".into(),
        };
        for sample in samples(self.api, op, names) {
            let mut all = self.constants.clone();
            all.extend(sample);
            if let Some(when) = &step.when {
                match when.holds(&all) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(fault) => return self.fault(when, &fault),
                }
            }
            let no_file = all.get("plot").is_some_and(Value::is_none);
            if op == Op::Create && step.sends_file() && no_file {
                let hint = "add `when = \"plot\"`: there is a file only where there is a plot";
                let message = "a step of `create` sends a file that may not be there";
                return self.place.error(self.span(&step.path), "upstream", message, hint);
            }
            if let Err(slip) = compose(&base, step, &all, Some(&file)) {
                return self.slip(&slip);
            }
        }
    }

    /// What does not belong to an operation.
    fn rest(&self) {
        let none = BTreeSet::new();
        let item: BTreeSet<String> = ITEM.iter().map(|name| (*name).to_owned()).collect();
        for text in self.api.headers.values() {
            if let Text::Template(template) = text {
                self.known_names(template, template.needs(), &none);
            }
        }
        for condition in &self.api.errors.fail_if {
            self.condition(condition, &item);
        }
        for rule in &self.api.errors.rules {
            rule.when.iter().for_each(|condition| self.condition(condition, &item));
        }
        if let Some(Auth::Login { step, stale_if, .. }) = &self.api.auth {
            self.step(Op::Whoami, step, &none);
            stale_if.iter().for_each(|condition| self.condition(condition, &item));
        }
        if let Some(rule) = &self.api.sign {
            let names: BTreeSet<String> =
                sign::NAMES.iter().map(|name| (*name).to_owned()).collect();
            let put = rule.headers.values().chain(rule.query.values()).chain(rule.body.values());
            for template in put.chain([&rule.over]).chain(&rule.key) {
                self.known_names(template, template.needs(), &names);
            }
        }
        if let Some(webhook) = &self.api.webhook {
            let places = [Some(&webhook.ticket), webhook.status.as_ref(), webhook.by.as_ref()];
            for template in places.into_iter().flatten().filter_map(Extract::template) {
                self.known_names(template, template.needs(), &item);
            }
            if let Proof::Signature { over, .. } = &webhook.proof {
                let names = ["body", "timestamp", "delivery", "secret"].map(str::to_owned);
                self.known_names(over, over.needs(), &names.into());
            }
        }
    }

    fn condition(&self, condition: &Condition, names: &BTreeSet<String>) {
        self.known_names(&condition.template, Ok(condition.needs()), names);
    }

    /// True when every name of a template is there.
    fn known_names(
        &self,
        template: &Template,
        needs: Result<Vec<String>, Fault>,
        names: &BTreeSet<String>,
    ) -> bool {
        let needs = match needs {
            Ok(needs) => needs,
            Err(fault) => {
                self.fault(template, &fault);
                return false;
            }
        };
        let mut good = true;
        for name in needs.iter().filter(|name| !self.knows(name, names)) {
            good = false;
            self.unknown(template, name, names);
        }
        good
    }

    fn knows(&self, name: &str, names: &BTreeSet<String>) -> bool {
        let (head, member) = name.split_once('.').unwrap_or((name, ""));
        let member = member.split('.').next().unwrap_or("");
        match head {
            _ if is_built_in(name) => true,
            "vars" | "secrets" => {
                let table = self.constants.get(head);
                member.is_empty()
                    || table.is_some_and(|table| {
                        table.get_attr(member).is_ok_and(|value| !value.is_undefined())
                    })
            }
            "got" => names.contains(&format!("got.{member}")) || member.is_empty(),
            _ => names.contains(head) || self.constants.contains_key(head),
        }
    }

    fn unknown(&self, template: &Template, name: &str, names: &BTreeSet<String>) {
        let message = format!("the template names `{name}`, which is not there");
        let hint = match name.split_once('.') {
            Some(("vars", member)) => format!("add `vars = {{ {member} = ... }}`"),
            Some(("secrets", member)) => {
                format!("add `secrets = {{ {member} = {{ env = ... }} }}`")
            }
            Some(("got", member)) => {
                format!("an earlier step must have `capture = {{ {member} = \"/...\" }}`")
            }
            _ => {
                let all: Vec<&str> =
                    names.iter().chain(self.constants.keys()).map(String::as_str).collect();
                let guess = did_you_mean(name, &all);
                if guess.is_empty() { format!("here are: {}", all.join(", ")) } else { guess }
            }
        };
        let span = self.find_in(template, name);
        self.place.error(span, "unknown-name", message, hint);
    }

    fn fault(&self, template: &Template, fault: &Fault) {
        let slip = Slip {
            template: Some(template),
            message: fault.message.clone(),
            range: fault.range.clone(),
        };
        self.slip(&slip);
    }

    fn slip(&self, slip: &Slip<'_>) {
        let Some(template) = slip.template else { return };
        let part = slip.range.clone().and_then(|range| template.text.get(range));
        let span = part.map_or_else(|| self.span(template), |part| self.find_in(template, part));
        let hint = if slip.message.contains("JSON") {
            "a value may stand by itself ({{ title }}) or between quotes (\"x {{ title }}\"); look \
             at commas, and leave `tojson` out between quotes"
        } else {
            "docs/connectors.md lists the names and filters"
        };
        self.place.error(span, "template", slip.message.clone(), hint);
    }

    /// Where a template stands; the head of the upstream for one that is built in.
    fn span(&self, template: &Template) -> Range<usize> {
        let own = template.file == self.place.source.file && !template.span.is_empty();
        if own { template.span.clone() } else { self.head.clone() }
    }

    /// Where a part of a template stands.
    fn find_in(&self, template: &Template, part: &str) -> Range<usize> {
        let span = self.span(template);
        let text = self.place.source.text.get(span.clone()).unwrap_or_default();
        let own = template.file == self.place.source.file;
        match text.find(part).filter(|_| own && !part.is_empty()) {
            Some(at) => span.start + at..span.start + at + part.len(),
            None => span,
        }
    }
}

/// True when `create` has a use for the plot of a ticket: it need not be drawn otherwise.
pub(super) fn asks_for_plot(api: &Api) -> bool {
    let steps = api.operations.get(&Op::Create).into_iter().flat_map(|create| &create.steps);
    let mut steps = steps;
    steps.any(|step| {
        let named = |template: &&Template| template.text.contains("plot");
        step.sends_file() || templates_of(step).iter().any(named)
    })
}

/// What a step renders.
fn templates_of(step: &Step) -> Vec<&Template> {
    let mut all = vec![&step.path];
    all.extend(step.query.values().chain(step.headers.values()).chain(&step.hint));
    if let Some(already) = &step.already {
        all.extend([&already.path, &already.items, &already.place, &already.contains]);
        all.extend(already.query.values());
    }
    match &step.body {
        Body::None | Body::File => {}
        Body::Text { text, .. } => all.push(text),
        Body::Form(fields) => all.extend(fields.values()),
        Body::GraphQl { variables, .. } => all.extend(variables),
        Body::Multipart(parts) => {
            for part in parts {
                all.extend(part.filename.iter().chain(&part.kind));
                if let PartContent::Text(text) = &part.content {
                    all.push(text);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
