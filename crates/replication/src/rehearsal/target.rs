//! The target that only pretends.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use formats::{
    ArchiveName, AuthId, ChunkDigest, DataBlob, FileInfo, GroupId, Index, Manifest, Namespace, SnapshotId, VerifyResult,
};

use super::{Notes, Probe, Probing, Rehearsed};
use crate::error::EndError;
use crate::traits::{
    ArchiveHandle, ArchiveLayout, ChunkRef, Expectation, GroupInfo, Inventoried, OpenSnapshot, Removed, SnapshotInfo,
    SnapshotSink, Target,
};

/// Stands in front of a target: questions go through, changes do not.
pub(crate) struct RehearsalTarget {
    target: Arc<dyn Target>,
    notes: Arc<Notes>,
    done: Arc<Mutex<Done>>,
}

/// What would have happened by now.
#[derive(Default)]
struct Done {
    /// Chunks put, where other snapshots find them: as they are, and under other names.
    put: HashSet<ChunkRef>,
    put_rewritten: HashSet<ChunkRef>,
    /// The newest snapshot finished in each group, where they do not.
    newest: HashMap<(Namespace, GroupId), Rehearsed>,
}

impl Done {
    fn put(&mut self, rewritten: bool) -> &mut HashSet<ChunkRef> {
        if rewritten { &mut self.put_rewritten } else { &mut self.put }
    }
}

impl RehearsalTarget {
    pub(crate) fn new(target: Arc<dyn Target>, notes: Arc<Notes>) -> Self {
        Self { target, notes, done: Arc::default() }
    }

