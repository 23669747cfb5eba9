//! Every bug that is planted is found: the simulation looks where it hurts.

use faultgate::seeded::Bug;
use faultgate_simulation::hunt::unmask;

/// Seeds in which each must show.
const SEEDS: u64 = 150;

#[test]
fn every_planted_bug_is_found() {
    for (name, bug) in Bug::ALL {
        let found = unmask(bug, SEEDS, 1);
        let (seed, why) = found.unwrap_or_else(|| panic!("{name} hides from {SEEDS} seeds"));
        println!("{name}: found after {} seeds: {why}", seed + 1);
    }
}
