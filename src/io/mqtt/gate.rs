//! Back-pressure on the devices of the embedded broker.
//!
//! rumqttd takes whatever it is sent, and throws the oldest away when the gateway is slower. So a
//! link that finds the inbox full shuts the gate until half of it is free, and meanwhile the door
//! passes no message on: devices wait as they would for any broker that is busy.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::{Arrival, Closed, Inbox};

/// Shut while somebody holds it.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    holds: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { holds: Arc::new(watch::Sender::new(0)) }
    }
}

impl Gate {
    /// Waits while the gate is shut.
    pub async fn pass(&self) {
        if *self.holds.borrow() > 0 {
            // The sender is ours: it cannot end before we do.
            self.holds.subscribe().wait_for(|holds| *holds == 0).await.ok();
        }
    }

    /// Puts an arrival into the inbox. Where that is full, the gate is shut until half is free.
    pub async fn send(&self, inbox: &Inbox, arrival: Arrival) -> Result<(), Closed> {
        let arrival = match inbox.try_send(arrival) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Closed),
            Err(TrySendError::Full(arrival)) => arrival,
        };
        let _hold = self.hold();
        let half = inbox.max_capacity().div_ceil(2);
        let mut room = inbox.reserve_many(half).await.map_err(|_| Closed)?;
        if let Some(place) = room.next() {
            place.send(arrival);
        }
        Ok(())
    }

    fn hold(&self) -> Hold {
        self.holds.send_modify(|holds| *holds += 1);
        Hold(self.clone())
    }
}

/// The gate is shut until this is dropped.
struct Hold(Gate);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.send_modify(|holds| *holds -= 1);
    }
}
