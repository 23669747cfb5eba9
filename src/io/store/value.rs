//! How a value lies in the tree: whole, or in chunks where it is long.
//!
//! sled rewrites a leaf of up to 17 records as one message, and a message past a quarter of a
//! segment (128 KiB) goes to a file of its own that is never synced: 17 records of 4 KiB and their
//! keys stay well below that. (The size that counts is the leaf's, not the value's.)

/// Longest piece of a value in one record, in bytes.
pub const CHUNK_BYTES: usize = 4 * 1024;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// First byte of the keys of chunks; callers' keys must not begin with it.
pub(super) const CHUNK_SPACE: u8 = 0xff;
/// Under which sled has the epoch of the log up to which it has everything; shorter than the key of
/// any chunk.
pub(super) const FOLDED_KEY: &[u8] = b"\xffwal";

const WHOLE: u8 = 0;
const CHUNKED: u8 = 1;

/// The record under a value's own key.
pub(super) enum Head<'a> {
    /// The value itself.
    Whole(&'a [u8]),
    /// The number of chunks that hold it.
    Chunked(u32),
}

/// Takes the record under a value's own key apart; `None` when it is none of ours.
pub(super) fn head(record: &[u8]) -> Option<Head<'_>> {
    match record.split_first()? {
        (&WHOLE, value) => Some(Head::Whole(value)),
        (&CHUNKED, count) => Some(Head::Chunked(u32::from_be_bytes(count.try_into().ok()?))),
        _ => None,
    }
}

/// Key of chunk `index` of the value under `key`. Two keys never share one: equal chunk keys have
/// value keys of equal length, hence the same value key.
pub(super) fn chunk_key(key: &[u8], index: u32) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(key.len() + 5);
    chunk.push(CHUNK_SPACE);
    chunk.extend_from_slice(key);
    chunk.extend_from_slice(&index.to_be_bytes());
    chunk
}

/// The records that hold `value`: the one under its key last. Returns the number of chunks.
pub(super) fn records(key: Vec<u8>, value: &[u8], mut put: impl FnMut(Vec<u8>, Vec<u8>)) -> u32 {
    let tagged = |tag: u8, rest: &[u8]| {
        let mut record = Vec::with_capacity(rest.len() + 1);
        record.push(tag);
        record.extend_from_slice(rest);
        record
    };
    if value.len() <= CHUNK_BYTES {
        put(key, tagged(WHOLE, value));
        return 0;
    }
    let mut count: u32 = 0;
    for chunk in value.chunks(CHUNK_BYTES) {
        put(chunk_key(&key, count), chunk.to_vec());
        count += 1;
    }
    put(key, tagged(CHUNKED, &count.to_be_bytes()));
    count
}
