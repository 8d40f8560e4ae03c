//! The manifest of a snapshot: which files it has, and their checksums (`docs/formats.md`, "Manifest").

mod json;

use serde_json::{Map, Value};

use crate::archive::{ArchiveKind, ArchiveName};
use crate::blob::{BlobError, DataBlob};
use crate::crypt::CryptKey;
use crate::digest::Fingerprint;
use crate::group::{BackupId, BackupType, GroupId};
use crate::name_error::{NameError, serde_as_text};
use crate::snapshot::{BackupTime, SnapshotId};
use crate::upid::Upid;

/// Longest JSON of a manifest that is read from a blob: 16 MiB, some hundred thousand files. Less than for other blobs,
/// because JSON in memory takes many times its text.
pub const MAX_MANIFEST_PLAIN: usize = 16 << 20;

/// Keys inside `unprotected`.
mod key {
    pub(super) const NOTES: &str = "notes";
    pub(super) const FINGERPRINT: &str = "key-fingerprint";
    pub(super) const UPLOAD_STATS: &str = "chunk_upload_stats";
    pub(super) const VERIFY_STATE: &str = "verify_state";
    pub(super) const SOURCE_SIGNATURE: &str = "sync-source-signature";
    /// The same under its former name, which is read but not written.
    pub(super) const FORMER_SOURCE_SIGNATURE: &str = "change-detection-fingerprint";
}

/// Why a manifest was not read, written or believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The blob around it is broken.
    #[error("manifest blob cannot be decoded")]
    Blob(#[from] BlobError),
    /// The blob around it is encrypted, which no manifest's is.
    #[error("manifest blob is encrypted")]
    Encrypted,
    /// The text is no JSON, or has not the fields of a manifest.
    #[error("manifest is no valid JSON of a manifest")]
    Json(#[source] serde_json::Error),
    /// Two entries have the same file name.
    #[error("manifest names {0} twice")]
    Duplicate(ArchiveName),
    /// A file is not in the manifest.
    #[error("manifest does not name {0}")]
    NoFile(ArchiveName),
    /// It was signed with another key.
    #[error("manifest was signed with key {expected}, not with {found}")]
    OtherKey {
        /// The key that the manifest names.
        expected: Fingerprint,
        /// The key given.
        found: Fingerprint,
    },
    /// The signature does not fit the signed part.
    #[error("manifest signature is wrong")]
    Signature,
    /// Something inside `unprotected` is not what it should be.
    #[error("manifest has an unreadable {0}")]
    Unprotected(&'static str),
}

/// How a file of a snapshot is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CryptMode {
    /// Not at all.
    #[default]
    None,
    /// Encrypted; its chunks are named by keyed digests.
    Encrypt,
    /// Plain, in a snapshot whose manifest is signed.
    SignOnly,
}

impl CryptMode {
    /// Returns the text of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            CryptMode::None => "none",
            CryptMode::Encrypt => "encrypt",
            CryptMode::SignOnly => "sign-only",
        }
    }
}

impl std::str::FromStr for CryptMode {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found =
            [CryptMode::None, CryptMode::Encrypt, CryptMode::SignOnly].into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| NameError::new("crypt mode", text, "must be none, encrypt or sign-only"))
    }
}

impl std::fmt::Display for CryptMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(CryptMode);

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileInfo {
    /// Its name, with the ending that tells how it is stored.
    pub filename: ArchiveName,
    /// How it is protected.
    #[serde(default)]
    pub crypt_mode: CryptMode,
    /// For an index the length of the stream it describes, for a blob that of the encoded file.
    pub size: u64,
    /// For an index the checksum of its entries, for a blob SHA-256 of the encoded file; 64 hex digits in JSON, read in
    /// either case.
    #[serde(with = "json::hex_digest")]
    pub csum: [u8; 32],
}

impl FileInfo {
    /// Returns how the file is stored.
    pub fn kind(&self) -> ArchiveKind {
        self.filename.kind()
    }

    /// Describes a blob by its encoded bytes.
    pub fn of_blob(filename: ArchiveName, crypt_mode: CryptMode, encoded: &[u8]) -> Self {
        Self { filename, crypt_mode, size: encoded.len() as u64, csum: crate::digest::sha256(encoded) }
    }
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyResult {
    /// Everything was there and right.
    Ok,
    /// Something was missing or wrong.
    Failed,
}

/// The last verification of a snapshot. Its time is that in the UPID.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VerifyState {
    /// The task that verified.
    pub upid: Upid,
    /// How it ended.
    pub state: VerifyResult,
}

