//! What a step of the engine wants done: written first, then acknowledged, then delivered.

use super::alarm::{AlarmId, AlarmRecord};
use super::audit::AuditRecord;
use super::decision::Decision;
use super::device::DeviceFacts;
use super::digest::DigestLine;
use super::job::{Call, JobKey, JobRecord};
use super::ledger::LedgerRow;
use super::message::Publication;
use super::metering::Metering;
use super::spell::Spell;
use super::ticket::{TicketId, TicketRecord};
use super::time::Timestamp;

/// One record to be stored. All writes of a step are committed together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Put an alarm.
    Alarm(Box<AlarmRecord>),
    /// Delete an alarm whose rule has got another name.
    AlarmGone(AlarmId),
    /// Put a ticket.
    Ticket(Box<TicketRecord>),
    /// Delete a ticket that is over for long.
    TicketGone(TicketId),
    /// Put a job.
    Job(Box<JobRecord>),
    /// Delete a job that is done or dropped.
    JobGone(JobKey),
    /// Append to the digest.
    Digest(Box<DigestLine>),
    /// Append to the audit trail.
    Audit(Box<AuditRecord>),
    /// Append a ledger row.
    Ledger(Box<LedgerRow>),
    /// The gateway runs at this time: a restart learns how long it was down.
    Alive(Timestamp),
    /// Put what was received lately from a source and may come again.
    Received {
        /// Name of the source.
        source: String,
        /// Hashes, oldest first.
        newest: Vec<u64>,
    },
    /// Put what figures are made of.
    Spell(Box<Spell>),
    /// Put what is measured and has no row of the ledger yet.
    Metering(Box<Metering>),
    /// Put a device that was first seen or changed its place.
    Device(Box<DeviceFacts>),
}

/// Everything that one or more steps want done, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be on disk before anything below is acted on.
    pub writes: Vec<Write>,
    /// To be attempted after the commit.
    pub calls: Vec<Call>,
    /// To be sent to the brokers after the commit, at most once: what is lost is asked for again.
    pub publish: Vec<Publication>,
    /// For logs, metrics and pages.
    pub decisions: Vec<Decision>,
}

impl Effects {
    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.writes.clear();
        self.calls.clear();
        self.publish.clear();
        self.decisions.clear();
    }
}
