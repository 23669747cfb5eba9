//! Transition -> Incident: a ticket as the gateway remembers it.

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::alarm::{Fingerprint, Signature};
use super::ledger::Meter;
use super::severity::Severity;
use super::time::Timestamp;

/// Our number of a ticket, from 1, written `tk-1`. The upstream has its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TicketId(pub u64);

impl fmt::Display for TicketId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "tk-{}", self.0)
    }
}

impl From<TicketId> for String {
    fn from(id: TicketId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for TicketId {
    type Error = String;
    fn try_from(text: String) -> Result<TicketId, String> {
        text.parse()
    }
}

impl std::str::FromStr for TicketId {
    type Err = String;
    fn from_str(text: &str) -> Result<TicketId, String> {
        text.strip_prefix("tk-")
            .and_then(|number| number.parse().ok())
            .map(TicketId)
            .ok_or_else(|| format!("`{text}` is not a ticket id; it looks like tk-12"))
    }
}

/// A ticket's state in the glossary's words, whatever the upstream calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketStatus {
    /// 待受理
    New,
    /// 待派工
    Queued,
    /// 已派待接单
    Assigned,
    /// 已接单
    Accepted,
    /// 在途
    Travelling,
    /// 到场
    OnSite,
    /// 处理中
    Working,
    /// 待备件
    WaitingParts,
    /// 待客户
    WaitingCustomer,
    /// 待协同
    WaitingThirdParty,
    /// 挂起
    OnHold,
    /// 待验收
    Resolved,
    /// 已验收
    Verified,
    /// 已回访
    FollowedUp,
    /// 关闭
    Closed,
    /// 退单
    Rejected,
    /// 取消
    Cancelled,
    /// 合并
    Merged,
    /// 重开
    Reopened,
    /// 无法完成
    CannotComplete,
}

impl TicketStatus {
    /// Every state, in the order of the glossary.
    pub const ALL: [TicketStatus; 20] = [
        TicketStatus::New,
        TicketStatus::Queued,
        TicketStatus::Assigned,
        TicketStatus::Accepted,
        TicketStatus::Travelling,
        TicketStatus::OnSite,
        TicketStatus::Working,
        TicketStatus::WaitingParts,
        TicketStatus::WaitingCustomer,
        TicketStatus::WaitingThirdParty,
        TicketStatus::OnHold,
        TicketStatus::Resolved,
        TicketStatus::Verified,
        TicketStatus::FollowedUp,
        TicketStatus::Closed,
        TicketStatus::Rejected,
        TicketStatus::Cancelled,
        TicketStatus::Merged,
        TicketStatus::Reopened,
        TicketStatus::CannotComplete,
    ];

    /// The word in JSON and configuration.
    pub fn word(self) -> &'static str {
        match self {
            TicketStatus::New => "new",
            TicketStatus::Queued => "queued",
            TicketStatus::Assigned => "assigned",
            TicketStatus::Accepted => "accepted",
            TicketStatus::Travelling => "travelling",
            TicketStatus::OnSite => "on_site",
            TicketStatus::Working => "working",
            TicketStatus::WaitingParts => "waiting_parts",
            TicketStatus::WaitingCustomer => "waiting_customer",
            TicketStatus::WaitingThirdParty => "waiting_third_party",
            TicketStatus::OnHold => "on_hold",
            TicketStatus::Resolved => "resolved",
            TicketStatus::Verified => "verified",
            TicketStatus::FollowedUp => "followed_up",
            TicketStatus::Closed => "closed",
            TicketStatus::Rejected => "rejected",
            TicketStatus::Cancelled => "cancelled",
            TicketStatus::Merged => "merged",
            TicketStatus::Reopened => "reopened",
            TicketStatus::CannotComplete => "cannot_complete",
        }
    }

    /// The Chinese word of the glossary.
    pub fn chinese(self) -> &'static str {
        match self {
            TicketStatus::New => "待受理",
            TicketStatus::Queued => "待派工",
            TicketStatus::Assigned => "已派待接单",
            TicketStatus::Accepted => "已接单",
            TicketStatus::Travelling => "在途",
            TicketStatus::OnSite => "到场",
            TicketStatus::Working => "处理中",
            TicketStatus::WaitingParts => "待备件",
            TicketStatus::WaitingCustomer => "待客户",
            TicketStatus::WaitingThirdParty => "待协同",
            TicketStatus::OnHold => "挂起",
            TicketStatus::Resolved => "待验收",
            TicketStatus::Verified => "已验收",
            TicketStatus::FollowedUp => "已回访",
            TicketStatus::Closed => "关闭",
            TicketStatus::Rejected => "退单",
            TicketStatus::Cancelled => "取消",
            TicketStatus::Merged => "合并",
            TicketStatus::Reopened => "重开",
            TicketStatus::CannotComplete => "无法完成",
        }
    }

    /// True once the work is over: resolved and what follows, cancelled and merged.
    pub fn is_over(self) -> bool {
        match self {
            TicketStatus::Resolved
            | TicketStatus::Verified
            | TicketStatus::FollowedUp
            | TicketStatus::Closed
            | TicketStatus::Cancelled
            | TicketStatus::Merged => true,
            TicketStatus::New
            | TicketStatus::Queued
            | TicketStatus::Assigned
            | TicketStatus::Accepted
            | TicketStatus::Travelling
            | TicketStatus::OnSite
            | TicketStatus::Working
            | TicketStatus::WaitingParts
            | TicketStatus::WaitingCustomer
            | TicketStatus::WaitingThirdParty
            | TicketStatus::OnHold
            | TicketStatus::Rejected
            | TicketStatus::Reopened
            | TicketStatus::CannotComplete => false,
        }
    }

    /// True when it says that the fault was mended.
    pub fn is_mended(self) -> bool {
        self.is_over() && !matches!(self, TicketStatus::Cancelled | TicketStatus::Merged)
    }

    /// True when it is somebody's: assigned, and everything after it.
    pub fn is_taken(self) -> bool {
        self == TicketStatus::Assigned || self.is_accepted()
    }

    /// True when somebody has said that he takes it: accepted, and everything after it.
    pub fn is_accepted(self) -> bool {
        match self {
            TicketStatus::New
            | TicketStatus::Queued
            | TicketStatus::Assigned
            | TicketStatus::Rejected
            | TicketStatus::Reopened => false,
            TicketStatus::Accepted
            | TicketStatus::Travelling
            | TicketStatus::OnSite
            | TicketStatus::Working
            | TicketStatus::WaitingParts
            | TicketStatus::WaitingCustomer
            | TicketStatus::WaitingThirdParty
            | TicketStatus::OnHold
            | TicketStatus::Resolved
            | TicketStatus::Verified
            | TicketStatus::FollowedUp
            | TicketStatus::Closed
            | TicketStatus::Cancelled
            | TicketStatus::Merged
            | TicketStatus::CannotComplete => true,
        }
    }
}

