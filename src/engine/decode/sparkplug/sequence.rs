//! The sequence numbers of one edge node: what is missing, and until when it may still come.

use crate::engine::types::time::{TimeSpan, Timestamp};

/// A number counts from 0 to 255 and begins again.
const MODULUS: u64 = 256;
/// A number that is ahead by less than this went forward; by more, it is an old one.
const AHEAD_MAX: u64 = 128;

/// What a sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The next one, or one that was waited for.
    Expected,
    /// So many before it are missing now.
    Gap(u64),
    /// One that was there already.
    Old,
}

/// The numbers since a birth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The newest number; `None` before a birth.
    last: Option<u64>,
    /// One bit for each number that is missing.
    missing: [u64; 4],
    /// When the missing ones are given up.
    deadline: Option<Timestamp>,
}

impl Sequence {
    /// A birth begins to count anew.
    pub fn begin(&mut self, seq: u64) {
        *self = Sequence { last: Some(seq % MODULUS), ..Sequence::default() };
    }

    /// When the missing numbers are given up.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Gives up the missing numbers.
    pub fn give_up(&mut self) {
        self.missing = [0; 4];
        self.deadline = None;
    }

    /// Takes the number of a message.
    pub fn take(&mut self, seq: u64, now: Timestamp, patience: TimeSpan) -> Order {
        let seq = seq % MODULUS;
        let Some(last) = self.last else {
            return Order::Expected;
        };
        let ahead = (seq + MODULUS - (last + 1) % MODULUS) % MODULUS;
        if self.is_missing(seq) {
            self.set_missing(seq, false);
            if self.missing == [0; 4] {
                self.deadline = None;
            }
            return Order::Expected;
        }
        if ahead >= AHEAD_MAX {
            return Order::Old;
        }
        self.last = Some(seq);
        if ahead == 0 {
            return Order::Expected;
        }
        for skipped in 0..ahead {
            self.set_missing((last + 1 + skipped) % MODULUS, true);
        }
        self.deadline = self.deadline.or(Some(now + patience));
        Order::Gap(ahead)
    }

    fn is_missing(&self, seq: u64) -> bool {
        self.missing.get((seq / 64) as usize).is_some_and(|word| word >> (seq % 64) & 1 == 1)
    }

    fn set_missing(&mut self, seq: u64, missing: bool) {
        if let Some(word) = self.missing.get_mut((seq / 64) as usize) {
            let bit = 1 << (seq % 64);
            *word = if missing { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: TimeSpan = TimeSpan::from_secs(5);

    fn take(sequence: &mut Sequence, seq: u64) -> Order {
        sequence.take(seq, Timestamp::EPOCH, PATIENCE)
    }

    #[test]
    fn numbers_go_round_after_255() {
        let mut sequence = Sequence::default();
        sequence.begin(0);
        for seq in (1..256).chain(0..256) {
            assert_eq!(take(&mut sequence, seq), Order::Expected, "{seq}");
        }
    }

    #[test]
    fn a_message_that_overtook_another_is_no_gap_once_the_other_has_come() {
        let mut sequence = Sequence::default();
        sequence.begin(254);
        assert_eq!(take(&mut sequence, 1), Order::Gap(2));
        assert_eq!(sequence.deadline(), Some(Timestamp::EPOCH + PATIENCE));
        assert_eq!(take(&mut sequence, 255), Order::Expected);
        assert_eq!(take(&mut sequence, 2), Order::Expected);
        assert_eq!(take(&mut sequence, 0), Order::Expected);
        assert_eq!(sequence.deadline(), None);
        assert_eq!(take(&mut sequence, 0), Order::Old);
    }
}
