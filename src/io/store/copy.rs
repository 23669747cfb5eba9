//! A copy of everything as it was at one moment, made while commits go on.
//!
//! The records are read one page after another, so that a page may be older than the next one. What
//! was committed meanwhile comes after them and says how each record that was touched is at the
//! end: the copy is the store as it was when the last record was read, and no commit has waited.

use super::{Record, Store, StoreError, writer};

/// Ends the copy also where the reader gives up.
struct Copying<'a>(&'a Store);

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        // What is left of a copy that was given up is of no use to anybody.
        drop(writer::lock(&self.0.writer).end_copy());
    }
}

impl Store {
    /// Hands every record to `take`, and after them those that were put (`Some`) or deleted
    /// (`None`) meanwhile: the last one of a key counts. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CopyRefused`], what the disk says, and what `take` says.
    pub fn copy<E: From<StoreError>>(
        &self,
        mut take: impl FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        writer::lock(&self.writer).begin_copy()?;
        let copying = Copying(self);
        for found in self.scan(b"", b"") {
            let (key, value): Record = found?;
            take(key, Some(value))?;
        }
        let meanwhile = writer::lock(&self.writer).end_copy();
        // Another copy may have begun by now.
        std::mem::forget(copying);
        meanwhile?.into_iter().try_for_each(|(key, value)| take(key, value))
    }
}
