//! Listing and reading a store in memory, lies included.

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, ChunkDigest, CryptKey, DataBlob, GroupId, Index, Manifest, Namespace, SnapshotId,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{Group, Lie, MemoryStore, Snapshot, describe, index_of};
use crate::error::EndError;
use crate::notes::ListedNotes;
use crate::traits::{ChunkRef, GroupInfo, Inventoried, OpenSnapshot, SnapshotInfo, Source, Target};

#[async_trait]
impl Inventoried for MemoryStore {
    fn describe(&self) -> String {
        "store in memory".to_owned()
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        self.call()?;
        let state = self.lock();
        if !state.namespaces.contains_key(below) {
            return Err(EndError::stop(format!("namespace `{below}` does not exist")));
        }
        let near = |name: &&Namespace| max_depth.is_none_or(|most| name.depth() - below.depth() <= most);
        Ok(state.namespaces.keys().filter(|name| below.contains(name)).filter(near).cloned().collect())
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        self.call()?;
        let state = self.lock();
        let groups = state.namespaces.get(namespace).ok_or_else(|| EndError::skip("no such namespace"))?;
        let info = |(id, group): (&GroupId, &Group)| GroupInfo {
            id: id.clone(),
            owner: Some(group.owner.clone()),
            notes: ListedNotes::whole(group.notes.clone()),
        };
        Ok(groups.iter().map(info).collect())
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        self.call()?;
        let state = self.lock();
        let found = state.namespaces.get(namespace).and_then(|groups| groups.get(group));
        let snapshots = found.into_iter().flat_map(|entry| &entry.snapshots);
        Ok(snapshots.map(|(time, snapshot)| describe(SnapshotId::new(group.clone(), *time), snapshot)).collect())
    }
}

#[async_trait]
impl Source for MemoryStore {
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        self.call()?;
        let state = self.lock();
        let group = state.namespaces.get(namespace).and_then(|groups| groups.get(&snapshot.group));
        let Some(found) = group.and_then(|group| group.snapshots.get(&snapshot.time)).cloned() else {
            return Ok(None);
        };
        let Some(blob) = &found.manifest else { return Ok(None) };
        let mut manifest =
            Manifest::parse_blob(blob).map_err(|error| EndError::skip("bad manifest").caused_by(error))?;
        drop(state);
        match self.lie {
            Some(Lie::OtherManifest) => {
                let time = formats::BackupTime::from_unix(snapshot.time.unix() + 1).expect("a time");
                let mut other = Manifest::new(SnapshotId::new(snapshot.group.clone(), time));
                other.files = manifest.files;
                manifest = other;
            }
            Some(Lie::WrongLength) => {
                for info in &mut manifest.files {
                    if info.filename.kind() == ArchiveKind::Dynamic {
                        let index = lengthened(found.files.get(&info.filename).expect("a file"));
                        let index = Index::parse(ArchiveKind::Dynamic, index).expect("an index");
                        (info.size, info.csum) = (index.size(), index.csum());
                    }
                }
            }
            _ => {}
        }
        let blob = manifest.to_blob().ok().filter(|_| self.lie.is_some()).unwrap_or_else(|| blob_of(&found));
        Ok(Some(Box::new(MemorySnapshot { store: self.clone(), found, manifest, blob })))
    }

    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError> {
        self.call()?;
        let state = self.lock();
        let group = state.namespaces.get(namespace).and_then(|groups| groups.get(&snapshot.group));
        let blob =
            group.and_then(|group| group.snapshots.get(&snapshot.time)).and_then(|found| found.manifest.as_ref());
        let manifest = blob.and_then(|blob| Manifest::parse_blob(blob).ok());
        let manifest = manifest.ok_or_else(|| EndError::skip("no such snapshot"))?;
        Ok(manifest.notes().unwrap_or_default().to_owned())
    }

    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError> {
        self.call()?;
        let state = self.lock();
        let found = state.namespaces.get(namespace).and_then(|groups| groups.get(group));
        Ok(found.map(|group| group.notes.clone()).unwrap_or_default())
    }

    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        Target::remove_snapshot(self, namespace, snapshot).await
    }
}

