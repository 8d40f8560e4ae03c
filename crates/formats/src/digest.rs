//! 32-byte names: chunk digests and fingerprints.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

use crate::name_error::{NameError, serde_as_text};

/// Computes SHA-256.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    bytes
}

/// Name of a chunk: 32 bytes, written as 64 lower-case hex digits.
///
/// SHA-256 of the chunk's plain bytes; for an encrypted chunk followed by a value derived from the key
/// (`docs/formats.md`, "Keys").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkDigest([u8; 32]);

impl ChunkDigest {
    /// Makes a digest of its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Computes the digest of an unencrypted chunk.
    pub fn of(plain: &[u8]) -> Self {
        Self(sha256(plain))
    }

    /// Returns the name of the chunk's directory: the first two bytes in hex.
    pub fn dir_name(&self) -> String {
        hex::encode(&self.0[..2])
    }
}

impl From<[u8; 32]> for ChunkDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for ChunkDigest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(NameError::new("digest", text, "must be 64 lower-case hex digits"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Fingerprint of a key or a certificate: 32 bytes, written as lower-case hex bytes joined with `:`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Makes a fingerprint of its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Computes the fingerprint of a certificate: SHA-256 of its DER form.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// Returns the first 8 bytes in colon form, enough for a person to tell keys apart.
    pub fn short(&self) -> String {
        colon_form(&self.0[..8])
    }
}

impl FromStr for Fingerprint {
    type Err = NameError;

    /// Parses with or without colons, in either case.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        if text.len() > 95 || hex::decode_to_slice(&digits, &mut bytes).is_err() {
            return Err(NameError::new("fingerprint", text, "must be 32 hex bytes, joined with `:` or not at all"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&colon_form(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&colon_form(&self.0))
    }
}

serde_as_text!(ChunkDigest, Fingerprint);

fn colon_form(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_plain_chunk_is_sha_256() {
        let digest = ChunkDigest::of(b"hello");

        assert_eq!(digest.to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(digest.dir_name(), "2cf2");
        assert_eq!(digest.to_string().parse::<ChunkDigest>().unwrap(), digest);
        let zeros = ChunkDigest::of(&vec![0; 4 << 20]);
        assert_eq!(zeros.to_string(), "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8");
    }

    #[test]
    fn digests_are_64_lower_case_hex_digits_and_nothing_else() {
        let good = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for bad in ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace('2', "g"), "../../etc"] {
            assert!(bad.parse::<ChunkDigest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_parse_with_and_without_colons_in_either_case() {
        let print = Fingerprint::from_bytes(sha256(b"x"));
        let text = print.to_string();

        assert_eq!(text.len(), 95);
        for form in [text.clone(), text.to_uppercase(), text.replace(':', "")] {
            assert_eq!(form.parse::<Fingerprint>().unwrap(), print);
        }
        assert_eq!(print.short(), &text[..23]);
        assert!(text[3..].parse::<Fingerprint>().is_err());
    }
}
