//! Key files: an encryption key in JSON, perhaps under a passphrase (`docs/formats.md`, "Key files").

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypt::{CryptKey, fill_random};
use crate::digest::Fingerprint;

/// Shortest passphrase in bytes.
const MIN_PASSPHRASE: usize = 5;
/// Most memory that deriving a key from a passphrase may take: 1025 MiB.
const MAX_KDF_MEMORY: u64 = 1025 << 20;
/// Length of a protected key: IV, tag, 32 encrypted bytes.
const PROTECTED_LEN: usize = 64;

/// Why a key file was not read, opened or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key file.
    #[error("no valid key file")]
    Json(#[source] serde_json::Error),
    /// The key's bytes have the wrong length for how they are protected.
    #[error("key data has {found} bytes, not {expected}")]
    DataLength {
        /// Length that the protection calls for.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// The key is protected and no passphrase was given.
    #[error("key is protected by a passphrase and none was given")]
    PassphraseNeeded,
    /// The passphrase is too short to be any.
    #[error("passphrase is shorter than {MIN_PASSPHRASE} bytes")]
    PassphraseTooShort,
    /// The passphrase is wrong, or the file was changed.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// Parameters that are invalid, or would take too much memory.
    #[error("parameters of the key derivation are invalid or need over 1025 MiB of memory")]
    Parameters,
    /// The key is another one than the file says.
    #[error("key has the fingerprint {found}, its file says {expected}")]
    Fingerprint {
        /// From the file.
        expected: Fingerprint,
        /// The key's own.
        found: Fingerprint,
    },
    /// No random bytes for salt or IV.
    #[error("key cannot be encrypted")]
    Encrypt,
    /// A time outside the calendar.
    #[error("creation time {0} is outside the calendar")]
    Time(i64),
}

/// How the passphrase becomes the key that protects the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Kdf {
    Scrypt {
        n: u64,
        r: u64,
        p: u64,
        #[serde(with = "base64_text")]
        salt: Vec<u8>,
    },
    #[serde(rename = "PBKDF2")]
    Pbkdf2 {
        iter: u64,
        #[serde(with = "base64_text")]
        salt: Vec<u8>,
    },
}

