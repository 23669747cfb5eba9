//! A broker that keeps the gateway's session: what was not acknowledged comes again, with DUP and
//! the packet id that it had.

use std::collections::VecDeque;

/// Messages that may be unacknowledged at a time.
const IN_FLIGHT_MAX: usize = 20;

/// What the gateway acknowledges a message with: the connection counts, and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which broker.
    pub source: usize,
    /// Number of the connection.
    pub connection: u64,
    /// Packet id.
    pub packet: u16,
}

/// A message as the gateway gets it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was published; its number among all.
    pub number: usize,
    /// It may have been sent before.
    pub again: bool,
    /// How to acknowledge it.
    pub ack: Ack,
}

/// One broker.
#[derive(Debug, Default)]
pub struct Broker {
    source: usize,
    connection: u64,
    is_connected: bool,
    waiting: VecDeque<usize>,
    in_flight: Vec<(u16, usize)>,
    last_packet: u16,
}

impl Broker {
    /// The broker of this source.
    pub fn new(source: usize) -> Broker {
        Broker { source, ..Broker::default() }
    }

    /// A device publishes.
    pub fn take(&mut self, number: usize) {
        self.waiting.push_back(number);
    }

    /// True while the gateway is connected.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// True when nothing waits for the gateway.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// The gateway connects: what was not acknowledged comes first.
    pub fn connect(&mut self) -> Vec<Delivery> {
        self.connection += 1;
        self.is_connected = true;
        self.in_flight
            .iter()
            .map(|(packet, number)| self.delivery(*packet, *number, true))
            .collect()
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
    }

    /// What can be sent now.
    pub fn send(&mut self) -> Vec<Delivery> {
        let mut sent = Vec::new();
        while self.is_connected && self.in_flight.len() < IN_FLIGHT_MAX {
            let Some(number) = self.waiting.pop_front() else { break };
            self.last_packet = self.last_packet.wrapping_add(1).max(1);
            self.in_flight.push((self.last_packet, number));
            sent.push(self.delivery(self.last_packet, number, false));
        }
        sent
    }

    /// The gateway acknowledges; what comes over a connection that is gone is never read.
    pub fn acknowledge(&mut self, ack: Ack) {
        if self.is_connected && ack.connection == self.connection {
            self.in_flight.retain(|(packet, _)| *packet != ack.packet);
        }
    }

    fn delivery(&self, packet: u16, number: usize, again: bool) -> Delivery {
        let ack = Ack { source: self.source, connection: self.connection, packet };
        Delivery { number, again, ack }
    }
}
