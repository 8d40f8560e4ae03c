//! Writing to a datastore of a remote.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api_types::ReleaseVersion;
use api_types::protocol::{KNOWN_CHUNKS, MAX_KNOWN_CHUNKS};
use async_trait::async_trait;
use bytes::Bytes;
use client::{ClientError, IndexKind, MAX_APPEND, Remote, WriterSession};
use formats::{
    ArchiveKind, ArchiveName, AuthId, CLIENT_LOG_NAME, ChunkDigest, DataBlob, FIXED_CHUNK_SIZE, FileInfo, GroupId,
    Index, ListingFingerprint, MANIFEST_NAME, Manifest, Namespace, SnapshotId, StoreName, VerifyResult,
};

use super::remote_probe::RemoteProbe;
use super::remote_source::{self, MAX_MANIFEST};
use super::while_busy;
use crate::error::EndError;
use crate::rehearsal::{Probe, Probing};
use crate::traits::{
    ArchiveHandle, ArchiveLayout, ChunkRef, GroupInfo, Inventoried, OpenSnapshot, Removed, SnapshotInfo, SnapshotSink,
    Target, max_file_len,
};

/// The oldest server that knows namespaces.
const OLDEST: ReleaseVersion = ReleaseVersion { major: 2, minor: 2, release: 0 };

/// A datastore of a remote that snapshots are written to.
///
/// A session uploads each chunk once and skips those that the group's newest snapshot there names; what other groups
/// and other sessions have sent cannot be counted on - unless the remote is one of our own servers: then it is asked
/// (`docs/protocol-additions.md`). A snapshot that breaks off is thrown away by the remote.
#[derive(Clone)]
pub struct RemoteTarget {
    pub(super) remote: Remote,
    pub(super) store: StoreName,
    /// The remote tells what need not be sent.
    pub(super) tells_known: bool,
}

impl RemoteTarget {
    /// Connects to `remote` and makes a target of its datastore `store`.
    ///
    /// # Errors
    /// A remote that cannot be reached, does not let us in, or is older than 2.2.
    pub async fn connect(remote: Remote, store: StoreName) -> Result<Self, EndError> {
        let release = remote.release().await?;
        if release < OLDEST {
            return Err(EndError::stop(format!("the remote runs version {release}, which is too old"))
                .with_hint("2.2 or newer is needed there"));
        }
        let tells_known = remote.offers(KNOWN_CHUNKS).await?;
        Ok(Self { remote, store, tells_known })
    }
}

#[async_trait]
impl Inventoried for RemoteTarget {
    fn describe(&self) -> String {
        remote_source::describe(&self.remote, &self.store)
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        remote_source::namespaces(&self.remote, &self.store, below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        remote_source::groups(&self.remote, &self.store, namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        remote_source::snapshots(&self.remote, &self.store, namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        remote_source::fingerprint(&self.remote, &self.store, below, max_depth).await
    }
}

#[async_trait]
impl Target for RemoteTarget {
    fn shares_chunks(&self) -> bool {
        false
    }

    fn lends_chunks(&self) -> bool {
        self.tells_known
    }

    async fn create_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        // One that is listed, or has one below it that is, needs no making; and we may not even be allowed to.
        let there = self.namespaces(&Namespace::root(), None).await?;
        let mut path = Namespace::root();
        for component in namespace.components() {
            path = path.join(component).map_err(|error| EndError::skip("bad namespace").caused_by(error))?;
            if !there.iter().any(|listed| path.contains(listed)) {
                self.remote.create_namespace(&self.store, &path).await?;
            }
        }
        Ok(())
    }

    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        _owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        let session = while_busy(ClientError::is_busy, || self.remote.writer(&self.store, namespace, snapshot)).await?;
        let known = match base {
            None => HashSet::new(),
            Some(_) => previous_chunks(&session).await?,
        };
        Ok(Box::new(RemoteSink { session, known: Mutex::new(known), tells_known: self.tells_known }))
    }

    async fn reopen(
        &self,
        _namespace: &Namespace,
        _snapshot: &SnapshotId,
        _base: Option<&SnapshotId>,
        _owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        Ok(None)
    }

    async fn probe(&self, asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        if asked.again {
            return Ok(None);
        }
        Ok(Some(Box::new(RemoteProbe::open(self, asked).await?)))
    }

    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        remote_source::open(&self.remote, &self.store, namespace, snapshot).await
    }

