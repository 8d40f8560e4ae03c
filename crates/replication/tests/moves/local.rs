//! Moving, and keeping in step, between real datastores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datastore::fixtures::{FIXTURE_OWNER, TestStore};
use formats::{ChunkDigest, Namespace, SnapshotId};
use replication::{Event, JobOptions, LocalSource, LocalTarget, Monitor, RunControl, RunResult, Silent, run};

use crate::common::filled;
use crate::{noise, options, snapshot_files, sync, sync_with};

fn moving() -> JobOptions {
    JobOptions { moves: true, ..options(FIXTURE_OWNER) }
}

/// Stops the run at the event of a number.
struct StopAt {
    control: RunControl,
    left: AtomicU64,
}

impl Monitor for StopAt {
    fn event(&self, _event: Event) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.control.cancel();
        }
    }
}

#[tokio::test]
async fn a_move_stopped_at_any_event_loses_no_file_and_the_next_one_ends_it() {
    let small = || {
        let store = TestStore::new("source");
        store.backup("", "vm/100", 1_700_000_000, &[("disk.img", &noise(1, 5 << 20)), ("vm.conf", b"cores: 4")]);
        store.backup("", "vm/100", 1_700_000_100, &[("disk.img", &noise(2, 1000)), ("vm.conf", b"cores: 4")]);
        store.backup("a", "ct/7", 1_700_000_060, &[("root.pxar", &noise(3, 2000))]);
        store
    };
    let expected = snapshot_files(small().path());
    let mut cuts = 0;
    for cut in 0.. {
        let (source, target) = (small(), TestStore::new("target"));
        let control = RunControl::new();
        let monitor = Arc::new(StopAt { control: control.clone(), left: AtomicU64::new(cut) });
        let from = Arc::new(LocalSource::new(source.store().clone()));
        let to = Arc::new(LocalTarget::new(target.store().clone()).unwrap());

        let report = run(&moving(), from, to, &control, monitor).await;

        let (left, there) = (snapshot_files(source.path()), snapshot_files(target.path()));
        for (path, bytes) in expected.iter().filter(|(path, _)| !left.contains_key(*path)) {
            assert_eq!(there.get(path), Some(bytes), "{} is lost at event {cut}", path.display());
        }
        if !report.cancelled {
            break;
        }
        cuts = cut;
        let again = sync_with(&moving(), source.store(), target.store()).await;
        assert_eq!(again.result, RunResult::Ok, "stopped at event {cut}: {:?}", again.errors);
        assert_eq!((snapshot_files(target.path()), snapshot_files(source.path()).len()), (expected.clone(), 0));
    }
    assert!(cuts > 15, "only {cuts} cuts were tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datastore_is_moved_away_but_for_what_is_protected_or_cannot_be_read_back() {
    let (source, target) = (filled(), TestStore::new("target"));
    let (root, site): (Namespace, Namespace) = (Namespace::root(), "site".parse().unwrap());
    let kept: SnapshotId = "vm/100/2023-11-14T22:15:00Z".parse().unwrap();
    source.store().set_protected(&root, &kept, true).unwrap();
    source.store().set_group_notes(&site, &"ct/8".parse().unwrap(), "signed ones").unwrap();
    sync(source.store(), target.store()).await;
    let damaged = target.chunk_path(&ChunkDigest::of(&noise(1, 9 << 20)[..4 << 20]));
    let good = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &good[..good.len() - 1]).unwrap();

    let first = sync_with(&moving(), source.store(), target.store()).await;

    assert_eq!(
        (first.result, first.snapshots_moved, first.errors.len()),
        (RunResult::Error, 3, 1),
        "{:?}",
        first.errors
    );
    assert!(first.errors[0].to_string().contains("not moved: reading back `disk.img.fidx`"), "{}", first.errors[0]);
    assert_eq!(target.store().group_notes(&site, &"ct/8".parse().unwrap()).unwrap(), "signed ones");
    assert!(!source.store().group_exists(&site, &"ct/8".parse().unwrap()).unwrap());
    assert_eq!(source.store().snapshots(&root, &kept.group).unwrap().len(), 2);

    std::fs::write(&damaged, good).unwrap();
    let second = sync_with(&moving(), source.store(), target.store()).await;
    let third = sync_with(&moving(), source.store(), target.store()).await;
    assert_eq!((second.result, second.snapshots_moved), (RunResult::Ok, 1), "{:?}", second.errors);
    assert_eq!(source.store().snapshots(&root, &kept.group).unwrap()[0].id, kept);
    assert_eq!((third.result, third.moved_nothing()), (RunResult::Ok, true));
    assert_eq!(snapshot_files(target.path()), snapshot_files(filled().path()));
}

#[tokio::test]
async fn a_job_without_the_right_to_remove_moves_nothing_and_says_which_it_needs() {
    let (source, target) = (filled(), TestStore::new("target"));
    let from = Arc::new(LocalSource::new(source.store().clone()).removing_only(|ns, _| !ns.is_root()));
    let to = Arc::new(LocalTarget::new(target.store().clone()).unwrap());

    let report = run(&moving(), from, to, &RunControl::new(), Arc::new(Silent)).await;

    assert_eq!(
        (report.snapshots_copied, report.snapshots_moved, report.errors.len()),
        (5, 3, 1),
        "{:?}",
        report.errors
    );
    assert_eq!(report.errors[0].where_, "vm/100");
    assert!(report.errors[0].hint.as_ref().unwrap().contains("Datastore.Prune"), "{}", report.errors[0]);
}

#[tokio::test]
async fn a_local_verification_survives_notes_and_protection_that_follow_the_source() {
    let (source, target) = (filled(), TestStore::new("target"));
    sync(source.store(), target.store()).await;
    let (root, old): (Namespace, SnapshotId) = (Namespace::root(), "vm/100/2023-11-14T22:13:20Z".parse().unwrap());
    source.store().set_protected(&root, &old, true).unwrap();
    let noted = source.store().update_manifest(&root, &old, |manifest| {
        manifest.set_notes("first line\nsecond");
        Ok(())
    });
    noted.unwrap();
    crate::fail_verification(&target, &old);
    let options = JobOptions { sync_metadata: true, ..options(FIXTURE_OWNER) };

    let report = sync_with(&options, source.store(), target.store()).await;
    let again = sync_with(&options, source.store(), target.store()).await;

    assert_eq!((report.result, report.snapshots_refreshed), (RunResult::Ok, 1), "{:?}", report.errors);
    assert!(target.store().protected(&root, &old).unwrap());
    let (manifest, _) = target.store().manifest(&root, &old).unwrap();
    assert_eq!(manifest.notes(), Some("first line\nsecond"));
    assert!(manifest.verify_state().is_some());
    assert!(again.moved_nothing(), "{again:?}");
}
