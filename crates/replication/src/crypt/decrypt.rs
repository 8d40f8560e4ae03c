//! A target that stores encrypted snapshots decrypted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveName, AuthId, ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Fingerprint, GroupId, Index,
    ListingFingerprint, MAX_BLOB_PLAIN, Manifest, Namespace, RSA_KEY_NAME, SnapshotId,
};

use super::decide::{Way, decide};
use super::renamed;
use crate::error::EndError;
use crate::traits::{
    ArchiveHandle, ArchiveLayout, ChunkRef, Expectation, GroupInfo, Inventoried, OpenSnapshot, Removed, SnapshotInfo,
    SnapshotSink, Target,
};
use crate::verify::on_core;

/// A target that decrypts what it has the key for.
///
/// Only a snapshot whose files are all encrypted, and whose manifest the key has signed, is decrypted; all others are
/// stored as they come. A snapshot that would take the place of one in another form is refused.
///
/// Memory: about 120 bytes per distinct chunk of a run.
#[derive(Clone)]
pub struct DecryptingTarget {
    inner: Arc<dyn Target>,
    keys: Arc<[CryptKey]>,
    names: Arc<Names>,
}

/// The plain names of encrypted chunks seen in this run.
type Names = Mutex<HashMap<ChunkRef, ChunkDigest>>;

impl DecryptingTarget {
    /// Decrypts what comes to `inner` with whichever of `keys` fits.
    pub fn new(inner: Arc<dyn Target>, keys: Vec<CryptKey>) -> Self {
        Self { inner, keys: keys.into(), names: Arc::default() }
    }

    fn sink(&self, inner: Box<dyn SnapshotSink>) -> Box<dyn SnapshotSink> {
        let (keys, names) = (Arc::clone(&self.keys), Arc::clone(&self.names));
        Box::new(DecryptingSink { inner, keys, names, key: OnceLock::new(), files: Mutex::default() })
    }
}

#[async_trait]
impl Inventoried for DecryptingTarget {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        self.inner.namespaces(below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        self.inner.groups(namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        self.inner.snapshots(namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        self.inner.fingerprint(below, max_depth).await
    }
}

#[async_trait]
impl Target for DecryptingTarget {
    fn shares_chunks(&self) -> bool {
        self.inner.shares_chunks()
    }

    fn lends_chunks(&self) -> bool {
        self.inner.lends_chunks()
    }

    async fn create_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        self.inner.create_namespace(namespace).await
    }

    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        Ok(self.sink(self.inner.begin(namespace, snapshot, base, owner).await?))
    }

    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        Ok(self.inner.reopen(namespace, snapshot, base, owner).await?.map(|inner| self.sink(inner)))
    }

    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        self.inner.read_back(namespace, snapshot).await
    }

    async fn set_notes(&self, namespace: &Namespace, snapshot: &SnapshotId, notes: &str) -> Result<(), EndError> {
        self.inner.set_notes(namespace, snapshot, notes).await
    }

    async fn set_protected(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), EndError> {
        self.inner.set_protected(namespace, snapshot, protected).await
    }

    async fn set_group_notes(&self, namespace: &Namespace, group: &GroupId, notes: &str) -> Result<(), EndError> {
        self.inner.set_group_notes(namespace, group, notes).await
    }

    async fn add_client_log(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        encoded: Bytes,
    ) -> Result<(), EndError> {
        self.inner.add_client_log(namespace, snapshot, encoded).await
    }

    async fn remove_snapshot(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        self.inner.remove_snapshot(namespace, snapshot).await
    }

    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError> {
        self.inner.remove_group(namespace, group).await
    }

    async fn remove_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        self.inner.remove_namespace(namespace).await
    }
}

/// A snapshot being written, decrypted where there is a key for it.
struct DecryptingSink {
    inner: Box<dyn SnapshotSink>,
    keys: Arc<[CryptKey]>,
    names: Arc<Names>,
    /// Set once the manifest was heard, where the snapshot is decrypted.
    key: OnceLock<CryptKey>,
    /// What the files became.
    files: Mutex<HashMap<ArchiveName, FileInfo>>,
}

impl DecryptingSink {
    fn name_of(&self, chunk: &ChunkRef) -> Option<ChunkDigest> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(chunk).copied()
    }

    fn note(&self, info: FileInfo) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(info.filename.clone(), info);
    }

    /// The manifest of the decrypted snapshot.
    fn decrypted(&self, source: &Manifest) -> Result<Manifest, EndError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut manifest = source.clone();
        for info in &mut manifest.files {
            let lost = || EndError::skip(format!("`{}` was never delivered", info.filename));
            *info = files.get(&info.filename).cloned().ok_or_else(lost)?;
        }
        manifest.unsign();
        manifest.clear_verify_state();
        if let Some(signature) = source.signature_bytes() {
            manifest.set_source_signature(Fingerprint::from_bytes(signature));
        }
        Ok(manifest)
    }
}

/// The plain chunk that `chunk` becomes.
fn plain(chunk: &ChunkRef, digest: ChunkDigest) -> ChunkRef {
    ChunkRef { digest, encrypted: false, ..*chunk }
}