    async fn set_notes(&self, namespace: &Namespace, snapshot: &SnapshotId, notes: &str) -> Result<(), EndError> {
        Ok(self.remote.set_notes(&self.store, namespace, snapshot, notes).await?)
    }

    async fn set_protected(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), EndError> {
        let set = || self.remote.set_protected(&self.store, namespace, snapshot, protected);
        Ok(while_busy(ClientError::is_busy, set).await?)
    }

    async fn set_group_notes(&self, namespace: &Namespace, group: &GroupId, notes: &str) -> Result<(), EndError> {
        let set = || self.remote.set_group_notes(&self.store, namespace, group, notes);
        Ok(while_busy(ClientError::is_busy, set).await?)
    }

    async fn add_client_log(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        encoded: Bytes,
    ) -> Result<(), EndError> {
        Ok(self.remote.upload_client_log(&self.store, namespace, snapshot, encoded).await?)
    }

    async fn remove_snapshot(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        Ok(self.remote.delete_snapshot(&self.store, namespace, snapshot).await?)
    }

    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError> {
        let stats = self.remote.delete_group(&self.store, namespace, group).await?;
        // A server before 3.2.11 tells nothing, and fails where something protected stays.
        Ok(stats.map_or(Removed { groups: 1, ..Removed::default() }, |stats| Removed {
            groups: stats.removed_groups,
            snapshots: stats.removed_snapshots,
            protected: stats.protected_snapshots,
        }))
    }

    async fn remove_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        self.remote.delete_namespace(&self.store, namespace, false).await?;
        let left = self.namespaces(&Namespace::root(), None).await?;
        if left.contains(namespace) {
            return Err(EndError::skip("the remote kept the namespace, since something is left in it"));
        }
        Ok(())
    }
}

/// Learns which chunks the group's newest snapshot at the remote names; these need not be sent.
///
/// Nothing here is vital: what cannot be learnt is sent.
async fn previous_chunks(session: &WriterSession) -> Result<HashSet<ChunkDigest>, EndError> {
    let mut known = HashSet::new();
    let Some(bytes) = session.previous(MANIFEST_NAME, MAX_MANIFEST).await? else { return Ok(known) };
    let Some(manifest) = trusted_manifest(bytes) else { return Ok(known) };
    for info in manifest.files.iter().filter(|info| info.filename.kind() != ArchiveKind::Blob) {
        let Some(bytes) = session.previous(info.filename.as_str(), max_file_len(info)).await? else { continue };
        known.extend(named_by(info, bytes));
    }
    Ok(known)
}

/// Reads a manifest, unless it cannot be read or says that verification failed: then its chunks are not trusted.
pub(super) fn trusted_manifest(bytes: Bytes) -> Option<Manifest> {
    let manifest = DataBlob::parse(bytes).ok().and_then(|blob| Manifest::parse_blob(&blob).ok())?;
    let failed = manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Failed);
    (!failed).then_some(manifest)
}

/// Lists what an index names, if it is the one its manifest speaks of.
pub(super) fn named_by(info: &FileInfo, bytes: Bytes) -> Vec<ChunkDigest> {
    match Index::parse(info.filename.kind(), bytes) {
        Ok(index) if index.csum() == info.csum && index.size() == info.size => {
            index.entries().map(|entry| entry.digest).collect()
        }
        _ => Vec::new(),
    }
}

/// Says that an image is cut in a way that the protocol does not know.
pub(super) fn refuse_chunk_size(chunk_size: u64) -> EndError {
    EndError::skip(format!(
        "its chunks have {chunk_size} bytes, but a remote takes images in chunks of {FIXED_CHUNK_SIZE} alone"
    ))
}

/// An open writer session. Dropping it throws the snapshot away.
struct RemoteSink {
    session: WriterSession,
    /// Chunks that may be referred to: named by the previous snapshot, vouched for by the remote or sent in this session.
    known: Mutex<HashSet<ChunkDigest>>,
    tells_known: bool,
}

