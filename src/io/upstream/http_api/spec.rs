//! What a TOML file says about an HTTP API: plain values, as they were read.

mod access;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::condition::Condition;
use super::template::Template;
use super::value::Extract;
use crate::engine::types::document::{Scalar, Word};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::TimeSpan;
use crate::io::secret::Secret;

pub use access::{Auth, Carrier, Proof, Sign, Webhook};
pub use terms::{Class, Confirm, Create, ErrorRule, Errors, Length, Limits, Once};

/// A whole API.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Api {
    /// What it can do.
    pub operations: BTreeMap<Op, Operation>,
    /// What it was declared not to do.
    pub lacks: BTreeSet<Op>,
    /// Sent with every request.
    pub headers: BTreeMap<String, Text>,
    /// Names of the operator's own for templates.
    pub vars: BTreeMap<String, Scalar>,
    /// Secrets that templates may name.
    pub secrets: BTreeMap<String, Secret>,
    /// How requests are authorised.
    pub auth: Option<Auth>,
    /// How requests are signed.
    pub sign: Option<Sign>,
    /// What answers mean.
    pub errors: Errors,
    /// How a create is made once.
    pub create: Create,
    /// How fast it may be called, beyond `rate`.
    pub limits: Limits,
    /// What comes by itself.
    pub webhook: Option<Webhook>,
    /// Queue of rules that name none.
    pub queue: String,
    /// Where the external key is kept; a name for templates.
    pub key_field: String,
    /// Zone of the times that templates write.
    pub zone: Option<Tz>,
    /// Our severity in the upstream's words or numbers.
    pub severity: BTreeMap<Severity, Scalar>,
    /// The upstream's status in our words.
    pub status: BTreeMap<String, TicketStatus>,
    /// What a status that `status` does not have means; `None` for nothing.
    pub unknown_status: Option<TicketStatus>,
    /// What is written to set a status of ours.
    pub set_status: BTreeMap<TicketStatus, Scalar>,
    /// Our queues in the upstream's words or numbers.
    pub queues: BTreeMap<String, Scalar>,
    /// Our people in the upstream's words or numbers.
    pub people: BTreeMap<String, Scalar>,
}

/// One thing that an API does for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Opens a ticket.
    Create,
    /// Finds the ticket that carries our key.
    Find,
    /// Adds a comment.
    Comment,
    /// Raises the priority, assigns.
    Escalate,
    /// The fault is over.
    Resolve,
    /// The fault is back.
    Reopen,
    /// Adds a file.
    Attach,
    /// Reads one ticket.
    Get,
    /// What people have done since the last look.
    Changes,
    /// Whether a queue can take tickets.
    Ready,
    /// Tickets that may be ours and have lost their key.
    Twin,
    /// Writes the key of such a ticket again.
    Rekey,
    /// Who the credentials belong to.
    Whoami,
}

impl Word for Op {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("create", Op::Create),
        ("find", Op::Find),
        ("comment", Op::Comment),
        ("escalate", Op::Escalate),
        ("resolve", Op::Resolve),
        ("reopen", Op::Reopen),
        ("attach", Op::Attach),
        ("get", Op::Get),
        ("changes", Op::Changes),
        ("ready", Op::Ready),
        ("twin", Op::Twin),
        ("rekey", Op::Rekey),
        ("whoami", Op::Whoami),
    ];
}

impl Op {
    /// The word in configuration, logs and metrics.
    pub fn word(self) -> &'static str {
        let found = Op::WORDS.iter().find(|(_, op)| *op == self);
        found.map_or("", |(word, _)| *word)
    }

    /// True for those that change nothing in the upstream.
    pub fn only_reads(self) -> bool {
        match self {
            Op::Find | Op::Get | Op::Changes | Op::Ready | Op::Twin | Op::Whoami => true,
            Op::Create
            | Op::Comment
            | Op::Escalate
            | Op::Resolve
            | Op::Reopen
            | Op::Attach
            | Op::Rekey => false,
        }
    }
}

/// The requests of an operation, and what is read from the last answer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Operation {
    /// One after another.
    pub steps: Vec<Step>,
    /// The ticket's id in the answer, or in each item of it.
    pub id: Option<Extract>,
    /// Values that must stand in the ticket afterwards (read with `get`).
    pub verify: Vec<(Template, Template)>,
    /// What lists are read by.
    pub list: List,
}

/// What the answer of an operation that lists is read by.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct List {
    /// Where the items are; the whole answer is the one item without it.
    pub items: Option<Template>,
    /// Where our key is in an item; any text of it without it.
    pub key: Option<Extract>,
    /// The time of the item's last change.
    pub updated: Option<Extract>,
    /// What tells an item from the others; the id and `updated` without it.
    pub distinct: Option<Extract>,
    /// A number or text that only grows, to go on from.
    pub cursor: Option<Extract>,
    /// The status in the upstream's words.
    pub status: Option<Extract>,
    /// Who has done it.
    pub by: Option<Extract>,
    /// Items for which the ticket is read with `get` first.
    pub fetch_if: Option<Condition>,
    /// Items that tell nothing.
    pub ignore_if: Option<Condition>,
    /// Answers without items that mean that there are none.
    pub empty_if: Option<Condition>,
    /// How far a look goes back behind the last one.
    pub overlap: Option<TimeSpan>,
    /// How the next page is had.
    pub paging: Option<Paging>,
}

