//! Reading a datastore on this machine.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use client::Traffic;
use datastore::{Datastore, DatastoreError, ManifestHashes, SnapshotLock, Viewer};
use formats::{ArchiveName, AuthId, DataBlob, GroupId, ListingFingerprint, Manifest, Namespace, SnapshotId};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::remote_source::became_protected;
use super::{is_busy, while_busy};
use crate::error::EndError;
use crate::notes::ListedNotes;
use crate::traits::{ChunkRef, GroupInfo, Inventoried, OpenSnapshot, SnapshotInfo, Source};
use crate::verify::blocking;

/// Decides whether the run may see a group of an owner.
type Visible = dyn Fn(&Namespace, &GroupInfo) -> bool + Send + Sync;

/// A datastore on this machine that snapshots are read from.
#[derive(Clone)]
pub struct LocalSource {
    store: Datastore,
    visible: Option<Arc<Visible>>,
    removable: Option<Arc<Visible>>,
    pace: Option<Arc<Traffic>>,
}

impl LocalSource {
    /// Makes a source of every group in `store`.
    pub fn new(store: Datastore) -> Self {
        Self { store, visible: None, removable: None, pace: None }
    }

    /// Restricts a move to the groups that `removable` lets pass: those in which the identity of the job may remove.
    #[must_use]
    pub fn removing_only(self, removable: impl Fn(&Namespace, &GroupInfo) -> bool + Send + Sync + 'static) -> Self {
        Self { removable: Some(Arc::new(removable)), ..self }
    }

    /// Holds the chunks read to the rates of `pace`, for a copy to another datastore of this machine.
    #[must_use]
    pub fn paced(self, pace: Arc<Traffic>) -> Self {
        Self { pace: Some(pace), ..self }
    }

    /// Restricts it to the groups that `visible` lets pass: what the identity of the job may read.
    #[must_use]
    pub fn only(self, visible: impl Fn(&Namespace, &GroupInfo) -> bool + Send + Sync + 'static) -> Self {
        Self { visible: Some(Arc::new(visible)), ..self }
    }
}

/// Lists `below` and what is below it.
pub(super) async fn namespaces(
    store: &Datastore,
    below: &Namespace,
    max_depth: Option<usize>,
) -> Result<Vec<Namespace>, EndError> {
    let (store, anchor) = (store.clone(), below.clone());
    let listed = blocking(move || store.namespaces(&anchor, max_depth)).await?;
    listed.map_err(|error| {
        if error.is_not_found() {
            EndError::stop(format!("namespace `{below}` does not exist")).with_hint("check the namespace of the job")
        } else {
            EndError::stop("cannot list namespaces").caused_by(error)
        }
    })
}

/// Lists groups with their owners. A group without a usable owner has none.
pub(super) async fn groups(store: &Datastore, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
    let (store, namespace) = (store.clone(), namespace.clone());
    blocking(move || {
        let ids = store.groups(&namespace)?;
        Ok(ids
            .into_iter()
            .map(|id| {
                let owner = store.owner(&namespace, &id).ok();
                let notes = ListedNotes::whole(store.group_notes(&namespace, &id).unwrap_or_default());
                GroupInfo { id, owner, notes }
            })
            .collect())
    })
    .await?
}

/// Lists snapshots; a manifest that cannot be read is noted.
pub(super) async fn snapshots(
    store: &Datastore,
    namespace: &Namespace,
    group: &GroupId,
) -> Result<Vec<SnapshotInfo>, EndError> {
    let (store, namespace, group) = (store.clone(), namespace.clone(), group.clone());
    blocking(move || {
        let entries = store.snapshots(&namespace, &group)?;
        Ok(entries
            .into_iter()
            .map(|entry| {
                let mut info = SnapshotInfo::finished(entry.id);
                (info.finished, info.protected) = (entry.finished, entry.protected);
                if info.finished {
                    match store.manifest(&namespace, &info.id) {
                        Ok((manifest, _)) => describe(&mut info, &manifest),
                        // Removed since it was listed.
                        Err(error) if error.is_not_found() => info.finished = false,
                        Err(_) => info.manifest_unreadable = true,
                    }
                }
                info
            })
            .collect())
    })
    .await?
}

/// Computes the fingerprint of what `viewer` sees. What is wrong is for a listing to find.
pub(super) async fn fingerprint(
    store: &Datastore,
    below: &Namespace,
    max_depth: Option<usize>,
    viewer: impl Viewer + Send + 'static,
) -> Result<Option<ListingFingerprint>, EndError> {
    let (store, below) = (store.clone(), below.clone());
    let found =
        blocking(move || store.listing_fingerprint(&below, max_depth, &viewer, &ManifestHashes::default())).await?;
    Ok(found.inspect_err(|error| tracing::debug!(%error, "no fingerprint of the listings")).ok())
}

/// The groups that pass are listed; namespaces always are.
struct Filtered(Option<Arc<Visible>>);

impl Viewer for Filtered {
    fn sees_namespace(&self, _: &Namespace) -> bool {
        true
    }

    fn sees_group(&self, ns: &Namespace, group: &GroupId, owner: Option<&AuthId>) -> bool {
        let info = || GroupInfo { id: group.clone(), owner: owner.cloned(), notes: ListedNotes::default() };
        self.0.as_ref().is_none_or(|visible| visible(ns, &info()))
    }
}

