//! Writing to a datastore on this machine.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datastore::{Datastore, DatastoreError, GroupLock, StagedSnapshot, VerifyCache, WriterGuard};
use formats::{
    ArchiveKind, ArchiveName, AuthId, CryptKey, DataBlob, FileInfo, GroupId, Index, ListingFingerprint, Manifest,
    Namespace, SnapshotId, Upid, sha256,
};
use tokio::sync::Semaphore;

use super::local_probe::LocalProbe;
use super::presence::{Damaged, Presence};
use super::{LocalSource, is_busy, local_source, while_busy};
use crate::error::EndError;
use crate::options::Direction;
use crate::planner::ForeignGroup;
use crate::rehearsal::{Probe, Probing};
use crate::traits::{
    ArchiveHandle, ArchiveLayout, ChunkRef, GroupInfo, Inventoried, OpenSnapshot, Removed, SnapshotInfo, SnapshotSink,
    Source as _, Target,
};
use crate::verify::blocking;

/// Chunks of an unsure origin that are read at the same time, over all groups: the memory they take is beside the
/// budget of the run.
pub(super) const READ_AT_ONCE: usize = 4;

/// A datastore on this machine that snapshots are written to.
///
/// While one exists, the datastore is registered as being written to, so that garbage collection spares what this run
/// counts on.
#[derive(Clone)]
pub struct LocalTarget {
    pub(super) store: Datastore,
    pub(super) reading: Arc<Semaphore>,
    _writing: Arc<WriterGuard>,
    pub(super) verification: Option<Arc<Verification>>,
}

/// Reading back what was written.
pub(super) struct Verification {
    /// Each chunk is read once in a run.
    cache: VerifyCache,
    upid: Upid,
}

impl LocalTarget {
    /// Makes a target of `store` and registers as its writer.
    ///
    /// # Errors
    /// When somebody holds the datastore for himself, such as a garbage collection of another program.
    pub fn new(store: Datastore) -> Result<Self, EndError> {
        let writing = store.begin_writing().map_err(|error| {
            EndError::stop(format!("datastore `{}` cannot be written to now", store.name()))
                .caused_by(error)
                .with_hint("another program holds the datastore, perhaps for garbage collection; try again later")
        })?;
        Ok(Self {
            store,
            reading: Arc::new(Semaphore::new(READ_AT_ONCE)),
            _writing: Arc::new(writing),
            verification: None,
        })
    }

    /// Verifies every snapshot by reading it back after it was committed, one under any of `keys` with it, and keeps the
    /// result with it under the name `upid`. No chunk counts as there before it was read and checked, whoever names it.
    #[must_use]
    pub fn verifying(self, upid: Upid, keys: Vec<CryptKey>) -> Self {
        let cache = VerifyCache::new().with_keys(keys);
        Self { verification: Some(Arc::new(Verification { cache, upid })), ..self }
    }

    /// Reads a committed snapshot back.
    async fn verify(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        let Some(verification) = &self.verification else { return Ok(()) };
        let upid = verification.upid.clone();
        let report = self.store.verify_snapshot(namespace, snapshot, &verification.cache, upid).await?;
        if let Some(reason) = &report.skipped {
            tracing::warn!("{snapshot} in {} was copied but not verified: {reason}", self.describe());
        }
        let Some(first) = report.problems.first() else { return Ok(()) };
        let message = format!("copied, but reading it back failed: {}: {}", first.file, first.message);
        Err(EndError::skip(message)
            .with_hint("the result is kept with the snapshot; check the disk, then copy it again with resync-corrupt"))
    }

