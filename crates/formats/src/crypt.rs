//! The encryption key and everything derived from it (`docs/formats.md`, "Keys").

use std::fmt;
use std::num::NonZeroU32;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U16;
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, KeyInit, Nonce, Tag};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::{hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::digest::{ChunkDigest, Fingerprint, sha256};

/// AES-256-GCM with a 16-byte nonce: the first counter block is derived from all of it with GHASH.
type Cipher = AesGcm<Aes256, U16>;

/// Salt of the derived key.
const ID_KEY_SALT: &[u8] = b"_id_key";
/// Rounds of the derived key.
const ID_KEY_ROUNDS: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// What is hashed together with the derived key to give the key's fingerprint.
const FINGERPRINT_INPUT: [u8; 32] = [
    0x6e, 0xd0, 0xef, 0x77, 0x47, 0x1f, 0xff, 0x4d, 0x55, 0xc7, 0xa8, 0xfe, 0x4a, 0x9d, 0xb6, 0x21, 0x61, 0x40, 0x7f,
    0x13, 0x4c, 0x72, 0x5d, 0xdf, 0x30, 0x99, 0x2d, 0x25, 0xec, 0x45, 0xed, 0x26,
];

/// The operating system or the crypto library gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes to be had")]
pub struct NoRandomness;

/// An encryption key of 32 bytes; wiped from memory when dropped.
#[derive(Clone)]
pub struct CryptKey {
    key: Zeroizing<[u8; 32]>,
    id_key: Zeroizing<[u8; 32]>,
}

impl CryptKey {
    /// Makes a key of its bytes.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        let mut id_key = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ID_KEY_ROUNDS, ID_KEY_SALT, &*key, &mut *id_key);
        Self { key, id_key }
    }

    /// Makes a new random key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        fill_random(&mut *key)?;
        Ok(Self::from_bytes(*key))
    }

    /// Returns the key itself, for key files.
    pub(crate) fn key_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Returns the fingerprint that manifests and key files carry.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut input = Zeroizing::new([0; 64]);
        input[..32].copy_from_slice(&FINGERPRINT_INPUT);
        input[32..].copy_from_slice(&*self.id_key);
        Fingerprint::from_bytes(sha256(&*input))
    }

    /// Computes the digest of an encrypted chunk: SHA-256 of the plain bytes followed by the derived key.
    pub fn digest(&self, plain: &[u8]) -> ChunkDigest {
        let mut context = Context::new(&SHA256);
        context.update(plain);
        context.update(&*self.id_key);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        ChunkDigest::from_bytes(bytes)
    }

    /// Computes HMAC-SHA256 of `data` with the derived key.
    pub fn sign(&self, data: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hmac::sign(&self.hmac_key(), data).as_ref());
        bytes
    }

    /// Compares a signature made by [`CryptKey::sign`], in constant time.
    pub fn has_signed(&self, data: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.hmac_key(), data, signature).is_ok()
    }

    /// Encrypts `buffer` in place with a fresh random nonce; returns nonce and tag.
    pub(crate) fn encrypt(&self, buffer: &mut [u8]) -> Result<([u8; 16], [u8; 16]), CryptFailure> {
        let mut nonce = [0; 16];
        fill_random(&mut nonce).map_err(|NoRandomness| CryptFailure)?;
        Ok((nonce, self.encrypt_with_nonce(&nonce, buffer)?))
    }

    /// Encrypts `buffer` in place; returns the tag. A nonce must never be used twice with one key.
    pub(crate) fn encrypt_with_nonce(&self, nonce: &[u8; 16], buffer: &mut [u8]) -> Result<[u8; 16], CryptFailure> {
        let cipher = Cipher::new((&*self.key).into());
        let tag = cipher.encrypt_inout_detached(&Nonce::from(*nonce), b"", buffer.into()).map_err(|_| CryptFailure)?;
        Ok(tag.into())
    }

    /// Decrypts `buffer` in place after comparing its tag.
    pub(crate) fn decrypt(&self, nonce: &[u8; 16], tag: &[u8; 16], buffer: &mut [u8]) -> Result<(), CryptFailure> {
        let cipher = Cipher::new((&*self.key).into());
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        cipher.decrypt_inout_detached(&nonce, b"", buffer.into(), &tag).map_err(|_| CryptFailure)
    }

    fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.id_key)
    }
}

impl fmt::Debug for CryptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CryptKey({})", self.fingerprint().short())
    }
}

/// Encryption or decryption did not succeed; which one, the caller knows.
#[derive(Debug)]
pub(crate) struct CryptFailure;

/// Fills `bytes` with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The key of the published vectors: bytes 0 to 31.
    pub(crate) fn vector_key() -> CryptKey {
        CryptKey::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap()))
    }

    #[test]
    fn derived_values_are_those_of_the_vectors() {
        let key = vector_key();

        assert_eq!(hex::encode(*key.id_key), "7c2c013efd07f3b25717a485263343cd4d292a4b65c200bb3b18ea227abe225c");
        let fingerprint = "0eabd4460b6eb9ca345023dee2b778c790e54a1683b9659c0a57ae199090159b";
        assert_eq!(key.fingerprint(), fingerprint.parse().unwrap());
        let hello = "e34178a27b992c4a218599bf7f43ed50bc464a03d624d9092306fe2ed74d557e";
        assert_eq!(key.digest(b"hello").to_string(), hello);
        let zeros = "348571e12bbbedb529def1f1394316e338a01945d871df9ef792617ceb13d636";
        assert_eq!(key.digest(&vec![0; 4 << 20]).to_string(), zeros);
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = vector_key();

        assert_eq!(format!("{key:?}"), "CryptKey(0e:ab:d4:46:0b:6e:b9:ca)");
    }

    #[test]
    fn a_signature_is_valid_for_its_data_only() {
        let key = vector_key();
        let signature = key.sign(b"data");

        assert!(key.has_signed(b"data", &signature));
        assert!(!key.has_signed(b"date", &signature) && !key.has_signed(b"data", &signature[..31]));
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(CryptKey::generate().unwrap().fingerprint(), CryptKey::generate().unwrap().fingerprint());
    }
}
