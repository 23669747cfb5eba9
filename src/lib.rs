//! Faultgate: an edge gateway that turns device telemetry into repair tickets, exactly one ticket
//! per fault, to the right person, at a known cost.
//!
//! # Layers
//! Each imports only from its left; `tests/suite/layers.rs` holds it.
//! ```text
//! engine  <-  io  <-  config  <-  service  <-  cli  <-  main
//! ```
//! [`engine`] decides and is pure: `(state, input, now) -> effects`. [`io`] touches the world and
//! decides nothing. [`config`] reads `faultgate.toml`. [`service`] wires them together and runs
//! the loop: receive, step, commit, acknowledge, deliver. [`cli`] has one file a command.
//!
//! # Stages
//! ```text
//! message -> decode -> detect -> lifecycle -> merge -> guard -> outbox -> ticket system
//!                                   ^ ladder: escalate          ^ text: ticket
//! ```
//! [`engine::pipeline`] states the order once; `docs/architecture.md` tells the whole.
//!
//! # Invariants
//! 1. Same state, inputs and times give the same effects.
//! 2. What can change a later decision is written in the step that made it; the contents of
//!    history windows are the named exception.
//! 3. Acknowledge after commit.
//! 4. One alarm per identity, one ticket per episode.
//! 5. A cap folds or holds, it never drops.
//! 6. Suppression blocks opening, never closing.
//! 7. Every queue, body and retry has a named bound.
//! 8. `io` decides nothing, `engine` does nothing.

pub mod cli;
pub mod config;
pub mod engine;
pub mod fail;
pub mod io;
pub mod seeded;
pub mod service;
