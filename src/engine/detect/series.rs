//! The last samples of one metric, kept so that any part of them is summed up in a few steps.
//!
//! Samples stand in blocks of [`BLOCK`], each with the figures of its samples; [`FAN`] blocks that
//! are full make a group with figures of its own, and [`FAN`] groups one more. A window is the end
//! of one block, some blocks, some groups: about a hundred steps at most, however long it is, and
//! windows of any length share one series.
//!
//! A series is bounded. Past [`SAMPLES_MAX`] samples, old blocks keep their figures alone; past
//! [`BLOCKS_MAX`] blocks, neighbours become one, the older the coarser. Then the far edge of a
//! window is blurred by less than one part in [`RESOLUTION`] of its length, or by one block.

use std::collections::VecDeque;
use std::ops::Range;

use super::summary::Summary;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Samples in a block.
const BLOCK: usize = 32;
/// Blocks in a group, and groups in the next.
const FAN: usize = 16;
/// Layers of groups above the blocks.
const LAYERS: usize = 2;
/// Blocks under a block, a group, a group of groups.
const WIDTHS: [usize; LAYERS + 1] = [1, FAN, FAN * FAN];
/// Most samples that are kept one by one.
pub const SAMPLES_MAX: usize = 4_096;
/// Most blocks.
pub const BLOCKS_MAX: usize = 2_048;
/// Neighbours become one while they are together at most this part of their age long. About
/// `2 * 128 * ln(7 d / 7 min)` blocks stay of ten samples a second.
pub const RESOLUTION: i64 = 128;

/// Samples in the order of their times.
pub(super) type Samples = [(Timestamp, f64)];

/// Samples that follow each other.
#[derive(Clone, Debug)]
struct Block {
    summary: Summary,
    /// Empty where only the figures are kept.
    samples: Vec<(Timestamp, f64)>,
}

impl Block {
    fn new(at: Timestamp, value: f64) -> Block {
        Block { summary: Summary::of(at, value), samples: vec![(at, value)] }
    }

    fn is_full(&self) -> bool {
        self.samples.len() >= BLOCK || self.samples.is_empty()
    }

    fn append(&mut self, at: Timestamp, value: f64) {
        self.summary = self.summary.joined(&Summary::of(at, value));
        self.samples.push((at, value));
    }

    /// Places a late sample by its time, after those of the same time. False where it went into
    /// the figures alone.
    fn insert(&mut self, at: Timestamp, value: f64) -> bool {
        if self.samples.is_empty() {
            let late = Summary::of(at, value);
            self.summary = if at < self.summary.first_at {
                late.joined(&self.summary)
            } else {
                self.summary.joined_within(&late)
            };
            return false;
        }
        let place = self.samples.partition_point(|(known, _)| *known <= at);
        self.samples.insert(place, (at, value));
        self.recount();
        true
    }

    /// Time of the sample that leaves a window first; one that was merged leaves as a whole.
    fn oldest(&self) -> Timestamp {
        self.samples.first().map_or(self.summary.last_at, |(at, _)| *at)
    }

    fn recount(&mut self) {
        if let Some(summary) = Summary::of_all(&self.samples) {
            self.summary = summary;
        }
    }
}

/// Samples of a series between two times.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The sample before them.
    pub before: Option<f64>,
    /// Those of the block in which they begin.
    pub head: &'a Samples,
    /// Numbers of the blocks of which all belong to them.
    pub whole: Range<usize>,
    /// Those of the block in which they end.
    pub tail: &'a Samples,
    /// Time of the oldest; of several that were merged, the newest of these.
    pub leaves_first: Option<Timestamp>,
}

/// The last samples of one metric, in the order of their event times.
#[derive(Clone, Debug, Default)]
pub struct Series {
    kept: TimeSpan,
    blocks: VecDeque<Block>,
    /// Blocks that were dropped before the first that is here: block `i` is number `gone + i`.
    gone: usize,
    /// Of each layer, the figures of groups of full blocks; group `g` of the first layer sums up
    /// the blocks numbered from `g * FAN`.
    groups: [VecDeque<Option<Summary>>; LAYERS],
    /// Samples that are kept one by one.
    samples: usize,
}

impl Series {
    /// A series that keeps what a window of `kept` needs.
    pub fn new(kept: TimeSpan) -> Series {
        Series { kept, ..Series::default() }
    }

    /// How far back it keeps samples.
    pub fn kept(&self) -> TimeSpan {
        self.kept
    }

    /// Keeps what a window of `kept` needs from now on; what was forgotten stays forgotten.
    pub fn keep(&mut self, kept: TimeSpan) {
        self.kept = kept;
    }

    /// Time of the newest sample.
    pub fn newest(&self) -> Option<Timestamp> {
        self.blocks.back().map(|block| block.summary.last_at)
    }