/// How the next page is had.
#[derive(Clone, Debug, PartialEq)]
pub struct Paging {
    /// Its style.
    pub style: PagingStyle,
    /// Items of a page.
    pub size: u32,
    /// Most pages that one look reads.
    pub pages_max: u32,
    /// Number of the first page.
    pub first: u32,
    /// Where the next cursor or address is in the answer.
    pub next: Option<Extract>,
}

/// How pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingStyle {
    /// `page.offset` grows by the size.
    Offset,
    /// `page.number` grows by one.
    Number,
    /// `page.cursor` is what the answer said.
    Cursor,
    /// The answer says the address of the next page.
    Link,
}

impl Word for PagingStyle {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("offset", PagingStyle::Offset),
        ("number", PagingStyle::Number),
        ("cursor", PagingStyle::Cursor),
        ("link", PagingStyle::Link),
    ];
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Method.
    pub method: String,
    /// Path below the address, or a whole address.
    pub path: Template,
    /// Query.
    pub query: BTreeMap<String, Template>,
    /// Headers of this request.
    pub headers: BTreeMap<String, Template>,
    /// Body.
    pub body: Body,
    /// Codes of success; every 2xx when empty.
    pub ok: Vec<u16>,
    /// What must hold in a success.
    pub ok_if: Vec<Condition>,
    /// What is a failure whatever the code says.
    pub fail_if: Vec<Condition>,
    /// What to do about a failure, for people.
    pub hint: Option<Template>,
    /// The step is made only if this holds.
    pub when: Option<Template>,
    /// Its failure is told, and stops nothing: alone it changes no ticket.
    pub optional: bool,
    /// Finds out whether it was made already.
    pub already: Option<Already>,
    /// Values for later steps.
    pub capture: BTreeMap<String, Extract>,
    /// Read before, so that nobody's change is overwritten.
    pub lock: Option<Lock>,
    /// Members of a JSON body that are null are sent.
    pub keep_null: bool,
}

/// A look whether a step was made already.
#[derive(Clone, Debug, PartialEq)]
pub struct Already {
    /// Path.
    pub path: Template,
    /// Query.
    pub query: BTreeMap<String, Template>,
    /// Where the items are.
    pub items: Template,
    /// Place in an item, and what must stand in it.
    pub place: Template,
    /// What the text there contains when it was made.
    pub contains: Template,
}

/// Optimistic locking.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    /// Where the version is in the answer of `get`.
    pub version: Extract,
    /// Codes that say that it was not the newest.
    pub stale: Vec<u16>,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Body {
    /// None.
    #[default]
    None,
    /// A text of a type: JSON, XML or any other.
    Text {
        /// The text.
        text: Template,
        /// `Content-Type`.
        kind: String,
    },
    /// Names and values as a browser's form sends them.
    Form(BTreeMap<String, Template>),
    /// Parts.
    Multipart(Vec<Part>),
    /// A GraphQL query.
    GraphQl {
        /// The query.
        query: String,
        /// Its variables as JSON.
        variables: Option<Template>,
    },
    /// The bytes of the file that is attached.
    File,
}

/// A part of a multipart body.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name.
    pub name: String,
    /// File name; `None` for a plain field.
    pub filename: Option<Template>,
    /// Type.
    pub kind: Option<Template>,
    /// What stands in it.
    pub content: PartContent,
}

/// What stands in a part.
#[derive(Clone, Debug, PartialEq)]
pub enum PartContent {
    /// A text.
    Text(Template),
    /// The bytes of the file that is attached.
    File,
}

/// A text that is written in the file, or a secret that is named there.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// A template.
    Template(Template),
    /// A secret.
    Secret(Secret),
}

impl Step {
    /// True when its body has the bytes of the file that is attached.
    pub fn sends_file(&self) -> bool {
        match &self.body {
            Body::File => true,
            Body::Multipart(parts) => parts.iter().any(|part| part.content == PartContent::File),
            Body::None | Body::Text { .. } | Body::Form(_) | Body::GraphQl { .. } => false,
        }
    }

    /// A step of which nothing else is said.
    pub fn new(method: &str, path: Template, body: Body) -> Step {
        Step {
            method: method.to_owned(),
            path,
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body,
            ok: Vec::new(),
            ok_if: Vec::new(),
            fail_if: Vec::new(),
            hint: None,
            when: None,
            optional: false,
            already: None,
            capture: BTreeMap::new(),
            lock: None,
            keep_null: false,
        }
    }
}