/// How a new key file protects its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection<'a> {
    /// Not at all; the file's mode is all there is.
    None,
    /// By a passphrase and scrypt (n 65536, r 8, p 1): 64 MiB of memory to open it.
    Scrypt(&'a str),
    /// By a passphrase and PBKDF2-HMAC-SHA256 with 65,535 rounds.
    Pbkdf2(&'a str),
}

/// A key file as it is on disk; the key inside may still be closed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    kdf: Option<Kdf>,
    #[serde(with = "rfc3339_text")]
    created: DateTime<FixedOffset>,
    #[serde(with = "rfc3339_text")]
    modified: DateTime<FixedOffset>,
    #[serde(with = "base64_secret")]
    data: Zeroizing<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl KeyFile {
    /// Parses the JSON of a key file.
    ///
    /// # Errors
    /// [`KeyError::Json`].
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        serde_json::from_slice(json).map_err(KeyError::Json)
    }

    /// Makes the file of a key, created and modified at `now` (Unix seconds).
    ///
    /// # Errors
    /// A passphrase shorter than 5 bytes, no randomness, or a time outside the calendar.
    pub fn new(key: &CryptKey, protection: Protection<'_>, now: i64) -> Result<Self, KeyError> {
        let at = DateTime::from_timestamp(now, 0).ok_or(KeyError::Time(now))?.fixed_offset();
        let mut salt = vec![0; 32];
        fill_random(&mut salt).map_err(|_| KeyError::Encrypt)?;
        let (kdf, passphrase) = match protection {
            Protection::None => (None, ""),
            Protection::Scrypt(passphrase) => (Some(Kdf::Scrypt { n: 65536, r: 8, p: 1, salt }), passphrase),
            Protection::Pbkdf2(passphrase) => (Some(Kdf::Pbkdf2 { iter: 65535, salt }), passphrase),
        };
        let data = match &kdf {
            None => Zeroizing::new(key.key_bytes().to_vec()),
            Some(kdf) => {
                let mut secret = Zeroizing::new(*key.key_bytes());
                let (iv, tag) = kdf.derive(passphrase)?.encrypt(&mut *secret).map_err(|_| KeyError::Encrypt)?;
                Zeroizing::new([&iv[..], &tag, &*secret].concat())
            }
        };
        Ok(Self { kdf, created: at, modified: at, data, fingerprint: Some(key.fingerprint()), hint: None })
    }

    /// Tells whether a passphrase is needed.
    pub fn is_protected(&self) -> bool {
        self.kdf.is_some()
    }

    /// Returns the fingerprint that the file says its key has.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// Returns the hint to the passphrase.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Sets or removes the hint to the passphrase.
    pub fn set_hint(&mut self, hint: Option<String>) {
        self.hint = hint;
    }

    /// Returns when the key was made, Unix seconds.
    pub fn created(&self) -> i64 {
        self.created.timestamp()
    }

    /// Returns when the file was last written, Unix seconds.
    pub fn modified(&self) -> i64 {
        self.modified.timestamp()
    }

    /// Returns how the key is protected: `none`, `scrypt` or `pbkdf2`.
    pub fn kdf_name(&self) -> &'static str {
        match self.kdf {
            None => "none",
            Some(Kdf::Scrypt { .. }) => "scrypt",
            Some(Kdf::Pbkdf2 { .. }) => "pbkdf2",
        }
    }

    /// Opens the key; a passphrase is not looked at when none is needed.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`], [`KeyError::WrongPassphrase`], or what is wrong with the file.
    pub fn unlock(&self, passphrase: Option<&str>) -> Result<CryptKey, KeyError> {
        let key = match &self.kdf {
            None => self.data_of_length::<32>()?,
            Some(kdf) => {
                let data = self.data_of_length::<PROTECTED_LEN>()?;
                let (mut iv, mut tag, mut secret) = ([0; 16], [0; 16], Zeroizing::new([0; 32]));
                iv.copy_from_slice(&data[..16]);
                tag.copy_from_slice(&data[16..32]);
                secret.copy_from_slice(&data[32..]);
                let wrapper = kdf.derive(passphrase.ok_or(KeyError::PassphraseNeeded)?)?;
                wrapper.decrypt(&iv, &tag, &mut *secret).map_err(|_| KeyError::WrongPassphrase)?;
                secret
            }
        };
        let key = CryptKey::from_bytes(*key);
        let found = key.fingerprint();
        match self.fingerprint {
            Some(expected) if expected != found => Err(KeyError::Fingerprint { expected, found }),
            _ => Ok(key),
        }
    }

    /// Returns the JSON, for a file of mode 0600.
    ///
    /// # Errors
    /// None in practice; the JSON library has an error type for it.
    pub fn to_json(&self) -> Result<Zeroizing<String>, KeyError> {
        serde_json::to_string(self).map(Zeroizing::new).map_err(KeyError::Json)
    }

    fn data_of_length<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, KeyError> {
        let wrong = KeyError::DataLength { expected: N, found: self.data.len() };
        <[u8; N]>::try_from(&self.data[..]).map(Zeroizing::new).map_err(|_| wrong)
    }
}

impl fmt::Debug for KeyFile {
    /// Leaves out the data, which may be the bare key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KeyFile");
        shown.field("kdf", &self.kdf).field("created", &self.created).field("modified", &self.modified);
        shown.field("fingerprint", &self.fingerprint).field("hint", &self.hint).finish_non_exhaustive()
    }
}

impl Kdf {
    /// Derives the key that protects the key.
    fn derive(&self, passphrase: &str) -> Result<CryptKey, KeyError> {
        let mut derived = Zeroizing::new([0; 32]);
        let passphrase = passphrase.as_bytes();
        if passphrase.len() < MIN_PASSPHRASE {
            return Err(KeyError::PassphraseTooShort);
        }
        match self {
            Kdf::Scrypt { n, r, p, salt } => {
                let parameters = scrypt_parameters(*n, *r, *p)?;
                scrypt::scrypt(passphrase, salt, &parameters, &mut *derived).map_err(|_| KeyError::Parameters)?;
            }
            Kdf::Pbkdf2 { iter, salt } => {
                let rounds = u32::try_from(*iter).ok().and_then(NonZeroU32::new).ok_or(KeyError::Parameters)?;
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase, &mut *derived);
            }
        }
        Ok(CryptKey::from_bytes(*derived))
    }
}

/// Checks what scrypt would need before anything is allocated: `128 * r * (n + p + 2)` bytes.
fn scrypt_parameters(n: u64, r: u64, p: u64) -> Result<scrypt::Params, KeyError> {
    let blocks = n.checked_add(p).and_then(|sum| sum.checked_add(2));
    let memory = blocks.and_then(|blocks| blocks.checked_mul(r)).and_then(|product| product.checked_mul(128));
    if n < 2 || !n.is_power_of_two() || memory.is_none_or(|memory| memory > MAX_KDF_MEMORY) {
        return Err(KeyError::Parameters);
    }
    let small = |value: u64| u32::try_from(value).map_err(|_| KeyError::Parameters);
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| KeyError::Parameters)?;
    scrypt::Params::new(log_n, small(r)?, small(p)?).map_err(|_| KeyError::Parameters)
}

