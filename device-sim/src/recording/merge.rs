//! Files as one recording, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Messages, Recorded, RecordingError};

/// What reading has met so far.
#[derive(Debug, Default)]
pub struct Notes {
    /// Lines that are no message.
    pub skipped: u64,
    /// The first of them.
    pub first: Option<RecordingError>,
    /// Messages that are older than the one before them in the same file. They are played where
    /// they stand.
    pub backwards: u64,
    /// Files that broke off: what stands before was read, what stands behind was not.
    pub broken: Vec<RecordingError>,
}

impl Notes {
    /// One line for each thing that a person should know.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(first) = &self.first {
            let count = self.skipped;
            lines.push(format!("lines skipped, being no message: {count}; the first: {first}"));
        }
        if self.backwards > 0 {
            let count = self.backwards;
            lines.push(format!(
                "messages older than the one before, played where they stand: {count}"
            ));
        }
        let broken = self.broken.iter();
        lines.extend(broken.map(|broken| format!("{broken}; the rest of this file was not read")));
        lines
    }
}

/// Messages of one or several files. Each file is played in its own order; between files the
/// oldest message comes first.
pub struct Recording {
    inputs: Vec<Input>,
    /// Time of each input's next message, and the number of the input.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    notes: Notes,
}

struct Input {
    messages: Messages,
    head: Option<Recorded>,
}

impl Recording {
    pub(super) fn new(inputs: Vec<Messages>) -> Recording {
        let inputs: Vec<Input> =
            inputs.into_iter().map(|messages| Input { messages, head: None }).collect();
        let mut recording = Recording { inputs, next: BinaryHeap::new(), notes: Notes::default() };
        (0..recording.inputs.len()).for_each(|index| recording.refill(index, None));
        recording
    }

    /// What reading has met so far.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// True when a file broke off.
    pub fn is_incomplete(&self) -> bool {
        !self.notes.broken.is_empty()
    }

    /// Takes the next message of a file whose last one was of the time `last_us`.
    fn refill(&mut self, index: usize, last_us: Option<i64>) {
        let Some(input) = self.inputs.get_mut(index) else { return };
        for read in &mut input.messages {
            match read {
                Ok(recorded) => {
                    self.notes.backwards +=
                        u64::from(last_us.is_some_and(|last_us| recorded.at_us < last_us));
                    self.next.push(Reverse((recorded.at_us, index)));
                    input.head = Some(recorded);
                    return;
                }
                Err(error @ RecordingError::Line { .. }) => {
                    self.notes.skipped += 1;
                    self.notes.first.get_or_insert(error);
                }
                Err(error @ (RecordingError::Io { .. } | RecordingError::TooManyFiles(_))) => {
                    self.notes.broken.push(error);
                }
            }
        }
    }
}

impl Iterator for Recording {
    type Item = Recorded;

    fn next(&mut self) -> Option<Recorded> {
        let Reverse((at_us, index)) = self.next.pop()?;
        let recorded = self.inputs.get_mut(index)?.head.take();
        self.refill(index, Some(at_us));
        recorded
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("notes", &self.notes).finish_non_exhaustive()
    }
}