fn describe(info: &mut SnapshotInfo, manifest: &Manifest) {
    info.verified = manifest.verify_state().map(|state| state.state);
    info.fully_encrypted = manifest.is_fully_encrypted();
    info.notes = ListedNotes::whole(manifest.notes().unwrap_or_default());
    info.size = Some(manifest.files.iter().fold(0, |sum, file| sum.saturating_add(file.size)));
}

#[async_trait]
impl Inventoried for LocalSource {
    fn describe(&self) -> String {
        format!("datastore `{}`", self.store.name())
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        namespaces(&self.store, below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        let mut list = groups(&self.store, namespace).await?;
        if let Some(visible) = &self.visible {
            list.retain(|group| visible(namespace, group));
        }
        Ok(list)
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        snapshots(&self.store, namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        fingerprint(&self.store, below, max_depth, Filtered(self.visible.clone())).await
    }
}

#[async_trait]
impl Source for LocalSource {
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        open(&self.store, namespace, snapshot, self.pace.as_ref()).await
    }

    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError> {
        let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
        let (manifest, _) = blocking(move || store.manifest(&ns, &id)).await??;
        Ok(manifest.notes().unwrap_or_default().to_owned())
    }

    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError> {
        let (store, ns, id) = (self.store.clone(), namespace.clone(), group.clone());
        Ok(blocking(move || store.group_notes(&ns, &id)).await??)
    }

    async fn may_remove(&self, namespace: &Namespace, group: &GroupId) -> Result<(), EndError> {
        let Some(removable) = &self.removable else { return Ok(()) };
        let (store, ns, id) = (self.store.clone(), namespace.clone(), group.clone());
        let owner = blocking(move || store.owner(&ns, &id)).await?.ok();
        let info = GroupInfo { id: group.clone(), owner, notes: ListedNotes::default() };
        if removable(namespace, &info) {
            return Ok(());
        }
        Err(EndError::skip("the job's owner may not remove snapshots of it at the source, so none is moved").with_hint(
            format!(
                "give the owner of the job Datastore.Prune (DatastorePowerUser) on datastore `{}` if it owns the group, \
                 else Datastore.Modify (DatastoreAdmin); or choose another transfer-mode",
                self.store.name()
            ),
        ))
    }

    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        while_busy(is_busy, || async {
            let (store, ns, id) = (self.store.clone(), namespace.clone(), snapshot.clone());
            match blocking(move || store.remove_snapshot(&ns, &id, false)).await? {
                Err(error) if error.is_protected() => Err(became_protected().caused_by(error)),
                Err(error) if !error.is_not_found() => Err(error.into()),
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Opens a snapshot of a datastore for reading; its chunks are held to the rates of `pace`.
pub(super) async fn open(
    store: &Datastore,
    namespace: &Namespace,
    snapshot: &SnapshotId,
    pace: Option<&Arc<Traffic>>,
) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
    // Who holds it may be removing it: then it is gone in a moment.
    while_busy(is_busy, || async {
        let (store, ns, id) = (store.clone(), namespace.clone(), snapshot.clone());
        match blocking(move || LocalSnapshot::open(store, ns, id)).await? {
            Ok(open) => Ok(Some(Box::new(LocalSnapshot { pace: pace.cloned(), ..open }) as Box<dyn OpenSnapshot>)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_corrupt() => {
                Err(EndError::skip("its manifest cannot be read").caused_by(error).with_hint("verify the snapshot"))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// An open snapshot of a datastore; holds its shared lock.
struct LocalSnapshot {
    store: Datastore,
    namespace: Namespace,
    snapshot: SnapshotId,
    manifest: Manifest,
    blob: DataBlob,
    pace: Option<Arc<Traffic>>,
    _lock: SnapshotLock,
}

impl LocalSnapshot {
    fn open(store: Datastore, namespace: Namespace, snapshot: SnapshotId) -> Result<Self, DatastoreError> {
        let lock = store.lock_snapshot_shared(&namespace, &snapshot)?;
        let (manifest, blob) = store.manifest(&namespace, &snapshot)?;
        Ok(Self { store, namespace, snapshot, manifest, blob, pace: None, _lock: lock })
    }

    async fn read(&self, name: ArchiveName) -> Result<Option<Bytes>, EndError> {
        let (store, ns, id) = (self.store.clone(), self.namespace.clone(), self.snapshot.clone());
        match blocking(move || store.read_file(&ns, &id, &name)).await? {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl OpenSnapshot for LocalSnapshot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn manifest_blob(&self) -> &DataBlob {
        &self.blob
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        let read = self.read(name.clone()).await?;
        read.ok_or_else(|| {
            EndError::skip("the manifest names it, but it is not there").with_hint("verify the snapshot")
        })
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        self.read(ArchiveName::client_log()).await
    }

    async fn encoded_len(&self, chunk: &ChunkRef) -> Result<Option<u64>, EndError> {
        match self.store.chunks().stored_len(&chunk.digest).await? {
            None => Err(DatastoreError::ChunkMissing(chunk.digest).into()),
            len => Ok(len),
        }
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        let at_once = chunks.len().max(1);
        stream::iter(chunks)
            .map(move |chunk| async move {
                let read = self.store.chunks().read(&chunk.digest).await;
                if let (Some(pace), Ok(blob)) = (&self.pace, &read) {
                    pace.pay(blob.encoded_len()).await;
                }
                (chunk, read.map_err(EndError::from))
            })
            .buffer_unordered(at_once)
            .boxed()
    }
}
