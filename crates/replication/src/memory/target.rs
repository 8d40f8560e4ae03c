//! Writing to a store in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveKind, ArchiveName, AuthId, ChunkDigest, DataBlob, FileInfo, GroupId, Index, Manifest, Namespace, SnapshotId,
    VerifyResult,
};

use super::{MemoryStore, Snapshot, State, matches_info};
use crate::error::EndError;
use crate::rehearsal::{Probe, Probing};
use crate::traits::{ArchiveHandle, ArchiveLayout, ChunkRef, OpenSnapshot, Removed, SnapshotSink, Source, Target};

#[async_trait]
impl Target for MemoryStore {
    fn shares_chunks(&self) -> bool {
        !self.remote
    }

    async fn create_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        self.call()?;
        self.lock().make_namespace(namespace);
        Ok(())
    }

    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        self.call()?;
        let mut state = self.lock();
        if !state.namespaces.contains_key(namespace) {
            return Err(EndError::skip("no such namespace"));
        }
        let group = state.group(namespace, &snapshot.group);
        if group.snapshots.is_empty() && self.remote {
            group.owner = owner.clone();
        } else if group.snapshots.is_empty() {
            group.owner.clone_from(owner);
        }
        if group.owner != *owner {
            return Err(EndError::skip(format!("owned by {}", group.owner)));
        }
        let staged = group.snapshots.entry(snapshot.time).or_default();
        if staged.manifest.is_some() {
            return Err(EndError::skip("the snapshot is finished"));
        }
        let files = if self.remote { BTreeMap::new() } else { staged.files.clone() };
        self.sink(&mut state, namespace, snapshot, base, Snapshot { files, ..Snapshot::default() }, None)
    }

    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        self.call()?;
        if self.remote {
            return Ok(None);
        }
        let mut state = self.lock();
        let group = state.group(namespace, &snapshot.group);
        if group.owner != *owner {
            return Err(EndError::skip(format!("owned by {}", group.owner)));
        }
        let Some(found) = group.snapshots.get(&snapshot.time).cloned() else { return Ok(None) };
        let Some(manifest) = found.manifest.clone() else { return Ok(None) };
        self.sink(&mut state, namespace, snapshot, base, found, Some(manifest)).map(Some)
    }

    async fn open_copy(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        if self.remote { Ok(None) } else { self.open(namespace, snapshot).await }
    }

    async fn probe(&self, asked: Probing<'_>) -> Result<Option<Box<dyn Probe>>, EndError> {
        self.call()?;
        if asked.again && self.remote {
            return Ok(None);
        }
        let state = self.lock();
        let group = state.namespaces.get(asked.namespace).and_then(|groups| groups.get(&asked.snapshot.group));
        let found = group.and_then(|group| group.snapshots.get(&asked.snapshot.time)).cloned();
        let existing = found.as_ref().and_then(|found| found.manifest.clone());
        if asked.again && existing.is_none() {
            return Ok(None);
        }
        let known = match (asked.base, asked.rehearsed) {
            (Some(_), Some(rehearsed)) if self.remote => HashSet::clone(&rehearsed.chunks),
            (Some(base), _) => state.known(asked.namespace, base),
            (None, _) => HashSet::new(),
        };
        let files = if self.remote { Snapshot::default() } else { found.unwrap_or_default() };
        Ok(Some(Box::new(MemoryProbe {
            store: self.clone(),
            existing: existing.filter(|_| asked.again),
            known,
            files,
        })))
    }

    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        Source::open(self, namespace, snapshot).await
    }

    async fn set_notes(&self, namespace: &Namespace, snapshot: &SnapshotId, notes: &str) -> Result<(), EndError> {
        self.change(namespace, snapshot, |found| {
            let blob = found.manifest.as_ref().ok_or("the snapshot is not finished")?;
            let mut manifest = Manifest::parse_blob(blob).map_err(|_| "bad manifest")?;
            manifest.set_notes(notes);
            found.manifest = Some(manifest.to_blob().map_err(|_| "bad manifest")?);
            Ok(())
        })
    }

    async fn set_protected(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        protected: bool,
    ) -> Result<(), EndError> {
        self.change(namespace, snapshot, |found| {
            found.protected = protected;
            Ok(())
        })
    }

    async fn set_group_notes(&self, namespace: &Namespace, group: &GroupId, notes: &str) -> Result<(), EndError> {
        self.call()?;
        let mut state = self.lock();
        let found = state.namespaces.get_mut(namespace).and_then(|groups| groups.get_mut(group));
        notes.clone_into(&mut found.ok_or_else(|| EndError::skip("no such group"))?.notes);
        Ok(())
    }

    async fn add_client_log(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        encoded: Bytes,
    ) -> Result<(), EndError> {
        self.change(namespace, snapshot, |found| match found.log {
            Some(_) => Err("there is a log"),
            None => {
                found.log = Some(encoded);
                Ok(())
            }
        })
    }

    async fn remove_snapshot(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        self.call()?;
        let mut state = self.lock();
        let groups = state.namespaces.get_mut(namespace).ok_or_else(|| EndError::skip("no such namespace"))?;
        let group = groups.get_mut(&snapshot.group).ok_or_else(|| EndError::skip("no such group"))?;
        match group.snapshots.get(&snapshot.time) {
            None => return Err(EndError::skip("no such snapshot")),
            Some(found) if found.protected => return Err(EndError::skip("the snapshot is protected")),
            Some(_) => group.snapshots.remove(&snapshot.time),
        };
        if group.snapshots.is_empty() {
            groups.remove(&snapshot.group);
        }
        Ok(())
    }

    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError> {
        self.call()?;
        let mut state = self.lock();
        let groups = state.namespaces.get_mut(namespace).ok_or_else(|| EndError::skip("no such namespace"))?;
        let Some(found) = groups.get_mut(group) else { return Ok(Removed::default()) };
        let before = found.snapshots.len();
        found.snapshots.retain(|_, snapshot| snapshot.protected);
        let protected = found.snapshots.len();
        if protected == 0 {
            groups.remove(group);
        }
        Ok(Removed {
            groups: u64::from(protected == 0),
            snapshots: (before - protected) as u64,
            protected: protected as u64,
        })
    }

    async fn remove_namespace(&self, namespace: &Namespace) -> Result<(), EndError> {
        self.call()?;
        let mut state = self.lock();
        let below = state.namespaces.keys().any(|name| namespace.contains(name) && name != namespace);
        if below || state.namespaces.get(namespace).is_none_or(|groups| !groups.is_empty()) {
            return Err(EndError::skip("the namespace is not empty"));
        }
        state.namespaces.remove(namespace);
        Ok(())
    }
}

