//! The end of a turn of the loop, in the one order that keeps the promises: what was decided is on
//! disk before anything of it is sent (I3) or acknowledged to a broker (I2).
//!
//! What lies outside is behind [`World`], so that the simulation ends its turns here as well.

use crate::engine::pipeline::Engine;
use crate::engine::types::alarm::Signature;
use crate::engine::types::effect::{Effects, Write};
use crate::engine::types::input::Input;
use crate::engine::types::job::Call;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::fail;
use crate::io::upstream::Change;
use crate::seeded::{self, Bug};

/// How often the store is told at least that the gateway runs, so that a restart knows how long it
/// was down.
const ALIVE_EVERY: TimeSpan = TimeSpan::from_secs(30);

/// What a turn acts on.
pub trait World {
    /// What a message is acknowledged with.
    type Ack;

    /// Stores all of `writes`; returns when they would survive a power cut.
    fn commit(&mut self, writes: &[Write]) -> impl Future<Output = ()>;

    /// Sends a call; what comes of it is an input of a later turn.
    fn send(&mut self, call: Call);

    /// Tells a broker that a message need not come again.
    fn acknowledge(&mut self, ack: Self::Ack);
}

/// Commits what was decided, then sends, then acknowledges. What is left of `effects` is to be
/// told.
pub async fn settle<W: World>(
    now: Timestamp,
    engine: &mut Engine,
    alive_at: &mut Timestamp,
    effects: &mut Effects,
    acks: Vec<W::Ack>,
    world: &mut W,
) {
    // With everything that is stored: a clock that was set back meanwhile must not begin before it,
    // or what a device says after a restart would be older than what it said before.
    if !effects.writes.is_empty() || now.since(*alive_at) >= ALIVE_EVERY {
        effects.writes.push(Write::Alive(now));
        *alive_at = now;
    }
    engine.note_received(effects);
    let mut acks = acks;
    if seeded::has(Bug::AckBeforeFlush) {
        acks.drain(..).for_each(|ack| world.acknowledge(ack));
    }
    if !effects.writes.is_empty() {
        fail::point("turn-decided");
        world.commit(&effects.writes).await;
    }
    if !effects.calls.is_empty() {
        for call in effects.calls.drain(..) {
            world.send(call);
            fail::point("turn-sent");
        }
        // A fault that is on its way comes before the rest of the batch.
        tokio::task::yield_now().await;
    }
    for ack in acks {
        world.acknowledge(ack);
        fail::point("turn-acknowledged");
    }
}

/// What somebody's change of a ticket in an upstream is to the engine; `None` for a ticket that is
/// not ours.
pub fn changed(now: Timestamp, engine: &Engine, upstream: &str, change: Change) -> Option<Input> {
    let Change { ticket, status, by } = change;
    let ours = engine.tickets().find(|known| {
        known.upstream == upstream && known.external.as_deref() == Some(ticket.as_str())
    });
    let via = format!("upstream:{upstream}");
    let signature = Signature { by, at: now, via, reason: String::new() };
    ours.map(|ticket| Input::Ticket { id: ticket.id, status, signature })
}
