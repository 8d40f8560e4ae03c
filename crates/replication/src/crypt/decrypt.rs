//! A target that stores encrypted snapshots decrypted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveName, AuthId, ChunkDigest, CryptKey, CryptMode, DataBlob, FileInfo, Fingerprint, GroupId, Index,
    ListingFingerprint, MAX_BLOB_PLAIN, Manifest, Namespace, RSA_KEY_NAME, SnapshotId,
};

use super::decrypt_probe::DecryptingProbe;
use super::renamed;
use super::translation::{Heard, Names, Translation, plain};
use crate::error::EndError;
use crate::rehearsal::{Probe, Probing, Rehearsed};
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
    /// One for the run, or one for each group where chunks put for one are not found by another.
    names: Arc<Mutex<HashMap<Scope, Arc<Names>>>>,
}

/// A group, or all of them.
type Scope = Option<(Namespace, GroupId)>;

impl DecryptingTarget {
    /// Decrypts what comes to `inner` with whichever of `keys` fits.
    pub fn new(inner: Arc<dyn Target>, keys: Vec<CryptKey>) -> Self {
        Self { inner, keys: keys.into(), names: Arc::default() }
    }

    fn translation(&self, namespace: &Namespace, group: &GroupId) -> Translation {
        Translation::new(Arc::clone(&self.keys), self.names(namespace, group))
    }

    fn names(&self, namespace: &Namespace, group: &GroupId) -> Arc<Names> {
        let everywhere = self.inner.shares_chunks() || self.inner.lends_chunks();
        let scope = (!everywhere).then(|| (namespace.clone(), group.clone()));
        Arc::clone(self.names.lock().unwrap_or_else(PoisonError::into_inner).entry(scope).or_default())
    }

    fn sink(
        &self,
        inner: Box<dyn SnapshotSink>,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Box<dyn SnapshotSink> {
        let translation = self.translation(namespace, &snapshot.group);
        Box::new(DecryptingSink { inner, translation, files: Mutex::default() })
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
        Ok(self.sink(self.inner.begin(namespace, snapshot, base, owner).await?, namespace, snapshot))
    }

    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        let reopened = self.inner.reopen(namespace, snapshot, base, owner).await?;
        Ok(reopened.map(|inner| self.sink(inner, namespace, snapshot)))
    }

    async fn probe(&self, asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        // What the source calls the chunks of one that was decrypted says something here, and nothing below.
        let rewritten = asked.rehearsed.filter(|rehearsed| asked.base.is_some() && rehearsed.rewritten);
        let brought = rewritten.map(|rehearsed| Arc::clone(&rehearsed.chunks)).unwrap_or_default();
        let nameless = rewritten.map(|rehearsed| Rehearsed { chunks: Arc::default(), ..rehearsed.clone() });
        let below = Probing { rehearsed: nameless.as_ref().or(asked.rehearsed), ..asked };
        let Some(inner) = self.inner.probe(below).await? else { return Ok(None) };
        let translation = self.translation(asked.namespace, &asked.snapshot.group);
        Ok(Some(Box::new(DecryptingProbe { inner, translation, brought })))
    }

    fn wants_pairs(&self) -> bool {
        // One that is not read from has nothing to show.
        self.inner.shares_chunks()
    }

    async fn pair(&self, namespace: &Namespace, source: &dyn OpenSnapshot) -> Result<(), EndError> {
        let snapshot = source.manifest().snapshot();
        match self.inner.open_copy(namespace, &snapshot).await? {
            Some(copy) => self.names(namespace, &snapshot.group).pair(source, copy.as_ref(), &self.keys).await,
            None => Ok(()),
        }
    }

    async fn open_copy(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        self.inner.open_copy(namespace, snapshot).await
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
    translation: Translation,
    /// What the files became.
    files: Mutex<HashMap<ArchiveName, FileInfo>>,
}

impl DecryptingSink {
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
        match self.translation.hear(manifest, self.inner.existing(), anew)? {
            Heard::AsIs(warning) => Ok(Heard::beside(warning, self.inner.expect(manifest, anew).await?)),
            Heard::Decrypted(expected) => Ok(expected),
        }
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        // What is there is a decrypted file, of which the encrypted one's checksum says nothing.
        if self.translation.key().is_some() { Ok(false) } else { self.inner.has_file(info).await }
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.inner.has_client_log().await
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        self.inner.begin_archive(name, layout).await
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        if self.translation.key().is_none() {
            return self.inner.missing(chunks).await;
        }
        let missing = self.inner.missing(&self.translation.known(chunks)).await?;
        Ok(self.translation.lacking(chunks, missing))
    }

    fn asks_at_once(&self) -> usize {
        self.inner.asks_at_once()
    }

    async fn put_chunk(&self, archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError> {
        let Some(key) = self.translation.key().cloned() else {
            return self.inner.put_chunk(archive, chunk, blob).await;
        };
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
        self.translation.names.learn(chunk, name);
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        if self.translation.key().is_none() {
            return self.inner.finish_archive(archive, index).await;
        }
        let index = Index::parse(archive.name.kind(), index)
            .map_err(|error| EndError::skip("the index does not parse").caused_by(error))?;
        let index = renamed(&index, |entry| {
            self.translation.names.of(&ChunkRef { digest: entry.digest, plain_len: entry.len(), encrypted: true })
        })?;
        let (filename, crypt_mode) = (archive.name.clone(), CryptMode::None);
        self.note(FileInfo { filename, crypt_mode, size: index.size, csum: index.csum });
        self.inner.finish_archive(archive, index.bytes.into()).await
    }

    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError> {
        let Some(key) = self.translation.key().cloned() else { return self.inner.put_blob(name, encoded).await };
        let bytes = decrypted_blob(key, name, encoded).await?;
        self.note(FileInfo::of_blob(name.clone(), CryptMode::None, &bytes));
        self.inner.put_blob(name, bytes).await
    }

    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError> {
        let Some(key) = self.translation.key().cloned() else { return self.inner.put_client_log(encoded).await };
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
        if self.translation.key().is_none() {
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