impl TicketRecord {
    /// Somebody takes it here: of one that nobody had, that is its state too.
    pub fn acknowledge(&mut self, signature: &Signature) {
        self.ack = Some(signature.clone());
        if !self.status.is_taken() {
            self.status = TicketStatus::Accepted;
        }
    }
}

/// What happened to the members of a ticket and was not told yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// Alarms that joined.
    pub joined: u32,
    /// Event time of the first of them.
    pub first_at: Timestamp,
    /// The first of them by name, as many as are listed.
    pub names: Vec<String>,
    /// Alarms that returned.
    pub returned: u32,
    /// When it is told (gateway time).
    pub due: Timestamp,
    /// What the budgets did not pay for when it was to be done.
    #[serde(default, skip_serializing_if = "Withheld::is_nothing")]
    pub withheld: Withheld,
}

/// Follow-ups of a ticket that wait, as one, for money.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// How many.
    pub count: u32,
    /// The ticket is to be raised to what it is by now.
    pub raises: bool,
    /// Whom it is to be assigned to.
    pub assign: Option<String>,
}

impl Withheld {
    /// True when nothing waits.
    pub fn is_nothing(&self) -> bool {
        self.count == 0
    }
}

/// The flood of alarms that a parent ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// Where: the site, or what storms are told apart by.
    pub pool: String,
    /// The alarm that came first.
    pub first: String,
    /// When it was raised.
    pub first_at: Timestamp,
}

/// How far a ticket's ladder has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderProgress {
    /// The ladder's id.
    pub ladder: String,
    /// What `after` counts from: event time of the raise.
    pub from: Timestamp,
    /// The next step to take, from 0.
    pub step: usize,
    /// Repeats of the step before `step` that were done.
    pub repeats: u32,
}

/// What is kept of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRecord {
    /// Our id.
    pub id: TicketId,
    /// Name of the upstream that holds it.
    pub upstream: String,
    /// The upstream's id, once it is known.
    pub external: Option<String>,
    /// External key: the fingerprint of the episode that opened it.
    pub fingerprint: Fingerprint,
    /// What the ticket collects (`ticket.per`), as text: equal groups share a ticket.
    pub group: String,
    /// Device of the first alarm.
    pub device: String,
    /// Rule of the first alarm.
    pub rule: String,
    /// Site of the device.
    pub site: String,
    /// Customer of the device.
    pub customer: String,
    /// Subject line.
    pub title: String,
    /// Worst severity so far.
    pub severity: Severity,
    /// A safety fault.
    pub safety: bool,
    /// State, as far as we know.
    pub status: TicketStatus,
    /// Event time of the first raise.
    pub opened_at: Timestamp,
    /// Event time of the last return, while resolved.
    pub resolved_at: Option<Timestamp>,
    /// A new episode of the group up to then reopens this ticket.
    pub reopen_until: Option<Timestamp>,
    /// Somebody has resolved it upstream while its fault stands: then it is looked whether it still
    /// does (gateway time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_at: Option<Timestamp>,
    /// Who took it.
    pub ack: Option<Signature>,
    /// How many of the episodes that it covers are raised still.
    #[serde(default)]
    pub raised: u32,
    /// How many episodes it has covered.
    pub alarms: u64,
    /// When its members were last told of (gateway time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// What is to be told of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Untold>,
    /// It was opened again where it is, and not resolved since: that somebody has ended it may be
    /// older news than that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reopened: bool,
    /// It is the parent of a storm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// The last ticket of its group when it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<TicketId>,
    /// The ticket of the same fault that ended not long before: somebody comes again for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<TicketId>,
    /// Escalation.
    pub ladder: Option<LadderProgress>,
    /// Number of the next effect, from 1: part of the idempotency key.
    pub next_effect: u32,
    /// What the upstream has carried out for it, as it is billed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<Meter, Decimal>,
}