    /// Places a sample by its time, after those of the same time.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        match self.newest() {
            Some(newest) if at < newest => self.insert(at, value),
            _ => self.append(at, value),
        }
        if let Some(newest) = self.newest() {
            self.forget(newest - self.kept);
        }
        if self.samples > SAMPLES_MAX {
            self.keep_figures_of_old_blocks();
        }
    }

    /// Places a sample by its time, unless there is one of that time and value. Where only figures
    /// are kept that cannot be told.
    pub fn push_once(&mut self, at: Timestamp, value: f64) {
        let first = self.blocks.partition_point(|block| block.summary.last_at < at);
        let of_time = self.blocks.range(first..).take_while(|block| block.summary.first_at <= at);
        let is_known = of_time.flat_map(|block| &block.samples).any(|known| *known == (at, value));
        if !is_known {
            self.push(at, value);
        }
    }

    fn append(&mut self, at: Timestamp, value: f64) {
        self.samples += 1;
        match self.blocks.back_mut() {
            Some(block) if !block.is_full() => block.append(at, value),
            _ => self.append_block(Block::new(at, value)),
        }
    }

    fn append_block(&mut self, block: Block) {
        // The block before it is complete: its groups take it in.
        if let Some(last) = self.blocks.len().checked_sub(1) {
            self.sum_up(self.gone + last);
        }
        if self.blocks.len() >= BLOCKS_MAX {
            self.merge_neighbours();
        }
        self.blocks.push_back(block);
    }

    fn insert(&mut self, at: Timestamp, value: f64) {
        let index = self.blocks.partition_point(|block| block.summary.last_at <= at);
        let Some(block) = self.blocks.get_mut(index) else {
            return;
        };
        self.samples += usize::from(block.insert(at, value));
        let splits = block.samples.len() > 2 * BLOCK && self.blocks.len() < BLOCKS_MAX;
        let Some(block) = self.blocks.get_mut(index).filter(|_| splits) else {
            return self.sum_up(self.gone + index);
        };
        let samples = block.samples.split_off(BLOCK);
        block.recount();
        if let Some(summary) = Summary::of_all(&samples) {
            self.blocks.insert(index + 1, Block { summary, samples });
        }
        self.sum_up_all();
    }

    /// Takes what is younger than `from` out of another series, as if it had been `back` earlier.
    /// It must be younger than everything here.
    pub fn append_from(&mut self, other: &Series, from: Timestamp, back: TimeSpan) {
        for block in other.blocks.iter().filter(|block| block.summary.last_at > from) {
            if block.samples.is_empty() {
                self.append_block(Block {
                    summary: block.summary.earlier(back),
                    samples: Vec::new(),
                });
            }
            for (at, value) in parted(&block.samples, from).1 {
                self.push(*at - back, *value);
            }
        }
    }

    /// Drops what is younger than `until`.
    pub fn truncate(&mut self, until: Timestamp) {
        while let Some(block) = self.blocks.back_mut() {
            if block.summary.last_at <= until {
                break;
            }
            let left = block.samples.partition_point(|(at, _)| *at <= until);
            self.samples -= block.samples.len() - left;
            block.samples.truncate(left);
            if left > 0 {
                block.recount();
                break;
            }
            self.blocks.pop_back();
        }
    }

    /// Drops blocks that no window needs: one sample at `until` or before it is kept, since it
    /// tells that a window from there is covered.
    fn forget(&mut self, until: Timestamp) {
        while self.blocks.get(1).is_some_and(|second| second.summary.first_at <= until) {
            if let Some(block) = self.blocks.pop_front() {
                self.samples -= block.samples.len();
            }
            self.gone += 1;
            for (layer, width) in self.groups.iter_mut().zip(&WIDTHS[1..]) {
                if self.gone.is_multiple_of(*width) {
                    layer.pop_front();
                }
            }
        }
    }

    /// Makes the figures of the groups anew that block `number` belongs to.
    fn sum_up(&mut self, number: usize) {
        let mut child = number;
        for layer in 0..LAYERS {
            let group = child / FAN;
            // A group of which some members are gone is never asked as a whole.
            let members = (group * FAN..(group + 1) * FAN).filter_map(|at| self.part(layer, at));
            let summary = members.reduce(|all, next| all.joined(&next));
            let place = group - self.gone / WIDTHS[layer + 1];
            let groups = &mut self.groups[layer];
            if groups.len() <= place {
                groups.resize(place + 1, None);
            }
            groups[place] = summary;
            child = group;
        }
    }

    /// Figures of a block (layer 0) or a group, by its number in its layer.
    fn part(&self, layer: usize, number: usize) -> Option<Summary> {
        let place = number.checked_sub(self.gone / WIDTHS[layer])?;
        match layer.checked_sub(1) {
            None => self.blocks.get(place).map(|block| block.summary),
            Some(groups) => *self.groups[groups].get(place)?,
        }
    }

    /// Hands the figures of these blocks over, as few as can be.
    pub(super) fn parts(&self, numbers: Range<usize>, mut take: impl FnMut(&Summary)) {
        // The last block may still grow: no group has it yet.
        let complete = numbers.end.min((self.gone + self.blocks.len()).saturating_sub(1));
        let mut number = numbers.start;
        while number < numbers.end {
            let fits = |width: usize| number.is_multiple_of(width) && number + width <= complete;
            let layer = (1..=LAYERS).rev().find(|layer| fits(WIDTHS[*layer])).unwrap_or(0);
            if let Some(part) = self.part(layer, number / WIDTHS[layer]) {
                take(&part);
            }
            number += WIDTHS[layer];
        }
    }

    fn sum_up_all(&mut self) {
        self.gone = 0;
        self.groups = Default::default();
        for group in 0..self.blocks.len().div_ceil(FAN) {
            self.sum_up(group * FAN);
        }
    }

    /// Half of the samples stay; older blocks keep their figures alone.
    fn keep_figures_of_old_blocks(&mut self) {
        for block in &mut self.blocks {
            if self.samples <= SAMPLES_MAX / 2 {
                break;
            }
            self.samples -= block.samples.len();
            block.samples = Vec::new();
        }
    }

    fn merge_neighbours(&mut self) {
        let newest = self.newest().unwrap_or(Timestamp::EPOCH);
        for block in std::mem::take(&mut self.blocks) {
            let age = newest.since(block.summary.last_at).micros();
            match self.blocks.back_mut() {
                Some(last)
                    if block.summary.last_at.since(last.summary.first_at).micros()
                        <= age / RESOLUTION =>
                {
                    self.samples -= last.samples.len() + block.samples.len();
                    last.samples = Vec::new();
                    last.summary = last.summary.joined(&block.summary);
                }
                _ => self.blocks.push_back(block),
            }
        }
        // So many samples a second that even the newest do not fit: the oldest go.
        while self.blocks.len() > BLOCKS_MAX / 8 * 7 {
            if let Some(block) = self.blocks.pop_front() {
                self.samples -= block.samples.len();
            }
        }
        self.sum_up_all();
    }

    /// Where the samples with `from < time <= to` stand.
    pub(super) fn part_between(&self, from: Timestamp, to: Timestamp) -> Part<'_> {
        let mut start = self.blocks.partition_point(|block| block.summary.last_at <= from);
        let before = start.checked_sub(1).and_then(|index| self.blocks.get(index));
        let mut before = before.map(|block| block.summary.last);
        let mut head: &Samples = &[];
        if let Some(block) = self.blocks.get(start)
            && block.samples.first().is_some_and(|(at, _)| *at <= from)
        {
            let (out, inside) = parted(&block.samples, from);
            before = out.last().map(|(_, value)| *value).or(before);
            head = inside;
            start += 1;
        }
        let mut end = self.blocks.len();
        let mut tail: &Samples = &[];
        if self.newest().is_some_and(|newest| newest > to) {
            end = self.blocks.partition_point(|block| block.summary.last_at <= to).max(start);
            head = parted(head, to).0;
            tail = self.blocks.get(end).map_or(&[], |block| parted(&block.samples, to).0);
        }
        let leaves_first = self.blocks.range(start..end).next().map(Block::oldest);
        let leaves_first = head.first().map(|(at, _)| *at).or(leaves_first);
        let leaves_first = leaves_first.or(tail.first().map(|(at, _)| *at));
        Part { before, head, whole: self.gone + start..self.gone + end, tail, leaves_first }
    }

    /// The samples from a time on; of a block of which only the figures are kept, its first and last.
    pub(super) fn since(&self, from: Timestamp) -> Vec<(Timestamp, f64)> {
        let start = self.blocks.partition_point(|block| block.summary.last_at < from);
        let mut samples = Vec::new();
        for block in self.blocks.range(start..) {
            let Summary { first_at, first, last_at, last, .. } = block.summary;
            match block.samples.as_slice() {
                [] => samples.extend([(first_at, first), (last_at, last)]),
                all => samples.extend_from_slice(all),
            }
        }
        samples.retain(|(at, _)| *at >= from);
        samples
    }

    /// How many blocks there are, and how many samples one by one.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.blocks.len(), self.blocks.iter().map(|block| block.samples.len()).sum())
    }

    /// Most bytes that a series takes, whatever is sent.
    pub const fn bytes_max() -> usize {
        // Buffers double as they grow.
        let groups = 2 * (BLOCKS_MAX / WIDTHS[1] + BLOCKS_MAX / WIDTHS[2] + 2);
        size_of::<Series>()
            + BLOCKS_MAX * size_of::<Block>()
            + 2 * SAMPLES_MAX * size_of::<(Timestamp, f64)>()
            + groups * size_of::<Option<Summary>>()
    }
}

/// Samples until a time, and those after it.
fn parted(samples: &Samples, until: Timestamp) -> (&Samples, &Samples) {
    samples.split_at(samples.partition_point(|(at, _)| *at <= until))
}
