//! Reading a datastore of a remote.

use api_types::GroupListItem;
use api_types::protocol::LISTING_FINGERPRINT;
use async_trait::async_trait;
use bytes::Bytes;
use client::{ClientError, ReaderSession, Remote};
use formats::{
    ArchiveName, CLIENT_LOG_NAME, CryptMode, DataBlob, GroupId, ListingFingerprint, MANIFEST_NAME, MAX_BLOB_PLAIN,
    Manifest, Namespace, SnapshotId, StoreName,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::while_busy;
use crate::error::{EndError, ErrorClass};
use crate::notes::ListedNotes;
use crate::traits::{
    CHUNK_OVERHEAD, ChunkRef, GroupInfo, Inventoried, OpenSnapshot, SnapshotInfo, Source, max_file_len,
};

/// Longest manifest taken from a remote, in bytes; real ones have a few thousand.
pub(super) const MAX_MANIFEST: u64 = 16 << 20;

/// A datastore of a remote that snapshots are read from.
#[derive(Clone)]
pub struct RemoteSource {
    remote: Remote,
    store: StoreName,
}

impl RemoteSource {
    /// Makes a source of `store` at `remote`. Nothing is asked yet.
    pub fn new(remote: Remote, store: StoreName) -> Self {
        Self { remote, store }
    }
}

pub(super) fn describe(remote: &Remote, store: &StoreName) -> String {
    format!("datastore `{store}` at {}", remote.address())
}

/// Lists `below` and what is below it.
pub(super) async fn namespaces(
    remote: &Remote,
    store: &StoreName,
    below: &Namespace,
    max_depth: Option<usize>,
) -> Result<Vec<Namespace>, EndError> {
    if max_depth == Some(0) {
        return Ok(vec![below.clone()]);
    }
    let listed = remote.namespaces(store, below, max_depth).await.map_err(|error| {
        let hint =
            error.hint().unwrap_or_else(|| "check that datastore and namespace exist and may be seen".to_owned());
        let class = if error.class() == client::ErrorClass::Retry { ErrorClass::Retry } else { ErrorClass::Stop };
        EndError::new(class, "cannot list namespaces").caused_by(error).with_hint(hint)
    })?;
    let mut names: Vec<Namespace> = listed.into_iter().map(|item| item.ns).filter(|ns| below.contains(ns)).collect();
    if !names.contains(below) {
        names.push(below.clone());
    }
    names.sort_by(|one, other| one.depth().cmp(&other.depth()).then_with(|| one.cmp(other)));
    names.dedup();
    Ok(names)
}

/// Lists groups with their owners.
pub(super) async fn groups(
    remote: &Remote,
    store: &StoreName,
    namespace: &Namespace,
) -> Result<Vec<GroupInfo>, EndError> {
    let listed = remote.groups(store, namespace).await?;
    let info = |item: GroupListItem| GroupInfo {
        id: item.group(),
        notes: ListedNotes::of_comment(item.comment.as_deref()),
        owner: item.owner,
    };
    Ok(listed.into_iter().map(info).collect())
}

/// Lists snapshots.
pub(super) async fn snapshots(
    remote: &Remote,
    store: &StoreName,
    namespace: &Namespace,
    group: &GroupId,
) -> Result<Vec<SnapshotInfo>, EndError> {
    let listed = remote.snapshots(store, namespace, Some(group)).await?;
    Ok(listed.iter().map(describe_item).filter(|info| info.id.group == *group).collect())
}

/// Asks one of our own servers for the fingerprint of its listings; others have none.
pub(super) async fn fingerprint(
    remote: &Remote,
    store: &StoreName,
    below: &Namespace,
    max_depth: Option<usize>,
) -> Result<Option<ListingFingerprint>, EndError> {
    if !remote.offers(LISTING_FINGERPRINT).await? {
        return Ok(None);
    }
    match remote.listing_fingerprint(store, below, max_depth).await {
        Ok(fingerprint) => Ok(Some(fingerprint)),
        Err(error) if error.status().is_some() => {
            tracing::debug!(%error, "the remote has no fingerprint of its listings");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A listed snapshot has a size exactly when its manifest could be read; whether there is one at all shows in its files.
fn describe_item(item: &api_types::SnapshotListItem) -> SnapshotInfo {
    let mut info = SnapshotInfo::finished(item.snapshot());
    let manifest = item.files.iter().find(|file| file.filename == MANIFEST_NAME);
    info.finished = item.size.is_some() || manifest.is_some();
    info.manifest_unreadable = info.finished && item.size.is_none();
    info.protected = item.protected;
    info.verified = item.verification.as_ref().map(|verification| verification.state);
    let of_data = |name: &str| name != MANIFEST_NAME && name != CLIENT_LOG_NAME;
    info.fully_encrypted = manifest.is_some_and(|file| file.crypt_mode == Some(CryptMode::SignOnly))
        && item
            .files
            .iter()
            .filter(|file| of_data(&file.filename))
            .all(|file| file.crypt_mode == Some(CryptMode::Encrypt));
    info.size = item.size;
    info.notes = ListedNotes::of_comment(item.comment.as_deref());
    info
}

#[async_trait]
impl Inventoried for RemoteSource {
    fn describe(&self) -> String {
        describe(&self.remote, &self.store)
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        namespaces(&self.remote, &self.store, below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        groups(&self.remote, &self.store, namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        snapshots(&self.remote, &self.store, namespace, group).await
    }

    async fn fingerprint(
        &self,
        below: &Namespace,
        max_depth: Option<usize>,
    ) -> Result<Option<ListingFingerprint>, EndError> {
        fingerprint(&self.remote, &self.store, below, max_depth).await
    }
}

#[async_trait]
impl Source for RemoteSource {
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        open(&self.remote, &self.store, namespace, snapshot).await
    }

    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError> {
        Ok(self.remote.notes(&self.store, namespace, snapshot).await?)
    }

    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError> {
        Ok(self.remote.group_notes(&self.store, namespace, group).await?)
    }

    async fn may_remove(&self, namespace: &Namespace, group: &GroupId) -> Result<(), EndError> {
        may_remove(&self.remote, &self.store, namespace, group).await
    }

    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        let remove = || self.remote.delete_snapshot(&self.store, namespace, snapshot);
        let Err(error) = while_busy(ClientError::is_busy, remove).await else { return Ok(()) };
        // Protected, in use and gone are one answer; the list tells the last one apart.
        if error.status() == Some(400)
            && let Ok(list) = self.snapshots(namespace, &snapshot.group).await
        {
            match list.into_iter().find(|info| info.id == *snapshot) {
                None => return Ok(()),
                Some(info) if info.protected => return Err(became_protected().caused_by(error)),
                Some(_) => {}
            }
        }
        Err(error.into())
    }
}

/// What a move meets when somebody protects a snapshot meanwhile.
pub(super) fn became_protected() -> EndError {
    EndError::skip("it was copied, but it is protected at the source by now, so it stays there")
}

/// Asks the remote whether we may remove snapshots of a group there. One that does not say lets the removal itself tell.
async fn may_remove(
    remote: &Remote,
    store: &StoreName,
    namespace: &Namespace,
    group: &GroupId,
) -> Result<(), EndError> {
    let path =
        if namespace.is_root() { format!("/datastore/{store}") } else { format!("/datastore/{store}/{namespace}") };
    let Ok(permissions) = remote.permissions(Some(&path)).await else { return Ok(()) };
    let held = |privilege: &str| permissions.get(&path).is_some_and(|held| held.contains_key(privilege));
    if held("Datastore.Modify") {
        return Ok(());
    }
    let who = remote.auth_id();
    let owner = || async {
        let listed = groups(remote, store, namespace).await.ok()?;
        listed.into_iter().find(|info| info.id == *group)?.owner
    };
    if held("Datastore.Prune") && owner().await.is_none_or(|owner| who.owns(&owner)) {
        return Ok(());
    }
    Err(EndError::skip(format!("{who} may not remove snapshots of it at the source, so none is moved")).with_hint(
        format!(
            "there: give {who} Datastore.Prune (DatastorePowerUser) on {path} if it owns the group, else \
             Datastore.Modify (DatastoreAdmin); or choose another transfer-mode"
        ),
    ))
}

/// Opens a snapshot of a remote for reading.
pub(super) async fn open(
    remote: &Remote,
    store: &StoreName,
    namespace: &Namespace,
    snapshot: &SnapshotId,
) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
    let opened = while_busy(ClientError::is_busy, || remote.reader(store, namespace, snapshot)).await;
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            // The answer for a snapshot that is gone is that for one we may not read; the list tells them apart.
            let refused = matches!(error.status(), Some(400 | 404));
            let left = if refused { snapshots(remote, store, namespace, &snapshot.group).await.ok() } else { None };
            let gone = left.is_some_and(|list| !list.iter().any(|info| info.id == *snapshot));
            return if gone { Ok(None) } else { Err(error.into()) };
        }
    };
    let Some(bytes) = session.download(MANIFEST_NAME, MAX_MANIFEST).await? else { return Ok(None) };
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        EndError::skip("its manifest cannot be read")
            .caused_by(error)
            .with_hint("verify the snapshot at the source; nothing of it was copied")
    };
    let blob = DataBlob::parse(bytes).map_err(|error| unreadable(error.into()))?;
    let manifest = Manifest::parse_blob(&blob).map_err(|error| unreadable(error.into()))?;
    Ok(Some(Box::new(RemoteSnapshot { session, manifest, blob })))
}

/// An open reader session.
struct RemoteSnapshot {
    session: ReaderSession,
    manifest: Manifest,
    blob: DataBlob,
}

#[async_trait]
impl OpenSnapshot for RemoteSnapshot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn manifest_blob(&self) -> &DataBlob {
        &self.blob
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        let Some(info) = self.manifest.find(name) else {
            return Err(EndError::skip(format!("`{name}` is not in the manifest")));
        };
        let missing = || EndError::skip("the manifest names it, but the source does not have it");
        match self.session.download(name.as_str(), max_file_len(info)).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(missing()),
            Err(error @ ClientError::Api { status: 400, .. }) => Err(missing().caused_by(error)),
            Err(error) => Err(error.into()),
        }
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        Ok(self.session.download(CLIENT_LOG_NAME, MAX_BLOB_PLAIN as u64 + CHUNK_OVERHEAD).await?)
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        let at_once = chunks.len().max(1);
        stream::iter(chunks)
            .map(move |chunk| async move {
                let fetched = self.session.chunk(&chunk.digest, chunk.max_encoded()).await;
                (chunk, fetched.map_err(EndError::from))
            })
            .buffer_unordered(at_once)
            .boxed()
    }
}
