//! Digests and keyed digests, and how they are written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use ring::{digest as sha, hmac as keyed};

use crate::engine::types::document::Word;

/// A digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5, of old systems.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// HMAC of it.
    HmacMd5,
    /// HMAC of it.
    HmacSha1,
    /// HMAC of it.
    HmacSha256,
    /// HMAC of it.
    HmacSha512,
}

impl Word for Algorithm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("md5", Algorithm::Md5),
        ("sha1", Algorithm::Sha1),
        ("sha256", Algorithm::Sha256),
        ("sha512", Algorithm::Sha512),
        ("hmac-md5", Algorithm::HmacMd5),
        ("hmac-sha1", Algorithm::HmacSha1),
        ("hmac-sha256", Algorithm::HmacSha256),
        ("hmac-sha512", Algorithm::HmacSha512),
    ];
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Small hexadecimal digits.
    Hex,
    /// Capital ones.
    HexUpper,
    /// Base64 with padding.
    Base64,
    /// Base64 for addresses, without padding.
    Base64Url,
}

impl Word for Encoding {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("hex", Encoding::Hex),
        ("HEX", Encoding::HexUpper),
        ("base64", Encoding::Base64),
        ("base64url", Encoding::Base64Url),
    ];
}

/// The digest of `data`; `key` is for those that take one.
pub(super) fn digest(algorithm: Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    let plain = |of| sha::digest(of, data).as_ref().to_vec();
    let with_key = |of| keyed::sign(&keyed::Key::new(of, key), data).as_ref().to_vec();
    match algorithm {
        Algorithm::Md5 => Md5::digest(data).to_vec(),
        Algorithm::Sha1 => plain(&sha::SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::Sha256 => plain(&sha::SHA256),
        Algorithm::Sha512 => plain(&sha::SHA512),
        Algorithm::HmacMd5 => hmac_md5(key, data),
        Algorithm::HmacSha1 => with_key(keyed::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::HmacSha256 => with_key(keyed::HMAC_SHA256),
        Algorithm::HmacSha512 => with_key(keyed::HMAC_SHA512),
    }
}

fn hmac_md5(key: &[u8], data: &[u8]) -> Vec<u8> {
    // A key of any length is taken.
    Hmac::<Md5>::new_from_slice(key)
        .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

/// Bytes as text.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text does not fail.
        let _written = match encoding {
            Encoding::Hex => write!(text, "{byte:02x}").is_ok(),
            Encoding::HexUpper => write!(text, "{byte:02X}").is_ok(),
            Encoding::Base64 | Encoding::Base64Url => break,
        };
    }
    match encoding {
        Encoding::Hex | Encoding::HexUpper => text,
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// True when two texts are the same, in a time that does not tell where they differ.
pub(super) fn same(ours: &str, theirs: &str) -> bool {
    let (a, b) = (ours.as_bytes(), theirs.as_bytes());
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}
