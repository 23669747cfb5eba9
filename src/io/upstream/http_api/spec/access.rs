//! Credentials, signatures, and the proof of what comes by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::super::condition::Condition;
use super::super::digest::{Algorithm, Encoding};
use super::super::template::Template;
use super::super::value::Extract;
use super::{Op, Step};
use crate::engine::types::time::TimeSpan;
use crate::io::secret::Secret;

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
