//! What a rehearsal announces is what the run does, and the rehearsal itself does nothing.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "rehearsals/pairs.rs"]
mod pairs;

use std::sync::Arc;

use datastore::Datastore;
use datastore::fixtures::{FIXTURE_OWNER, TestStore, noise};
use formats::{BackupTime, CryptKey, FilterSet, Namespace};
use pairs::{Dice, age, assert_same_tree, damage, grow, options, tree};
use replication::crypt::DecryptingTarget;
use replication::{
    Direction, Forecast, JobOptions, LocalSource, LocalTarget, Report, RunControl, RunResult, Silent, SnapshotOutcome,
    rehearse, run,
};

async fn forecast(options: &JobOptions, from: &Datastore, to: &Datastore) -> Forecast {
    let source = Arc::new(LocalSource::new(from.clone()));
    let target = Arc::new(LocalTarget::new(to.clone()).unwrap());
    rehearse(options, source, target, &RunControl::new(), Arc::new(Silent)).await.unwrap()
}

async fn sync(options: &JobOptions, from: &Datastore, to: &Datastore) -> Report {
    let source = Arc::new(LocalSource::new(from.clone()));
    let target = Arc::new(LocalTarget::new(to.clone()).unwrap());
    run(options, source, target, &RunControl::new(), Arc::new(Silent)).await
}

