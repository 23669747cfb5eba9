//! What is metered: one row a movement, append-only.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::chain;
use super::document::Word;
use super::severity::Severity;
use super::ticket::TicketId;
use super::time::Timestamp;

/// What the upstream bills for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Meter {
    /// Tickets opened.
    #[serde(rename = "ticket.created")]
    TicketCreated,
    /// Steps of a ladder taken on a ticket.
    #[serde(rename = "ticket.escalated")]
    TicketEscalated,
    /// Visits of an engineer.
    #[serde(rename = "service.visit")]
    ServiceVisit,
    /// HTTP requests to the upstream.
    #[serde(rename = "api.call")]
    ApiCall,
    /// Messages to people, by whatever channel.
    #[serde(rename = "message.sent")]
    MessageSent,
    /// Gigabytes kept, by days.
    #[serde(rename = "storage.gb_day")]
    StorageGbDay,
    /// Devices at a time.
    #[serde(rename = "device.peak")]
    DevicePeak,
    /// Users at a time.
    #[serde(rename = "user.peak")]
    UserPeak,
}

impl Meter {
    /// Every meter, in the order of the variants.
    pub const ALL: [Meter; 8] = [
        Meter::TicketCreated,
        Meter::TicketEscalated,
        Meter::ServiceVisit,
        Meter::ApiCall,
        Meter::MessageSent,
        Meter::StorageGbDay,
        Meter::DevicePeak,
        Meter::UserPeak,
    ];
    /// Those that calls to an upstream move: what a recording or a rule set is priced by.
    pub const OF_CALLS: [Meter; 3] = [Meter::TicketCreated, Meter::TicketEscalated, Meter::ApiCall];

    /// The name in plans, ledger rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Meter::TicketCreated => "ticket.created",
            Meter::TicketEscalated => "ticket.escalated",
            Meter::ServiceVisit => "service.visit",
            Meter::ApiCall => "api.call",
            Meter::MessageSent => "message.sent",
            Meter::StorageGbDay => "storage.gb_day",
            Meter::DevicePeak => "device.peak",
            Meter::UserPeak => "user.peak",
        }
    }

    /// True for what is measured over time rather than counted.
    pub fn is_measured(self) -> bool {
        match self {
            Meter::StorageGbDay | Meter::DevicePeak | Meter::UserPeak => true,
            Meter::TicketCreated
            | Meter::TicketEscalated
            | Meter::ServiceVisit
            | Meter::ApiCall
            | Meter::MessageSent => false,
        }
    }

    /// Decimal places of a quantity that is worked out: whole ones, but for gigabytes.
    pub fn places(self) -> u32 {
        if self == Meter::StorageGbDay { 3 } else { 0 }
    }

    /// How movements become a quantity, where the plan does not say.
    pub fn aggregation(self) -> Aggregation {
        match self {
            Meter::TicketCreated
            | Meter::TicketEscalated
            | Meter::ServiceVisit
            | Meter::ApiCall
            | Meter::MessageSent
            | Meter::StorageGbDay => Aggregation::Sum,
            Meter::DevicePeak | Meter::UserPeak => Aggregation::Max,
        }
    }
}

impl Aggregation {
    /// What a quantity comes to with one more row, where rows are added up or only the greatest counts.
    pub fn add(self, so_far: Decimal, row: Decimal) -> Decimal {
        match self {
            Aggregation::Max => so_far.max(row),
            Aggregation::Count
            | Aggregation::Sum
            | Aggregation::Unique
            | Aggregation::TimeWeighted
            | Aggregation::Latest => so_far + row,
        }
    }
}

/// How movements become a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// How many.
    Count,
    /// Sum of the quantities.
    Sum,
    /// Greatest quantity in a bucket.
    Max,
    /// How many different ones.
    Unique,
    /// Quantity times its duration.
    TimeWeighted,
    /// The newest quantity.
    Latest,
}

impl Word for Aggregation {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("count", Aggregation::Count),
        ("sum", Aggregation::Sum),
        ("max", Aggregation::Max),
        ("unique", Aggregation::Unique),
        ("time_weighted", Aggregation::TimeWeighted),
        ("latest", Aggregation::Latest),
    ];
}