    async fn probe(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        again: bool,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        let group = (namespace.clone(), snapshot.group.clone());
        let rehearsed = lock(&self.done).newest.get(&group).cloned();
        let asked = Probing { namespace, snapshot, base, again, rehearsed: rehearsed.as_ref() };
        let Some(probe) = self.target.probe(asked).await? else { return Ok(None) };
        Ok(Some(Box::new(RehearsalSink {
            probe,
            shared: self.target.shares_chunks(),
            lent: self.target.shares_chunks() || self.target.lends_chunks(),
            notes: Arc::clone(&self.notes),
            done: Arc::clone(&self.done),
            namespace: namespace.clone(),
            snapshot: snapshot.clone(),
            rewritten: AtomicBool::new(false),
            sent: Mutex::default(),
            named: Mutex::default(),
        })))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Inventoried for RehearsalTarget {
    fn describe(&self) -> String {
        self.target.describe()
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        self.target.namespaces(below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        self.target.groups(namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        self.target.snapshots(namespace, group).await
    }
}

#[async_trait]
impl Target for RehearsalTarget {
    fn shares_chunks(&self) -> bool {
        self.target.shares_chunks()
    }

    fn lends_chunks(&self) -> bool {
        self.target.lends_chunks()
    }

    fn wants_pairs(&self) -> bool {
        self.target.wants_pairs()
    }

    async fn pair(&self, namespace: &Namespace, source: &dyn OpenSnapshot) -> Result<(), EndError> {
        self.target.pair(namespace, source).await
    }

    async fn create_namespace(&self, _namespace: &Namespace) -> Result<(), EndError> {
        Ok(())
    }

    async fn begin(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        _owner: &AuthId,
    ) -> Result<Box<dyn SnapshotSink>, EndError> {
        let begun = self.probe(namespace, snapshot, base, false).await?;
        begun.ok_or_else(|| EndError::skip(format!("{} cannot take it", self.describe())))
    }

    async fn reopen(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        _owner: &AuthId,
    ) -> Result<Option<Box<dyn SnapshotSink>>, EndError> {
        self.probe(namespace, snapshot, base, true).await
    }

    async fn read_back(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        self.target.read_back(namespace, snapshot).await
    }

    async fn set_notes(&self, _namespace: &Namespace, _snapshot: &SnapshotId, _notes: &str) -> Result<(), EndError> {
        Ok(())
    }

    async fn set_protected(
        &self,
        _namespace: &Namespace,
        _snapshot: &SnapshotId,
        _protected: bool,
    ) -> Result<(), EndError> {
        Ok(())
    }

    async fn set_group_notes(&self, _namespace: &Namespace, _group: &GroupId, _notes: &str) -> Result<(), EndError> {
        Ok(())
    }

    async fn add_client_log(
        &self,
        _namespace: &Namespace,
        _snapshot: &SnapshotId,
        _encoded: Bytes,
    ) -> Result<(), EndError> {
        Ok(())
    }

    async fn remove_snapshot(&self, _namespace: &Namespace, _snapshot: &SnapshotId) -> Result<(), EndError> {
        Ok(())
    }

    async fn remove_group(&self, namespace: &Namespace, group: &GroupId) -> Result<Removed, EndError> {
        let list = self.target.snapshots(namespace, group).await?;
        let protected = list.iter().filter(|info| info.protected).count() as u64;
        Ok(Removed { groups: u64::from(protected == 0), snapshots: list.len() as u64 - protected, protected })
    }

    async fn remove_namespace(&self, _namespace: &Namespace) -> Result<(), EndError> {
        Ok(())
    }
}

/// A snapshot that is written in thought alone.
struct RehearsalSink {
    probe: Box<dyn Probe>,
    /// Whether a finished snapshot is what the next ones of its group count on, or the chunks themselves are.
    shared: bool,
    /// Whether what was put for one snapshot is found by the others.
    lent: bool,
    notes: Arc<Notes>,
    done: Arc<Mutex<Done>>,
    namespace: Namespace,
    snapshot: SnapshotId,
    /// Whether it is stored under other names.
    rewritten: AtomicBool,
    /// Chunks put by this sink.
    sent: Mutex<HashSet<ChunkRef>>,
    /// What its indexes name, where the next snapshot of the group may count on that.
    named: Mutex<HashSet<ChunkDigest>>,
}

#[async_trait]
impl SnapshotSink for RehearsalSink {
    fn existing(&self) -> Option<&DataBlob> {
        self.probe.existing()
    }

    async fn expect(&self, manifest: &Manifest, anew: bool) -> Result<Expectation, EndError> {
        let expected = self.probe.expect(manifest, anew).await?;
        self.rewritten.store(expected.rewritten, Ordering::Relaxed);
        Ok(expected)
    }

    async fn has_file(&self, info: &FileInfo) -> Result<bool, EndError> {
        self.probe.has_file(info).await
    }

    async fn has_client_log(&self) -> Result<bool, EndError> {
        self.probe.has_client_log().await
    }

    async fn begin_archive(&self, name: &ArchiveName, layout: ArchiveLayout) -> Result<ArchiveHandle, EndError> {
        self.probe.accepts(layout)?;
        Ok(ArchiveHandle { name: name.clone(), id: 0, layout })
    }

    /// Who asks will put what is missing, so it counts as put from here on.
    async fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<ChunkRef>, EndError> {
        let rewritten = self.rewritten.load(Ordering::Relaxed);
        let asked: Vec<ChunkRef> = {
            let (mut done, sent) = (lock(&self.done), lock(&self.sent));
            let put = done.put(rewritten);
            chunks.iter().filter(|chunk| !put.contains(chunk) && !sent.contains(chunk)).copied().collect()
        };
        let missing = self.probe.missing(&asked).await?;
        if !missing.is_empty() {
            self.notes.sent(rewritten);
        }
        if self.lent {
            lock(&self.done).put(rewritten).extend(&missing);
        } else {
            lock(&self.sent).extend(&missing);
        }
        Ok(missing)
    }

    fn asks_at_once(&self) -> usize {
        self.probe.asks_at_once()
    }

    async fn put_chunk(&self, _archive: &ArchiveHandle, _chunk: ChunkRef, _blob: DataBlob) -> Result<(), EndError> {
        Ok(())
    }

    async fn finish_archive(&self, archive: ArchiveHandle, index: Bytes) -> Result<(), EndError> {
        if !self.shared {
            let index = Index::parse(archive.name.kind(), index)
                .map_err(|error| EndError::skip("the index does not parse").caused_by(error))?;
            lock(&self.named).extend(index.entries().map(|entry| entry.digest));
        }
        Ok(())
    }

    async fn put_blob(&self, _name: &ArchiveName, _encoded: Bytes) -> Result<(), EndError> {
        Ok(())
    }

    async fn put_client_log(&self, _encoded: Bytes) -> Result<(), EndError> {
        Ok(())
    }

    async fn commit(self: Box<Self>, manifest: &Manifest, _blob: &DataBlob) -> Result<(), EndError> {
        if self.shared {
            return Ok(());
        }
        let failed = manifest.verify_state().is_some_and(|state| state.state == VerifyResult::Failed);
        let chunks = if failed { HashSet::new() } else { std::mem::take(&mut *lock(&self.named)) };
        let group = (self.namespace.clone(), self.snapshot.group.clone());
        let rewritten = self.rewritten.load(Ordering::Relaxed);
        let finished = Rehearsed { snapshot: self.snapshot.clone(), chunks: Arc::new(chunks), rewritten };
        let mut done = lock(&self.done);
        if done.newest.get(&group).is_none_or(|newest| newest.snapshot.time <= finished.snapshot.time) {
            done.newest.insert(group, finished);
        }
        Ok(())
    }

    async fn abandon(self: Box<Self>) {}
}
