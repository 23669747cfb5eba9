//! What gives way when upstreams take less than is decided, and in which order: first the comments
//! and escalations of tickets that are neither of a safety fault nor critical, which are folded into
//! one each, then the messages, which wait with their brokers. Never an open fault.

/// How much waits for the upstreams, measured against the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Less than half of it.
    #[default]
    Free,
    /// More than half of it: follow-ups are folded.
    Crowded,
    /// All of it: no message is taken in until a tenth is free again.
    Full,
}

impl Backlog {
    /// How it is with so many jobs of `most`, after what it was.
    pub fn with(self, jobs: usize, most: usize) -> Backlog {
        let stays_full = self == Backlog::Full && jobs > most - most / 10;
        if jobs >= most || stays_full {
            Backlog::Full
        } else if jobs >= most.div_ceil(2) {
            Backlog::Crowded
        } else {
            Backlog::Free
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_ups_give_way_at_half_and_messages_at_the_bound_until_a_tenth_is_free() {
        let mut backlog = Backlog::Free;
        let mut after = |jobs| {
            backlog = backlog.with(jobs, 100);
            backlog
        };
        assert_eq!(
            [after(49), after(50), after(99)],
            [Backlog::Free, Backlog::Crowded, Backlog::Crowded]
        );
        assert_eq!(
            [after(100), after(91), after(90)],
            [Backlog::Full, Backlog::Full, Backlog::Crowded]
        );
        assert_eq!([after(91), after(49)], [Backlog::Crowded, Backlog::Free]);
    }
}