    /// Locks the group, making it where it is missing, and checks its owner. Waits a little for a busy one.
    async fn lock_group(&self, namespace: &Namespace, group: &GroupId, owner: &AuthId) -> Result<GroupLock, EndError> {
        let (lock, actual, _) = while_busy(is_busy, || async {
            let (store, ns, id, wanted) = (self.store.clone(), namespace.clone(), group.clone(), owner.clone());
            Ok::<_, EndError>(blocking(move || store.lock_or_create_group(&ns, &id, &wanted)).await??)
        })
        .await?;
        if actual == *owner {
            return Ok(lock);
        }
        let problem = ForeignGroup {
            direction: Direction::Pull,
            store: Some(self.store.name().as_str()),
            namespace,
            group,
            found: &actual,
            wanted: owner,
        }
        .problem();
        let error = EndError::skip(problem.message);
        Err(match problem.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }

    fn sink(
        &self,
        staged: StagedSnapshot,
        base: Option<&SnapshotId>,
        existing: Option<DataBlob>,
    ) -> Box<dyn SnapshotSink> {
        Box::new(LocalSink {
            target: self.clone(),
            presence: Presence::new(
                self.clone(),
                staged.namespace().clone(),
                base.filter(|_| self.verification.is_none()), // who verifies counts nothing unread
                Damaged::SetAside,
            ),
            staged: Arc::new(staged),
            existing,
        })
    }
}

#[async_trait]
impl Inventoried for LocalTarget {
    fn describe(&self) -> String {
        format!("datastore `{}`", self.store.name())
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        local_source::namespaces(&self.store, below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        local_source::groups(&self.store, namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        local_source::snapshots(&self.store, namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        local_source::fingerprint(&self.store, below, max_depth, ()).await
    }
}

#[async_trait]
impl Target for LocalTarget {
    fn shares_chunks(&self) -> bool {
        true
    }

    async fn create_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        let (store, namespace) = (self.store.clone(), namespace.clone());
        Ok(blocking(move || store.create_namespace_path(&namespace)).await??)
    }

    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        let lock = self.lock_group(namespace, &snapshot.group, owner).await?;
        let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
        let staged = blocking(move || store.stage_or_resume(&ns, &id, &lock)).await??;
        Ok(self.sink(staged, base, None))
    }

    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        let lock = self.lock_group(namespace, &snapshot.group, owner).await?;
        let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
        let opened = blocking(move || {
            let staged = store.reopen(&ns, &id, &lock)?;
            let bytes = staged.read_file(&ArchiveName::manifest())?.unwrap_or_default();
            Ok::<_, DatastoreError>((staged, bytes))
        })
        .await?;
        match opened {
            // A manifest that is no blob counts as none: everything is looked at.
            Ok((staged, bytes)) => Ok(Some(self.sink(staged, base, DataBlob::parse(bytes).ok()))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_copy(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        LocalSource::new(self.store.clone()).open(namespace, snapshot).await
    }

    async fn probe(&self, asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        LocalProbe::open(self, asked).await
    }

    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        local_source::open(&self.store, namespace, snapshot, None).await
    }

    async fn set_notes(&self, namespace: &Namespace, snapshot: &SnapshotId, notes: &str) -> Result<(), EndError> {
        let (store, ns, id, notes) = (self.store.clone(), namespace.clone(), snapshot.clone(), notes.to_owned());
        let set = move || {
            store.update_manifest(&ns, &id, |manifest| {
                manifest.set_notes(&notes);
                Ok(())
            })
        };
        Ok(blocking(set).await??)
    }

    async fn set_protected(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), EndError> {
        while_busy(is_busy, || async {
            let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
            Ok(blocking(move || store.set_protected(&ns, &id, protected)).await??)
        })
        .await
    }

    async fn set_group_notes(&self, namespace: &Namespace, group: &GroupId, notes: &str) -> Result<(), EndError> {
        while_busy(is_busy, || async {
            let (store, ns, id, notes) = (self.store.clone(), namespace.clone(), group.clone(), notes.to_owned());
            Ok(blocking(move || store.set_group_notes(&ns, &id, &notes)).await??)
        })
        .await
    }

    async fn add_client_log(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        encoded: Bytes,
    ) -> Result<(), EndError> {
        let log = DataBlob::parse(encoded).map_err(|error| EndError::skip("the log is no blob").caused_by(error))?;
        let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
        Ok(blocking(move || store.store_client_log(&ns, &id, &log)).await??)
    }

    async fn remove_snapshot(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
        Ok(blocking(move || store.remove_snapshot(&ns, &id, false)).await??)
    }

    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError> {
        let (store, ns, id) = (self.store.clone(), namespace.clone(), group.clone());
        let stats = blocking(move || store.remove_group(&ns, &id)).await??;
        Ok(Removed { groups: stats.groups, snapshots: stats.snapshots, protected: stats.protected_snapshots })
    }

    async fn remove_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        let (store, ns) = (self.store.clone(), namespace.clone());
        blocking(move || store.remove_namespace(&ns, false)).await??;
        Ok(())
    }
}

/// A snapshot being written, with its group's lock inside.
struct LocalSink {
    target: LocalTarget,
    presence: Presence,
    staged: Arc<StagedSnapshot>,
    existing: Option<DataBlob>,
}

impl LocalSink {
    async fn with_staged<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StagedSnapshot) -> Result<T, DatastoreError> + Send + 'static,
    ) -> Result<T, EndError> {
        let staged = Arc::clone(&self.staged);
        Ok(blocking(move || work(&staged)).await??)
    }

