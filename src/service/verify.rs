//! The chain of the ledger held against itself, on as many cores as there are.
//!
//! A row says itself what it stands on, so that parts are verified beside each other and their ends
//! held against each other afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::engine::types::chain::{Break, Chain};
use crate::io::journal::Journal;
use crate::io::store::StoreError;

/// Rows of a part.
const PART: u64 = 8_192;
/// Most threads: what they read comes from one disk.
const THREADS_MAX: usize = 8;

/// Rows and hash of the end, or where the chain is broken.
pub type Verified = Result<(u64, String), Break>;

/// Verifies the whole ledger.
///
/// # Errors
/// What the disk says.
pub fn verify(journal: &Journal) -> Result<Verified, StoreError> {
    let last = journal.ledger_last()?;
    let parts = last / PART + 1;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let threads = cores.min(usize::try_from(parts).unwrap_or(cores));
    let next = AtomicU64::new(0);
    let verify_some = || {
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|part| *part < parts);
        let mut done = Vec::new();
        while let Some(part) = claim() {
            done.push((part, verify_part(journal, part, parts)?));
        }
        Ok(done)
    };
    let mut done: Vec<(u64, Result<Chain, Break>)> = Vec::new();
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(verify_some)).collect();
        done.extend(verify_some()?);
        for other in others {
            // A part that is missing is seen below.
            done.extend(other.join().unwrap_or_else(|_| Ok(Vec::new()))?);
        }
        Ok::<_, StoreError>(())
    })?;
    done.sort_unstable_by_key(|(part, _)| *part);
    let is_all = done.len() as u64 == parts;
    let joined = done.into_iter().try_fold(Chain::default(), |mut whole, (_, part)| {
        whole.join(part?)?;
        Ok::<_, Break>(whole)
    });
    match joined {
        Ok(whole) if is_all => Ok(whole.finish()),
        // Where exactly it is broken shows from the beginning only.
        Ok(_) | Err(_) => one_by_one(journal),
    }
}

/// The last part goes on to whatever the end is by now.
fn verify_part(
    journal: &Journal,
    part: u64,
    parts: u64,
) -> Result<Result<Chain, Break>, StoreError> {
    let from = part * PART;
    let end = if part + 1 == parts { u64::MAX } else { from + PART };
    let mut chain = Chain::part();
    for record in journal.ledger_bytes_within(from, end) {
        if let Err(broken) = chain.take(&record?.1) {
            return Ok(Err(broken));
        }
    }
    Ok(Ok(chain))
}

/// From the beginning, on this thread.
fn one_by_one(journal: &Journal) -> Result<Verified, StoreError> {
    let mut chain = Chain::default();
    for record in journal.ledger_bytes(1) {
        if let Err(broken) = chain.take(&record?.1) {
            return Ok(Err(broken));
        }
    }
    Ok(chain.finish())
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::engine::types::effect::Write;
    use crate::engine::types::ledger::LedgerRow;
    use crate::engine::types::ticket::TicketId;
    use crate::io::store::StoreOptions;

    /// So many rows; `spoil` changes what one of them says after it was sealed.
    fn journal(folder: &std::path::Path, rows: u64, spoil: impl Fn(&mut LedgerRow)) -> Journal {
        let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
        let (journal, _) = Journal::open(folder, options).expect("a store");
        let mut hash = String::new();
        let mut batch = Vec::new();
        for sequence in 1..=rows {
            let mut row = LedgerRow {
                sequence,
                idem: format!("f{sequence}-1/api.call#1"),
                ticket: TicketId(sequence),
                external_ref: format!("f{sequence}"),
                ..LedgerRow::sample()
            };
            row.seal(&hash);
            hash.clone_from(&row.hash);
            spoil(&mut row);
            batch.push(Write::Ledger(Box::new(row)));
        }
        journal.commit(&batch).expect("room");
        journal
    }

    #[test]
    fn a_ledger_of_several_parts_is_intact_and_what_is_wrong_is_found_where_it_is() {
        let rows = 2 * PART + 100;
        let folder = tempfile::tempdir().expect("a folder");
        let intact = journal(folder.path(), rows, |_| {});
        let verified = verify(&intact).expect("it can be read");
        assert_eq!(verified.map(|(rows, _)| rows), Ok(rows));
        // The first row of a part says where it stands: what is wrong there must show as well.
        for wrong in [PART, PART + 7] {
            let folder = tempfile::tempdir().expect("a folder");
            let spoilt = journal(folder.path(), rows, |row| {
                if row.sequence == wrong {
                    row.qty = Decimal::TWO;
                }
            });
            let verified = verify(&spoilt).expect("it can be read");
            assert_eq!(verified, Err(Break::Changed { sequence: wrong }));
        }
    }
}