/// What a row says about its quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerState {
    /// Set aside before the call.
    Reserved,
    /// The upstream carried it out.
    Committed,
    /// Certainly not carried out: the reservation is given back.
    Released,
    /// It may have been carried out; stays set aside until it is looked up.
    Ambiguous,
}

/// One row. Rows are never changed; `sequence` has no gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// From 1, without gaps.
    pub sequence: u64,
    /// What is billed.
    pub meter: Meter,
    /// How much.
    pub qty: Decimal,
    /// Set aside, spent, given back or unknown.
    pub state: LedgerState,
    /// Key of the movement: `<idempotency key>/<meter>`, with `#attempt` for requests of retries.
    pub idem: String,
    /// Our ticket.
    pub ticket: TicketId,
    /// The upstream's id, once it is known.
    pub upstream_ticket: Option<String>,
    /// Fingerprint of the episode that opened the ticket.
    pub external_ref: String,
    /// Word of the action.
    pub action: String,
    /// Device, rule, site and customer that caused it.
    pub device: String,
    /// The rule's id.
    pub rule: String,
    /// The device's site.
    pub site: String,
    /// The device's customer.
    pub customer: String,
    /// The device's region.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The device's class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_class: String,
    /// Revision of the rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Id of the price plan that was active.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// Rung of the budget when it was decided; none without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_rung: Option<Rung>,
    /// Sequence number of the row that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverses: Option<u64>,
    /// Severity of the ticket.
    pub severity: Severity,
    /// Event time of the fault.
    pub time: Timestamp,
    /// When the row was written (gateway time).
    pub recorded: Timestamp,
    /// Hash of the row before, hex; empty for the first.
    pub prev_hash: String,
    /// BLAKE3 of this row's JSON with an empty `hash`, hex.
    pub hash: String,
}

impl LedgerRow {
    /// The bytes that are kept, whose end [`super::chain`] holds against the hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of texts and numbers cannot fail to serialise; nothing at all would fail the
        // check of the chain, which is the safe side.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// True when `hash` is what the rest of the row says.
    pub fn is_intact(&self) -> bool {
        chain::is_intact(&self.to_bytes())
    }

    /// What it adds to the committed quantity.
    pub fn committed(&self) -> Decimal {
        match self.state {
            LedgerState::Committed => self.qty,
            LedgerState::Reserved | LedgerState::Released | LedgerState::Ambiguous => Decimal::ZERO,
        }
    }

    /// True for what was measured of the gateway as a whole: it belongs to no ticket.
    pub fn is_measured(&self) -> bool {
        self.ticket == TicketId(0)
    }

    /// Closes the chain over this row: sets `prev_hash` and `hash`.
    pub fn seal(&mut self, prev_hash: &str) {
        self.prev_hash = prev_hash.to_owned();
        self.hash = String::new();
        self.hash = chain::digest(&self.to_bytes());
    }
}

/// How much of a budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Below the first threshold.
    #[default]
    Green,
    /// Past the first one.
    Amber,
    /// Past the second one.
    Red,
    /// Nothing more is admitted.
    Stop,
}

impl Rung {
    /// The word in rows, notices and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Rung::Green => "green",
            Rung::Amber => "amber",
            Rung::Red => "red",
            Rung::Stop => "stop",
        }
    }
}

#[cfg(test)]
impl LedgerRow {
    /// A request that opened a ticket in Shanghai, not sealed yet: tests change what they are about.
    pub fn sample() -> LedgerRow {
        LedgerRow {
            sequence: 1,
            meter: Meter::ApiCall,
            qty: Decimal::ONE,
            state: LedgerState::Committed,
            idem: "f-1/api.call#1".into(),
            ticket: TicketId(1),
            upstream_ticket: None,
            external_ref: "f".into(),
            action: "open".into(),
            device: "fz-1".into(),
            rule: "hot".into(),
            site: "上海".into(),
            customer: String::new(),
            region: String::new(),
            device_class: String::new(),
            revision: String::new(),
            plan: String::new(),
            budget_rung: None,
            reverses: None,
            severity: Severity::Major,
            time: Timestamp::EPOCH,
            recorded: Timestamp::EPOCH,
            prev_hash: String::new(),
            hash: String::new(),
        }
    }
}