impl MemoryStore {
    /// Changes a finished snapshot.
    fn change(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        change: impl FnOnce(&mut Snapshot) -> Result<(), &'static str>,
    ) -> Result<(), EndError> {
        self.call()?;
        let mut state = self.lock();
        let group = state.namespaces.get_mut(namespace).and_then(|groups| groups.get_mut(&snapshot.group));
        let found = group.and_then(|group| group.snapshots.get_mut(&snapshot.time));
        let found = found.filter(|found| found.manifest.is_some());
        change(found.ok_or_else(|| EndError::skip("no such snapshot"))?).map_err(EndError::skip)
    }

    fn sink(
        &self,
        state: &mut State,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        written: Snapshot,
        existing: Option<DataBlob>,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        if !state.locked.insert((namespace.clone(), snapshot.group.clone())) {
            return Err(EndError::retry("somebody works on the group"));
        }
        let known = base.map(|base| state.known(namespace, base)).unwrap_or_default();
        Ok(Box::new(MemorySink {
            store: self.clone(),
            namespace: namespace.clone(),
            snapshot: snapshot.clone(),
            existing,
            known,
            work: Mutex::new(Work { written, ..Work::default() }),
        }))
    }
}

/// What a store says about a chunk.
enum Presence {
    There,
    Missing,
    Damaged,
}

