//! The chain of the ledger, held against the bytes that are kept: a row is not read for it.

use std::borrow::Cow;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::ledger::LedgerState;

/// Hexadecimal digits of a hash.
const HASH_CHARS: usize = 64;
/// What ends the bytes of a row, without the hash in it.
const TAIL: usize = HASH_CHARS + 2;

/// What of a row the chain looks at.
#[derive(Debug, Deserialize)]
struct Link<'a> {
    sequence: u64,
    #[serde(borrow)]
    idem: Cow<'a, str>,
    state: LedgerState,
    reverses: Option<u64>,
    prev_hash: &'a str,
    hash: &'a str,
}

impl<'a> Link<'a> {
    /// Reads a row as this program writes them, without looking at what lies between; `None` for one
    /// that is written otherwise, which is read as JSON.
    fn quick(row: &'a [u8]) -> Option<Link<'a>> {
        let rest = row.strip_prefix(b"{\"sequence\":")?;
        let digits = rest.iter().position(|byte| *byte == b',')?;
        let (number, rest) = rest.split_at_checked(digits)?;
        let (_, rest) = text(rest, b",\"meter\":\"")?;
        let (_, rest) = text(rest, b",\"qty\":\"")?;
        let (state, rest) = text(rest, b",\"state\":\"")?;
        let (idem, _) = text(rest, b",\"idem\":\"")?;
        let (body, tail) = row.split_at_checked(row.len().checked_sub(TAIL)?)?;
        let body = body.strip_suffix(b"\",\"hash\":\"")?;
        let (before, prev_hash) = match body.strip_suffix(b"\"prev_hash\":\"") {
            Some(before) => (before, ""),
            None => {
                let (before, hash) = body.split_at_checked(body.len().checked_sub(HASH_CHARS)?)?;
                (before.strip_suffix(b"\"prev_hash\":\"")?, hex(hash)?)
            }
        };
        Some(Link {
            sequence: std::str::from_utf8(number).ok()?.parse().ok()?,
            idem: Cow::Borrowed(idem),
            state: match state {
                "reserved" => LedgerState::Reserved,
                "committed" => LedgerState::Committed,
                "released" => LedgerState::Released,
                "ambiguous" => LedgerState::Ambiguous,
                _ => return None,
            },
            reverses: reverses(before)?,
            prev_hash,
            hash: hex(tail.strip_suffix(b"\"}")?)?,
        })
    }
}

/// A text after what announces it, and what follows its closing quote. One with escapes is not read.
fn text<'a>(bytes: &'a [u8], before: &[u8]) -> Option<(&'a str, &'a [u8])> {
    let bytes = bytes.strip_prefix(before)?;
    let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.strip_prefix(b"\"")?))
}

fn hex(bytes: &[u8]) -> Option<&str> {
    let is_hex = bytes.len() == HASH_CHARS && bytes.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(bytes).ok().filter(|_| is_hex)
}

/// The row that is taken back, in what stands before `prev_hash`: the number before severity, time
/// and recorded, three names and three words without escapes. Every other field is in quotes.
fn reverses(before: &[u8]) -> Option<Option<u64>> {
    const QUOTES: usize = 12;
    let quotes = before.iter().enumerate().rev().filter(|(_, byte)| **byte == b'"');
    let (at, _) = quotes.take(QUOTES).last()?;
    let (front, severity) = before.split_at_checked(at)?;
    if !severity.starts_with(b"\"severity\":\"") {
        return None;
    }
    let front = front.strip_suffix(b",")?;
    let digits = front.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Some(None);
    }
    let (name, number) = front.split_at_checked(front.len() - digits)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    name.ends_with(b"\"reverses\":").then_some(Some(number))
}

