//! Bytes of our own that behave like the recorded ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use formats::{ArchiveName, BlobKind, ChunkDigest, CryptKey, DataBlob, FileInfo, Manifest, SnapshotId, sha256};
use serde_json::Value;

use crate::contents::{BlobShape, ChunkShape, Contents};
use crate::recording::Recording;

/// Contents like the recorded ones, with other bytes: a chunk for every recorded digest, of the recorded length and kind, and
/// the indexes, blobs and manifests that go with them. What is encrypted is encrypted with [`Twin::key`].
///
/// Chunks are made when they are asked for.
pub struct Twin {
    contents: Contents,
    key: CryptKey,
    fingerprint: String,
    chunks: Mutex<HashMap<String, TwinChunk>>,
    blobs: BTreeMap<String, (Bytes, String)>,
    indexes: Mutex<HashMap<String, (Bytes, String)>>,
}

/// A chunk of our own.
#[derive(Debug, Clone)]
pub struct TwinChunk {
    /// Digest of its plain bytes, keyed when it is encrypted.
    pub digest: ChunkDigest,
    /// Length of the plain bytes: the recorded one.
    pub plain_len: u64,
    /// Its blob.
    pub blob: DataBlob,
}

/// A snapshot of our own, ready to be put into a datastore.
#[derive(Debug, Clone)]
pub struct SnapshotTwin {
    /// Which snapshot.
    pub id: SnapshotId,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its files but the manifest: index files and blobs.
    pub files: Vec<(ArchiveName, Bytes)>,
    /// The chunks of all its indexes.
    pub chunks: Vec<TwinChunk>,
}

impl Twin {
    /// Makes contents like those of the recordings.
    pub fn of(recordings: &[&Recording]) -> Twin {
        let contents = Contents::of(recordings);
        let key = CryptKey::from_bytes([0x5a; 32]);
        let fingerprint = key.fingerprint().to_string();
        let mut twin = Twin {
            contents,
            key,
            fingerprint,
            chunks: Mutex::default(),
            blobs: BTreeMap::new(),
            indexes: Mutex::default(),
        };
        twin.blobs =
            twin.contents.blobs.iter().map(|(csum, shape)| (csum.clone(), twin.make_blob(csum, shape))).collect();
        twin
    }

    /// What the recordings tell.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The key of everything that is encrypted or signed.
    pub fn key(&self) -> &CryptKey {
        &self.key
    }

    /// Returns the chunk that stands for a recorded digest.
    ///
    /// # Panics
    /// When no recording tells its size.
    pub fn chunk(&self, recorded: &str) -> TwinChunk {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = chunks.get(recorded) {
            return chunk.clone();
        }
        let shape = self.contents.chunks.get(recorded).unwrap_or_else(|| panic!("unknown chunk {recorded}"));
        let chunk = self.make_chunk(recorded, shape);
        chunks.insert(recorded.to_owned(), chunk.clone());
        chunk
    }