/// What an upload stored, written by the server when a backup finishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct UploadStats {
    /// Number of chunks uploaded.
    pub count: u64,
    /// Their plain bytes.
    pub size: u64,
    /// Their encoded bytes.
    pub compressed_size: u64,
    /// Number of them that were there already.
    pub duplicates: u64,
}

/// What looking at a manifest's signature showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureState {
    /// There is none.
    Unsigned,
    /// It was made with this key over this content.
    Valid,
}

/// A manifest: what a snapshot consists of.
///
/// Keys that are not known are dropped on reading, but everything inside `unprotected` is kept, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What was backed up.
    pub backup_type: BackupType,
    /// Which one of them.
    pub backup_id: BackupId,
    /// When.
    pub backup_time: BackupTime,
    /// The files, in the order in which they were added; no name occurs twice.
    pub files: Vec<FileInfo>,
    /// Signature of all of the above, 64 hex digits.
    pub signature: Option<String>,
    /// What may change after the backup, and is not signed.
    pub unprotected: Map<String, Value>,
}

impl Manifest {
    /// Makes the manifest of a snapshot without files.
    pub fn new(snapshot: SnapshotId) -> Self {
        Self {
            backup_type: snapshot.group.backup_type,
            backup_id: snapshot.group.id,
            backup_time: snapshot.time,
            files: Vec::new(),
            signature: None,
            unprotected: Map::new(),
        }
    }

    /// Reads the manifest in a blob.
    ///
    /// # Errors
    /// As [`Manifest::parse_json`]; an encrypted or broken blob, or one with more than [`MAX_MANIFEST_PLAIN`].
    pub fn parse_blob(blob: &DataBlob) -> Result<Self, ManifestError> {
        if blob.kind().is_encrypted() {
            return Err(ManifestError::Encrypted);
        }
        Self::parse_json(&blob.decode(None, MAX_MANIFEST_PLAIN)?)
    }

    /// Reads the JSON of a manifest.
    ///
    /// # Errors
    /// Bad JSON, missing fields, file names that are no archive names or occur twice.
    pub fn parse_json(text: &[u8]) -> Result<Self, ManifestError> {
        json::parse(text)
    }

    /// Returns the JSON, indented by two spaces, keys in alphabetical order (but those inside `unprotected` in theirs).
    pub fn to_json(&self) -> String {
        json::pretty(self)
    }

    /// Returns the manifest as it is stored: a compressed blob, not encrypted.
    ///
    /// # Errors
    /// When its JSON is over [`MAX_MANIFEST_PLAIN`], so that it could not be read again.
    pub fn to_blob(&self) -> Result<DataBlob, ManifestError> {
        let json = self.to_json();
        if json.len() > MAX_MANIFEST_PLAIN {
            return Err(BlobError::TooLong { limit: MAX_MANIFEST_PLAIN }.into());
        }
        Ok(DataBlob::encode(json.as_bytes(), true, None)?)
    }

    /// Returns the snapshot that this is the manifest of.
    pub fn snapshot(&self) -> SnapshotId {
        SnapshotId::new(GroupId::new(self.backup_type, self.backup_id.clone()), self.backup_time)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`ManifestError::Duplicate`].
    pub fn add(&mut self, file: FileInfo) -> Result<(), ManifestError> {
        if self.find(&file.filename).is_some() {
            return Err(ManifestError::Duplicate(file.filename));
        }
        self.files.push(file);
        Ok(())
    }