impl RemoteSink {
    fn known(&self) -> MutexGuard<'_, HashSet<ChunkDigest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self, chunks: &[ChunkRef]) -> Vec<ChunkRef> {
        let known = self.known();
        chunks.iter().filter(|chunk| !known.contains(&chunk.digest)).copied().collect()
    }

    /// Learns which of `chunks` the remote lets this session refer to. Nothing here is vital: what it does not tell is sent.
    async fn ask(&self, chunks: &[ChunkRef]) -> Result<(), EndError> {
        let digests: Vec<ChunkDigest> = chunks.iter().map(|chunk| chunk.digest).collect();
        let lengths = match self.session.known_chunks(&digests).await {
            Ok(lengths) => lengths,
            Err(error) if error.status().is_some() => {
                tracing::debug!(%error, "the remote does not tell which chunks it knows");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // One that has another length there is another chunk, whatever its name.
        let same = chunks.iter().zip(lengths).filter(|(chunk, length)| *length == Some(chunk.plain_len));
        self.known().extend(same.map(|(chunk, _)| chunk.digest));
        Ok(())
    }
}

fn index_kind(layout: ArchiveLayout) -> IndexKind {
    match layout {
        ArchiveLayout::Fixed { .. } => IndexKind::Fixed,
        ArchiveLayout::Dynamic => IndexKind::Dynamic,
    }
}

#[async_trait]
impl SnapshotSink for RemoteSink {
    fn existing(&self) -> Option<&DataBlob> {
        None
    }

    async fn has_file(&self, _info: &FileInfo) -> Result<bool, EndError> {
        Ok(false)
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        Ok(false)
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        let id = match layout {
            ArchiveLayout::Dynamic => self.session.create_dynamic(name.as_str()).await?,
            ArchiveLayout::Fixed { size, chunk_size: FIXED_CHUNK_SIZE } => {
                self.session.create_fixed(name.as_str(), size).await?
            }
            ArchiveLayout::Fixed { chunk_size, .. } => {
                return Err(refuse_chunk_size(chunk_size));
            }
        };
        Ok(ArchiveHandle { name: name.clone(), id, layout })
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        let unknown = self.unknown(chunks);
        if !self.tells_known || unknown.is_empty() {
            return Ok(unknown);
        }
        self.ask(&unknown).await?;
        Ok(self.unknown(&unknown))
    }

    fn asks_at_once(&self) -> usize {
        if self.tells_known { MAX_KNOWN_CHUNKS } else { 32 }
    }

    async fn put_chunk(&self, archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError> {
        let kind = index_kind(archive.layout);
        self.session.upload_chunk(kind, archive.id, &chunk.digest, chunk.plain_len, blob).await?;
        self.known().insert(chunk.digest);
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        let index = Index::parse(archive.name.kind(), index)
            .map_err(|error| EndError::skip("the index does not parse").caused_by(error))?;
        let kind = index_kind(archive.layout);
        let mut batch = Vec::with_capacity(MAX_APPEND);
        for entry in index.entries() {
            batch.push((entry.digest, entry.start));
            if batch.len() == MAX_APPEND {
                self.session.append(kind, archive.id, &batch).await?;
                batch.clear();
            }
        }
        if !batch.is_empty() {
            self.session.append(kind, archive.id, &batch).await?;
        }
        let (count, size) = (index.len() as u64, index.size());
        Ok(self.session.close(kind, archive.id, count, size, &index.csum()).await?)
    }

    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError> {
        Ok(self.session.upload_blob(name.as_str(), encoded).await?)
    }

    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError> {
        Ok(self.session.upload_blob(CLIENT_LOG_NAME, encoded).await?)
    }

    async fn commit(self: Box<Self>, _manifest: &Manifest, blob: &DataBlob) -> Result<(), EndError> {
        self.session.upload_blob(MANIFEST_NAME, blob.to_bytes()).await?;
        Ok(self.session.finish().await?)
    }

    async fn abandon(self: Box<Self>) {}
}