fn blob_of(snapshot: &Snapshot) -> DataBlob {
    snapshot.manifest.clone().expect("a finished snapshot")
}

/// The same dynamic index with every end one byte later.
fn lengthened(bytes: &Bytes) -> Bytes {
    let index = Index::parse(ArchiveKind::Dynamic, bytes.clone()).expect("an index");
    let mut chunks: Vec<(ChunkDigest, u64)> =
        index.entries().map(|entry| (entry.digest, entry.end - entry.start)).collect();
    if let Some((_, len)) = chunks.first_mut() {
        *len += 1;
    }
    index_of(ArchiveKind::Dynamic, &chunks)
}

struct MemorySnapshot {
    store: MemoryStore,
    found: Snapshot,
    manifest: Manifest,
    blob: DataBlob,
}

impl MemorySnapshot {
    fn chunk(&self, chunk: &ChunkRef) -> Result<DataBlob, EndError> {
        self.store.call()?;
        let mut state = self.store.lock();
        state.fetched += 1;
        let missing = || EndError::skip(format!("chunk {} is missing at the source", chunk.digest));
        let blob = state.chunks.get(&chunk.digest).cloned().ok_or_else(missing)?;
        drop(state);
        match self.store.lie {
            Some(Lie::WrongContent) => {
                let len = usize::try_from(chunk.plain_len).expect("a small chunk");
                Ok(DataBlob::encode(&vec![0x55; len], false, None).expect("a blob"))
            }
            Some(Lie::TruncatedChunk) => {
                let bytes = blob.into_bytes();
                DataBlob::parse(bytes.slice(..12 + (bytes.len() - 12) / 2))
                    .map_err(|error| EndError::skip("truncated").caused_by(error))
            }
            Some(Lie::EncryptedChunk) => {
                let key = CryptKey::from_bytes([3; 32]);
                let plain = blob.decode(None, formats::MAX_CHUNK_PLAIN).expect("plain");
                Ok(DataBlob::encode(&plain, false, Some(&key)).expect("a blob"))
            }
            _ => Ok(blob),
        }
    }
}

#[async_trait]
impl OpenSnapshot for MemorySnapshot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn manifest_blob(&self) -> &DataBlob {
        &self.blob
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        self.store.call()?;
        let missing = || EndError::skip(format!("`{name}` is not at the source"));
        let bytes = self.found.files.get(name).cloned().ok_or_else(missing)?;
        let is_blob = name.kind() == ArchiveKind::Blob;
        match self.store.lie {
            Some(Lie::MissingFile) => Err(missing()),
            Some(Lie::BadIndex) if !is_blob => Ok(with_last_byte_changed(&bytes)),
            Some(Lie::BadBlob) if is_blob => Ok(with_last_byte_changed(&bytes)),
            Some(Lie::ShortIndex) if name.kind() == ArchiveKind::Dynamic => {
                Ok(bytes.slice(..bytes.len().saturating_sub(40)))
            }
            Some(Lie::WrongLength) if name.kind() == ArchiveKind::Dynamic => Ok(lengthened(&bytes)),
            _ => Ok(bytes),
        }
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        self.store.call()?;
        Ok(self.found.log.clone())
    }

    async fn encoded_len(&self, chunk: &ChunkRef) -> Result<Option<u64>, EndError> {
        self.store.call()?;
        Ok(self.store.lock().chunks.get(&chunk.digest).map(DataBlob::encoded_len))
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        if self.store.lie == Some(Lie::Silence) {
            return stream::empty().boxed();
        }
        // The last one first: nobody may count on an order.
        let mut chunks = chunks;
        chunks.reverse();
        stream::iter(chunks)
            .then(move |chunk| async move {
                tokio::task::yield_now().await;
                (chunk, self.chunk(&chunk))
            })
            .boxed()
    }
}

fn with_last_byte_changed(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    Bytes::from(changed)
}