/// Where the ledger is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Bytes that are no row.
    #[error("row {after} is followed by something that is no row: {cause}")]
    NoRow {
        /// The row before.
        after: u64,
        /// What is wrong.
        cause: String,
    },
    /// Rows are missing, or there twice.
    #[error("row {after} is followed by row {found}")]
    Gap {
        /// The row before.
        after: u64,
        /// What follows.
        found: u64,
    },
    /// A row was changed.
    #[error("row {sequence} is not what was written: its hash differs")]
    Changed {
        /// The row.
        sequence: u64,
    },
    /// A row does not build on the one before.
    #[error("row {sequence} was not written after the one before it: the chain is broken")]
    Unlinked {
        /// The row.
        sequence: u64,
    },
    /// A movement that was spent twice.
    #[error("{count} movements are committed twice")]
    Twice {
        /// How many.
        count: usize,
    },
}

/// A ledger, or a part of one, that is being verified row by row in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// What the first row of a part stands on; `None` for the beginning of the ledger.
    base: Option<(u64, String)>,
    /// The base is what the first row says.
    is_part: bool,
    sequence: u64,
    hash: String,
    committed: Vec<u128>,
}

impl Chain {
    /// A part that begins anywhere; what it stands on is held against the part before when they are
    /// joined.
    pub fn part() -> Chain {
        Chain { is_part: true, ..Chain::default() }
    }

    /// Holds the next row against the one before.
    ///
    /// # Errors
    /// See [`Break`].
    pub fn take(&mut self, row: &[u8]) -> Result<(), Break> {
        let link = match Link::quick(row) {
            Some(link) => link,
            None => serde_json::from_slice(row)
                .map_err(|error| Break::NoRow { after: self.sequence, cause: error.to_string() })?,
        };
        if self.is_part && self.base.is_none() {
            self.sequence = link.sequence.saturating_sub(1);
            link.prev_hash.clone_into(&mut self.hash);
            self.base = Some((self.sequence, self.hash.clone()));
        }
        let (after, sequence) = (self.sequence, link.sequence);
        if sequence != after + 1 {
            return Err(Break::Gap { after, found: sequence });
        }
        if !is_sealed(row, link.hash) {
            return Err(Break::Changed { sequence });
        }
        if link.prev_hash != self.hash {
            return Err(Break::Unlinked { sequence });
        }
        if link.state == LedgerState::Committed && link.reverses.is_none() {
            self.committed.push(xxh3_128(link.idem.as_bytes()));
        }
        self.sequence = sequence;
        self.hash.clear();
        self.hash.push_str(link.hash);
        Ok(())
    }

    /// Goes on with a part whose rows follow.
    ///
    /// # Errors
    /// [`Break::Gap`] and [`Break::Unlinked`] where it stands on something else.
    pub fn join(&mut self, part: Chain) -> Result<(), Break> {
        let Some((sequence, hash)) = part.base else { return Ok(()) };
        if sequence != self.sequence {
            return Err(Break::Gap { after: self.sequence, found: sequence + 1 });
        }
        if hash != self.hash {
            return Err(Break::Unlinked { sequence: sequence + 1 });
        }
        self.sequence = part.sequence;
        self.hash = part.hash;
        self.committed.extend(part.committed);
        Ok(())
    }

    /// Rows so far, and the hash of the last one.
    pub fn end(&self) -> (u64, &str) {
        (self.sequence, &self.hash)
    }

    /// No movement was committed twice.
    ///
    /// # Errors
    /// [`Break::Twice`].
    pub fn finish(mut self) -> Result<(u64, String), Break> {
        self.committed.sort_unstable();
        let twice = self.committed.windows(2).filter(|pair| pair.first() == pair.last()).count();
        if twice > 0 { Err(Break::Twice { count: twice }) } else { Ok((self.sequence, self.hash)) }
    }
}

/// The hash of a row: BLAKE3 of its bytes with an empty `hash`, hex.
pub fn digest(bare: &[u8]) -> String {
    blake3::hash(bare).to_hex().to_string()
}

/// True when the hash at the end of a row is what the rest of it says.
pub fn is_intact(row: &[u8]) -> bool {
    let link: Result<Link<'_>, _> = serde_json::from_slice(row);
    link.is_ok_and(|link| is_sealed(row, link.hash))
}