fn pull() -> JobOptions {
    JobOptions::new(Direction::Pull, FIXTURE_OWNER.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_random_pairs_of_datastores_sync_exactly_as_announced() {
    let (mut chunks, mut failed, mut removed, mut refreshed) = (0, 0, 0, 0);
    for seed in 0..80 {
        let mut dice = Dice::new(seed);
        let (source, target) = (TestStore::new("source"), TestStore::new("target"));
        grow(&source, &mut dice, 0);
        if !dice.hits(4) {
            sync(&pull(), source.store(), target.store()).await;
        }
        grow(&source, &mut dice, 1);
        if dice.hits(2) {
            age(&source, &mut dice);
        }
        let mut options = options(&mut dice, Direction::Pull, FIXTURE_OWNER);
        if dice.hits(2) {
            damage(&target, &mut dice);
            // Which group looks at a damaged chunk first decides how often it travels.
            options.worker_threads = 1;
        }
        let damaged = dice.hits(10);
        if damaged {
            damage(&source, &mut dice);
        }
        let (before, origin) = (tree(target.path()), tree(source.path()));

        let announced = forecast(&options, source.store(), target.store()).await;

        assert_same_tree(&before, target.path());
        assert_same_tree(&origin, source.path());
        assert!(announced.exact, "seed {seed}");
        let done = sync(&options, source.store(), target.store()).await;
        if !damaged || done.errors.is_empty() {
            assert_eq!(announced.report, done, "seed {seed}\n{}", announced.plan);
        } else {
            // A damaged source shows in part only when its chunks are read.
            failed += 1;
        }
        chunks += done.chunks_transferred;
        removed += done.snapshots_removed;
        refreshed += done.snapshots_refreshed;
    }
    assert!(chunks > 300 && removed > 10 && refreshed > 5 && failed < 10, "{chunks} {removed} {refreshed} {failed}");
}

/// One of the groups is encrypted with this key.
fn decrypting(to: &Datastore) -> Arc<DecryptingTarget> {
    let target = Arc::new(LocalTarget::new(to.clone()).unwrap());
    Arc::new(DecryptingTarget::new(target, vec![CryptKey::from_bytes([9; 32])]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_random_pairs_are_decrypted_exactly_as_announced_or_with_less() {
    let (mut exact, mut chunks, mut reused) = (0, 0, 0);
    for seed in 0..30 {
        let mut dice = Dice::new(seed);
        let (source, target) = (TestStore::new("source"), TestStore::new("target"));
        grow(&source, &mut dice, 0);
        let control = RunControl::new();
        let from = Arc::new(LocalSource::new(source.store().clone()));
        run(&pull(), from.clone(), decrypting(target.store()), &control, Arc::new(Silent)).await;
        grow(&source, &mut dice, 1);
        age(&source, &mut dice);
        let mut options = options(&mut dice, Direction::Pull, FIXTURE_OWNER);
        if dice.hits(2) {
            options.group_filter = FilterSet::new(vec!["type:ct".parse().unwrap()]);
        }
        let before = tree(target.path());

        let announced =
            rehearse(&options, from.clone(), decrypting(target.store()), &control, Arc::new(Silent)).await.unwrap();

        assert_same_tree(&before, target.path());
        let done = run(&options, from, decrypting(target.store()), &control, Arc::new(Silent)).await;
        let most = announced.report;
        if announced.chunks_exact {
            assert_eq!(most, done, "seed {seed}\n{}", announced.plan);
            exact += 1;
        } else {
            assert!(done.chunks_transferred <= most.chunks_transferred, "seed {seed}: {done:?}\n{most:?}");
            assert_eq!(most.snapshots_copied, done.snapshots_copied, "seed {seed}");
        }
        chunks += done.chunks_transferred;
        reused += done.chunks_reused;
    }
    assert!(exact > 15 && chunks > 50 && reused > 50, "{exact} {chunks} {reused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_amounts_of_all_snapshots_add_up_to_the_total() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let mut dice = Dice::new(7);
    grow(&source, &mut dice, 0);
    sync(&pull(), source.store(), target.store()).await;
    grow(&source, &mut dice, 1);

    let forecast = forecast(&pull(), source.store(), target.store()).await;

    let sum = forecast.snapshots.values().fold(replication::Amount::default(), |sum, one| sum.plus(one.amount));
    assert_eq!(sum, forecast.total());
    assert!(sum.chunks > 0 && sum.logical_bytes > sum.bytes, "{sum:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_two_groups_share_is_announced_once_for_the_one_that_sends_it() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let content = noise(1, 128 << 10);
    for group in ["vm/1", "vm/2"] {
        source.backup("", group, 1_700_000_000, &[("root.pxar", &content)]);
    }
    let options = JobOptions { worker_threads: 1, ..pull() };

    let forecast = forecast(&options, source.store(), target.store()).await;

    let of = |group: &str| {
        let snapshot = formats::SnapshotId::new(group.parse().unwrap(), BackupTime::from_unix(1_700_000_000).unwrap());
        forecast.of(&Namespace::root(), &snapshot).unwrap()
    };
    assert_eq!((of("vm/1").amount.chunks, of("vm/2").amount.chunks), (2, 0));
    assert_eq!((of("vm/1").outcome, of("vm/2").amount.chunks_reused), (Some(SnapshotOutcome::Copied), 2));
    assert_eq!((forecast.report.result, forecast.total().logical_bytes), (RunResult::Ok, 128 << 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newest_snapshot_with_identical_bytes_is_announced_as_unchanged() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let id = source.backup("", "vm/1", 1_700_000_000, &[("root.pxar", &noise(1, 1000))]);
    sync(&pull(), source.store(), target.store()).await;

    let same = forecast(&pull(), source.store(), target.store()).await;
    let notes = source.store().update_manifest(&Namespace::root(), &id, |manifest| {
        manifest.set_notes("new");
        Ok(())
    });
    notes.unwrap();
    let changed = forecast(&pull(), source.store(), target.store()).await;

    assert_eq!(same.of(&Namespace::root(), &id).unwrap().outcome, Some(SnapshotOutcome::Unchanged));
    assert!(same.report.moved_nothing());
    assert_eq!(changed.of(&Namespace::root(), &id).unwrap().outcome, Some(SnapshotOutcome::Refreshed));
    assert_eq!(changed.total().chunks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_removed_is_announced_and_stays() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    source.backup("", "vm/1", 1_700_000_000, &[("root.pxar", &noise(1, 1000))]);
    for (ns, group) in [("", "vm/2"), ("gone", "vm/3"), ("gone", "vm/4")] {
        target.backup(ns, group, 1_700_000_000, &[("root.pxar", &noise(1, 1000))]);
    }
    let options = JobOptions { remove_vanished: true, ..pull() };
    let before = tree(target.path());

    let announced = forecast(&options, source.store(), target.store()).await.report;

    assert_same_tree(&before, target.path());
    assert_eq!((announced.snapshots_removed, announced.groups_removed, announced.namespaces_removed), (3, 3, 1));
    assert_eq!(announced, sync(&options, source.store(), target.store()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_the_source_lost_is_an_error_of_the_rehearsal_already() {
    let (source, target) = (TestStore::new("source"), TestStore::new("target"));
    let content = noise(1, 1000);
    source.backup("", "vm/1", 1_700_000_000, &[("root.pxar", &content)]);
    std::fs::remove_file(source.chunk_path(&formats::ChunkDigest::of(&content))).unwrap();

    let report = forecast(&pull(), source.store(), target.store()).await.report;

    assert_eq!((report.result, report.snapshots_copied), (RunResult::Error, 0));
    assert!(report.errors[0].message.contains("missing"), "{:?}", report.errors);
}