    /// Returns the index file that stands for the one with a recorded checksum, and its own checksum.
    pub fn index(&self, recorded: &str) -> Option<(Bytes, String)> {
        let shape = self.contents.indexes.get(recorded)?;
        if let Some(known) = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(recorded) {
            return Some(known.clone());
        }
        let (bytes, csum) = shape.encode(|digest| self.chunk(digest).digest);
        let made = (Bytes::from(bytes), hex::encode(csum));
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).insert(recorded.to_owned(), made.clone());
        Some(made)
    }

    /// Returns the blob that stands for the one with a recorded checksum.
    pub fn blob(&self, recorded: &str) -> Option<Bytes> {
        self.blobs.get(recorded).map(|(bytes, _)| bytes.clone())
    }

    /// Returns the blob that stands for a recorded body.
    pub fn blob_like(&self, body: &crate::Body) -> Option<Bytes> {
        if let Some(blob) = body.sha256.as_ref().and_then(|csum| self.blob(csum)) {
            return Some(blob);
        }
        let whole = body.bytes().map(|bytes| hex::encode(sha256(bytes)));
        if let Some(blob) = whole.and_then(|csum| self.blob(&csum)) {
            return Some(blob);
        }
        let same = |shape: &BlobShape| {
            shape.encoded_len == body.length && shape.start.starts_with(&body.start[..body.start.len().min(16)])
        };
        let found = self.contents.blobs.iter().find(|(_, shape)| same(shape));
        found.and_then(|(csum, _)| self.blob(csum))
    }

    /// Translates a recorded digest, checksum or key fingerprint; every other text is its own translation.
    pub fn text(&self, recorded: &str) -> String {
        if recorded.len() == 64 {
            if self.contents.chunks.contains_key(recorded) {
                return self.chunk(recorded).digest.to_string();
            }
            if let Some((_, csum)) = self.index(recorded).or_else(|| self.blobs.get(recorded).cloned()) {
                return csum;
            }
        }
        let is_fingerprint =
            recorded.len() == 95 && recorded.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit());
        if is_fingerprint { self.fingerprint.clone() } else { recorded.to_owned() }
    }

    /// Translates all texts in a JSON value.
    pub fn value(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.value(value))).collect(),
            other => other.clone(),
        }
    }

    /// Translates a manifest: digests and sizes of its files, the fingerprint of the key; signed again when it was signed.
    pub fn manifest(&self, recorded: &Value) -> Manifest {
        let json = self.value(recorded);
        let mut manifest = Manifest::parse_json(json.to_string().as_bytes()).expect("a recorded manifest");
        let files = recorded["files"].as_array().expect("files");
        for (file, was) in manifest.files.iter_mut().zip(files) {
            if let Some(blob) = was["csum"].as_str().and_then(|csum| self.blob(csum)) {
                *file = FileInfo::of_blob(file.filename.clone(), file.crypt_mode, &blob);
            }
        }
        if manifest.signature.is_some() {
            let unprotected = manifest.unprotected.clone();
            manifest.sign(&self.key);
            // The order of the keys stays the recorded one.
            if unprotected.contains_key("key-fingerprint") {
                manifest.unprotected = unprotected;
            }
        }
        manifest
    }

    /// Makes the snapshot that a recorded manifest describes.
    ///
    /// # Panics
    /// When no recording tells what is in one of its files.
    pub fn snapshot(&self, recorded: &Value) -> SnapshotTwin {
        let manifest = self.manifest(recorded);
        let (mut files, mut chunks) = (Vec::new(), Vec::new());
        for (file, was) in manifest.files.iter().zip(recorded["files"].as_array().expect("files")) {
            let csum = was["csum"].as_str().expect("a checksum");
            let bytes = self.blob(csum).or_else(|| self.index(csum).map(|(bytes, _)| bytes));
            let bytes = bytes.unwrap_or_else(|| panic!("nothing is known of {} ({csum})", file.filename));
            if let Some(shape) = self.contents.indexes.get(csum) {
                chunks.extend(shape.entries.iter().map(|(digest, _)| self.chunk(digest)));
            }
            files.push((file.filename.clone(), bytes));
        }
        SnapshotTwin { id: manifest.snapshot(), manifest, files, chunks }
    }

    fn make_chunk(&self, recorded: &str, shape: &ChunkShape) -> TwinChunk {
        let length = usize::try_from(shape.plain_len).expect("a chunk fits into memory");
        let mut plain = vec![0; length];
        // As much noise as makes the blob about as long as the recorded one.
        let noise = match shape.kind.is_compressed() {
            true => usize::try_from(shape.encoded_len).expect("a length").saturating_sub(96).min(length),
            false => length,
        };
        fill_with_noise(&mut plain[..noise], recorded);
        let key = shape.kind.is_encrypted().then_some(&self.key);
        let digest = key.map_or_else(|| ChunkDigest::of(&plain), |key| key.digest(&plain));
        let blob = DataBlob::encode(&plain, shape.kind.is_compressed(), key).expect("a chunk can be encoded");
        TwinChunk { digest, plain_len: shape.plain_len, blob }
    }

    fn make_blob(&self, csum: &str, shape: &BlobShape) -> (Bytes, String) {
        let header = shape.kind.header_len();
        let length = usize::try_from(shape.encoded_len).expect("a length").saturating_sub(header);
        let bytes = match &shape.bytes {
            Some(bytes) => Bytes::from(bytes.clone()),
            None => {
                let start = shape.start.get(header..).unwrap_or_default();
                // A blob inside a blob: pushes of stock servers make such client logs.
                let known = self.contents.blobs.values().filter_map(|other| other.bytes.as_ref());
                let inner = known.filter(|bytes| shape.kind == BlobKind::Plain && bytes.len() == length);
                let mut plain = vec![0; length];
                fill_with_noise(&mut plain, csum);
                let plain = inner.into_iter().find(|bytes| bytes.starts_with(start)).cloned().unwrap_or(plain);
                let key = shape.kind.is_encrypted().then_some(&self.key);
                DataBlob::encode(&plain, shape.kind.is_compressed(), key).expect("a blob can be encoded").into_bytes()
            }
        };
        let csum = hex::encode(sha256(&bytes));
        (bytes, csum)
    }
}

/// Fills a buffer with bytes that depend on the seed only and do not compress.
fn fill_with_noise(buffer: &mut [u8], seed: &str) {
    let digest = sha256(seed.as_bytes());
    let mut state = u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"));
    for piece in buffer.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
}