    /// Returns the entry of a file, `None` when there is none.
    pub fn find(&self, name: &ArchiveName) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.filename == *name)
    }

    /// Returns the entry of a file.
    ///
    /// # Errors
    /// [`ManifestError::NoFile`].
    pub fn file(&self, name: &ArchiveName) -> Result<&FileInfo, ManifestError> {
        self.find(name).ok_or_else(|| ManifestError::NoFile(name.clone()))
    }

    /// Tells whether there is a file and all are encrypted.
    pub fn is_fully_encrypted(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.crypt_mode == CryptMode::Encrypt)
    }

    /// Returns the most protective crypt mode of the files that says something of the whole: `Encrypt` when all files
    /// are encrypted, `SignOnly` when all are signed or encrypted, `None` otherwise.
    pub fn crypt_mode(&self) -> CryptMode {
        if self.is_fully_encrypted() {
            CryptMode::Encrypt
        } else if !self.files.is_empty() && self.files.iter().all(|file| file.crypt_mode != CryptMode::None) {
            CryptMode::SignOnly
        } else {
            CryptMode::None
        }
    }

    /// Returns the bytes that are signed: canonical JSON of everything but `signature` and `unprotected`.
    pub fn canonical_signed_part(&self) -> Vec<u8> {
        json::canonical(&json::signed_part(self))
    }

    /// Signs with `key` and names the key.
    pub fn sign(&mut self, key: &CryptKey) {
        self.signature = Some(hex::encode(key.sign(&self.canonical_signed_part())));
        self.unprotected.insert(key::FINGERPRINT.to_owned(), Value::from(key.fingerprint().to_string()));
    }

    /// Compares the signature, if any.
    ///
    /// # Errors
    /// [`ManifestError::OtherKey`], [`ManifestError::Signature`].
    pub fn verify_signature(&self, key: &CryptKey) -> Result<SignatureState, ManifestError> {
        let Some(signature) = &self.signature else { return Ok(SignatureState::Unsigned) };
        let found = key.fingerprint();
        if let Some(expected) = self.key_fingerprint()?.filter(|expected| *expected != found) {
            return Err(ManifestError::OtherKey { expected, found });
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| ManifestError::Signature)?;
        if key.has_signed(&self.canonical_signed_part(), &bytes) {
            Ok(SignatureState::Valid)
        } else {
            Err(ManifestError::Signature)
        }
    }

    /// Returns the fingerprint of the key used, `None` when no key was.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn key_fingerprint(&self) -> Result<Option<Fingerprint>, ManifestError> {
        match self.unprotected.get(key::FINGERPRINT) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                text.parse().map(Some).map_err(|_| ManifestError::Unprotected(key::FINGERPRINT))
            }
            Some(_) => Err(ManifestError::Unprotected(key::FINGERPRINT)),
        }
    }

    /// Returns the signature of the manifest this one was made of, when a sync encrypted or decrypted on the way.
    pub fn source_signature(&self) -> Option<Fingerprint> {
        let named = |key| self.unprotected.get(key).and_then(Value::as_str);
        named(key::SOURCE_SIGNATURE).or_else(|| named(key::FORMER_SOURCE_SIGNATURE))?.parse().ok()
    }

    /// Notes the signature of the manifest this one is made of.
    pub fn set_source_signature(&mut self, signature: Fingerprint) {
        self.unprotected.shift_remove(key::FORMER_SOURCE_SIGNATURE);
        self.unprotected.insert(key::SOURCE_SIGNATURE.to_owned(), Value::from(signature.to_string()));
    }

    /// Returns the signature as bytes, `None` when there is none or it is no 64 hex digits.
    pub fn signature_bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(self.signature.as_ref()?, &mut bytes).ok().map(|()| bytes)
    }

    /// Removes the signature and the name of its key.
    pub fn unsign(&mut self) {
        self.signature = None;
        self.unprotected.shift_remove(key::FINGERPRINT);
    }

    /// Returns the notes, `None` when there never were any.
    pub fn notes(&self) -> Option<&str> {
        self.unprotected.get(key::NOTES).and_then(Value::as_str)
    }

    /// Sets the notes.
    pub fn set_notes(&mut self, notes: &str) {
        self.unprotected.insert(key::NOTES.to_owned(), Value::from(notes));
    }

    /// Returns the last verification; `None` when there was none, or it cannot be read, which counts the same.
    pub fn verify_state(&self) -> Option<VerifyState> {
        self.unprotected.get(key::VERIFY_STATE).and_then(|value| serde::Deserialize::deserialize(value).ok())
    }

    /// Sets the last verification.
    pub fn set_verify_state(&mut self, state: &VerifyState) {
        let value = [("state", json::text_of(&state.state)), ("upid", Value::from(state.upid.to_string()))];
        let value: Map<String, Value> = value.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.unprotected.insert(key::VERIFY_STATE.to_owned(), Value::Object(value));
    }

    /// Forgets the last verification.
    pub fn clear_verify_state(&mut self) {
        self.unprotected.shift_remove(key::VERIFY_STATE);
    }

    /// Returns what the upload stored.
    pub fn upload_stats(&self) -> Option<UploadStats> {
        self.unprotected.get(key::UPLOAD_STATS).and_then(|value| serde::Deserialize::deserialize(value).ok())
    }

    /// Sets what the upload stored.
    pub fn set_upload_stats(&mut self, stats: &UploadStats) {
        let fields = [
            ("compressed_size", stats.compressed_size),
            ("count", stats.count),
            ("duplicates", stats.duplicates),
            ("size", stats.size),
        ];
        let value: Map<String, Value> =
            fields.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
        self.unprotected.insert(key::UPLOAD_STATS.to_owned(), Value::Object(value));
    }
}

#[cfg(test)]
mod tests;
