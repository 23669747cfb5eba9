//! What a TOML file says about an HTTP API: plain values, as they were read.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::condition::Condition;
use super::digest::{Algorithm, Encoding};
use super::template::Template;
use super::value::Extract;
use crate::engine::types::document::{Scalar, Word};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::engine::types::time::TimeSpan;
use crate::io::secret::Secret;

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
    /// Value.
    pub value: Template,
}

/// A text that is written in the file, or a secret that is named there.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// A template.
    Template(Template),
    /// A secret.
    Secret(Secret),
}

/// Where a credential goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A header, after a prefix.
    Header {
        /// Name.
        name: String,
        /// What stands before the credential.
        prefix: String,
    },
    /// A parameter of the query.
    Query(String),
    /// A member of the JSON body (pointer) or a field of the form.
    Body(String),
    /// A cookie.
    Cookie(String),
}

/// How requests are authorised.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// The same credential with every request.
    Key {
        /// The credential.
        secret: Secret,
        /// Where it goes.
        carrier: Carrier,
    },
    /// User and password.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// OAuth 2, client credentials.
    OAuth2 {
        /// Address of the token.
        token_url: String,
        /// The client.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// Further fields (`scope`, `audience`).
        fields: BTreeMap<String, String>,
        /// Client and secret as Basic instead of in the form.
        basic: bool,
        /// Where the token goes.
        carrier: Carrier,
    },
    /// A request that logs in.
    Login {
        /// The request.
        step: Box<Step>,
        /// Where the answer has the credential.
        token: Extract,
        /// How long it is good.
        lasts: TimeSpan,
        /// Where it goes.
        carrier: Carrier,
        /// Codes that say that it is not good any more.
        stale: Vec<u16>,
        /// What says so whatever the code.
        stale_if: Vec<Condition>,
    },
}

/// A signature over each request.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// With which function.
    pub algorithm: Algorithm,
    /// How it is written.
    pub encoding: Encoding,
    /// The key of an HMAC.
    pub key: Option<Template>,
    /// What is signed.
    pub over: Template,
    /// Where it goes.
    pub headers: BTreeMap<String, Template>,
    /// Where it goes.
    pub query: BTreeMap<String, Template>,
    /// Where it goes: pointers into the JSON body, or fields of the form.
    pub body: BTreeMap<String, Template>,
    /// Only these operations; all when empty.
    pub operations: BTreeSet<Op>,
}

/// What answers mean.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Errors {
    /// Failures whatever the code says.
    pub fail_if: Vec<Condition>,
    /// Where answers say what is wrong.
    pub message: Vec<Extract>,
    /// The first that fits decides.
    pub rules: Vec<ErrorRule>,
}

/// What one kind of answer means.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRule {
    /// Codes; all when empty.
    pub status: Vec<u16>,
    /// What must hold.
    pub when: Vec<Condition>,
    /// Operations; all when empty.
    pub operations: BTreeSet<Op>,
    /// What it means.
    pub class: Class,
    /// How long to wait before the next attempt.
    pub wait: Option<TimeSpan>,
    /// What to do, for people.
    pub hint: Option<Template>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Carried out.
    Ok,
    /// Not carried out; worth another attempt.
    Retry,
    /// Not carried out: the credential is not good.
    Auth,
    /// Refused for good.
    Permanent,
    /// It is there already.
    Duplicate,
    /// Nobody knows.
    Unknown,
}

impl Word for Class {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ok", Class::Ok),
        ("retry", Class::Retry),
        ("auth", Class::Auth),
        ("permanent", Class::Permanent),
        ("duplicate", Class::Duplicate),
        ("unknown", Class::Unknown),
    ];
}

/// How a create is made once.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// In which way.
    pub once: Once,
    /// How far the search may be behind.
    pub search_lag: TimeSpan,
    /// Whether a new ticket is searched for by its key.
    pub confirm: Confirm,
    /// The id of the ticket that is there, in the answer that says so.
    pub duplicate_id: Option<Extract>,
}

