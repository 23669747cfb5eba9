//! MQTT: what arrives from brokers, acknowledged in order once it is stored.
//!
//! Every source puts its [`Arrival`]s into one bounded inbox; a full inbox stops the reading, and
//! the brokers hold what has not been acknowledged. The gateway calls [`AckToken::ack`] in the
//! order of arrival after its commit.

pub mod config;
mod connection;
mod door;
pub mod embedded;
pub mod external;
mod gate;
pub mod host;
mod link;
mod oversized;
pub mod publish;
mod session;
mod topics;

pub use session::ClientError;

use tokio::sync::mpsc;

use crate::engine::types::message::Message;

/// Something from a source, in the order in which it happened.
#[derive(Debug)]
pub enum Arrival {
    /// A message.
    Message(Incoming),
    /// Something happened to the connection.
    Event {
        /// Index of the source; `None` for the embedded broker itself.
        source: Option<usize>,
        /// What.
        event: MqttEvent,
    },
}

/// A message and the right to acknowledge it.
#[derive(Debug)]
pub struct Incoming {
    /// The message; without its payload when that was oversized.
    pub message: Message,
    /// Length of a payload past the limit, which was thrown away. The message is to be counted
    /// and acknowledged like any other: a broker would send it again and again.
    pub oversized: Option<usize>,
    /// To be used once everything that follows from the message is stored.
    pub ack: AckToken,
}

/// The right to acknowledge one message. Dropped unused, the broker sends the message again after
/// the next connection.
#[derive(Debug)]
pub struct AckToken {
    pub(crate) acks: Option<mpsc::UnboundedSender<Ack>>,
    pub(crate) ack: Ack,
}

/// A packet id and the connection that it belongs to: on another connection it means another
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub connection: u64,
    pub packet: u16,
}

impl AckToken {
    /// For a message that nobody waits to see acknowledged.
    pub(crate) fn nothing() -> AckToken {
        AckToken { acks: None, ack: Ack { connection: 0, packet: 0 } }
    }

    /// Acknowledges the message, after those before it. Bounded by what the broker sends
    /// unacknowledged; does nothing once the connection is another one.
    pub fn ack(self) {
        if let Some(acks) = self.acks {
            // The source has ended: there is nobody left to tell.
            acks.send(self.ack).ok();
        }
    }
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MqttEvent {
    /// Messages can arrive.
    Connected,
    /// No messages can arrive; it is tried again.
    Disconnected {
        /// What went wrong.
        reason: String,
    },
    /// The broker had forgotten us: what was published meanwhile is lost. Subscribed again.
    SessionLost,
    /// The broker refused a subscription.
    SubscribeRefused {
        /// The topic filter.
        topic: String,
    },
    /// The embedded broker threw messages away (or they expired) before they could be read.
    Overtaken {
        /// How many.
        count: u64,
    },
    /// The embedded broker no longer carries messages; the process is to be started anew.
    CanaryLost,
}

/// Where sources put what arrives.
pub type Inbox = mpsc::Sender<Arrival>;

/// Arrivals that wait for the gateway; a payload of 256 KiB each is 256 MiB at worst.
pub const INBOX_MAX: usize = 1024;

/// The bounded inbox of the gateway; `recv_many` takes what is there in one go.
pub fn inbox() -> (Inbox, mpsc::Receiver<Arrival>) {
    mpsc::channel(INBOX_MAX)
}

pub(crate) async fn tell(inbox: &Inbox, source: usize, event: MqttEvent) -> Result<(), Closed> {
    let source = Some(source);
    let sent = inbox.send(Arrival::Event { source, event }).await;
    sent.map_err(|_| Closed)
}

/// The gateway has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;