impl State {
    /// Looks for a chunk: a remote knows what is `known` alone; a disk trusts that unread and checks the rest.
    fn presence(&self, chunk: &ChunkRef, known: &HashSet<ChunkDigest>, remote: bool) -> Presence {
        let is_known = known.contains(&chunk.digest);
        match self.chunks.get(&chunk.digest) {
            _ if remote => {
                if is_known {
                    Presence::There
                } else {
                    Presence::Missing
                }
            }
            None => Presence::Missing,
            Some(_) if is_known => Presence::There,
            Some(blob) => match blob.verify_chunk(&chunk.digest, chunk.plain_len, None) {
                Ok(()) => Presence::There,
                Err(_) => Presence::Damaged,
            },
        }
    }

    /// Digests that the indexes of a good snapshot name.
    fn known(&self, namespace: &Namespace, base: &SnapshotId) -> HashSet<ChunkDigest> {
        let group = self.namespaces.get(namespace).and_then(|groups| groups.get(&base.group));
        let Some(found) = group.and_then(|group| group.snapshots.get(&base.time)) else { return HashSet::new() };
        let manifest = found.manifest.as_ref().and_then(|blob| Manifest::parse_blob(blob).ok());
        let failed =
            |manifest: &Manifest| manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Failed);
        if manifest.as_ref().is_none_or(failed) {
            return HashSet::new();
        }
        let indexes = found.files.iter().filter(|(name, _)| name.kind() != ArchiveKind::Blob);
        indexes
            .filter_map(|(name, bytes)| Index::parse(name.kind(), bytes.clone()).ok())
            .flat_map(|index| index.entries().map(|entry| entry.digest).collect::<Vec<_>>())
            .collect()
    }
}

#[derive(Debug, Default)]
struct Work {
    written: Snapshot,
    /// Chunks this sink said are missing and that were not put yet.
    asked: HashSet<ChunkDigest>,
    sent: HashSet<ChunkDigest>,
    open: HashSet<ArchiveName>,
}

struct MemorySink {
    store: MemoryStore,
    namespace: Namespace,
    snapshot: SnapshotId,
    existing: Option<DataBlob>,
    known: HashSet<ChunkDigest>,
    work: Mutex<Work>,
}

impl MemorySink {
    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().expect("no test panics while writing")
    }

    /// A target on disk keeps files of an unfinished snapshot.
    fn keep(&self) {
        let work = self.work();
        if self.existing.is_none() && !self.store.remote {
            let mut state = self.store.lock();
            let group = state.group(&self.namespace, &self.snapshot.group);
            group.snapshots.entry(self.snapshot.time).or_default().files.clone_from(&work.written.files);
        }
    }
}

impl Drop for MemorySink {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        state.locked.remove(&(self.namespace.clone(), self.snapshot.group.clone()));
        // A session that ends without commit leaves nothing at a remote.
        if self.store.remote
            && let Some(groups) = state.namespaces.get_mut(&self.namespace)
            && let Some(group) = groups.get_mut(&self.snapshot.group)
            && group.snapshots.get(&self.snapshot.time).is_some_and(|snapshot| snapshot.manifest.is_none())
        {
            group.snapshots.remove(&self.snapshot.time);
            if group.snapshots.is_empty() {
                groups.remove(&self.snapshot.group);
            }
        }
    }
}

#[async_trait]
impl SnapshotSink for MemorySink {
    fn existing(&self) -> Option<&DataBlob> {
        self.existing.as_ref()
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        self.store.call()?;
        Ok(self.work().written.files.get(&info.filename).is_some_and(|bytes| matches_info(info, bytes)))
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.store.call()?;
        Ok(self.work().written.log.is_some())
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        self.store.call()?;
        if !self.work().open.insert(name.clone()) {
            return Err(EndError::stop(format!("`{name}` was begun twice")));
        }
        Ok(ArchiveHandle { name: name.clone(), id: 1, layout })
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        self.store.call()?;
        let distinct: HashSet<_> = chunks.iter().map(|chunk| chunk.digest).collect();
        if distinct.len() != chunks.len() {
            return Err(EndError::stop("a chunk was asked about twice"));
        }
        let mut state = self.store.lock();
        let mut work = self.work();
        let mut missing = Vec::new();
        for chunk in chunks {
            let there = match state.presence(chunk, &self.known, self.store.remote) {
                Presence::There => true,
                Presence::Missing => work.sent.contains(&chunk.digest) && self.store.remote,
                Presence::Damaged => {
                    // Set aside.
                    state.chunks.remove(&chunk.digest);
                    false
                }
            };
            if !there {
                work.asked.insert(chunk.digest);
                missing.push(*chunk);
            }
        }
        Ok(missing)
    }