impl Default for Create {
    fn default() -> Create {
        Create {
            once: Once::Unset,
            search_lag: TimeSpan::ZERO,
            confirm: Confirm::First,
            duplicate_id: None,
        }
    }
}

/// What keeps a create from being carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Nothing is said: `Search` where there is a `find`, else `Local`.
    Unset,
    /// The upstream keeps the header `Idempotency-Key`.
    Header,
    /// The body has a key that the upstream keeps.
    Key,
    /// The request writes the ticket of this key, whether it is there or not.
    Upsert,
    /// A second one is refused as a duplicate.
    Unique,
    /// It goes to an address that works once.
    OneTimeUrl,
    /// What may have been sent is searched for by its key.
    Search,
    /// What may have been sent is looked for among the newest tickets.
    Scan,
    /// Nothing: a crash in the wrong moment can double a ticket.
    Local,
}

impl Word for Once {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("header", Once::Header),
        ("key", Once::Key),
        ("upsert", Once::Upsert),
        ("unique", Once::Unique),
        ("one-time-url", Once::OneTimeUrl),
        ("search", Once::Search),
        ("scan", Once::Scan),
        ("local", Once::Local),
    ];
}

/// Whether a new ticket is searched for by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Every one.
    Always,
    /// Until one was found, for each queue.
    First,
    /// None.
    Never,
}

impl Word for Confirm {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Confirm::Always), ("first", Confirm::First), ("never", Confirm::Never)];
}

/// Bounds on texts and on calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Longest title.
    pub title: Option<Length>,
    /// Longest body.
    pub body: Option<Length>,
    /// Longest comment.
    pub comment: Option<Length>,
    /// Calls a second and at once, by operation.
    pub operations: BTreeMap<Op, (f64, f64)>,
    /// Share of `rate.burst` that only critical tickets may use.
    pub critical_share: f64,
    /// Headers that say when calls are let in again.
    pub reset_headers: Vec<String>,
    /// Headers that say how many calls are left.
    pub remaining_headers: Vec<String>,
    /// Pause after a 429 that says nothing.
    pub penalty: Option<TimeSpan>,
    /// Time for one request.
    pub timeout: Option<TimeSpan>,
}

impl Default for Limits {
    fn default() -> Limits {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Limits {
            title: None,
            body: None,
            comment: None,
            operations: BTreeMap::new(),
            critical_share: 0.0,
            reset_headers: names(&["retry-after", "ratelimit-reset", "x-ratelimit-reset"]),
            remaining_headers: names(&["ratelimit-remaining", "x-ratelimit-remaining"]),
            penalty: None,
            timeout: None,
        }
    }
}

/// A length in the unit that the upstream counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Characters.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

/// What an upstream tells by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// How it is known to be from there.
    pub proof: Proof,
    /// The ticket's id.
    pub ticket: Extract,
    /// Its status.
    pub status: Option<Extract>,
    /// Who has done it.
    pub by: Option<Extract>,
    /// What is not told.
    pub ignore_if: Vec<Condition>,
    /// The status is read with `get` instead of being believed.
    pub fetch: bool,
    /// What is to be sent back where the upstream tries the address.
    pub challenge: Option<Extract>,
}

/// How a webhook is known to be from its upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// A signature.
    Signature {
        /// With which function.
        algorithm: Algorithm,
        /// How it is written.
        encoding: Encoding,
        /// Key of the HMAC.
        secret: Secret,
        /// Header that has it.
        header: String,
        /// What stands before it.
        prefix: String,
        /// What is signed.
        over: Template,
        /// Header with the time of signing, and its greatest age.
        timestamp: Option<(String, TimeSpan)>,
        /// Header with the id of the delivery.
        delivery: Option<String>,
    },
    /// The same token every time.
    Token {
        /// Header that has it.
        header: String,
        /// What stands before it.
        prefix: String,
        /// The token.
        secret: Secret,
    },
    /// A path that only the upstream knows.
    SecretPath(Secret),
}

impl Step {
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
            already: None,
            capture: BTreeMap::new(),
            lock: None,
            keep_null: false,
        }
    }
}
