//! Groups that need each other's chunks, when the one that fetches them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use formats::{ArchiveName, DataBlob, GroupId, Manifest, Namespace, SnapshotId};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::pull;
use crate::memory::MemoryStore;
use crate::{
    ChunkRef, EndError, GroupInfo, Inventoried, JobOptions, OpenSnapshot, Report, RunControl, RunResult, Silent,
    SnapshotInfo, Source, run,
};

/// A source whose first fetches fail, after everybody else had time to come to wait for them.
#[derive(Clone)]
struct FailsFirst {
    store: MemoryStore,
    failures: Arc<AtomicU64>,
}

#[async_trait]
impl Inventoried for FailsFirst {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>, EndError> {
        self.store.namespaces(below, max_depth).await
    }

    async fn groups(&self, namespace: &Namespace) -> Result<Vec<GroupInfo>, EndError> {
        self.store.groups(namespace).await
    }

    async fn snapshots(&self, namespace: &Namespace, group: &GroupId) -> Result<Vec<SnapshotInfo>, EndError> {
        self.store.snapshots(namespace, group).await
    }
}

#[async_trait]
impl Source for FailsFirst {
    async fn open(
        &self,
        namespace: &Namespace,
        snapshot: &SnapshotId,
    ) -> Result<Option<Box<dyn OpenSnapshot>>, EndError> {
        let Some(open) = self.store.open(namespace, snapshot).await? else { return Ok(None) };
        Ok(Some(Box::new(Opened { open, failures: Arc::clone(&self.failures) })))
    }

    async fn notes(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<String, EndError> {
        self.store.notes(namespace, snapshot).await
    }

    async fn group_notes(&self, namespace: &Namespace, group: &GroupId) -> Result<String, EndError> {
        Source::group_notes(&self.store, namespace, group).await
    }

    async fn remove_moved(&self, namespace: &Namespace, snapshot: &SnapshotId) -> Result<(), EndError> {
        self.store.remove_moved(namespace, snapshot).await
    }
}

struct Opened {
    open: Box<dyn OpenSnapshot>,
    failures: Arc<AtomicU64>,
}

#[async_trait]
impl OpenSnapshot for Opened {
    fn manifest(&self) -> &Manifest {
        self.open.manifest()
    }

    fn manifest_blob(&self) -> &DataBlob {
        self.open.manifest_blob()
    }

    async fn file(&self, name: &ArchiveName) -> Result<Bytes, EndError> {
        self.open.file(name).await
    }

    async fn client_log(&self) -> Result<Option<Bytes>, EndError> {
        self.open.client_log().await
    }

    fn fetch(&self, chunks: Vec<ChunkRef>) -> BoxStream<'_, (ChunkRef, Result<DataBlob, EndError>)> {
        let spend = |left: u64| left.checked_sub(1);
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok();
        self.open
            .fetch(chunks)
            .then(move |(chunk, blob)| async move {
                for _ in 0..1000 {
                    tokio::task::yield_now().await;
                }
                (chunk, if fails { Err(EndError::skip("unreadable for once")) } else { blob })
            })
            .boxed()
    }
}

/// Pulls three groups of the same `parts`, the first `failures` fetches failing.
async fn pull_equal_groups(options: JobOptions, parts: u8, failures: u64) -> (Report, MemoryStore) {
    let (store, target) = (MemoryStore::new(), MemoryStore::new());
    let parts: Vec<Vec<u8>> = (0..parts).map(|n| vec![n; 100]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for group in ["vm/1", "vm/2", "vm/3"] {
        store.backup("", group, 1, &[("disk.img.didx", &parts)]);
    }
    let source = Arc::new(FailsFirst { store, failures: Arc::new(AtomicU64::new(failures)) });
    let control = RunControl::new();
    let work = run(&options, source, Arc::new(target.clone()), &control, Arc::new(Silent));
    let report = tokio::time::timeout(Duration::from_secs(60), work).await.expect("the groups wait for each other");
    (report, target)
}

#[tokio::test]
async fn a_chunk_that_failed_in_one_group_is_fetched_by_one_of_those_that_waited() {
    let (report, target) = pull_equal_groups(pull(), 1, 1).await;

    assert_eq!((report.result, report.errors.len()), (RunResult::Error, 1), "{:?}", report.errors);
    assert_eq!((report.snapshots_copied, report.chunks_transferred, report.chunks_reused), (2, 1, 1));
    assert_eq!((target.finished().len(), target.check()), (2, Ok(())));
}

#[tokio::test]
async fn groups_that_fail_and_wait_for_each_other_come_to_an_end_whatever_the_budget() {
    for (bytes, requests) in [(1, 1), (1200, 2), (1 << 20, 64)] {
        for failures in 0..4 {
            let options =
                JobOptions { in_flight_bytes: bytes, in_flight_requests: requests, worker_threads: 3, ..pull() };

            let (report, target) = pull_equal_groups(options, 100, failures).await;

            // Several of the failures may hit one group.
            let failed = report.errors.len() as u64;
            assert!(failed <= failures && (failed > 0) == (failures > 0), "{failures}: {:?}", report.errors);
            assert_eq!(report.snapshots_copied, 3 - failed);
            assert_eq!(target.check(), Ok(()));
        }
    }
}
