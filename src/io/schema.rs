//! The version of the keys and values in the store, and how a store of an older version becomes one
//! of today.
//!
//! A step may be cut off anywhere and is made again from its beginning: it changes only what it has
//! not changed yet, and the version is written last.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::store::{Batch, Records, StoreError};

/// Version of what this program writes.
const SCHEMA: u32 = 2;
const SCHEMA_KEY: &[u8] = b"m/schema";
/// Records that are changed in one commit.
const BATCH: usize = 256;

/// Brings a store to the version of today; a new one is given it.
///
/// # Errors
/// [`StoreError::Newer`], a version that cannot be read, and what the disk says.
pub fn bring_up<S: Records>(store: &S, dir: &Path) -> Result<(), StoreError> {
    let Some(found) = store.get(SCHEMA_KEY)? else { return write_version(store, SCHEMA) };
    let version = |text: &str| text.trim().parse::<u32>().ok();
    let Some(found) = std::str::from_utf8(&found).ok().and_then(version) else {
        let (key, cause) = ("m/schema".to_owned(), "it is no number".to_owned());
        return Err(StoreError::Unreadable { key, cause });
    };
    if found > SCHEMA {
        return Err(StoreError::Newer { dir: dir.to_path_buf(), found, known: SCHEMA });
    }
    if found < 2 {
        change(store, b"j/", tell_whether_sent)?;
    }
    if found < SCHEMA {
        write_version(store, SCHEMA)?;
        let dir = dir.display();
        tracing::info!(%dir, from = found, to = SCHEMA, "The store is of the newest version now.");
    }
    Ok(())
}

fn write_version<S: Records>(store: &S, version: u32) -> Result<(), StoreError> {
    store.commit(vec![(SCHEMA_KEY.to_vec(), Some(version.to_string().into_bytes()))])
}

/// Changes the records of a kind. One that is no JSON is left for the load, which sets it aside.
fn change<S: Records>(
    store: &S,
    kind: &[u8],
    becomes: fn(&mut Json) -> bool,
) -> Result<(), StoreError> {
    let mut batch: Batch = Vec::new();
    for found in store.scan(kind, b"") {
        let (key, value) = found?;
        let Ok(mut record) = serde_json::from_slice::<Json>(&value) else { continue };
        if becomes(&mut record) {
            batch.push((key, Some(record.to_string().into_bytes())));
        }
        if batch.len() >= BATCH {
            store.commit(std::mem::take(&mut batch))?;
        }
    }
    if batch.is_empty() { Ok(()) } else { store.commit(batch) }
}

/// 1 to 2: a job that waits says whether it was handed over, and since when it is in doubt. Before, a
/// restart took each for sent.
fn tell_whether_sent(job: &mut Json) -> bool {
    let Some(state) = job.get_mut("state").and_then(Json::as_object_mut) else { return false };
    if state.remove("uncertain").is_none() {
        return false;
    }
    state.insert("in_doubt_since".to_owned(), Json::Null);
    state.insert("sent".to_owned(), json!(true));
    true
}