    async fn put_chunk(&self, archive: &ArchiveHandle, chunk: ChunkRef, blob: DataBlob) -> Result<(), EndError> {
        self.store.call()?;
        let mut state = self.store.lock();
        let mut work = self.work();
        if !work.open.contains(&archive.name) || !work.asked.remove(&chunk.digest) {
            return Err(EndError::stop(format!("chunk {} was put unasked", chunk.digest)));
        }
        blob.verify_chunk(&chunk.digest, chunk.plain_len, None)
            .map_err(|error| EndError::stop("a bad chunk was put").caused_by(error))?;
        if state.chunks.insert(chunk.digest, blob).is_some() && !self.store.remote {
            return Err(EndError::stop(format!("chunk {} was put twice", chunk.digest)));
        }
        state.put += 1;
        work.sent.insert(chunk.digest);
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        self.store.call()?;
        let state = self.store.lock();
        let mut work = self.work();
        state.check_chunks(archive.name.kind(), &index).map_err(EndError::stop)?;
        work.written.files.insert(archive.name, index);
        drop((state, work));
        self.keep();
        Ok(())
    }

    async fn put_blob(&self, name: &ArchiveName, encoded: Bytes) -> Result<(), EndError> {
        self.store.call()?;
        self.work().written.files.insert(name.clone(), encoded);
        self.keep();
        Ok(())
    }

    async fn put_client_log(&self, encoded: Bytes) -> Result<(), EndError> {
        self.store.call()?;
        self.work().written.log = Some(encoded.clone());
        if self.existing.is_some() {
            let mut state = self.store.lock();
            let group = state.group(&self.namespace, &self.snapshot.group);
            group.snapshots.entry(self.snapshot.time).or_default().log = Some(encoded);
        }
        Ok(())
    }

    async fn commit(self: Box<Self>, manifest: &Manifest, blob: &DataBlob) -> Result<(), EndError> {
        self.store.call()?;
        let mut state = self.store.lock();
        let mut work = self.work();
        state.check_snapshot(blob, &work.written.files).map_err(EndError::stop)?;
        let mut written = std::mem::take(&mut work.written);
        written.files.retain(|name, _| manifest.find(name).is_some());
        written.manifest = Some(blob.clone());
        state.group(&self.namespace, &self.snapshot.group).snapshots.insert(self.snapshot.time, written);
        drop((state, work));
        Ok(())
    }

    async fn abandon(self: Box<Self>) {
        if self.existing.is_some() {
            return;
        }
        let mut state = self.store.lock();
        if let Some(groups) = state.namespaces.get_mut(&self.namespace)
            && let Some(group) = groups.get_mut(&self.snapshot.group)
        {
            group.snapshots.remove(&self.snapshot.time);
            if group.snapshots.is_empty() {
                groups.remove(&self.snapshot.group);
            }
        }
        drop(state);
    }
}

/// Looks at a snapshot and changes nothing.
struct MemoryProbe {
    store: MemoryStore,
    existing: Option<DataBlob>,
    known: HashSet<ChunkDigest>,
    files: Snapshot,
}

#[async_trait]
impl Probe for MemoryProbe {
    fn existing(&self) -> Option<&DataBlob> {
        self.existing.as_ref()
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        self.store.call()?;
        Ok(self.files.files.get(&info.filename).is_some_and(|bytes| matches_info(info, bytes)))
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.store.call()?;
        Ok(self.files.log.is_some())
    }

    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        self.store.call()?;
        let state = self.store.lock();
        let there = |chunk: &ChunkRef| matches!(state.presence(chunk, &self.known, self.store.remote), Presence::There);
        Ok(chunks.iter().filter(|chunk| !there(chunk)).copied().collect())
    }
}