/// Decrypts a blob file. Only the key for a master key is stored plain in an encrypted snapshot.
async fn decrypted_blob(key: CryptKey, name: &ArchiveName, encoded: Bytes) -> Result<Bytes, EndError> {
    let failed = |error| EndError::skip("it cannot be decrypted").caused_by(error);
    let blob = DataBlob::parse(encoded).map_err(failed)?;
    if !blob.kind().is_encrypted() {
        return if name.as_str() == RSA_KEY_NAME {
            Ok(blob.into_bytes())
        } else {
            Err(EndError::skip("it is not encrypted, but the manifest says it is"))
        };
    }
    on_core(move || DataBlob::encode(&blob.decode(Some(&key), MAX_BLOB_PLAIN)?, true, None))
        .await?
        .map(DataBlob::into_bytes)
        .map_err(failed)
}

#[async_trait]
impl SnapshotSink for DecryptingSink {
    fn existing(&self) -> Option<&DataBlob> {
        self.inner.existing()
    }

    async fn expect(&self, manifest: &Manifest, anew: bool) -> Result<Expectation, EndError> {
        // One that cannot be read says nothing, and is replaced.
        let existing = self.inner.existing().and_then(|blob| Manifest::parse_blob(blob).ok());
        let (key, unchanged) = match decide(manifest, existing.as_ref(), &self.keys, anew)? {
            Way::AsIs(warning) => {
                let expected = self.inner.expect(manifest, anew).await?;
                return Ok(Expectation { warning: warning.map(str::to_owned).or(expected.warning), ..expected });
            }
            Way::Decrypt(key) => (key, false),
            Way::Unchanged(key) => (key, true),
        };
        // Heard twice, it is the same snapshot and so the same key.
        let _ = self.key.set(key.clone());
        Ok(Expectation { unchanged, rewritten: true, warning: None })
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        // What is there is a decrypted file, of which the encrypted one's checksum says nothing.
        if self.key.get().is_some() { Ok(false) } else { self.inner.has_file(info).await }
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.inner.has_client_log().await
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        self.inner.begin_archive(name, layout).await
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        if self.key.get().is_none() {
            return self.inner.missing(chunks).await;
        }
        let known: Vec<ChunkRef> =
            chunks.iter().filter_map(|chunk| self.name_of(chunk).map(|name| plain(chunk, name))).collect();
        let missing: HashSet<ChunkRef> = self.inner.missing(&known).await?.into_iter().collect();
        let lacking = |chunk: &&ChunkRef| self.name_of(chunk).is_none_or(|name| missing.contains(&plain(chunk, name)));
        Ok(chunks.iter().filter(lacking).copied().collect())
    }

    fn asks_at_once(&self) -> usize {
        self.inner.asks_at_once()
    }

    async fn put_chunk(&self, archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError> {
        let Some(key) = self.key.get().cloned() else { return self.inner.put_chunk(archive, chunk, blob).await };
        let bad = move |error| {
            EndError::skip(format!("chunk {} cannot be decrypted", chunk.digest))
                .caused_by(error)
                .with_hint("verify the snapshot at the source")
        };
        let (name, blob) = on_core(move || {
            let bytes = blob.decode_chunk(&chunk.digest, chunk.plain_len, Some(&key)).map_err(bad)?;
            let blob = DataBlob::encode(&bytes, true, None).map_err(bad)?;
            Ok::<_, EndError>((ChunkDigest::of(&bytes), blob))
        })
        .await??;
        let plain = plain(&chunk, name);
        if !self.inner.missing(&[plain]).await?.is_empty() {
            self.inner.put_chunk(archive, plain, blob).await?;
        }
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk, name);
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        if self.key.get().is_none() {
            return self.inner.finish_archive(archive, index).await;
        }
        let index = Index::parse(archive.name.kind(), index)
            .map_err(|error| EndError::skip("the index does not parse").caused_by(error))?;
        let index = renamed(&index, |entry| {
            self.name_of(&ChunkRef { digest: entry.digest, plain_len: entry.len(), encrypted: true })
        })?;
        let (filename, crypt_mode) = (archive.name.clone(), CryptMode::None);
        self.note(FileInfo { filename, crypt_mode, size: index.size, csum: index.csum });
        self.inner.finish_archive(archive, index.bytes.into()).await
    }

    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError> {
        let Some(key) = self.key.get().cloned() else { return self.inner.put_blob(name, encoded).await };
        let bytes = decrypted_blob(key, name, encoded).await?;
        self.note(FileInfo::of_blob(name.clone(), CryptMode::None, &bytes));
        self.inner.put_blob(name, bytes).await
    }

    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError> {
        let Some(key) = self.key.get().cloned() else { return self.inner.put_client_log(encoded).await };
        let encrypted = DataBlob::parse(encoded.clone()).is_ok_and(|blob| blob.kind().is_encrypted());
        if !encrypted {
            return self.inner.put_client_log(encoded).await;
        }
        match decrypted_blob(key, &ArchiveName::client_log(), encoded).await {
            Ok(bytes) => self.inner.put_client_log(bytes).await,
            // The log is no part of the backup: one under another key is passed over.
            Err(error) => {
                tracing::warn!("a client log is left out: {}", error.chain());
                Ok(())
            }
        }
    }

    async fn commit(self: Box<Self>, manifest: &Manifest, blob: &DataBlob) -> Result<(), EndError> {
        if self.key.get().is_none() {
            return self.inner.commit(manifest, blob).await;
        }
        let manifest = self.decrypted(manifest)?;
        let blob = manifest
            .to_blob()
            .map_err(|error| EndError::skip("its decrypted manifest cannot be written").caused_by(error))?;
        self.inner.commit(&manifest, &blob).await
    }

    async fn abandon(self: Box<Self>) {
        self.inner.abandon().await;
    }
}