    /// Takes the staged snapshot out; nothing else uses it any more.
    fn into_staged(self) -> Result<StagedSnapshot, EndError> {
        Arc::into_inner(self.staged).ok_or_else(|| EndError::retry("the snapshot is still being written"))
    }
}

/// Whether a stored file is the one the manifest speaks of.
pub(super) fn is_file(info: &FileInfo, bytes: Vec<u8>) -> bool {
    if info.filename.kind() == ArchiveKind::Blob {
        return bytes.len() as u64 == info.size && sha256(&bytes) == info.csum;
    }
    Index::parse(info.filename.kind(), bytes).is_ok_and(|index| index.size() == info.size && index.csum() == info.csum)
}

#[async_trait]
impl SnapshotSink for LocalSink {
    fn existing(&self) -> Option<&DataBlob> {
        self.existing.as_ref()
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        let info = info.clone();
        self.with_staged(move |staged| match staged.read_file(&info.filename) {
            Ok(bytes) => Ok(bytes.is_some_and(|bytes| is_file(&info, bytes))),
            Err(error) if error.is_corrupt() => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.with_staged(|staged| staged.has_file(&ArchiveName::client_log())).await
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        Ok(ArchiveHandle { name: name.clone(), id: 0, layout })
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        self.presence.missing(chunks).await
    }

    async fn put_chunk(&self, _archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError> {
        self.target.store.chunks().insert(&chunk.digest, blob).await?;
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        self.with_staged(move |staged| staged.write_file(&archive.name, &index)).await
    }

    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError> {
        let name = name.clone();
        self.with_staged(move |staged| staged.write_file(&name, &encoded)).await
    }

    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError> {
        if self.existing.is_none() {
            return self.put_blob(&ArchiveName::client_log(), encoded).await;
        }
        // A finished snapshot takes its log at once, whether or not the rest changes.
        let log = DataBlob::parse(encoded).map_err(|error| EndError::skip("the log is no blob").caused_by(error))?;
        let (store, staged) = (self.target.store.clone(), Arc::clone(&self.staged));
        Ok(blocking(move || store.store_client_log(staged.namespace(), staged.snapshot(), &log)).await??)
    }

    async fn commit(self: Box<Self>, _manifest: &Manifest, blob: &DataBlob) -> Result<(), EndError> {
        let blob = blob.clone();
        let target = self.target.clone();
        let (namespace, snapshot) = (self.staged.namespace().clone(), self.staged.snapshot().clone());
        let staged = self.into_staged()?;
        blocking(move || staged.commit(&blob)).await??;
        target.verify(&namespace, &snapshot).await
    }

    async fn abandon(self: Box<Self>) {
        let Ok(staged) = self.into_staged() else { return };
        if let Ok(Err(error)) = blocking(move || staged.abandon()).await {
            tracing::warn!("cannot clean up an unfinished snapshot: {}", error.chain());
        }
    }
}
