//! The gateway in a simulated world.
//!
//! The engine, the journal, the log of the store, the end of a turn and the connectors are those of
//! the gateway; the clock, the network, the disk, the brokers, the upstreams and the devices are
//! simulated, and everything that happens follows from one seed. After every turn the engine is
//! compared with a plain model of what is promised, and in the end the upstreams, the ledger and
//! the disk are. See `docs/simulation.md`.
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | what will happen, from the seed |
//! | `devices`, `broker`, `net`, `upstream`, `servers`, `disk` | the world |
//! | `process`, `turns` | the gateway in it |
//! | `world` | what happens, in its order |
//! | `rules`, `quiet`, `money`, `model`, `check`, `left` | what should be |
//! | `restored` | a backup from the run, put back after it |
//! | `hunt` | many seeds, and the story of one that fails |

pub mod broker;
pub mod chance;
pub mod check;
pub mod devices;
pub mod disk;
pub mod hunt;
mod left;
pub mod model;
pub mod money;
pub mod net;
pub mod plan;
pub mod process;
pub mod quiet;
mod restored;
pub mod rules;
mod servers;
pub mod story;
mod turns;
pub mod upstream;
pub mod world;