// The hash is the last field: before it stands what was hashed, but for the closing `"}`.
fn is_sealed(row: &[u8], hash: &str) -> bool {
    let Some((body, tail)) = row.len().checked_sub(TAIL).and_then(|at| row.split_at_checked(at))
    else {
        return false;
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(body).update(b"\"}");
    tail.strip_suffix(b"\"}").is_some_and(|told| {
        told == hash.as_bytes() && hasher.finalize().to_hex().as_bytes() == told
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::super::ledger::{LedgerRow, Meter, Rung};
    use super::super::severity::Severity;
    use super::super::ticket::TicketId;
    use super::super::time::Timestamp;
    use super::*;

    fn rows() -> Vec<LedgerRow> {
        let mut hash = String::new();
        let mut rows = Vec::new();
        for sequence in 1..=7 {
            let mut row = LedgerRow {
                sequence,
                meter: Meter::ApiCall,
                qty: Decimal::NEGATIVE_ONE,
                state: LedgerState::Committed,
                idem: format!("冷柜-{sequence}/api.call"),
                ticket: TicketId(1),
                upstream_ticket: (sequence == 3).then(|| "\"reverses\":7".to_owned()),
                external_ref: "f".into(),
                action: "open".into(),
                device: "fz \"1\\".into(),
                rule: "hot".into(),
                site: "\",\"hash\":\"".into(),
                customer: String::new(),
                region: String::new(),
                device_class: String::new(),
                revision: String::new(),
                plan: if sequence == 4 { "7".into() } else { String::new() },
                budget_rung: (sequence == 5).then_some(Rung::Red),
                reverses: (sequence == 6).then_some(2),
                severity: Severity::Major,
                time: Timestamp::EPOCH,
                recorded: Timestamp::EPOCH,
                prev_hash: String::new(),
                hash: String::new(),
            };
            if sequence == 7 {
                row.idem.push('"');
            }
            row.seal(&hash);
            hash.clone_from(&row.hash);
            rows.push(row);
        }
        rows
    }

    #[test]
    fn a_row_is_read_at_a_glance_as_it_is_read_as_json() {
        for row in rows() {
            let bytes = row.to_bytes();
            let read: Link<'_> = serde_json::from_slice(&bytes).expect("a row");
            match Link::quick(&bytes) {
                Some(quick) => assert_eq!(format!("{quick:?}"), format!("{read:?}")),
                None => assert_eq!(row.sequence, 7, "only escapes in the key are read as JSON"),
            }
        }
    }

    fn part(rows: &[LedgerRow]) -> Result<Chain, Break> {
        let mut part = Chain::part();
        rows.iter().try_for_each(|row| part.take(&row.to_bytes())).map(|()| part)
    }

    #[test]
    fn parts_that_are_joined_are_the_whole_and_each_stands_on_the_one_before() {
        let rows = rows();
        let mut whole = Chain::default();
        rows.iter().for_each(|row| whole.take(&row.to_bytes()).expect("intact"));
        for cut in 0..=rows.len() {
            let (first, second) = rows.split_at(cut);
            let mut joined = Chain::default();
            joined.join(part(first).expect("intact")).expect("the beginning");
            joined.join(part(second).expect("intact")).expect("it follows");
            assert_eq!(joined.finish(), whole.clone().finish());
        }
        let mut gap = Chain::default();
        gap.join(part(&rows[..2]).expect("intact")).expect("the beginning");
        let missing = gap.join(part(&rows[3..]).expect("intact"));
        assert_eq!(missing, Err(Break::Gap { after: 2, found: 4 }));
        let mut other = rows[2].clone();
        other.seal(&"0".repeat(64));
        let unlinked = gap.join(part(&[other]).expect("intact"));
        assert_eq!(unlinked, Err(Break::Unlinked { sequence: 3 }));
    }
}