/// Bytes as standard padded base64.
mod base64_text {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("no valid base64"))
    }
}

/// As [`base64_text`], wiped from memory.
mod base64_secret {
    use super::{Engine, STANDARD, Zeroizing};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Zeroizing<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&**bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The text is not in the message: it may be a key with a typing error.
        STANDARD.decode(&*text).map(Zeroizing::new).map_err(|_| D::Error::custom("no valid base64"))
    }
}

/// A time as RFC 3339 text with its offset.
mod rfc3339_text {
    use chrono::{DateTime, FixedOffset, SecondsFormat};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &DateTime<FixedOffset>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, false))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<FixedOffset>, D::Error> {
        DateTime::parse_from_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::tests::vector_key;

    fn reread(file: &KeyFile) -> KeyFile {
        KeyFile::parse(file.to_json().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_key_comes_back_from_every_kind_of_file() {
        let key = vector_key();
        for protection in [Protection::None, Protection::Scrypt("correct horse"), Protection::Pbkdf2("correct horse")] {
            let file = reread(&KeyFile::new(&key, protection, 1_700_000_000).unwrap());

            assert_eq!(file.is_protected(), protection != Protection::None);
            assert_eq!(file.unlock(Some("correct horse")).unwrap().key_bytes(), key.key_bytes());
            assert_eq!((file.fingerprint(), file.created()), (Some(key.fingerprint()), 1_700_000_000));
        }
    }

    #[test]
    fn an_unprotected_file_has_the_form_that_other_tools_read() {
        let file = KeyFile::new(&vector_key(), Protection::None, 1_700_000_000).unwrap();

        let json = file.to_json().unwrap();
        let begin = concat!(
            r#"{"kdf":null,"created":"2023-11-14T22:13:20+00:00","modified":"2023-11-14T22:13:20+00:00","#,
            r#""data":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","fingerprint":"0e:ab:d4:46:"#
        );
        assert!(json.starts_with(begin), "{}", *json);
    }

    #[test]
    fn wrong_short_and_absent_passphrases_are_told_apart() {
        let file = KeyFile::new(&vector_key(), Protection::Pbkdf2("correct horse"), 1).unwrap();

        assert!(matches!(file.unlock(Some("wrong horse")), Err(KeyError::WrongPassphrase)));
        assert!(matches!(file.unlock(Some("four")), Err(KeyError::PassphraseTooShort)));
        assert!(matches!(file.unlock(None), Err(KeyError::PassphraseNeeded)));
        let short = KeyFile::new(&vector_key(), Protection::Scrypt("four"), 1);
        assert!(matches!(short, Err(KeyError::PassphraseTooShort)));
    }

    #[test]
    fn a_file_that_names_another_fingerprint_is_refused() {
        let mut file = KeyFile::new(&vector_key(), Protection::None, 1).unwrap();
        file.fingerprint = Some(Fingerprint::from_bytes([1; 32]));

        assert!(matches!(reread(&file).unlock(None), Err(KeyError::Fingerprint { .. })));
    }

    #[test]
    fn parameters_that_want_too_much_memory_are_refused_at_once() {
        for (n, r, p) in
            [(1 << 40, 8, 1), (65536, 1 << 40, 1), (65536, 8, u64::MAX), (65537, 8, 1), (0, 8, 1), (2, 0, 1), (2, 1, 0)]
        {
            assert!(scrypt_parameters(n, r, p).is_err(), "{n} {r} {p}");
        }
        assert!(scrypt_parameters(65536, 8, 1).is_ok() && scrypt_parameters(1 << 20, 8, 1).is_ok());
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let shown = format!("{:?}", KeyFile::new(&vector_key(), Protection::None, 1).unwrap());

        assert!(!shown.contains("data") && !shown.contains("1, 2, 3") && shown.contains("0e:ab"), "{shown}");
    }

    #[test]
    fn key_data_of_the_wrong_length_is_refused() {
        let mut file = KeyFile::new(&vector_key(), Protection::None, 1).unwrap();
        file.data.push(0);

        assert!(matches!(file.unlock(None), Err(KeyError::DataLength { expected: 32, found: 33 })));
    }

    #[test]
    fn times_with_z_and_unknown_keys_are_read() {
        let json = r#"{"kdf":null,"created":"2024-05-01T10:00:00Z","modified":"2024-05-01T10:00:00+02:00",
            "data":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","hint":"h","later":1}"#;

        let file = KeyFile::parse(json.as_bytes()).unwrap();
        assert_eq!(file.unlock(None).unwrap().fingerprint(), vector_key().fingerprint());
        assert_eq!(file.hint(), Some("h"));
        assert!(matches!(KeyFile::parse(&json.as_bytes()[..60]), Err(KeyError::Json(_))));
    }
}
