//! Suppression by design: which raised alarms open no tickets and notify nobody, and for how long.
//!
//! A suppressed alarm is raised all the same: it returns, resolves and closes as any other. When
//! the suppression ends while the fault is still there, its ticket opens then. A safety alarm is
//! never suppressed by design.

mod inhibit;
mod maintenance;

pub use inhibit::{AlarmFacts, Inhibit, Inhibitors, read_inhibits};
pub use maintenance::{Maintenance, read_maintenance};
